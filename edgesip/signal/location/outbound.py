"""Flow tokens (RFC 5626 §5.2): the flow that a request came by, signed, as the user of a URI of ours.

Whoever gets that URI back, in a Path or a Record-Route, sends its requests over the same flow; nothing is
kept of it here, and nobody can make up a flow that was not there. Knows no table and no connection.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode
from binascii import Error
from collections.abc import Sequence
from ipaddress import ip_address

from edgesip.address import Addr, Flow
from edgesip.signal.proxy.inbound import Inbound
from edgesip.signal.wire.uri import Uri, unescape

_TRANSPORTS = ("", "udp", "tcp", "tls", "sctp", "ws", "wss")
_OPENING = frozenset({"INVITE", "SUBSCRIBE", "REFER"})
_SIGNATURE = 10
_IPV6 = 0x80
_SIZES = {23: 4, 47: 16}
"""Octets of a token, and of each address in it."""

FLOW_PARAM = "flow"
"""The URI parameter that holds the flow token where the user part is a script's."""
NONE, GOOD, FORGED = -3, 1, -4
"""What `check_flow_token` says: there is none, it is ours, it is not (outbound's numbers)."""


class FlowTokens:
    """Writes and reads flow tokens; `secret` is any text, the same at all servers behind one name."""

    def __init__(self, secret: bytes) -> None:
        self._key = hashlib.sha1(secret).digest()

    def token(self, flow: Flow) -> str:
        """The token of a flow. Raises ValueError for a transport without a number."""
        body = bytes([_TRANSPORTS.index(flow.transport) | (_IPV6 if flow.remote.family == 6 else 0)])
        for addr in (flow.local, flow.remote):
            body += ip_address(addr.host).packed + addr.port.to_bytes(2, "big")
        return b64encode(self._sign(body) + body).decode()

    def flow(self, token: str) -> Flow | None:
        """The flow of a token of ours; None for any other text."""
        if len(token) not in (32, 64):
            return None
        try:
            octets = b64decode(token.encode("ascii"), validate=True)
        except (Error, UnicodeEncodeError):
            return None
        size = _SIZES.get(len(octets))
        body = octets[_SIGNATURE:]
        if size is None or not hmac.compare_digest(octets[:_SIGNATURE], self._sign(body)):
            return None
        number = body[0] & ~_IPV6
        ends = (_addr(body[1:], size), _addr(body[3 + size :], size))
        return Flow(_TRANSPORTS[number], *ends) if 0 < number < len(_TRANSPORTS) else None

    def param(self, flow: Flow) -> str:
        """`;flow=` with the token of a flow, as a URI parameter."""
        return f";{FLOW_PARAM}={self.token(flow).replace('=', '%3D')}"

    def brought(self, own: Sequence[Uri], source: Flow) -> tuple[int, Flow | None]:
        """What the Routes of ours that brought a request say: `GOOD` and the flow, `FORGED` or `NONE`.

        A token is the user, or the parameter `flow`; a user that is none is forged only with `ob`. The flow
        that the request itself came by is that of its sender, who is on his way out (RFC 5626 §5.3.1).
        """
        for uri in own:
            texts = [unescape(value or "") for name, value in uri.params if name == FLOW_PARAM]
            user = uri.username or ""
            forged = bool(texts) or (user != "" and uri.param("ob") is not None)
            for text in (user, *texts):
                flow = self.flow(text) if text else None
                if flow is not None:
                    forged = False
                    if flow.remote != source.remote or flow.transport != source.transport:
                        return GOOD, flow
            if forged:
                return FORGED, None
        return NONE, None

    def follow(self, inbound: Inbound) -> bool:
        """Note the flow that a request is led over; False when that was forged.

        What opens a dialog leads back in the same way: over the flow that it was led by, and that of a phone
        which says so (`ob`; RFC 5626 §5.3.2).
        """
        request = inbound.request
        if inbound.own:
            told, inbound.token = self.brought(inbound.own, inbound.flow)
            if told == FORGED:
                return False
        if request.headers.to.tag or request.method not in _OPENING:
            return True
        if inbound.token is not None:
            inbound.edits.rr += self.param(inbound.token)
        contacts = request.headers.contacts
        if contacts and contacts[0].uri.param("ob") is not None and len(request.headers.vias) == 1:
            inbound.edits.rr += self.param(inbound.flow)
        return True

    def _sign(self, body: bytes) -> bytes:
        return hmac.digest(self._key, body, "sha1")[-_SIGNATURE:]


def _addr(octets: bytes, size: int) -> Addr:
    return Addr(str(ip_address(octets[:size])), int.from_bytes(octets[size : size + 2], "big"))
