"""One heap of deadlines for everything that waits.

Holds keys and the moments they are due, in monotonic seconds given by the caller. Knows nothing of what
the keys mean. Cancelling is lazy: a stale heap entry is dropped when it comes up.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Timers(Generic[K]):
    """Set, cancel and collect deadlines; one deadline a key, the last one set wins.

    An entry of the heap is [when, serial, key]; None in place of the key when it was cancelled, so that
    nothing is kept alive by a deadline that nobody waits for.
    """

    __slots__ = ("_due", "_heap", "_serial")

    def __init__(self) -> None:
        self._due: dict[K, list[Any]] = {}
        self._heap: list[list[Any]] = []
        self._serial = 0

    def set(self, key: K, when: float) -> None:
        """Make `key` due at `when` (monotonic seconds), replacing an earlier deadline of the same key."""
        due, heap = self._due, self._heap
        earlier = due.get(key)
        if earlier is not None:
            earlier[2] = None
        self._serial += 1
        entry = [when, self._serial, key]
        due[key] = entry
        heapq.heappush(heap, entry)
        if len(heap) > 64 and len(heap) > 4 * len(due):
            self._heap = list(due.values())
            heapq.heapify(self._heap)

    def cancel(self, key: K) -> None:
        """Forget the deadline of `key`, if it has one."""
        entry = self._due.pop(key, None)
        if entry is not None:
            entry[2] = None

    def due(self, now: float) -> list[K]:
        """Take every key whose deadline has come, earliest first."""
        ready: list[K] = []
        heap = self._heap
        while heap and heap[0][0] <= now:
            key = heapq.heappop(heap)[2]
            if key is not None:
                del self._due[key]
                ready.append(key)
        return ready

    def deadline(self) -> float | None:
        """When `due` next has something to give, or None."""
        heap = self._heap
        while heap:
            entry = heap[0]
            if entry[2] is not None:
                return float(entry[0])
            heapq.heappop(heap)
        return None

    def __len__(self) -> int:
        return len(self._due)

    def __contains__(self, key: K) -> bool:
        return key in self._due
