"""Admission: what is let in when more comes than can be served, and how often an error is answered.

Told how long messages have waited before they are read, it turns away the part of what opens something new
that keeps this wait near a target, as PIE does with packets (RFC 8033 §4.2): what is under way ends well.
Strangers go first. Only when all of them are turned away and messages still wait, so are calls of those who
are at home here (registered over this flow, or trusted), and last of all their refreshes.
Measures nothing itself, knows no socket, and keeps nothing for a caller but when its next error is due.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgesip.signal.wire.message import Request

INTERVAL = 0.1
"""Seconds between two looks at the delay."""
ALPHA, BETA = 0.4, 1.8
"""How much the part changes at a look for a second above the target, and for a second more than before."""
CALM = 0.95
"""What is left of the part after a look at less than half of the target."""
ALL, MOST = 1.0, 2.0
"""The part at which every stranger is turned away, and the one at which everybody is."""
REFRESHES = 1.5
"""The part from which on phones that refresh are turned away as well."""
SLOWLY = 0.2
"""What the part may grow at a look beyond `ALL`: the queue of strangers has to be gone first."""


@dataclass(frozen=True, slots=True)
class AdmissionSettings:
    """Seconds that a message may wait under load, and beyond which an answer would come too late; errors a
    second for one source, those that it has at first, sources kept.
    """

    target: float = 0.07
    stale: float = 2.0
    errors: float = 1.0
    burst: float = 64.0
    sources: int = 10_000


class Admission:
    """What is let in. `closed` is False in all normal times, and then nobody need ask."""

    def __init__(self, settings: AdmissionSettings, entropy: Callable[[int], bytes]) -> None:
        self._settings = settings
        self._entropy = entropy
        self._worst = 0.0
        self._looked = 0.0
        self._errors: dict[str, tuple[float, float]] = {}
        self.closed = False
        self.delay = 0.0
        self.part = 0.0  # of strangers as it stands up to ALL, of the others by what is beyond
        self.counters: dict[str, int] = {
            "core:overload_rejected": 0,
            "core:overload_dropped": 0,
            "core:errors_suppressed": 0,
        }

    def gauges(self) -> dict[str, int]:
        """The delay in milliseconds and the parts that are turned away in per cent, now."""
        return {
            "core:overload_delay_ms": int(self.delay * 1000),
            "core:overload_percent": int(min(self.part, ALL) * 100),
            "core:overload_known_percent": int(max(self.part - ALL, 0.0) * 100),
        }

    def measure(self, waited: float, now: float) -> None:
        """Messages read now have waited this long (seconds), in a queue or because the loop was busy."""
        self._worst = max(self._worst, waited)
        passed = now - self._looked
        if passed < INTERVAL:
            return
        before, self.delay = self.delay, self._worst
        delay, self._worst, self._looked = self._worst, 0.0, now
        target = self._settings.target
        if not self.part and min(before, delay) <= target:
            return  # once is a pause, twice is a queue
        part = self.part + ALPHA * (delay - target) + BETA * (delay - before)
        if max(before, delay) < target / 2:
            part = min(part, self.part * CALM ** min(passed / INTERVAL, 200.0))
        self.part = min(MOST, max(ALL, self.part + SLOWLY), max(0.0, part if part > 0.005 else 0.0))
        self.closed = self.part > 0

    def deadline(self) -> float | None:
        """When `tick` is next due (monotonic seconds); None while all are let in."""
        return self._looked + 2 * INTERVAL if self.closed else None

    def tick(self, now: float) -> None:
        """Nobody may have come lately: that, too, is a sign that there is time."""
        if self.closed:
            self.measure(0.0, now)

    def refusal(self, request: Request, known: bool, lot: int) -> int:
        """0 for what is let in; else the seconds for its Retry-After, -1 when not even that makes sense.

        What belongs to something is always let in; `known` is who is at home here. `lot` (0..65535) is drawn
        once for a request: when it is repeated in a full queue, the second copy of one that was turned away
        must not open a call that nobody waits for.
        """
        if request.method in ("ACK", "BYE", "CANCEL", "PRACK", "UPDATE") or request.headers.to.tag:
            return 0
        if known and request.method == "REGISTER":
            return self._turned(lot, (self.part - REFRESHES) / (MOST - REFRESHES))
        return self.turned(lot, known)

    def turned(self, lot: int, known: bool) -> int:
        """The same for a new call."""
        return self._turned(lot, self.part - ALL if known else self.part)

    def _turned(self, lot: int, part: float) -> int:
        if lot >= part * 65536:
            return 0
        if self.delay > self._settings.stale:
            self.counters["core:overload_dropped"] += 1
            return -1
        self.counters["core:overload_rejected"] += 1
        return 1 + self._entropy(1)[0] % 10

    def sheds(self) -> bool:
        """True for what is to be dropped unread, far cheaper than any answer: by lot, so that whoever repeats
        himself gets through.
        """
        if self._entropy(1)[0] >= self.part * 256:
            return False
        self.counters["core:overload_dropped"] += 1
        return True

    def may_err(self, source: str, now: float) -> bool:
        """True when one more error may be answered to this address (CVE-2024-2169: none for ever).

        What is not SIP may come from a server that takes our error for a message of its own.
        """
        settings = self._settings
        tokens, since = self._errors.pop(source, (settings.burst, now))
        tokens = min(settings.burst, tokens + (now - since) * settings.errors)
        while len(self._errors) >= settings.sources:
            del self._errors[next(iter(self._errors))]
        allowed = tokens >= 1.0
        self._errors[source] = (tokens - 1.0 if allowed else tokens, now)
        if not allowed:
            self.counters["core:errors_suppressed"] += 1
        return allowed
