"""The certificates of this server: read from files, tried out, and taken up again when the files change.

Gives `TlsSession`s for connections that begin; those that go on keep the context that they began with. A file
that cannot be used keeps what was there before. Knows no connection.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from edgesip.signal.net.tls_names import all_names
from edgesip.signal.net.tls_session import TlsError, TlsSession

LOOK = 1.0
"""Seconds between two looks at the files; a change is taken up when the next look finds no further one."""
SOON = 14 * 86400.0
"""Seconds before the end of a certificate from which on we say so, once a day."""
_DAY = 86400.0
_NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME, which ssl does not name
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"

COUNTERS = ("tls:reloads", "tls:reloads_failed")
GAUGES = ("tls:certificates", "tls:certificates_ending")

Log = Callable[[str, str, dict[str, Any]], None]
Stamps = tuple[tuple[int, int, int] | None, ...]


class CertificateError(Exception):
    """Files that cannot be used; `key` is the profile's that names them, the text says what to do."""

    def __init__(self, key: str, why: str) -> None:
        super().__init__(why)
        self.key = key


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate with its key, for clients that ask for `domain`; the empty one for all others."""

    domain: str
    certificate: Path
    private_key: Path

    def key(self, name: str) -> str:
        """The profile's key of one of the files."""
        return "tls.domain" if self.domain else f"tls.{name}"


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """The `[tls]` slice, its default pair first; `clients` says whether they are asked for a certificate."""

    pairs: tuple[Pair, ...]
    ca_list: Path | None = None
    cipher_list: str = ""
    verify_certificate: bool = True
    clients: ssl.VerifyMode = ssl.CERT_NONE


class Shown(NamedTuple):
    """What an operator wants to know of a certificate; times in seconds since the epoch."""

    domain: str
    file: str
    names: tuple[str, ...]
    issuer: str
    serial: str
    not_before: float
    not_after: float

    @property
    def until(self) -> str:
        """The end of its life, for people."""
        return told_time(self.not_after)


class _Loaded(NamedTuple):
    """One generation: contexts by domain, the one for connections that we open, and what is in them."""

    servers: dict[str, ssl.SSLContext]
    client: ssl.SSLContext
    shown: tuple[Shown, ...]


