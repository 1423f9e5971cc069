"""Listening sockets of streams: opened, accepted from in small batches, rested when descriptors run out.

Knows no connection: what was accepted is handed on with its peer.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable

from edgesip.address import Addr
from edgesip.signal.net.errors import LinkError

BACKLOG = 512
BATCH = 64
"""Connections accepted at a time: what else there is to do comes in between."""
PAUSE = 1.0
"""Seconds without accepting once no descriptor was left: the kernel's queue holds who comes meanwhile."""
_SHORT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Listener:
    """One listening socket: `accepted(sock, peer)` for each connection, `short(error)` without room."""

    def __init__(
        self,
        sock: socket.socket,
        loop: asyncio.AbstractEventLoop,
        accepted: Callable[[socket.socket, Addr], None],
        short: Callable[[OSError], None],
    ) -> None:
        self._sock = sock
        self._loop = loop
        self._accepted = accepted
        self._short = short
        self._resting: asyncio.TimerHandle | None = None
        loop.add_reader(sock.fileno(), self._readable)

    def close(self) -> None:
        """Stop accepting."""
        if self._resting is not None:
            self._resting.cancel()
        self._loop.remove_reader(self._sock.fileno())
        self._sock.close()

    def _readable(self) -> None:
        for _ in range(BATCH):
            try:
                sock, peer = self._sock.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _SHORT:
                    self._rest(error)
                    return
                continue  # that one was gone before we looked
            sock.setblocking(False)
            self._accepted(sock, Addr(str(peer[0]), int(peer[1])))

    def _rest(self, error: OSError) -> None:
        """A socket that stays readable and cannot be accepted from would keep the loop spinning."""
        self._loop.remove_reader(self._sock.fileno())
        self._resting = self._loop.call_later(PAUSE, self._resume)
        self._short(error)

    def _resume(self) -> None:
        self._resting = None
        self._loop.add_reader(self._sock.fileno(), self._readable)


def listening(transport: str, addr: Addr) -> socket.socket:
    """A socket that listens on one address. Raises `LinkError`, with the name of what is spoken there."""
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
        raise LinkError(error, transport, addr) from error
    return sock
