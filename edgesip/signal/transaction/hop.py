"""What goes from hop to hop: the keys by which transactions match, ACKs of failures, CANCELs (RFC 3261 §17).

Holds no transaction and moves none.
"""

from __future__ import annotations

from typing import Final

from edgesip.signal.wire.headers import Headers
from edgesip.signal.wire.message import Request, Response

COOKIE: Final = "z9hG4bK"

TxKey = tuple[str, ...]


def server_key(request: Request) -> TxKey:
    """What identifies a request's server transaction: §17.2.3, for RFC 2543 clients its older rule.

    ACK and CANCEL map to the INVITE; the caller tells a CANCEL's own transaction apart.
    """
    headers = request.headers
    via = headers.via
    method = "INVITE" if request.method in ("ACK", "CANCEL") else request.method
    branch = via.branch or ""
    if branch.startswith(COOKIE) and len(branch) > len(COOKIE):
        return (branch, via.host, str(via.port or ""), method)
    return (
        "2543",
        request.uri,
        headers.from_.tag or "",
        headers.call_id,
        str(headers.cseq.number),
        str(via),
        method,
    )


def client_key(headers: Headers, method: str) -> TxKey:
    """What identifies a client transaction: the top Via's branch and the CSeq method (§17.1.3)."""
    return (headers.via.branch or "", method)


def key_of(data: bytes) -> TxKey:
    """The key of the client transaction that these octets, a request of ours or its beginning, belong to."""
    method, _, rest = data.partition(b" ")
    _, _, tail = rest.partition(b";branch=")
    end = next((at for at, octet in enumerate(tail[:256]) if octet in b";,\r\n \t"), 0)
    return (tail[:end].decode("ascii", "replace"), method.decode("ascii", "replace"))


def ack_for(invite: Request, response: Response) -> Request:
    """The hop-by-hop ACK of a 3xx-6xx: the INVITE's URI, top Via, From, Call-ID, Route; the response's To."""
    headers = invite.headers
    fields = [("Via", str(headers.via)), ("From", headers.get("From") or "")]
    fields += [("To", response.headers.get("To") or ""), ("Call-ID", headers.call_id)]
    fields += [("CSeq", f"{headers.cseq.number} ACK"), ("Max-Forwards", "70")]
    fields += [("Route", value) for value in headers.all("Route")]
    return Request("ACK", invite.uri, Headers(tuple(fields)), b"")


def cancel_for(invite: Request, reason: str = "") -> Request:
    """The CANCEL of a request that we sent (§9.1); `reason` is a Reason header value (RFC 3326)."""
    headers = invite.headers
    fields = [("Via", str(headers.via)), ("From", headers.get("From") or "")]
    fields += [("To", headers.get("To") or ""), ("Call-ID", headers.call_id)]
    fields += [("CSeq", f"{headers.cseq.number} CANCEL"), ("Max-Forwards", "70")]
    fields += [("Route", value) for value in headers.all("Route")]
    if reason:
        fields.append(("Reason", reason))
    return Request("CANCEL", invite.uri, Headers(tuple(fields)), b"")
