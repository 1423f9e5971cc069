"""Signs that something between a phone and us has changed its messages: a router's SIP ALG, as a rule.

Sees what everybody sees who gets the message, so it says what does not fit, and what that may come from; a
proof it has not. Pure; refuses to know calls, media and where messages are remembered.
"""

from __future__ import annotations

import re

from edgesip.address import is_ip, is_private
from edgesip.signal.wire.grammar import ParseError
from edgesip.signal.wire.uri import parse_uri

_LENGTH = re.compile(rb"\r\n(?:content-length|l)[ \t]*:[ \t]*([0-9]{1,9})[ \t]*\r\n", re.IGNORECASE)


def address_sign(contact: str, sdp: str, source: str) -> str:
    """What does not fit between a Contact URI, the host in the SDP, where the SIP comes from; "" if all does.

    One of the two is private and the other public: who writes both himself writes the same kind.
    """
    try:
        host = parse_uri(contact).host
    except ParseError:
        return ""
    if not (is_ip(host) and is_ip(sdp)) or is_private(host) == is_private(sdp):
        return ""
    if is_private(host):
        where = "" if sdp == source else f", and its SIP comes from yet another, {source}"
        return (
            f"its SDP names {sdp}, a public address, but its Contact {host}, a private one{where}: "
            "a router on its way has changed the SDP (SIP ALG), or the phone asked STUN for its media alone"
        )
    return (
        f"its Contact names {host}, a public address, but its SDP {sdp}, a private one: a router on its way "
        "changes the headers and forgets the SDP (SIP ALG), or the phone asked STUN for its SIP alone"
    )


def length_sign(data: bytes) -> str:
    """What does not fit between Content-Length and the body of a datagram; "" if it does or there is none."""
    head, blank, body = data.partition(b"\r\n\r\n")
    found = _LENGTH.search(head + b"\r\n")
    if found is None or not blank or not body or int(found[1]) == len(body):
        return ""
    return (
        f"a message of {len(body)} octets of body says that it has {int(found[1])} (Content-Length): "
        "something on its way has changed the SDP and did not count again (SIP ALG)"
    )
