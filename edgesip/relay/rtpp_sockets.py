"""The sockets of the rtpproxy protocol: who may ask, datagrams and streams in, answers out, notices sent.

A datagram is a cookie and a command; a unix stream carries one command, or with `lasting` one a line. Knows
nothing of what commands do.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network
from typing import Any, NamedTuple

from edgesip.address import Addr, parse_hostport, parse_ip
from edgesip.relay.commands import Commands, Notice
from edgesip.relay.rtpp import MAX_TEXT, SESSION_UNKNOWN, words_of

SLICE = 0.001
"""Seconds that commands may take of a turn of the loop."""
RECEIVE_BUFFER = 1 << 20
CONNECTIONS = 256
PATIENCE = 5.0
"""Seconds that a stream may take for its one command, and a notice for being taken."""
IDLE = 300.0
TRIES = 3
NOTICES = 100
"""Notices on their way at most; what is more is lost."""
SWEEP = 1.0
QUIET = 60.0
"""Seconds between two log lines about strangers."""

Log = Callable[[str, str, dict[str, Any]], None]
Network = IPv4Network | IPv6Network


class Stream(NamedTuple):
    """A unix socket that listens; `lasting`: many commands to a connection, one a line."""

    socket: socket.socket
    lasting: bool


class CommandSockets:
    """Asks `commands` for those who may ask: unix streams, and datagrams from the networks `allow`."""

    def __init__(
        self,
        commands: Commands,
        allow: Sequence[Network],
        log: Log,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._commands = commands
        self._log = log
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._datagrams: list[socket.socket] = []
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._clients = 0
        self._told_at: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.strangers = self.lost = 0
        self.allow(allow)

    @property
    def counters(self) -> dict[str, int]:
        """Datagrams of those who may not ask, and notices that reached nobody, since the start."""
        return {"rtpp:strangers": self.strangers, "rtpp:notices_lost": self.lost}

    def allow(self, networks: Sequence[Network]) -> None:
        """Answer datagrams from these networks from now on."""
        self._allow = tuple(networks)
        self._allowed = lru_cache(maxsize=4096)(self._may_ask)

    async def open(self, datagrams: Sequence[Addr], streams: Sequence[Stream]) -> None:
        """Open everything; OSError, with the address in its text, when one cannot be had."""
        for addr in datagrams:
            self._datagrams.append(_bound(addr))
            self._loop.add_reader(self._datagrams[-1].fileno(), self._drain, self._datagrams[-1])
        for stream in streams:
            serve = self._lasting if stream.lasting else self._single
            self._servers.append(await asyncio.start_unix_server(serve, sock=stream.socket, limit=MAX_TEXT))
        if datagrams or streams:
            self._timer = self._loop.call_later(SWEEP, self._sweep)

    async def close(self) -> None:
        """Close everything; nobody is told."""
        if self._timer is not None:
            self._timer.cancel()
        for sock in self._datagrams:
            self._loop.remove_reader(sock.fileno())
            sock.close()
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # Datagrams.

    def _drain(self, sock: socket.socket) -> None:
        until = self._clock() + SLICE
        while (now := self._clock()) < until:
            try:
                data, source = sock.recvfrom(65535)
                if self._allowed(source[0]):
                    sock.sendto(self._commands.receive(data, Addr(source[0], source[1]), now), source)
                else:
                    self._strange(source[0], now)
            except BlockingIOError:
                break
            except OSError:  # the ICMP answer to an earlier answer: who asked is gone
                continue
        self._after()

    def _may_ask(self, host: str) -> bool:
        ip = parse_ip(host)
        return ip is not None and any(ip.version == net.version and ip in net for net in self._allow)

    def _strange(self, host: str, now: float) -> None:
        self.strangers += 1
        if self._told_at is None or now - self._told_at >= QUIET:
            self._log("warning", "rtpp stranger", {"from": host, "so_far": self.strangers})
            self._told_at = now

    # Streams.

    async def _single(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with self._client(writer) as welcome:
            if welcome:
                data = await asyncio.wait_for(reader.read(MAX_TEXT), PATIENCE)
                await self._answer(data, writer)

    async def _lasting(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with self._client(writer) as welcome:
            while welcome:
                line = await asyncio.wait_for(reader.readline(), IDLE)
                if not line:
                    return
                await self._answer(line, writer)

    @contextlib.contextmanager
    def _client(self, writer: asyncio.StreamWriter) -> Any:
        """One connection, closed at its end; False when there are too many."""
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
        self._clients += 1
        try:
            yield self._clients <= CONNECTIONS
        except (ConnectionError, TimeoutError, ValueError):
            pass  # gone, silent for too long, or a line without end
        finally:
            self._clients -= 1
            if task is not None:
                self._tasks.discard(task)
            writer.close()

    async def _answer(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(self._commands.ask(words_of(data), "", self._clock()))
        self._after()
        await asyncio.wait_for(writer.drain(), PATIENCE)

    # Time, and what there is to say.

    def _sweep(self) -> None:
        self._timer = self._loop.call_later(SWEEP, self._sweep)
        self._commands.tick(self._clock())
        self._after()

    def _after(self) -> None:
        for refused in self._commands.take_refusals():
            level = "debug" if refused.code == SESSION_UNKNOWN else "info"
            self._log(level, "rtpp refused", refused._asdict())
        self.tell(self._commands.take_notices())

    def tell(self, notices: Sequence[Notice]) -> None:
        """Send notices in the background."""
        for notice in notices:
            if len(self._tasks) < NOTICES + self._clients:
                task = self._loop.create_task(self._tell(notice))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            else:
                self.lost += 1

    async def _tell(self, notice: Notice) -> None:
        error: BaseException | None = None
        for attempt in range(TRIES):
            if attempt:
                await asyncio.sleep(SWEEP)
            try:
                await asyncio.wait_for(_told(notice), PATIENCE)
                return
            except (OSError, ValueError, TimeoutError) as failed:
                error = failed
        self.lost += 1
        self._log("warning", "rtpp notice lost", {"socket": notice.socket, "why": str(error)})


async def _told(notice: Notice) -> None:
    """Connect, say it, hang up."""
    kind, _, where = notice.socket.partition(":")
    if kind == "unix":
        _, writer = await asyncio.open_unix_connection(where)
    else:
        place = parse_hostport(where)
        if place is None or place[1] is None:
            raise ValueError(f"{notice.socket} is no socket")
        _, writer = await asyncio.open_connection(*place)
    try:
        writer.write(notice.text)
        await writer.drain()
    finally:
        writer.close()


def _bound(addr: Addr) -> socket.socket:
    """A non-blocking UDP socket on this address; OSError says which one it was."""
    sock = socket.socket(socket.AF_INET6 if addr.family == 6 else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        sock.bind(addr)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"udp:{addr}: {error.strerror}") from None
    return sock
