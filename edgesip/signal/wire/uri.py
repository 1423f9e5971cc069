"""SIP, SIPS and tel URIs as values (RFC 3261 §19.1, RFC 3966).

Holds reading, writing, editing and comparing of URIs. Refuses to know what a URI means here: whose it
is, where it leads, or which headers carry it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final
from urllib.parse import unquote_to_bytes

from edgesip.address import bracketed, parse_ip
from edgesip.signal.wire.grammar import MAX_PARAMS, Params, ParseError, digits, params_text

_CACHED_LENGTH: Final = 256  # longer texts are read each time, so that a cache of hostile ones stays small
_ILLEGAL: Final = re.compile(r'[\x00-\x20<>"\\\x7f]').search
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*").fullmatch
_NAME: Final = re.compile(r"[A-Za-z0-9_.\-]+").fullmatch
_PARAM: Final = re.compile(r"[A-Za-z0-9\-_.!~*'()%\[\]/:&+$]+").fullmatch
_TEL: Final = re.compile(r"\+?[0-9A-Fa-f*#().\-]+").fullmatch
_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})")
_RESERVED: Final = frozenset(";/?:@&=+$,%")
_MUST_MATCH: Final = ("transport", "user", "ttl", "method", "maddr")


class Uri:
    """A URI in parts, still escaped; host in lower case, IPv6 without brackets. Never changed once made.

    tel: (and, in name-addr headers only, any foreign scheme) has its number or opaque part in `user`
    and an empty host.
    """

    __slots__ = ("headers", "host", "params", "password", "port", "scheme", "user")

    def __init__(
        self,
        scheme: str,
        user: str | None,
        password: str | None,
        host: str,
        port: int | None,
        params: Params = (),
        headers: str = "",
    ) -> None:
        self.scheme = scheme
        self.user = user
        self.password = password
        self.host = host
        self.port = port
        self.params = params
        self.headers = headers

    def _parts(self) -> tuple[str, str | None, str | None, str, int | None, Params, str]:
        return self.scheme, self.user, self.password, self.host, self.port, self.params, self.headers

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Uri) and self._parts() == other._parts()

    def __hash__(self) -> int:
        return hash(self._parts())

    def __repr__(self) -> str:
        return f"Uri{self._parts()!r}"

    def param(self, name: str) -> str | None:
        """The first parameter of that name, ignoring case: '' when valueless, None when absent."""
        for key, value in self.params:
            if key == name or _plain(key).lower() == name.lower():
                return "" if value is None else value
        return None

    @property
    def username(self) -> str | None:
        """The user part with its escapes undone, once."""
        user = self.user
        return unescape(user) if user is not None and "%" in user else user

    def with_param(self, name: str, value: str | None) -> Uri:
        """The same URI with one more parameter at the end."""
        return self.with_params((*self.params, (name, value)))

    def without_param(self, name: str) -> Uri:
        """The same URI without any parameter of that name."""
        wanted = name.lower()
        return self.with_params(tuple(param for param in self.params if _plain(param[0]).lower() != wanted))

    def with_params(self, params: tuple[tuple[str, str | None], ...]) -> Uri:
        """The same URI with these parameters."""
        return Uri(self.scheme, self.user, self.password, self.host, self.port, params, self.headers)

    def with_host(self, host: str, port: int | None) -> Uri:
        """The same URI at another host and port."""
        named = host.strip("[]").lower()
        return Uri(self.scheme, self.user, self.password, named, port, self.params, self.headers)

    def without_headers(self) -> Uri:
        """The same URI without `?headers`."""
        return Uri(self.scheme, self.user, self.password, self.host, self.port, self.params)

    def __str__(self) -> str:
        text = self.scheme + ":"
        if self.user is not None:
            text += self.user
            if self.password is not None:
                text += ":" + self.password
            if self.host:
                text += "@"
        text += bracketed(self.host)
        if self.port is not None:
            text += f":{self.port}"
        if self.params:
            text += params_text(self.params)
        return f"{text}?{self.headers}" if self.headers else text


def unescape(text: str) -> str:
    """Undo %HH once; octets that are no UTF-8 come out as surrogate escapes."""
    return unquote_to_bytes(text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")


def parse_uri(text: str) -> Uri:
    """Read a sip:, sips: or tel: URI; ParseError 416 for any other scheme, 400 for what is no URI."""
    return _cached(text) if len(text) <= _CACHED_LENGTH else _read(text)


def parse_any_uri(text: str) -> Uri:
    """Like `parse_uri`, but a foreign scheme is carried whole (From, To and Contact may have one)."""
    try:
        return parse_uri(text)
    except ParseError as error:
        if error.status != 416:
            raise
    scheme, _, rest = text.partition(":")
    return Uri(scheme.lower(), rest, None, "", None)


def without_headers(text: str) -> str:
    """The URI as a request line may have it; a Contact's may have `?headers` (RFC 3261 §19.1.5)."""
    if "?" not in text:
        return text
    try:
        uri = parse_uri(text)
    except ParseError:
        return text
    return str(uri.without_headers()) if uri.headers else text


