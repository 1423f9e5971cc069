"""One heap of deadlines for everything that waits.

Holds keys and the moments they are due, in monotonic seconds given by the caller. Knows nothing of what
the keys mean. Cancelling is lazy: a stale heap entry is dropped when it comes up.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Timers(Generic[K]):
    """Set, cancel and collect deadlines; one deadline a key, the last one set wins."""

    __slots__ = ("_due", "_heap", "_serial")

    def __init__(self) -> None:
        self._due: dict[K, tuple[float, int]] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._serial = 0

    def set(self, key: K, when: float) -> None:
        """Make `key` due at `when` (monotonic seconds), replacing an earlier deadline of the same key."""
        self._serial += 1
        self._due[key] = (when, self._serial)
        heapq.heappush(self._heap, (when, self._serial, key))
        if len(self._heap) > 64 and len(self._heap) > 4 * len(self._due):
            self._heap = [(when, serial, key) for key, (when, serial) in self._due.items()]
            heapq.heapify(self._heap)

    def cancel(self, key: K) -> None:
        """Forget the deadline of `key`, if it has one."""
        self._due.pop(key, None)

    def due(self, now: float) -> list[K]:
        """Take every key whose deadline has come, earliest first."""
        ready: list[K] = []
        heap = self._heap
        while heap and heap[0][0] <= now:
            _, serial, key = heapq.heappop(heap)
            entry = self._due.get(key)
            if entry is not None and entry[1] == serial:
                del self._due[key]
                ready.append(key)
        return ready

    def deadline(self) -> float | None:
        """When `due` next has something to give, or None."""
        heap = self._heap
        while heap:
            when, serial, key = heap[0]
            entry = self._due.get(key)
            if entry is not None and entry[1] == serial:
                return when
            heapq.heappop(heap)
        return None

    def __len__(self) -> int:
        return len(self._due)

    def __contains__(self, key: K) -> bool:
        return key in self._due
