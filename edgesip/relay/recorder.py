"""Recordings on disk: files in one folder, written once a second each, by a thread of their own.

Takes what waits in the sinks of the relay core, has it made into octets in the loop, and written where it may
take as long as it likes. A file can be read at any moment, also after the process was killed: its header is
right after every write. A disk that is full, or slow, costs the recording and never the call. Refuses to know
whom to record and why.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from edgesip.relay.core import RelayCore
from edgesip.relay.record import PCAP, PcapFile, Sink, WavFile, name_of
from edgesip.relay.session import from_tag_of
from edgesip.relay.switches import why_not

MOST = 500
"""Recordings at a time."""
TURN = 1.0
"""Seconds between two writes of a file, and between two looks for calls that are to be recorded."""
GATHER = 0.1
"""Part of a turn in which what is made for several files is gathered, to be written together."""
_NAMES = 1000  # files of one call

Log = Callable[[str, str, dict[str, Any]], None]


class RecordError(Exception):
    """A recording that cannot be: `missing` when there is no such call."""

    def __init__(self, why: str, missing: bool = False) -> None:
        super().__init__(why)
        self.missing = missing


@dataclass(frozen=True, slots=True)
class RecordSettings:
    """Where files are, how long one may get and how much of the disk must stay free, in octets."""

    folder: Path
    max_size: int
    min_free: int


@dataclass(slots=True, eq=False)
class _Recording:
    """One file. `size` are its octets as far as they are written, `writing` while more are on their way."""

    sink: Sink
    file: WavFile | PcapFile
    fd: int
    path: Path
    size: int = 0
    writing: bool = False
    due: asyncio.TimerHandle | None = field(default=None, repr=False)
    why: str = ""


class _Chunk(NamedTuple):
    """What is to be written behind a file; `last` when nothing comes after it."""

    one: _Recording
    made: bytes
    last: bool


class Recorder:
    """All recordings of one relay. `settings` is asked each time, `log(level, event, fields)` writes a line.

    Construct and use it in the loop's thread.
    """

    def __init__(
        self,
        settings: Callable[[], RecordSettings],
        core: RelayCore,
        loop: asyncio.AbstractEventLoop,
        log: Log,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._core = core
        self._loop = loop
        self._log = log
        self._clock = clock
        self._writer = ThreadPoolExecutor(1, "record")
        self._recordings: dict[tuple[str, str], _Recording] = {}
        self._ending: set[_Recording] = set()
        self._failing = False
        self._looking: asyncio.TimerHandle | None = None
        self._gathered: list[_Chunk] = []
        self._gathering: asyncio.TimerHandle | None = None
        self._busy = False
        self._counts = {"rtp:rtp_recorded": 0, "rtp:rtp_recording_failed": 0, "rtp:rtp_recording_lost": 0}

    @property
    def counters(self) -> dict[str, int]:
        """Recordings now and since the start, those that failed, and packets that are in none."""
        return {**self._counts, "rtp:rtp_recordings": len(self._recordings)}

    def begin(self) -> None:
        """Look for calls that scripts want recorded, from now on."""
        self._looking = self._loop.call_later(TURN, self._look)

    def close(self) -> None:
        """End every recording, and wait until the files are whole. Safe to call twice."""
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None
            self._adopt()
        now = self._clock()
        for one in list(self._recordings.values()):
            one.sink.end(now)
            one.why = one.why or "the server stopped"
            self._core.record(one.sink.key, "", now)
        self._writer.shutdown(wait=True)
        if self._gathering is not None:
            self._gathering.cancel()
        gathered = {chunk.one: chunk.made for chunk in self._gathered}
        self._gathered = []
        for one in [*self._recordings.values(), *self._ending]:
            made = gathered.get(one, b"") + one.file.made(one.sink.take(), now)
            try:
                one.size = _append(one.fd, made + one.file.finish(one.sink.ended or now), one.file, 0)
            except OSError as error:
                self._failed(one.path, error)
            self._over(one)

    # -- what is asked of it -----------------------------------------------------------------------

    def start(self, call_id: str, kind: str) -> list[dict[str, Any]]:
        """Record a call from now on: what `show` says of it. Raises `RecordError`."""
        sessions = self._core.named(call_id)
        if not sessions:
            raise RecordError(f"there is no call with media and the Call-ID {call_id!r}", missing=True)
        for session in sessions:
            why = why_not(session) if kind != PCAP else ""
            if why:
                raise RecordError(f"{why}: a pcap can hold it")
        for session in sessions:
            self._core.record(session.key, kind, self._clock())
        refused = self._adopt()
        if refused:
            raise RecordError(refused)
        return [one for one in self.show() if one["call-id"] == call_id]

    def stop(self, call_id: str) -> list[dict[str, Any]]:
        """Record a call no longer: what `show` said of it last. Raises `RecordError`."""
        told = [one for one in self.show() if one["call-id"] == call_id]
        if not told:
            raise RecordError(f"no call with the Call-ID {call_id!r} is recorded", missing=True)
        for key in [key for key in self._recordings if key[0] == call_id]:
            self._core.record(key, "", self._clock())
            self._turn(self._recordings[key])
        return told

    def show(self) -> list[dict[str, Any]]:
        """The recordings as they are now: seconds since they began, octets that are written."""
        now = self._clock()
        return [
            {
                "call-id": one.sink.key[0],
                "from_tag": from_tag_of(one.sink.key),
                "format": one.sink.kind,
                "file": str(one.path),
                "seconds": int(now - one.sink.since),
                "octets": one.size,
                "lost": one.sink.lost,
            }
            for one in self._recordings.values()
        ]

    # -- new ones ----------------------------------------------------------------------------------

    def _look(self) -> None:
        self._looking = self._loop.call_later(TURN, self._look)
        self._adopt()

    def _adopt(self) -> str:
        """Open files for the sinks that have none; why one of them has none still, or empty."""
        refused = ""
        for sink in self._core.sinks.take():
            before = self._recordings.pop(sink.key, None)
            if before is not None:
                self._ending.add(before)
            try:
                if len(self._recordings) >= MOST:
                    raise OSError(errno.EMFILE, f"{MOST} calls are recorded already")
                self._open(sink)
            except OSError as error:
                refused = self._failed(self._settings().folder, error)
                self._core.record(sink.key, "", self._clock())
        return refused

    def _open(self, sink: Sink) -> None:
        file = PcapFile(sink, time.time() - self._clock()) if sink.kind == PCAP else WavFile(sink)
        folder = self._settings().folder
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        called = (sink.name,) if sink.name else (sink.key[0], from_tag_of(sink.key))
        fd, path = _created(folder, name_of(called), file.suffix)
        one = _Recording(sink, file, fd, path)
        try:
            one.size = _append(fd, file.begin(), file, self._settings().min_free)
        except OSError:
            os.close(fd)
            path.unlink(missing_ok=True)
            raise
        self._failing = False
        self._recordings[sink.key] = one
        self._counts["rtp:rtp_recorded"] += 1
        one.due = self._loop.call_later(TURN, self._turn, one)
        self._log("info", "recording started", {"call_id": sink.key[0], "file": str(path)})

    # -- the files ---------------------------------------------------------------------------------

    def _turn(self, one: _Recording) -> None:
        """Have written what has come; with the last of it, the file is closed."""
        if one.due is not None:
            one.due.cancel()
        one.due = self._loop.call_later(TURN, self._turn, one)
        if one.writing:
            return
        now, ended = self._clock(), one.sink.ended
        made = one.file.made(one.sink.take(), now)
        if ended is not None:
            made += one.file.finish(ended)
        if one.size + len(made) > self._settings().max_size and ended is None:
            one.why = "it is as long as relay.record_max_size lets it be"
            self._core.record(one.sink.key, "", now)
        one.writing = True
        self._gathered.append(_Chunk(one, made, ended is not None))
        if not self._busy and self._gathering is None:
            self._gathering = self._loop.call_later(TURN * GATHER, self._write)

    def _write(self) -> None:
        """Give the writer what was made for all files lately: to wake a thread is not cheap."""
        self._gathering, self._busy = None, True
        chunks, self._gathered = self._gathered, []
        job = self._writer.submit(_append_all, chunks, self._settings().min_free)
        job.add_done_callback(lambda done: self._told(chunks, done))

    def _told(self, chunks: Sequence[_Chunk], job: Future[list[int | OSError]]) -> None:
        """In the writer's thread: the loop is told that it has written."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: `close` sees to the files
            self._loop.call_soon_threadsafe(self._wrote, chunks, job)

    def _wrote(self, chunks: Sequence[_Chunk], job: Future[list[int | OSError]]) -> None:
        self._busy = False
        for chunk, result in zip(chunks, job.result(), strict=True):
            one = chunk.one
            one.writing = False
            if one.fd < 0:
                continue
            if isinstance(result, OSError):
                one.why = _text(result)
                self._failed(one.path, result)
                one.sink.end(self._clock())
                self._core.record(one.sink.key, "", self._clock())
            else:
                one.size = result
            if chunk.last or isinstance(result, OSError):
                self._over(one)
        if self._gathered:
            self._write()

    def _over(self, one: _Recording) -> None:
        """The file is whole, or as whole as it gets."""
        if one.due is not None:
            one.due.cancel()
        os.close(one.fd)
        one.fd = -1
        self._ending.discard(one)
        if self._recordings.get(one.sink.key) is one:
            del self._recordings[one.sink.key]
        self._counts["rtp:rtp_recording_lost"] += one.sink.lost
        told: dict[str, Any] = {"call_id": one.sink.key[0], "file": str(one.path), "octets": one.size}
        told["seconds"] = round((one.sink.ended or self._clock()) - one.sink.since, 1)
        told |= {"lost": one.sink.lost} if one.sink.lost else {}
        told |= {"unheard": one.file.unheard()} if one.file.unheard() else {}
        told |= {"why": one.why} if one.why else {}
        self._log("info", "recording ended", told)

    def _failed(self, path: Path, error: OSError) -> str:
        """Say it once, until a recording can be begun again."""
        self._counts["rtp:rtp_recording_failed"] += 1
        why = _text(error)
        if not self._failing:
            self._failing = True
            self._log("error", "recording failed", {"file": str(path), "why": why})
        return f"{path}: {why}"


