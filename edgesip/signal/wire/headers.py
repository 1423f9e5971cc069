"""Header fields: one flat tuple of names and values, read into typed values only when asked (RFC 3261 §20).

Holds `Headers` and the values found inside: name-addr, Via, CSeq. Refuses to know start lines, bodies,
and which headers a message must have.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
    split_list,
    unquote,
)
from edgesip.signal.wire.names import KNOWN, LISTS, canonical
from edgesip.signal.wire.uri import Uri, parse_any_uri, parse_host

Field = tuple[str, str]

MAX_VALUES = 256  # values of one list header in a message (threat 9)
_CACHED_LENGTH = 256
_PROTOCOLS = {f"SIP/2.0/{name}": name for name in ("UDP", "TCP", "TLS", "WS", "WSS")}
_METHODS = frozenset(("INVITE", "ACK", "BYE", "CANCEL", "REGISTER", "OPTIONS"))
_CSEQ_MAX = 2**31 - 1
_EXPIRES_MAX = 2**32 - 1


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


_UNREAD = -2
_NOBODY = NameAddr("", Uri("", None, None, "", None))


def parse_cseq(text: str) -> CSeq:
    """Read a CSeq value; numbers above 2**31-1 are errors (RFC 3261 §8.1.1.5)."""
    number, _, method = text.partition(" ")
    if method not in _METHODS:
        number, _, method = text.replace("\t", " ").partition(" ")
        method = method.lstrip(LWS)
        if not is_token(method):
            raise ParseError("bad CSeq")
    return CSeq(digits(number, _CSEQ_MAX), method)


class Headers:
    """The header fields of one message, in order; immutable by custom, compared by `fields`.

    Typed properties raise ParseError when the header is missing or bad and are worked out once.
    """

    __slots__ = (
        "_call_id",
        "_contacts",
        "_content_type",
        "_cseq",
        "_first",
        "_from",
        "_max_forwards",
        "_record_routes",
        "_routes",
        "_to",
        "_via",
        "_vias",
        "fields",
    )

    def __init__(self, fields: Iterable[Field]) -> None:
        self.fields: tuple[Field, ...] = tuple(fields)
        self._first: dict[str, str] | None = None
        self._via: Via | None = None
        self._vias: tuple[Via, ...] | None = None
        self._from: NameAddr | None = None
        self._to: NameAddr | None = None
        self._call_id: str | None = None
        self._cseq: CSeq | None = None
        self._contacts: tuple[NameAddr, ...] | None = None
        self._routes: tuple[NameAddr, ...] | None = None
        self._record_routes: tuple[NameAddr, ...] | None = None
        self._max_forwards = _UNREAD
        self._content_type: str | None = None

    @property
    def first(self) -> dict[str, str]:
        """The first value of each name."""
        found = self._first
        if found is None:
            found = dict(self.fields)
            if len(found) != len(self.fields):
                found = dict(self.fields[::-1])
            self._first = found
        return found

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self.fields == other.fields

    def __hash__(self) -> int:
        return hash(self.fields)

    def __repr__(self) -> str:
        return f"Headers({self.fields!r})"

    def __contains__(self, name: str) -> bool:
        return self.get(name) is not None

    def get(self, name: str) -> str | None:
        """The first value of that name (any case or compact form), or None."""
        value = self.first.get(name)
        if value is not None or name in KNOWN:
            return value
        return next(iter(self.all(name)), None)

    def all(self, name: str) -> list[str]:
        """The value of each field line of that name."""
        name = canonical(name)
        if name in KNOWN:
            if name not in self.first:
                return []
            if len(self.first) == len(self.fields):
                return [self.first[name]]
            return [value for key, value in self.fields if key == name]
        name = name.lower()
        return [value for key, value in self.fields if key.lower() == name]

    def values(self, name: str) -> list[str]:
        """The values of a list header over all its lines, empty ones left out; other headers a line each."""
        lines = self.all(name)
        if canonical(name) not in LISTS:
            return lines
        return [value for line in lines for value in split_list(line) if value]

    def altered(self, fields: Sequence[Field], *stale: str) -> Headers:
        """The headers with other fields; what was read stays read, but for the `stale` properties."""
        changed = Headers(fields)
        changed._from, changed._to, changed._call_id = self._from, self._to, self._call_id
        changed._cseq, changed._content_type = self._cseq, self._content_type
        if "via" not in stale:
            changed._via = self._via
        if "vias" not in stale:
            changed._vias = self._vias
        if "contacts" not in stale:
            changed._contacts = self._contacts
        if "routes" not in stale:
            changed._routes = self._routes
        if "record_routes" not in stale:
            changed._record_routes = self._record_routes
        if "max_forwards" not in stale:
            changed._max_forwards = self._max_forwards
        return changed

    def with_vias(self, top: Via, vias: tuple[Via, ...] | None) -> Headers:
        """Tell what the Vias of these fields are, where the maker knows."""
        self._via, self._vias = top, vias
        return self

    def read_mandatory(self) -> CSeq:
        """Read Via, From, To, Call-ID and CSeq now; ParseError for the first that is missing or bad."""
        first = self.first
        try:
            top, caller, callee = first["Via"], first["From"], first["To"]
            call_id, number = first["Call-ID"], first["CSeq"]
        except KeyError as missing:
            raise ParseError(f"no {missing.args[0]}") from None
        if not call_id:
            raise ParseError("no Call-ID")
        if len(first) == len(self.fields) and "," not in top:
            self._via = via = parse_via(top)
            self._vias = (via,)
        else:
            self.vias  # noqa: B018 - read for its errors; the value is kept
        self._from = parse_name_addr(caller)
        self._to = parse_name_addr(callee)
        self._call_id = call_id
        self._cseq = cseq = parse_cseq(number)
        return cseq

    def make_answerable(self, method: str) -> bool:
        """Make what an answer to a faulty request is built from readable; False when it cannot be answered.

        That takes a readable top Via and some text in From, To, Call-ID and CSeq. Of those, and of the
        lower Vias, what cannot be read reads as nobody, CSeq 0 or absent; `fields` keep what was sent.
        """
        if not all(self.first.get(name) for name in ("Via", "From", "To", "Call-ID", "CSeq")):
            return False
        try:
            via = self.via
        except ParseError:
            return False
        try:
            _ = self.vias
        except ParseError:
            self._vias = (via,)
        try:
            _ = self.from_
        except ParseError:
            self._from = _NOBODY
        try:
            _ = self.to
        except ParseError:
            self._to = _NOBODY
        try:
            _ = self.cseq
        except ParseError:
            self._cseq = CSeq(0, method)
        return True

    def _need(self, name: str) -> str:
        value = self.first.get(name)
        if not value:
            raise ParseError(f"no {name}")
        return value

    def _bounded(self, name: str) -> list[str]:
        values = self.values(name)
        if len(values) > MAX_VALUES:
            raise ParseError(f"too many {name} values")
        return values

    @property
    def via(self) -> Via:
        """The top Via."""
        found = self._via
        if found is None:
            found = self._via = parse_via(split_list(self._need("Via"))[0])
        return found

    @property
    def vias(self) -> tuple[Via, ...]:
        """All Vias, top first."""
        found = self._vias
        if found is None:
            top = self.via
            items = [item for line in self.all("Via") for item in split_list(line)]
            if len(items) > MAX_VALUES:
                raise ParseError("too many Via values")
            found = self._vias = (top, *[parse_via(item) for item in items[1:]]) if len(items) > 1 else (top,)
        return found

    @property
    def from_(self) -> NameAddr:
        """From."""
        found = self._from
        if found is None:
            found = self._from = parse_name_addr(self._need("From"))
        return found

    @property
    def to(self) -> NameAddr:
        """To."""
        found = self._to
        if found is None:
            found = self._to = parse_name_addr(self._need("To"))
        return found

    @property
    def call_id(self) -> str:
        """Call-ID."""
        found = self._call_id
        if found is None:
            found = self._call_id = self._need("Call-ID")
        return found

    @property
    def cseq(self) -> CSeq:
        """CSeq."""
        found = self._cseq
        if found is None:
            found = self._cseq = parse_cseq(self._need("CSeq"))
        return found

    @property
    def star(self) -> bool:
        """True when the only Contact is `*`."""
        return self.first.get("Contact") == "*" and self.all("Contact") == ["*"]

    @property
    def contacts(self) -> tuple[NameAddr, ...]:
        """All Contacts in order; none when Contact is `*` or absent."""
        found = self._contacts
        if found is None:
            found = self._contacts = self._read_contacts()
        return found

    @property
    def routes(self) -> tuple[NameAddr, ...]:
        """Route, next hop first."""
        found = self._routes
        if found is None:
            found = self._routes = self._hops("Route")
        return found

    @property
    def record_routes(self) -> tuple[NameAddr, ...]:
        """Record-Route, last proxy first."""
        found = self._record_routes
        if found is None:
            found = self._record_routes = self._hops("Record-Route")
        return found

    def _read_contacts(self) -> tuple[NameAddr, ...]:
        if "Contact" not in self.first or self.star:
            return ()
        return tuple([parse_name_addr(value) for value in self._bounded("Contact")])

    def _hops(self, name: str) -> tuple[NameAddr, ...]:
        if name not in self.first:
            return ()
        hops = tuple([parse_name_addr(value) for value in self._bounded(name)])
        if any(hop.uri.scheme not in ("sip", "sips") for hop in hops):
            raise ParseError(f"{name} is not a SIP URI")
        return hops

    @property
    def max_forwards(self) -> int | None:
        """Max-Forwards; None when absent or above 255, which is no count of hops (RFC 4475 §3.1.2.4)."""
        found = self._max_forwards
        if found == _UNREAD:
            found = self._max_forwards = self._read_max_forwards()
        return None if found < 0 else found

    def _read_max_forwards(self) -> int:
        value = self.first.get("Max-Forwards")
        if value is None:
            return -1
        if not (value.isascii() and value.isdigit()):
            raise ParseError("bad Max-Forwards")
        short = value.lstrip("0") or "0"
        return int(short) if len(short) <= 3 and int(short) <= 255 else -1

    @property
    def expires(self) -> int | None:
        """Expires in seconds, at most 2**32-1; None when absent or malformed (RFC 3261 §10.2.1.1)."""
        value = self.first.get("Expires")
        return None if value is None else parse_seconds(value)

    @property
    def content_type(self) -> str:
        """The media type in lower case without parameters, '' when absent."""
        found = self._content_type
        if found is None:
            value = self.first.get("Content-Type", "").partition(";")[0]
            found = self._content_type = "/".join([part.strip(LWS) for part in value.split("/")]).lower()
        return found


def parse_seconds(text: str) -> int | None:
    """delta-seconds as Expires and the expires parameter have them: clamped at 2**32-1, None if malformed."""
    if not (text.isascii() and text.isdigit()):
        return None
    short = text.lstrip("0") or "0"
    return min(int(short), _EXPIRES_MAX) if len(short) <= 10 else _EXPIRES_MAX


def replaced(fields: Sequence[Field], name: str, values: Sequence[str]) -> list[Field]:
    """All lines of a name given anew, in place of the first; at the end if there was none."""
    name = canonical(name)
    lower = name.lower()
    result: list[Field] = []
    fresh = [(name, value) for value in values]
    for field in fields:
        if field[0] != name and field[0].lower() != lower:
            result.append(field)
        elif fresh:
            result += fresh
            fresh = []
    return result + fresh


def prepended(fields: Sequence[Field], name: str, value: str) -> list[Field]:
    """One line put before the first of that name; where there is none, Via goes to the top, others last."""
    name = canonical(name)
    at = next(
        (at for at, field in enumerate(fields) if field[0] == name), 0 if name == "Via" else len(fields)
    )
    return [*fields[:at], (name, value), *fields[at:]]
