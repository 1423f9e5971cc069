"""The stateful proxy: branches opened, answered, cancelled, followed by others when they fail.

Acts on decisions that were already taken and on what the transactions report. Knows neither scripts nor
how a target was found; dialogs and media are `calls`'. RFC 3261 §16.6-16.10.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from edgesip.address import Flow
from edgesip.signal.decision import Decision, Forward, Reply
from edgesip.signal.dialog.offer_answer import Media
from edgesip.signal.dialog.state import Success, other
from edgesip.signal.dialog.table import Dialogs
from edgesip.signal.location.usrloc import Binding
from edgesip.signal.proxy.asked import (
    BRANCH_FAILURE,
    FAILURE,
    MEDIA_FAILED,
    REDIRECTED,
    Asked,
    Dead,
    Failure,
    Hooks,
    Said,
    asked_of,
)
from edgesip.signal.proxy.calls import Calls
from edgesip.signal.proxy.edits import Edits
from edgesip.signal.proxy.fork import (
    Branch,
    Fork,
    Target,
    best,
    drop,
    fails_over,
    gathered,
    groups_of,
    let_go,
    one_flow_each,
)
from edgesip.signal.proxy.forward import strip_via
from edgesip.signal.proxy.inbound import Inbound, Passing, note
from edgesip.signal.proxy.launch import Launcher, again
from edgesip.signal.proxy.loops import breadth_of, loop_mark
from edgesip.signal.proxy.myself import Myself
from edgesip.signal.proxy.redirect import new_contacts
from edgesip.signal.proxy.subscribed import learnt
from edgesip.signal.transaction.hop import cancel_for
from edgesip.signal.transaction.layer import (
    Answered,
    Broken,
    ClientTx,
    Ended,
    ServerTx,
    TimedOut,
    Transaction,
    Transactions,
    TxEvent,
)
from edgesip.signal.wire.headers import Headers
from edgesip.signal.wire.message import Request, Response, reply_to

NO_HEADERS: Final = Headers(())
FLOW_FAILED: Final = (408, 430)
"""What a flow says that is no longer there: the next one of the same phone is tried (RFC 5626 §7)."""
ELSEWHERE: Final = 'SIP;cause=200;text="Call completed elsewhere"'


class StatefulProxy:
    """Every fork under way; `to_tag` tags what we answer, `binding` finds a binding by its ruid."""

    def __init__(
        self,
        transactions: Transactions,
        dialogs: Dialogs,
        media: Media | None,
        myself: Myself,
        entropy: Callable[[int], bytes],
        to_tag: Callable[[Request], str],
        hooks: Hooks,
        binding: Callable[[str], Binding | None],
        dead: Dead | None,
    ) -> None:
        self._transactions = transactions
        self._dead = dead
        self._said: list[Said] = []
        self.calls = Calls(transactions, dialogs, media, myself, entropy, binding, self._said)
        self.launcher = Launcher(transactions, self.calls, myself, entropy, to_tag, hooks, self._said)

    def take_sends(self) -> list[tuple[Flow, bytes]]:
        """Octets to send that belong to no transaction: ACKs of 2xx."""
        if not self.calls.sends:
            return []
        sends = self.calls.sends[:]
        self.calls.sends.clear()
        return sends

    def take_said(self) -> list[Said]:
        """What happened since the last call: for the log, for hooks, and what the script is asked."""
        if not self._said:
            return []
        said = self._said[:]
        self._said.clear()
        return said

    # -- requests ----------------------------------------------------------------------------------

    def forward(
        self,
        inbound: Inbound,
        targets: Sequence[Target],
        now: float,
        decision: Forward | None = None,
    ) -> None:
        """Send copies of a request to its targets; answer it when none could be sent."""
        request = inbound.request
        tm = self._transactions.settings
        if inbound.tm:
            tm = tm.with_own(inbound.tm)
        server = self._transactions.open_server(request, inbound.key, inbound.flow, now, tm)
        invite = request.method == "INVITE"
        if invite and tm.auto_inv_100:
            trying = reply_to(request, 100, tm.auto_inv_100_reason)
            self._transactions.respond(server, trying, now)
        dialogs = self.calls.begin(inbound, len(targets), now)
        lifetime = tm.max_inv_lifetime if invite else tm.max_noninv_lifetime
        fork = Fork(
            server, request, inbound.flow, inbound.edits, tm, dialogs, inbound.side, until=now + lifetime
        )
        server.owner, fork.within = fork, inbound.within
        if not fork.in_dialog:
            fork.mark, fork.breadth = loop_mark(request, inbound.flow), breadth_of(request)
        if decision is not None:
            fork.recurse = decision.recurse
        if len(targets) > 1:
            targets = one_flow_each(targets)
        if len(targets) == 1:
            self.launcher.launch_all(fork, targets, fork.edits, now)
        else:
            serial = decision is not None and decision.serial
            first, *fork.queue = groups_of(targets, serial, max(fork.breadth, 1))
            self.launcher.launch_all(fork, first, fork.edits, now)
        self._conclude(fork, now)

    # -- CANCEL ------------------------------------------------------------------------------------

    def cancel(self, server: ServerTx, now: float, reason: str = "") -> None:
        """The caller gave up (§16.10): every pending branch is cancelled; no new one is opened."""
        fork = server.owner
        if not isinstance(fork, Fork) or fork.cancelled or fork.answered:
            return
        fork.cancelled = True
        fork.queue.clear()
        fork.waiting = 0  # whatever the script is thinking about, nothing new is tried
        self._said.append(note("info", "call cancelled", fork.request.headers.call_id))
        for branch in fork.pending():
            self._cancel(fork, branch, now, reason if fork.tm.e2e_cancel_reason else "")
        self._conclude(fork, now)

    def orphaned(self, orphans: Sequence[ServerTx], now: float) -> None:
        """The connection over which these were asked is gone: what they asked for is given up."""
        for server in orphans:
            self.cancel(server, now, 'SIP;cause=408;text="The caller is gone"')
            self._transactions.forget(server)

    def _cancel(self, fork: Fork, branch: Branch, now: float, reason: str) -> None:
        """CANCEL one branch; before a provisional response as `cancel_b_method` says."""
        client = branch.client
        if client is None or client.request.method != "INVITE" or branch.cancelled:
            return
        if not branch.provisional and fork.tm.cancel_b_method == 1:
            branch.cancel = reason or "none"
            return
        if not branch.provisional:
            self._transactions.silence(client)
            if fork.tm.cancel_b_method == 0:
                branch.cancel = reason or "none"
                branch.final, branch.faked = self.launcher.own(fork, 487), True
                self.calls.branch_failed(fork, branch, now)
                return
        branch.cancelled = True
        cancel = cancel_for(client.request, "" if reason == "none" else reason)
        self._transactions.open_client(cancel, client.flow, None, now)
        self._transactions.cancelled(client, now)

    def _cancel_others(self, fork: Fork, now: float, reason: str) -> None:
        for pending in fork.pending():
            self._cancel(fork, pending, now, reason if fork.tm.local_cancel_reason else "")

    # -- responses ---------------------------------------------------------------------------------

    def handle(self, event: TxEvent, now: float) -> None:
        """What a transaction reports; a fault of ours in it costs no other."""
        try:
            if isinstance(event, Answered):
                self._answered(event.client, event.response, now)
                let_go(event.client)
            elif isinstance(event, TimedOut):
                self._timed_out(event, now)
            elif isinstance(event, Ended):
                self._ended(event.tx, now)
            else:
                self._broken(event, now)
        except Exception as error:
            self._said.append(note("error", "transaction failed", why=repr(error)))

    def _broken(self, event: Broken, now: float) -> None:
        self._said.append(note("error", "transaction failed", why=repr(event.error)))
        self._timed_out(TimedOut(event.tx, False, True), now)

    def _ended(self, tx: Transaction, now: float) -> None:
        if isinstance(tx, ClientTx) and tx.owner is not None:
            fork, branch = tx.owner
            if branch.client is tx:
                self.calls.forgotten(fork, branch, now)
        tx.owner = None

    def _answered(self, client: ClientTx, response: Response, now: float) -> None:
        if client.owner is None:
            return
        fork, branch = client.owner
        if branch.client is not client:
            return
        status = response.status
        branch.replied = True
        if status >= 200 and fork.within is not None:
            learnt(fork, branch, response, now)
        if status >= 200 and len(response.headers.vias) < 2:
            response = self.launcher.own(fork, 502, "Bad Gateway")
            status = 502
        if status < 200:
            branch.provisional = True
            if branch.cancel:
                self._cancel(fork, branch, now, branch.cancel)
            if status > 100 and not (fork.answered or fork.cancelled or branch.final):
                self._pass(fork, branch, response, now)
            return
        if status < 300:
            self._success(fork, branch, response, now)
            return
        if branch.final is not None:
            return
        if fails_over(fork.tm, status):
            if self._dead is not None and status == 503 and fork.tm.blst_503:
                self._blocked(branch, response, fork.tm.blst_503, now)
            if self._next_hop(fork, branch, now):
                return
        if status in FLOW_FAILED and self._next_flow(fork, branch, now):
            return
        branch.final = response
        if status >= 600 and not fork.tm.disable_6xx_block:
            fork.queue.clear()
            self._cancel_others(fork, now, "")
        self._lost(fork, branch, now)

    def _success(self, fork: Fork, branch: Branch, response: Response, now: float) -> None:
        invite = fork.request.method == "INVITE"
        if fork.answered and (fork.failed or not invite):
            if fork.failed and invite:
                self.calls.hang_up(fork, branch, response, now)
            return
        first = not fork.answered
        again = b"" if first else self.calls.repeated(fork, branch, response, now)
        branch.final = Response(response.status, response.reason, NO_HEADERS)
        if again:
            self._transactions.send(fork.server, response.status, again, now, True)
            return
        fork.answered = True
        fork.queue.clear()
        self._pass(fork, branch, response, now)
        if first:
            self._cancel_others(fork, now, ELSEWHERE)

    def _timed_out(self, event: TimedOut, now: float) -> None:
        tx = event.tx
        if isinstance(tx, ServerTx) or tx.owner is None:
            return
        fork, branch = tx.owner
        if branch.client is not tx or branch.final is not None:
            return
        if event.timer_c:
            self._cancel(fork, branch, now, "")
        elif not branch.provisional:
            if self._dead is not None and not fork.cancelled:
                why = "cannot be reached" if event.gone else "did not answer"
                self._dead.add(branch.flow.transport, branch.flow.remote, now, why)
            if self._next_hop(fork, branch, now) or self._next_flow(fork, branch, now):
                return
        branch.final, branch.faked = self.launcher.given_up(fork, branch, event.gone), True
        self._lost(fork, branch, now)

    def _blocked(
        self, branch: Branch, response: Response, blst: tuple[float, float, float], now: float
    ) -> None:
        """`blst_503`: whoever says 503 is left alone for as long as its Retry-After says, within bounds."""
        assert self._dead is not None
        usual, least, most = blst
        text = (response.headers.get("Retry-After") or "").partition(";")[0].partition("(")[0].strip()
        seconds = float(text[:9]) if text.isascii() and text.isdigit() else usual
        if seconds:
            flow = branch.flow
            self._dead.add(flow.transport, flow.remote, now, "said 503", min(max(seconds, least), most))

    def _next_hop(self, fork: Fork, branch: Branch, now: float) -> bool:
        if fork.cancelled or fork.answered or branch.hop + 1 >= len(branch.target.hops) or now >= fork.until:
            return False
        branch.hop += 1
        self.launcher.launch(fork, branch, now)
        return branch.final is None

    def _next_flow(self, fork: Fork, branch: Branch, now: float) -> bool:
        """Another flow to the same phone instead of the one that has failed (RFC 5626 §7)."""
        if fork.cancelled or fork.answered or not branch.target.others or now >= fork.until:
            return False
        first, *others = branch.target.others
        branch.target, branch.hop = replace(first, others=tuple(others)), 0
        self.launcher.launch(fork, branch, now)
        return branch.final is None

    def _lost(self, fork: Fork, branch: Branch, now: float) -> None:
        """A branch has its negative answer: whatever may follow it is tried, or asked for."""
        response = branch.final
        assert response is not None
        if fork.answered or fork.pending():
            self.calls.branch_failed(fork, branch, now)
        if not (fork.answered or fork.cancelled):
            if (
                fork.recurse
                and not fork.in_dialog
                and 300 <= response.status < 380
                and response.status != 305
            ):
                self._recurse(fork, branch, response)
            elif BRANCH_FAILURE in self.launcher.hooks.asks and not fork.in_dialog:
                self._ask(fork, BRANCH_FAILURE, branch, response)
        self._conclude(fork, now)

    def _recurse(self, fork: Fork, branch: Branch, response: Response) -> None:
        """A 3xx whose contacts are tried instead of passed on (§16.5), best q first."""
        found = new_contacts(fork, response)
        if found:
            self._ask(fork, REDIRECTED, branch, response, found)
        else:
            branch.dropped = True

    # -- failures ----------------------------------------------------------------------------------

    def _conclude(self, fork: Fork, now: float) -> None:
        """Go on when no branch is pending: the next targets, the script's, or the best answer (§16.7)."""
        while not (fork.answered or fork.waiting or fork.pending()):
            if fork.queue and not fork.cancelled and now < fork.until:
                self.launcher.launch_all(fork, fork.queue.pop(0), fork.edits, now)
                self._close_failed(fork, now)
                continue
            hook = asked_of(fork, self.launcher.hooks.asks)
            if hook and not (fork.cancelled or fork.asked or fork.in_dialog):
                chosen = best(fork)
                if chosen is not None and chosen.final is not None:
                    fork.asked = True
                    self._ask(fork, hook, chosen, gathered(fork, chosen))
                    return
            self._finish(fork, now)

    def _ask(
        self,
        fork: Fork,
        hook: str,
        branch: Branch,
        response: Response,
        contacts: tuple[tuple[str, float], ...] = (),
    ) -> None:
        fork.waiting += 1
        inbound = again(fork, fork.edits.copied())
        self._said.append(Asked(Failure(hook, inbound, fork, branch, response, contacts)))

    def resume(
        self, failure: Failure, decision: Decision | None, targets: Sequence[Target], now: float
    ) -> None:
        """The script has said what becomes of a failure: more targets, another answer, or nothing."""
        fork = failure.fork
        fork.waiting = max(0, fork.waiting - 1)
        if fork.answered or fork.cancelled:
            self._conclude(fork, now)
            return
        if isinstance(decision, Reply):
            tm = fork.tm
            valid = 300 <= decision.status < 700
            status, reason = (
                (decision.status, decision.reason) if valid else (tm.default_code, tm.default_reason)
            )
            fork.reply = self.launcher.own(fork, status, reason, decision.headers)
            fork.queue.clear()
            self._cancel_others(fork, now, "")
        elif isinstance(decision, Forward) and now < fork.until and (new := fork.untried(targets)):
            self._add(failure, decision, new, now)
        elif failure.drop:
            drop(fork, failure.drop)
        self._conclude(fork, now)

    def _add(self, failure: Failure, decision: Forward, targets: Sequence[Target], now: float) -> None:
        fork = failure.fork
        if failure.hook == REDIRECTED:
            assert failure.branch is not None
            failure.branch.dropped = True
            quality = dict(failure.contacts)
            targets = [replace(target, q=quality.get(target.uri, -1.0)) for target in targets]
        elif failure.hook in (FAILURE, MEDIA_FAILED):
            fork.recurse = decision.recurse
            fork.tm = fork.tm.with_own(failure.inbound.tm)
            drop(fork, failure.drop or {1: "a", 2: "l", 3: "a"}.get(fork.tm.failure_reply_mode, "n"))
        fork.asked = False
        serial = decision.serial or failure.hook == REDIRECTED
        first, *rest = groups_of(one_flow_each(targets), serial, max(fork.breadth, 1))
        fork.queue[:0] = rest
        self.launcher.launch_all(fork, first, failure.inbound.edits, now)
        self._close_failed(fork, now)

    def answer(self, fork: Fork, reply: Reply, to_tag: str, body: bytes, now: float) -> None:
        """Answer a request that is under way, by order, with a final response."""
        request = fork.request
        tag = to_tag or self.launcher.own(fork, reply.status).headers.to.tag
        fork.reply = reply_to(
            request, reply.status, reply.reason, to_tag=tag, headers=reply.headers, body=body
        )
        fork.queue.clear()
        fork.waiting = 0
        for pending in fork.pending():
            self._cancel(fork, pending, now, "")
        self._finish(fork, now)

    def _close_failed(self, fork: Fork, now: float) -> None:
        """The media of what has failed goes once something else has its own: the caller's ports stay."""
        for branch in fork.branches[: fork.newest]:
            if branch.final is not None:
                self.calls.branch_failed(fork, branch, now)

    def _finish(self, fork: Fork, now: float) -> None:
        """Send the final answer."""
        fork.answered = fork.failed = True
        response, relayed = self.launcher.final(fork)
        if response is None:
            self._transactions.abandon(fork.server, now)
        else:
            self._transactions.respond(fork.server, response, now, relayed)
        for branch in fork.branches:
            self.calls.branch_failed(fork, branch, now)
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
        edits = self._edits_of(stripped, branch, fork)
        stripped = edits.with_own_body(stripped)
        body = self.calls.response_body(fork, branch, dialog, stripped, now, edits)
        if edits.plays:
            name = dialog.branch if dialog is not None and fork.in_dialog else branch.name
            self.calls.play(edits.plays, dialog, name, fork.side, now)
        stripped = edits.replied(stripped, branch.flow, body)
        self.calls.record(dialog, edits.record, now)
        octets, headers = bytes(stripped), stripped.headers
        if dialog is not None and stripped.status >= 200 and fork.request.method == "INVITE":
            dialog.success = Success(headers.from_.tag, headers.to.tag, headers.cseq, octets)
        self._transactions.send(fork.server, stripped.status, octets, now, True)

    def _edits_of(self, response: Response, branch: Branch, fork: Fork) -> Edits:
        """What the `reply` hook wants changed."""
        edits = Edits()
        if self.launcher.hooks.reply is not None:
            passing = Passing(response, branch.flow, fork, self._responder_nated(fork, branch), edits)
            try:
                self.launcher.hooks.reply(passing)
            except Exception as error:  # a script's fault costs its edits, not the answer
                call_id = response.headers.call_id
                self._said.append(note("error", "reply script failed", call_id, why=repr(error)))
                edits = Edits()
        return edits

    def _responder_nated(self, fork: Fork, branch: Branch) -> bool:
        if fork.in_dialog and fork.dialogs:
            return fork.dialogs[0].leg(other(fork.side)).nated
        return branch.target.nated or (fork.within is not None and fork.within.far_nated)
