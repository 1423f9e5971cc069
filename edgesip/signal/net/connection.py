"""One connection of signalling: TCP, or TLS on top of it; octets cut into messages, bounded both ways.

What becomes of messages, and how long anything may take, is its keeper's business.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import deque
from typing import Protocol, cast

from edgesip.address import Flow
from edgesip.signal.net.tls_session import TlsError, TlsSession
from edgesip.signal.wire.framer import PING, PONG, Framer
from edgesip.signal.wire.grammar import ParseError

WRITE_LIMIT = 256 * 1024
"""Octets that may wait for a peer that does not read, besides those in the kernel."""
KERNEL_WRITE = 64 * 1024
SLICE = 0.001
"""Seconds for which one connection's messages are handled before others, and media, have their turn."""


class Keeper(Protocol):
    """Who keeps connections and is told what happens on them."""

    def made(self, connection: Connection) -> None:
        """The socket is connected; over TLS the handshake begins."""

    def ready(self, connection: Connection) -> None:
        """Messages can go either way."""

    def refused(self, connection: Connection, why: TlsError) -> None:
        """TLS came to nothing, or broke."""

    def heard(self, connection: Connection, message: bytes) -> None:
        """A whole message."""

    def malformed(self, connection: Connection, data: bytes, error: ParseError) -> None:
        """What came is not SIP."""

    def flooded(self, connection: Connection) -> None:
        """The peer does not read what it gets."""

    def lost(self, connection: Connection) -> None:
        """It is gone, whoever ended it."""


class Connection(asyncio.Protocol):
    """One connection; `flow` is what the rest of the server knows it by, `ident` what operators do.

    `heard` is when its last octets came, `begun` when the message began that is not complete yet, `blocked`
    since when the peer takes nothing (0: it does); all in monotonic seconds. `known` says whether anybody
    else has heard of its flow; its peer has `offered` it for our requests too (RFC 5923), and `aliases` are
    the flows to its far end that it stands in for.
    """

    def __init__(
        self, keeper: Keeper, ident: int, flow: Flow, outgoing: bool, session: TlsSession | None
    ) -> None:
        self._keeper = keeper
        self.ident = ident
        self.flow = flow
        self.outgoing = outgoing
        self.session = session
        self.transport: asyncio.Transport | None = None
        self.framer = Framer()
        self._waiting: deque[bytes] = deque()
        self._resting = False
        self.heard = time.monotonic()
        self.begun = 0.0
        self.blocked = 0.0
        self.known = outgoing
        self.offered = False
        self._over = False
        self.handshake: asyncio.TimerHandle | None = None
        self.aliases: set[Flow] = set()

    @property
    def is_ready(self) -> bool:
        """True once messages can go either way."""
        return self.transport is not None and (self.session is None or self.session.established)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is the loop's now; over TLS the handshake begins."""
        self.transport = cast(asyncio.Transport, transport)
        if self._over:
            self.transport.abort()
            return
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_WRITE)
        self.transport.set_write_buffer_limits(high=0)
        self._keeper.made(self)
        if self.session is None:
            self._keeper.ready(self)
        elif self.outgoing:
            self.session.begin()
            self.transport.write(self.session.take())

    def data_received(self, data: bytes) -> None:
        """Frame what came and pass it up; a stream that is not SIP ends here."""
        if self.transport is None or self.transport.is_closing():
            return
        if self.session is not None:
            data = self._decrypted(self.session, data)
        if data:
            self._framed(data)
        incomplete = self.framer.pending or (self.session is not None and self.session.pending)
        self.begun = (self.begun or time.monotonic()) if incomplete else 0.0
        if not self._resting:
            self._deliver()

    def _decrypted(self, session: TlsSession, data: bytes) -> bytes:
        shaking = not session.established
        refused: TlsError | None = None
        plain = b""
        try:
            plain = session.receive(data)
        except TlsError as error:
            refused = error
        said = session.take()
        if said and self.transport is not None:
            self.transport.write(said)
        if refused is not None:
            self._keeper.refused(self, refused)
            self.close()
        elif shaking and session.established:
            self._keeper.ready(self)
        return plain

    def _framed(self, data: bytes) -> None:
        self.heard = time.monotonic()
        self._waiting.extend(self.framer.feed(data))

    def _deliver(self) -> None:
        """Pass whole messages up for a slice of time; nothing more is read until all have been."""
        if self.transport is None:
            self._waiting.clear()
            return
        end = time.monotonic() + SLICE
        while self._waiting:
            message = self._waiting.popleft()
            if message == PING:
                self.write(PONG)
            else:
                self._keeper.heard(self, message)
            if self._waiting and time.monotonic() > end:
                self._rest()
                return
        if self._resting:
            self._resting = False
            if not self.transport.is_closing():
                self.transport.resume_reading()
        if self.framer.fault is not None:
            self._keeper.malformed(self, self.framer.rest, self.framer.fault)
            self.close()
        elif self.session is not None and self.session.ended:
            self.close()

    def _rest(self) -> None:
        if not self._resting and self.transport is not None:
            self._resting = True
            self.transport.pause_reading()
        asyncio.get_running_loop().call_soon(self._deliver)

    def write(self, data: bytes) -> bool:
        """Send; False, and the connection ends, when the peer does not read what it gets."""
        if not self.is_ready or self.transport is None or self.transport.is_closing():
            return False
        if self.session is not None:
            try:
                data = self.session.send(data)
            except TlsError as error:
                self._keeper.refused(self, error)
                self.transport.abort()
                return False
        self.transport.write(data)
        if self.transport.get_write_buffer_size() > WRITE_LIMIT:
            self._keeper.flooded(self)
            self.transport.abort()
            return False
        return True

    def close(self) -> None:
        """End it once what was written has left."""
        if self.transport is not None and not self.transport.is_closing():
            if self.session is not None:
                self.transport.write(self.session.finish())
            self.transport.close()

    def abort(self) -> None:
        """End it now, or as soon as the loop has its socket."""
        self._over = True
        if self.transport is not None:
            self.transport.abort()

    def pause_writing(self) -> None:
        """The peer does not take what we send: its time runs."""
        self.blocked = time.monotonic()

    def resume_writing(self) -> None:
        """It has taken all of it."""
        self.blocked = 0.0

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone, whoever ended it."""
        self.transport = None
        self._keeper.lost(self)
