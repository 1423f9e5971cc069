"""The forms that values of `[rtpp]` are written in: where commands are taken, and who is told of timeouts.

`ValueError` says what is wrong with a value. Knows neither sections nor files.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from edgesip.address import Addr, parse_hostport, parse_ip
from edgesip.forms import items

PORT = 22222
"""The port of rtpproxy where none is named."""
_PATH = re.compile(r"/[!-~]{1,100}")
_SELF = re.compile(r"%%CC_SELF%%:[0-9]{1,5}")


class CommandSocket(NamedTuple):
    """`kind` udp at `addr`; unix and cunix (many commands to a connection) at `path`."""

    kind: str
    addr: Addr | None
    path: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.addr or self.path}"


def listen(value: object) -> tuple[CommandSocket, ...]:
    """`udp:ADDR[:PORT]`, `unix:PATH` or `cunix:PATH`, as rtpproxy's -s."""
    found = tuple(_listen(item) for item in items(value))
    for index, one in enumerate(found):
        if one in found[:index]:
            raise ValueError(f"{one} is there twice")
    return found


def _listen(text: str) -> CommandSocket:
    kind, _, rest = text.partition(":")
    if kind in ("unix", "cunix"):
        return CommandSocket(kind, None, _path(text, rest))
    where = parse_hostport(rest) if kind in ("udp", "udp6") else None
    ip = None if where is None else parse_ip(where[0])
    if where is None or ip is None:
        raise ValueError(f"{text!r} is not udp:ADDR:PORT, unix:PATH or cunix:PATH")
    return CommandSocket("udp", Addr(str(ip), where[1] or PORT), "")


def notify(value: object) -> tuple[str, ...]:
    """`unix:PATH`, `tcp:ADDR:PORT` or `%%CC_SELF%%:PORT`, as rtpproxy's -n."""
    return tuple(_notify(item) for item in items(value))


def _notify(text: str) -> str:
    kind, _, rest = text.partition(":")
    if kind == "unix":
        return f"unix:{_path(text, rest)}"
    where = parse_hostport(rest) if kind == "tcp" else None
    if _SELF.fullmatch(text) or (where is not None and where[1] and parse_ip(where[0]) is not None):
        return text
    raise ValueError(f"{text!r} is not unix:PATH, tcp:ADDR:PORT or %%CC_SELF%%:PORT")


def _path(text: str, path: str) -> str:
    if not _PATH.fullmatch(path):
        raise ValueError(f"{text!r} needs a path from / on, without spaces, of at most 101 characters")
    return path
