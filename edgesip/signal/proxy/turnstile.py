"""Turning away a new call while there are too many, by a look at its octets alone.

Reads the few lines that an answer repeats, and nothing else of a message; whatever is not written in the
plain form, belongs to something, or is let in, takes the usual way and is read in full. Decides no more than
`Admission` says, and remembers nothing: the ACK of such an answer is known by our signature in its To tag.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from edgesip.address import Flow
from edgesip.signal.guard.admission import Admission
from edgesip.signal.proxy.forward import seen_from
from edgesip.signal.proxy.stateless import Stateless
from edgesip.signal.transaction.hop import COOKIE, TxKey
from edgesip.signal.wire.grammar import LWS, ParseError
from edgesip.signal.wire.values import parse_cseq, parse_via

LARGEST: Final = 8192
"""Octets of a head that is looked at; a longer one takes the usual way."""
_FIELDS: Final = re.compile(
    r"\r\n(via|v|from|f|to|t|call-id|i|cseq)[ \t]*:[ \t]*([^\r\n]*)(?=\r\n)", re.IGNORECASE
).findall
_SHORT: Final = {"v": "via", "f": "from", "t": "to", "i": "call-id"}


class Turnstile:
    """Where new calls are counted off; `known` hold the keys of requests that something is done for.

    `at_home` says who goes before strangers, `turned_away` hears which of these were not let in and when.
    """

    def __init__(
        self,
        admission: Admission,
        stateless: Stateless,
        counts: dict[str, int],
        known: Sequence[Mapping[TxKey, object]],
        at_home: Callable[[Flow], bool],
        turned_away: Callable[[Flow, float], None],
    ) -> None:
        self._at_home = at_home
        self._turned_away = turned_away
        self._admission = admission
        self._stateless = stateless
        self._counts = counts
        self._known = known

    def stops(self, data: bytes, flow: Flow, now: float) -> bool:
        """True when these octets are an INVITE that was turned away just now, or the ACK of one; over UDP."""
        opening = data.startswith(b"INVITE ")
        if not opening and not data.startswith(b"ACK "):
            return False
        if flow.transport != "udp":
            return False
        end = data.find(b"\r\n\r\n")
        if not 0 < end < LARGEST:
            return False
        head = data[: end + 2].decode("utf-8", "surrogateescape")
        if "\r\n " in head or "\r\n\t" in head or "\0" in head:
            return False
        vias: list[str] = []
        fields: dict[str, str] = {}
        for name, value in _FIELDS(head):
            lower = name.lower()
            lower = _SHORT.get(lower, lower)
            value = value.rstrip(LWS)
            if lower == "via":
                vias.append(value)
            elif lower in fields:
                return False
            else:
                fields[lower] = value
        if not vias or len(fields) != 4 or "," in vias[0] or not fields["call-id"]:
            return False
        try:
            via, cseq = parse_via(vias[0]), parse_cseq(fields["cseq"])
        except ParseError:
            return False
        branch = via.branch or ""
        if not branch.startswith(COOKIE) or cseq.method != ("INVITE" if opening else "ACK"):
            return False
        key = (branch, via.host, str(via.port or ""), "INVITE")
        if any(key in some for some in self._known):
            return False
        to = fields["to"]
        tag = self._stateless.signature(fields["call-id"], fields["from"], cseq.number)
        if not opening:
            if not to.endswith(";tag=" + tag):
                return False
            self._counts["core:rcv_requests"] += 1
            self._stateless.counters["sl:received_ACKs"] += 1
            return True
        if "tag" in to.lower():
            return False
        known = self._at_home(flow)
        wait = self._admission.turned(self._stateless.lot_of(tag), known)
        if not wait:
            return False
        if not known:
            self._turned_away(flow, now)
        self._counts["core:rcv_requests"] += 1
        if wait > 0:
            lines = [
                "SIP/2.0 503 Service Unavailable",
                f"Via: {seen_from(via, flow.remote)}",
                *[f"Via: {lower}" for lower in vias[1:]],
                f"From: {fields['from']}",
                f"To: {to};tag={tag}",
                f"Call-ID: {fields['call-id']}",
                f"CSeq: {cseq}",
                f"Retry-After: {wait}",
                "Content-Length: 0\r\n\r\n",
            ]
            octets = "\r\n".join(lines).encode("utf-8", "surrogateescape")
            self._stateless.send(flow, 503, octets)
        return True
