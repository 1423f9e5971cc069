"""The UDP sockets of signalling: bound, drained in small batches, sent from directly.

Octets and flows, no message. A wildcard listener becomes one socket per address of the host, so that a
flow's local end is always concrete and an answer leaves by the socket that the question came to.
"""

from __future__ import annotations

import array
import asyncio
import fcntl
import socket
import struct
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Protocol

from edgesip.address import Addr, Flow, is_unspecified
from edgesip.signal.nat.spoofed import RAW
from edgesip.signal.net.errors import LinkError

DATAGRAMS: Final = frozenset({"udp", RAW})
"""Transports of flows that no connection is needed for."""
BATCH: Final = 32
SLICE: Final = 0.001
LARGEST: Final = 65535
REMEMBERED: Final = 4096
"""Flows kept ready."""
_SIOCGIFCONF: Final = 0x8912
_LINK_LOCAL: Final = "20"
RECEIVE_BUFFER: Final = 1 << 22
"""Octets of the queue that is asked for: in a small one what comes is lost before anybody sees it wait."""
FULL: Final = 0.3
"""Seconds that a full queue counts as, however short it is: what comes then is lost."""
_IP_RECVERR, _IPV6_RECVERR = 11, 25
_SO_TIMESTAMPNS: Final = 35
_SO_RCVBUFFORCE: Final = 33
_SO_MEMINFO: Final = 55
SAMPLE: Final = 0.05
"""Seconds between two datagrams that are asked how long they waited."""


