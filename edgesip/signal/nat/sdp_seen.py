"""Where a message says its media is, as far as NAT matters: the c= lines.

Reads the SDP of a body, or of the SDP part of a multipart one; refuses to change it and to know the relay.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from edgesip.signal.wire.grammar import ParseError, split_list, unquote
from edgesip.signal.wire.message import Request, Response


class Connection(NamedTuple):
    """One c= line: address type as spelled ("IP4"), address without TTL."""

    family: str
    host: str


class Session(NamedTuple):
    """The c= lines of one session description: its own, and per m= line the line's own or None."""

    connection: Connection | None
    streams: list[Connection | None]


def sessions(message: Request | Response) -> list[Session]:
    """The session descriptions of the body (RFC 4566 §5); none when it carries no SDP that can be read."""
    found: list[Session] = []
    for kind, value in lines_of(sdp_of(message)):
        if kind == "v":
            found.append(Session(None, []))
        elif not found:
            return []
        elif kind == "m":
            found[-1].streams.append(None)
        elif kind == "c":
            session, parts = found[-1], value.split()
            if len(parts) != 3:
                return []
            where = Connection(parts[1].upper(), parts[2].partition("/")[0])
            if session.streams:
                session.streams[-1] = session.streams[-1] or where
            elif session.connection is None:
                found[-1] = session._replace(connection=where)
    return found


def sdp_of(message: Request | Response) -> bytes:
    """The SDP of a message: its body, or the first SDP part of a multipart/mixed one; empty for none."""
    place = place_of_sdp(message.body, message.headers.get("Content-Type") or "")
    return message.body[place[0] : place[1]] if place is not None else b""


def place_of_sdp(body: bytes, content_type: str) -> tuple[int, int] | None:
    """Where in a body of this type its SDP begins and ends (RFC 2046 §5.1); None where there is none."""
    kind = "".join(content_type.partition(";")[0].split()).lower()
    if not body:
        return None
    if kind == "application/sdp":
        return 0, len(body)
    boundary = _boundary(content_type) if kind == "multipart/mixed" else b""
    if not boundary:
        return None
    delimiter = b"\r\n--" + boundary
    at = 0 if body.startswith(delimiter[2:]) else body.find(delimiter)
    while at >= 0:
        end = body.find(delimiter, at + 2)
        if end < 0:
            end = len(body)
        blank = body.find(b"\r\n\r\n", at, end + 2)  # a part without a body ends with its head
        if 0 <= blank < end and b"application/sdp" in body[at:blank].lower():
            return blank + 4, end
        at = end if end < len(body) else -1
    return None


def _boundary(content_type: str) -> bytes:
    try:
        params = split_list(content_type, ";")[1:]
    except ParseError:
        return b""
    for param in params:
        name, _, value = param.partition("=")
        if name.strip().lower() == "boundary":
            return unquote(value.strip()).encode("utf-8", "surrogateescape")
    return b""


def lines_of(sdp: bytes) -> Iterator[tuple[str, str]]:
    """Letter and value of each line."""
    for line in sdp.split(b"\n"):
        text = line.rstrip(b"\r").decode("latin-1")
        if text[1:2] == "=":
            yield text[0], text[2:]
