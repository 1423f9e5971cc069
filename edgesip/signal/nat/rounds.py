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
    """Where a round stands. `since` is when the first of them began.

    A caller that comes late gets what it missed in batches, but no slice twice. Where the position hangs on
    the clock alone, a new process with the same clock goes on where the old one was.
    """

    def __init__(self) -> None:
        self._done: int | None = None  # the last position visited; slice = position modulo PARTS
        self._next = 0.0
        self.since = 0.0

    def restart(self) -> None:
        """Begin anew."""
        self._done, self._next = None, 0.0

    def deadline(self, now: float) -> float:
        """When `look` is to be called next (monotonic seconds)."""
        return now if self._done is None else self._next

    def look(self, usrloc: Usrloc, position: float, speed: float, now: float) -> list[tuple[str, Glance]]:
        """The bindings whose moment has come: the round has got to `position`, in slices of the table since
        time began, and goes on by `speed` slices a second.
        """
        if now < self._next:
            return []
        reached, done = int(position), self._done
        if done is None:
            self.since = now
        number = reached - 1 if done is None or done > reached else max(done, reached - PARTS)
        seen: list[tuple[str, Glance]] = []
        while number < reached and len(seen) < BATCH:
            number += 1
            seen += usrloc.part(number % PARTS).glances()
        self._done = number
        self._next = now + (_STEP if number < reached else _pause(usrloc, position, speed))
        return seen


def _pause(usrloc: Usrloc, position: float, speed: float) -> float:
    """Seconds until the next slice with a binding in it, neither too few nor too many."""
    done = int(position)
    for number in range(done + 1, done + 1 + int(min(_LOOK * speed, PARTS))):
        if len(usrloc.part(number % PARTS)):
            return max((number - position) / speed, _STEP)
    return min(_LOOK, PARTS / speed)
