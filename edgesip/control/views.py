"""What a binding and a dialog look like to those who ask: the field names of Kamailio's RPC.

Pure functions of one value, the time and the offset of the wall clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from edgesip.signal.dialog.state import Dialog, Leg
from edgesip.signal.location.binding import NAT_FLAG, Binding
from edgesip.signal.wire.grammar import ParseError
from edgesip.signal.wire.values import parse_name_addr

ALL_METHODS = 0xFFFFFFFF
"""What Kamailio shows for a contact that sent no Allow."""

METHOD_BITS = {
    method: 1 << bit
    for bit, method in enumerate(
        (
            "INVITE",
            "CANCEL",
            "ACK",
            "BYE",
            "INFO",
            "REGISTER",
            "SUBSCRIBE",
            "NOTIFY",
            "MESSAGE",
            "OPTIONS",
            "PRACK",
            "UPDATE",
            "REFER",
            "PUBLISH",
        )
    )
}

BRIEFING = {
    "f": "from_uri",
    "t": "to_uri",
    "c": "call-id",
    "F": "from_tag",
    "T": "to_tag",
    "I": "init_ts",
    "S": "start_ts",
    "E": "end_ts",
    "s": "state",
}
"""The letters of `dlg.briefing` and the fields they ask for."""


class Facts(NamedTuple):
    """What is known of a contact beside what it registered.

    `state` is CS_NEW, CS_DIRTY or CS_SYNC; `connection` the number of its TCP connection, -1 for none;
    `interval` seconds between two pings, 0.0 for none; `more` are fields of others, shown as they are.
    """

    state: str = "CS_SYNC"
    connection: int = -1
    interval: float = 0.0
    more: Mapping[str, Any] = MappingProxyType({})


def contact(binding: Binding, facts: Facts, now: float, wall_offset: float) -> dict[str, Any]:
    """One entry of `Contacts`."""
    return {
        "Address": binding.contact,
        "Expires": _left(binding, now),
        "Q": binding.q,
        "Call-ID": _told(binding.call_id),
        "CSeq": binding.cseq,
        "User-Agent": _told(binding.user_agent),
        "Received": _told(binding.received),
        "Path": _told(binding.path),
        "State": facts.state,
        "Flags": binding.flags,
        "CFlags": binding.cflags | (NAT_FLAG if binding.nated else 0),
        "Socket": f"{binding.flow.transport}:{binding.flow.local}",
        "Methods": _methods(binding.methods),
        "Ruid": binding.ruid,
        "Instance": _told(binding.instance),
        "Reg-Id": binding.reg_id,
        "Server-Id": 0,
        "Tcpconn-Id": facts.connection,
        "Keepalive": int(binding.nated),
        "Last-Keepalive": _wall(binding.last_keepalive, wall_offset),
        "KA-Roundtrip": round(binding.roundtrip * 1e6) if binding.roundtrip is not None else 0,
        "KA-Interval": round(facts.interval, 1),
        "Last-Modified": _wall(binding.last_modified, wall_offset),
        **facts.more,
    }


def _left(binding: Binding, now: float) -> int | str:
    if binding.permanent:
        return "permanent"
    return int(binding.expires - now) if binding.expires > now else "expired"


def dialog(one: Dialog, now: float, wall_offset: float) -> dict[str, Any]:
    """One entry of `dlg.list`; times in seconds since the epoch, 0 when the moment has not come."""
    return {
        "h_entry": one.h_entry,
        "h_id": one.h_id,
        "call-id": one.call_id,
        "from_uri": _uri_of(one.caller.uri),
        "to_uri": _uri_of(one.callee.uri),
        "state": int(one.state),
        "start_ts": _wall(one.start, wall_offset),
        "init_ts": _wall(one.init, wall_offset),
        "end_ts": _wall(one.end, wall_offset),
        "duration": int((one.end or now) - one.start) if one.start else 0,
        "timeout": _wall(one.expires, wall_offset),
        "lifetime": int(one.lifetime),
        "ended_by": one.ended_by,
        "variables": dict(one.variables),
        "caller": _leg(one.caller),
        "callee": _leg(one.callee),
    }


def briefing(one: Dialog, letters: str, now: float, wall_offset: float) -> dict[str, Any]:
    """One entry of `dlg.briefing` with the fields that `letters` ask for."""
    whole = dialog(one, now, wall_offset) | {"from_tag": one.caller.tag, "to_tag": one.callee.tag}
    fields = ["h_entry", "h_id", *(BRIEFING[letter] for letter in letters if letter in BRIEFING)]
    return {field: whole[field] for field in fields}


def _leg(leg: Leg) -> dict[str, Any]:
    return {
        "tag": leg.tag,
        "contact": leg.contact,
        "cseq": leg.cseq,
        "route_set": ", ".join(leg.routes),
        "socket": f"{leg.flow.transport}:{leg.flow.local}" if leg.flow else "",
    }


def _uri_of(header: str) -> str:
    try:
        return str(parse_name_addr(header).uri)
    except ParseError:
        return header


def _told(value: str) -> str:
    return value or "[not set]"


def _wall(moment: float, wall_offset: float) -> int:
    return round(moment + wall_offset) if moment else 0


def _methods(methods: tuple[str, ...]) -> int:
    return sum({METHOD_BITS.get(method, 0) for method in methods}) if methods else ALL_METHODS


def methods_of(bits: int) -> tuple[str, ...]:
    """The methods that a number of Kamailio's stands for; none for 0 and for all of them."""
    if bits == ALL_METHODS:
        return ()
    return tuple([method for method, bit in METHOD_BITS.items() if bits & bit])
