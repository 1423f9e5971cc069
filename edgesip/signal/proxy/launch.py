"""Copies that leave: a branch for each target, its body, its route set, its transaction.

Sends what it is told to, where it is told to, and makes the answers that are ours or the best.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from edgesip.signal.proxy.aim import aimed
from edgesip.signal.proxy.asked import Hooks, Leaving, Said
from edgesip.signal.proxy.calls import Calls
from edgesip.signal.proxy.edits import Edits
from edgesip.signal.proxy.fork import Branch, Fork, Target, best, gathered, is_passed_on
from edgesip.signal.proxy.forward import Copy, copy_for, strip_via
from edgesip.signal.proxy.inbound import Inbound, note
from edgesip.signal.proxy.loops import NAME as MAX_BREADTH
from edgesip.signal.proxy.loops import with_breadth
from edgesip.signal.proxy.myself import Myself
from edgesip.signal.proxy.path import led
from edgesip.signal.proxy.record_route import RrSettings
from edgesip.signal.transaction.hop import COOKIE
from edgesip.signal.transaction.layer import Transactions
from edgesip.signal.wire.message import Request, Response, reply_to

RECORD_ROUTED: Final = frozenset({"INVITE", "SUBSCRIBE", "REFER"})


class Launcher:
    """Opens branches; `to_tag` tags what we answer, `said` is where news is left.

    `rr` is the style of our Record-Routes where it is not the usual one.
    """

    def __init__(
        self,
        transactions: Transactions,
        calls: Calls,
        myself: Myself,
        entropy: Callable[[int], bytes],
        to_tag: Callable[[Request], str],
        hooks: Hooks,
        said: list[Said],
    ) -> None:
        self._transactions = transactions
        self._calls = calls
        self._myself = myself
        self._entropy = entropy
        self._to_tag = to_tag
        self.hooks = hooks
        self.rr: RrSettings | None = None
        self._said = said

    def forward_ack(self, inbound: Inbound, target: Target, now: float) -> None:
        """Pass the ACK of a 2xx on, without a transaction (§16.11)."""
        dialog = inbound.dialog
        assert dialog is not None
        self._calls.follow_request(dialog, inbound.side, inbound.request, now)
        flow = target.hops[0]
        body = self._calls.request_body(
            dialog, dialog.branch, inbound.side, inbound.request, inbound.flow, flow, now, inbound.edits
        )
        if not isinstance(body, bytes):
            body = inbound.request.body
        if inbound.edits.plays:
            self._calls.play(inbound.edits.plays, dialog, dialog.branch, inbound.side, now)
        copy = Copy(target.uri, f"{self._branch_id()}.0", flow, False, inbound.flow, body=body)
        self._calls.sends.append(
            (flow, bytes(self._copy(inbound.request, copy, inbound.edits, target.routes)))
        )

    def launch_all(self, fork: Fork, targets: Sequence[Target], edits: Edits, now: float) -> None:
        """Open a branch for each target, at most as many as a request may have."""
        fork.newest = len(fork.branches)
        room = max(0, fork.tm.max_branches - len(fork.branches))
        branches = []
        for target in targets[:room]:
            branch = Branch(self._entropy(6).hex(), target, edits=edits)
            if self._leaves(fork, branch):
                fork.branches.append(branch)
                branches.append(branch)
        for branch in branches:
            self.launch(fork, branch, now, len(branches))

    def _leaves(self, fork: Fork, branch: Branch) -> bool:
        """The script's `branch` hook: it may change this copy, or keep it back."""
        if self.hooks.branch is None or fork.in_dialog:
            return True
        inbound = again(fork, branch.edits.copied())
        leaving = Leaving(inbound, fork, branch.target, len(fork.branches))
        inbound.uri = branch.target.uri
        try:
            wanted = self.hooks.branch(leaving)
        except Exception as error:  # a script's fault costs its edits, not the branch
            call_id = fork.request.headers.call_id
            self._said.append(note("error", "branch script failed", call_id, why=repr(error)))
            return True
        target = aimed(branch.target, inbound, self._myself)
        branch.target, branch.edits = target or branch.target, inbound.edits
        return wanted and target is not None

    def launch(self, fork: Fork, branch: Branch, now: float, beside: int = 1) -> None:
        """Send the copy of one branch to its present hop; `beside` branches go out together."""
        request, flow = branch.edits.with_body(fork.request), branch.flow
        if branch.hop:
            before = str(branch.target.hops[branch.hop - 1].remote)
            news = note("debug", "next hop", request.headers.call_id, to=str(flow.remote), after=before)
            self._said.append(news)
        dialog = fork.dialogs[0] if fork.dialogs else None
        name = dialog.branch if dialog is not None and fork.in_dialog else branch.name
        edits = branch.edits
        body = self._calls.request_body(dialog, name, fork.side, request, fork.inbound, flow, now, edits)
        if not isinstance(body, bytes):
            headers = (("Retry-After", str(body.retry_after)),) if body.retry_after else ()
            branch.final, branch.faked = self.own(fork, body.status, body.reason, headers), True
            branch.unrelayed = True
            self._said.append(
                note("warning", "media refused", request.headers.call_id, status=body.status, why=body.reason)
            )
            return
        if branch.edits.plays and not branch.hop and (fork.in_dialog or branch is fork.branches[0]):
            self._calls.play(branch.edits.plays, dialog, name, fork.side, now)
        record_route = request.method in RECORD_ROUTED and not fork.in_dialog
        record_route = record_route or (request.method == "NOTIFY" and not fork.dialogs)  # RFC 6665 §4.3
        did = dialog.did if dialog is not None else ""
        mark = f"{self._branch_id()}{fork.mark or '.'}{fork.branches.index(branch)}"
        breadth = max(1, fork.breadth // beside) if fork.breadth else 0
        uri, rr, style = branch.target.uri, branch.edits.rr, self.rr if record_route else None
        copy = Copy(uri, mark, flow, record_route, fork.inbound, did, body, rr, breadth, style)
        branch.provisional = False
        leaving = self._copy(request, copy, branch.edits, branch.target.routes)
        branch.client = self._transactions.open_client(
            leaving, flow, (fork, branch), now, fork.tm, fork.until
        )

    def _copy(self, request: Request, copy: Copy, edits: Edits, routes: Sequence[str] = ()) -> Request:
        headers = edits.apply(request.headers, copy.inbound)
        for entry in edits.path:
            headers = entry.apply(headers, copy.inbound, copy.flow, self._myself)
        if routes:
            headers = led(headers, routes)
        if copy.breadth and headers.find(MAX_BREADTH) is not None:
            headers = with_breadth(headers, copy.breadth)
        if headers is not request.headers:
            request = Request(request.method, request.uri, headers, request.body)
        return copy_for(request, copy, self._myself)

    def _branch_id(self) -> str:
        return f"{COOKIE}{self._entropy(8).hex()}"

    def given_up(self, fork: Fork, branch: Branch, gone: bool) -> Response:
        """Our answer for a branch that is not waited for any longer; `gone` when it cannot be reached."""
        why = "cannot be reached" if gone else "no final answer" if branch.provisional else "no answer"
        call_id, to = fork.request.headers.call_id, str(branch.flow.remote)
        self._said.append(note("debug", "timed out", call_id, to=to, why=why))
        if gone and branch.target.token:
            return self.own(fork, 430)
        if fork.request.method == "INVITE":
            return self.own(fork, fork.tm.reply_408_code, fork.tm.reply_408_reason)
        return self.own(fork, 500 if gone else 408)

    def own(
        self, fork: Fork, status: int, reason: str = "", headers: Sequence[tuple[str, str]] = ()
    ) -> Response:
        """An answer of our own to the request of a fork."""
        return reply_to(fork.request, status, reason, to_tag=self._to_tag(fork.request), headers=headers)

    def final(self, fork: Fork) -> tuple[Response | None, bool]:
        """The best answer, and whether it came from further on; None for what gets none (RFC 4320 §4.2)."""
        invite = fork.request.method == "INVITE"
        if fork.cancelled and invite:
            return self.own(fork, 487, "Request Terminated"), False
        if fork.reply is not None:
            return fork.reply, False
        chosen = best(fork)
        if chosen is None or chosen.final is None:
            return self.own(fork, 480), False
        response = chosen.final
        if not invite and response.status == 408:
            return None, False
        if chosen.faked or not is_passed_on(fork, response):
            return response, False
        stripped = strip_via(gathered(fork, chosen))
        if stripped is None or (stripped.status == 503 and fork.tm.remap_503_500):
            return self.own(fork, 500), False
        return stripped, True


def again(fork: Fork, edits: Edits) -> Inbound:
    """The request as it came, for a script to look at once more."""
    request, dialog = fork.request, fork.dialogs[0] if fork.in_dialog and fork.dialogs else None
    return Inbound(
        request,
        fork.inbound,
        fork.server.key,
        dialog=dialog,
        side=fork.side,
        uri=request.uri,
        edits=edits,
    )
