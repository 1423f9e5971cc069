"""The front door of signalling: octets and time in, events and octets to send out. Sans-IO.

`receive`, `carry`, `stored` and `tick` return events; `take_sends` gives what is to be sent. It joins the
rooms below and decides nothing that a script decides. Knows no socket, no clock and no store.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from edgesip.address import Flow
from edgesip.signal.chores import NEVER, Chores
from edgesip.signal.decision import Challenge, Decision, Forward, Redirect, Reply, Save
from edgesip.signal.dialog.offer_answer import Media
from edgesip.signal.dialog.state import DialogState
from edgesip.signal.dialog.subscriptions import FOLLOWED, Subscriptions
from edgesip.signal.dialog.table import Dialogs
from edgesip.signal.events import COUNTS, Arrived, CoreSettings, Event
from edgesip.signal.guard.admission import Admission, AdmissionSettings
from edgesip.signal.guard.digest import Digest
from edgesip.signal.guard.guard import Guard, GuardSettings
from edgesip.signal.location import registrar
from edgesip.signal.location.ledger import DbMode, Ledger
from edgesip.signal.location.saving import Outcome, Saver
from edgesip.signal.location.usrloc import Binding, Usrloc
from edgesip.signal.nat.keepalive import Pinger
from edgesip.signal.nat.liveness import Liveness
from edgesip.signal.nat.stun_desk import StunDesk
from edgesip.signal.nat.traversal import Traversal, nobody_kept
from edgesip.signal.proxy.asked import Dead, Failure, Hooks
from edgesip.signal.proxy.fork import Target
from edgesip.signal.proxy.forward import check_request, nowhere, preprocess, read_all, with_source
from edgesip.signal.proxy.inbound import Closed, Happened, Inbound, Onward, Undone, may_follow, note, refused
from edgesip.signal.proxy.loops import NAME as BREADTH
from edgesip.signal.proxy.loops import breadth_of, is_loop, loop_mark
from edgesip.signal.proxy.myself import Myself
from edgesip.signal.proxy.orders import Orders
from edgesip.signal.proxy.record_route import RrSettings
from edgesip.signal.proxy.redirect import contacts_of
from edgesip.signal.proxy.stateful import StatefulProxy
from edgesip.signal.proxy.stateless import Stateless
from edgesip.signal.proxy.strict import for_next_hop
from edgesip.signal.proxy.subscribed import may_pass
from edgesip.signal.proxy.turnstile import Turnstile
from edgesip.signal.proxy.uac import Asking, LocalRequests
from edgesip.signal.transaction.hop import TxKey, server_key
from edgesip.signal.transaction.layer import Answered, Transactions, TxEvent
from edgesip.signal.transaction.tables import State
from edgesip.signal.transaction.timers import Timers
from edgesip.signal.wire.grammar import ParseError
from edgesip.signal.wire.message import Request, Response, parse, reply_to

__all__ = ["Arrived", "CoreSettings", "Event", "SignalCore"]

SHORTEST: Final = 32
RETRY_AFTER: Final = ("Retry-After", "60")
PATIENCE: Final = 0.2
"""Seconds until an INVITE hears 100 when its script or a name takes longer (RFC 3261 §17.2.1)."""


class SignalCore:
    """All signalling of one server."""

    def __init__(
        self,
        settings: CoreSettings,
        myself: Myself,
        transactions: Transactions,
        usrloc: Usrloc,
        dialogs: Dialogs,
        digest: Digest,
        pinger: Pinger,
        media: Media | None,
        entropy: Callable[[int], bytes],
        hooks: Hooks = Hooks(),  # noqa: B008 - a value
        dead: Dead | None = None,
        admission: AdmissionSettings | None = None,
        traversal: Traversal | None = None,
        guard: Guard | None = None,
    ) -> None:
        self.myself = myself
        self.transactions = transactions
        self.usrloc = usrloc
        self.dialogs = dialogs
        self.subscriptions = Subscriptions()
        self.digest = digest
        self.pinger = pinger
        self.learning = pinger.learning
        self.liveness = Liveness(entropy, myself.address_for, pinger.learning)
        self.traversal = nobody_kept(entropy, myself.address_for) if traversal is None else traversal
        self.admission = Admission(admission or AdmissionSettings(), entropy)
        self.guard = guard or Guard(GuardSettings(), usrloc)
        self.stun = StunDesk(usrloc, pinger.learning, self.guard.echo)
        self._waiting: dict[TxKey, Inbound] = {}
        self._late: Timers[TxKey] = Timers()
        self._sends: list[tuple[Flow, bytes]] = []
        self._stateless = Stateless(myself, entropy, self._sends, self.guard.echo.allows)
        gruus = settings.seals.gruus if settings.seals is not None else None
        self._flows = settings.seals.flows if settings.seals is not None else None
        rules, offset = settings.registrar, settings.wall_offset
        ledger = Ledger(DbMode(settings.db_mode), settings.timer_interval)
        self.saver = Saver(usrloc, rules, ledger, offset, entropy, myself.listens, gruus)
        self.saver.learning = pinger.learning
        self._local = LocalRequests(transactions, myself, entropy, self._sends)
        self._proxy = StatefulProxy(
            transactions, dialogs, media, myself, entropy, self._stateless.to_tag, hooks, usrloc.present, dead
        )
        self._proxy.calls.traversal = self.traversal
        self._proxy.launcher.rr = settings.rr if settings.rr != RrSettings() else None
        self.orders = Orders(transactions, self._proxy, self._local)
        self._counts: dict[str, int] = {f"core:{name}": 0 for name in COUNTS}
        rooms = (self.subscriptions, pinger, self.liveness, self.traversal, self.guard, self.admission)
        self._chores = Chores(usrloc, self.saver, *rooms)
        known = (transactions.by_key, self._waiting)
        doors = (self.guard.at_home, self.guard.turned_away)
        self._turnstile = Turnstile(self.admission, self._stateless, self._counts, known, *doors)

    @property
    def counters(self) -> dict[str, int]:
        """The statistics of the core, of `sl` and of the registrar."""
        return self._counts | self._stateless.counters | self.saver.counters

    def use(self, hooks: Hooks, settings: registrar.Settings) -> None:
        """Another script, and other limits of registration, are in force from now on."""
        self._proxy.launcher.hooks = hooks
        self.saver.settings = settings

    # -- what comes in -----------------------------------------------------------------------------

    def receive(self, data: bytes, flow: Flow, now: float) -> list[Event]:
        """One message that came in over `flow`."""
        if flow.transport == "udp" and (len(data) < SHORTEST or not data.strip(b"\r\n")):
            self.learning.came(flow, now)
            return []
        message: Request | Response | None = None
        self.guard.echo.asked(len(data), now)
        if self.admission.closed and self._turnstile.stops(data, flow, now):
            return []
        try:
            message = parse(data)
            if isinstance(message, Response):
                events = self._response(message, flow, now)
            else:
                events = self._request(message, flow, now)
        except ParseError as error:
            self.guard.unreadable(data, flow, now)
            request = message if isinstance(message, Request) else error.request
            if flow.transport == "udp" and not self.admission.may_err(flow.remote.host, now):
                request = None
            events = self._unreadable(error, request, flow)
        return self._gather(events)

    def malformed(self, data: bytes, error: ParseError, flow: Flow) -> list[Event]:
        """The beginning of a stream that cannot be framed: 400 where it can still be answered."""
        try:
            message = parse(data)
            request = message if isinstance(message, Request) else None
        except ParseError as unreadable:
            request = unreadable.request
        return self._gather(self._unreadable(error, request, flow))

    def _unreadable(self, error: ParseError, request: Request | None, flow: Flow) -> list[Event]:
        self._counts["core:bad_msg_hdr"] += 1
        if request is None or request.method == "ACK":
            return [note("debug", "not SIP", source=str(flow.remote), why=error.reason)]
        self._stateless.counters["sl:sent_err_replies"] += 1
        self._stateless.answer(request, flow, error.status, error.reason)
        call_id = request.headers.get("Call-ID") or ""
        return [note("info", "bad request", call_id, source=str(flow.remote), why=error.reason)]

    def _request(self, request: Request, flow: Flow, now: float) -> list[Event]:
        self._counts["core:rcv_requests"] += 1
        self.learning.came(flow, now)
        key = server_key(request)
        if request.method == "CANCEL":
            events = self._cancel(request, key, flow, now)
            if events is not None:
                return events
        elif self.transactions.absorb(request, key, now) or key in self._waiting:
            return []
        if self.guard.bans.active and self.guard.refuses_request(request, flow, now):
            return []
        if self.admission.closed:
            if request.method == "ACK" and self._stateless.is_answered(request):
                return []
            wait = self.admission.refusal(request, self.guard.at_home(flow), self._stateless.lot(request))
            if wait:
                if wait > 0 or flow.transport != "udp":  # over a connection nobody asks again
                    headers = (("Retry-After", str(abs(wait))),)
                    self._stateless.answer(with_source(request, flow.remote), flow, 503, "", headers)
                return []
        request = with_source(request, flow.remote)
        refused = check_request(request)
        if refused is not None:
            self.guard.refused(request, flow, refused.status, now)
            return self._refuse(request, flow, refused.status, refused.reason, refused.headers)
        routed = preprocess(request, self.myself)
        request = routed.request
        inbound = Inbound(request, flow, key, routed.foreign, routed.own, uri=request.uri)
        inbound.size = self.guard.echo.size
        if request.headers.to.tag:
            found = self.dialogs.find(request.headers, routed.did)
            if found is None and request.method == "ACK":
                if self._stateless.is_answered(request):
                    return []
                if now >= self._stateless.acks_until:
                    self._counts["core:drop_requests"] += 1
                    return []
                return [Arrived(inbound)]
            if found is None or (found[0].state is DialogState.DELETED and not may_follow(request)):
                inbound.within = self.subscriptions.find(request)
                if inbound.within is None:
                    return self._refuse(request, flow, 481, "Call/Transaction Does Not Exist")
                inbound.side = inbound.within.side
            else:
                inbound.dialog, inbound.side = found
        elif request.method == "ACK":
            self._counts["core:drop_requests"] += 1
            return []
        elif routed.foreign:
            return self._refuse(request, flow, 403, "Preloaded Route Not Allowed")
        elif len(request.headers.vias) > 1 and is_loop(request, loop_mark(request, flow)):
            return self._refuse(request, flow, 482)
        elif request.headers.find(BREADTH) is not None and breadth_of(request) <= 0:
            return self._refuse(request, flow, 440)
        if self._flows is not None and not self._flows.follow(inbound):
            return self._refuse(request, flow, 403, "Invalid Flow Token")
        if request.method not in ("ACK", "CANCEL"):
            self._waiting[key] = inbound
        if request.method == "INVITE" and inbound.dialog is None:
            registered = self.usrloc.one_by_flow(flow)
            inbound.ruid = registered.ruid if registered is not None else ""
        return [Arrived(inbound)]

    def _cancel(self, request: Request, key: TxKey, flow: Flow, now: float) -> list[Event] | None:
        """End what a CANCEL is for; None when that is unknown and the script shall see it."""
        waiting = self._waiting.get(key)
        server = self.transactions.find_server(key)
        if waiting is None and server is None:
            mode = self.transactions.settings.unmatched_cancel
            if mode == 1:
                return None
            if mode == 2:
                self._counts["core:drop_requests"] += 1
                return []
            return self._refuse(request, flow, 481, "Call/Transaction Does Not Exist")
        self._stateless.answer(request, flow, 200, "canceling")
        if waiting is not None and not waiting.cancelled:
            waiting.cancelled = True
            held = self.transactions.open_server(waiting.request, key, waiting.flow, now)
            final = reply_to(waiting.request, 487, to_tag=self._stateless.to_tag(waiting.request))
            self.transactions.respond(held, final, now)
        if server is not None and server.state is State.PROCEEDING:
            self._proxy.cancel(server, now, request.headers.get("Reason") or "")
        return []

    def _response(self, response: Response, flow: Flow, now: float) -> list[Event]:
        self._counts["core:rcv_replies"] += 1
        read_all(response.headers)
        if self.pinger.hear(self.usrloc, response, now) or self.traversal.hear(response, flow, now):
            return []
        if self.liveness.hear(self.usrloc, response, now):
            return []
        self.learning.came(flow, now)
        client, events = self.transactions.on_response(response, now)
        if client is None:
            return self._stray(response)
        return self._handle(events, now)

    def _handle(self, events: Sequence[TxEvent], now: float) -> list[Event]:
        """What the transactions report goes to whoever opened them."""
        heard: list[Event] = []
        for event in events:
            owner = event.client.owner if isinstance(event, Answered) else event.tx.owner
            if isinstance(owner, Asking):
                news = self._local.take(event, now)
                if news is not None:
                    heard.append(news)
            else:
                self._proxy.handle(event, now)
        return heard

    def _stray(self, response: Response) -> list[Event]:
        """A response without a transaction: that of a stateless copy, a 2xx again; any other is dropped."""
        if not (self._stateless.relay(response) or self._proxy.calls.again(response)):
            self._counts["core:drop_replies"] += 1
        return []

    # -- what was decided --------------------------------------------------------------------------

    def carry(
        self, inbound: Inbound, decision: Decision, targets: Sequence[Target], now: float
    ) -> list[Event]:
        """Do what the script decided; `targets` are the hops found for a `Forward`."""
        self._waiting.pop(inbound.key, None)
        self.guard.echo.asked(inbound.size, now)
        if inbound.cancelled:
            return []
        gone = self.unregister(inbound.unregistered, now) if inbound.unregistered else []
        inbound.unregistered = ()
        request, flow = inbound.request, inbound.flow
        if inbound.proved:
            self.guard.good(flow, inbound.proved)
        events: list[Event] = []
        if isinstance(decision, Forward):
            events = self._forward(inbound, decision, targets, now)
        elif request.method == "ACK":
            self._counts["core:drop_requests"] += 1
        elif isinstance(decision, Save):
            events = self._save(inbound, decision, now)
        elif isinstance(decision, Reply):
            headers = decision.headers + inbound.edits.answer
            if decision.status >= 300:
                self.guard.refused(request, flow, decision.status, now, inbound.proved)
                events = self._refuse(request, flow, decision.status, decision.reason, headers)
            else:
                self.traversal.accepted(inbound.edits, request, flow, decision.status, headers, now)
                self._stateless.answer(request, flow, decision.status, decision.reason, headers)
        elif isinstance(decision, Challenge):
            events = self._challenge(inbound, decision, now)
        elif isinstance(decision, Redirect):
            headers = contacts_of(decision.contacts) + inbound.edits.answer
            self._stateless.answer(request, flow, decision.status, "", headers)
        else:
            self._counts["core:drop_requests"] += 1
        return self._gather([*gone, *events] if gone else events)

    def _forward(
        self, inbound: Inbound, decision: Forward, targets: Sequence[Target], now: float
    ) -> list[Event]:
        request = inbound.request
        if not targets:
            if request.method == "ACK":
                return []
            return self._refuse(request, inbound.flow, *nowhere(request))
        self._counts["core:fwd_requests"] += 1
        if inbound.edits.body is not None:
            inbound.request = request = inbound.edits.with_body(request)
        if inbound.foreign:
            inbound.request, targets = for_next_hop(inbound, targets)
            request = inbound.request
        alone = request.method == "CANCEL" or (request.method == "ACK" and inbound.dialog is None)
        if decision.stateless or alone:
            self._stateless.forward(request, inbound.flow, targets[0], inbound.edits, now)
        elif request.method == "ACK":
            self._proxy.launcher.forward_ack(inbound, targets[0], now)
        elif request.method in FOLLOWED and not may_pass(
            self.subscriptions, self.usrloc, inbound, targets, now
        ):
            return self._refuse(request, inbound.flow, 503, "Too Many Subscriptions", (RETRY_AFTER,))
        else:
            self._proxy.forward(inbound, targets, now, decision)
        return []

    def resume(
        self, failure: Failure, decision: Decision | None, targets: Sequence[Target], now: float
    ) -> list[Event]:
        """Do what the script said of a failure: Forward adds `targets`, Reply is the answer; None: go on."""
        self._proxy.resume(failure, decision, targets, now)
        return self._gather(self.unregister(failure.inbound.unregistered, now))

    def waits(self, inbound: Inbound, now: float) -> None:
        """The decision on this request takes its time: an INVITE hears 100 before its sender repeats it."""
        if inbound.request.method == "INVITE" and self.transactions.settings.auto_inv_100:
            self._late.set(inbound.key, now + PATIENCE)

    def _challenge(self, inbound: Inbound, decision: Challenge, now: float) -> list[Event]:
        name = "WWW-Authenticate" if decision.status == 401 else "Proxy-Authenticate"
        request, flow = inbound.request, inbound.flow
        values = self.digest.challenges(request, flow.remote, now, decision.stale, decision.realm)
        headers = (*[(name, value) for value in values], *inbound.edits.answer)
        self._stateless.answer(request, flow, decision.status, "", headers)
        if not inbound.why:
            return []
        call_id = request.headers.call_id
        self.guard.failed(flow, inbound.user, inbound.why, now, call_id)
        found = {"user": inbound.user, "source": str(flow.remote), "why": inbound.why}
        return [note("info", "authentication failed", call_id, **found)]

    def _save(self, inbound: Inbound, wish: Save, now: float) -> list[Event]:
        outcome = self.saver.save(inbound, now, wish)
        if outcome.status >= 300:
            refusal = Reply(outcome.status, outcome.reason, tuple(outcome.headers))
            if inbound.undone:
                return self.carry(inbound, refusal, (), now)
            inbound.undone, self._waiting[inbound.key] = True, inbound
            return [Undone("save_failed", inbound, refusal)]
        if outcome.status:
            return [*outcome.events, *self._saved(inbound, outcome, now)]
        self._waiting[inbound.key] = inbound
        return [*outcome.events]

    def stored(self, token: int, now: float, error: str | None = None) -> list[Event]:
        """The store has, or has failed to, keep what was written under `token`: now its 200 may go."""
        found = self.saver.stored(token, now, error)
        if found is None:
            return []
        inbound, outcome = found
        self._waiting.pop(inbound.key, None)
        self.guard.echo.asked(inbound.size, now)
        return [*outcome.events, *self._saved(inbound, outcome, now)]

    def _saved(self, inbound: Inbound, outcome: Outcome, now: float) -> list[Event]:
        """The 200, or what the script wants instead of it."""
        headers = (*outcome.headers, *inbound.edits.answer)
        self.traversal.accepted(inbound.edits, inbound.request, inbound.flow, 200, headers, now)
        if outcome.then is not None:
            self._waiting[inbound.key] = inbound
            return [Onward(inbound, outcome.then)]
        if not outcome.silent:
            self._stateless.answer(inbound.request, inbound.flow, 200, "", headers)
        return []

    # -- orders and time ---------------------------------------------------------------------------

    def unregister(self, bindings: Sequence[Binding], now: float) -> list[Event]:
        """Take these bindings away by an operator's order."""
        return [*self.saver.remove(bindings, now)]

    def news(self) -> list[Event]:
        """What has happened since somebody last asked: after `orders`, which give no events themselves."""
        return self._gather([])

    def flow_closed(self, flow: Flow, now: float) -> list[Event]:
        """A connection is gone: its bindings go with it (handle_lost_tcp), and whatever waited for it."""
        gone, events = self.saver.lost(flow, now)
        closed, orphans = self.transactions.flow_closed(flow)
        heard = self._handle(closed, now)
        self._proxy.orphaned(orphans, now)
        return self._gather([*heard, *events, Happened("tcp_closed", Closed(flow, tuple(gone)))])

    def unsendable(self, data: bytes, now: float) -> list[Event]:
        """These octets, or a request that begins with them, could not be delivered: the next hop, if any."""
        return self._gather(self._handle(self.transactions.unsendable(data), now))

    def registered(self, flow: Flow) -> bool:
        """True when a phone is registered over this flow."""
        return self.usrloc.one_by_flow(flow) is not None

    def media_timeout(
        self, key: tuple[str, str], branch: str, now: float, sides: Sequence[str] = (), ends: bool = True
    ) -> list[Event]:
        """No media of these sides for too long: the script is told; if that `ends` it, BYE to both legs."""
        self._proxy.calls.silent(key, branch, sides, ends, now)
        return self._gather([])

    def tick(self, now: float) -> list[Event]:
        """Do all that has become due."""
        self.learning.now = now
        events = self._handle(self.transactions.tick(now), now)
        for key in self._late.due(now):
            self._trying(key)
        for dialog, why in self.dialogs.tick(now):
            self._proxy.calls.terminate(dialog, why, now)
        events += self._chores.tick(now, self._sends)
        return self._gather(events)

    def deadline(self, now: float) -> float | None:
        """When `tick` is next due (monotonic seconds)."""
        due = self._chores.deadline(now)
        for one in (self.transactions.deadline(), self._late.deadline(), self.dialogs.deadline()):
            if one is not None and one < due:
                due = one
        return due if due < NEVER else None

    def take_sends(self) -> list[tuple[Flow, bytes]]:
        """What is to be sent, in order: each with the flow it leaves by."""
        sends = self._sends + self._proxy.take_sends() + self.transactions.take_sends()
        self._sends.clear()
        self.learning.went(sends)
        return sends

    def _trying(self, key: TxKey) -> None:
        inbound = self._waiting.get(key)
        if inbound is not None and not inbound.cancelled:
            reason = self.transactions.settings.auto_inv_100_reason
            self._stateless.answer(inbound.request, inbound.flow, 100, reason)

    # -- answers without a transaction -------------------------------------------------------------

    def _refuse(
        self,
        request: Request,
        flow: Flow,
        status: int,
        reason: str = "",
        headers: Sequence[tuple[str, str]] = (),
    ) -> list[Event]:
        if request.method == "ACK":
            self._counts["core:drop_requests"] += 1
            return []
        self._counts["core:err_requests"] += 1
        self._stateless.answer(request, flow, status, reason, headers)
        return [refused(request, flow, status, reason)]

    def _gather(self, events: Sequence[Event]) -> list[Event]:
        said = [*self._proxy.take_said(), *self.guard.take_said()]
        return [*events, *said] if said else list(events)
