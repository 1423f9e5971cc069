"""Digest authentication (RFC 7616, with the MD5 that phones speak): challenges made, credentials checked.

Holds the realm and the key of its nonces and nothing per client: a nonce carries its own time, and an
HMAC says that it is ours. It refuses to know where passwords are kept, which status a challenge travels
in, and who may do what once the name is proven.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from edgesip.address import same_host
from edgesip.signal.wire.grammar import ParseError, quote, unquote
from edgesip.signal.wire.uri import Uri, parse_uri
from edgesip.store.api import Credential

_NONCE_TIME = 12  # hex digits of the nonce that hold its time in ms; the rest is the MAC
_NONCE_MAC = 32
_HEX = frozenset("0123456789abcdefABCDEF")
_MAX_USERNAME = 255
_MAX_LINES = 8
_TOKEN = r"[A-Za-z0-9\-.!%*_+`'~]+"
# One auth-param and the commas before it (RFC 7235 §2.1); never more than linear time.
_PARAM = re.compile(
    rf'[ \t,]*({_TOKEN})[ \t]*=[ \t]*(?:("[^"\\]*(?:\\.[^"\\]*)*")|({_TOKEN}))[ \t]*(?=,|$)', re.DOTALL
).match


class Verified(NamedTuple):
    """The sender knows the password of this user name."""

    username: str


class Refused(NamedTuple):
    """Ask again. `stale`: password right, nonce not (RFC 7616 §3.3); `why` is for the log alone."""

    stale: bool
    why: str


class _Given(NamedTuple):
    """The parameters of one Authorization value that the calculation needs (RFC 7616 §3.4)."""

    username: str
    nonce: str
    uri: str
    response: str
    cnonce: str
    nc: str


class Digest:
    """One realm's challenges and checks: MD5, qop=auth, stateless nonces.

    `secret` keys the nonces: another secret makes every nonce of this one stale. `nonce_expire` is in
    seconds. Times are monotonic seconds. `peer`, where the caller gives it (the source IP, say), is
    bound into the nonce: credentials overheard on one path are stale on any other.
    """

    def __init__(self, realm: str, secret: bytes, nonce_expire: float = 300.0) -> None:
        self.realm = realm
        self._secret = secret
        self._expire_ms = int(nonce_expire * 1000)
        self._prefix = f'Digest realm={quote(realm)}, nonce="'
        # Unknown users are checked against this one, so that they cost what known users cost (threat 11).
        self._nobody = Credential("", realm, self._mac("nobody", ""), "")

    def challenge(self, now: float, stale: bool = False, *, peer: str = "") -> str:
        """The value of a WWW-Authenticate or Proxy-Authenticate header (RFC 7616 §3.3)."""
        tail = '", algorithm=MD5, qop="auth"'
        if stale:
            tail += ", stale=true"
        return f"{self._prefix}{self._nonce(now, peer)}{tail}"

    def check(
        self,
        values: Sequence[str],
        method: str,
        request_uri: str,
        credential: Callable[[str], Credential | None],
        now: float,
        *,
        peer: str = "",
    ) -> Verified | Refused:
        """Judge the Authorization (or Proxy-Authorization) header lines of one request.

        `credential` answers what is stored for a user name, or None. A wrong password and an unknown
        user take the same steps and end in the same refusal but for `why`.
        """
        given = self._select(values)
        if isinstance(given, Refused):
            return given
        stored = credential(given.username)
        known = stored is not None and stored.realm == self.realm
        ha1 = stored.ha1 if stored is not None and known else self._nobody.ha1
        expected = _response(ha1, method, given)
        matches = hmac.compare_digest(expected.encode(), given.response.encode())
        aim = _same_target(given.uri, request_uri)
        fault = self._nonce_fault(given.nonce, now, peer)
        if not (matches and known):
            return Refused(False, "wrong password" if known else "unknown user")
        if not aim:
            return Refused(False, "digest uri is not the request's")
        if fault:
            return Refused(True, fault)
        return Verified(given.username)

    def _select(self, values: Sequence[str]) -> _Given | Refused:
        """The first well-formed credentials for our realm, or why there are none (threat 8)."""
        why = "no credentials for this realm"
        for value in values[:_MAX_LINES]:
            scheme, _, rest = value.strip().replace("\t", " ").partition(" ")
            if scheme.lower() != "digest":
                continue
            params = _parameters(rest)
            if params is None:
                why = "malformed credentials"
            elif params.get("realm") == self.realm:
                return _given(params)
        return Refused(False, why)

    def _nonce(self, now: float, peer: str) -> str:
        time = f"{int(now * 1000):0{_NONCE_TIME}x}"
        return time + self._mac(time, peer)

    def _mac(self, time: str, peer: str) -> str:
        """32 hex digits: HMAC-SHA256 over time, realm and peer, cut to 128 bits (RFC 7616 §5.4)."""
        text = "\0".join((time, self.realm, peer)).encode("utf-8", "surrogateescape")
        return hmac.digest(self._secret, text, "sha256").hex()[:_NONCE_MAC]

    def _nonce_fault(self, nonce: str, now: float, peer: str) -> str:
        """Why this nonce is not to be taken, or '' when it is ours, for this peer and fresh."""
        time, mac = nonce[:_NONCE_TIME], nonce[_NONCE_TIME:]
        if not hmac.compare_digest(mac.encode("utf-8", "replace"), self._mac(time, peer).encode()):
            return "nonce is not ours or was given to another"
        age = int(now * 1000) - int(time, 16)
        return "" if 0 <= age < self._expire_ms else "nonce has expired"


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _response(ha1: str, method: str, given: _Given) -> str:
    """The request-digest for qop=auth (RFC 7616 §3.4.1)."""
    ha2 = _md5(f"{method}:{given.uri}".encode("utf-8", "surrogateescape"))
    text = f"{ha1}:{given.nonce}:{given.nc}:{given.cnonce}:auth:{ha2}"
    return _md5(text.encode("utf-8", "surrogateescape"))


def _parameters(text: str) -> dict[str, str] | None:
    """name -> value without quotes; None for a bad form or a name given twice."""
    found: dict[str, str] = {}
    at = 0
    while match := _PARAM(text, at):
        name, quoted, plain = match.groups()
        name = name.lower()
        if name in found:
            return None
        found[name] = plain if quoted is None else unquote(quoted)
        at = match.end()
    return found if not text[at:].strip(" \t,") else None


def _given(params: dict[str, str]) -> _Given | Refused:
    """The parameters we calculate with, each in the one form that we challenged for."""
    username = params.get("username", "")
    if not username or len(username) > _MAX_USERNAME or not _is_text(username):
        return Refused(False, "no usable username")
    if params.get("algorithm", "MD5").upper() != "MD5":
        return Refused(False, "algorithm was not offered")
    if params.get("qop", "").lower() != "auth":
        return Refused(False, "qop=auth was not used")
    response, nc, cnonce = params.get("response", ""), params.get("nc", ""), params.get("cnonce", "")
    if len(response) != 32 or not _HEX.issuperset(response):
        return Refused(False, "malformed response")
    if len(nc) != 8 or not _HEX.issuperset(nc) or not cnonce:
        return Refused(False, "malformed nc or cnonce")
    nonce, uri = params.get("nonce", ""), params.get("uri", "")
    if not nonce or not uri:
        return Refused(False, "nonce or uri is missing")
    return _Given(username, nonce, uri, response.lower(), cnonce, nc)


def _is_text(username: str) -> bool:
    """A name a store can look up: valid UTF-8 without controls."""
    try:
        username.encode()
    except UnicodeEncodeError:
        return False
    return username.isprintable()


def _same_target(one: str, other: str) -> bool:
    """True when both URIs name the same user at the same host and port, whatever their parameters.

    RFC 7616 §3.4.6 asks for the same resource; phones drop or add `transport` and `lr` between the two.
    """
    if one == other:
        return True
    try:
        first, second = parse_uri(one), parse_uri(other)
    except ParseError:
        return False
    return (
        first.scheme == second.scheme
        and first.username == second.username
        and same_host(first.host, second.host)
        and _port(first) == _port(second)
    )


def _port(uri: Uri) -> int:
    return uri.port or (5061 if uri.scheme == "sips" else 5060)
