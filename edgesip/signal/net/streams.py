"""The TCP connections of signalling: accepted, framed, bounded, closed when they misbehave.

One `Flow` per connection. Octets go up as whole messages, a lost connection as `closed`. Connections that
we open ourselves have local port 0 in their flow, since nobody was told where they come from.
"""

from __future__ import annotations

import asyncio
import resource
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import cast

from edgesip.address import Addr, Flow
from edgesip.signal.net.links import LinkError
from edgesip.signal.wire.framer import PING, PONG, Framer
from edgesip.signal.wire.grammar import ParseError

MESSAGE_DEADLINE = 10.0
"""Seconds for a message to be complete once it has begun."""
IDLE = 120.0
"""Seconds of silence that close a connection without a registration."""
CONNECT = 10.0
PER_HOST = 64
"""Connections of one address without a living registration (phones behind a carrier's NAT share one)."""
TOTAL = 4096
WRITE_LIMIT = 256 * 1024
"""Octets that may wait for a peer that does not read, besides those in the kernel."""
KERNEL_WRITE = 64 * 1024
SEND_TIMEOUT = 10.0
"""Seconds for which something may wait without a pause (tcp_send_timeout)."""
SWEEP = 2.0
BACKLOG = 512


class Connection(asyncio.Protocol):
    """One TCP connection; `flow` is set once it is made."""

    def __init__(self, links: TcpLinks, local: Addr, outgoing: bool) -> None:
        self._links = links
        self._local = local
        self.outgoing = outgoing
        self.flow: Flow | None = None
        self.transport: asyncio.Transport | None = None
        self.framer = Framer()
        self.heard = time.monotonic()
        self.begun = 0.0
        self.blocked = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accept, or refuse at once where a cap says so."""
        self.transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        if not peer:
            self.transport.abort()
            return
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_WRITE)
        self.transport.set_write_buffer_limits(high=0)
        self.flow = Flow("tcp", self._local, Addr(str(peer[0]), int(peer[1])))
        if not self._links.adopt(self):
            self.flow = None
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Frame what came and pass it up; a stream that is not SIP ends here."""
        if self.flow is None:
            return
        self.heard = time.monotonic()
        for message in self.framer.feed(data):
            if message == PING:
                self.write(PONG)
            else:
                self._links.receive(message, self.flow)
        if self.framer.fault is not None:
            self._links.count("tcp:bad_streams")
            self._links.malformed(self.framer.rest, self.flow, self.framer.fault)
            if self.transport is not None:
                self.transport.close()
            return
        self.begun = (self.begun or self.heard) if self.framer.pending else 0.0

    def write(self, data: bytes) -> bool:
        """Send; False, and the connection ends, when the peer does not read what it gets."""
        if self.transport is None or self.transport.is_closing():
            return False
        self.transport.write(data)
        if self.transport.get_write_buffer_size() > WRITE_LIMIT:
            self._links.count("tcp:sendq_full")
            self.transport.abort()
            return False
        return True

    def pause_writing(self) -> None:
        """The peer does not take what we send: its time runs."""
        self.blocked = time.monotonic()

    def resume_writing(self) -> None:
        """It has taken all of it."""
        self.blocked = 0.0

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone, whoever ended it."""
        self.transport = None
        if self.flow is not None:
            self._links.lost(self)


class TcpLinks:
    """All TCP listeners and connections.

    `receive(data, flow)` gets each message, `closed(flow)` each connection that ended, `malformed(data,
    flow, error)` what ended a stream that is not SIP; `registered(flow)` says whether a phone lives there,
    `in_use(flow)` whether a phone or a call does.
    """

    def __init__(
        self,
        receive: Callable[[bytes, Flow], None],
        closed: Callable[[Flow], None],
        malformed: Callable[[bytes, Flow, ParseError], None],
        in_use: Callable[[Flow], bool],
        registered: Callable[[Flow], bool],
    ) -> None:
        self.receive = receive
        self.malformed = malformed
        self._closed = closed
        self._in_use = in_use
        self._registered = registered
        self._servers: list[asyncio.Server] = []
        self._connections: dict[Flow, Connection] = {}
        self._hosts: Counter[str] = Counter()
        self._opening: dict[Flow, list[bytes]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._total = TOTAL
        self.counters: dict[str, int] = dict.fromkeys(
            (
                "tcp:passive_open",
                "tcp:established",
                "tcp:connect_success",
                "tcp:connect_failed",
                "tcp:local_reject",
                "tcp:con_timeout",
                "tcp:sendq_full",
                "tcp:send_timeout",
                "tcp:bad_streams",
            ),
            0,
        )

    def count(self, name: str) -> None:
        """One more of these."""
        self.counters[name] += 1

    def gauges(self) -> dict[str, int]:
        """Connections now."""
        return {"tcp:current_opened_connections": len(self._connections)}

    async def open(self, addresses: Sequence[Addr], loop: asyncio.AbstractEventLoop) -> None:
        """Listen on every address. Raises `LinkError`; nothing stays open then."""
        self._loop = loop
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._total = min(TOTAL, soft // 4)
        for addr in addresses:
            try:
                sock = _listening(addr)
            except LinkError:
                await self.close()
                raise
            server = await loop.create_server(lambda addr=addr: Connection(self, addr, False), sock=sock)  # type: ignore[misc]
            self._servers.append(server)
        if addresses:
            self._sweeper = loop.call_later(SWEEP, self._sweep)

    async def close(self) -> None:
        """Stop listening and end every connection."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for server in self._servers:
            server.close()
        self._servers.clear()
        for task in list(self._tasks):
            task.cancel()
        for connection in list(self._connections.values()):
            if connection.transport is not None:
                connection.transport.close()
        await asyncio.sleep(0)

    def send(self, flow: Flow, data: bytes) -> bool:
        """Send a message over its connection; one with local port 0 is opened first if need be."""
        connection = self._connections.get(flow)
        if connection is not None:
            return connection.write(data)
        if flow.local.port or self._loop is None:
            return False
        waiting = self._opening.get(flow)
        if waiting is not None:
            waiting.append(data)
            return True
        if len(self._connections) + len(self._opening) >= self._total:
            self.count("tcp:local_reject")
            return False
        self._opening[flow] = [data]
        task = self._loop.create_task(self._connect(flow, self._loop))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def _connect(self, flow: Flow, loop: asyncio.AbstractEventLoop) -> None:
        try:
            work = loop.create_connection(
                lambda: Connection(self, flow.local, True),
                flow.remote.host,
                flow.remote.port,
                local_addr=(flow.local.host, 0),
            )
            await asyncio.wait_for(work, CONNECT)
        except (OSError, TimeoutError):
            self.count("tcp:connect_failed")
            self._opening.pop(flow, None)
            self._closed(flow)
            return
        self.count("tcp:connect_success")
        connection = self._connections.get(flow)
        for data in self._opening.pop(flow, []):
            if connection is None or not connection.write(data):
                self._closed(flow)
                return

    def adopt(self, connection: Connection) -> bool:
        """Take a new connection in, unless there are too many in all, or of its address."""
        flow = connection.flow
        assert flow is not None
        host = flow.remote.host
        if len(self._connections) >= self._total or (
            not connection.outgoing and self._hosts[host] >= PER_HOST and self._unregistered(host) >= PER_HOST
        ):
            self.count("tcp:local_reject")
            return False
        self._connections[flow] = connection
        self._hosts[host] += 1
        self.count("tcp:established" if connection.outgoing else "tcp:passive_open")
        return True

    def lost(self, connection: Connection) -> None:
        """A connection ended: forget it, and say so."""
        flow = connection.flow
        assert flow is not None
        if self._connections.get(flow) is not connection:
            return
        del self._connections[flow]
        self._hosts[flow.remote.host] -= 1
        if not self._hosts[flow.remote.host]:
            del self._hosts[flow.remote.host]
        self._closed(flow)

    def _unregistered(self, host: str) -> int:
        return sum(1 for flow in self._connections if flow.remote.host == host and not self._registered(flow))

    def _sweep(self) -> None:
        """End connections whose message does not end, that take nothing, or are idle and without a use."""
        assert self._loop is not None
        self._sweeper = self._loop.call_later(SWEEP, self._sweep)
        now = time.monotonic()
        for flow, connection in list(self._connections.items()):
            slow = connection.begun and now - connection.begun > MESSAGE_DEADLINE
            idle = now - connection.heard > IDLE and not self._in_use(flow)
            stuck = connection.blocked and now - connection.blocked > SEND_TIMEOUT
            if (slow or idle or stuck) and connection.transport is not None:
                self.count("tcp:send_timeout" if stuck else "tcp:con_timeout")
                connection.transport.abort()


def _listening(addr: Addr) -> socket.socket:
    family = socket.AF_INET6 if addr.family == 6 else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if addr.family == 6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(addr)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise LinkError(error, addr) from error
    return sock
