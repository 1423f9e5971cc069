"""Answers and copies without a transaction: Kamailio's `sl`, and the stateless proxy of RFC 3261 §16.11.

Nothing is remembered of a message: what has to be known again when its ACK or its answer comes stands,
signed, in the To tag and in the Via branch. Knows no dialogs and no scripts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Final

from edgesip.address import Addr, Flow, parse_ip
from edgesip.signal.proxy.edits import Edits
from edgesip.signal.proxy.fork import Target
from edgesip.signal.proxy.forward import Copy, copy_for, strip_via
from edgesip.signal.proxy.myself import Myself
from edgesip.signal.proxy.path import led
from edgesip.signal.transaction.hop import COOKIE
from edgesip.signal.wire.message import Request, Response, reply_to
from edgesip.signal.wire.values import Via

MARK: Final = "sl"
ACKS: Final = 64.0
"""Seconds after a stateless INVITE in which an ACK that belongs to nothing here may be its."""
CODES: Final = (200, 202, 300, 301, 302, 400, 401, 403, 404, 407, 408, 483, 500)
"""Statuses that have a statistic of their own; the others are counted by class."""


class Stateless:
    """What is answered and passed on without a transaction; `sends` is where the octets are left, `allows` is
    asked whether an answer of that size may leave by that flow.

    Until `acks_until` (monotonic seconds) an unknown ACK may be that of an INVITE that was passed on.
    """

    def __init__(
        self,
        myself: Myself,
        entropy: Callable[[int], bytes],
        sends: list[tuple[Flow, bytes]],
        allows: Callable[[Flow, int], bool] = lambda flow, size: True,
    ) -> None:
        self._allows = allows
        self._myself = myself
        self._key = entropy(16)
        self._sends = sends
        self.acks_until = 0.0
        self.counters: dict[str, int] = {
            **{f"sl:{code}_replies": 0 for code in CODES},
            **{f"sl:{digit}xx_replies": 0 for digit in range(1, 7)},
            "sl:sent_replies": 0,
            "sl:sent_err_replies": 0,
            "sl:received_ACKs": 0,
        }

    def answer(
        self,
        request: Request,
        flow: Flow,
        status: int,
        reason: str = "",
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Send a response to where the request came from (RFC 3261 §8.2.7, RFC 3581)."""
        response = reply_to(request, status, reason, to_tag=self.to_tag(request), headers=headers)
        self.send(flow, status, bytes(response))

    def send(self, flow: Flow, status: int, octets: bytes) -> None:
        """Send a response that is written already."""
        if status >= 200 and not self._allows(flow, len(octets)):
            return
        counters = self.counters
        counters["sl:sent_replies"] += 1
        counters[f"sl:{status}_replies" if status in CODES else f"sl:{status // 100}xx_replies"] += 1
        self._sends.append((flow, octets))

    def to_tag(self, request: Request) -> str:
        """The same tag for every answer to the same request, however often it comes (§8.2.7)."""
        headers = request.headers
        return self.signature(headers.call_id, headers.get("From") or "", headers.cseq.number)

    def signature(self, call_id: str, caller: str, number: int) -> str:
        """The tag of the answers to the request with these Call-ID, From and CSeq number."""
        return self._signature(f"{call_id}\0{caller}\0{number}")

    def lot(self, request: Request) -> int:
        """0..65535, evenly spread, not to be guessed, and the same for the same request."""
        return self.lot_of(self.to_tag(request))

    def lot_of(self, tag: str) -> int:
        """The lot of the request whose answers have this tag."""
        return int(tag[:4], 16)

    def is_answered(self, ack: Request) -> bool:
        """True for the ACK of an answer of ours: its To tag is our signature."""
        if ack.headers.to.tag != self.to_tag(ack):
            return False
        self.counters["sl:received_ACKs"] += 1
        return True

    # -- passing on --------------------------------------------------------------------------------

    def forward(self, request: Request, source: Flow, target: Target, edits: Edits, now: float) -> None:
        """Pass a request on; the same one again gets the same branch (§16.11)."""
        if request.method == "INVITE":
            self.acks_until = now + ACKS
        local = next((at for at, one in enumerate(self._myself.listens) if one[1] == source.local), 0)
        branch = f"{COOKIE}{MARK}{local}.{self._sign(request.headers.via, local)}"
        flow = target.hops[0]
        headers = led(edits.apply(request.headers, source), target.routes)
        for entry in edits.path:
            headers = entry.apply(headers, source, flow, self._myself)
        if headers is not request.headers:
            request = Request(request.method, request.uri, headers, request.body)
        copy = Copy(target.uri, branch, flow, False, source)
        self._sends.append((flow, bytes(copy_for(request, copy, self._myself))))

    def relay(self, response: Response) -> bool:
        """Pass the answer to such a copy back to where the request came from; False when it is no such.

        The branch signs where that was, so nobody can have answers sent elsewhere (threat 20).
        """
        vias = response.headers.vias
        branch = vias[0].branch
        if not branch.startswith(COOKIE + MARK) or len(vias) < 2:
            return False
        number, _, signature = branch.removeprefix(COOKIE + MARK).partition(".")
        local = int(number) if number.isascii() and number.isdigit() and len(number) < 5 else -1
        if not 0 <= local < len(self._myself.listens) or signature != self._sign(vias[1], local):
            return False
        stripped = strip_via(response)
        transport, addr = self._myself.listens[local]
        remote = _came_from(vias[1])
        if stripped is None or remote is None:
            return False
        self._sends.append((Flow(transport, addr, remote), bytes(stripped)))
        return True

    def _sign(self, via: Via, local: int) -> str:
        return self._signature(f"{local}\0{via.host}\0{via.port}\0{via.received}\0{via.rport}\0{via.branch}")

    def _signature(self, text: str) -> str:
        octets = text.encode("utf-8", "surrogateescape")
        return blake2b(octets, key=self._key, digest_size=8).hexdigest()


def _came_from(via: Via) -> Addr | None:
    """Where a request with this top Via came from, as we noted it in `received` and `rport`."""
    ip = parse_ip(via.received or via.host)
    port = via.rport or (str(via.port) if via.port else "5060")
    if ip is None or not (port.isascii() and port.isdigit() and len(port) <= 5):
        return None
    return Addr(str(ip), int(port))
