"""Repair what a phone behind a NAT says of itself: Contact aliases and rewrites (nat.md §2.4, §2.5).

Holds functions from headers to headers and from a URI to where it really leads. A function that finds
nothing to do returns the very object it was given. It refuses to know who is behind a NAT (detect) and
where a message goes next (the core: a Route wins over an alias).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from edgesip.address import Addr, Flow, bracketed, is_sendable, parse_hostport, parse_ip, same_host
from edgesip.signal.wire.grammar import ParseError
from edgesip.signal.wire.headers import Headers, replaced
from edgesip.signal.wire.uri import Uri
from edgesip.signal.wire.values import NameAddr

ALIAS: Final = "alias"
_DIGITS: Final = {"udp": "1", "tcp": "2", "tls": "3", "sctp": "4", "ws": "5", "wss": "6"}
_TRANSPORTS: Final = {digit: name for name, digit in _DIGITS.items()}


def source_uri(flow: Flow) -> str:
    """The URI of the far end of a flow, as the location table keeps it: `sip:ip:port[;transport=x]`."""
    transport = "" if flow.transport == "udp" else f";transport={flow.transport}"
    return f"sip:{flow.remote}{transport}"


def alias_value(source: Addr, transport: str) -> str:
    """`ip~port~P`, IPv6 in brackets; ValueError for a transport that has no digit (nat.md §2.5)."""
    digit = _DIGITS.get(transport.lower())
    if digit is None:
        raise ValueError(f"no alias digit for transport {transport!r}")
    return f"{bracketed(source.host)}~{source.port}~{digit}"


def set_contact_alias(
    headers: Headers, source: Addr, transport: str, *, trim: bool = False, name: str = ALIAS
) -> Headers:
    """Write `;alias=...` at the END of the first Contact's URI, even when it equals the source.

    `name` is what the parameter is called (`alias_name`). `trim` removes the aliases that are there already.
    No Contact, one that cannot be read, `*` and a second call change nothing.
    """
    first = first_contact(headers)
    if first is None:
        return headers
    value = alias_value(source, transport)
    if not trim and first.uri.params[-1:] != ((name, value),):
        plain = _inserted(headers, f";{name}={value}")
        if plain is not None:
            return plain
    uri = _without_aliases(first.uri, name) if trim else first.uri
    if uri.params[-1:] != ((name, value),):
        uri = uri.with_param(name, value)
    return _with_contact(headers, first, uri)


def _inserted(headers: Headers, text: str) -> Headers | None:
    """The one Contact with `text` before its `>`, when it stands as `<uri>...` without headers in the URI."""
    lines = headers.all("Contact")
    if len(lines) != 1:
        return None
    line = lines[0]
    end = line.find(">")
    if line[:1] != "<" or end < 0 or '"' in line or "," in line or "?" in line or line.count(">") > 1:
        return None
    contact = ("Contact", line[:end] + text + line[end:])
    fields = [contact if field[0] == "Contact" else field for field in headers.fields]
    return headers.altered(fields, "contacts")


def add_contact_alias(
    headers: Headers, source: Addr, transport: str, *, even_if_equal: bool = False, name: str = ALIAS
) -> Headers:
    """Write `;alias=...` right after host[:port] of the first Contact's URI, before its other parameters.

    Nothing is written when the Contact's host, port and transport are the source's, unless
    `even_if_equal` (the form with arguments). No Contact, one that cannot be read, `*` and a second call
    change nothing.
    """
    first = first_contact(headers)
    if first is None or (not even_if_equal and _leads_to(first.uri, source, transport)):
        return headers
    param = (name, alias_value(source, transport))
    if first.uri.params[:1] == (param,):
        return headers
    return _with_contact(headers, first, first.uri.with_params((param, *first.uri.params)))


def fix_nated_contact(headers: Headers, source: Addr) -> Headers:
    """Replace host and port of the first Contact by the source's, always with a port; `maddr` is dropped.

    No Contact, one that cannot be read, `*` and a second call change nothing.
    """
    first = first_contact(headers)
    if first is None:
        return headers
    return _with_contact(headers, first, first.uri.with_host(*source).without_param("maddr"))


def handle_ruri_alias(uri: Uri, *, last: bool = False, name: str = ALIAS) -> tuple[Uri, Addr, str] | None:
    """Where an alias leads: (URI without that alias, address, transport); None when there is no alias.

    The first alias counts, or the last one when `last` (a mode other than 0). Raises ParseError when it
    is malformed or names an address nothing can be sent to. A loopback address passes: whether this
    sender may reach it is the caller's question.
    """
    places = [index for index, param in enumerate(uri.params) if param[0] == name]
    if not places:
        return None
    place = places[-1 if last else 0]
    found = read_alias(uri.params[place][1] or "")
    if found is None:
        raise ParseError("malformed alias in request URI")
    address, transport = found
    if not is_sendable(address.host, loopback=True):
        raise ParseError("alias in request URI leads nowhere")
    return uri.with_params(uri.params[:place] + uri.params[place + 1 :]), address, transport


@lru_cache(maxsize=8192)
def read_alias(value: str) -> tuple[Addr, str] | None:
    """The address and transport of `ip~port~P` (nat.md §2.5); None when it is malformed."""
    host, _, rest = value.partition("~")
    port, _, digit = rest.partition("~")
    where, ip, transport = parse_hostport(f"{host}:{port}"), parse_ip(host), _TRANSPORTS.get(digit)
    if where is None or where[1] is None or ip is None or transport is None:
        return None
    return Addr(str(ip), where[1]), transport


def alias_uri(headers: Headers, name: str = ALIAS) -> str:
    """nathelper's `set_alias_to_pv`: where the alias of the only Contact leads, `sip:ip:port;transport=x`.

    Empty without an alias that can be read, and when there is not exactly one Contact.
    """
    first = first_contact(headers)
    if first is None or len(headers.contacts) > 1:
        return ""
    found = read_alias(next((value or "" for key, value in first.uri.params if key == name), ""))
    return f"sip:{found[0]};transport={found[1]}" if found is not None else ""


def add_received(headers: Headers, flow: Flow, *, in_uri: bool = False) -> Headers:
    """nathelper's `add_rcv_param`: each Contact tells the source URI, behind it or in its URI.

    No Contact, one that cannot be read and `*` change nothing.
    """
    if first_contact(headers) is None:
        return headers
    where = source_uri(flow)
    values = [
        str(one.with_uri(one.uri.with_param("received", where)))
        if in_uri
        else str(NameAddr(one.display, one.uri, (*one.params, ("received", f'"{where}"'))))
        for one in headers.contacts
    ]
    return headers.altered(replaced(headers.fields, "Contact", values), "contacts")


def rewritten_contact(headers: Headers, number: int, source: Addr) -> str:
    """nathelper's `@nathelper.rewrite_contact[n]`: the n-th Contact (from 1) with the source's address."""
    if first_contact(headers) is None or not 0 < number <= len(headers.contacts):
        return ""
    one = headers.contacts[number - 1]
    return str(one.with_uri(one.uri.with_host(*source)))


def first_contact(headers: Headers) -> NameAddr | None:
    """The first Contact, when all of them can be read and it names a host."""
    try:
        contacts = headers.contacts
    except ParseError:
        return None
    return contacts[0] if contacts and contacts[0].uri.host else None


def _with_contact(headers: Headers, first: NameAddr, uri: Uri) -> Headers:
    if uri == first.uri:
        return headers
    values = [str(first.with_uri(uri)), *headers.values("Contact")[1:]]
    return headers.altered(replaced(headers.fields, "Contact", values), "contacts")


def _without_aliases(uri: Uri, name: str) -> Uri:
    return uri.with_params(tuple(param for param in uri.params if param[0] != name))


def _leads_to(uri: Uri, source: Addr, transport: str) -> bool:
    """True when the URI itself names this address, port (5060 when absent) and transport."""
    named = (uri.param("transport") or ("tls" if uri.scheme == "sips" else "udp")).lower()
    return same_host(uri.host, source.host) and (uri.port or 5060) == source.port and named == transport
