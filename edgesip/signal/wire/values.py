"""The values found inside header fields: name-addr, Via and CSeq, read and written (RFC 3261 §20, §25).

Refuses to know which header a value stood in, and messages.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from edgesip.address import bracketed
from edgesip.signal.wire.grammar import (
    LWS,
    Params,
    ParseError,
    digits,
    find_param,
    is_token,
    params_text,
    parse_params,
    quote,
    quoted_end,
    unquote,
)
from edgesip.signal.wire.uri import Uri, parse_any_uri, parse_host

_CACHED_LENGTH: Final = 256
_CACHED: Final = (
    512  # those of the calls being set up; more would only push other things out of the processor's
)
_PROTOCOLS: Final = {f"SIP/2.0/{name}": name for name in ("UDP", "TCP", "TLS", "WS", "WSS")}
_METHODS: Final = frozenset(("INVITE", "ACK", "BYE", "CANCEL", "REGISTER", "OPTIONS"))
_CSEQ_MAX: Final = 2**31 - 1


class NameAddr:
    """`"display" <uri>;params`: the value of From, To, Contact, Route... (RFC 3261 §20.10).

    Never changed once made; `tag` is '' when there is none.
    """

    __slots__ = ("display", "params", "tag", "uri")

    def __init__(self, display: str, uri: Uri, params: Params = ()) -> None:
        self.display = display
        self.uri = uri
        self.params = params
        self.tag: str = (find_param(params, "tag") or "") if params else ""

    def param(self, name: str) -> str | None:
        """A header parameter, ignoring case: '' when valueless, None when absent."""
        return find_param(self.params, name.lower())

    def with_uri(self, uri: Uri) -> NameAddr:
        """The same with another URI."""
        return NameAddr(self.display, uri, self.params)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, NameAddr)
            and (self.display, self.params) == (other.display, other.params)
            and self.uri == other.uri
        )

    def __hash__(self) -> int:
        return hash((self.display, self.uri, self.params))

    def __repr__(self) -> str:
        return f"NameAddr({self.display!r}, {self.uri!r}, {self.params!r})"

    def __str__(self) -> str:
        display = quote(self.display) + " " if self.display else ""
        return f"{display}<{self.uri}>{params_text(self.params)}"


class Via:
    """One hop of the response's way back (RFC 3261 §20.42); IPv6 hosts without brackets.

    Never changed once made; `branch` is '' when there is none (RFC 2543 peers).
    """

    __slots__ = ("branch", "host", "params", "port", "transport")

    def __init__(self, transport: str, host: str, port: int | None, params: Params = ()) -> None:
        self.transport = transport
        self.host = host
        self.port = port
        self.params = params
        self.branch: str = find_param(params, "branch") or ""

    @property
    def received(self) -> str | None:
        """The address the previous receiver saw, without brackets (RFC 5118 §4.5), or None."""
        value = find_param(self.params, "received")
        return value.strip("[]") if value else None

    @property
    def rport(self) -> str | None:
        """None when absent, '' when asked for, else the port (RFC 3581)."""
        return find_param(self.params, "rport")

    def param(self, name: str) -> str | None:
        """A parameter, ignoring case: '' when valueless, None when absent."""
        return find_param(self.params, name.lower())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Via) and (self.transport, self.host, self.port, self.params) == (
            other.transport,
            other.host,
            other.port,
            other.params,
        )

    def __hash__(self) -> int:
        return hash((self.transport, self.host, self.port, self.params))

    def __repr__(self) -> str:
        return f"Via({self.transport!r}, {self.host!r}, {self.port!r}, {self.params!r})"

    def __str__(self) -> str:
        port = "" if self.port is None else f":{self.port}"
        return f"SIP/2.0/{self.transport} {bracketed(self.host)}{port}{params_text(self.params)}"


class CSeq:
    """Sequence number (below 2**31) and method (RFC 3261 §8.1.1.5), never changed once made."""

    __slots__ = ("method", "number")

    def __init__(self, number: int, method: str) -> None:
        self.number = number
        self.method = method

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CSeq) and self.number == other.number and self.method == other.method

    def __hash__(self) -> int:
        return hash((self.number, self.method))

    def __repr__(self) -> str:
        return f"CSeq({self.number!r}, {self.method!r})"

    def __str__(self) -> str:
        return f"{self.number} {self.method}"


def _read_name_addr(text: str) -> NameAddr:
    text = text.strip(LWS)
    opened = _after_quotes(text) if text[:1] == '"' else 0
    start = text.find("<", opened)
    if start < 0:
        if opened:
            raise ParseError("no URI after display name")
        return _read_addr_spec(text)
    end = text.find(">", start)
    if end < 0:
        raise ParseError("no > after URI")
    rest = text[end + 1 :].lstrip(LWS)
    if rest and rest[0] != ";":
        raise ParseError("text after URI")
    display = _read_display(text[:start], opened) if start else ""
    return NameAddr(display, parse_any_uri(text[start + 1 : end]), parse_params(rest[1:]) if rest else ())


def _after_quotes(text: str) -> int:
    """The index just past the quoted string that a text begins with."""
    second = text.find('"', 1)
    return second + 1 if second > 0 and "\\" not in text else quoted_end(text, 0)


def _read_display(text: str, quoted: int) -> str:
    """The display name that stands before the <; `quoted` is where its quoted string ends, if it is one."""
    if quoted:
        if text[quoted:].strip(LWS):
            raise ParseError("no URI after display name")
        return unquote(text[:quoted])
    display = text.rstrip(LWS)
    if display and any(mark in display for mark in ',;">'):
        raise ParseError("bad display name")
    return display


def _read_addr_spec(text: str) -> NameAddr:
    """A URI without <>: what follows the first semicolon belongs to the header (RFC 3261 §20.10)."""
    spec, semicolon, params = text.partition(";")
    spec = spec.rstrip(LWS)
    if "?" in spec or "," in spec:
        raise ParseError("URI with ? or , needs < >")
    return NameAddr("", parse_any_uri(spec), parse_params(params) if semicolon else ())


def _read_via(text: str) -> Via:
    head, semicolon, tail = text.partition(";")
    transport, host, port = _cached_sent_by(head)
    return Via(transport, host, port, parse_params(tail) if semicolon else ())


def _read_sent_by(head: str) -> tuple[str, str, int | None]:
    protocol, _, where = head.partition(" ")
    transport = _PROTOCOLS.get(protocol)
    if transport is None or " " in where or "\t" in where:
        transport, where = _via_with_spaces(head)
    host, port = parse_host(where)
    return transport, host, port


def _via_with_spaces(head: str) -> tuple[str, str]:
    """Transport and sent-by of a Via with whitespace wherever the grammar allows it (RFC 4475 §3.1.1.1)."""
    parts = [part.strip(LWS) for part in head.replace("\t", " ").split("/", 2)]
    if len(parts) != 3 or not parts[0].isascii() or parts[0].upper() != "SIP" or not is_token(parts[1]):
        raise ParseError("bad protocol in Via")
    transport, _, where = parts[2].partition(" ")
    if not is_token(transport):
        raise ParseError("bad transport in Via")
    host, colon, port = where.strip(LWS).rpartition(":")
    return transport.upper(), f"{host.rstrip(LWS)}:{port.lstrip(LWS)}" if colon else port


_cached_name_addr = lru_cache(maxsize=_CACHED)(_read_name_addr)
_cached_via = lru_cache(maxsize=_CACHED)(_read_via)
_cached_sent_by = lru_cache(maxsize=_CACHED)(_read_sent_by)


def parse_name_addr(text: str) -> NameAddr:
    """Read one name-addr or addr-spec with its header parameters; foreign URI schemes are carried."""
    if len(text) > _CACHED_LENGTH:
        return _read_name_addr(text)
    return _cached_name_addr(text)


def parse_via(text: str) -> Via:
    """Read one Via value."""
    return _cached_via(text) if len(text) <= _CACHED_LENGTH else _read_via(text)


def parse_cseq(text: str) -> CSeq:
    """Read a CSeq value; numbers above 2**31-1 are errors (RFC 3261 §8.1.1.5)."""
    number, _, method = text.partition(" ")
    if method not in _METHODS:
        number, _, method = text.replace("\t", " ").partition(" ")
        method = method.lstrip(LWS)
        if not is_token(method):
            raise ParseError("bad CSeq")
    return CSeq(digits(number, _CSEQ_MAX), method)
