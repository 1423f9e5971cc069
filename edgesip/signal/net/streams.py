"""All connections of signalling, TCP and TLS: accepted and opened, counted, and ended when they misbehave.

One `Flow` per connection. Octets go up as whole messages, a lost connection as `closed`. Connections that
we open ourselves have local port 0 in their flow, since nobody was told where they come from.
"""

from __future__ import annotations

import asyncio
import resource
import socket
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from edgesip.address import Addr, Flow
from edgesip.signal.net.connection import WRITE_LIMIT, Connection
from edgesip.signal.net.errors import LinkError
from edgesip.signal.net.listener import Listener, listening
from edgesip.signal.net.tls_files import Certificates
from edgesip.signal.net.tls_names import speaks_for, told_names
from edgesip.signal.net.tls_session import TlsError, TlsSession
from edgesip.signal.wire.grammar import ParseError
from edgesip.signal.wire.message import parse

MESSAGE_DEADLINE = 10.0
"""Seconds for a message to be complete once it has begun."""
IDLE = 120.0
"""Seconds of silence that close a connection without a registration."""
CONNECT = 10.0
HANDSHAKE = 5.0
"""Seconds for TLS to be agreed on."""
HANDSHAKES = 512
"""Handshakes under way at a time; one more ends the oldest of them."""
PER_HOST = 64
"""Connections of one address without a living registration (phones behind a carrier's NAT share one)."""
TOTAL = 4096
SEND_TIMEOUT = 10.0
"""Seconds for which something may wait without a pause (tcp_send_timeout)."""
SWEEP = 2.0
TLS_PORT = 5061

COUNTERS = (
    "tcp:passive_open",
    "tcp:established",
    "tcp:connect_success",
    "tcp:connect_failed",
    "tcp:local_reject",
    "tcp:con_timeout",
    "tcp:sendq_full",
    "tcp:send_timeout",
    "tcp:bad_streams",
    "tcp:accept_paused",
    "tls:handshakes",
    "tls:handshakes_failed",
    "tls:handshakes_ended",
    "tls:aliases",
)

Log = Callable[[str, str, dict[str, Any]], None]


class Listed(NamedTuple):
    """A connection as operators see it; times in seconds."""

    ident: int
    flow: Flow
    outgoing: bool
    ready: bool
    idle_left: float
    version: str
    cipher: str
    names: str


