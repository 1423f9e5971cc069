"""Digest authentication (RFC 7616, RFC 8760): challenges made, credentials checked.

Holds the algorithms, and puts nonces and the back-off together with what a password is known by. It refuses
to know where passwords are kept, which status a challenge travels in, and who may do what once the name is
proven.

The order of a check is part of its safety: a nonce that is not ours, or too old, ends it before any name is
looked up and any password weighed; the back-off comes next, and only then the one comparison, which costs the
same for a name that nobody has.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hmac import compare_digest
from typing import NamedTuple

from edgesip.address import Addr, same_host
from edgesip.signal.guard.backoff import Backoff, BackoffSettings
from edgesip.signal.guard.nonces import Nonces, NonceSettings
from edgesip.signal.wire.grammar import ParseError, quote, unquote
from edgesip.signal.wire.message import Request
from edgesip.signal.wire.uri import Uri, parse_uri
from edgesip.store.api import DIGESTS, Credential, digest_of

_MAX_USERNAME = 255
_MAX_LINES = 8
_CACHED_LENGTH = 1024  # longer credentials are read each time, so that a cache of hostile ones stays small
_TOKEN = r"[A-Za-z0-9\-.!%*_+`'~]+"
# One auth-param and the commas before it (RFC 7235 §2.1); never more than linear time.
_PARAM = re.compile(
    rf'[ \t,]*({_TOKEN})[ \t]*=[ \t]*(?:("[^"\\]*(?:\\.[^"\\]*)*")|({_TOKEN}))[ \t]*(?=,|$)', re.DOTALL
).match
_HEX = re.compile("[0-9a-fA-F]+").fullmatch


class Verified(NamedTuple):
    """The sender knows the password of this user name; `info` is for Authentication-Info, where wanted."""

    username: str
    info: str = ""


class Refused(NamedTuple):
    """Ask again. `stale`: it was the nonce that was wrong (RFC 7616 §3.3); `why` is for the log alone."""

    stale: bool
    why: str


@dataclass(frozen=True, slots=True)
class DigestSettings:
    """The `[auth]` slice: `algorithms` from the strongest on; `qop` is what is offered, '' for RFC 2069."""

    algorithms: tuple[str, ...] = ("MD5",)
    qop: str = "auth"
    authinfo: bool = False
    nonces: NonceSettings = field(default_factory=NonceSettings)
    backoff: BackoffSettings = field(default_factory=BackoffSettings)


class _Given:
    """The parameters of one Authorization value that the calculation needs (RFC 7616 §3.4)."""

    __slots__ = ("algorithm", "cnonce", "nc", "nonce", "qop", "response", "uri", "username")

    def __init__(self, params: dict[str, str]) -> None:
        get = params.get
        self.username = get("username", "")
        self.algorithm = get("algorithm", "MD5").upper()
        self.qop = get("qop", "").lower()
        self.response = get("response", "").lower()
        self.nc = get("nc", "")
        self.cnonce = get("cnonce", "")
        self.nonce = get("nonce", "")
        self.uri = get("uri", "")


class Digest:
    """The challenges and checks of one server.

    `secret` keys the nonces; `wall_offset` and `started` are those of `Nonces`. Times are monotonic seconds.
    `remote` is where a request came from.
    """

    def __init__(
        self,
        realm: str,
        secret: bytes,
        settings: DigestSettings = DigestSettings(),
        wall_offset: float = 0.0,
        started: float = 0.0,
    ) -> None:
        self.realm = realm
        self.backoff = Backoff(settings.backoff)
        self.nonces = Nonces(secret, settings.nonces, wall_offset, started)
        # Unknown users are checked against this one, so that they cost what known users cost (threat 11).
        nobody = hashlib.sha256(secret).hexdigest()
        self._nobody = Credential("", "", nobody[:32], nobody, nobody)
        self.counters: dict[str, int] = {
            "auth:verified": 0,
            "auth:refused": 0,
            "auth:stale": 0,
            "auth:held_back": 0,
        }
        self.use(settings)

    def use(self, settings: DigestSettings) -> None:
        """Other settings are in force from now on."""
        self._settings = settings
        self._qops = tuple(settings.qop.split(","))
        qop = f', qop="{settings.qop}"' if settings.qop else ""
        self._tails = {
            stale: tuple([f"{name}{qop}{', stale=true' if stale else ''}" for name in settings.algorithms])
            for stale in (False, True)
        }
        self.nonces.settings = settings.nonces
        self.backoff.settings = settings.backoff

    def gauges(self) -> dict[str, int]:
        """How much is remembered."""
        return {"auth:nonces": len(self.nonces), "auth:backoff_entries": len(self.backoff)}

    # -- asking ------------------------------------------------------------------------------------

    def challenges(
        self, request: Request, remote: Addr, now: float, stale: bool = False, realm: str = ""
    ) -> tuple[str, ...]:
        """The values of WWW-Authenticate or Proxy-Authenticate, one an algorithm (RFC 7616 §3.3)."""
        realm = realm or self.realm
        nonce = self.nonces.issue(realm, request, remote.host, now)
        head = f'Digest realm={quote(realm)}, nonce="{nonce}", algorithm='
        return tuple([head + tail for tail in self._tails[stale]])

    # -- judging -----------------------------------------------------------------------------------

    def check(
        self,
        values: Sequence[str],
        request: Request,
        remote: Addr,
        credential: Callable[[str], Credential | None],
        now: float,
        realm: str = "",
        at_home: Callable[[str], bool] | None = None,
    ) -> Verified | Refused:
        """Judge the Authorization (or Proxy-Authorization) header lines of one request.

        `credential` answers what is stored for a user name, or None. `at_home` says whether the request comes
        from where this user is registered: such are never held back. A wrong password, an unknown user and
        one that is held back end in the same refusal but for `why`.
        """
        realm = realm or self.realm
        given, why = self._select(values, realm)
        if given is None:
            return Refused(False, why)
        fault = self.nonces.fault(given.nonce, realm, request, remote.host, now)
        if fault:
            self.counters["auth:stale"] += 1
            return Refused(True, fault)
        user = given.username.lower()
        held = self.backoff.holds(user, remote, now)
        if held and not (at_home is not None and at_home(given.username)):
            self.counters["auth:held_back"] += 1
            return Refused(False, held)
        stored = credential(given.username)
        known = stored is not None and stored.realm == realm
        kept = stored if stored is not None and known else self._nobody
        ha1 = kept.ha1_by(given.algorithm)
        method = request.method
        matches = compare_digest(_response(ha1, method, given, request.body), given.response)
        aim = given.uri == request.uri or _same_target(given.uri, request.uri)
        if not (matches and known and ha1):
            self.counters["auth:refused"] += 1
            self.backoff.failed(user, remote, now)
            return Refused(False, "wrong password" if known else "unknown user")
        if not aim:
            return Refused(False, "digest uri is not the request's")
        fault = self.nonces.spend(given.nonce, int(given.nc or "0", 16))
        if fault:
            self.counters["auth:stale"] += 1
            return Refused(True, fault)
        self.counters["auth:verified"] += 1
        self.backoff.proved(user, remote, now)
        if not self._settings.authinfo:
            return Verified(given.username)
        return Verified(given.username, self._info(ha1, given, realm, request, remote.host, now))

    def _select(self, values: Sequence[str], realm: str) -> tuple[_Given | None, str]:
        """The first usable credentials for this realm, or why there are none (threat 8)."""
        why = "no credentials for this realm"
        for value in values[:_MAX_LINES]:
            if value.startswith("Digest "):
                rest = value[7:]
            else:
                scheme, _, rest = value.strip().replace("\t", " ").partition(" ")
                if scheme.lower() != "digest":
                    continue
            params = _parameters(rest)
            if params is None:
                why = "malformed credentials"
            elif params.get("realm") == realm:
                given = _Given(params)
                why = self._fault(given)
                if not why:
                    return given, ""
        return None, why

    def _fault(self, given: _Given) -> str:
        """Why these credentials are not in the one form that was asked for, or ''."""
        username = given.username
        if not username or len(username) > _MAX_USERNAME or not username.isprintable():
            return "no usable username"
        if given.algorithm not in self._settings.algorithms:
            return "algorithm was not offered"
        if given.qop not in self._qops:
            return "qop was not offered"
        if len(given.response) != DIGESTS[given.algorithm] or _HEX(given.response) is None:
            return "malformed response"
        if given.qop and (len(given.nc) != 8 or _HEX(given.nc) is None or not given.cnonce):
            return "malformed nc or cnonce"
        if not given.qop:
            given.nc = ""
        return "" if given.nonce and given.uri else "nonce or uri is missing"

    def _info(self, ha1: str, given: _Given, realm: str, request: Request, source: str, now: float) -> str:
        """Authentication-Info: that we know the password too, and the next nonce where each serves once
        (RFC 7616 §3.5)."""
        rspauth = _response(ha1, "", given, b"")
        text = f'rspauth="{rspauth}"'
        if given.qop:
            text = f"qop={given.qop}, {text}, cnonce={quote(given.cnonce)}, nc={given.nc}"
        if self._settings.nonces.one_time:
            text += f', nextnonce="{self.nonces.issue(realm, request, source, now)}"'
        return text


def _ha2(algorithm: str, method: str, uri: str) -> str:
    return digest_of(algorithm, f"{method}:{uri}".encode("utf-8", "surrogateescape"))


_cached_ha2 = lru_cache(maxsize=1024)(_ha2)
"""A phone's REGISTERs have the same one each time (RFC 7616 §3.4.3)."""


