"""The bound ports of the relay, and the path that settled streams take through them.

A port hears everybody. While a settled stream speaks its socket is connected: the kernel drops strangers,
and neither end of a packet needs its address. Refuses to know whom to believe: rules say it.
"""

from __future__ import annotations

import ctypes
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from edgesip.address import Addr
from edgesip.relay.path import USER, Counters, Entry, Figures, totals_of
from edgesip.relay.rule import Rule
from edgesip.relay.track import Heads

RECEIVE_BUFFER: Final = 256 * 1024
EXPEDITED: Final = 0xB8  # DSCP EF (RFC 3246)
SHUT: Final = 5.0  # seconds that a flooded port without a rule hears one address alone
QUIET: Final = 1.0  # below the 2 s of silence after which a NAT may have moved the phone (latch.SILENCE)
OLD_PACKETS: Final = (
    0.5  # seconds after which nothing is on its way into the queue from before the connection
)

_libc = ctypes.CDLL(None, use_errno=True)
_NOBODY: Final = bytes(16)  # a sockaddr of AF_UNSPEC: connect(2) to it dissolves the connection


class Link:
    """One bound port. `entry` is the rule of what arrives, `out` the port by which that leaves.

    `peer` is whom the socket is connected to, `only` the same once nobody else's packet can be in its queue;
    `wide` is True until a connection was tried for the entry. `refused` counts packets that nothing was sent
    for since the last sweep.
    """

    __slots__ = (
        *("sock", "local", "recv", "recvfrom", "send", "sendto"),
        *("entry", "out", "wide", "peer", "only", "since", "refused"),
    )

    def __init__(self, sock: socket.socket, local: Addr) -> None:
        self.sock = sock
        self.local = local
        self.recv: Callable[[int], bytes] = sock.recv
        self.recvfrom: Callable[[int], tuple[bytes, Any]] = sock.recvfrom
        self.send: Callable[[bytes], int] = sock.send
        self.sendto: Callable[[bytes, Addr], int] = sock.sendto
        self.entry: Entry | None = None
        self.out: Link | None = None
        self.wide = True
        self.peer: Addr | None = None
        self.only: Addr | None = None
        self.since = 0.0
        self.refused = 0

    def narrow(self, remote: Addr, now: float) -> None:
        """Hear this address alone from now on, where the kernel can do that."""
        self.wide = False
        try:
            self.sock.connect(remote)
        except OSError:  # no route at the moment, a scope that is missing: the source is looked at instead
            return
        self.peer, self.since = remote, now

    def widen(self) -> None:
        """Hear everybody again."""
        self.wide, self.only = True, None
        if self.peer is not None:
            self.peer = None
            _libc.connect(self.sock.fileno(), _NOBODY, len(_NOBODY))

    def look(self, now: float) -> None:
        """Once a second while there is a peer: one that fell silent may come back from elsewhere."""
        if self.entry is None:
            if now - self.since >= SHUT:
                self.widen()
            return
        if now - self.entry.heard_at >= QUIET:
            self.widen()
        elif self.only is None and now - self.since >= OLD_PACKETS and self._is_empty():
            self.only = self.peer

    def _is_empty(self) -> bool:
        """Whether nothing waits that may be from before the connection."""
        try:
            self.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:  # an ICMP error; another time
            pass
        return False


class SocketPath:
    """The userspace path: what its rules say is kept at the ports themselves, which the packet loop reads.

    `why` is why there is no faster one, as a sentence for operators.
    """

    def __init__(self, links: Mapping[Addr, Link], why: str = "") -> None:
        self._links = links
        self._why = why

    def put(self, rule: Rule) -> bool:
        """Carry it, in place of the rule that this port had; False for RTCP, and when one of its ports is not
        bound.
        """
        if rule.is_rtcp:
            return False
        link, out = self._links.get(rule.local), self._links.get(rule.via)
        if link is None or out is None:
            return False
        link.widen()
        link.entry, link.out = Entry(rule, rule.remote, rule.to), out
        return True

    def drop(self, local: Addr) -> Counters | None:
        """Forget the rule of this port, which hears everybody again."""
        link = self._links.get(local)
        entry = None if link is None else link.entry
        if link is None or entry is None:
            return None
        link.entry = link.out = None
        link.widen()
        return entry.read()

    def counters(self, local: Addr) -> Counters | None:
        """What was carried by the rule of this port."""
        link = self._links.get(local)
        return None if link is None or link.entry is None else link.entry.read()

    def heads(self, local: Addr) -> Heads | None:
        """What was carried by the rule of this port since this was asked last."""
        link = self._links.get(local)
        return None if link is None or link.entry is None else link.entry.take()

    def figures(self, local: Addr) -> Figures | None:
        """None: the packets are shown."""
        return None

    def totals(self) -> tuple[int, int]:
        """What all rules have carried by now."""
        return totals_of([link.entry for link in self._links.values() if link.entry is not None])

    def sweep(self) -> None:
        """Nothing is to be read."""

    def stale(self) -> Sequence[Addr]:
        """None: what a rule needs is in it."""
        return ()

    def carrier(self, local: Addr) -> str:
        """This path, where the port has a rule."""
        link = self._links.get(local)
        return "" if link is None or link.entry is None else USER

    def because(self, local: Addr) -> str:
        """Why there is no faster path at all."""
        return self._why if self.carrier(local) else ""

    def close(self) -> None:
        """Forget every rule."""
        for local in list(self._links):
            self.drop(local)


def bound(local: Addr) -> Link:
    """A non-blocking UDP socket on this address; OSError when it cannot be had."""
    family = socket.AF_INET6 if local.family == 6 else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, EXPEDITED)
        else:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, EXPEDITED)
        sock.bind(local)
    except OSError:
        sock.close()
        raise
    return Link(sock, local)
