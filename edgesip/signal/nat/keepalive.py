"""Keeping NAT mappings open: each UDP binding is pinged once per interval (nathelper, nat.md §2.7).

Holds where the round through the location table stands, and who is pinged how. It refuses to know sockets,
timers and what a phone answers: any answer means that it is there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from edgesip.address import Addr, Flow
from edgesip.signal.location.binding import NAT_FLAG, Binding
from edgesip.signal.location.usrloc import PARTS, Usrloc
from edgesip.signal.nat.learning import Learning
from edgesip.signal.nat.learning import Settings as LearningSettings
from edgesip.signal.nat.ping import PING_BRANCH, ZEROS, Signer, way_of
from edgesip.signal.proxy.inbound import Note, note
from edgesip.signal.wire.message import Response

__all__ = ["PING_BRANCH", "Pinger", "Settings"]

GRACE = 10.0
"""Seconds that a contact has left when it has not answered for `timeout`."""
_BATCH = 1000  # bindings looked at after which one call ends, so that a late caller does not stop the loop
_STEP = 0.02  # seconds between two batches at least
_LOOK = 1.0  # seconds after which the table is looked at again at the latest


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


class Pinger:
    """Pings each UDP binding that wants it once per interval, spread evenly over it.

    The table is cut into slices by ruid; each slice has its moment in the interval. `address_for` answers
    which address a message leaving by a local address carries as its own (Via, From). `switch` is the
    operator's. Whoever is looked at may rest a while longer, as far as `learning` knows its NAT.
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
        self._done: int | None = None  # slices visited since time began; slice = number modulo PARTS
        self._next = 0.0
        self._since = 0.0
        self._news: list[Note] = []
        self.counters: dict[str, int] = {
            "nathelper:sip_pings": 0,
            "nathelper:udp_pings": 0,
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
            self._settings, self._done, self._next = settings, None, 0.0
            self.learning.use(replace(self.learning.settings, start=settings.interval))

    def switch(self, on: bool) -> None:
        """Pings on or off, until somebody says otherwise or the process ends (nathelper.enable_ping)."""
        self._enabled, self._done, self._next = on, None, 0.0

    def covers(self, usrloc: Usrloc, flow: Flow) -> bool:
        """True when a phone at the end of this flow is pinged by us."""
        one = usrloc.one_by_flow(flow) if self.enabled else None
        return one is not None and self._wants(one)

    def due(self, usrloc: Usrloc, now: float) -> list[tuple[Flow, bytes]]:
        """The pings to send now, each by the flow its phone registered over; call it at `deadline`.

        A caller that comes late gets what it missed in batches, but no slice twice. The moments hang on the
        clock and the ruid alone, so a new process with the same clock goes on where the old one was.
        """
        if not self.enabled or now < self._next:
            return []
        reached, done = int(now * PARTS / self.learning.pause), self._done
        if done is None:
            self._since = now
        number = reached - 1 if done is None or done > reached else max(done, reached - PARTS)
        pings: list[tuple[Flow, bytes]] = []
        seen = 0
        while number < reached and seen < _BATCH:
            number += 1
            for binding in usrloc.part(number % PARTS):
                seen += 1
                if binding.expires > now and self._wants(binding) and not self._rests(usrloc, binding, now):
                    ping = self._ping(usrloc, binding, now)
                    if ping is not None:
                        self.learning.pinged(binding.flow, now, ping[0] == binding.flow and ping[1] != ZEROS)
                        pings.append(ping)
        self._done = number
        self._next = now + _STEP if number < reached else self._deadline_after(usrloc, number, now)
        return pings

    def deadline(self, now: float) -> float | None:
        """When `due` is to be called next (monotonic seconds); None when pings are off."""
        if not self.enabled:
            return None
        return now if self._done is None else self._next

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
        ruid, roundtrip = heard
        binding = usrloc.heard(ruid, now, roundtrip)
        if binding is not None and self.learning.settings.learns and not usrloc.crowded(binding.flow):
            self.learning.answered(binding.flow, now)
            for other in usrloc.by_flow(binding.flow):  # one ping was for all of them
                if other.ruid != ruid:
                    usrloc.heard(other.ruid, now, roundtrip)
        return True

    def interval_for(self, flow: Flow, now: float) -> float:
        """Seconds between two pings over this flow as things are; 0.0 when nobody is pinged over it."""
        if not self.enabled or flow.transport != "udp":
            return 0.0
        return self.learning.interval_for(flow, now)

    # -- who, and how ------------------------------------------------------------------------------

    def _rests(self, usrloc: Usrloc, binding: Binding, now: float) -> bool:
        """True when this phone needs no ping yet. One is for all contacts of a flow, unless they are many."""
        learning = self.learning
        if not learning.settings.learns:
            return False
        if usrloc.crowded(binding.flow):
            return learning.every_other(now)
        return learning.rests(binding.flow, now)

    def _wants(self, binding: Binding) -> bool:
        settings = self._settings
        if binding.flow.transport != "udp" or (settings.ping_nated_only and not binding.nated):
            return False
        return not has_flag(binding, settings.natping_disable_bflag)

    def _ping(self, usrloc: Usrloc, binding: Binding, now: float) -> tuple[Flow, bytes] | None:
        """What one binding is sent; None when it has been given up."""
        settings = self._settings
        local = settings.force_socket or binding.flow.local
        if local.family != binding.flow.remote.family:
            local = binding.flow.local
        flag = settings.sipping_bflag
        if flag < 0 or (settings.ping_nated_only and not has_flag(binding, flag)):
            self.counters["nathelper:udp_pings"] += 1
            return Flow("udp", local, binding.flow.remote), ZEROS
        if settings.timeout and self._is_silent(binding, now):
            self._give_up(usrloc, binding, now)
            return None
        flow, path = way_of(binding, local, not settings.ignore_path)
        self.counters["nathelper:sip_pings"] += 1
        method, sender = settings.sipping_method, settings.sipping_from
        return flow, self._signer.request(binding, local, method, sender, path, now)

    def _is_silent(self, binding: Binding, now: float) -> bool:
        """Nothing was heard of it for `timeout`, in which we have asked all the time."""
        heard = max(binding.last_keepalive, binding.last_modified, self._since)
        return heard + self._settings.timeout < now

    def _give_up(self, usrloc: Usrloc, binding: Binding, now: float) -> None:
        if binding.permanent or binding.expires <= now + GRACE:
            return
        self.counters["nathelper:timeouts"] += 1
        usrloc.put(replace(binding, expires=now + GRACE))
        silent = round(now - max(binding.last_keepalive, binding.last_modified, self._since))
        contact, received = binding.contact, binding.received
        fields = {"aor": binding.aor, "contact": contact, "received": received, "seconds": silent}
        self._news.append(note("info", "contact does not answer pings", binding.call_id, **fields))

    def _deadline_after(self, usrloc: Usrloc, done: int, now: float) -> float:
        """The moment of the next slice with a binding in it, neither too soon nor too far away."""
        interval = self.learning.pause
        ahead = int(min(_LOOK, interval) * PARTS / interval)
        for number in range(done + 1, done + ahead + 1):
            if len(usrloc.part(number % PARTS)):
                return max(number * interval / PARTS, now + _STEP)
        return now + min(_LOOK, interval)


def has_flag(binding: Binding, flag: int) -> bool:
    """True when a contact has this branch flag; the one of NAT is told by `nated` as well."""
    if flag < 0:
        return False
    return bool(binding.cflags >> flag & 1) or (1 << flag == NAT_FLAG and binding.nated)