def parse_host(text: str) -> tuple[str, int | None]:
    """Read `host[:port]`: a name, an IPv4 literal or a bracketed IPv6 one, which loses its brackets.

    A name whose last label starts with a digit must be a whole IPv4 literal (RFC 3261 §25.1, toplabel):
    "127.1" or "0x7f.1" are addresses to some resolvers and never names.
    """
    if len(text) > _CACHED_LENGTH:
        raise ParseError("host too long")
    return _cached_host(text)


def _read_host(text: str) -> tuple[str, int | None]:
    if text.startswith("["):
        host, close, rest = text[1:].partition("]")
        host = host.replace(":::", "::")  # RFC 5118 §4.10: a bug of the old grammar, harmless to read
        if not close or ":" not in host or parse_ip(host) is None:
            raise ParseError("bad IPv6 reference")
        if rest and rest[0] != ":":
            raise ParseError("bad host")
        port = rest[1:] if rest else None
    else:
        host, colon, rest = text.partition(":")
        port = rest if colon else None
        if _NAME(host) is None:
            raise ParseError("bad host")
        if host.rstrip(".").rpartition(".")[2][:1].isdigit() and parse_ip(host) is None:
            raise ParseError("bad IPv4 address")
    if port is None:
        return host.lower(), None
    number = digits(port, 65535)
    if number == 0:
        raise ParseError("port 0")
    return host.lower(), number


def _read(text: str) -> Uri:
    scheme, colon, rest = text.partition(":")
    if not colon or _SCHEME(scheme) is None:
        raise ParseError("not a URI")
    if not text.isascii() or _ILLEGAL(rest) is not None:
        raise ParseError("illegal character in URI")
    scheme = scheme.lower()
    if scheme != "sip" and scheme != "sips":
        if scheme == "tel":
            return _read_tel(rest)
        raise ParseError("unsupported URI scheme", 416)
    userinfo, at, where = rest.partition("@")
    user: str | None = None
    password: str | None = None
    if at:
        user, colon, secret = userinfo.partition(":")
        if not user or "@" in where:
            raise ParseError("bad user part in URI")
        if colon:
            password = secret
    else:
        where = rest
    where, _, headers = where.partition("?")
    where, semicolon, tail = where.partition(";")
    host, port = parse_host(where)
    return Uri(scheme, user, password, host, port, _read_params(tail) if semicolon else (), headers)


def _read_tel(rest: str) -> Uri:
    number, semicolon, tail = rest.partition(";")
    if _TEL(number) is None or not number.strip("+-.()"):
        raise ParseError("bad telephone number")
    return Uri("tel", number, None, "", None, _read_params(tail) if semicolon else ())


def _read_params(text: str) -> Params:
    if text.count(";") > MAX_PARAMS:
        raise ParseError("too many parameters")
    params: list[tuple[str, str | None]] = []
    for item in text.split(";"):
        name, equals, value = item.partition("=")
        if _PARAM(name) is not None:
            params.append((name, value if equals else None))
        elif item:
            raise ParseError("bad URI parameter")
    return tuple(params)


_cached = lru_cache(maxsize=1024)(_read)
_cached_host = lru_cache(maxsize=1024)(_read_host)


def _plain(text: str) -> str:
    """Escapes of characters outside the reserved set undone, the rest in one spelling (§19.1.4)."""

    def undo(match: re.Match[str]) -> str:
        char = chr(int(match[1], 16))
        return match[0].upper() if char in _RESERVED or not char.isascii() else char

    return _ESCAPE.sub(undo, text) if "%" in text else text


def _same(one: str | None, other: str | None) -> bool:
    return one == other or (one is not None and other is not None and _plain(one) == _plain(other))


def equivalent(a: Uri, b: Uri) -> bool:
    """True when both URIs are equivalent by RFC 3261 §19.1.4 (an absent port is not 5060)."""
    if a == b:
        return True
    if a.scheme != b.scheme or a.port != b.port:
        return False
    if a.host != b.host and (parse_ip(a.host) is None or parse_ip(a.host) != parse_ip(b.host)):
        return False
    if not _same(a.user, b.user) or not _same(a.password, b.password):
        return False
    ours, theirs = _compared(a.params), _compared(b.params)
    if any(ours.get(name) != theirs.get(name) for name in _MUST_MATCH):
        return False
    if any(ours[name] != theirs[name] for name in ours.keys() & theirs.keys()):
        return False
    return a.headers == b.headers or _headers(a.headers) == _headers(b.headers)


def _compared(params: Params) -> dict[str, str]:
    return {_plain(name).lower(): _plain(value or "").lower() for name, value in reversed(params)}


def _headers(text: str) -> list[tuple[str, str]]:
    pairs = [item.partition("=") for item in text.split("&") if item]
    return sorted((_plain(name).lower(), _plain(value)) for name, _, value in pairs)
