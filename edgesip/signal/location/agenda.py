"""When bindings are over: an agenda that costs eight octets an entry.

Holds times and names, sorted by whole seconds, and exactly only where the time is near. It refuses to know
what the names stand for: whoever asks says whether an entry still holds.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from math import floor

SLICE = 250  # entries sorted exactly in one go, so that a second with very many does not stop the loop


class Agenda:
    """Entries (moment, name); times in seconds. An entry is never taken back: it is found out of date."""

    def __init__(self) -> None:
        self._seconds: list[int] = []
        self._later: dict[int, list[str]] = {}
        self._near: list[tuple[float, str]] = []
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, at: float, name: str) -> None:
        """One more entry."""
        second = floor(at)
        names = self._later.get(second)
        if names is None:
            self._later[second] = [name]
            heappush(self._seconds, second)
        else:
            names.append(name)
        self._size += 1

    def first(self) -> tuple[float, str] | None:
        """The first entry that is sorted exactly; None: `pour` has to be called, or there is none at all."""
        near = self._near
        if not near or (self._seconds and self._seconds[0] <= near[0][0]):
            return None
        return near[0]

    def nearest(self) -> tuple[float, str]:
        """The same, where `first` has just found one."""
        return self._near[0]

    def drop(self) -> None:
        """Take the first of the exactly sorted entries out."""
        heappop(self._near)
        self._size -= 1

    def sort(self, at: float, name: str) -> None:
        """Put an entry among those that are sorted exactly."""
        heappush(self._near, (at, name))
        self._size += 1

    def pour(self) -> tuple[int, list[str]] | None:
        """Take names of the nearest second out, a slice at most, to be put back by `sort` or `add`.

        None when no second is left.
        """
        if not self._seconds:
            return None
        second = self._seconds[0]
        names = self._later[second]
        if len(names) <= SLICE:
            heappop(self._seconds)
            del self._later[second]
        else:
            rest, names = names, names[-SLICE:]
            del rest[-SLICE:]
        self._size -= len(names)
        return second, names

    def earliest(self) -> float | None:
        """No entry lies before this moment."""
        near, seconds = self._near, self._seconds
        if near and seconds:
            return min(near[0][0], float(seconds[0]))
        if near:
            return near[0][0]
        return float(seconds[0]) if seconds else None

    def seconds(self) -> list[int]:
        """The whole seconds that have entries, in no order."""
        return list(self._later)

    def weed(self, second: int, holds: Callable[[int, str], bool]) -> None:
        """Take out the entries of one second that do not hold any more, or stand there twice."""
        names = self._later.get(second)
        if names is not None:
            kept = [name for name in dict.fromkeys(names) if holds(second, name)]
            self._size -= len(names) - len(kept)
            names[:] = kept
