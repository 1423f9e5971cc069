"""The 61 messages of RFC 4475 and RFC 5118, and what `torture/index.json` says must become of each.

Also what a server made of one: `judge` compares an `Outcome`, however it was come by, with the verdict.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgesip.signal.wire.headers import Headers
from edgesip.signal.wire.message import Request, parse

TORTURE = Path(__file__).parent / "torture"
INDEX: dict[str, Any] = json.loads((TORTURE / "index.json").read_text())


@dataclass(frozen=True)
class Verdict:
    """What must become of a message: `action` accept, reject or drop, and the statuses that conform."""

    action: str
    statuses: tuple[int, ...]


@dataclass(frozen=True)
class Message:
    """One message: as it goes over the wire, and what a proxy, a registrar and a stream owe it."""

    name: str
    octets: bytes
    method: str
    proxy: Verdict
    registrar: Verdict | None
    stream: str

    @property
    def is_request(self) -> bool:
        return bool(self.method)


@dataclass(frozen=True)
class Outcome:
    """What a server did: the final statuses that came back, the octets that it sent on."""

    statuses: tuple[int, ...] = ()
    forwarded: tuple[bytes, ...] = ()


def _verdict(entry: dict[str, Any]) -> Verdict:
    return Verdict(entry["action"], tuple(entry["status"]))


def _message(entry: dict[str, Any]) -> Message:
    return Message(
        entry["name"],
        (TORTURE / entry.get("wire_file", entry["file"])).read_bytes(),
        entry.get("method") or "",
        _verdict(entry["proxy"]),
        _verdict(entry["registrar"]) if "registrar" in entry else None,
        entry.get("stream", "same"),
    )


MESSAGES = tuple(_message(entry) for entry in INDEX["rfc4475"] + INDEX["rfc5118"])
BY_NAME = {message.name: message for message in MESSAGES}

BROKEN_FRAMES = {"ncl", "mcl01", "inv2543"}
"""Over a stream: an error and the end of the connection, since nobody knows where they end."""
ENDLESS = {"clerr"}
"""Over a stream: waited for, then the end of the connection."""
TWICE = {"dblreq"}
"""Over a stream: two requests."""
CUT_BADDN = (TORTURE / "rfc4475" / "baddn.dat").read_bytes()
"""As the archive has it, without the empty line: over a stream it never ends."""


def plain(message: Message) -> bytes:
    """The same request as a simple phone would write it."""
    request = parse(message.octets)
    assert isinstance(request, Request)
    tag = f";tag={request.headers.to.tag}" if request.headers.to.tag else ""
    fields = [
        ("Via", f"SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK.plain.{message.name}"),
        ("Max-Forwards", "70"),
        ("From", "<sip:caller@example.net>;tag=1"),
        ("To", f"<{request.headers.to.uri}>{tag}"),
        ("Call-ID", f"plain.{message.name}"),
        ("CSeq", f"1 {request.method}"),
        ("Contact", "<sip:caller@192.0.2.1>"),
        *(("Route", f"<{route.uri}>") for route in request.headers.routes),
    ]
    return bytes(Request(request.method, request.uri, Headers(fields), request.body))


def judge(message: Message, verdict: Verdict, outcome: Outcome, plain: Outcome) -> str:
    """What is wrong with this outcome, '' for nothing; `plain` is that of the same request in plain form."""
    if verdict.action == "drop" or not message.is_request:
        return f"{outcome} instead of silence" if outcome.statuses or outcome.forwarded else ""
    if verdict.action == "reject":
        if outcome.forwarded:
            return "forwarded"
        good = len(outcome.statuses) == 1 and outcome.statuses[0] in verdict.statuses
        return "" if good else f"{outcome.statuses} instead of one of {verdict.statuses}"
    if outcome.forwarded or outcome.statuses[:1] == (200,):
        return ""
    allowed = (*verdict.statuses, *plain.statuses)
    return "" if set(outcome.statuses) & set(allowed) else f"{outcome} instead of one of {allowed}"
