"""A server of somebody else's that speaks TLS and waits for our connections; who shows which certificate."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time

from authority import Authority, Issued

from lab.network import SERVER, SERVER6, Host
from lab.sip import Message, decode


def tls_settings(authority: Authority, **more: str) -> dict[str, str]:
    """The `--set`s of a server that proves its addresses, and believes this issuer.

    Linphone's TLS library knows no addresses in certificates: it takes the text of one for a name.
    """
    issued = authority.issue(f"IP:{SERVER}", f"IP:{SERVER6}", f"DNS:{SERVER}")
    return {
        "tls.certificate": str(issued.certificate),
        "tls.private_key": str(issued.private_key),
        "tls.ca_list": str(authority.ca),
        **more,
    }


def context_of(issued: Issued, purpose: int = ssl.PROTOCOL_TLS_SERVER) -> ssl.SSLContext:
    """What an end shows that has this certificate; it believes every other end."""
    context = ssl.SSLContext(purpose)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(issued.certificate, issued.private_key)
    return context


class Trunk:
    """Listens on `host`, port 5061, and takes connections one after the other."""

    def __init__(self, host: Host, issued: Issued) -> None:
        self.host = host
        self._context = context_of(issued)
        with host.namespace.inside():
            self._listener = socket.create_server((host.address, 5061))

    def close(self) -> None:
        self._listener.close()

    def accept(self, wait: float = 10.0) -> ssl.SSLSocket:
        """The next connection, TLS agreed on; OSError when the other end does not want it."""
        self._listener.settimeout(wait)
        sock, _ = self._listener.accept()
        sock.settimeout(wait)
        self.host.namespace.keep(sock)
        wrapped = self._context.wrap_socket(sock, server_side=True)
        self.host.namespace.keep(wrapped)
        return wrapped

    def has_visitor(self, wait: float) -> bool:
        """Whether anybody connects within `wait` seconds; who does is sent away."""
        self._listener.settimeout(wait)
        with contextlib.suppress(TimeoutError):
            self._listener.accept()[0].close()
            return True
        return False


def read_message(sock: ssl.SSLSocket, wait: float = 10.0) -> Message:
    """The next whole message on a connection, which carries nothing behind it."""
    data, end = b"", time.monotonic() + wait
    while b"\r\n\r\n" not in data or len(data) < _size(data):
        sock.settimeout(max(end - time.monotonic(), 0.001))
        chunk = sock.recv(65536)
        if not chunk:
            raise ConnectionResetError(f"closed after {data[:80]!r}")
        data += chunk
    return decode(data[: _size(data)], sock.getpeername()[:2])


def _size(data: bytes) -> int:
    head, _, _ = data.partition(b"\r\n\r\n")
    length = int(decode(data, ("", 0)).get("Content-Length") or 0)
    return len(head) + 4 + length
