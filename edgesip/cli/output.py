"""What verbs print: tables for people, JSON for programs. Nothing from the wire reaches a terminal raw."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from edgesip.cli.fail import FAILED, Fail


def printable(text: str) -> str:
    """The text with every character that could steer a terminal written as an escape (threat 18)."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def say(text: str) -> None:
    """A sentence for people, on stderr; nobody is left to tell when it cannot be written."""
    with contextlib.suppress(OSError):
        print(printable(text), file=sys.stderr)


def put(text: str) -> None:
    """Data, on stdout, or `Fail`: what was asked for must not be lost in silence."""
    try:
        if sys.stdout is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        raise Fail(FAILED, f"stdout cannot be written: {error.strerror}") from None


def drain() -> None:
    """Write out what is left; what cannot be is dropped, or Python would complain of it at its end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def show_json(value: Any) -> None:
    """A result as it is; ASCII only, so that every octet of it survives any terminal and any pipe."""
    put(json.dumps(value, indent=2) + "\n")


def show_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table: drawn by rich on a terminal, plain columns in a pipe."""
    cells = [[printable(str(value)) for value in row] for row in rows]
    if sys.stdout is not None and sys.stdout.isatty():
        put(_drawn(columns, cells))
        return
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    lines = []
    for row in [list(columns), *cells]:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        lines.append(line.rstrip() + "\n")
    put("".join(lines))


def duration(seconds: int) -> str:
    """`3 days 04:05:06`, `04:05:06`."""
    days, rest = divmod(seconds, 86400)
    clock = f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
    return f"{days} day{'s' if days > 1 else ''} {clock}" if days else clock


def _drawn(columns: Sequence[str], cells: list[list[str]]) -> str:
    """A table with every value in one piece, to be copied; entries of several lines when it is too wide."""
    from rich import box
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Column, Table
    from rich.text import Text

    table = Table(*(Column(column, no_wrap=True) for column in columns), box=box.SIMPLE_HEAD, pad_edge=False)
    for row in cells:
        table.add_row(*map(Text, row))
    console = Console()
    unbounded = console.options.update(max_width=1 << 16)
    with console.capture() as capture:
        if Measurement.get(console, unbounded, table).maximum <= console.width:
            console.print(table)
        else:
            for line in _entries(columns, cells, console.width):
                console.print(Text(line), soft_wrap=True)
    return capture.get()


def _entries(columns: Sequence[str], cells: list[list[str]], width: int) -> Iterator[str]:
    """Each row as its first value and, indented, as many `Column: value` to a line as there is room for."""
    head = None
    for row in cells:
        if row[0] != head:
            yield row[0]
        head, line = row[0], ""
        for column, value in zip(columns[1:], row[1:], strict=True):
            item = f"  {column}: {value}"
            if line and len(line) + len(item) > width:
                yield line
                line = ""
            line += item
        yield line
        yield ""


def _escape(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # an octet that was not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
