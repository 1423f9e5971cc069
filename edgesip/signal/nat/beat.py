"""The requests that keep an endpoint's NAT open, and their answers (nat.md §3.4, "Keepalive message").

Holds how such a request looks and what its answer is known by; nothing is kept of one that was sent. Knows
no table: whom it goes to, and why, is `traversal`'s.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass

from edgesip.address import Addr, Flow, bracketed
from edgesip.signal.nat.keepalive import PING_BRANCH
from edgesip.signal.wire.grammar import ParseError
from edgesip.signal.wire.message import Response

_COOKIE = PING_BRANCH.decode() + "k"  # what leaves pings out of the trace leaves these out as well
_ANSWER_TIME = 32.0  # seconds in which an answer proves something (RFC 3261 timer F)


@dataclass(frozen=True, slots=True)
class Settings:
    """The `[nat_traversal]` slice: `interval` in seconds, 0 turns everything off; `contact_match` 0 compares
    contacts as text, 1 by type, user, host, port and transport; `extra_headers` are whole lines with CRLF.
    """

    interval: float = 25.0
    method: str = "NOTIFY"
    from_uri: str = ""
    extra_headers: str = ""
    contact_match: int = 0


class Beats:
    """Keepalive requests of one process. `address_for` answers which address a message leaving by a local
    address carries as its own (Via, From).
    """

    def __init__(
        self, settings: Settings, entropy: Callable[[int], bytes], address_for: Callable[[Addr], Addr]
    ) -> None:
        self.settings = settings
        self._address_for = address_for
        self._key = entropy(16)
        self._prefix = f"nk-{entropy(4).hex()}-"

    @property
    def pause(self) -> float:
        """Seconds between two visits of an endpoint."""
        return self.settings.interval

    def for_flow(self, flow: Flow, uri: str, now: float) -> bytes:
        """The request for the endpoint `uri` at the end of a flow; empty when none is needed this time."""
        return self._request(flow, uri, now)

    def hear(self, response: Response, flow: Flow, now: float) -> bool:
        """True for an answer to one of ours, which goes no further; its status says nothing.

        Known by one Via, our method and the prefix of our Call-IDs. What it proves, it proves by its
        signature.
        """
        call_id = response.headers.get("Call-ID") or ""
        if not call_id.startswith(self._prefix):
            return False
        try:
            vias, cseq = response.headers.vias, response.headers.cseq
        except ParseError:
            return False
        return len(vias) == 1 and (cseq.number, cseq.method) == (1, self.settings.method)

    def sent_at(self, response: Response, flow: Flow, now: float) -> float | None:
        """When the request left that this answers, if nobody made the answer up and it is not too late."""
        call_id = response.headers.get("Call-ID") or ""
        moment, _, mac = call_id[len(self._prefix) :].partition("@")[0].partition(".")
        if not mac.isascii() or not hmac.compare_digest(mac, self._mac(moment, flow.remote)):
            return None
        sent = int(moment, 16) / 1000
        return sent if now - sent <= _ANSWER_TIME else None

    def _mac(self, moment: str, remote: Addr) -> str:
        return hmac.digest(self._key, f"{moment} {remote}".encode(), "sha256").hex()[:24]

    def _request(self, flow: Flow, uri: str, now: float) -> bytes:
        settings, here = self.settings, self._address_for(flow.local)
        moment = f"{int(now * 1000):x}"
        mac = self._mac(moment, flow.remote)
        event = "Event: keep-alive\r\n" if settings.method == "NOTIFY" else ""
        sender = settings.from_uri or f"sip:keepalive@{bracketed(here.host)}"
        return (
            f"{settings.method} {uri} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP {here};rport;branch={_COOKIE}{mac}\r\n"
            "Max-Forwards: 70\r\n"
            f"From: <{sender}>;tag={mac}\r\n"
            f"To: <{uri}>\r\n"
            f"Call-ID: {self._prefix}{moment}.{mac}@{bracketed(here.host)}\r\n"
            f"CSeq: 1 {settings.method}\r\n"
            f"{event}{settings.extra_headers}"
            "Content-Length: 0\r\n\r\n"
        ).encode("utf-8", "surrogateescape")
