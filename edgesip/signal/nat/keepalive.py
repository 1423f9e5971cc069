"""Keeping NAT mappings open: an OPTIONS to every UDP binding once per interval (nat.md §2.7).

Holds where the round through the location table stands and nothing per binding: a ping carries its own
identity, signed, and the answer brings it back. It refuses to know sockets, timers and what a phone
answers: any answer means that it is there.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass

from edgesip.address import Addr, Flow
from edgesip.signal.location.usrloc import PARTS, Binding, Usrloc
from edgesip.signal.wire.grammar import ParseError
from edgesip.signal.wire.message import Response
from edgesip.signal.wire.uri import without_headers

_BATCH = 1000  # pings after which one call ends, so that a late caller does not stop the loop
_STEP = 0.02  # seconds between two batches at least
_LOOK = 1.0  # seconds after which the table is looked at again at the latest
_ANSWER_TIME = 32.0  # seconds in which an answer counts (RFC 3261 timer F)
_COOKIE = "z9hG4bKnp"
PING_BRANCH = _COOKIE.encode()
"""What the branch of every ping, and of its answer, begins with."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The `[nathelper]` slice: `interval` (natping_interval) in seconds, 0 for no pings."""

    interval: float = 25.0


class Pinger:
    """Pings each UDP binding once per interval, spread evenly over it.

    The table is cut into slices by ruid; each slice has its moment in the interval. `address_for` answers
    which address a message leaving by a local address carries as its own (Via, From).
    """

    def __init__(
        self, settings: Settings, entropy: Callable[[int], bytes], address_for: Callable[[Addr], Addr]
    ) -> None:
        self._interval = float(settings.interval)
        self._address_for = address_for
        self._key = entropy(16)
        self._prefix = f"np-{entropy(4).hex()}-"
        self._done: int | None = None  # slices visited since time began; slice = number modulo PARTS
        self._next = 0.0

    def due(self, usrloc: Usrloc, now: float) -> list[tuple[Flow, bytes]]:
        """The pings to send now, each by the flow its phone registered over; call it at `deadline`.

        A caller that comes late gets what it missed in batches, but no slice twice. The moments hang on the
        clock and the ruid alone, so a new process with the same clock goes on where the old one was.
        """
        if self._interval <= 0 or now < self._next:
            return []
        reached = int(now * PARTS / self._interval)
        number = reached - 1 if self._done is None else max(self._done, reached - PARTS)
        pings: list[tuple[Flow, bytes]] = []
        own: dict[Addr, str] = {}
        while number < reached and len(pings) < _BATCH:
            number += 1
            for binding in usrloc.part(number % PARTS):
                if binding.flow.transport == "udp" and binding.expires > now:
                    local = binding.flow.local
                    address = own.get(local) or own.setdefault(local, str(self._address_for(local)))
                    pings.append((binding.flow, self._ping(binding, address, now)))
        self._done = number
        self._next = now + _STEP if number < reached else self._deadline_after(usrloc, number, now)
        return pings

    def deadline(self, now: float) -> float | None:
        """When `due` is to be called next (monotonic seconds); None when pings are off."""
        if self._interval <= 0:
            return None
        return now if self._done is None else self._next

    def answered(self, response: Response, now: float) -> str | None:
        """The ruid whose ping this response answers; None when it is not ours, or later than 32 s.

        A response only made to look like one fails its signature.
        """
        heard = self._read(response, now)
        return heard[0] if heard is not None else None

    def hear(self, usrloc: Usrloc, response: Response, now: float) -> bool:
        """Consume the answer to a ping and note it in the table; False when the response is not one."""
        heard = self._read(response, now)
        if heard is None:
            return False
        ruid, roundtrip = heard
        usrloc.heard(ruid, now, roundtrip)
        return True

    def _read(self, response: Response, now: float) -> tuple[str, float] | None:
        """(ruid, round trip in seconds) of a timely answer to one of our pings."""
        call_id = response.headers.get("Call-ID") or ""
        if not call_id.startswith(self._prefix):
            return None
        identity, _, mac = call_id[len(self._prefix) :].partition("@")[0].rpartition(".")
        if not mac.isascii() or not hmac.compare_digest(mac, self._mac(identity)):
            return None
        try:
            vias, cseq = response.headers.vias, response.headers.cseq
        except ParseError:
            return None
        if len(vias) != 1 or vias[0].branch != _COOKIE + mac or (cseq.number, cseq.method) != (1, "OPTIONS"):
            return None
        ruid, _, sent = identity.rpartition(".")
        roundtrip = max(now - int(sent, 16) / 1000, 0.0)
        return (ruid, roundtrip) if roundtrip <= _ANSWER_TIME else None

    def _deadline_after(self, usrloc: Usrloc, done: int, now: float) -> float:
        """The moment of the next slice with a binding in it, neither too soon nor too far away."""
        ahead = int(min(_LOOK, self._interval) * PARTS / self._interval)
        for number in range(done + 1, done + ahead + 1):
            if usrloc.part(number % PARTS):
                return max(number * self._interval / PARTS, now + _STEP)
        return now + min(_LOOK, self._interval)

    def _mac(self, identity: str) -> str:
        text = identity.encode("utf-8", "surrogateescape")
        return hmac.digest(self._key, text, "sha256").hex()[:24]

    def _ping(self, binding: Binding, address: str, now: float) -> bytes:
        """One OPTIONS (RFC 3261 §11); its Call-ID and branch are what `answered` knows it by."""
        identity = f"{binding.ruid}.{int(now * 1000):x}"
        mac = self._mac(identity)
        target = without_headers(binding.contact)
        return (
            f"OPTIONS {target} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP {address};rport;branch={_COOKIE}{mac}\r\n"
            "Max-Forwards: 70\r\n"
            f"From: <sip:ping@{address}>;tag={mac}\r\n"
            f"To: <{target}>\r\n"
            f"Call-ID: {self._prefix}{identity}.{mac}@{address}\r\n"
            "CSeq: 1 OPTIONS\r\n"
            "Content-Length: 0\r\n\r\n"
        ).encode("utf-8", "surrogateescape")
