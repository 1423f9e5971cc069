"""Thousands of phones on a few sockets of one host: they register, answer every request, and note when.

One thread does all of it, bounded by what it is told; no phone refreshes. Knows no password.
"""

from __future__ import annotations

import re
import selectors
import socket
import threading
import time

from lab.network import Host
from lab.sip import token

_HEADS = re.compile(rb"^(Via|From|To|Call-ID|CSeq): [^\r\n]*\r\n", re.MULTILINE)
_USER = re.compile(rb"^[A-Z]+ sip:([^@]+)@").match


class Crowd:
    """`count` users u0, u1... on `sockets` sockets; `heard` has when each got requests (monotonic seconds).

    Some of them, `silent`, answer nothing once they are registered.
    """

    def __init__(self, host: Host, server: tuple[str, int], count: int, sockets: int = 50) -> None:
        self.server = server
        self.count = count
        self.heard: dict[str, list[float]] = {}
        self.kinds: dict[bytes, int] = {}
        self.registered: set[str] = set()
        self.silent: frozenset[str] = frozenset()
        self._socks = [host.namespace.udp(host.address, 20000 + number) for number in range(sockets)]
        self._address = host.address
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Answer nobody any more."""
        self._ended.set()
        self._thread.join()

    def register(self, rate: float, expires: int = 3600) -> None:
        """All of them, at `rate` a second; those whose answer was lost once more."""
        for _ in range(5):
            missing = [number for number in range(self.count) if f"u{number}" not in self.registered]
            if not missing:
                return
            start = time.monotonic()
            for place, number in enumerate(missing):
                self._sock(number).sendto(self._request(number, expires), self.server)
                ahead = start + place / rate - time.monotonic()
                if ahead > 0:
                    time.sleep(ahead)
            time.sleep(2.0)
        raise AssertionError(f"only {len(self.registered)} of {self.count} were registered")

    def _sock(self, number: int) -> socket.socket:
        return self._socks[number % len(self._socks)]

    def _request(self, number: int, expires: int) -> bytes:
        host, user = self.server[0], f"u{number}"
        here = f"{self._address}:{self._sock(number).getsockname()[1]}"
        return (
            f"REGISTER sip:{host} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP {here};rport;branch=z9hG4bK{token()}\r\n"
            "Max-Forwards: 70\r\n"
            f"From: <sip:{user}@{host}>;tag={user}\r\n"
            f"To: <sip:{user}@{host}>\r\n"
            f"Call-ID: {user}-{token()}\r\n"
            "CSeq: 1 REGISTER\r\n"
            f"Contact: <sip:{user}@{here}>;expires={expires}\r\n"
            "Content-Length: 0\r\n\r\n"
        ).encode()

    def _listen(self) -> None:
        selector = selectors.DefaultSelector()
        for sock in self._socks:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            selector.register(sock, selectors.EVENT_READ)
        while not self._ended.is_set():
            for key, _ in selector.select(0.2):
                assert isinstance(key.fileobj, socket.socket)
                self._read(key.fileobj)
        selector.close()

    def _read(self, sock: socket.socket) -> None:
        for _ in range(100):
            try:
                data = sock.recv(65535)
            except BlockingIOError:
                return
            now = time.monotonic()
            if data.startswith(b"SIP/2.0 200"):
                found = re.search(rb"^From: <sip:([^@]+)@", data, re.MULTILINE)
                assert found is not None
                self.registered.add(found[1].decode())
                continue
            asked = _USER(data)
            kind = data.partition(b" ")[0] if asked else data[:4]
            self.kinds[kind] = self.kinds.get(kind, 0) + 1
            if asked is not None:
                user = asked[1].decode()
                self.heard.setdefault(user, []).append(now)
                if user not in self.silent:
                    heads = b"".join(found[0] for found in _HEADS.finditer(data))
                    sock.sendto(b"SIP/2.0 200 OK\r\n" + heads + b"Content-Length: 0\r\n\r\n", self.server)
