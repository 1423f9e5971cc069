"""usrloc's own keepalive: is whoever is registered still there? (location.md §1.5, the `ka_` parameters)

Asks every contact over whatever transport it has, once in a round, and gives up those that have not answered
for too long. It refuses to know why a NAT forgets: that is nathelper's pinger, whose machinery this is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from edgesip.address import Addr, Flow, bracketed
from edgesip.signal.location.binding import Binding
from edgesip.signal.location.glance import Glance, at_a_glance
from edgesip.signal.location.usrloc import PARTS, Usrloc
from edgesip.signal.nat.keepalive import answered, give_up, is_silent
from edgesip.signal.nat.learning import Learning
from edgesip.signal.nat.ping import Signer
from edgesip.signal.nat.rounds import Round
from edgesip.signal.proxy.inbound import Note, note
from edgesip.signal.wire.message import Response

NATED_ONLY = 2
"""Bit of `mode`: only contacts behind a NAT."""
_KEPT = (
    "!*'()&=+$,;?/"  # what stands in the user of a URI as it is (RFC 3261 §25.1), beside letters and digits
)
UDP_ONLY = 4
"""Bit of `mode`: only contacts over UDP."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The `ka_` slice of `[usrloc]`; seconds. `mode` 0 is off, any other number its bits; `timeout` 0 gives
    nobody up. `reply_codes` are statuses and classes (one digit) that count, () for any; `sender` and
    `domain` "" are ours; `log_level` "" logs no answer.
    """

    mode: int = 0
    interval: float = 40.0
    randomize: float = 20.0
    timeout: float = 0.0
    method: str = "OPTIONS"
    sender: str = ""
    domain: str = ""
    reply_codes: Sequence[int] = ()
    log_level: str = ""


class Liveness:
    """Asks each contact once in a round of `interval` to `interval` + `randomize` seconds, spread evenly.

    `address_for` answers which address a message leaving by a local address carries as its own. What is
    asked and answered over UDP is nathelper's to learn from as well: it need not ping there again so soon.
    """

    def __init__(
        self, entropy: Callable[[int], bytes], address_for: Callable[[Addr], Addr], learning: Learning
    ) -> None:
        self._settings = Settings()
        self._entropy = entropy
        self._address_for = address_for
        self._learning = learning
        self._signer = Signer(entropy, address_for, "ka")
        self._round = Round()
        self._turn = 0
        self._began = 0.0
        self._period = 0.0
        self._news: list[Note] = []
        self.counters: dict[str, int] = {
            "usrloc:ka_requests": 0,
            "usrloc:ka_answers": 0,
            "usrloc:ka_timeouts": 0,
        }

    @property
    def settings(self) -> Settings:
        """What is in force."""
        return self._settings

    def use(self, settings: Settings) -> None:
        """Other settings from now on; the round begins anew."""
        if settings != self._settings:
            self._settings = settings
            self._period = 0.0
            self._round.restart()

    def deadline(self, now: float) -> float | None:
        """When `due` is to be called next (monotonic seconds); None when nobody is asked."""
        return self._round.deadline(now) if self._settings.mode else None

    def asks(self, seen: Glance) -> bool:
        """True when this contact is asked at all."""
        mode = self._settings.mode
        return mode > 0 and (seen.nated or not mode & NATED_ONLY) and (seen.udp or not mode & UDP_ONLY)

    def interval_for(self, binding: Binding) -> float:
        """Seconds between two questions to this contact at most; 0.0 when it is not asked."""
        settings = self._settings
        return settings.interval + settings.randomize if self.asks(at_a_glance(binding)) else 0.0

    def due(self, usrloc: Usrloc, now: float) -> list[tuple[Flow, bytes]]:
        """The requests to send now, each by the flow of its contact; call it at `deadline`."""
        settings = self._settings
        if not settings.mode:
            return []
        requests: list[tuple[Flow, bytes]] = []
        speed = self._speed(now)
        position = self._turn * PARTS + (now - self._began) * speed
        for ruid, seen in self._round.look(usrloc, position, speed, now):
            if seen.expires <= now or not self.asks(seen):
                continue
            binding = usrloc.get(ruid)
            if binding is None:
                continue
            if settings.timeout and is_silent(seen, self._round.since, settings.timeout, now):
                lost = give_up(usrloc, binding, self._round.since, now)
                if lost is not None:
                    self.counters["usrloc:ka_timeouts"] += 1
                    self._news.append(lost)
                continue
            self.counters["usrloc:ka_requests"] += 1
            if seen.udp:
                self._learning.pinged(binding.flow, now)
            requests.append((binding.flow, self._request(binding, usrloc.settings.use_domain, now)))
        return requests

    def hear(self, usrloc: Usrloc, response: Response, now: float) -> bool:
        """Consume the answer to a request of ours and note it; False when the response is not one."""
        settings = self._settings
        heard = self._signer.read(response, settings.method, now) if settings.mode else None
        if heard is None:
            return False
        codes = settings.reply_codes
        if codes and response.status not in codes and response.status // 100 not in codes:
            return True
        self.counters["usrloc:ka_answers"] += 1
        ruid, roundtrip = heard
        answered(usrloc, self._learning, ruid, roundtrip, now)
        if settings.log_level:
            binding = usrloc.get(ruid)
            if binding is not None:
                took = round(roundtrip * 1000, 1)
                fields = {"aor": binding.aor, "contact": binding.contact, "milliseconds": took}
                self._news.append(note(settings.log_level, "contact is there", binding.call_id, **fields))
        return True

    def news(self) -> list[Note]:
        """Whom `due` has given up, and who has answered where that is logged, since this was last asked."""
        if not self._news:
            return []
        news, self._news = self._news, []
        return news

    def _speed(self, now: float) -> float:
        """Slices a second; when a round is over the next one begins, of a length of its own."""
        if now >= self._began + self._period:
            settings = self._settings
            self._began += self._period
            if not self._period or now >= self._began + settings.interval:
                self._began = now
            self._turn += 1
            chance = int.from_bytes(self._entropy(2), "big") / 65536
            self._period = settings.interval + chance * settings.randomize
        return PARTS / self._period

    def _request(self, binding: Binding, whole: bool, now: float) -> bytes:
        """What a contact is asked; with `whole` its address of record has a domain already."""
        settings, flow = self._settings, binding.flow
        user, domain = binding.aor, settings.domain
        if whole:
            user, _, domain = user.rpartition("@")
        to = f"sip:{quote(user.encode('utf-8', 'surrogateescape'), _KEPT)}@"
        to += domain or bracketed(self._address_for(flow.local).host)
        return self._signer.request(binding, flow, settings.method, settings.sender, binding.path, now, to)