def _response(ha1: str, method: str, given: _Given, body: bytes) -> str:
    """The request-digest (RFC 7616 §3.4.1; without qop as RFC 2069 had it)."""
    algorithm, uri = given.algorithm, given.uri
    if given.qop == "auth-int":
        uri = f"{uri}:{digest_of(algorithm, body)}"
    if len(uri) > _CACHED_LENGTH or given.qop == "auth-int":
        ha2 = _ha2(algorithm, method, uri)
    else:
        ha2 = _cached_ha2(algorithm, method, uri)
    between = f"{given.nc}:{given.cnonce}:{given.qop}:" if given.qop else ""
    return digest_of(algorithm, f"{ha1}:{given.nonce}:{between}{ha2}".encode("utf-8", "surrogateescape"))


def _parameters(text: str) -> dict[str, str] | None:
    """name -> value without quotes; None for a bad form or a name given twice.

    What stands between the quoted values is the same in each message of a phone, so it is read once.
    """
    if "\\" in text or len(text) > _CACHED_LENGTH:
        found = _read(text)
        return None if found is None else {name: unquote(value) for name, value in found}
    parts = text.split('"')
    if len(parts) % 2 == 0:
        return None
    shape = _shape(tuple(parts[::2]))
    if shape is None:
        return None
    names, plain = shape
    params = dict(zip(names, parts[1::2], strict=True))
    params.update(plain)
    return params


@lru_cache(maxsize=1024)
def _shape(around: tuple[str, ...]) -> tuple[tuple[str, ...], dict[str, str]] | None:
    """The names of the quoted values that stand between these texts, and the values without quotes."""
    found = _read('""'.join(around))
    if found is None:
        return None
    names = tuple([name for name, value in found if value.startswith('"')])
    return names, {name: value for name, value in found if not value.startswith('"')}


def _read(text: str) -> list[tuple[str, str]] | None:
    """Each name, in lower case, with its value as it stands; None for a bad form or a name given twice."""
    found: list[tuple[str, str]] = []
    at = 0
    while match := _PARAM(text, at):
        name, quoted, plain = match.groups()
        found.append((name.lower(), plain if quoted is None else quoted))
        at = match.end()
    if text[at:].strip(" \t,") or len({name for name, _ in found}) != len(found):
        return None
    return found


def _same_target(one: str, other: str) -> bool:
    """True when both URIs name the same user at the same host and port, whatever their parameters.

    RFC 7616 §3.4.6 asks for the same resource; phones drop or add `transport` and `lr` between the two.
    """
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
