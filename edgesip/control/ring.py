"""The last messages and events in memory: a ring that forgets the oldest.

Recording keeps a reference to octets that are there anyway, and is done for every message; the octets of many
are then put together, so that they take little room and leave no holes. Refuses to read what it keeps, and to
know who asks for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

from edgesip.address import Addr, Flow
from edgesip.signal.decision import Decision
from edgesip.signal.nat.keepalive import PING_BRANCH
from edgesip.signal.proxy.inbound import Inbound

MESSAGE_ROOM: Final = 400
NOTE_ROOM: Final = 600
"""Octets that an entry takes besides its message: tuple, time, flow, values."""
SHORTEST: Final = 32
"""Octets of a datagram that can be a message; shorter ones are keepalives."""
_S, _O = b"SO"
_LOOKED: Final = 256
"""Octets in which the Via of a ping stands: an OPTIONS that goes out, or a response that comes in."""
Values = tuple[tuple[str, object], ...]


Decided = tuple[Decision, int, bool, bool, bool, Addr | None]
"""What a script decided for one request, and what it found and asked for on the way: the bits of nat_uac_test
that matched, whether the binding is reached at its source, whether the Contact gets an alias, whether media
goes through us, where an alias led."""

Message = tuple[float, bool, Flow, bytes]
Entry = Message | tuple[float, str, str, str, Values | Decided]
"""A message: time, incoming, flow, octets. A note: time, level, event, Call-ID, what belongs to it."""


Packed = tuple[float, bool, Flow, int] | tuple[float, str, str, str, Values | Decided]
"""The same in a chunk; of a message, where its octets end: they begin where those of the one before end."""


class Chunk(NamedTuple):
    """Entries that are forgotten together: the number of the first, their messages, the room of all."""

    first: int
    entries: list[Packed]
    text: bytes
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
            found = (decision, inbound.nat, inbound.nated, edits.alias != "", bool(edits.relay), inbound.dst)
            self._new.append((now, "debug", "decided", call_id, found))
            self._room -= NOTE_ROOM
            if self._room < 0:
                self._turn()

    def _turn(self) -> None:
        """Close the chunk and forget as many old ones as it takes; the newest entry stays in any case."""
        requests, replies = _counted(self._new)
        self._requests += requests
        self._replies += replies
        chunk = _packed(self._first, self._new, self._piece - self._room)
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
        for chunk in self._chunks:
            if number + 1 - chunk.first < len(chunk.entries):
                found += [one for one in enumerate(_unpacked(chunk), chunk.first) if one[0] > number]
        return found + [one for one in enumerate(self._new, self._first) if one[0] > number]

    def naming(self, octets: bytes) -> list[Message]:
        """The messages in which these octets stand, oldest first; chunks without them cost a glance."""
        found = [one for one in self._new if len(one) == 4]
        for chunk in reversed(self._chunks):
            if octets in chunk.text:
                found[:0] = [one for one in _unpacked(chunk) if len(one) == 4]
        return [one for one in found if octets in one[3]]

    @property
    def last(self) -> int:
        """The number of the newest entry; 0 before there is one."""
        return self._first + len(self._new) - 1


def _packed(first: int, entries: Sequence[Entry], octets: int) -> Chunk:
    """Entries as a chunk of the ring."""
    packed: list[Packed] = []
    texts: list[bytes] = []
    end = 0
    for entry in entries:
        if len(entry) == 4:
            end += len(entry[3])
            texts.append(entry[3])
            packed.append((entry[0], entry[1], entry[2], end))
        else:
            packed.append(entry)
    return Chunk(first, packed, b"".join(texts), octets)


def _unpacked(chunk: Chunk) -> list[Entry]:
    """The entries of a chunk as they were."""
    found: list[Entry] = []
    begin = 0
    for entry in chunk.entries:
        if len(entry) == 4:
            found.append((entry[0], entry[1], entry[2], chunk.text[begin : entry[3]]))
            begin = entry[3]
        else:
            found.append(entry)
    return found


def _counted(entries: Sequence[Entry]) -> tuple[int, int]:
    """How many requests and responses are among these."""
    begins = [entry[3][:4] for entry in entries if len(entry) == 4]
    replies = begins.count(b"SIP/")
    return len(begins) - replies, replies
