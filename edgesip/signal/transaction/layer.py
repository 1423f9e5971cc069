"""The transaction layer: every living transaction, moved by the tables.

Takes messages and time, gives octets to send and `TxEvent`s for the proxy above. Knows nothing of routing,
dialogs or media. Retransmissions, the ACK of failures and the waiting after a final response end here.
RFC 3261 §17, RFC 6026.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from edgesip.address import Flow
from edgesip.signal.transaction.hop import TxKey, ack_for, client_key, key_of
from edgesip.signal.transaction.settings import TmSettings
from edgesip.signal.transaction.tables import (
    INVITE_CLIENT,
    INVITE_SERVER,
    NON_INVITE_CLIENT,
    NON_INVITE_SERVER,
    Do,
    On,
    State,
    Table,
    event_of,
)
from edgesip.signal.transaction.timers import Timers
from edgesip.signal.wire.message import Request, Response


class ServerTx:
    """A request that we received and have to answer; `flow` is where its answers go.

    `tm` are its own timers, `interval` is the next one of its retransmissions (seconds).
    """

    __slots__ = (
        "began",
        "flow",
        "interval",
        "key",
        "last",
        "owner",
        "request",
        "state",
        "status",
        "table",
        "timers",
        "tm",
    )

    def __init__(
        self,
        key: TxKey,
        request: Request,
        flow: Flow,
        state: State,
        table: Table,
        tm: TmSettings,
        owner: Any = None,
        last: bytes = b"",
        status: int = 0,
        interval: float = 0.0,
        began: float = 0.0,
        timers: int = 0,
    ) -> None:
        self.key = key
        self.request = request
        self.flow = flow
        self.state = state
        self.table = table
        self.tm = tm
        self.owner = owner
        self.last = last
        self.status = status
        self.interval = interval
        self.began = began
        self.timers = timers


class ClientTx:
    """A request that we sent and whose answers we await over `flow`, until `until` at the latest."""

    __slots__ = (
        "flow",
        "interval",
        "key",
        "last",
        "owner",
        "request",
        "state",
        "table",
        "timers",
        "tm",
        "until",
    )

    def __init__(
        self,
        key: TxKey,
        request: Request,
        flow: Flow,
        state: State,
        table: Table,
        tm: TmSettings,
        owner: Any = None,
        last: bytes = b"",
        until: float = math.inf,
        interval: float = 0.0,
        timers: int = 0,
    ) -> None:
        self.key = key
        self.request = request
        self.flow = flow
        self.state = state
        self.table = table
        self.tm = tm
        self.owner = owner
        self.last = last
        self.until = until
        self.interval = interval
        self.timers = timers


Transaction = ServerTx | ClientTx
TIMERS: Final = (On.RETRANSMIT, On.FR, On.FR_INV, On.WAIT)
"""What may be set in a transaction's `timers`: one bit each, 1 << On."""

_ANSWERED: Final = (State.ACCEPTED, State.COMPLETED)
_UNANSWERED: Final = (State.CALLING, State.TRYING, State.PROCEEDING)


class Answered(NamedTuple):
    """A response that the proxy has to see."""

    client: ClientTx
    response: Response


class TimedOut(NamedTuple):
    """No answer came in time; `timer_c` when it is a provisional answer that got no final one, `gone` when
    there is no way to send to the other end.
    """

    tx: Transaction
    timer_c: bool
    gone: bool = False


class Ended(NamedTuple):
    """The transaction is gone."""

    tx: Transaction


class Broken:
    """A timer of this transaction failed by a fault of ours; the transaction is gone."""

    __slots__ = ("error", "tx")

    def __init__(self, tx: Transaction, error: Exception) -> None:
        self.tx = tx
        self.error = error


TxEvent = Answered | TimedOut | Ended | Broken