class Raw(Protocol):
    """What sends in the name of others (`raw.RawLink`)."""

    def send(self, flow: Flow, data: bytes) -> bool:
        """False when it could not leave."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


def local_addresses(family: int) -> list[str]:
    """Every address of this host in a family (4 or 6), in interface order; IPv6 link-local ones left out."""
    return _ipv6_addresses() if family == 6 else _ipv4_addresses()


def _ipv6_addresses() -> list[str]:
    try:
        lines = Path("/proc/net/if_inet6").read_text("ascii").splitlines()
    except OSError:
        return []
    rows = [line.split() for line in lines]
    octets = [bytes.fromhex(row[0]) for row in rows if row[3] != _LINK_LOCAL]
    return list(dict.fromkeys(socket.inet_ntop(socket.AF_INET6, one) for one in octets))


def _ipv4_addresses() -> list[str]:
    """By SIOCGIFCONF."""
    size = 40
    room = array.array("B", bytes(size * 256))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        request = struct.pack("iL", len(room), room.buffer_info()[0])
        used = struct.unpack("iL", fcntl.ioctl(probe.fileno(), _SIOCGIFCONF, request))[0]
    rows = bytes(room)
    found = (socket.inet_ntoa(rows[at + 20 : at + 24]) for at in range(0, used, size))
    return list(dict.fromkeys(found))


def expand(addr: Addr) -> list[Addr]:
    """The concrete addresses that a listen address stands for."""
    if is_unspecified(addr.host):
        return [Addr(host, addr.port) for host in local_addresses(addr.family)]
    return [addr]


@lru_cache(maxsize=1024)
def route(remote: str) -> str:
    """The local address that the host would send from towards `remote`; empty when there is no way."""
    with socket.socket(_family(remote), socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((remote, 9))
        except OSError:
            return ""
        return str(probe.getsockname()[0])


def is_local(host: str) -> bool:
    """True when a socket can be bound to this address of ours."""
    with socket.socket(_family(host), socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return False
    return True


class UdpLinks:
    """All UDP listeners; `receive(data, flow)` is called for each datagram, `rest(age)` after a batch.

    `age` is how long a datagram had waited in its queue (seconds; longer where that is nearly full), 0 in
    a batch in which none was asked: of such a one `rest` is not told when every `receive` of it said False,
    that there was nothing to do.
    `refused(octets)` is told the beginning of a datagram that an ICMP error came back for.
    """

    def __init__(
        self,
        receive: Callable[[bytes, Flow], bool],
        rest: Callable[[float], None],
        refused: Callable[[bytes], None],
    ) -> None:
        self._refused = refused
        self._sample = 0.0
        self._receive = receive
        self._rest = rest
        self._sockets: dict[Addr, socket.socket] = {}
        self._loop: Any = None  # uvloop answers None where asyncio says a bool, and compiled code looks
        self.raw: Raw | None = None
        """What sends from addresses that are not ours, where that is granted."""
        self._deaf: set[socket.socket] = set()
        self._desk = memoryview(bytearray(LARGEST))
        self._flows: dict[tuple[Addr, tuple[str, int]], Flow] = {}
        self.counters: dict[str, int] = {"core:send_errors": 0}

    def open(self, addresses: Sequence[Addr], loop: asyncio.AbstractEventLoop) -> None:
        """Bind every address, then begin to read. Raises `LinkError`; nothing stays open then."""
        try:
            for addr in addresses:
                self._sockets[addr] = _bound(addr)
        except LinkError:
            self.close(None)
            raise
        self._loop = loop
        for addr, sock in self._sockets.items():
            loop.add_reader(sock.fileno(), self._readable, addr, sock)

    def close(self, loop: Any) -> None:
        """Stop reading and close."""
        self._loop = None
        for sock in self._sockets.values():
            if loop is not None:
                loop.remove_reader(sock.fileno())
            sock.close()
        self._sockets.clear()
        if self.raw is not None:
            self.raw.close()
            self.raw = None

    def send(self, flow: Flow, data: bytes) -> bool:
        """Send one datagram by the flow's own socket; False when it could not leave."""
        sock = self._sockets.get(flow.local)
        if sock is None:
            return flow.transport == RAW and self._send_raw(flow, data)
        for _ in range(2):
            try:
                sock.sendto(data, flow.remote)
            except BlockingIOError:
                break
            except OSError:  # this datagram's, or an ICMP error that an earlier one earned
                if not self._drain_errors(sock):
                    self.counters["core:send_errors"] += 1
                    return False
            else:
                return True
        self.counters["core:send_errors"] += 1
        return True  # lost on the way, like any other datagram

    def _send_raw(self, flow: Flow, data: bytes) -> bool:
        """True always: it is gone, or lost on the way."""
        if self.raw is None or not self.raw.send(flow, data):
            self.counters["core:send_errors"] += 1
        return True

    def _drain_errors(self, sock: socket.socket) -> bool:
        """Tell of every datagram that came back by ICMP; False when there was none."""
        found = False
        for _ in range(BATCH):
            try:
                data, _, _, _ = sock.recvmsg(LARGEST, 512, socket.MSG_ERRQUEUE)
            except OSError:
                break
            found = True
            self._refused(data)
        if self._loop is not None and sock not in self._deaf:
            self._deaf.add(sock)
            self._loop.call_soon(self._listen_again, sock)
        return found

    def _listen_again(self, sock: socket.socket) -> None:
        """Begin to read again: after an error libuv, and so uvloop, has stopped, and says nothing of it."""
        self._deaf.discard(sock)
        for addr, one in self._sockets.items():
            if one is sock and self._loop is not None:
                self._loop.remove_reader(sock.fileno())
                self._loop.add_reader(sock.fileno(), self._readable, addr, sock)

    def _flow(self, local: Addr, source: tuple[str, int]) -> Flow:
        """The flow of a source that was heard of lately is made once."""
        key = (local, source[:2])
        flow = self._flows.get(key)
        if flow is None:
            if len(self._flows) >= REMEMBERED:
                self._flows.clear()
            flow = self._flows[key] = Flow("udp", local, Addr(source[0], source[1]))
        return flow

    def _readable(self, addr: Addr, sock: socket.socket) -> None:
        """At most `BATCH` datagrams or `SLICE` seconds: media waits behind us in the same loop."""
        start = time.monotonic()
        end = start + SLICE
        age, heard, desk = 0.0, False, self._desk
        for _ in range(BATCH):
            try:
                if start < self._sample:
                    count, source = sock.recvfrom_into(desk)
                    data = bytes(desk[:count])  # of its own size: recvfrom() would lay out the largest
                else:
                    self._sample = start + SAMPLE
                    data, source, age = _timed(sock)
                    age = max(age, FULL * _crowding(sock))
            except BlockingIOError:
                break
            except OSError:
                self._drain_errors(sock)
                continue
            if source[1] and self._receive(data, self._flow(addr, source)):
                heard = True
            if time.monotonic() > end:
                break
        if heard or age:
            self._rest(age)


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _timed(sock: socket.socket) -> tuple[bytes, tuple[str, int], float]:
    """A datagram, its source, and how long the kernel has kept it (seconds; a set clock is clipped)."""
    data, ancillary, _, source = sock.recvmsg(LARGEST, 64)
    for level, kind, octets in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS):
            seconds, rest = struct.unpack_from("qq", octets)
            return data, source, min(max(0.0, time.time() - seconds - rest / 1e9), 60.0)
    return data, source, 0.0


def _crowding(sock: socket.socket) -> float:
    """How much of the second half of a socket's queue is taken, 0..1 and a little more; 0 where the kernel
    does not say (`struct sk_meminfo`, Linux 4.12).
    """
    try:
        taken, room = struct.unpack("II", sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 8))
    except (OSError, struct.error):
        return 0.0
    return max(0.0, 2.0 * taken / room - 1.0) if room else 0.0


def _widen(sock: socket.socket) -> None:
    """Ask for the queue, beyond `net.core.rmem_max` where we may (CAP_NET_ADMIN)."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER)
    except OSError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)


def _bound(addr: Addr) -> socket.socket:
    sock = socket.socket(_family(addr.host), socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        if addr.family == 6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
        _widen(sock)
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        sock.bind(addr)
    except OSError as error:
        sock.close()
        raise LinkError(error, "udp", addr) from error
    return sock
