"""Servers for calls to be sent to: each answers every request with one status, or not at all, and counts.

A thread each; what they say is just enough for a proxy to pass it on.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import Counter

from lab.network import Host
from lab.sip import Message, decode, token

_KEPT = ("via", "from", "call-id", "cseq", "record-route")


class Place:
    """One server on `host`; `status` 0 keeps silent. `requests` counts by method, `last` is when one came."""

    def __init__(self, host: Host, status: int, port: int = 5060, transport: str = "udp") -> None:
        self.status = status
        self.requests: Counter[str] = Counter()
        self.arrivals: list[float] = []
        self.heads: list[str] = []
        self._ending = False
        with host.namespace.inside():
            kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
            self._socket = socket.socket(socket.AF_INET, kind)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((host.address, port))
        self._socket.settimeout(0.1)
        serve = self._datagrams if transport == "udp" else self._connections
        if transport != "udp":
            self._socket.listen()
        self._thread = threading.Thread(target=serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ending = True
        self._thread.join()
        self._socket.close()

    def _datagrams(self) -> None:
        while not self._ending:
            with contextlib.suppress(TimeoutError):
                data, source = self._socket.recvfrom(65536)
                answer = self._answer(data, source)
                if answer:
                    self._socket.sendto(answer, source)

    def _connections(self) -> None:
        """One connection at a time is enough for one proxy; a message a read is enough for a loopback."""
        while not self._ending:
            with contextlib.suppress(TimeoutError):
                connection, source = self._socket.accept()
                connection.settimeout(0.1)
                with connection, contextlib.suppress(ConnectionError):
                    self._stream(connection, source)

    def _stream(self, connection: socket.socket, source: tuple[str, int]) -> None:
        while not self._ending:
            with contextlib.suppress(TimeoutError):
                data = connection.recv(65536)
                if not data:
                    return
                answer = self._answer(data, source) if data.strip() else b""
                if answer:
                    connection.sendall(answer)

    def _answer(self, data: bytes, source: tuple[str, int]) -> bytes:
        request = decode(data, source)
        self.requests[request.method] += 1
        self.arrivals.append(time.monotonic())
        self.heads.append(request.start)
        if not self.status or request.method == "ACK":
            return b""
        status = 200 if request.method in ("CANCEL", "BYE") else self.status
        kept = [pair for pair in request.headers if pair[0].lower() in _KEPT]
        to = request.get("To")
        kept.append(("To", to if ";tag=" in to else f"{to};tag={token()}"))
        return Message(f"SIP/2.0 {status} Place", kept).encode()
