"""Rtnetlink (rtnetlink(7)): questions, their answers, and notices of what has changed.

Holds messages, attributes and one socket. A question takes some 20 us, where pyroute2, which knows it all,
takes 250: too much for each new phone while the loop waits. Refuses to know what the answers are used for.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

NEWLINK: Final = 16
DELLINK: Final = 17
GETLINK: Final = 18
NEWADDR: Final = 20
DELADDR: Final = 21
GETADDR: Final = 22
NEWROUTE: Final = 24
DELROUTE: Final = 25
GETROUTE: Final = 26
NEWNEIGH: Final = 28
DELNEIGH: Final = 29
GETNEIGH: Final = 30
"""Types of messages (linux/rtnetlink.h)."""

NEIGHBOURS: Final = 3
GROUPS: Final = (1, NEIGHBOURS, 5, 7, 8, 9, 11, 19, 32)
"""Links, neighbours, addresses, routes and rules of both families, next hops (RTNLGRP_*)."""

_ROUTE: Final = 0  # NETLINK_ROUTE
_MEMBERSHIP: Final = 1  # NETLINK_ADD_MEMBERSHIP
_SOL_NETLINK: Final = 270
_ERROR, _DONE = 2, 3
_REQUEST, _ACKNOWLEDGE, _DUMP = 0x1, 0x4, 0x300
_TYPE_MASK: Final = 0x3FFF
_HEADER: Final = struct.Struct("=IHHII")
_ATTRIBUTE: Final = struct.Struct("=HH")
_CODE: Final = struct.Struct("=i")
_LARGEST: Final = 1 << 16
_ANSWER: Final = 2.0  # seconds that the kernel has to answer; it answers at once
_NOTICES: Final = 1 << 20  # octets of notices that may wait

Attributes = dict[int, bytes]


class Message(NamedTuple):
    """One message: its type, and what follows the header."""

    kind: int
    body: bytes


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded."""
    return _ATTRIBUTE.pack(4 + len(value), kind) + value + bytes(-len(value) % 4)


def attributes(body: bytes, start: int) -> Attributes:
    """The attributes that begin at `start`; of two of one type the last."""
    found: Attributes = {}
    while start + 4 <= len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, start)
        if length < 4:
            break
        found[kind & _TYPE_MASK] = body[start + 4 : start + length]
        start += length + 3 & ~3
    return found


def messages(data: bytes) -> Iterator[Message]:
    """The messages of one datagram. Raises `OSError` for one that says an error."""
    start = 0
    while start + 16 <= len(data):
        length, kind, _, _, _ = _HEADER.unpack_from(data, start)
        if length < 16:
            return
        body = data[start + 16 : start + length]
        if kind == _ERROR:
            code = -_CODE.unpack_from(body)[0]
            if code:
                raise OSError(code, os.strerror(code))
        yield Message(kind, body)
        start += length + 3 & ~3


class Questions:
    """A socket for questions, each answered before the next."""

    def __init__(self, protocol: int = _ROUTE) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._socket.settimeout(_ANSWER)
        self._number = 0

    def one(self, kind: int, body: bytes) -> Message:
        """The one answer to a question. Raises `OSError` with what the kernel says."""
        return self._answers(kind, body, 0)[0]

    def all(self, kind: int, body: bytes) -> list[Message]:
        """Every answer to a question for a list. Raises `OSError`."""
        return self._answers(kind, body, _DUMP)

    def do(self, kind: int, body: bytes, flags: int = 0) -> None:
        """Have something changed. Raises `OSError` with what the kernel says."""
        self._number = self._number + 1 & 0xFFFFFFFF
        asked = _REQUEST | _ACKNOWLEDGE | flags
        self._socket.send(_HEADER.pack(16 + len(body), kind, asked, self._number, 0) + body)
        while True:
            data = self._socket.recv(_LARGEST)
            if _HEADER.unpack_from(data)[3] == self._number:
                for _ in messages(data):  # raises what they say
                    pass
                return

    def _answers(self, kind: int, body: bytes, flags: int) -> list[Message]:
        self._number = self._number + 1 & 0xFFFFFFFF
        self._socket.send(_HEADER.pack(16 + len(body), kind, _REQUEST | flags, self._number, 0) + body)
        found: list[Message] = []
        while True:
            data = self._socket.recv(_LARGEST)
            if _HEADER.unpack_from(data)[3] != self._number:  # of a question that was given up
                continue
            for message in messages(data):
                if message.kind == _DONE:
                    return found
                found.append(message)
            if not flags:
                return found

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class Notices:
    """A socket that hears what changes."""

    def __init__(self, groups: Sequence[int] = GROUPS) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _ROUTE)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _NOTICES)
        self._socket.bind((0, 0))
        for group in groups:
            with contextlib.suppress(OSError):  # a kernel before 5.3 has no next hops of their own
                self._socket.setsockopt(_SOL_NETLINK, _MEMBERSHIP, group)

    def fileno(self) -> int:
        """The file to watch."""
        return self._socket.fileno()

    def take(self) -> list[Message] | None:
        """What has changed since the last time; None when more has than could be kept."""
        found: list[Message] = []
        whole = True
        while True:
            try:
                data = self._socket.recv(_LARGEST)
            except BlockingIOError:
                return found if whole else None
            except OSError:  # ENOBUFS: some were lost
                whole = False
                continue
            found += messages(data)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
