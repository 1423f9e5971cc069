"""Calls that outlive the process: dialogs and media written as they change, taken up again at the start.

Knows the store and the rooms that fill it. What changes is gathered for half a second and written together,
so that a call costs a few rows however much it says; a call that is shorter than that is never written.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from edgesip.lasting import Listens, checkpoints, rehomed
from edgesip.relay import kept as media
from edgesip.relay.core import RelayCore
from edgesip.relay.session import Key
from edgesip.signal.dialog import kept as dialogs
from edgesip.signal.dialog.state import Dialog
from edgesip.signal.dialog.table import Dialogs
from edgesip.store.api import Store, StoreError, Write
from edgesip.store.sqlite import SqliteStore

GATHER = 0.5
"""Seconds for which changes are gathered: what a crash may cost."""
SLICE = 16
"""Rows written in one go: less than a millisecond, for media waits meanwhile."""
PAUSE = 0.005
"""Seconds between two goes when more waits."""
REFRESH = 30.0
"""Seconds after which a call is written again though nobody said anything: its counters, its last packet."""

Log = Callable[[str, str, dict[str, Any]], None]


class Rooms(NamedTuple):
    """What is kept: the dialogs, and the media if there is a relay; `listens` is where SIP is heard now."""

    dialogs: Dialogs
    media: RelayCore | None
    listens: Listens = ()


class Resumed(NamedTuple):
    """What came back: how many calls, the media sessions, and why others did not, with how many each."""

    calls: int
    media: list[Key]
    lost: dict[str, int]


def opened(path: Path, log: Log) -> SqliteStore | None:
    """The file of calls; a damaged one is put aside. None when there can be none: calls end with us then."""
    for again in (True, False):
        try:
            return SqliteStore(path)
        except StoreError as error:
            why = str(error)
            if not again or "damaged" not in why or not _put_aside(path):
                break
            log("warning", "calls not readable", {"why": why, "kept_as": f"{path.name}.damaged"})
    log("warning", "calls are not kept", {"why": why})
    return None


def _put_aside(path: Path) -> bool:
    try:
        path.replace(path.with_name(f"{path.name}.damaged"))
        for tail in ("-wal", "-shm"):
            path.with_name(path.name + tail).unlink(missing_ok=True)
    except OSError:
        return False
    return True


def resume(store: Store, rooms: Rooms, now: float, wall_offset: float, log: Log) -> Resumed:
    """Take up the calls of the store; those that cannot be are deleted from it, with a line in the log."""
    lost: dict[str, int] = {}
    gone: list[Write] = []
    calls = 0
    sessions: list[Key] = []

    def refused(table: str, name: str, why: str) -> None:
        lost[why] = lost.get(why, 0) + 1
        gone.append(Write(None, (table, name), None))

    try:
        for name, record in list(store.load(dialogs.TABLE)):
            try:
                _rehome(dialogs.take_up(rooms.dialogs, record, now, wall_offset), rooms.listens)
                calls += 1
            except dialogs.NotKept as error:
                refused(dialogs.TABLE, name, str(error))
        for name, record in list(store.load(media.TABLE)):
            try:
                if rooms.media is None:
                    raise media.NotKept("there is no relay any more")
                sessions.append(media.take_up(rooms.media, record, now, wall_offset).key)
            except media.NotKept as error:
                refused(media.TABLE, name, str(error))
        store.commit(gone)
    except StoreError as error:
        log("error", "store failed", {"why": str(error), "writes": len(gone)})
    if calls or sessions or lost:
        fields: dict[str, Any] = {"calls": calls, "media": len(sessions)}
        if lost:
            fields |= {"lost": sum(lost.values()), "why": "; ".join(f"{n}: {why}" for why, n in lost.items())}
        log("warning" if lost else "info", "calls taken up again", fields)
    return Resumed(calls, sessions, lost)


def _rehome(dialog: Dialog, listens: Listens) -> None:
    """Both ends are reached from addresses that we listen on: the ones they came by may be gone."""
    for side in ("caller", "callee"):
        leg = dialog.leg(side)
        if leg.flow is not None:
            dialog.put_leg(side, leg.with_flow(rehomed(leg.flow, listens)))


class Diary:
    """Writes what changes. `turn` is to be called every `GATHER` seconds, or when it says."""

    def __init__(self, store: Store, rooms: Rooms, wall_offset: float, log: Log) -> None:
        self._store = store
        self._rooms = rooms
        self._wall_offset = wall_offset
        self._log = log
        self._waiting: dict[Dialog | Key, None] = {}
        self._rows: dict[Dialog | Key, tuple[str, str]] = {}
        self._round: list[Key] = []
        self._round_at = -REFRESH
        self._share = 0
        self._aged_at = -GATHER
        self._failing = False
        dialogs.follow(rooms.dialogs)
        if rooms.media is not None:
            media.follow(rooms.media)
        for one in self._everything():  # came from the store: the rows are there
            self._rows[one] = _place_of(one)

    def turn(self, now: float, limit: int = SLICE) -> float:
        """Write what has changed; seconds until this wants to be called again.

        After a failure everything is tried again: what changes meanwhile is not remembered one by one.
        """
        if self._failing:
            self._waiting.update(dict.fromkeys([*self._rows, *self._everything()]))
        for dialog in dialogs.changed(self._rooms.dialogs):
            self._waiting[dialog] = None
        relay = self._rooms.media
        if relay is not None:
            for key in media.changed(relay):
                self._waiting[key] = None
            if now - self._aged_at >= GATHER:
                self._aged_at = now
                self._age(relay, now)
        writes: list[Write] = []
        taken: list[Dialog | Key] = []
        while self._waiting and len(writes) < limit:
            one = next(iter(self._waiting))
            del self._waiting[one]
            write = self._write_of(one, now)
            if write is not None:
                writes.append(write)
                taken.append(one)
        if writes and not self._commit(writes):
            self._waiting.clear()
            return GATHER
        for one, write in zip(taken, writes, strict=True):
            if write.record is None:
                del self._rows[one]
            else:
                self._rows[one] = write.key
        return PAUSE if self._waiting else GATHER

    def close(self, now: float) -> None:
        """Write everything as it is now: the server ends, its calls go on with the next one."""
        self._waiting.update(dict.fromkeys(self._everything()))
        self.turn(now, len(self._waiting) + SLICE)

    def _everything(self) -> list[Dialog | Key]:
        keys = self._rooms.media.keys if self._rooms.media is not None else []
        return [*self._rooms.dialogs, *keys]

    def _age(self, relay: RelayCore, now: float) -> None:
        """A part of the media sessions, so that each has its turn once in `REFRESH`."""
        if now >= self._round_at:
            self._round_at = now + REFRESH
            self._round = relay.keys
            self._share = math.ceil(len(self._round) * GATHER / REFRESH)
        for key in self._round[: self._share]:
            self._waiting[key] = None
        del self._round[: self._share]

    def _write_of(self, one: Dialog | Key, now: float) -> Write | None:
        """The row as it is to be; None where there is none and none is to be."""
        if isinstance(one, Dialog):
            record = dialogs.record_of(one, self._wall_offset)
        else:
            assert self._rooms.media is not None  # it has named the key
            record = media.record_of(self._rooms.media, one, now, self._wall_offset)
        if record is None:
            row = self._rows.get(one)
            return None if row is None else Write(None, row, None)
        return Write(None, _place_of(one), record)

    def _commit(self, writes: list[Write]) -> bool:
        try:
            self._store.commit(writes)
        except StoreError as error:
            if not self._failing:
                self._log("error", "store failed", {"why": str(error), "writes": len(writes)})
            self._failing = True
            return False
        self._failing = False
        return True


def _place_of(one: Dialog | Key) -> tuple[str, str]:
    """Table and name of a row."""
    if isinstance(one, Dialog):
        return (dialogs.TABLE, dialogs.name_of(one))
    return (media.TABLE, media.name_of(one))


def begin(
    stack: contextlib.AsyncExitStack,
    path: Path,
    rooms: Rooms,
    wall_offset: float,
    told: Callable[[list[Key], float], None] | None,
    log: Log,
) -> None:
    """Take up what the file has, and keep it in order until the stack unwinds; `told` hears of the media."""
    store = opened(path, log)
    if store is None:
        return
    stack.callback(store.close)
    now = time.monotonic()
    resumed = resume(store, rooms, now, wall_offset, log)
    if told is not None:
        told(resumed.media, now)
    diary = Diary(store, rooms, wall_offset, log)
    stack.callback(lambda: diary.close(time.monotonic()))
    for work in (keep(diary, log), checkpoints(store, log)):
        stack.push_async_callback(_end, asyncio.ensure_future(work))


async def _end(task: asyncio.Future[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def keep(diary: Diary, log: Log) -> None:
    """Write what changes, for ever."""
    wait = GATHER
    while True:
        await asyncio.sleep(wait)
        try:
            wait = diary.turn(time.monotonic())
        except Exception as error:  # a record that cannot be made costs itself, not those that come later
            wait = GATHER
            log("error", "calls not written", {"error": repr(error), "exc": error})
