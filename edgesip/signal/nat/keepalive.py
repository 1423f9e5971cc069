"""Keeping NAT mappings open: each UDP binding is pinged once per interval (nathelper, nat.md §2.7).

Holds where the round through the location table stands, and who is pinged how. It refuses to know sockets,
timers and what a phone answers: any answer means that it is there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from edgesip.address import Addr, Flow
from edgesip.signal.location.binding import Binding
from edgesip.signal.location.glance import Glance, at_a_glance
from edgesip.signal.location.usrloc import PARTS, Usrloc
from edgesip.signal.nat.learning import Learning
from edgesip.signal.nat.learning import Settings as LearningSettings
from edgesip.signal.nat.ping import PING_BRANCH, ZEROS, Signer, way_of
from edgesip.signal.nat.rounds import Round
from edgesip.signal.nat.spoofed import RAW, along_path
from edgesip.signal.proxy.inbound import Note, note
from edgesip.signal.wire.message import Response

__all__ = ["PING_BRANCH", "Pinger", "Settings"]

GRACE = 10.0
"""Seconds that a contact has left when it has not answered for too long."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The `[nathelper]` slice of pings, by the names that Kamailio has for them; times in seconds.

    `interval` (natping_interval) 0: no pings; `timeout` (keepalive_timeout) 0: nobody is given up. Flags
    are numbers of `setbflag`, -1 for none.
    """

    interval: float = 25.0
    ping_nated_only: bool = False
    sipping_bflag: int = 7
    natping_disable_bflag: int = -1
    sipping_method: str = "OPTIONS"
    sipping_from: str = ""
    timeout: float = 0.0
    force_socket: Addr | None = None
    ignore_path: bool = False
    natping_socket: Addr | None = None
    udpping_from_path: bool = False


class Pinger:
    """Pings each UDP binding that wants it once per interval, spread evenly over it.

    `address_for` answers which address a message leaving by a local address carries as its own (Via, From).
    `switch` is the operator's. Whoever is looked at may rest a while longer, as far as `learning` knows its
    NAT.
    """

    def __init__(
        self,
        settings: Settings,
        entropy: Callable[[int], bytes],
        address_for: Callable[[Addr], Addr],
        learning: Learning | None = None,
    ) -> None:
        self._settings = settings
        self.learning = Learning(LearningSettings(settings.interval, 0.0)) if learning is None else learning
        self._signer = Signer(entropy, address_for)
        self._enabled = True
        self.raw = False
        """Whether pings may leave from an address that is not ours."""
        self._round = Round()
        self._news: list[Note] = []
        self.counters: dict[str, int] = {
            "nathelper:sip_pings": 0,
            "nathelper:udp_pings": 0,
            "nathelper:raw_pings": 0,
            "nathelper:answers": 0,
            "nathelper:timeouts": 0,
        }

    @property
    def settings(self) -> Settings:
        """What is in force."""
        return self._settings

    @property
    def enabled(self) -> bool:
        """True while pings go out."""
        return self._enabled and self._settings.interval > 0

    def use(self, settings: Settings) -> None:
        """Other settings from now on; the round begins anew."""
        if settings != self._settings:
            self._settings = settings
            self._round.restart()
            self.learning.use(replace(self.learning.settings, start=settings.interval))

    def switch(self, on: bool) -> None:
        """Pings on or off, until somebody says otherwise or the process ends (nathelper.enable_ping)."""
        self._enabled = on
        self._round.restart()

    def covers(self, usrloc: Usrloc, flow: Flow) -> bool:
        """True when a phone at the end of this flow is pinged by us."""
        one = usrloc.one_by_flow(flow) if self.enabled else None
        return one is not None and self._wants(at_a_glance(one))

    def due(self, usrloc: Usrloc, now: float) -> list[tuple[Flow, bytes]]:
        """The pings to send now, each by the flow its phone registered over; call it at `deadline`."""
        if not self.enabled:
            return []
        pings: list[tuple[Flow, bytes]] = []
        speed = PARTS / self.learning.pause
        for ruid, seen in self._round.look(usrloc, now * speed, speed, now):
            if seen.expires <= now or not self._wants(seen):
                continue
            apart = is_apart(usrloc, ruid, seen.flow)
            rests = self.learning.every_other(now) if apart else self._rests(usrloc, seen.flow, now)
            if rests:
                continue
            binding = usrloc.get(ruid)
            if binding is None or (rests is None and self.learning.rests(binding.flow, now)):
                continue
            ping = self._ping(usrloc, binding, now)
            if ping is not None:
                if not apart:
                    self.learning.pinged(binding.flow, now, ping[0] == binding.flow and ping[1] != ZEROS)
                pings.append(ping)
        return pings

    def deadline(self, now: float) -> float | None:
        """When `due` is to be called next (monotonic seconds); None when pings are off."""
        return self._round.deadline(now) if self.enabled else None

    def news(self) -> list[Note]:
        """Whom `due` has given up since this was last asked."""
        if not self._news:
            return []
        news, self._news = self._news, []
        return news

    def answered(self, response: Response, now: float) -> str | None:
        """The ruid whose ping this response answers; None when it is not ours, or later than 32 s."""
        heard = self._signer.read(response, self._settings.sipping_method, now)
        return heard[0] if heard is not None else None

    def hear(self, usrloc: Usrloc, response: Response, now: float) -> bool:
        """Consume the answer to a ping and note it in the table; False when the response is not one."""
        heard = self._signer.read(response, self._settings.sipping_method, now)
        if heard is None:
            return False
        self.counters["nathelper:answers"] += 1
        answered(usrloc, self.learning, *heard, now)
        return True

    def interval_for(self, flow: Flow, now: float) -> float:
        """Seconds between two pings over this flow as things are; 0.0 when nobody is pinged over it."""
        if not self.enabled or flow.transport != "udp":
            return 0.0
        return self.learning.interval_for(flow, now)

    # -- who, and how ------------------------------------------------------------------------------

    def _rests(self, usrloc: Usrloc, flow: int, now: float) -> bool | None:
        """True when this phone needs no ping yet; None when `learning` has to see its flow to say so. One
        ping is for all contacts of a flow, unless they are many.
        """
        if self.learning.settings.learns and usrloc.crowded(flow):
            return self.learning.every_other(now)
        return self.learning.rests_already(flow, now)

    def _wants(self, seen: Glance) -> bool:
        settings = self._settings
        if not seen.udp or (settings.ping_nated_only and not seen.nated):
            return False
        return not seen.has_flag(settings.natping_disable_bflag)

    def _ping(self, usrloc: Usrloc, binding: Binding, now: float) -> tuple[Flow, bytes] | None:
        """What one binding is sent; None when it has been given up."""
        settings = self._settings
        local = settings.force_socket or binding.flow.local
        if local.family != binding.flow.remote.family:
            local = binding.flow.local
        flag = settings.sipping_bflag
        if flag < 0 or (settings.ping_nated_only and not has_flag(binding, flag)):
            self.counters["nathelper:udp_pings"] += 1
            return self._spoofed(binding) or Flow("udp", local, binding.flow.remote), ZEROS
        if settings.timeout and is_silent(at_a_glance(binding), self._round.since, settings.timeout, now):
            lost = give_up(usrloc, binding, self._round.since, now)
            if lost is not None:
                self.counters["nathelper:timeouts"] += 1
                self._news.append(lost)
            return None
        flow, path = way_of(binding, local, not settings.ignore_path)
        self.counters["nathelper:sip_pings"] += 1
        method, sender = settings.sipping_method, settings.sipping_from
        return flow, self._signer.request(binding, flow, method, sender, path, now)

    def _spoofed(self, binding: Binding) -> Flow | None:
        """The way of four octets that come from somebody else, where that is wanted and granted."""
        settings = self._settings
        if not self.raw:
            return None
        flow = None
        if settings.udpping_from_path and binding.path and not settings.ignore_path:
            flow = along_path(binding)
        elif settings.natping_socket is not None and binding.flow.remote.family == 4:
            flow = Flow(RAW, settings.natping_socket, binding.flow.remote)
        if flow is not None:
            self.counters["nathelper:raw_pings"] += 1
        return flow


def is_apart(usrloc: Usrloc, ruid: str, flow: int) -> bool:
    """True for one of several phones behind the same proxy, by its Path: each is pinged for itself, and what
    one of them answers says nothing of the others. `flow` is the hash of the flow that they share.
    """
    if usrloc.alone(flow) or usrloc.crowded(flow):
        return False
    binding = usrloc.get(ruid)
    return binding is not None and binding.path != ""


def answered(usrloc: Usrloc, learning: Learning, ruid: str, roundtrip: float, now: float) -> None:
    """A ping was answered: noted in the table, for all contacts of a phone at once, and learned from."""
    seen = usrloc.heard(ruid, now, roundtrip)
    if seen is None or not seen.udp or not learning.settings.learns or usrloc.crowded(seen.flow):
        return
    if is_apart(usrloc, ruid, seen.flow):
        return
    learning.answered(seen.flow, now)
    binding = None if usrloc.alone(seen.flow) else usrloc.get(ruid)
    if binding is not None:
        for other in usrloc.by_flow(binding.flow):  # one ping was for all of them
            if other.ruid != ruid:
                usrloc.heard(other.ruid, now, roundtrip)


def is_silent(seen: Glance, since: float, timeout: float, now: float) -> bool:
    """True when nothing was heard of a contact for `timeout` seconds, in which it was asked all the time."""
    return max(seen.last_keepalive, seen.last_modified, since) + timeout < now


def give_up(usrloc: Usrloc, binding: Binding, since: float, now: float) -> Note | None:
    """A silent contact has `GRACE` seconds left, and what there is to say; None for one that has no more
    anyway, or is permanent.
    """
    if binding.permanent or binding.expires <= now + GRACE:
        return None
    usrloc.put(replace(binding, expires=now + GRACE))
    silent = round(now - max(binding.last_keepalive, binding.last_modified, since))
    contact, received = binding.contact, binding.received
    fields = {"aor": binding.aor, "contact": contact, "received": received, "seconds": silent}
    return note("info", "contact does not answer pings", binding.call_id, **fields)


def has_flag(binding: Binding, flag: int) -> bool:
    """True when a contact has this branch flag; the one of NAT is told by `nated` as well."""
    return at_a_glance(binding).has_flag(flag)