class Transactions:
    """All transactions of one server, and the octets that they want sent."""

    def __init__(self, settings: TmSettings) -> None:
        self.settings = settings
        self._servers: dict[TxKey, ServerTx] = {}
        self._clients: dict[TxKey, ClientTx] = {}
        self._connected: dict[Flow, dict[Transaction, None]] = {}
        self._timers: Timers[tuple[Transaction, On]] = Timers()
        self._sends: list[tuple[Flow, bytes]] = []
        self.counters: dict[str, int] = {
            "tmx:UAS_transactions": 0,
            "tmx:UAC_transactions": 0,
            "tmx:rpl_received": 0,
            "tmx:rpl_absorbed": 0,
            "tmx:rpl_generated": 0,
            "tmx:rpl_relayed": 0,
            "tmx:rpl_sent": 0,
        } | {f"tmx:{digit}xx_transactions": 0 for digit in range(2, 7)}

    def __len__(self) -> int:
        return len(self._servers) + len(self._clients)

    @property
    def active(self) -> int:
        """Transactions that have no final response yet."""
        return sum(
            1
            for group in (self._servers.values(), self._clients.values())
            for tx in group
            if tx.state in _UNANSWERED
        )

    def take_sends(self) -> list[tuple[Flow, bytes]]:
        """The octets to send since the last call, in order."""
        sends, self._sends = self._sends, []
        return sends

    def deadline(self) -> float | None:
        """When `tick` next has something to do (monotonic seconds)."""
        return self._timers.deadline()

    # -- server side -------------------------------------------------------------------------------

    def find_server(self, key: TxKey) -> ServerTx | None:
        """The server transaction of this key, alive or waiting."""
        return self._servers.get(key)

    def absorb(self, request: Request, key: TxKey, now: float) -> bool:
        """Take a request that belongs to a transaction we have: a retransmission, or the ACK of a failure."""
        tx = self._servers.get(key)
        if tx is None:
            return False
        if request.method == "ACK":
            if tx.state is State.ACCEPTED:
                return False
            self._move(tx, On.ACK, now)
        else:
            self._move(tx, On.REQUEST, now)
        return True

    @property
    def by_key(self) -> Mapping[TxKey, ServerTx]:
        """The server transactions as they are at any time, to be read alone."""
        return self._servers

    def servers(self) -> Iterable[ServerTx]:
        """Every server transaction, in the order in which they came."""
        return self._servers.values()

    def open_server(
        self, request: Request, key: TxKey, flow: Flow, now: float, tm: TmSettings | None = None
    ) -> ServerTx:
        """Begin to answer a request statefully; `tm` are timers of its own."""
        invite = request.method == "INVITE"
        tx = ServerTx(
            key,
            request,
            flow,
            State.PROCEEDING if invite else State.TRYING,
            INVITE_SERVER if invite else NON_INVITE_SERVER,
            tm or self.settings,
            began=now,
        )
        tx.interval = tx.tm.retr_timer1
        self._servers[key] = tx
        self._join(tx)
        self.counters["tmx:UAS_transactions"] += 1
        return tx

    def respond(self, tx: ServerTx, response: Response, now: float, relayed: bool = False) -> bool:
        """Send a response through a server transaction; False when its state no longer takes one.

        `relayed` when it came from further on.
        """
        return self.send(tx, response.status, bytes(response), now, relayed)

    def send(self, tx: ServerTx, status: int, octets: bytes, now: float, relayed: bool) -> bool:
        """The same with a response that is written already."""
        event = event_of(status)
        if (tx.state, event) not in tx.table:
            return False
        tx.last = octets
        counters = self.counters
        if status >= 200 and tx.status < 200:
            counters[f"tmx:{status // 100}xx_transactions"] += 1
        tx.status = status
        counters["tmx:rpl_sent"] += 1
        counters["tmx:rpl_relayed" if relayed else "tmx:rpl_generated"] += 1
        self._move(tx, event, now)
        return True

    # -- client side -------------------------------------------------------------------------------

    def open_client(
        self,
        request: Request,
        flow: Flow,
        owner: Any,
        now: float,
        tm: TmSettings | None = None,
        until: float = math.inf,
    ) -> ClientTx:
        """Send a request over `flow` and await its answers; its top Via carries our branch."""
        invite = request.method == "INVITE"
        tx = ClientTx(
            client_key(request.headers, request.method),
            request,
            flow,
            State.CALLING if invite else State.TRYING,
            INVITE_CLIENT if invite else NON_INVITE_CLIENT,
            tm or self.settings,
            owner,
            bytes(request),
            until,
        )
        tx.interval = tx.tm.retr_timer1
        self._clients[tx.key] = tx
        self._join(tx)
        self.counters["tmx:UAC_transactions"] += 1
        self._sends.append((flow, tx.last))
        self._retransmit(tx, now)
        self._arm(tx, On.FR, min(now + tx.tm.fr_timer, until))
        return tx

    def on_response(self, response: Response, now: float) -> tuple[ClientTx | None, list[TxEvent]]:
        """Match a response to a client transaction by branch and CSeq method (§17.1.3)."""
        self.counters["tmx:rpl_received"] += 1
        headers = response.headers
        tx = self._clients.get(client_key(headers, headers.cseq.method))
        if tx is None:
            return None, []
        events: list[TxEvent] = []
        if not self._move(tx, event_of(response.status), now, events, response):
            self.counters["tmx:rpl_absorbed"] += 1
        return tx, events

    def cancelled(self, tx: ClientTx, now: float) -> None:
        """We sent CANCEL for this INVITE: the final response has `fr_timer` to come (§9.1)."""
        self._move(tx, On.CANCELLED, now)

    def flow_closed(self, flow: Flow) -> tuple[list[TxEvent], list[ServerTx]]:
        """The flow is gone: its client transactions time out at once (§18.4); its server ones are given back.

        What is left of a finished transaction goes silently.
        """
        events: list[TxEvent] = []
        orphans = []
        for tx in list(self._connected.get(flow, ())):
            living = tx.state in _UNANSWERED
            if isinstance(tx, ServerTx):
                if living:
                    orphans.append(tx)
                else:
                    self.forget(tx)
                continue
            if living:
                events.append(TimedOut(tx, False, True))
            self._end(tx)
            events.append(Ended(tx))
        return events, orphans

    def unsendable(self, data: bytes) -> list[TxEvent]:
        """These octets, or a request that begins with them, could not be delivered (§18.4).

        Only what nobody has answered is given up: an ICMP message that somebody made up ends no call.
        """
        tx = self._clients.get(key_of(data))
        if tx is None or tx.state not in (State.CALLING, State.TRYING) or not tx.last.startswith(data):
            return []
        self._end(tx)
        return [TimedOut(tx, False, True), Ended(tx)]

    def silence(self, tx: ClientTx) -> None:
        """Send this request no more; what comes back is still awaited."""
        self._stop(tx, On.RETRANSMIT)

    def abandon(self, tx: ServerTx, now: float) -> None:
        """There is no answer to give: repetitions find silence for a while (RFC 4320 §4.2)."""
        self._arm_wait(tx, now)

    def forget(self, tx: Transaction) -> None:
        """Forget a transaction whose other end is gone; what it is part of must not hold it in a circle."""
        self._end(tx)
        tx.owner = None

    def tick(self, now: float) -> list[TxEvent]:
        """Do all that has become due."""
        events: list[TxEvent] = []
        for tx, on in self._timers.due(now):
            tx.timers &= ~(1 << on)
            try:
                self._move(tx, on, now, events)
            except Exception as error:  # a fault of ours costs this transaction, not the others' timers
                self._end(tx)
                events.append(Broken(tx, error))
        return events

    # -- the machine -------------------------------------------------------------------------------

    def _move(
        self,
        tx: Transaction,
        on: On,
        now: float,
        events: list[TxEvent] | None = None,
        response: Response | None = None,
    ) -> bool:
        """Perform one row; True when the proxy was told something."""
        row = tx.table.get((tx.state, on))
        if row is None:
            return False
        tx.state = row.state
        told = False
        for action in row.do:
            if action is Do.TELL:
                assert isinstance(tx, ClientTx)
                assert response is not None
                assert events is not None
                events.append(Answered(tx, response))
                told = True
            elif action is Do.TIMEOUT:
                if events is not None:
                    events.append(TimedOut(tx, on is On.FR_INV))
            elif action is Do.END:
                self._end(tx)
                if events is not None:
                    events.append(Ended(tx))
            elif action is Do.ACK:
                assert response is not None
                assert isinstance(tx, ClientTx)
                self._sends.append((tx.flow, bytes(ack_for(tx.request, response))))
            else:
                self._do(action, tx, now)
        if tx.last and tx.state in _ANSWERED and isinstance(tx, ClientTx):
            tx.request.pack(tx.last)
            tx.last = b""  # never sent again
        return told

    def _do(self, action: Do, tx: Transaction, now: float) -> None:
        """What needs nothing but the transaction and the time."""
        if action is Do.SEND or action is Do.RESEND:
            if tx.last:
                self._sends.append((tx.flow, tx.last))
        elif action is Do.WAIT:
            self._arm_wait(tx, now)
        elif action is Do.NO_FR:
            self._stop(tx, On.FR)
        elif action is Do.QUIET:
            self._stop(tx, On.RETRANSMIT)
        elif action is Do.FR_INV:
            self._arm_fr_inv(tx, now)
        elif action is Do.NO_FR_INV:
            self._stop(tx, On.FR_INV)
        elif action is Do.RETRANSMIT:
            self._retransmit(tx, now)
        elif action is Do.FR:
            self._arm(tx, On.FR, now + tx.tm.fr_timer)
        else:
            assert action is Do.SLOW
            tx.interval = tx.tm.retr_timer2
            self._retransmit(tx, now)

    def _retransmit(self, tx: Transaction, now: float) -> None:
        """Timers A, E and G, which a reliable transport does without (§17.1.1.2)."""
        if tx.flow.transport != "udp":
            return
        self._arm(tx, On.RETRANSMIT, now + tx.interval)
        doubled = tx.interval * 2
        tx.interval = doubled if tx.table is INVITE_CLIENT else min(doubled, tx.tm.retr_timer2)

    def _arm(self, tx: Transaction, on: On, when: float) -> None:
        tx.timers |= 1 << on
        self._timers.set((tx, on), when)

    def _stop(self, tx: Transaction, on: On) -> None:
        if tx.timers & 1 << on:
            tx.timers &= ~(1 << on)
            self._timers.cancel((tx, on))

    def _join(self, tx: Transaction) -> None:
        if tx.flow.transport != "udp":
            self._connected.setdefault(tx.flow, {})[tx] = None

    def _end(self, tx: Transaction) -> None:
        for on in TIMERS:
            self._stop(tx, on)
        tx.state = State.TERMINATED
        if isinstance(tx, ServerTx):
            self._servers.pop(tx.key, None)
        else:
            self._clients.pop(tx.key, None)
        if tx.flow.transport != "udp":
            there = self._connected.get(tx.flow)
            if there is not None:
                there.pop(tx, None)
                if not there:
                    del self._connected[tx.flow]

    def _arm_fr_inv(self, tx: Transaction, now: float) -> None:
        """Timer C; `max_inv_lifetime` may come before it."""
        armed = tx.timers & 1 << On.FR_INV
        if not isinstance(tx, ClientTx) or (armed and not tx.tm.restart_fr_on_each_reply):
            return
        self._arm(tx, On.FR_INV, min(now + tx.tm.fr_inv_timer, tx.until))

    def _arm_wait(self, tx: Transaction, now: float) -> None:
        self._arm(tx, On.WAIT, now + tx.tm.wt_timer)
