"""A round through the location table: every binding has its moment in it, a slice of the table at a time.

Holds how far the round has come. It refuses to know what is done with a binding, and clocks: times are
monotonic seconds given by the caller.
"""

from __future__ import annotations

from edgesip.signal.location.glance import Glance
from edgesip.signal.location.usrloc import PARTS, Usrloc

BATCH = 1000
"""Bindings looked at after which one call ends, so that a late caller does not stop the loop."""
_STEP = 0.02  # seconds between two batches at least
_LOOK = 1.0  # seconds after which the table is looked at again at the latest


class Round:
    """Where a round stands; one takes `period` seconds. `since` is when the first of them began.

    A caller that comes late gets what it missed in batches, but no slice twice. The moments hang on the
    clock, the period and the ruid alone, so a new process with the same clock goes on where the old one was.
    """

    def __init__(self) -> None:
        self._done: int | None = None  # slices visited since time began; slice = number modulo PARTS
        self._next = 0.0
        self.since = 0.0

    def restart(self) -> None:
        """Begin anew."""
        self._done, self._next = None, 0.0

    def deadline(self, now: float) -> float:
        """When `look` is to be called next (monotonic seconds)."""
        return now if self._done is None else self._next

    def look(self, usrloc: Usrloc, period: float, now: float) -> list[tuple[str, Glance]]:
        """The bindings whose moment has come."""
        if now < self._next:
            return []
        reached, done = int(now * PARTS / period), self._done
        if done is None:
            self.since = now
        number = reached - 1 if done is None or done > reached else max(done, reached - PARTS)
        seen: list[tuple[str, Glance]] = []
        while number < reached and len(seen) < BATCH:
            number += 1
            seen += usrloc.part(number % PARTS).glances()
        self._done = number
        self._next = now + _STEP if number < reached else _deadline_after(usrloc, period, number, now)
        return seen


def _deadline_after(usrloc: Usrloc, period: float, done: int, now: float) -> float:
    """The moment of the next slice with a binding in it, neither too soon nor too far away."""
    ahead = int(min(_LOOK, period) * PARTS / period)
    for number in range(done + 1, done + ahead + 1):
        if len(usrloc.part(number % PARTS)):
            return max(number * period / PARTS, now + _STEP)
    return now + min(_LOOK, period)