def _created(folder: Path, name: str, suffix: str) -> tuple[int, Path]:
    """A new file of this name in the folder; the second one of a call is told apart by a number."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    for number in range(1, _NAMES):
        path = folder / (f"{name}-{number}{suffix}" if number > 1 else f"{name}{suffix}")
        with contextlib.suppress(FileExistsError):
            return os.open(path, flags, 0o640), path
    raise FileExistsError(errno.EEXIST, f"there are {_NAMES} recordings of this call")


def _append_all(chunks: Sequence[_Chunk], min_free: int) -> list[int | OSError]:
    """The octets of each file, or why it could not be written."""
    results: list[int | OSError] = []
    for one, made, _ in chunks:
        try:
            results.append(_append(one.fd, made, one.file, min_free))
        except OSError as error:
            results.append(error)
    return results


def _append(fd: int, data: bytes, file: WavFile | PcapFile, min_free: int) -> int:
    """Write it behind what is there and set the header right; the octets of the file.

    OSError when it cannot be written, or would leave less than `min_free` octets: the file is as before.
    """
    before = os.fstat(fd).st_size
    try:
        disk = os.fstatvfs(fd)
        if disk.f_bavail * disk.f_frsize < min_free:
            raise OSError(errno.ENOSPC, "less of the disk is free than relay.record_min_free wants")
        left = memoryview(data)
        while left:
            left = left[os.write(fd, left) :]
        size = before + len(data)
        head = file.patched(size)
        if head:
            os.pwrite(fd, head, 0)
    except OSError:
        os.ftruncate(fd, before)
        raise
    return size


def _text(error: OSError) -> str:
    return error.strerror or str(error)
