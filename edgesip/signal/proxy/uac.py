"""Requests of our own: OPTIONS, BYE, NOTIFY... that nobody here received, and what came back (tm's `t_uac`).

Sends to hops that somebody else found. Knows no dialog; a 2xx to an INVITE of ours is acknowledged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from edgesip.address import Flow, bracketed
from edgesip.signal.proxy.fork import Target
from edgesip.signal.proxy.forward import our_via
from edgesip.signal.proxy.myself import Myself
from edgesip.signal.transaction.hop import COOKIE
from edgesip.signal.transaction.layer import Answered, ClientTx, TimedOut, Transactions, TxEvent
from edgesip.signal.wire.headers import Headers
from edgesip.signal.wire.message import Request, Response, reply_to
from edgesip.signal.wire.uri import without_headers

OURS: Final = frozenset({"Via", "Content-Length"})


class Heard(NamedTuple):
    """The final response to a request of ours; `response` is a 408 of our own when nobody answered."""

    token: int
    response: Response


@dataclass(slots=True, eq=False)
class Asking:
    """A request of ours under way."""

    token: int
    request: Request
    hops: tuple[Flow, ...]
    hop: int = 0


class LocalRequests:
    """Requests that this server makes by itself or by order; `sends` is where ACKs are left."""

    def __init__(
        self,
        transactions: Transactions,
        myself: Myself,
        entropy: Callable[[int], bytes],
        sends: list[tuple[Flow, bytes]],
    ) -> None:
        self._transactions = transactions
        self._myself = myself
        self._entropy = entropy
        self._sends = sends
        self._next_token = 0

    def open(
        self, method: str, target: Target, headers: Sequence[tuple[str, str]], body: bytes, now: float
    ) -> int:
        """Send a request; `Heard` with the token that is returned says what came of it.

        Via is ours; From, To, Call-ID, CSeq and Max-Forwards are made where `headers` have none of them.
        """
        self._next_token += 1
        given = {name.lower() for name, _ in headers}
        local = self._myself.address_for(target.hops[0].local, target.hops[0].transport)
        made = (
            ("Max-Forwards", "70"),
            ("From", f"<sip:{bracketed(local.host)}>;tag={self._entropy(8).hex()}"),
            ("To", f"<{target.uri}>"),
            ("Call-ID", f"{self._entropy(12).hex()}@{local.host}"),
            ("CSeq", f"1 {method}"),
        )
        fields = [one for one in made if one[0].lower() not in given]
        fields += [one for one in headers if one[0] not in OURS]
        request = Request(method, without_headers(target.uri), Headers(fields), body)
        self._send(Asking(self._next_token, request, target.hops), now)
        return self._next_token

    def take(self, event: TxEvent, now: float) -> Heard | None:
        """What a transaction reports of a request of ours: the final response, or the next hop is tried."""
        if isinstance(event, Answered):
            asking, response = event.client.owner, event.response
            if response.status < 200:
                return None
            if response.status < 300 and event.client.request.method == "INVITE":
                self._acknowledge(event.client, response)
            return self._heard(asking, response)
        if isinstance(event, TimedOut) and isinstance(event.tx, ClientTx):
            asking = event.tx.owner
            if asking.hop + 1 < len(asking.hops):
                asking.hop += 1
                self._send(asking, now)
                return None
            return self._heard(asking, reply_to(event.tx.request, 408))
        return None

    def _heard(self, asking: Asking, response: Response) -> Heard | None:
        if asking.token == 0:
            return None
        token, asking.token = asking.token, 0
        return Heard(token, response)

    def _send(self, asking: Asking, now: float) -> None:
        flow = asking.hops[asking.hop]
        via = our_via(flow, f"{COOKIE}{self._entropy(8).hex()}.0", self._myself)
        request = asking.request
        headers = Headers((("Via", str(via)), *request.headers.fields))
        copy = Request(request.method, request.uri, headers, request.body)
        self._transactions.open_client(copy, flow, asking, now)

    def _acknowledge(self, client: ClientTx, response: Response) -> None:
        """The ACK of a 2xx is a request of its own, to the Contact, by the route set (§13.2.2.4)."""
        sent, headers = client.request.headers, response.headers
        uri = str(headers.contacts[0].uri) if headers.contacts else client.request.uri
        via = our_via(client.flow, f"{COOKIE}{self._entropy(8).hex()}.0", self._myself)
        fields = [("Via", str(via)), ("Max-Forwards", "70")]
        fields += [("Route", str(route)) for route in reversed(headers.record_routes)]
        fields += [("From", sent.get("From") or ""), ("To", headers.get("To") or "")]
        fields += [("Call-ID", sent.call_id), ("CSeq", f"{sent.cseq.number} ACK")]
        ack = Request("ACK", without_headers(uri), Headers(fields), b"")
        self._sends.append((client.flow, bytes(ack)))
