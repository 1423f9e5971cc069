"""What of the location table a store has yet to hear: `db_mode`, and the states CS_NEW, CS_DIRTY, CS_SYNC.

Turns changes into `Write`s: at once, or gathered and written back later. Knows neither the table nor the
store; times are monotonic seconds given by the caller.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum

from edgesip.signal.location.binding import Binding
from edgesip.store.api import Write

TABLE = "location"
SLICE = 100  # changes written back in one go, so that a commit does not stop the loop
_PAUSE = 0.02  # seconds between two goes at least


class DbMode(IntEnum):
    """When changes are written (location.md §1.3)."""

    MEMORY = 0
    """Never."""
    THROUGH = 1
    """At once; the answer to a REGISTER waits for it."""
    BACK = 2
    """Every `timer_interval` seconds."""
    READ_ONLY = 4
    """Never, but what is stored was loaded."""


class State(IntEnum):
    """What the store knows of a contact (location.md §1.2)."""

    NEW = 0
    DIRTY = 1
    GONE = 2


class Ledger:
    """What is written, and when. `interval` is seconds, for `BACK` alone."""

    def __init__(self, mode: DbMode, interval: float) -> None:
        self.mode = mode
        self._interval = interval
        self._states: dict[str, State] = {}
        self._due: float | None = None
        self._flushes = 0
        self._written: dict[int, dict[str, State]] = {}

    def __len__(self) -> int:
        """How many changes wait to be written back."""
        return len(self._states)

    @property
    def at_once(self) -> bool:
        """True when changes are writes now: the caller makes them."""
        return self.mode is DbMode.THROUGH

    def note(self, ruid: str, new: bool, gone: bool, now: float) -> None:
        """A contact was added, changed or removed; remembered where it is written back later."""
        if self.mode is not DbMode.BACK:
            return
        before = self._states.get(ruid)
        if gone and before is State.NEW:
            del self._states[ruid]
            return
        if gone:
            self._states[ruid] = State.GONE
        elif new:
            self._states[ruid] = State.NEW
        elif before is None:
            self._states[ruid] = State.DIRTY
        if self._due is None:
            self._due = now + self._interval

    def expired(self, ruid: str, now: float) -> None:
        """A contact is over: where there are many, the rest may wait."""
        if self.mode is DbMode.BACK:
            self.note(ruid, False, True, now)
        elif self.mode is DbMode.THROUGH:
            self._states[ruid] = State.GONE
            if self._due is None:
                self._due = now

    def state_of(self, binding: Binding, started: float) -> str:
        """`CS_NEW`, `CS_DIRTY` or `CS_SYNC`; `started` is when this process loaded what was stored."""
        if self.mode is DbMode.THROUGH:
            return "CS_SYNC"
        if self.mode is DbMode.BACK:
            state = self._states.get(binding.ruid)
            return "CS_SYNC" if state is None else f"CS_{state.name}"
        if self.mode is DbMode.READ_ONLY and binding.last_modified < started:
            return "CS_SYNC"
        return "CS_NEW"

    def deadline(self) -> float | None:
        """When `take` is next due; None when nothing waits."""
        return self._due

    def hurry(self, now: float) -> None:
        """Write back now, slice after slice."""
        if self._states:
            self._due = now

    def take(
        self, find: Callable[[str], Binding | None], now: float, wall_offset: float, limit: int = SLICE
    ) -> list[Write]:
        """The writes that are due. The last one has a token, below zero: `stored` wants to hear of it."""
        if self._due is None or now < self._due:
            return []
        batch: dict[str, State] = {}
        while self._states and len(batch) < limit:
            ruid = next(iter(self._states))
            batch[ruid] = self._states.pop(ruid)
        self._due = now + _PAUSE if self._states else None
        if not batch:
            return []
        self._flushes += 1
        self._written[-self._flushes] = batch
        writes: list[Write] = []
        for ruid in batch:
            binding = find(ruid)
            record = None if binding is None else binding.record(wall_offset)
            token = -self._flushes if len(writes) == len(batch) - 1 else None
            writes.append(Write(token, (TABLE, ruid), record))
        return writes

    def stored(self, token: int, now: float, error: str | None) -> None:
        """The store has, or has failed to, keep what `take` gave under this token: then it is tried again."""
        batch = self._written.pop(token, None)
        if batch is None or error is None:
            return
        for ruid, state in batch.items():
            self._states.setdefault(ruid, state)
        self._due = now + self._interval
