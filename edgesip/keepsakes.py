"""Bans and subscriptions beyond a restart: `kept.db` in the state directory, read at start and kept in order.

Knows the two tables and the store. A server goes on without it: what cannot be read or written is said in the
log, and never ends a start. Changes are gathered for half a second and written as one group, so a crash
forgets those of the last half second.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from edgesip.address import Addr
from edgesip.lasting import checkpoints, rehomed
from edgesip.signal.core import SignalCore
from edgesip.signal.dialog import memoir
from edgesip.signal.guard import records
from edgesip.store.api import Record, StoreError, Write
from edgesip.store.sqlite import SqliteStore

BANS, SUBSCRIPTIONS = "bans", "subscriptions"
GATHERED = 0.5
"""Seconds for which changes are gathered."""
GROUP = 50
"""Rows that are written in one go, about a millisecond, for media waits meanwhile."""
PAUSE = 0.005
"""Seconds between two goes when there is more."""
LAST = 1000
"""Rows in one go when nobody waits any more."""

K = TypeVar("K")
Log = Callable[[str, str, dict[str, Any]], None]
Listens = Sequence[tuple[str, Addr]]


class Keepsakes:
    """What is kept of one core."""

    def __init__(self, path: Path, core: SignalCore, log: Log) -> None:
        self._bans = core.guard.bans
        self._subscriptions = core.subscriptions
        self._log = log
        self._failing = False
        self._store: SqliteStore | None = None
        try:
            self._store = SqliteStore(path)
        except StoreError as error:
            self._say("keepsakes not written", error)

    def load(self, listens: Listens, now: float, wall_offset: float) -> None:
        """Put back what is not over; what is over, or cannot be read, is forgotten."""
        if self._store is None:
            return
        before, writes = self._store.skipped, list[Write]()
        bans = subscriptions = bad = 0
        try:
            for name, record in self._store.load(BANS):
                try:
                    ban = records.ban_of(record, wall_offset)
                except ValueError:
                    bad += 1
                    continue
                if self._bans.restore(ban, now):
                    bans += 1
                else:
                    writes.append(Write(None, (BANS, name), None))
            for name, record in self._store.load(SUBSCRIPTIONS):
                try:
                    one = memoir.subscription_of(record, wall_offset, now)
                except ValueError:
                    bad += 1
                    continue
                for end in (one.near, *one.ends.values()):
                    end.flow = rehomed(end.flow, listens)
                if self._subscriptions.restore(one, now):
                    subscriptions += 1
                else:
                    writes.append(Write(None, (SUBSCRIPTIONS, name), None))
        except StoreError as error:
            self._say("keepsakes not read", error)
        bad += self._store.skipped - before
        self._bans.changed.clear()
        self._commit(writes)
        if bans or subscriptions or bad:
            fields = {"bans": bans, "subscriptions": subscriptions, "unreadable": bad}
            self._log("warning" if bad else "info", "keepsakes loaded", fields)

    def write(self, now: float, wall_offset: float, most: int = GROUP) -> bool:
        """Write what has changed, `most` rows at once; True when there is more to write.

        What the store does not take is tried again.
        """
        bans, subscriptions = self._bans, self._subscriptions
        writes: list[Write] = []
        ban_keys = _taken(bans.changed, most)
        for key in ban_keys:
            ban = bans.of(key)
            record = records.record_of(ban, wall_offset) if ban is not None and ban.until > now else None
            writes.append(Write(None, (BANS, records.name_of(key)), record))
        keys = _taken(subscriptions.changed, most - len(writes))
        for one_key in keys:
            one = subscriptions.of(one_key)
            kept: Record | None = memoir.record_of(one, wall_offset) if one is not None else None
            writes.append(Write(None, (SUBSCRIPTIONS, memoir.name_of(one_key)), kept))
        if not self._commit(writes):
            bans.changed |= dict.fromkeys(ban_keys)
            subscriptions.changed |= dict.fromkeys(keys)
            return False
        return bool(bans.changed or subscriptions.changed)

    async def run(self) -> None:
        """Write what changes, for ever."""
        store = self._store
        folding = asyncio.ensure_future(checkpoints(store, self._log)) if store is not None else None
        try:
            while True:
                await asyncio.sleep(GATHERED)
                now = time.monotonic()
                while self.write(now, time.time() - now):
                    await asyncio.sleep(PAUSE)
        finally:
            if folding is not None:
                folding.cancel()

    def close(self) -> None:
        """Write what is left, and let go."""
        now = time.monotonic()
        while self.write(now, time.time() - now, LAST):
            pass
        if self._store is not None:
            self._store.close()

    def _commit(self, writes: Sequence[Write]) -> bool:
        """False when the store did not take them; without a store there is nothing to do."""
        if self._store is None or not writes:
            return True
        try:
            self._store.commit(writes)
        except StoreError as error:
            if not self._failing:
                self._say("keepsakes not written", error)
            self._failing = True
            return False
        self._failing = False
        return True

    def _say(self, event: str, error: StoreError) -> None:
        self._log("error", event, {"why": str(error)})


def _taken(changed: dict[K, None], most: int) -> list[K]:
    """The first of what has changed, taken out."""
    taken = [key for key, _ in zip(changed, range(most), strict=False)]
    for key in taken:
        del changed[key]
    return taken
