"""Deadlines for everything that waits.

Holds keys and the moments they are due, in monotonic seconds given by the caller. Knows nothing of what
the keys mean. Deadlines of the same 1/1024 s share a slot, and slots, not keys, are kept in order.
"""

from __future__ import annotations

from collections.abc import Hashable
from heapq import heapify, heappop, heappush
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)

SLOTS: Final = 1024.0
"""Slots in a second; a power of two, so that a slot's beginning is an exact number."""


class Timers(Generic[K]):
    """Set, cancel and collect deadlines, each at most 1/1024 s early; one deadline a key, the last set wins.

    A moment in the heap whose slot is gone is dropped when it comes up.
    """

    __slots__ = ("_due", "_heap", "_slots")

    def __init__(self) -> None:
        self._due: dict[K, float] = {}
        self._slots: dict[float, dict[K, None]] = {}
        self._heap: list[float] = []

    def set(self, key: K, when: float) -> None:
        """Make `key` due at `when` (monotonic seconds), replacing an earlier deadline of the same key."""
        at = int(when * SLOTS) / SLOTS
        earlier = self._due.get(key)
        if earlier is not None:
            if earlier == at:
                return
            self._leave(key, earlier)
        self._due[key] = at
        slot = self._slots.get(at)
        if slot is not None:
            slot[key] = None
            return
        self._slots[at] = {key: None}
        heap = self._heap
        heappush(heap, at)
        if len(heap) > 64 and len(heap) > 4 * len(self._slots):
            self._heap = list(self._slots)
            heapify(self._heap)

    def cancel(self, key: K) -> None:
        """Forget the deadline of `key`, if it has one."""
        at = self._due.pop(key, None)
        if at is not None:
            self._leave(key, at)

    def due(self, now: float, most: int = 1 << 30) -> list[K]:
        """Take every key whose deadline has come, earliest first; no more slots once there are `most`."""
        ready: list[K] = []
        heap = self._heap
        while heap and heap[0] <= now and len(ready) < most:
            slot = self._slots.pop(heappop(heap), None)
            if slot is not None:
                for key in slot:
                    del self._due[key]
                    ready.append(key)
        return ready

    def deadline(self) -> float | None:
        """When `due` next has something to give, or None."""
        heap = self._heap
        while heap:
            if heap[0] in self._slots:
                return heap[0]
            heappop(heap)
        return None

    def __len__(self) -> int:
        return len(self._due)

    def __contains__(self, key: K) -> bool:
        return key in self._due

    def _leave(self, key: K, at: float) -> None:
        slot = self._slots[at]
        del slot[key]
        if not slot:
            del self._slots[at]
