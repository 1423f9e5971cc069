"""One end of a TLS connection as a machine: octets of the wire in, plain octets out, and back. Sans-IO.

Opens no socket and keeps no time: whoever owns the connection carries the octets and limits the handshake.
Octets that came before the handshake are TLS's or an error, never a message (CVE-2023-40217).
"""

from __future__ import annotations

import contextlib
import ssl
from types import MappingProxyType

from edgesip.signal.net.tls_names import Certificate, speaks_for, told_names

RECORD = 16384
"""Octets given to OpenSSL at a time: its buffers never shrink, so they must not grow."""


class TlsError(Exception):
    """The connection cannot go on; the text says why and whose fault it is."""


class TlsSession:
    """A server, or a client when `outward`: it asks for `name` (SNI) and, to `verify`, believes no other.

    `certificate` is the other end's, empty when it showed none or nobody checked it; `ended` when it has
    said that it is done.
    """

    def __init__(
        self, context: ssl.SSLContext, *, outward: bool = False, name: str = "", verify: bool = False
    ) -> None:
        self._arrived = ssl.MemoryBIO()
        self._leaving = ssl.MemoryBIO()
        try:
            self._tls = context.wrap_bio(
                self._arrived, self._leaving, server_side=not outward, server_hostname=name or None
            )
        except ValueError as error:
            raise TlsError(f"{name!r} is no name for a server: {error}") from None
        self._outward = outward
        self._name = name
        self._verify = verify
        self._head = b""
        self._left = 0
        self.certificate: Certificate = {}
        self.established = False
        self.ended = False

    def begin(self) -> None:
        """Say the first word; a server has none."""
        self._shake()

    def receive(self, data: bytes) -> bytes:
        """The plain octets that these octets complete. Raises `TlsError`; `take` may hold an alert then."""
        plain: list[bytes] = []
        self._count(data)
        for start in range(0, len(data), RECORD):
            self._arrived.write(data[start : start + RECORD])
            if self.established or self._shake():
                self._read(plain)
        return b"".join(plain)

    def send(self, plain: bytes) -> bytes:
        """What to put on the wire for these octets; only once `established`."""
        parts: list[bytes] = []
        try:
            for start in range(0, len(plain), RECORD):
                self._tls.write(plain[start : start + RECORD])
                parts.append(self._leaving.read())
        except ssl.SSLError as error:
            raise TlsError(_why(error, self._outward)) from None
        return b"".join(parts)

    def take(self) -> bytes:
        """What TLS itself has to say: handshake, alerts."""
        return self._leaving.read()

    def finish(self) -> bytes:
        """The farewell (close_notify); nothing when there is no session to end."""
        if self.established:
            with contextlib.suppress(ssl.SSLError):
                self._tls.unwrap()
        return self.take()

    @property
    def version(self) -> str:
        """`TLSv1.3`; empty before the end of the handshake."""
        return self._tls.version() or "" if self.established else ""

    @property
    def cipher(self) -> str:
        """OpenSSL's name of the cipher suite; empty before the end of the handshake."""
        found = self._tls.cipher() if self.established else None
        return found[0] if found else ""

    @property
    def pending(self) -> bool:
        """True while a record has begun that is not complete."""
        return bool(self._head or self._left)

    def _count(self, data: bytes) -> None:
        """Follow the records (RFC 8446 §5.1): type, version, and the length in octets 3 and 4."""
        at = 0
        while at < len(data):
            if self._left:
                skipped = min(self._left, len(data) - at)
                self._left -= skipped
            else:
                skipped = 5 - len(self._head)
                self._head += data[at : at + skipped]
                if len(self._head) == 5:
                    self._left, self._head = int.from_bytes(self._head[3:]), b""
            at += skipped

    def _shake(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as error:
            raise TlsError(_why(error, self._outward)) from None
        self.established = True
        self.certificate = self._tls.getpeercert() or {}
        if self._verify and not speaks_for(self.certificate, self._name):
            names = told_names(self.certificate)
            raise TlsError(f"its certificate is for {names}, not for {self._name} (RFC 5922)")
        return True

    def _read(self, plain: list[bytes]) -> None:
        while not self.ended:
            try:
                piece = self._tls.read(RECORD)
            except ssl.SSLWantReadError:
                return
            except ssl.SSLZeroReturnError:
                piece = b""
            except ssl.SSLError as error:
                raise TlsError(_why(error, self._outward)) from None
            if piece:
                plain.append(piece)
            else:
                self.ended = True


_DISTRUSTED = "the other side does not trust our certificate"
_REASONS = MappingProxyType(
    {
        "WRONG_VERSION_NUMBER": "what came is not TLS",
        "HTTP_REQUEST": "what came is HTTP, not TLS",
        "HTTPS_PROXY_REQUEST": "what came is HTTP, not TLS",
        "UNEXPECTED_MESSAGE": "what came is no TLS handshake",
        "BAD_RECORD_TYPE": "what came is not TLS",
        "RECORD_TOO_SMALL": "what came is not TLS",
        "RECORD_LAYER_FAILURE": "what came is not TLS",
        "PACKET_LENGTH_TOO_LONG": "what came is not TLS",
        "UNSUPPORTED_PROTOCOL": "the other side knows no TLS that is new enough (1.2 at least)",
        "VERSION_TOO_LOW": "the other side knows no TLS that is new enough (1.2 at least)",
        "TLSV1_ALERT_PROTOCOL_VERSION": "the other side knows no version of TLS that we do (1.2 at least)",
        "NO_SHARED_CIPHER": "the other side has no cipher in common with tls.cipher_list",
        "SSLV3_ALERT_HANDSHAKE_FAILURE": "the other side has nothing in common with us",
        "PEER_DID_NOT_RETURN_A_CERTIFICATE": "it shows no certificate, and tls.require_certificate wants one",
        "TLSV13_ALERT_CERTIFICATE_REQUIRED": "the other side wants a certificate of ours",
        "TLSV1_ALERT_UNKNOWN_CA": f"{_DISTRUSTED}: it does not know who issued it",
        "SSLV3_ALERT_CERTIFICATE_EXPIRED": f"{_DISTRUSTED}: it takes it for expired",
        "SSLV3_ALERT_CERTIFICATE_UNKNOWN": _DISTRUSTED,
        "SSLV3_ALERT_BAD_CERTIFICATE": _DISTRUSTED,
        "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": f"{_DISTRUSTED}: it cannot use it",
        "TLSV1_UNRECOGNIZED_NAME": "the other side does not know the name that it was asked for",
        "TLSV1_ALERT_UNRECOGNIZED_NAME": "the other side does not know the name that it was asked for",
    }
)


def _why(error: ssl.SSLError, outward: bool) -> str:
    """A sentence for an error of OpenSSL's; its own words where we have none."""
    if isinstance(error, ssl.SSLCertVerificationError):
        unknown = "issuer" in error.verify_message or "self-signed" in error.verify_message
        issuer = "; tls.ca_list does not have its issuer" if unknown else ""
        whose = "its certificate" if outward else "the client's certificate"
        return f"{whose} is not to be believed: {error.verify_message}{issuer}"
    reason = error.reason or ""
    return _REASONS.get(reason, f"TLS failed: {reason.replace('_', ' ').lower() or error}")