class Certificates:
    """All certificates; `wall` is the wall clock. Raises `CertificateError` when they cannot be used."""

    def __init__(self, settings: TlsSettings, wall: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._wall = wall
        self._tried = self._seen = self._stamps()
        self._warned = 0.0
        self._loaded = self._load()
        self.counters: dict[str, int] = dict.fromkeys(COUNTERS, 0)

    @property
    def shown(self) -> tuple[Shown, ...]:
        """The certificates in use for new connections, the default one first."""
        return self._loaded.shown

    def gauges(self) -> dict[str, int]:
        """Certificates in use, and those among them that end soon."""
        return dict(zip(GAUGES, (len(self.shown), len(self.ending())), strict=True))

    def server_session(self) -> TlsSession:
        """For a connection that was accepted."""
        return TlsSession(self._loaded.servers[""])

    def client_session(self, name: str) -> TlsSession:
        """For a connection that we open to `name`. Raises `TlsError`."""
        return TlsSession(
            self._loaded.client, outward=True, name=name, verify=self._settings.verify_certificate
        )

    # -- again -------------------------------------------------------------------------------------

    async def watch(self, write: Log) -> None:
        """Look at the files for ever."""
        self.tell_ends(write)
        while True:
            await asyncio.sleep(LOOK)
            if self.changed():
                self.reload(write)
            if self._wall() - self._warned > _DAY:
                self.tell_ends(write)

    def changed(self) -> bool:
        """True once the files are others than those we tried last, and the same as at the look before.

        Who writes a certificate and its key takes a moment: between the two they do not fit.
        """
        before, self._seen = self._seen, self._stamps()
        return self._seen == before != self._tried

    def reload(self, write: Log) -> str:
        """Read the files anew; why they cannot be used, in which case all stays as it was, else nothing."""
        self._tried = self._stamps()
        try:
            self._loaded = self._load()
        except CertificateError as error:
            self.counters["tls:reloads_failed"] += 1
            write("error", "certificates not taken up", {"key": error.key, "why": str(error)})
            return f"{error.key}: {error}"
        self.counters["tls:reloads"] += 1
        for one in self.shown:
            names = ", ".join(one.names)
            write("info", "certificate taken up", {"file": one.file, "names": names, "until": one.until})
        self.tell_ends(write)
        return ""

    def ending(self) -> list[str]:
        """A sentence for each certificate that ends soon."""
        now = self._wall()
        return [
            f"{one.file}: this certificate {'ends' if one.not_after > now else 'ended'} on {one.until}: renew"
            for one in self.shown
            if one.not_after - now < SOON
        ]

    def tell_ends(self, write: Log) -> None:
        """The same, in the log."""
        self._warned = self._wall()
        for sentence in self.ending():
            write("warning", "certificate ends soon", {"why": sentence})

    # -- files -------------------------------------------------------------------------------------

    def _stamps(self) -> Stamps:
        """What tells a file from the one that was there before, for all files."""
        settings = self._settings
        files = [path for pair in settings.pairs for path in (pair.certificate, pair.private_key)]
        return tuple(_stamp(path) for path in (*files, settings.ca_list) if path is not None)

    def _load(self) -> _Loaded:
        settings = self._settings
        servers: dict[str, ssl.SSLContext] = {}
        shown: list[Shown] = []
        for pair in settings.pairs:
            context = _with_pair(ssl.PROTOCOL_TLS_SERVER, pair, settings.cipher_list)
            shown.append(self._tried_out(pair, context))
            self._ask_clients(context)
            servers[pair.domain] = context
        servers[""].sni_callback = self._choose
        client = _with_pair(ssl.PROTOCOL_TLS_CLIENT, settings.pairs[0], settings.cipher_list)
        client.check_hostname = False  # RFC 5922 has rules of its own: the session sees to them
        client.verify_mode = ssl.CERT_REQUIRED if settings.verify_certificate else ssl.CERT_NONE
        if settings.verify_certificate:
            self._trust(client)
        return _Loaded(servers, client, tuple(shown))

    def _ask_clients(self, context: ssl.SSLContext) -> None:
        context.verify_mode = self._settings.clients
        if self._settings.clients is not ssl.CERT_NONE:
            self._trust(context)

    def _trust(self, context: ssl.SSLContext) -> None:
        """The issuers that are believed: `ca_list`, without one the system's."""
        path = self._settings.ca_list
        if path is None:
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
            return
        _read(path, "tls.ca_list", "CERTIFICATE")
        try:
            context.load_verify_locations(cafile=str(path))
        except (ssl.SSLError, OSError, ValueError) as error:
            raise CertificateError(
                "tls.ca_list", f"{path}: no certificates can be read there: {error}"
            ) from None

    def _choose(self, tls: Any, name: str | None, _: ssl.SSLContext) -> None:
        """The client has said which server it wants (SNI): that one's certificate, when we have one."""
        chosen = self._loaded.servers.get((name or "").lower().rstrip("."))
        if chosen is not None and name:
            tls.context = chosen

    def _tried_out(self, pair: Pair, context: ssl.SSLContext) -> Shown:
        """One handshake with ourselves: it works, and shows what is in the certificate."""
        key, file = pair.key("certificate"), pair.certificate
        try:
            shown = _shown(pair, _shaken(context, _first_certificate(file, key)))
        except (TlsError, ssl.SSLError, ValueError) as error:
            raise CertificateError(key, f"{file}: no client could use this certificate: {error}") from None
        now = self._wall()
        if shown.not_after <= now:
            raise CertificateError(key, f"{file}: this certificate ended on {shown.until}: renew")
        if shown.not_before > now:
            begin = told_time(shown.not_before)
            raise CertificateError(
                key, f"{file}: this certificate begins on {begin}: is the clock of this host right?"
            )
        if pair.domain and not {pair.domain, f"*.{pair.domain.partition('.')[2]}"} & set(shown.names):
            names = ", ".join(shown.names) or "nobody"
            raise CertificateError(
                key,
                f"{file}: this certificate is for {names}, not for {pair.domain}: clients would refuse it",
            )
        return shown


def _shown(pair: Pair, found: Mapping[str, Any]) -> Shown:
    """What is in a certificate; ValueError when its dates are none."""
    return Shown(
        pair.domain,
        str(pair.certificate),
        all_names(found),
        ", ".join(f"{name}={value}" for row in found.get("issuer", ()) for name, value in row),
        str(found.get("serialNumber", "")),
        float(ssl.cert_time_to_seconds(found["notBefore"])),
        float(ssl.cert_time_to_seconds(found["notAfter"])),
    )


def told_time(moment: float) -> str:
    """A moment for people, in UTC."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(moment))


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read(path: Path, key: str, kind: str) -> str:
    """The text of a PEM file that has to hold a `kind`."""
    try:
        text = path.read_bytes().decode("latin-1")
    except OSError as error:
        advice = {2: "; is the path right?", 13: "; the server's user has to be allowed to read it"}
        raise CertificateError(
            key, f"{path}: cannot be read: {error.strerror}{advice.get(error.errno or 0, '')}"
        ) from None
    if f"{kind}-----" not in text or "-----BEGIN " not in text:
        what = "a certificate" if kind == "CERTIFICATE" else "a private key"
        holds = "a private key" if "PRIVATE KEY-----" in text else "something else"
        holds = "a certificate" if "CERTIFICATE-----" in text else holds
        raise CertificateError(key, f"{path}: {what} in PEM form must be there, and what is there is {holds}")
    return text


def _first_certificate(path: Path, key: str) -> str:
    """The server's own certificate, which stands before those of its issuers."""
    text = _read(path, key, "CERTIFICATE")
    start = text.find(_BEGIN)
    end = text.find(_END, start)
    if start < 0 or end < 0:
        raise CertificateError(key, f"{path}: the first certificate there has no beginning or no end")
    return text[start : end + len(_END)] + "\n"


def _with_pair(protocol: int, pair: Pair, ciphers: str) -> ssl.SSLContext:
    """A context with a certificate and its key in it."""
    _read(pair.certificate, pair.key("certificate"), "CERTIFICATE")
    _read(pair.private_key, pair.key("private_key"), "PRIVATE KEY")
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    if ciphers:
        try:
            context.set_ciphers(ciphers)
        except ssl.SSLError:
            raise CertificateError("tls.cipher_list", f"{ciphers!r}: OpenSSL knows none of these") from None
    try:
        context.load_cert_chain(str(pair.certificate), str(pair.private_key), password=_no_password)
    except _Encrypted:
        raise CertificateError(
            pair.key("private_key"),
            f"{pair.private_key}: this key has a password, which nobody could type: write it without one"
            " (openssl pkey -in OLD -out NEW)",
        ) from None
    except (ssl.SSLError, OSError, ValueError) as error:
        raise CertificateError(*_unusable(pair, error)) from None
    return context


def _unusable(pair: Pair, error: Exception) -> tuple[str, str]:
    reason = getattr(error, "reason", "") or ""
    if reason == "KEY_VALUES_MISMATCH":
        why = f"{pair.private_key}: this key is not the one of the certificate {pair.certificate}"
        return pair.key("private_key"), f"{why}: name the key that the certificate was requested with"
    if reason == "EE_KEY_TOO_SMALL":
        why = f"{pair.certificate}: the key is too short to be safe: take RSA with 2048 bits, or P-256"
        return pair.key("certificate"), why
    text = reason.replace("_", " ").lower() or str(error)
    text = "one of the two is damaged" if "lib (" in text else text
    return pair.key("certificate"), f"{pair.certificate}, {pair.private_key}: cannot be used: {text}"


class _Encrypted(Exception):
    pass


def _no_password() -> str:
    raise _Encrypted


def _shaken(context: ssl.SSLContext, pem: str) -> dict[str, Any]:
    """The certificate as a client sees it that believes it as it is, whatever its dates."""
    believer = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    believer.check_hostname = False
    believer.set_ciphers("ALL:@SECLEVEL=0")
    believer.verify_flags = ssl.VerifyFlags(ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME)
    believer.load_verify_locations(cadata=pem)
    client, server = TlsSession(believer, outward=True), TlsSession(context)
    client.begin()
    for _ in range(4):
        server.receive(client.take())
        client.receive(server.take())
    return dict(client.certificate)
