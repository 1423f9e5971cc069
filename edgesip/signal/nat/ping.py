"""One ping: the request that a phone answers, or four zero octets; and what an answer is known by.

Holds nothing per binding: a ping carries its own identity, signed, and the answer brings it back (nat.md
§2.7). It refuses to know who is pinged and when.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable

from edgesip.address import Addr, Flow, parse_ip
from edgesip.signal.location.binding import Binding
from edgesip.signal.wire.grammar import ParseError, split_list
from edgesip.signal.wire.message import Response
from edgesip.signal.wire.uri import without_headers
from edgesip.signal.wire.values import NameAddr, parse_name_addr

ZEROS = bytes(4)
"""A ping that nobody answers."""
_ANSWER_TIME = 32.0  # seconds in which an answer counts (RFC 3261 timer F)
_COOKIE = "z9hG4bKnp"
PING_BRANCH = _COOKIE.encode()
"""What the branch of every ping, and of its answer, begins with."""


class Signer:
    """Makes the pings of one sort and process and knows their answers; `sort` tells it from other sorts.

    `address_for` answers which address a message leaving by a local address carries as its own (Via, From).
    """

    def __init__(
        self, entropy: Callable[[int], bytes], address_for: Callable[[Addr], Addr], sort: str = "np"
    ) -> None:
        self._address_for = address_for
        self._key = entropy(16)
        self._prefix = f"{sort}-{entropy(4).hex()}-"

    def request(
        self, binding: Binding, flow: Flow, method: str, sender: str, path: str, now: float, to: str = ""
    ) -> bytes:
        """A request to a contact (RFC 3261 §11) that leaves by `flow`, by the Routes of `path` if any.

        Its Call-ID and branch are what `read` knows it by; `sender` is the URI of From, "" for ours, `to`
        that of To, "" for the contact.
        """
        address = str(self._address_for(flow.local))
        identity = f"{binding.ruid}.{int(now * 1e6):x}"
        mac = self._mac(identity)
        target = without_headers(binding.contact)
        route = f"Route: {path}\r\n" if path else ""
        return (
            f"{method} {target} SIP/2.0\r\n"
            f"Via: SIP/2.0/{flow.transport.upper()} {address};rport;branch={_COOKIE}{mac}\r\n"
            "Max-Forwards: 70\r\n"
            f"{route}"
            f"From: <{sender or f'sip:ping@{address}'}>;tag={mac}\r\n"
            f"To: <{to or target}>\r\n"
            f"Call-ID: {self._prefix}{identity}.{mac}@{address}\r\n"
            f"CSeq: 1 {method}\r\n"
            "Content-Length: 0\r\n\r\n"
        ).encode("utf-8", "surrogateescape")

    def read(self, response: Response, method: str, now: float) -> tuple[str, float] | None:
        """(ruid, round trip in seconds) of a timely answer to one of our pings, whatever its status.

        A response only made to look like one fails its signature.
        """
        call_id = response.headers.get("Call-ID") or ""
        if not call_id.startswith(self._prefix):
            return None
        identity, _, mac = call_id[len(self._prefix) :].partition("@")[0].rpartition(".")
        if not mac.isascii() or not hmac.compare_digest(mac, self._mac(identity)):
            return None
        try:
            vias, cseq = response.headers.vias, response.headers.cseq
        except ParseError:
            return None
        if len(vias) != 1 or vias[0].branch != _COOKIE + mac or (cseq.number, cseq.method) != (1, method):
            return None
        ruid, _, sent = identity.rpartition(".")
        roundtrip = max(now - int(sent, 16) / 1e6, 0.0)
        return (ruid, roundtrip) if roundtrip <= _ANSWER_TIME else None

    def _mac(self, identity: str) -> str:
        text = identity.encode("utf-8", "surrogateescape")
        return hmac.digest(self._key, text, "sha256").hex()[:24]


def way_of(binding: Binding, local: Addr, by_path: bool) -> tuple[Flow, str]:
    """How a ping reaches a contact: its flow, and the Routes it carries.

    A stored Path leads to its first hop, if that is an address; else back the way that the REGISTER came.
    """
    flow = Flow("udp", local, binding.flow.remote)
    if not (by_path and binding.path):
        return flow, ""
    first = _first_of(binding.path)
    ip = parse_ip(first.uri.host) if first is not None else None
    if first is None or ip is None or (first.uri.param("transport") or "udp").lower() != "udp":
        return flow, binding.path
    remote = Addr(str(ip), first.uri.port or 5060)
    return (flow if remote.family != local.family else Flow("udp", local, remote)), binding.path


def _first_of(path: str) -> NameAddr | None:
    try:
        return parse_name_addr(split_list(path, ",")[0].strip())
    except ParseError:
        return None
