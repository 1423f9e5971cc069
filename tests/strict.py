"""A second reader of SIP messages, strict and apart from the server's own: what the next element may read.

It knows one form of message only, the one that we promise to write: CRLF line ends, `Name: value`, no
folding, one Content-Length that is right.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_FIELD = re.compile(rb"([A-Za-z0-9\-.!%*_+`'~]+): ([^\r\n]*)").fullmatch
_REQUEST = re.compile(rb"[A-Za-z0-9\-.!%*_+`'~]+ [^\0-\x20\x7f<>]+ SIP/2\.0").fullmatch
_STATUS = re.compile(rb"SIP/2\.0 [1-6][0-9][0-9] [^\r\n\0]*").fullmatch


class Read(NamedTuple):
    """Start line, fields in order, body."""

    start: bytes
    fields: list[tuple[bytes, bytes]]
    body: bytes

    def all(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.fields if key.lower() == name.lower()]


def strictly_read(data: bytes) -> Read:
    """The parts of a message; AssertionError where a strict reader might see another message than we did."""
    head, found, body = data.partition(b"\r\n\r\n")
    assert found, "no empty line"
    start, *lines = head.split(b"\r\n")
    assert _REQUEST(start) or _STATUS(start), start
    fields = []
    for line in lines:
        match = _FIELD(line)
        assert match, line
        assert b"\0" not in match[2].replace(b"\\\0", b""), line
        fields.append((match[1], match[2]))
    read = Read(start, fields, body)
    lengths = read.all(b"Content-Length") + read.all(b"l")
    assert lengths == [b"%d" % len(body)], lengths
    return read
