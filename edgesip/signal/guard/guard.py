"""The guard: pike, bans and permissions of one server, and what the core tells and asks them.

Joins the three, and says which refusals count as something wrong. Knows no script and no profile.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from edgesip.address import Flow
from edgesip.signal.guard.admission import Admission
from edgesip.signal.guard.backoff import HELD, HELD_FOR_OTHERS
from edgesip.signal.guard.bans import Bans, BanSettings, Neighbours
from edgesip.signal.guard.echo import Echo
from edgesip.signal.guard.permissions import Address, Permissions, PermissionSettings, Trusted
from edgesip.signal.guard.pike import ALLOWED, Pike, PikeSettings
from edgesip.signal.location.usrloc import Usrloc
from edgesip.signal.proxy.inbound import Note
from edgesip.signal.proxy.upstream import Upstream
from edgesip.signal.wire.message import Request

SWEEP = 20.0
"""Seconds between two looks for what is over (htable's timer_interval)."""
SCANNERS = "friendly-scanner|friendly-request|sipvicious|sipcli|sip-scan|sundayddr|vaxsipuseragent|pplsip"
COUNTS = {400: "malformed", 403: "refused", 404: "not found"}
"""The refusals of a stranger that count against him."""
BANNED = "not weighed after too many wrong passwords from here"
"""What is wrong with credentials of a user who is banned at their source."""
FAILURES = {
    "wrong password": "password",
    "unknown user": "unknown user",
    HELD: "password",
    BANNED: "held back",
    "malformed credentials": "malformed",
    "malformed response": "malformed",
}
"""What of refused credentials counts; those for another realm, or for an old nonce, do not."""


AGENTS = 1024
LONGEST_AGENT = 256
"""User-Agents that are remembered, and characters of one."""


@dataclass(frozen=True, slots=True)
class GuardSettings:
    """The slices of all three; `scanners` is what a scanner's User-Agent looks like."""

    pike: PikeSettings = field(default_factory=PikeSettings)
    ban: BanSettings = field(default_factory=BanSettings)
    permissions: PermissionSettings = field(default_factory=PermissionSettings)
    scanners: re.Pattern[str] = field(default_factory=lambda: re.compile(SCANNERS, re.IGNORECASE))


class Guard:
    """What stands before everything else."""

    def __init__(self, settings: GuardSettings, usrloc: Usrloc, upstream: Upstream | None = None) -> None:
        self._said: list[Note] = []
        self._upstream = upstream
        self._swept = 0.0
        self._scanners = settings.scanners
        self._agents: dict[str, bool] = {}
        self.permissions = Permissions(settings.permissions)
        self.pike = Pike(settings.pike, self._said)
        self._occupied = usrloc.occupied
        neighbours = Neighbours(usrloc.occupied, usrloc.shares, usrloc.lives, self.trusts)
        self.bans = Bans(settings.ban, neighbours, self._said)
        self.echo = Echo(usrloc.occupied, self.trusts)

    def use(self, settings: GuardSettings, rows: Sequence[Address], trusted: Sequence[Trusted]) -> None:
        """Other limits and other rows are in force from now on. Raises ValueError for too many networks."""
        self.permissions.settings = settings.permissions
        self.permissions.use(rows, trusted)
        self.pike.settings = settings.pike
        self.bans.settings = settings.ban
        self._scanners = settings.scanners
        self._agents.clear()
        self.bans.review()

    def trusts(self, host: str) -> bool:
        """True for the upstream's addresses and for those of `[permissions]` group 1."""
        upstream = self._upstream
        return (upstream is not None and host in upstream.hosts) or self.permissions.trusts(host)

    def at_home(self, flow: Flow) -> bool:
        """True for who goes before strangers when there is too much: registered over this flow or trusted."""
        return self._occupied(flow) or self.trusts(flow.remote.host)

    def is_scanner(self, agent: str) -> bool:
        """True for the User-Agent of a scanner; what was said of those that were heard of lately is kept."""
        found = self._agents.get(agent)
        if found is None:
            found = self._scanners.search(agent) is not None
            if len(self._agents) >= AGENTS:
                self._agents.clear()
            if len(agent) <= LONGEST_AGENT:
                self._agents[agent] = found
        return found

    def counters(self) -> dict[str, int]:
        """The statistics of pike and of the bans."""
        return self.pike.counters | self.bans.counters | self.bans.gauges() | self.echo.counters

    # -- what the core asks and tells --------------------------------------------------------------------

    def unheard(self, data: bytes, flow: Flow, now: float, admission: Admission) -> bool:
        """True for what is not worth a look: of somebody banned; under load a stranger's REGISTER, by lot."""
        if self.bans.active and self.bans.refuses(data, flow, now):
            return True
        if not admission.closed or flow.transport != "udp" or not data.startswith(b"REGISTER "):
            return False
        if self.at_home(flow) or not admission.sheds():
            return False
        self.turned_away(flow, now)
        return True

    def turned_away(self, flow: Flow, now: float) -> None:
        """A stranger's request was not let in, because there is too much: where the script uses pike, it
        counts there all the same. Otherwise a slow server would never see how much one source sends.
        """
        if len(self.pike):
            self.floods(flow, "", now, "")

    def refuses_request(self, request: Request, flow: Flow, now: float) -> bool:
        """True when what this request would open is not heard: its user is banned at this source by order."""
        headers = request.headers
        if headers.to.tag:
            return False
        named = headers.to if request.method == "REGISTER" else headers.from_
        return self.bans.refuses_user(flow, named.uri.username or "", now)

    def floods(self, flow: Flow, user: str, now: float, call_id: str) -> bool:
        """True when more comes from where a stranger is than `[pike]` allows; who is to blame is banned."""
        host, port = flow.remote
        if self.pike.check(host, now, port) == ALLOWED:
            return False
        blame = self.pike.blames(host, port)
        if blame:
            self.bans.score(flow, user, "flood", now, call_id, blame == 1)
        return True

    def good(self, flow: Flow, user: str) -> None:
        """This user has proven his password."""
        self.bans.good(flow, user)
        self.pike.proved(*flow.remote)

    def unreadable(self, data: bytes, flow: Flow, now: float) -> None:
        """These octets are not SIP, or not a request that can be read; answers count against nobody."""
        if not data.startswith(b"SIP/"):
            self.bans.score(flow, "", "malformed", now)

    def refused(self, request: Request, flow: Flow, status: int, now: float, proved: str = "") -> None:
        """A request was refused: it counts unless `proved` is who has proven his password with it."""
        kind = COUNTS.get(status)
        if kind is not None and not proved:
            self.bans.score(flow, request.ruri.username or "", kind, now, request.headers.call_id)

    def failed(self, flow: Flow, user: str, why: str, now: float, call_id: str) -> None:
        """Credentials that came were refused; `why` is the digest's word. A stale nonce has none."""
        kind = FAILURES.get(why)
        if why == HELD_FOR_OTHERS and self.bans.suspects(flow):
            kind = "held back"
        if kind is not None:
            self.bans.score(flow, user, kind, now, call_id)

    def take_said(self) -> list[Note]:
        """What there is to say since this was last asked."""
        if not self._said:
            return []
        said = self._said[:]
        self._said.clear()
        return said

    def deadline(self) -> float | None:
        """When `tick` is next due (monotonic seconds); None while there is nothing to forget."""
        if not len(self.pike) and not self.bans.active:
            return None
        due, red = self._swept + SWEEP, self.pike.deadline()
        return due if red is None or due < red else red

    def tick(self, now: float) -> None:
        """Free those whose time is over."""
        self.pike.tick(now)
        if now >= self._swept + SWEEP:
            self._swept = now
            self.pike.sweep(now)
            self.bans.sweep(now)
