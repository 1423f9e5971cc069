"""The stateful proxy: branches opened, answered, cancelled; dialogs and media moved along with them.

Acts on decisions that were already taken and on what the transactions report. Knows neither scripts nor
how a target was found. RFC 3261 §16.6-16.10.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgesip.address import Flow
from edgesip.signal.dialog.offer_answer import Media
from edgesip.signal.dialog.state import other
from edgesip.signal.dialog.table import Dialogs
from edgesip.signal.location.usrloc import Binding
from edgesip.signal.proxy.calls import Calls
from edgesip.signal.proxy.edits import Edits
from edgesip.signal.proxy.fork import Branch, Fork, Target, best
from edgesip.signal.proxy.forward import Copy, copy_for, strip_via
from edgesip.signal.proxy.inbound import Inbound, Note, Passing, note
from edgesip.signal.proxy.myself import Myself
from edgesip.signal.transaction.layer import (
    COOKIE,
    Answered,
    ClientTx,
    Ended,
    ServerTx,
    TimedOut,
    Transaction,
    Transactions,
    TxEvent,
    cancel_for,
)
from edgesip.signal.wire.message import Request, Response, reply_to

RECORD_ROUTED = frozenset({"INVITE", "SUBSCRIBE", "REFER"})
TRYING = "trying -- your call is important to us"


class StatefulProxy:
    """Every fork under way; `on_reply` is the script's `reply` hook, `to_tag` tags what we answer, `binding`
    finds a binding by its ruid.
    """

    def __init__(
        self,
        transactions: Transactions,
        dialogs: Dialogs,
        media: Media | None,
        myself: Myself,
        entropy: Callable[[int], bytes],
        to_tag: Callable[[Request], str],
        on_reply: Callable[[Passing], None] | None,
        binding: Callable[[str], Binding | None],
    ) -> None:
        self._transactions = transactions
        self._myself = myself
        self._entropy = entropy
        self._to_tag = to_tag
        self._on_reply = on_reply
        self._notes: list[Note] = []
        self.calls = Calls(transactions, dialogs, media, myself, entropy, binding, self._notes)
        self._sends = self.calls.sends

    def take_sends(self) -> list[tuple[Flow, bytes]]:
        """Octets to send that belong to no transaction: ACKs of 2xx."""
        sends = self._sends[:]
        self._sends.clear()
        return sends

    def take_notes(self) -> list[Note]:
        """What happened since the last call, for the log."""
        notes = self._notes[:]
        self._notes.clear()
        return notes

    # -- requests ----------------------------------------------------------------------------------

    def forward(self, inbound: Inbound, targets: Sequence[Target], now: float) -> None:
        """Send copies of a request to all targets at once; answer it when none could be sent."""
        request = inbound.request
        server = self._transactions.open_server(request, inbound.key, inbound.flow, now)
        branches = [Branch(self._entropy(6).hex(), target) for target in targets]
        if request.method == "INVITE":
            self._transactions.respond(server, reply_to(request, 100, TRYING), now)
        dialogs = self.calls.begin(inbound, len(branches), now)
        fork = Fork(server, request, inbound.flow, branches, dialogs, inbound.side)
        server.owner = fork
        for branch in branches:
            self._launch(fork, branch, inbound.edits, now)
        self._conclude(fork, now)

    def forward_ack(self, inbound: Inbound, target: Target, now: float) -> None:
        """Pass the ACK of a 2xx on, without a transaction (§16.11)."""
        dialog = inbound.dialog
        assert dialog is not None
        self.calls.follow_request(dialog, inbound.side, inbound.request, now)
        flow = target.hops[0]
        body = self.calls.request_body(
            dialog, dialog.branch, inbound.side, inbound.request, inbound.flow, flow, now
        )
        if not isinstance(body, bytes):
            body = inbound.request.body
        copy = Copy(target.uri, self._branch_id(0), flow, False, inbound.flow, body=body)
        self._sends.append((flow, bytes(self._copy(inbound.request, copy, inbound.edits))))

    def _launch(self, fork: Fork, branch: Branch, edits: Edits, now: float) -> None:
        request, flow = fork.request, branch.flow
        dialog = fork.dialogs[0] if fork.dialogs else None
        name = dialog.branch if dialog is not None and fork.in_dialog else branch.name
        body = self.calls.request_body(dialog, name, fork.side, request, fork.inbound, flow, now)
        if not isinstance(body, bytes):
            headers = (("Retry-After", str(body.retry_after)),) if body.retry_after else ()
            branch.final = self._own(fork, body.status, body.reason, headers)
            self._notes.append(
                note("warning", "media refused", request.headers.call_id, status=body.status, why=body.reason)
            )
            return
        record_route = request.method in RECORD_ROUTED and not request.headers.to.tag
        index = fork.branches.index(branch)
        did = dialog.did if dialog is not None else ""
        copy = Copy(
            branch.target.uri, self._branch_id(index), flow, record_route, fork.inbound, did, body, edits.rr
        )
        branch.edits = edits
        branch.provisional = False
        branch.client = self._transactions.open_client(
            self._copy(request, copy, edits), flow, (fork, branch), now
        )

    def _copy(self, request: Request, copy: Copy, edits: Edits) -> Request:
        headers = edits.apply(request.headers, copy.inbound)
        if headers is not request.headers:
            request = Request(request.method, request.uri, headers, request.body)
        return copy_for(request, copy, self._myself)

    def _branch_id(self, index: int) -> str:
        return f"{COOKIE}{self._entropy(8).hex()}.{index}"

    # -- CANCEL ------------------------------------------------------------------------------------

    def cancel(self, server: ServerTx, now: float, reason: str = "") -> None:
        """The caller gave up (§16.10): every pending branch is cancelled; no new one is opened."""
        fork = server.owner
        if not isinstance(fork, Fork) or fork.cancelled or fork.answered:
            return
        fork.cancelled = True
        self._notes.append(note("info", "call cancelled", fork.request.headers.call_id))
        for branch in fork.pending():
            self._cancel(branch, now, reason)
        self._conclude(fork, now)

    def flow_closed(self, flow: Flow, now: float) -> None:
        """A connection is gone: who waits over it waits in vain, and what it asked for is given up."""
        events, orphans = self._transactions.flow_closed(flow)
        self.handle(events, now)
        for server in orphans:
            self.cancel(server, now, 'SIP;cause=408;text="The caller is gone"')
            self._transactions.forget(server)

    def _cancel(self, branch: Branch, now: float, reason: str) -> None:
        client = branch.client
        if client is None or client.request.method != "INVITE" or branch.cancelled:
            return
        if not branch.provisional:
            branch.cancel = reason or "none"
            return
        branch.cancelled = True
        cancel = cancel_for(client.request, "" if reason == "none" else reason)
        self._transactions.open_client(cancel, client.flow, None, now)
        self._transactions.cancelled(client, now)

    # -- responses ---------------------------------------------------------------------------------

    def handle(self, events: Sequence[TxEvent], now: float) -> None:
        """What the transactions report."""
        for event in events:
            if isinstance(event, Answered):
                self._answered(event.client, event.response, now)
            elif isinstance(event, TimedOut):
                self._timed_out(event, now)
            elif isinstance(event, Ended):
                self._ended(event.tx)

    def _ended(self, tx: Transaction) -> None:
        if isinstance(tx, ClientTx) and tx.owner is not None:
            fork, branch = tx.owner
            if branch.client is tx:
                self.calls.forgotten(fork, branch)
        tx.owner = None

    def _answered(self, client: ClientTx, response: Response, now: float) -> None:
        if client.owner is None:
            return
        fork, branch = client.owner
        if branch.client is not client:
            return
        status = response.status
        if status >= 200 and len(response.headers.vias) < 2:
            response = self._own(fork, 502, "Bad Gateway")
            status = 502
        if status < 200:
            branch.provisional = True
            if branch.cancel:
                self._cancel(branch, now, branch.cancel)
            if status > 100 and not (fork.answered or fork.cancelled or branch.final):
                self._pass(fork, branch, response, now)
            return
        if status < 300:
            self._success(fork, branch, response, now)
            return
        if branch.final is not None:
            return
        if status == 503 and self._next_hop(fork, branch, now):
            return
        branch.final = response
        self.calls.branch_failed(fork, branch, now)
        if status >= 600:
            for pending in fork.pending():
                self._cancel(pending, now, "")
        self._conclude(fork, now)

    def _success(self, fork: Fork, branch: Branch, response: Response, now: float) -> None:
        first = not fork.answered
        if not first and (fork.request.method != "INVITE" or fork.failed):
            if fork.failed and fork.request.method == "INVITE":
                self.calls.hang_up(fork, branch, response, now)
            return
        again = None if first else self.calls.repeated(fork, branch, response, now)
        branch.final = response
        if again is not None:
            self._transactions.respond(fork.server, again, now)
            return
        fork.answered = True
        self._pass(fork, branch, response, now)
        if first:
            for pending in fork.pending():
                self._cancel(pending, now, 'SIP;cause=200;text="Call completed elsewhere"')

    def _timed_out(self, event: TimedOut, now: float) -> None:
        tx = event.tx
        if isinstance(tx, ServerTx):
            return
        if tx.owner is None:
            return
        fork, branch = tx.owner
        if branch.client is not tx or branch.final is not None:
            return
        if event.timer_c:
            self._cancel(branch, now, "")
        elif not branch.provisional and not fork.cancelled and self._next_hop(fork, branch, now):
            return
        branch.final = self._own(fork, 408, "Request Timeout")
        self.calls.branch_failed(fork, branch, now)
        self._conclude(fork, now)

    def _next_hop(self, fork: Fork, branch: Branch, now: float) -> bool:
        if fork.cancelled or fork.answered or branch.hop + 1 >= len(branch.target.hops):
            return False
        branch.hop += 1
        self._launch(fork, branch, branch.edits, now)
        return branch.final is None

    def _conclude(self, fork: Fork, now: float) -> None:
        """Send the final answer when no branch is left that could give a better one (§16.7 step 6)."""
        if fork.answered or fork.pending():
            return
        fork.answered = fork.failed = True
        response = best(fork)
        if fork.cancelled and fork.request.method == "INVITE":
            response = self._own(fork, 487, "Request Terminated")
        elif _is_passed_on(fork, response):
            stripped = strip_via(response)
            if stripped is None or stripped.status == 503:
                stripped = self._own(fork, 500)
            response = stripped
        self._transactions.respond(fork.server, response, now)
        self.calls.failed(fork, response, now)

    def _pass(self, fork: Fork, branch: Branch, response: Response, now: float) -> None:
        """Send a provisional or a 2xx on to the one who asked (§16.7 steps 3-9)."""
        dialog = self.calls.follow(fork, branch, response, now)
        stripped = strip_via(response)
        if stripped is None:
            return
        if dialog is None and fork.dialogs and response.status >= 200:
            self.calls.hang_up(fork, branch, response, now)
            return
        body = self.calls.response_body(fork, branch, dialog, response, now)
        stripped = self._edited(stripped, branch, fork, body)
        if dialog is not None and stripped.status >= 200 and fork.request.method == "INVITE":
            dialog.success = stripped
        self._transactions.respond(fork.server, stripped, now)

    def _edited(self, response: Response, branch: Branch, fork: Fork, body: bytes) -> Response:
        edits = Edits()
        if self._on_reply is not None:
            passing = Passing(response, branch.flow, fork, self._responder_nated(fork, branch), edits)
            try:
                self._on_reply(passing)
            except Exception as error:  # a script's fault costs its edits, not the answer
                call_id = response.headers.call_id
                self._notes.append(note("error", "reply script failed", call_id, why=repr(error)))
                edits = Edits()
        headers = edits.apply(response.headers, branch.flow)
        return Response(response.status, response.reason, headers, body)

    def _responder_nated(self, fork: Fork, branch: Branch) -> bool:
        if fork.in_dialog and fork.dialogs:
            return fork.dialogs[0].leg(other(fork.side)).nated
        return branch.target.nated

    def _own(
        self, fork: Fork, status: int, reason: str = "", headers: Sequence[tuple[str, str]] = ()
    ) -> Response:
        return reply_to(fork.request, status, reason, to_tag=self._to_tag(fork.request), headers=headers)


def _is_passed_on(fork: Fork, response: Response) -> bool:
    """True when a downstream element made the response: it has our Via on top of those of the request."""
    return len(response.headers.vias) > len(fork.request.headers.vias)
