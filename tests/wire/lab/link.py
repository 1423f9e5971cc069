"""How a scripted agent reaches the server: a UDP socket, or one TCP or TLS connection with the frames of it.

Octets and addresses, no SIP beyond Content-Length. Both twins send whole messages and give whole messages.
"""

from __future__ import annotations

import re
import socket
import ssl
import time
from typing import Protocol

from lab.network import Host

Address = tuple[str, int]
_LENGTH = re.compile(rb"^(?:Content-Length|l)[ \t]*:[ \t]*(\d+)", re.MULTILINE | re.IGNORECASE)


class Link(Protocol):
    """`name` is the transport's, `port` our own."""

    name: str
    port: int

    def send(self, data: bytes, target: Address) -> None: ...

    def receive(self, wait: float) -> tuple[bytes, Address]:
        """The next message and where it came from; TimeoutError, or ConnectionError when it is over."""

    def close(self) -> None: ...


class UdpLink:
    """Datagrams from a socket bound on `host`."""

    name = "UDP"

    def __init__(self, host: Host, port: int, family: int = 4) -> None:
        self.socket = host.namespace.udp(host.own(family), port)
        self.port: int = self.socket.getsockname()[1]

    def send(self, data: bytes, target: Address) -> None:
        self.socket.sendto(data, target)

    def receive(self, wait: float) -> tuple[bytes, Address]:
        self.socket.settimeout(max(wait, 0.001))
        data, source = self.socket.recvfrom(65536)
        return data, source[:2]

    def close(self) -> None:
        self.socket.close()


class TcpLink:
    """One connection from `host` to the server; everything goes over it."""

    name = "TCP"

    def __init__(self, host: Host, server: Address, family: int = 4) -> None:
        self.socket = host.namespace.tcp(*server, source=host.own(family), patience=5.0)
        self.port: int = self.socket.getsockname()[1]
        self._server = server
        self._unread = b""

    def send(self, data: bytes, target: Address) -> None:
        """`target` does not matter: there is one peer."""
        self.socket.sendall(data)

    def receive(self, wait: float) -> tuple[bytes, Address]:
        end = time.monotonic() + wait
        while (message := self._next()) is None:
            self.socket.settimeout(max(end - time.monotonic(), 0.001))
            chunk = self.socket.recv(65536)
            if not chunk:
                raise ConnectionResetError("closed by the server")
            self._unread += chunk
        return message, self._server

    def _next(self) -> bytes | None:
        if self._unread.startswith(b"\r\n"):
            self._unread = self._unread[2:]
            return b"\r\n"
        head, found, _ = self._unread.partition(b"\r\n\r\n")
        if not found:
            return None
        length = _LENGTH.search(head)
        assert length is not None, f"a message without Content-Length: {head[:200]!r}"
        size = len(head) + 4 + int(length[1])
        if len(self._unread) < size:
            return None
        message, self._unread = self._unread[:size], self._unread[size:]
        return message

    def is_closed(self, wait: float) -> bool:
        """Whether the server ends the connection within `wait` s; what it says before is thrown away."""
        end = time.monotonic() + wait
        while time.monotonic() < end:
            self.socket.settimeout(max(end - time.monotonic(), 0.001))
            try:
                if not self.socket.recv(65536):
                    return True
            except TimeoutError:
                break
            except ConnectionError:
                return True
        return False

    def close(self) -> None:
        self.socket.close()

    def reset(self) -> None:
        """End it as a crash does, by RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.socket.close()


def any_server() -> ssl.SSLContext:
    """A client's context that takes every certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


class TlsLink(TcpLink):
    """The same over TLS; it asks for `name` (SNI) and takes any certificate unless `context` says more."""

    name = "TLS"

    def __init__(
        self,
        host: Host,
        server: Address,
        family: int = 4,
        context: ssl.SSLContext | None = None,
        name: str = "",
    ) -> None:
        super().__init__(host, server, family)
        wrapped = (context or any_server()).wrap_socket(self.socket, server_hostname=name or None)
        host.namespace.keep(wrapped)
        self.socket = wrapped
        self.version = wrapped.version() or ""
        self.certificate = wrapped.getpeercert(binary_form=True) or b""
