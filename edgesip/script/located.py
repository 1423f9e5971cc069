"""Where users are, for scripts: registrar's, path's and outbound's functions.

The rules are the room `signal/location`'s; nothing here changes the table, it notes what shall be changed.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf

from edgesip.script.rooms import Rooms
from edgesip.signal.dialog.state import Leg, other
from edgesip.signal.location.lookup import (
    BY_FLAGS,
    CONNECTED,
    by_gruu,
    connected,
    first_phone,
    flagged,
    matching,
    sent_from,
    taking,
    without_ghosts,
)
from edgesip.signal.location.outbound import GOOD, NONE
from edgesip.signal.location.usrloc import Binding
from edgesip.signal.nat.repair import source_uri
from edgesip.signal.proxy.inbound import Inbound
from edgesip.signal.proxy.path import PathEntry, received_param
from edgesip.signal.wire.grammar import split_list
from edgesip.signal.wire.uri import parse_uri
from edgesip.signal.wire.values import parse_name_addr

NO_ROUTE, NOT_US = -1, -2


def contacts(rooms: Rooms, inbound: Inbound, uri: str, now: float) -> list[Binding]:
    """Bindings that end after `now`: of a URI, a user's name, or the request's URI; of a GRUU its phone's."""
    usrloc = rooms.usrloc
    if uri and uri[:5].partition(":")[0].lower() not in ("sip", "sips", "tel"):
        return usrloc.lookup(usrloc.key_of(uri), now)
    where = parse_uri(uri or inbound.uri)
    if where.params and rooms.lookup.gruu_enabled and where.param("gr") is not None:
        return by_gruu(usrloc, rooms.seals.gruus if rooms.seals is not None else None, where, now)
    return usrloc.lookup(usrloc.key(where.username or "", where.host), now)


def lookup(rooms: Rooms, inbound: Inbound, uri: str, now: float, bflags: int = 0) -> tuple[Binding, ...]:
    """What a request may be forwarded to: as `contacts`, by the rules of `[registrar]`."""
    settings = rooms.lookup
    if settings.use_expired_contacts:
        found = without_ghosts(contacts(rooms, inbound, uri, -inf), now)
    else:
        found = contacts(rooms, inbound, uri, now)
    if settings.lookup_filter_mode & BY_FLAGS:
        found = flagged(found, bflags)
    if settings.lookup_filter_mode & CONNECTED:
        found = connected(found, rooms.lines.alive)
    if settings.method_filtering:
        found = taking(inbound.request.method, found)
    if not settings.append_branches:
        found = first_phone(found)
    if inbound.dialog is not None and len(found) > 1:
        found = _as_it_began(found, inbound.dialog.leg(other(inbound.side)))
    if settings.path_check_local:
        found = [_beyond_us(rooms, one) if one.path else one for one in found]
    return tuple(found)


def _as_it_began(found: list[Binding], far: Leg) -> list[Binding]:
    """The flow that a call was begun over before other flows of its phone."""
    known = [one for one in found if one.ruid == far.ruid or one.flow == far.flow]
    return known + [one for one in found if one not in known]


def _beyond_us(rooms: Rooms, binding: Binding) -> Binding:
    """The binding without the first hop of its Path when that is this server (`path_check_local`)."""
    first, *rest = split_list(binding.path)
    if rooms.myself.is_myself(parse_name_addr(first).uri):
        return replace(binding, path=",".join(rest))
    return binding


def lookup_branches(
    rooms: Rooms, inbound: Inbound, uris: tuple[str, ...], now: float, bflags: int = 0
) -> tuple[object, ...]:
    """Each URI of ours as its bindings, every other as it is."""
    found: list[object] = []
    for uri in uris:
        if rooms.myself.is_myself(parse_uri(uri)):
            found += lookup(rooms, inbound, uri, now, bflags)
        else:
            found.append(uri)
    return tuple(found)


def registered(
    rooms: Rooms,
    inbound: Inbound,
    uri: str,
    match: int,
    match_callid: str,
    match_received: str,
    match_contact: str,
    now: float,
) -> bool:
    """A living binding that has what `match` wants; what is not given is the request's own."""
    found = contacts(rooms, inbound, uri, now)
    if not match or not found:
        return bool(found)
    headers = inbound.request.headers
    contact = str(headers.contacts[0].uri) if headers.contacts else ""
    return bool(
        matching(
            found,
            match,
            match_callid or headers.call_id,
            match_received or source_uri(inbound.flow),
            match_contact or contact,
        )
    )


def reg_from_user(rooms: Rooms, inbound: Inbound, uri: str, mode: int, now: float) -> bool:
    """From's user, or that of a URI, is registered from where this request comes from."""
    return sent_from(contacts(rooms, inbound, uri or _aor(inbound), now), inbound.flow, mode)


def _aor(inbound: Inbound) -> str:
    return str(inbound.request.headers.from_.uri)


def unregister(rooms: Rooms, inbound: Inbound, uri: str, ruid: str, now: float) -> bool:
    """Note what shall leave the table: one binding by its ruid, else all of a user's (To's without a URI)."""
    if ruid:
        one = rooms.usrloc.get(ruid)
        gone = [one] if one is not None else []
    else:
        gone = contacts(rooms, inbound, uri or str(inbound.request.headers.to.uri), now)
    inbound.unregistered += tuple(gone)
    return bool(gone)


def check_flow_token(inbound: Inbound) -> int:
    """outbound's numbers; a forged token (-4) was answered with 403 before any script."""
    if not inbound.own:
        return NOT_US if inbound.foreign else NO_ROUTE
    return GOOD if inbound.token is not None else NONE


def add_path(
    rooms: Rooms, inbound: Inbound, user: str, params: str, received: bool, address: str = ""
) -> bool:
    """Note a Path entry for a REGISTER that goes on: it leads back over the flow that this one came by.

    ParseError for what cannot stand in a URI.
    """
    if inbound.request.method != "REGISTER":
        return False
    tail = ";lr"
    if rooms.seals is not None:
        if user:
            tail += rooms.seals.flows.param(inbound.flow)
        else:
            user = rooms.seals.flows.token(inbound.flow)
            tail += ";ob" if _is_outbound(inbound) else ""
    if received:
        tail += received_param(rooms.path, inbound.flow)
    if params:
        tail += params if params.startswith(";") else f";{params}"
    host = address or "host"
    parse_uri(f"sip:{user}@{host}{tail}" if user else f"sip:{host}{tail}")
    inbound.edits.path += (PathEntry(user, tail, address, rooms.path.enable_r2),)
    return True


def _is_outbound(inbound: Inbound) -> bool:
    """The REGISTER came straight from a phone that wants its flow kept (RFC 5626 §5.1)."""
    headers = inbound.request.headers
    if len(headers.vias) > 1:
        return False
    return headers.star or any(one.param("reg-id") is not None for one in headers.contacts)
