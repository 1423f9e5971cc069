"""What is told of the last messages and events: read, chosen and masked when somebody asks.

Holds no secrets when it answers. Knows no socket and draws nothing; `ring` does the remembering.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, NamedTuple, cast

from edgesip.control.mask import masked, masked_text
from edgesip.control.ring import Decided, Entry, Ring, Values
from edgesip.control.rpc import INVALID_PARAMS, PAUSE, Method, RpcFault, text
from edgesip.signal.decision import Challenge, Decision, Drop, Forward, Redirect, Reply, Save
from edgesip.signal.location.usrloc import Binding

TURN = 500
"""Entries read at a time before packets and requests have their turn."""


# ---- reading messages


class Head(NamedTuple):
    """What is needed of a message to show it in one line; empty where it cannot be found."""

    start: str
    call_id: str
    cseq: str
    from_: str
    to: str
    content_type: str


_NAMES = {"call-id": 1, "i": 1, "cseq": 2, "from": 3, "f": 3, "to": 4, "t": 4, "content-type": 5, "c": 5}
_CALL_ID = re.compile(rb"[\r\n](?:call-id|i)[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE)
_USER = re.compile(r"(?:sips?:|tel:)([^@;>:\s]*)", re.IGNORECASE)


def call_id_of(data: bytes) -> str:
    """The Call-ID of a message, or nothing."""
    at = data.find(b"\nCall-ID: ")
    if at >= 0:
        end = data.find(b"\r", at)
        value = data[at + 10 : end if end >= 0 else None]
    else:
        found = _CALL_ID.search(data)
        if found is None:
            return ""
        value = found[1]
    return value.strip().decode("utf-8", "surrogateescape")


def head_of(data: bytes) -> Head:
    """The head of a message, or of what only looks like one."""
    head = data.partition(b"\r\n\r\n")[0].decode("utf-8", "surrogateescape")
    lines = head.replace("\r\n ", " ").replace("\r\n\t", " ").split("\r\n")
    values = [lines[0], "", "", "", "", ""]
    for line in lines[1:]:
        name, _, value = line.partition(":")
        place = _NAMES.get(name.strip().lower())
        if place is not None and not values[place]:
            values[place] = value.strip()
    return Head(*values)


def user_of(value: str) -> str:
    """The user of the first URI in a header value or a start line, in lower case."""
    found = _USER.search(value)
    return found[1].lower() if found is not None else ""


class Wanted:
    """A choice of entries: calls by the beginning of their Call-ID, and everything that a user is named in.

    Neither means all. A call once found for the user stays found: its notes name nobody.
    """

    def __init__(self, user: str, calls: Collection[str]) -> None:
        self._user = user.lower().removeprefix("sip:").removeprefix("sips:").partition("@")[0]
        self._calls = tuple(calls)
        self._found: dict[str, bool] = {}

    def look(self, entry: Entry) -> None:
        """Learn from a message whose call it is; to be done with all entries before the first `takes`."""
        if not self._user or len(entry) != 4:
            return
        call_id = call_id_of(entry[3])
        if not self._found.get(call_id):
            head = head_of(entry[3])
            named = (head.from_, head.to, "" if head.start.startswith("SIP/") else head.start)
            self._found[call_id] = self._user in map(user_of, named)

    def takes(self, entry: Entry) -> bool:
        """True for what is wanted."""
        if not self._user and not self._calls:
            return True
        call_id = call_id_of(entry[3]) if len(entry) == 4 else entry[3]
        if self._found.get(call_id):
            return True
        return bool(self._calls) and call_id.startswith(self._calls)


# ---- what is told


def told(number: int, entry: Entry, wall_offset: float) -> dict[str, Any]:
    """An entry for those who asked, without secrets; times as seconds since the epoch."""
    if len(entry) != 4:
        time, level, event, call_id, fields = entry
        values = _decided(cast(Decided, fields)) if event == "decided" else dict(cast(Values, fields))
        return {
            "seq": number,
            "time": time + wall_offset,
            "kind": "note",
            "call_id": call_id,
            "level": level,
            "event": event,
            "fields": {name: masked_text(str(value)) for name, value in values.items() if name != "exc"},
        }
    time, incoming, flow, data = entry
    shown = masked(data)
    head = head_of(shown)
    return {
        "seq": number,
        "time": time + wall_offset,
        "kind": "message",
        "call_id": head.call_id,
        "direction": "in" if incoming else "out",
        "transport": flow.transport,
        "local": str(flow.local),
        "remote": str(flow.remote),
        "start": head.start,
        "cseq": head.cseq,
        "from": head.from_,
        "to": head.to,
        "content_type": head.content_type,
        "text": shown.decode("utf-8", "surrogateescape"),
    }


NAT_SIGNS = {
    1: "private Contact",
    2: "Via differs",
    4: "private Via",
    8: "private SDP",
    16: "port differs",
    32: "private source",
    64: "WebSocket",
    128: "Contact port differs",
    256: "SDP differs",
    512: "hop differs",
}
"""The bits of nat_uac_test in a few words; what differs, differs from the source address."""


def _decided(one: Decided) -> dict[str, object]:
    """A decision in words."""
    decision, nat, saved, alias, relay, dst = one
    fields: dict[str, object] = {"decision": _in_words(decision)}
    if nat:
        signs = [words for bit, words in NAT_SIGNS.items() if nat & bit]
        fields["nat_uac_test"] = f"{nat} ({', '.join(signs)})"
    if saved and isinstance(decision, Save):
        fields["contact"] = "is reached at its source"
    if alias:
        fields["contact"] = "gets an alias of its source"
    if dst is not None:
        fields["alias"] = f"leads to {dst}"
    if relay:
        fields["media"] = "through the relay"
    return fields


def _in_words(decision: Decision) -> str:
    if isinstance(decision, Forward):
        targets = [_target(one) for one in decision.targets] or ["the request URI"]
        how = " serially" * decision.serial + " statelessly" * decision.stateless
        return f"forward{how} to {', '.join(targets)}"
    if isinstance(decision, Reply):
        return f"reply {decision.status} {decision.reason}".rstrip()
    if isinstance(decision, Challenge):
        return f"challenge {decision.status}{' (stale nonce)' if decision.stale else ''}"
    if isinstance(decision, Redirect):
        return f"redirect {decision.status} to {', '.join(map(_target, decision.contacts))}"
    if isinstance(decision, Drop):
        return "drop"
    return "save the contacts"


def _target(one: object) -> str:
    return f"{one.contact} at {one.received}" if isinstance(one, Binding) else str(one)


# ---- the methods


def methods_for(ring: Ring, wall_offset: Callable[[], float]) -> list[Method]:
    """`siptrace.status` and the two questions about the ring; `wall_offset` is wall minus monotonic clock."""
    asked = _Questions(ring, wall_offset)
    return [
        Method("siptrace.status", asked.status, "siptrace.status on|off|check: whether messages are kept."),
        Method(
            "trace.events",
            asked.events,
            "trace.events [SINCE [USER [CALL-ID...]]]: what came after event SINCE, of a user and of calls.",
        ),
        Method("trace.list", asked.list, "Calls and registrations that are remembered, one entry each."),
    ]


class _Questions:
    def __init__(self, ring: Ring, wall_offset: Callable[[], float]) -> None:
        self._ring = ring
        self._wall_offset = wall_offset

    def status(self, params: list[Any]) -> str:
        order = text(params, 0, "on, off or check")
        if order not in ("on", "off", "check"):
            raise RpcFault(INVALID_PARAMS, "Invalid params: siptrace.status takes on, off or check")
        if order != "check":
            self._ring.on = order == "on"
        return "Enabled" if self._ring.on else "Disabled"

    def events(self, params: list[Any]) -> Iterator[Any]:
        since = params[0] if params else 0
        if isinstance(since, bool) or not isinstance(since, int):
            raise RpcFault(INVALID_PARAMS, "Invalid params: SINCE must be a whole number")
        user = text(params, 1, "USER") if len(params) > 1 else ""
        calls = [text(params, index, "CALL-ID") for index in range(2, len(params))]
        return self._told(self._ring.since(since), Wanted(user, calls), self._ring.last)

    def _told(self, entries: Sequence[tuple[int, Entry]], wanted: Wanted, last: int) -> Iterator[Any]:
        """The entries in order, then the number to ask on with."""
        offset = self._wall_offset()
        for number, entry in entries:
            wanted.look(entry)
            if number % TURN == 0:
                yield PAUSE
        for number, entry in entries:
            if wanted.takes(entry):
                yield told(number, entry, offset)
            if number % TURN == 0:
                yield PAUSE
        yield {"seq": last, "kind": "end"}

    def list(self, params: list[Any]) -> Iterator[Any]:
        return self._listed(self._ring.since(0))

    def _listed(self, entries: Sequence[tuple[int, Entry]]) -> Iterator[Any]:
        calls: dict[str, dict[str, Any]] = {}
        offset = self._wall_offset()
        for number, entry in entries:
            if number % TURN == 0:
                yield PAUSE
            if len(entry) == 4:
                _listed_in(calls, entry[0] + offset, head_of(masked(entry[3])))
        yield from calls.values()


def _listed_in(calls: dict[str, dict[str, Any]], time: float, head: Head) -> None:
    """Count a message to its call: the first request names it, the last answer to that is its status."""
    method = head.cseq.rpartition(" ")[2]
    one = calls.get(head.call_id)
    if one is None:
        one = calls[head.call_id] = {
            "time": time,
            "method": method,
            "from": head.from_,
            "to": head.to,
            "status": "",
            "call_id": head.call_id,
            "messages": 0,
        }
    one["messages"] += 1
    if head.start.startswith("SIP/2.0 ") and method == one["method"]:
        one["status"] = head.start[8:]
