"""Header fields: one flat tuple of names and values, read into typed values only when asked (RFC 3261 §20).

Holds `Headers`. Refuses to know start lines, bodies, and which headers a message must have.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from edgesip.signal.wire.grammar import LWS, ParseError, split_list
from edgesip.signal.wire.names import KNOWN, LISTS, canonical
from edgesip.signal.wire.uri import Uri
from edgesip.signal.wire.values import CSeq, NameAddr, Via, parse_cseq, parse_name_addr, parse_via

Field = tuple[str, str]

MAX_VALUES: Final = 256  # values of one list header in a message (threat 9)
_EXPIRES_MAX: Final = 2**32 - 1


_UNREAD: Final = -2
_NOBODY: Final = NameAddr("", Uri("", None, None, "", None))


class Headers:
    """The header fields of one message, in order; immutable by custom, compared by `fields`.

    Typed properties raise ParseError when the header is missing or bad and are worked out once.
    """

    __slots__ = (
        "_call_id",
        "_contacts",
        "_content_type",
        "_cseq",
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

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self.fields == other.fields

    def __hash__(self) -> int:
        return hash(self.fields)

    def __repr__(self) -> str:
        return f"Headers({self.fields!r})"

    def __contains__(self, name: str) -> bool:
        return self.get(name) is not None

    def find(self, name: str) -> str | None:
        """The first value of a name that is spelled as `fields` have it, or None.

        Headers are asked for a few names in their life, which takes less than to make a dict of all.
        """
        for key, value in self.fields:
            if key == name:
                return value
        return None

    def get(self, name: str) -> str | None:
        """The first value of that name (any case or compact form), or None."""
        value = self.find(name)
        if value is not None or name in KNOWN:
            return value
        return next(iter(self.all(name)), None)

    def all(self, name: str) -> list[str]:
        """The value of each field line of that name."""
        name = canonical(name)
        if name in KNOWN:
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
        changed._via, changed._vias = self._via, self._vias
        changed._contacts, changed._routes = self._contacts, self._routes
        changed._record_routes, changed._max_forwards = self._record_routes, self._max_forwards
        for name in stale:
            if name == "via":
                changed._via = None
            elif name == "vias":
                changed._vias = None
            elif name == "contacts":
                changed._contacts = None
            elif name == "routes":
                changed._routes = None
            elif name == "record_routes":
                changed._record_routes = None
            else:
                changed._max_forwards = _UNREAD
        return changed

    def with_vias(self, top: Via, vias: tuple[Via, ...] | None) -> Headers:
        """Tell what the Vias of these fields are, where the maker knows."""
        self._via, self._vias = top, vias
        return self

    def read_mandatory(self) -> CSeq:
        """Read Via, From, To, Call-ID and CSeq now; ParseError for the first that is missing or bad."""
        top = caller = callee = call_id = number = length = ""
        alone = True
        for name, value in self.fields:
            if name == "Via":
                alone = alone and not top
                top = top or value or " "
            elif name == "From":
                caller = _once(name, caller, value)
            elif name == "To":
                callee = _once(name, callee, value)
            elif name == "Call-ID":
                call_id = _once(name, call_id, value)
            elif name == "CSeq":
                number = _once(name, number, value)
            elif name == "Content-Length":
                length = _once(name, length, value)
        found = (("Via", top), ("From", caller), ("To", callee), ("Call-ID", call_id), ("CSeq", number))
        for name, value in found:
            if not value:
                raise ParseError(f"no {name}")
        if call_id == " ":
            raise ParseError("no Call-ID")
        if alone and "," not in top:
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

        That takes a readable top Via and some text in CSeq, by which the sender knows the answer for its
        own (RFC 3261 §17.1.3). Of From, To, Call-ID, CSeq and the lower Vias, what is missing or cannot be
        read reads as nobody, '', CSeq 0 or absent; `fields` keep what was sent.
        """
        if not (self.find("Via") and self.find("CSeq")):
            return False
        self._call_id = self.find("Call-ID") or ""
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
        value = self.find(name)
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
        return self.find("Contact") == "*" and self.all("Contact") == ["*"]

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
        if self.find("Contact") is None or self.star:
            return ()
        return tuple([parse_name_addr(value) for value in self._bounded("Contact")])

    def _hops(self, name: str) -> tuple[NameAddr, ...]:
        if self.find(name) is None:
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
        value = self.find("Max-Forwards")
        if value is None:
            return -1
        if not (value.isascii() and value.isdigit()):
            raise ParseError("bad Max-Forwards")
        short = value.lstrip("0") or "0"
        return int(short) if len(short) <= 3 and int(short) <= 255 else -1

    @property
    def expires(self) -> int | None:
        """Expires in seconds, at most 2**32-1; None when absent or malformed (RFC 3261 §10.2.1.1)."""
        value = self.find("Expires")
        return None if value is None else parse_seconds(value)

    @property
    def content_type(self) -> str:
        """The media type in lower case without parameters, '' when absent."""
        found = self._content_type
        if found is None:
            value = (self.find("Content-Type") or "").partition(";")[0]
            found = self._content_type = "/".join([part.strip(LWS) for part in value.split("/")]).lower()
        return found


def _once(name: str, before: str, value: str) -> str:
    """The value of what may stand in a message but once; one space for an empty one, which is there too."""
    if before:
        raise ParseError(f"more than one {name}")
    return value or " "


def parse_seconds(text: str) -> int | None:
    """delta-seconds as Expires and the expires parameter have them: clamped at 2**32-1, None if malformed."""
    if not (text.isascii() and text.isdigit()):
        return None
    short = text.lstrip("0") or "0"
    return min(int(short), _EXPIRES_MAX) if len(short) <= 10 else _EXPIRES_MAX


def replaced(fields: Sequence[Field], name: str, values: Sequence[str]) -> list[Field]:
    """All lines of a name given anew, in place of the first; at the end if there was none."""
    name = canonical(name)
    lower = "" if name in KNOWN else name.lower()
    result: list[Field] = []
    fresh = [(name, value) for value in values]
    for field in fields:
        if field[0] != name and not (lower and field[0].lower() == lower):
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
