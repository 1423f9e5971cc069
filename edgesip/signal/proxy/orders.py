"""What an operator or a program orders (tm's RPC): end, answer or make a request. `core.news()` tells more.

Finds what is meant; does nothing that the proxy does.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgesip.signal.decision import Reply
from edgesip.signal.proxy.fork import Fork, Target
from edgesip.signal.proxy.stateful import StatefulProxy
from edgesip.signal.proxy.uac import LocalRequests
from edgesip.signal.transaction.layer import Transactions


class Orders:
    """Orders to one server."""

    def __init__(self, transactions: Transactions, proxy: StatefulProxy, local: LocalRequests) -> None:
        self._transactions = transactions
        self._proxy = proxy
        self._local = local

    def request(
        self, method: str, target: Target, headers: Sequence[tuple[str, str]], body: bytes, now: float
    ) -> int:
        """Send a request of our own; `Heard` with the token that is returned says what came of it."""
        return self._local.open(method, target, headers, body, now)

    def cancel(self, call_id: str, cseq: int, now: float) -> bool:
        """tm.cancel: give up the pending request with this Call-ID and CSeq; False without one."""
        forks = self._pending(call_id, cseq)
        for fork in forks:
            self._proxy.cancel(fork.server, now)
        return bool(forks)

    def reply(self, call_id: str, cseq: int, reply: Reply, to_tag: str, body: bytes, now: float) -> bool:
        """tm.reply_callid: answer it (status 300 to 699); False without one."""
        forks = self._pending(call_id, cseq)
        for fork in forks:
            self._proxy.answer(fork, reply, to_tag, body, now)
        return bool(forks)

    def _pending(self, call_id: str, cseq: int) -> list[Fork]:
        forks = [tx.owner for tx in self._transactions.servers() if isinstance(tx.owner, Fork)]
        return [
            fork
            for fork in forks
            if not fork.answered
            and fork.request.headers.call_id == call_id
            and fork.request.headers.cseq.number == cseq
        ]
