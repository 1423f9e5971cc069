"""Loops and breadth: what keeps a request from going round, or from becoming many (RFC 5393).

Pure functions over requests. Knows no transaction.
"""

from __future__ import annotations

from typing import Final

from edgesip.address import Flow
from edgesip.signal.wire.headers import Headers, replaced
from edgesip.signal.wire.message import Request

MAX_BREADTH: Final = 60
NAME: Final = "Max-Breadth"


def loop_mark(request: Request, source: Flow) -> str:
    """What a Via branch of ours says of how it was routed: the same request from the same host has the same
    mark (§4.2; scripts may route by who sent it).

    It begins and ends with a dot. Strings hash with a secret of this process, so nobody else can make one.
    """
    headers = request.headers
    call = (headers.call_id, headers.from_.tag, headers.cseq.number)
    routed = (request.uri, call, headers.find("Route"), source.remote.host)
    return f".{hash(routed) & 0xFFFFFFFF:08x}."


def is_loop(request: Request, mark: str) -> bool:
    """True when the request has been here already and nothing that we route by has changed since (§4.2)."""
    return any(mark in via.branch for via in request.headers.vias[1:])


def breadth_of(request: Request) -> int:
    """In how many branches at once the request may still go on (§5.3.3); 0 and less: it may not."""
    value = request.headers.find(NAME)
    if value is None:
        return MAX_BREADTH
    text = value.strip()
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        return MAX_BREADTH
    return min(int(text), MAX_BREADTH)


def with_breadth(headers: Headers, breadth: int) -> Headers:
    """The headers with a Max-Breadth in place of the one that there is."""
    return headers.altered(replaced(headers.fields, NAME, [str(breadth)]))
