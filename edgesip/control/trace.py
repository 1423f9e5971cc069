"""The last messages and events in memory: a ring that forgets the oldest, and what is told of it.

Recording keeps a reference to octets that are there anyway; everything else (reading, choosing, masking) is
done when somebody asks. Holds no secrets when it answers. Knows no socket and draws nothing.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, NamedTuple, cast

from edgesip.address import Addr, Flow
from edgesip.control.mask import masked, masked_text
from edgesip.control.rpc import INVALID_PARAMS, PAUSE, Method, RpcFault, text
from edgesip.signal.decision import Challenge, Decision, Drop, Forward, Redirect, Reply, Save
from edgesip.signal.location.usrloc import Binding
from edgesip.signal.nat.keepalive import PING_BRANCH
from edgesip.signal.proxy.inbound import Inbound

MESSAGE_ROOM = 400
NOTE_ROOM = 600
"""Octets that an entry takes besides its message: tuple, time, flow, values."""
SHORTEST = 32
"""Octets of a datagram that can be a message; shorter ones are keepalives."""
_S, _O = b"SO"
_LOOKED = 256
"""Octets in which the Via of a ping stands: an OPTIONS that goes out, or a response that comes in."""
TURN = 500
"""Entries read at a time before packets and requests have their turn."""

Values = tuple[tuple[str, object], ...]


Decided = tuple[Decision, int, bool, bool, bool, Addr | None]
"""What a script decided for one request, and what it found and asked for on the way: the bits of nat_uac_test
that matched, whether the binding is reached at its source, whether the Contact gets an alias, whether media
goes through us, where an alias led."""

Entry = tuple[float, bool, Flow, bytes] | tuple[float, str, str, str, Values | Decided]
"""A message: time, incoming, flow, octets. A note: time, level, event, Call-ID, what belongs to it."""


class Chunk(NamedTuple):
    """Entries that are forgotten together: the number of the first, the octets of all."""

    first: int
    entries: list[Entry]
    octets: int


class Ring:
    """At most `max_events` entries that take about `max_octets` in all; `on` is `trace_on`.

    A message costs an append and a subtraction: sums are made, and the oldest entries forgotten, once for
    every 128th of the room.
    """

    def __init__(self, on: bool, max_octets: int, max_events: int) -> None:
        self.on = on
        self._piece = min(max_octets, max_events * MESSAGE_ROOM) // 128
        self._max_octets = max_octets - self._piece
        self._max_events = max_events - self._piece // MESSAGE_ROOM - 1
        self._chunks: deque[Chunk] = deque()
        self._events = 0
        self._octets = 0
        self._new: list[Entry] = []
        self._first = 1
        self._room = self._piece
        self._requests = 0
        self._replies = 0

    def counters(self) -> dict[str, int]:
        """`traced_requests` and `traced_replies` since the start; entries and octets now."""
        requests, replies = _counted(self._new)
        return {
            "siptrace:traced_requests": self._requests + requests,
            "siptrace:traced_replies": self._replies + replies,
            "siptrace:events": self._events + len(self._new),
            "siptrace:octets": self._octets + self._piece - self._room,
        }

    def message(self, now: float, incoming: bool, flow: Flow, data: bytes) -> None:
        """Remember a message; keepalives and their answers are not worth the room."""
        if not self.on or len(data) < SHORTEST:
            return
        if (data[0] == _S) == incoming and data.find(PING_BRANCH, 0, _LOOKED) >= 0:
            return
        self._new.append((now, incoming, flow, data))
        self._room -= MESSAGE_ROOM + len(data)
        if self._room < 0:
            self._turn()

    def note(self, now: float, level: str, event: str, call_id: str, fields: Values | Decided) -> None:
        """Remember an event: a log line, or a decision that is put into words when somebody asks."""
        if self.on:
            self._new.append((now, level, event, call_id, fields))
            self._room -= NOTE_ROOM
            if self._room < 0:
                self._turn()

    def decided(self, now: float, inbound: Inbound, decision: Decision) -> None:
        """Remember what the script decided for a request."""
        if self.on:
            edits, call_id = inbound.edits, inbound.request.headers.call_id
            found = (decision, inbound.nat, inbound.nated, edits.alias != "", edits.relay, inbound.dst)
            self._new.append((now, "debug", "decided", call_id, found))
            self._room -= NOTE_ROOM
            if self._room < 0:
                self._turn()

    def _turn(self) -> None:
        """Close the chunk and forget as many old ones as it takes; the newest entry stays in any case."""
        chunk = Chunk(self._first, self._new, self._piece - self._room)
        requests, replies = _counted(chunk.entries)
        self._requests += requests
        self._replies += replies
        self._chunks.append(chunk)
        self._events += len(chunk.entries)
        self._octets += chunk.octets
        while len(self._chunks) > 1 and (self._octets > self._max_octets or self._events > self._max_events):
            gone = self._chunks.popleft()
            self._events -= len(gone.entries)
            self._octets -= gone.octets
        self._first += len(self._new)
        self._new = []
        self._room = self._piece

    def since(self, number: int) -> list[tuple[int, Entry]]:
        """The entries after the one of this number, oldest first, each with its number."""
        found: list[tuple[int, Entry]] = []
        for chunk in (*self._chunks, Chunk(self._first, self._new, 0)):
            skip = max(0, number + 1 - chunk.first)
            if skip < len(chunk.entries):
                found += list(enumerate(chunk.entries, chunk.first))[skip:]
        return found

    @property
    def last(self) -> int:
        """The number of the newest entry; 0 before there is one."""
        return self._first + len(self._new) - 1


def _counted(entries: Sequence[Entry]) -> tuple[int, int]:
    """How many requests and responses are among these."""
    begins = [entry[3][:4] for entry in entries if len(entry) == 4]
    replies = begins.count(b"SIP/")
    return len(begins) - replies, replies


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