class StreamLinks:
    """All listeners and connections of TCP and TLS.

    `receive(data, flow)` gets each message, `closed(flow)` each connection that ended, `malformed(data,
    flow, error)` what ended a stream that is not SIP; `registered(flow)` says whether a phone lives there,
    `banned(host, now)` whether connections from there are not taken, `in_calls(flows)` at which of these
    flows a living call has an end. No `certificates`: no TLS.
    """

    def __init__(
        self,
        receive: Callable[[bytes, Flow], None],
        closed: Callable[[Flow], None],
        malformed: Callable[[bytes, Flow, ParseError], None],
        in_calls: Callable[[Collection[Flow]], set[Flow]],
        registered: Callable[[Flow], bool],
        over: Callable[[], Sequence[Flow]],
        certificates: Certificates | None,
        log: Log,
        banned: Callable[[str, float], bool],
    ) -> None:
        self._receive = receive
        self._closed = closed
        self._malformed = malformed
        self._in_calls = in_calls
        self._registered = registered
        self._over = over
        self._banned = banned
        self._certificates = certificates
        self._log = log
        self._listeners: list[Listener] = []
        self._connections: dict[Flow, Connection] = {}
        self._hosts: dict[str, set[Flow]] = {}
        self._shaking: dict[Connection, None] = {}
        self._opening: dict[Flow, bytearray] = {}
        self._aliases: dict[Addr, Connection] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._total = TOTAL
        self._last = 0
        self.counters: dict[str, int] = dict.fromkeys(COUNTERS, 0)

    def gauges(self) -> dict[str, int]:
        """Connections now."""
        tls = sum(1 for flow in self._connections if flow.transport == "tls")
        return {
            "tcp:current_opened_connections": len(self._connections),
            "tls:current_opened_connections": tls,
            "tls:current_handshakes": len(self._shaking),
        }

    def number_of(self, flow: Flow) -> int:
        """The number of the connection of a flow, -1 without one."""
        connection = self._connections.get(flow)
        return connection.ident if connection is not None else -1

    def alive(self, flow: Flow) -> bool:
        """True when the connection of a flow is there."""
        return flow in self._connections

    def listed(self) -> Iterator[Listed]:
        """Every connection, the oldest first; each is looked at when it is asked for."""
        now = time.monotonic()
        return (_listed(connection, now) for connection in list(self._connections.values()))

    async def open(self, listens: Sequence[tuple[str, Addr]], loop: asyncio.AbstractEventLoop) -> None:
        """Listen for (transport, address) each. Raises `LinkError`; nothing stays open then."""
        self._loop = loop
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._total = min(TOTAL, soft // 4)
        for transport, addr in listens:
            try:
                sock = listening(transport, addr)
            except LinkError:
                await self.close()
                raise
            self._listeners.append(Listener(sock, loop, partial(self._accept, transport, addr), self._short))
        if listens:
            self._sweeper = loop.call_later(SWEEP, self._sweep)

    async def close(self) -> None:
        """Stop listening and end every connection."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        for task in list(self._tasks):
            task.cancel()
        for connection in list(self._connections.values()):
            connection.close()
        await asyncio.sleep(0)

    # -- out ---------------------------------------------------------------------------------------

    def send(self, flow: Flow, data: bytes) -> bool:
        """Send a message over its connection; one with local port 0 is opened first if need be."""
        waiting = self._opening.get(flow)
        if waiting is not None:
            if len(waiting) + len(data) > WRITE_LIMIT:
                self.counters["tcp:sendq_full"] += 1
                return False
            waiting += data
            return True
        connection = self._connections.get(flow)
        if connection is not None:
            return connection.write(data)
        if flow.local.port or self._loop is None:
            return False
        connection = self._alias_for(flow)
        if connection is not None:
            return connection.write(data)
        return self._open(flow, data, self._loop)

    def _open(self, flow: Flow, data: bytes, loop: asyncio.AbstractEventLoop) -> bool:
        if len(self._connections) + len(self._opening) >= self._total:
            self.counters["tcp:local_reject"] += 1
            return False
        session = None
        if flow.transport == "tls":
            try:
                session = self._client_session(flow.peer)
            except TlsError as error:
                self._log("warning", "tls refused", {"server": str(flow.remote), "why": str(error)})
                return False
        self._opening[flow] = bytearray(data)
        self._spawn(self._connect(self._new(flow, True, session), loop), loop)
        return True

    def _client_session(self, name: str) -> TlsSession:
        if self._certificates is None:
            raise TlsError("this server has no tls.certificate")
        return self._certificates.client_session(name)

    async def _connect(self, connection: Connection, loop: asyncio.AbstractEventLoop) -> None:
        flow = connection.flow
        try:
            work = loop.create_connection(
                lambda: connection,
                flow.remote.host,
                flow.remote.port,
                local_addr=(flow.local.host, 0),
            )
            await asyncio.wait_for(work, CONNECT)
        except (OSError, TimeoutError):
            self.counters["tcp:connect_failed"] += 1
            self._opening.pop(flow, None)
            self._closed(flow)

    # -- in ----------------------------------------------------------------------------------------

    def _accept(self, transport: str, local: Addr, sock: socket.socket, peer: Addr) -> None:
        """Take a new connection in, unless there are too many in all, or of its address."""
        assert self._loop is not None
        flow = Flow(transport, local, peer)
        before = self._connections.get(flow)
        if before is not None:  # the same ports again: what was there is dead
            before.abort()
            self.lost(before)
        if self._banned(peer.host, time.monotonic()) or not self._has_room(flow):
            self.counters["tcp:local_reject"] += 1
            sock.close()
            return
        session = None
        if transport == "tls":
            assert self._certificates is not None
            session = self._certificates.server_session()
        connection = self._new(flow, False, session)
        self._adopt(connection)
        self.counters["tcp:passive_open"] += 1
        self._spawn(self._join(sock, connection, self._loop), self._loop)

    async def _join(
        self, sock: socket.socket, connection: Connection, loop: asyncio.AbstractEventLoop
    ) -> None:
        try:
            await loop.connect_accepted_socket(lambda: connection, sock)
        except OSError:
            sock.close()
            self.lost(connection)

    def _has_room(self, flow: Flow) -> bool:
        """True when one more may come; the oldest handshake under way may end for it."""
        host = flow.remote.host
        if flow.transport == "tls" and len(self._shaking) >= HANDSHAKES:
            self._end_handshake(self._shaking)
        if len(self._connections) >= self._total and not self._end_handshake(self._shaking):
            return False
        there = self._hosts.get(host, ())
        if len(there) < PER_HOST or sum(not self._registered(one) for one in there) < PER_HOST:
            return True
        return self._end_handshake(one for one in self._shaking if one.flow.remote.host == host)

    def _end_handshake(self, candidates: Iterable[Connection]) -> bool:
        oldest = next(iter(candidates), None)
        if oldest is None:
            return False
        self.counters["tls:handshakes_ended"] += 1
        oldest.abort()
        self.lost(oldest)
        return True

    def _short(self, error: OSError) -> None:
        self.counters["tcp:accept_paused"] += 1
        self._log("error", "no descriptor for a connection", {"why": error.strerror or str(error)})

    # -- the life of a connection ------------------------------------------------------------------

    def _new(self, flow: Flow, outgoing: bool, session: TlsSession | None) -> Connection:
        self._last += 1
        return Connection(self, self._last, flow, outgoing, session)

    def made(self, connection: Connection) -> None:
        """The socket is connected; one that was accepted is counted already."""
        if connection.outgoing:
            self._adopt(connection)

    def _adopt(self, connection: Connection) -> None:
        """Count it; over TLS its time runs from here."""
        flow = connection.flow
        self._connections[flow] = connection
        self._hosts.setdefault(flow.remote.host, set()).add(flow)
        if connection.session is not None and self._loop is not None:
            self._shaking[connection] = None
            connection.handshake = self._loop.call_later(HANDSHAKE, self._late, connection)

    def _late(self, connection: Connection) -> None:
        self.refused(connection, TlsError(f"no TLS within {HANDSHAKE:g} s"))
        connection.abort()

    def ready(self, connection: Connection) -> None:
        """Messages can go either way: what waited for that goes now."""
        self._shaken(connection)
        connection.known = True
        if connection.session is not None:
            self.counters["tls:handshakes"] += 1
        if connection.outgoing:
            self.counters["tcp:established"] += 1
            self.counters["tcp:connect_success"] += 1
            waiting = self._opening.pop(connection.flow, None)
            if waiting:
                connection.write(bytes(waiting))

    def _shaken(self, connection: Connection) -> None:
        self._shaking.pop(connection, None)
        if connection.handshake is not None:
            connection.handshake.cancel()
            connection.handshake = None

    def refused(self, connection: Connection, why: TlsError) -> None:
        """TLS came to nothing, or broke; the operator reads why."""
        peer = str(connection.flow.remote)
        if connection.outgoing:
            named = {"server": peer, "name": connection.flow.peer, "why": str(why)}
            self._log("warning", "tls refused", named)
        else:
            self._log("info", "tls refused", {"source": peer, "why": str(why)})

    def heard(self, connection: Connection, message: bytes) -> None:
        """A whole message."""
        session = connection.session
        if session is not None and session.certificate and not (connection.offered or connection.outgoing):
            self._look_for_alias(connection, message)
        self._receive(message, connection.flow)

    def malformed(self, connection: Connection, data: bytes, error: ParseError) -> None:
        """What came is not SIP."""
        self.counters["tcp:bad_streams"] += 1
        self._malformed(data, connection.flow, error)

    def flooded(self, connection: Connection) -> None:
        """The peer does not read what it gets."""
        self.counters["tcp:sendq_full"] += 1

    def lost(self, connection: Connection) -> None:
        """A connection ended: forget it, and say so to whoever may know it."""
        flow = connection.flow
        if self._connections.get(flow) is not connection:
            return
        if connection in self._shaking:
            self.counters["tls:handshakes_failed"] += 1
        self._shaken(connection)
        del self._connections[flow]
        there = self._hosts[flow.remote.host]
        there.discard(flow)
        if not there:
            del self._hosts[flow.remote.host]
        self._opening.pop(flow, None)
        for addr in [addr for addr, one in self._aliases.items() if one is connection]:
            del self._aliases[addr]
        if connection.known:
            for other in (flow, *connection.aliases):
                self._closed(other)

    def _sweep(self) -> None:
        """End connections whose message does not end, that take nothing, or are idle and without a use."""
        assert self._loop is not None
        self._sweeper = self._loop.call_later(SWEEP, self._sweep)
        now = time.monotonic()
        silent = {flow: self._connections[flow] for flow in self._over() if flow in self._connections}
        for flow, connection in list(self._connections.items()):
            stuck = connection.blocked and now - connection.blocked > SEND_TIMEOUT
            if stuck or (connection.begun and now - connection.begun > MESSAGE_DEADLINE):
                self.counters["tcp:send_timeout" if stuck else "tcp:con_timeout"] += 1
                connection.abort()
            elif now - connection.heard > IDLE and not self._registered(flow):
                silent[flow] = connection
        talking = self._in_calls(silent.keys()) if silent else set()
        for flow, connection in silent.items():
            if flow not in talking:
                self.counters["tcp:con_timeout"] += 1
                connection.abort()

    def _spawn(self, work: Any, loop: asyncio.AbstractEventLoop) -> None:
        task = loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- alias (RFC 5923) --------------------------------------------------------------------------

    def _look_for_alias(self, connection: Connection, message: bytes) -> None:
        """The first request with `alias` in its top Via offers this connection for what is for its sender.

        It is taken when the certificate names the host that the Via does.
        """
        if b";alias" not in message.lower():
            return
        try:
            via = parse(message).headers.via
        except ParseError:
            return
        if via.param("alias") is None:
            return
        connection.offered = True
        assert connection.session is not None
        if speaks_for(connection.session.certificate, via.host):
            self.counters["tls:aliases"] += 1
            self._aliases[Addr(connection.flow.remote.host, via.port or TLS_PORT)] = connection
        else:
            names = told_names(connection.session.certificate)
            fields = {"source": str(connection.flow.remote), "host": via.host, "names": names}
            self._log("warning", "alias not believed", fields)

    def _alias_for(self, flow: Flow) -> Connection | None:
        """A connection that the peer opened and that may stand in for one of ours to `flow.peer`."""
        connection = self._aliases.get(flow.remote) if flow.transport == "tls" else None
        if connection is None or connection.session is None:
            return None
        if not speaks_for(connection.session.certificate, flow.peer):
            return None
        connection.aliases.add(flow)
        return connection


def _listed(connection: Connection, now: float) -> Listed:
    session = connection.session
    return Listed(
        connection.ident,
        connection.flow,
        connection.outgoing,
        connection.is_ready,
        max(0.0, IDLE - (now - connection.heard)),
        session.version if session is not None else "",
        session.cipher if session is not None else "",
        told_names(session.certificate) if session is not None and session.certificate else "",
    )
