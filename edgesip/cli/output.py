"""What verbs print: tables for people, JSON for programs. Nothing from the wire reaches a terminal raw."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any


def printable(text: str) -> str:
    """The text with every character that could steer a terminal written as an escape (threat 18)."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def say(text: str) -> None:
    """A sentence for people, on stderr."""
    print(printable(text), file=sys.stderr)


def show_json(value: Any) -> None:
    """A result as it is; ASCII only, so that every octet of it survives any terminal and any pipe."""
    print(json.dumps(value, indent=2))


def show_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table: drawn by rich on a terminal, plain columns in a pipe."""
    cells = [[printable(str(value)) for value in row] for row in rows]
    if sys.stdout.isatty():
        _draw(columns, cells)
        return
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    for row in [list(columns), *cells]:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(line.rstrip())


def duration(seconds: int) -> str:
    """`3 days 04:05:06`, `04:05:06`."""
    days, rest = divmod(seconds, 86400)
    clock = f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
    return f"{days} day{'s' if days > 1 else ''} {clock}" if days else clock


def _draw(columns: Sequence[str], cells: list[list[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    heads = [Column(column, overflow="fold") for column in columns]
    table = Table(*heads, box=box.SIMPLE_HEAD, pad_edge=False)
    for row in cells:
        table.add_row(*map(Text, row))
    Console().print(table)


def _escape(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # an octet that was not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
