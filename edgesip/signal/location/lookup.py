"""Where a user is: the contacts of a URI, as scripts and the proxy ask for them (registrar's `lookup`).

Reads the table and changes nothing. Knows no script and no message but what it is given of one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from edgesip.address import Flow
from edgesip.signal.location.binding import NAT_FLAG
from edgesip.signal.location.gruu import Gruus, instance_of, is_of
from edgesip.signal.location.usrloc import Binding, Usrloc
from edgesip.signal.wire.uri import Uri

BY_FLAGS, CONNECTED = 1, 2
"""The bits of `lookup_filter_mode`."""
CALL_ID, RECEIVED, CONTACT = 1, 2, 4
"""The match bits of `registered`."""


@dataclass(frozen=True, slots=True)
class LookupSettings:
    """The keys of `[registrar]` that a look-up goes by."""

    method_filtering: bool = False
    append_branches: bool = True
    gruu_enabled: bool = True
    path_check_local: bool = False
    use_expired_contacts: bool = False
    lookup_filter_mode: int = 0


def by_gruu(usrloc: Usrloc, gruus: Gruus | None, uri: Uri, now: float) -> list[Binding]:
    """The contacts of the one phone that a GRUU names (RFC 5627 §6.1): several when it has several flows."""
    instance = instance_of(uri)
    if instance:
        rows = usrloc.lookup(usrloc.key(uri.username or "", uri.host), now)
        return first_phone([row for row in rows if row.instance == instance])
    found = gruus.ruid(uri) if gruus is not None else None
    if found is None:
        return []
    binding = usrloc.get(found[0])
    if binding is None or binding.expires <= now or not is_of(found[1], binding):
        return []
    return [binding]


def first_phone(bindings: Sequence[Binding]) -> list[Binding]:
    """The first of them, with the other flows of the same phone (`append_branches` 0)."""
    if not bindings:
        return []
    first = bindings[0]
    return [
        one
        for one in bindings
        if one is first or (first.reg_id and one.reg_id and one.instance == first.instance)
    ]


def taking(method: str, bindings: Iterable[Binding]) -> list[Binding]:
    """Those whose Allow names the method; who said nothing takes everything (`method_filtering`)."""
    return [one for one in bindings if not one.methods or method in one.methods]


def flagged(bindings: Iterable[Binding], flags: int) -> list[Binding]:
    """Those that have one of these branch flags at least, a number of bits; with none every one has."""
    return [one for one in bindings if not flags or flags & flags_of(one)]


def flags_of(binding: Binding) -> int:
    """The branch flags of a contact, that of NAT among them."""
    return binding.cflags | (NAT_FLAG if binding.nated else 0)


def connected(bindings: Iterable[Binding], alive: Callable[[Flow], bool]) -> list[Binding]:
    """Those that are not over a connection, or whose connection is `alive`, or can be made to their proxy."""
    return [one for one in bindings if one.path or one.flow.transport == "udp" or alive(one.flow)]


def without_ghosts(bindings: Sequence[Binding], now: float) -> list[Binding]:
    """The living ones, then those that are over and whose phone has not come back by another one."""
    living = [one for one in bindings if one.expires > now]
    known = {one.contact for one in living} | {(one.instance, one.reg_id) for one in living if one.instance}
    over = [one for one in bindings if one.expires <= now]
    return living + [
        one for one in over if one.contact not in known and (one.instance, one.reg_id) not in known
    ]


def matching(
    bindings: Sequence[Binding], match: int, call_id: str, received: str, contact: str
) -> list[Binding]:
    """Those that have this Call-ID (1), source URI (2) and Contact URI (4), as far as `match` wants."""
    return [
        one
        for one in bindings
        if not (
            (match & CALL_ID and one.call_id != call_id)
            or (match & RECEIVED and one.received != received)
            or (match & CONTACT and one.contact != contact)
        )
    ]


def sent_from(bindings: Iterable[Binding], flow: Flow, mode: int) -> bool:
    """True when one of them was registered from the address of this flow: 1 its port too, 2 its transport."""
    here = flow.remote
    for one in bindings:
        there = one.flow.remote
        port = not mode & 1 or there.port == here.port
        if there.host == here.host and port and (not mode & 2 or one.flow.transport == flow.transport):
            return True
    return False
