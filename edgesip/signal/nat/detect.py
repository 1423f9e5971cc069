"""Is the sender behind a NAT? nathelper's `nat_uac_test` (nat.md §2.3), one small test per bit.

Holds the tests alone: each compares what a message says of its sender with the flow it came by. It
refuses to change anything and to resolve any name: a host name is never private and equals no address.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from edgesip.address import Flow, is_ip, is_private, is_unspecified, same_host
from edgesip.signal.nat.sdp_seen import sessions
from edgesip.signal.wire.grammar import ParseError, digits
from edgesip.signal.wire.message import Request, Response
from edgesip.signal.wire.uri import Uri
from edgesip.signal.wire.values import Via

Message = Request | Response
Private = Callable[[str], bool]

CONTACT_PRIVATE: Final = 1
RECEIVED: Final = 2
VIA_PRIVATE: Final = 4
SDP_PRIVATE: Final = 8
PORT: Final = 16
SOURCE_PRIVATE: Final = 32
WEBSOCKET: Final = 64
CONTACT_PORT: Final = 128
SDP_SOURCE: Final = 256
NEXT_HOP: Final = 512

_WEB: Final = ("ws", "wss")
_PORTS: Final = {"udp": 5060, "tcp": 5060, "sctp": 5060, "tls": 5061, "ws": 80, "wss": 443}


def nat_uac_test(
    flags: int,
    message: Message,
    flow: Flow,
    *,
    next_hop: Uri | None = None,
    target: Uri | None = None,
    private: Private = is_private,
) -> int:
    """The bits of `flags` whose test is true for this message, 0 when none is (nat.md §2.3).

    `flow` is how the message came. For bit 512, `next_hop` is where a request is about to go when that is not
    its request URI (Kamailio's `$du`), and `target` that URI, if it is not the one that came. `private` says
    which addresses are. A part that cannot be read makes its test false.
    """
    found = 0
    for bit, test in _TESTS:
        if flags & bit and test(message, flow, private):
            found |= bit
    if flags & NEXT_HOP and _next_hop_differs(message, next_hop, target):
        found |= NEXT_HOP
    return found


def _port_differs(message: Message, flow: Flow, private: Private) -> bool:
    """16: the source port is not the top Via's; a missing one is 5060 whatever the transport."""
    via = _via(message, 0)
    return via is not None and (via.port or 5060) != flow.remote.port


def _received_differs(message: Message, flow: Flow, private: Private) -> bool:
    """2: the top Via's host is not the source address; ports are not compared."""
    via = _via(message, 0)
    return via is not None and not same_host(via.host, flow.remote.host)


def _contact_private(message: Message, flow: Flow, private: Private) -> bool:
    """1: the host of the first Contact is private."""
    uri = _contact(message)
    return uri is not None and private(uri.host)


def _via_private(message: Message, flow: Flow, private: Private) -> bool:
    """4: the top Via's host is private."""
    via = _via(message, 0)
    return via is not None and private(via.host)


def _source_private(message: Message, flow: Flow, private: Private) -> bool:
    """32: the packet came from a private address."""
    return private(flow.remote.host)


def _from_websocket(message: Message, flow: Flow, private: Private) -> bool:
    """64: it came over WS or WSS."""
    return flow.transport in _WEB


def _contact_port_differs(message: Message, flow: Flow, private: Private) -> bool:
    """128: the source port is not the first Contact's (a missing one is 5060)."""
    uri = _contact(message)
    return uri is not None and (uri.port or 5060) != flow.remote.port


def _sdp_private(message: Message, flow: Flow, private: Private) -> bool:
    """8: media goes to a private IPv4 address; a session is read until its first IPv6 or null address."""
    for session in sessions(message):
        for own in session.streams:
            where = own or session.connection
            if where is None or where.family != "IP4" or is_unspecified(where.host):
                break
            if private(where.host):
                return True
    return False


def _sdp_differs(message: Message, flow: Flow, private: Private) -> bool:
    """256: a session-level c= is not the source address; stops at the first session that has none."""
    differs = False
    for session in sessions(message):
        where = session.connection
        if where is None:
            break
        if not is_ip(where.host):
            return False
        differs = differs or not same_host(where.host, flow.remote.host)
    return differs


_TESTS: Final[tuple[tuple[int, Callable[[Message, Flow, Private], bool]], ...]] = (
    (PORT, _port_differs),
    (RECEIVED, _received_differs),
    (CONTACT_PRIVATE, _contact_private),
    (SDP_PRIVATE, _sdp_private),
    (VIA_PRIVATE, _via_private),
    (SOURCE_PRIVATE, _source_private),
    (WEBSOCKET, _from_websocket),
    (CONTACT_PORT, _contact_port_differs),
    (SDP_SOURCE, _sdp_differs),
)


def _next_hop_differs(message: Message, next_hop: Uri | None, target: Uri | None) -> bool:
    """512: what we send to is not what the URI (of a reply: the second Via) says."""
    if isinstance(message, Response):
        return _reply_hop_differs(_via(message, 1))
    try:
        target = target or message.ruri
    except ParseError:
        return False
    if _transport(next_hop or target) in _WEB:
        return True
    if next_hop is None:
        return False
    if _port(next_hop) != _port(target):
        return True
    return not same_host(next_hop.host, target.host)


def _reply_hop_differs(via: Via | None) -> bool:
    if via is None:
        return False
    if via.transport.lower() in _WEB:
        return True
    rport = via.param("rport")
    if rport and _number(rport) != (via.port or 5060):
        return True
    received = via.param("received")
    return bool(received) and not same_host(received or "", via.host)


def _number(text: str) -> int:
    try:
        return digits(text, 65535)
    except ParseError:
        return -1


def _transport(uri: Uri) -> str:
    named = (uri.param("transport") or "").lower()
    return named or ("tls" if uri.scheme == "sips" else "udp")


def _port(uri: Uri) -> int:
    return uri.port or _PORTS.get(_transport(uri), 5060)


def _via(message: Message, index: int) -> Via | None:
    try:
        vias = message.headers.vias
    except ParseError:
        return None
    return vias[index] if index < len(vias) else None


def _contact(message: Message) -> Uri | None:
    """The URI of the first Contact, when there is one that names a host."""
    try:
        contacts = message.headers.contacts
    except ParseError:
        return None
    return contacts[0].uri if contacts and contacts[0].uri.host else None
