"""Contacts hidden behind an address of ours, and found again: siputils' `encode_contact` and its like.

Two ways: the parts of a Contact in the user of another (`prefix*user*password*ip*port*proto@mask`), or all of
it in a parameter. Nothing is remembered: who holds the masked URI gives it back. It refuses to know which
address of ours stands there, and where a URI leads.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote

from edgesip.address import Flow
from edgesip.signal.nat.repair import first_contact
from edgesip.signal.wire.grammar import ParseError
from edgesip.signal.wire.headers import Headers, replaced
from edgesip.signal.wire.uri import Uri, parse_uri, unescape

_MARK = "*"
_FIELDS = 6


def masked(uri: Uri, prefix: str, host: str) -> Uri:
    """The URI with its parts in the user, at `host`; its other parameters are lost."""
    fields = (
        prefix,
        uri.user or "",
        uri.password or "",
        quote(uri.host, safe=""),
        str(uri.port or ""),
        uri.param("transport") or "",
    )
    user = _MARK.join([field.replace(_MARK, "%2A") for field in fields])
    return parse_uri(str(Uri("sip", user, None, host, None)))


def unmasked(uri: Uri) -> Uri | None:
    """What `masked` was given; None for any other URI."""
    fields = (uri.user or "").split(_MARK)
    if len(fields) != _FIELDS:
        return None
    _, user, password, host, port, transport = [field.replace("%2A", _MARK) for field in fields]
    if not host or (port and not (port.isascii() and port.isdigit())):
        return None
    params = (("transport", transport),) if transport else ()
    found = Uri("sip", user or None, password or None, unescape(host), int(port) if port else None, params)
    return _read(str(found))


def hidden(uri: Uri, param: str, server: Uri) -> Uri:
    """`server` with the whole URI in a parameter: base64 in the alphabet of RFC 4648 §5, no padding."""
    octets = str(uri).encode("utf-8", "surrogateescape")
    return server.with_param(param, base64.urlsafe_b64encode(octets).decode().rstrip("="))


def shown(uri: Uri, param: str) -> Uri | None:
    """What `hidden` was given; None without such a parameter, or with another value."""
    value = uri.param(param) or ""
    try:
        octets = base64.b64decode(value + "=" * (-len(value) % 4), b"-_", validate=True)
        return _read(octets.decode("utf-8", "surrogateescape")) if octets else None
    except (binascii.Error, ValueError):
        return None


def _read(text: str) -> Uri | None:
    try:
        return parse_uri(text)
    except ParseError:
        return None


class Mapping(Protocol):
    """What becomes of a Contact's URI."""

    def uri(self, one: Uri) -> Uri | None:
        """The other URI; None: as it stands."""
        ...


def mapped(headers: Headers, mapping: Mapping) -> Headers:
    """The headers with every Contact's URI as `mapping` has it; `*` and what cannot be read stay."""
    if first_contact(headers) is None:
        return headers
    values = [str(one.with_uri(mapping.uri(one.uri) or one.uri)) for one in headers.contacts]
    if values == headers.values("Contact"):
        return headers
    return headers.altered(replaced(headers.fields, "Contact", values), "contacts")


@dataclass(frozen=True, slots=True)
class Encode:
    """`encode_contact(prefix, host)`."""

    prefix: str
    host: str

    def __str__(self) -> str:
        return f"encode_contact({self.prefix!r}, {self.host!r})"

    def uri(self, one: Uri) -> Uri | None:
        """The masked one."""
        return masked(one, self.prefix, self.host)

    def apply(self, headers: Headers, source: Flow) -> Headers:
        """The headers with it."""
        return mapped(headers, self)


@dataclass(frozen=True, slots=True)
class Decode:
    """`decode_contact_header()`."""

    def __str__(self) -> str:
        return "decode_contact_header()"

    def uri(self, one: Uri) -> Uri | None:
        """The one behind the mask."""
        return unmasked(one)

    def apply(self, headers: Headers, source: Flow) -> Headers:
        """The headers with it."""
        return mapped(headers, self)


@dataclass(frozen=True, slots=True)
class ParamEncode:
    """`contact_param_encode(param, server)`."""

    param: str
    server: str

    def __str__(self) -> str:
        return f"contact_param_encode({self.param!r}, {self.server!r})"

    def uri(self, one: Uri) -> Uri | None:
        """The server's, with this one inside."""
        return hidden(one, self.param, parse_uri(self.server))

    def apply(self, headers: Headers, source: Flow) -> Headers:
        """The headers with it."""
        return mapped(headers, self)


@dataclass(frozen=True, slots=True)
class ParamDecode:
    """`contact_param_decode(param)`."""

    param: str

    def __str__(self) -> str:
        return f"contact_param_decode({self.param!r})"

    def uri(self, one: Uri) -> Uri | None:
        """The one inside."""
        return shown(one, self.param)

    def apply(self, headers: Headers, source: Flow) -> Headers:
        """The headers with it."""
        return mapped(headers, self)


@dataclass(frozen=True, slots=True)
class ParamRemove:
    """`contact_param_rm(param)`."""

    param: str

    def __str__(self) -> str:
        return f"contact_param_rm({self.param!r})"

    def uri(self, one: Uri) -> Uri | None:
        """The one without the parameter."""
        return one.without_param(self.param)

    def apply(self, headers: Headers, source: Flow) -> Headers:
        """The headers with it."""
        return mapped(headers, self)
