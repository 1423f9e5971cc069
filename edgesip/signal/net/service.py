"""The loop around the signalling core: octets in, script decisions, writes to the store, octets out.

It owns the one timer, the group commit and the log lines; it decides nothing that the core or the script
decide. `serve` is the spine: Arrived -> script -> locate -> carry.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from edgesip.address import Addr, Flow
from edgesip.control.ring import Ring
from edgesip.script import (
    Call,
    FailureCall,
    Rooms,
    Script,
    UndoneCall,
    event_for,
    explain,
    hook_for,
    refusal_for,
)
from edgesip.signal.core import Arrived, Event, SignalCore
from edgesip.signal.decision import Decision, Forward, Reply
from edgesip.signal.net.links import DATAGRAMS, UdpLinks
from edgesip.signal.net.outbox import Outbox
from edgesip.signal.net.resolver import Resolver
from edgesip.signal.net.streams import StreamLinks
from edgesip.signal.net.tls_files import Certificates
from edgesip.signal.proxy.asked import REDIRECTED, Asked, Failure
from edgesip.signal.proxy.fork import Target
from edgesip.signal.proxy.hops import Found, Name
from edgesip.signal.proxy.inbound import Happened, Inbound, Note, Onward, Undone
from edgesip.signal.proxy.locate import Locator, Unresolved
from edgesip.signal.proxy.uac import Heard
from edgesip.signal.wire.grammar import ParseError
from edgesip.signal.wire.headers import Headers
from edgesip.signal.wire.message import Request, Response
from edgesip.store.api import Store, StoreError, Write

SCRIPT_DEADLINE = 5.0

Log = Callable[[str, str, dict[str, Any]], None]


class SignalService:
    """One signalling core on one loop. `log(level, event, fields)` writes a line."""

    def __init__(
        self,
        core: SignalCore,
        script: Script,
        rooms: Rooms,
        locator: Locator,
        resolver: Resolver,
        store: Store | None,
        log: Log,
        trace: Ring,
        certificates: Certificates | None = None,
    ) -> None:
        self.core = core
        self.udp = UdpLinks(self._datagram, self._rest, self._unsent)
        seen = self.receive, self._closed, self._malformed
        asked = core.dialogs.in_calls, core.registered, core.saver.take_over
        self.streams = StreamLinks(*seen, *asked, certificates, log, core.guard.bans.refuses_connection)
        self._script = script
        self.rooms = rooms
        self._locator = locator
        self._resolver = resolver
        self._store = store
        self._log = log
        self._ring = trace
        self._asked: dict[int, asyncio.Future[Response]] = {}
        self._out = Outbox(self._send, log)
        self._writes: list[Write] = []
        self._committing = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due = float("inf")

    def use(self, script: Script, rooms: Rooms) -> None:
        """Another script is asked from now on; what the old one began, it ends."""
        self._script, self.rooms = script, rooms

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to keep time on this loop."""
        self._loop = loop
        self.step([])

    async def stop(self) -> None:
        """Commit what is left, then let go of timer, tasks and sockets."""
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self.udp.close(asyncio.get_running_loop())
        await self.streams.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._writes += self.core.saver.write_all(time.monotonic())
        self._commit()
        self._out.flush()
        self._loop = None

    # -- in and out --------------------------------------------------------------------------------

    def receive(self, data: bytes, flow: Flow) -> None:
        """One message; whatever it does, it does not stop the server."""
        self._datagram(data, flow)
        self._out.flush()
        self._arm()

    def _datagram(self, data: bytes, flow: Flow) -> bool:
        """The same, for one of a batch, at whose end what it sends leaves; False: it was dropped unread."""
        try:
            now = time.monotonic()
            if self.core.guard.unheard(data, flow, now, self.core.admission):
                return False
            if data[:1] < b"\4":
                self._stun(data, flow, now)
                return True
            self._ring.message(now, True, flow, data)
            self._act(self.core.receive(data, flow, now))
            self._out.sends += self.core.take_sends()
        except Exception as error:
            self._failed(flow, error)
        return True

    def _failed(self, flow: Flow, error: Exception) -> None:
        self._log("error", "message failed", {"source": str(flow.remote), "error": repr(error), "exc": error})

    def _stun(self, data: bytes, flow: Flow, now: float) -> None:
        """STUN, and the zero octets of keepalives: no SIP, so neither traced nor shown to a script."""
        answer = self.core.stun.receive(data, flow, now)
        if answer is not None:
            (self.udp.send if flow.transport == "udp" else self.streams.send)(flow, answer)

    def _rest(self, age: float) -> None:
        """A batch is over whose oldest datagram may have waited `age` seconds."""
        self._out.flush()
        self.core.admission.measure(age, time.monotonic())
        self._arm()

    def step(self, events: Sequence[Event]) -> None:
        """Handle what the core returned, send what it wants sent, arm its timer."""
        try:
            self._act(events)
        finally:
            self._out.sends += self.core.take_sends()
            self._out.flush()
            self._arm()

    def _act(self, events: Sequence[Event]) -> None:
        queue = list(events)
        for event in queue:
            if isinstance(event, Arrived):
                queue += self._serve(event.inbound)
            elif isinstance(event, Write):
                self._write(event)
            elif isinstance(event, Undone):
                queue += self._again(event)
            elif isinstance(event, Onward):
                queue += self._place(event.inbound, event.decision, time.monotonic())
            elif isinstance(event, Happened):
                self._tell(event)
            elif isinstance(event, Note):
                self._say(event)
            elif isinstance(event, Asked):
                queue += self._follow(event.failure)
            else:
                self._heard(event)

    def _send(self, flow: Flow, data: bytes) -> None:
        """One message; a fault of ours costs it, not those behind it."""
        try:
            self._ring.message(time.monotonic(), False, flow, data)
            if flow.transport in DATAGRAMS:
                if not self.udp.send(flow, data) and self._loop is not None:
                    self._loop.call_soon(self._unsent, data)
            elif not self.streams.send(flow, data) and self._loop is not None:
                self._loop.call_soon(self._closed, flow)
        except Exception as error:
            self._failed(flow, error)

    def _unsent(self, data: bytes) -> None:
        """Octets that could not leave, or that an ICMP error came back for."""
        self.step(self.core.unsendable(data, time.monotonic()))

    def _closed(self, flow: Flow) -> None:
        """A connection is gone, or is not there to send over."""
        self.step(self.core.flow_closed(flow, time.monotonic()))

    def _malformed(self, data: bytes, flow: Flow, error: ParseError) -> None:
        self.core.guard.unreadable(data, flow, time.monotonic())
        self.step(self.core.malformed(data, error, flow))

    def _say(self, note: Note) -> None:
        """Every note is remembered; those above debug go into the log."""
        self._ring.note(time.monotonic(), note.level, note.event, note.call_id, note.fields)
        if note.level != "debug":
            self._out.say(note)

    def _arm(self) -> None:
        if self._loop is None:
            return
        due = self.core.deadline(time.monotonic())
        if due is None or (due == self._due and self._timer is not None):
            return
        if self._timer is not None:
            if self._due <= due:
                return
            self._timer.cancel()
        self._due = due
        self._timer = self._loop.call_later(max(0.0, due - time.monotonic()), self._tick)

    def _tick(self) -> None:
        now = time.monotonic()
        late, self._timer = now - self._due, None
        self._due = float("inf")
        try:
            self.core.admission.measure(late, now)
            self.step(self.core.tick(now))
        except Exception as error:
            self._log("error", "tick failed", {"error": repr(error), "exc": error})
            self._arm()

    # -- the spine ---------------------------------------------------------------------------------

    def _serve(self, inbound: Inbound) -> list[Event]:
        """The script decides; a plain function costs no task."""
        now = time.monotonic()
        hook = self._script.in_dialog if inbound.inside else self._script.request
        if hook is None:
            return self._place(inbound, Forward(), now)
        try:
            decision = hook(Call(inbound, self.rooms, now))
        except Exception as error:
            return self._place(inbound, self._blame(inbound, error), now)
        if not isinstance(decision, Decision) and inspect.isawaitable(decision):
            self.core.waits(inbound, now)
            self._spawn(self._await_script(inbound, decision))
            return []
        return self._place(inbound, decision, now)

    def _follow(self, failure: Failure) -> list[Event]:
        """The script is asked what becomes of a failure."""
        now = time.monotonic()
        if failure.hook == REDIRECTED:
            wanted = Forward(tuple(uri for uri, _ in failure.contacts))
            return self._place(failure.inbound, wanted, now, failure)
        hook = hook_for(self._script, failure)
        if hook is None:
            return self.core.resume(failure, None, (), now)
        try:
            decision = hook(FailureCall(failure, self.rooms, now))
        except Exception as error:
            return self._unasked(failure, error)
        if inspect.isawaitable(decision):
            self._spawn(self._await_failure(failure, decision))
            return []
        return self._place(failure.inbound, decision, now, failure)

    async def _await_failure(self, failure: Failure, awaited: Awaitable[Forward | Reply | None]) -> None:
        try:
            decision = await asyncio.wait_for(awaited, SCRIPT_DEADLINE)
        except Exception as error:
            self.step(self._unasked(failure, error))
            return
        self.step(self._place(failure.inbound, decision, time.monotonic(), failure))

    def _unasked(self, failure: Failure, error: Exception) -> list[Event]:
        """The hook raised: the failure goes on as if there were none."""
        self._hook_failed(failure.hook, error)
        return self.core.resume(failure, None, (), time.monotonic())

    async def _await_script(self, inbound: Inbound, awaited: Awaitable[Decision]) -> None:
        try:
            decision = await asyncio.wait_for(awaited, SCRIPT_DEADLINE)
        except Exception as error:
            decision = self._blame(inbound, error)
        self.step(self._place(inbound, decision, time.monotonic()))

    def _blame(self, inbound: Inbound, error: Exception) -> Decision:
        refusal = refusal_for(error)
        if refusal.status >= 500:
            call_id = inbound.request.headers.call_id
            why = explain(error, self._script.path)
            self._log("error", "route script failed", {"call_id": call_id, "why": why})
        return refusal

    def _again(self, undone: Undone) -> list[Event]:
        """What was decided cannot be done: the script's hook may decide again, but for the same."""
        now = time.monotonic()
        if (hook := self._script.undone.get(undone.hook)) is None:
            return self.core.carry(undone.inbound, undone.refusal, (), now)
        try:
            decision = hook(UndoneCall(undone, self.rooms, now))
        except Exception as error:
            return self._place(undone.inbound, self._blame(undone.inbound, error), now)
        if inspect.isawaitable(decision):
            self._spawn(self._await_script(undone.inbound, decision))
            return []
        return self._place(undone.inbound, decision, now)

    def _tell(self, happened: Happened) -> None:
        """An event hook of the script is told; what it raises is a log line and nothing else."""
        if (hook := self._script.events.get(happened.hook)) is None:
            return
        try:
            waiting = hook(event_for(happened.about, self.rooms, time.monotonic()))
        except Exception as error:
            self._hook_failed(happened.hook, error)
            return
        if inspect.isawaitable(waiting):
            self._spawn(self._await_hook(happened.hook, waiting))

    async def _await_hook(self, hook: str, awaited: Awaitable[None]) -> None:
        try:
            await asyncio.wait_for(awaited, SCRIPT_DEADLINE)
        except Exception as error:
            self._hook_failed(hook, error)

    def _hook_failed(self, hook: str, error: Exception) -> None:
        self._log("error", "event hook failed", {"hook": hook, "why": explain(error, self._script.path)})

    def _place(
        self, inbound: Inbound, decision: object, now: float, failure: Failure | None = None
    ) -> list[Event]:
        """Find the hops of a `Forward`, by DNS only where a name stands in the way; then carry."""
        if failure is not None and not isinstance(decision, Forward):
            if decision is not None and not isinstance(decision, Reply):
                return self._unasked(failure, TypeError(f"{failure.hook} returned {decision!r}"))
            return self.core.resume(failure, decision, (), now)
        if not isinstance(decision, Forward):
            if not isinstance(decision, Decision):
                decision = self._blame(
                    inbound, TypeError(f"the script returned {decision!r}, not a decision")
                )
            self._ring.decided(now, inbound, decision)
            return self.core.carry(inbound, decision, (), now)
        self._ring.decided(now, inbound, decision)
        try:
            found = self._locator.locate(inbound, decision.targets, now)
            known = self._known(found)
        except Exception as error:
            return self._fail(inbound, error, now, failure)
        if known is None:
            if failure is None:
                self.core.waits(inbound, now)
            self._spawn(self._resolve(inbound, decision, found, failure))
            return []
        return self._carry(inbound, decision, found, known, now, failure)

    def _known(self, found: Sequence[Target | Unresolved]) -> dict[Name, Found] | None:
        """Where the names lead, when that is known of all of them; None: DNS has to be asked."""
        known: dict[Name, Found] = {}
        for one in found:
            if isinstance(one, Unresolved):
                ready = self._resolver.ready(one.name)
                if ready is None:
                    return None
                known[one.name] = ready
        return known

    async def _named(self, found: Sequence[Target | Unresolved]) -> dict[Name, Found]:
        """Where the names lead, all asked for at once."""
        names = list(dict.fromkeys(one.name for one in found if isinstance(one, Unresolved)))
        answers = await asyncio.gather(*(self._resolver.resolve(name) for name in names))
        return dict(zip(names, answers, strict=True))

    def _carry(
        self,
        inbound: Inbound,
        decision: Forward,
        found: Sequence[Target | Unresolved],
        known: Mapping[Name, Found],
        now: float,
        failure: Failure | None,
    ) -> list[Event]:
        """All targets that lead somewhere; 503 when none does because DNS said nothing."""
        targets, silent = self._locator.settle(inbound, found, known, now)
        if failure is not None:
            return self.core.resume(failure, decision, targets, now)
        if silent and not targets:
            return self.core.carry(inbound, Reply(503, "DNS failed"), (), now)
        return self.core.carry(inbound, decision, targets, now)

    async def _resolve(
        self,
        inbound: Inbound,
        decision: Forward,
        found: Sequence[Target | Unresolved],
        failure: Failure | None,
    ) -> None:
        try:
            known = await self._named(found)
            events = self._carry(inbound, decision, found, known, time.monotonic(), failure)
        except Exception as error:
            events = self._fail(inbound, error, time.monotonic(), failure)
        self.step(events)

    def _fail(
        self, inbound: Inbound, error: Exception, now: float, failure: Failure | None = None
    ) -> list[Event]:
        """Nothing waits for ever because we failed: the sender hears 500, or what he would have heard."""
        call_id = inbound.request.headers.call_id
        self._log("error", "message failed", {"call_id": call_id, "error": repr(error), "exc": error})
        if failure is not None:
            return self.core.resume(failure, None, (), now)
        return self.core.carry(inbound, Reply(500), (), now)

    # -- requests of our own -----------------------------------------------------------------------

    async def request(
        self, method: str, uri: str, headers: Sequence[tuple[str, str]], body: bytes, next_hop: str = ""
    ) -> Response | None:
        """Send a request of our own and give its final response; None when it leads nowhere.

        `next_hop` is the URI of where it goes instead of `uri`.
        """
        nowhere = Request(method, uri, Headers(()), b"")
        here = Flow("udp", *self._locator.myself.listens[0][1:], Addr("127.0.0.1", 0))
        inbound = Inbound(nowhere, here, (), uri=uri)
        found = self._locator.locate(inbound, (next_hop or uri,), time.monotonic())
        targets, _ = self._locator.settle(inbound, found, await self._named(found), time.monotonic())
        if not targets or self._loop is None:
            return None
        target = replace(targets[0], uri=uri)
        token = self.core.orders.request(method, target, headers, body, time.monotonic())
        heard: asyncio.Future[Response] = self._loop.create_future()
        self._asked[token] = heard
        self.step(self.core.news())
        try:
            return await heard
        finally:
            self._asked.pop(token, None)

    def _heard(self, heard: Heard) -> None:
        waiting = self._asked.get(heard.token)
        if waiting is not None and not waiting.done():
            waiting.set_result(heard.response)

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._log("error", "task failed", {"error": repr(task.exception()), "exc": task.exception()})

    # -- the store ---------------------------------------------------------------------------------

    def _write(self, write: Write) -> None:
        self._writes.append(write)
        if not self._committing and self._loop is not None:
            self._committing = True
            self._loop.call_soon(self._commit_turn)

    def _commit_turn(self) -> None:
        self._committing = False
        self.step(self._commit())

    def _commit(self) -> list[Event]:
        """Commit everything written in this turn as one group, then tell the core."""
        writes, self._writes = self._writes, []
        if not writes or self._store is None:
            return []
        error: str | None = None
        try:
            self._store.commit(writes)
        except StoreError as failure:
            error = str(failure)
            self._log("error", "store failed", {"why": error, "writes": len(writes)})
        now = time.monotonic()
        events: list[Event] = []
        for write in writes:
            if write.token is not None:
                events += self.core.stored(write.token, now, error)
        return events
