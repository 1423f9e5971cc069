"""What a description says of its direction, changed for one stream; every other octet stays.

A phone that is told `inactive` expects nothing and plays nothing (RFC 3264 §5.1). Where music on hold will
come, it is told `sendonly` in place of that, and who holds gets the answer that fits his offer. Refuses to
know when that is.
"""

from __future__ import annotations

import re

_MEDIA = re.compile(rb"^m=", re.MULTILINE)
_DIRECTION = re.compile(
    rb"^a=(?:sendrecv|sendonly|recvonly|inactive)[ \t]*(?=\r?$)", re.MULTILINE | re.IGNORECASE
)


def directed(body: bytes, index: int, word: bytes) -> bytes:
    """The description in which the stream `index`, from 0, has this direction in a line of its own."""
    starts = [match.start() for match in _MEDIA.finditer(body)]
    begin = starts[index]
    end = starts[index + 1] if index + 1 < len(starts) else len(body)
    part, line = body[begin:end], b"a=" + word
    changed, count = _DIRECTION.subn(line, part)
    if not count:
        newline = b"\r\n" if b"\r\n" in body else b"\n"
        changed = (part if part.endswith(b"\n") else part + newline) + line + newline
    return body[:begin] + changed + body[end:]
