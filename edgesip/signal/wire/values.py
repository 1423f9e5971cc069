"""The values found inside header fields: name-addr, Via and CSeq, read and written (RFC 3261 §20, §25).

Refuses to know which header a value stood in, and messages.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

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

_CACHED_LENGTH = 256
_PROTOCOLS = {f"SIP/2.0/{name}": name for name in ("UDP", "TCP", "TLS", "WS", "WSS")}
_METHODS = frozenset(("INVITE", "ACK", "BYE", "CANCEL", "REGISTER", "OPTIONS"))
_CSEQ_MAX = 2**31 - 1


class NameAddr(NamedTuple):
    """`"display" <uri>;params`: the value of From, To, Contact, Route... (RFC 3261 §20.10)."""

    display: str
    uri: Uri
    params: Params = ()

    @property
    def tag(self) -> str:
        """The tag, or '' when there is none."""
        return find_param(self.params, "tag") or ""

    def param(self, name: str) -> str | None:
        """A header parameter, ignoring case: '' when valueless, None when absent."""
        return find_param(self.params, name.lower())

    def __str__(self) -> str:
        display = quote(self.display) + " " if self.display else ""
        return f"{display}<{self.uri}>{params_text(self.params)}"


class Via(NamedTuple):
    """One hop of the response's way back (RFC 3261 §20.42); IPv6 hosts without brackets."""

    transport: str
    host: str
    port: int | None
    params: Params = ()

    @property
    def branch(self) -> str:
        """The branch, or '' when there is none (RFC 2543 peers)."""
        return find_param(self.params, "branch") or ""

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

    def __str__(self) -> str:
        port = "" if self.port is None else f":{self.port}"
        return f"SIP/2.0/{self.transport} {bracketed(self.host)}{port}{params_text(self.params)}"


class CSeq(NamedTuple):
    """Sequence number (below 2**31) and method (RFC 3261 §8.1.1.5)."""

    number: int
    method: str

    def __str__(self) -> str:
        return f"{self.number} {self.method}"


def _read_name_addr(text: str) -> NameAddr:
    text = text.strip(LWS)
    display = ""
    if text[:1] == '"':
        end = quoted_end(text, 0)
        display = unquote(text[:end])
        start = end + len(text[end:]) - len(text[end:].lstrip(LWS))
        if text[start : start + 1] != "<":
            raise ParseError("no URI after display name")
    else:
        start = text.find("<")
        if start < 0:
            return _read_addr_spec(text)
        display = text[:start].rstrip(LWS)
        if display and any(mark in display for mark in ',;">'):
            raise ParseError("bad display name")
    end = text.find(">", start)
    if end < 0:
        raise ParseError("no > after URI")
    rest = text[end + 1 :].lstrip(LWS)
    if rest and rest[0] != ";":
        raise ParseError("text after URI")
    return NameAddr(display, parse_any_uri(text[start + 1 : end]), parse_params(rest[1:]) if rest else ())


def _read_addr_spec(text: str) -> NameAddr:
    """A URI without <>: what follows the first semicolon belongs to the header (RFC 3261 §20.10)."""
    spec, semicolon, params = text.partition(";")
    spec = spec.rstrip(LWS)
    if "?" in spec or "," in spec:
        raise ParseError("URI with ? or , needs < >")
    return NameAddr("", parse_any_uri(spec), parse_params(params) if semicolon else ())


def _read_via(text: str) -> Via:
    head, semicolon, tail = text.partition(";")
    protocol, _, where = head.partition(" ")
    transport = _PROTOCOLS.get(protocol)
    if transport is None or " " in where or "\t" in where:
        transport, where = _via_with_spaces(head)
    host, port = parse_host(where)
    return Via(transport, host, port, parse_params(tail) if semicolon else ())


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


_cached_name_addr = lru_cache(maxsize=4096)(_read_name_addr)
_cached_via = lru_cache(maxsize=4096)(_read_via)


def parse_name_addr(text: str) -> NameAddr:
    """Read one name-addr or addr-spec with its header parameters; foreign URI schemes are carried."""
    return _cached_name_addr(text) if len(text) <= _CACHED_LENGTH else _read_name_addr(text)


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
