"""`edgesip trace`: what was said, by whom, when, and why we did what we did with it."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, Self

import typer

from edgesip import pcap
from edgesip.cli.client import ask
from edgesip.cli.fail import FAILED, NOT_FOUND, Fail
from edgesip.cli.ladder import Event, Ladder, Style, drawn
from edgesip.cli.options import Output, OutputOption, SocketOption, StateDirOption
from edgesip.cli.output import put, say, show_json, show_table
from edgesip.cli.paths import socket_of
from edgesip.cli.pcap import record

POLL = 0.3
"""Seconds between two questions for what is new."""
CALLS = 200
"""Calls of a user that are followed at a time."""
_URI = re.compile(r"(?:sips?|tel):([^;>?\s]+)", re.IGNORECASE)


def trace(
    user: Annotated[
        str, typer.Option("--user", metavar="USER", help="whatever this user is named in, REGISTERs too")
    ] = "",
    call: Annotated[
        str | None,
        typer.Option("--call", metavar="ID", help="a call by its Call-ID, or the beginning of it"),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="go on with what comes, until Ctrl-C")] = False,
    file: Annotated[
        Path | None,
        typer.Option(
            "--pcap",
            metavar="FILE",
            help="write the messages for Wireshark: TCP and TLS too, in clear",
            readable=False,
        ),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="every message with its text")] = False,
    socket: SocketOption = None,
    state_dir: StateDirOption = None,
    output: OutputOption = Output.table,
) -> None:
    """The last calls; of a user or a call each message and why it went where it went, as a ladder."""
    path = socket_of(state_dir, socket)
    if not (user or call is not None or follow or file or full):
        _list(ask(path, "trace.list"), output)
        return
    wanted = [call] if call is not None else []
    events = _Events(path, user, wanted)
    with ExitStack() as stack:
        keep = None if file is None else stack.enter_context(_Capture(file)).write
        if follow:
            _follow(events, _shown(bool(user or wanted), full, output, keep))
            return
        found = events.next()
        if not found and (user or call):
            raise Fail(NOT_FOUND, "nothing of it is remembered")
        if keep is not None:
            count = keep(found)
            say(f"{file}: {count} messages")
        elif output is Output.json:
            show_json(found)
        else:
            put("".join(f"{line}\n" for line in drawn(found, style(), full)))


class _Events:
    """What the server remembers of a choice, each event once."""

    def __init__(self, path: Path, user: str, calls: list[str]) -> None:
        self._path = path
        self._user = user
        self._calls = calls
        self._since = 0

    def next(self) -> list[Event]:
        """What is new since the last time."""
        answer = ask(self._path, "trace.events", self._since, self._user, *self._calls)
        found: list[Event] = answer[:-1]
        end = answer[-1]
        self._since = end["seq"]
        if self._user:  # notes name nobody: the calls of this user are known by their Call-ID from now on
            names = [event["call_id"] for event in found if event["call_id"]]
            self._calls = list(dict.fromkeys([*self._calls, *names]))[-CALLS:]
        return found


class _Capture:
    """A capture file that is being written."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Self:
        try:
            self._file = open(self._path, "wb", buffering=0, opener=_private)
        except OSError as error:
            raise self._failed(error) from None
        try:
            self._put(pcap.HEADER)
        except Fail:
            self._file.close()
            raise
        return self

    def __exit__(self, *failure: object) -> None:
        self._file.close()

    def write(self, events: list[Event]) -> int:
        """Add the messages among these; how many."""
        messages = [event for event in events if event["kind"] == "message"]
        for message in messages:
            self._put(record(message))
        return len(messages)

    def _put(self, data: bytes) -> None:
        try:
            self._file.write(data)
        except OSError as error:
            raise self._failed(error) from None

    def _failed(self, error: OSError) -> Fail:
        return Fail(FAILED, f"{self._path}: cannot be written: {error.strerror}")


def _private(path: str, flags: int) -> int:
    """Who called whom is for the one who asked."""
    return os.open(path, flags, 0o600)


def _follow(events: _Events, show: Callable[[list[Event]], None]) -> None:
    """Show what is there and then what comes, until the user has seen enough."""
    try:
        while True:
            show(events.next())
            time.sleep(POLL)
    except KeyboardInterrupt:
        return


def _shown(
    chosen: bool, full: bool, output: Output, keep: Callable[[list[Event]], int] | None
) -> Callable[[list[Event]], None]:
    """How to show what comes: one JSON a line, ladders of what was chosen, else all messages in one list."""
    look = style()._replace(columns=chosen)
    ladders: dict[str, Ladder] = {}
    last = [""]

    def lines(events: list[Event]) -> Iterator[str]:
        for event in events:
            name = event["call_id"] if chosen else ""
            if name not in ladders and len(ladders) >= CALLS:
                del ladders[next(iter(ladders))]
            ladder = ladders.get(name)
            if ladder is None:
                ladder = ladders[name] = Ladder(look, full)
            elif last[0] != name:
                yield ""
                yield from ladder.again(event)
            last[0] = name
            yield from ladder.lines(event)

    def show(events: list[Event]) -> None:
        if keep is not None:
            keep(events)
        if output is Output.json:
            put("".join(f"{json.dumps(event)}\n" for event in events))
        elif events:
            put("".join(f"{line}\n" for line in lines(events)))

    return show


def style() -> Style:
    """What the terminal can show."""
    width = shutil.get_terminal_size((100, 24)).columns
    encoding = (sys.stdout.encoding or "ascii").lower().replace("-", "")
    tty = sys.stdout.isatty()
    colour = tty and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return Style(max(60, min(width, 200)), encoding == "utf8", colour)


def _list(calls: list[dict[str, Any]], output: Output) -> None:
    if output is Output.json:
        show_json(calls)
        return
    rows = [
        (
            time.strftime("%m-%d %H:%M:%S", time.localtime(one["time"])),
            one["method"],
            _who(one["from"]),
            _who(one["to"]),
            one["status"],
            one["call_id"],
        )
        for one in calls
    ]
    show_table(("Time", "Method", "From", "To", "Status", "Call-ID"), rows)


def _who(value: str) -> str:
    found = _URI.search(value)
    return found[1] if found is not None else value
