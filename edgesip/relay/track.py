"""What is known of how well the RTP of one side comes in: loss, order, jitter, DTMF, per SSRC.

Holds the heads of packets until somebody looks, and `Track.step`, the meaning of each of them (RFC 3550 §A.1
and §A.8, RFC 4733 §2.5.1); `quality` says the same for many streams at once. Refuses to know sockets, paths,
the other side, and what a good call sounds like.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

HEAD: Final = 16
"""Octets kept of a packet: the fixed header, and what an RFC 4733 event needs behind it."""
ROOM: Final = 512
"""Heads kept of a stream between two looks; of more packets than that the oldest are only counted."""
MAX_SOURCES: Final = 8
"""SSRCs of one stream that are told apart; older ones keep what they counted."""
MAX_DROPOUT: Final = 3000
"""The largest step forward that is loss; beyond it a stream begins anew (RFC 3550 §A.1)."""
MAX_MISORDER: Final = 100
"""The largest step back that is an old packet (RFC 3550 §A.1)."""
LEAP: Final = 1.0
"""Seconds by which timestamp and clock may differ from one packet to the next and still be jitter."""
PAUSE: Final = 2.0
"""Seconds without a packet that are worth remembering."""
EVENT: Final = "telephone-event"

_HEAD: Final = struct.Struct("!BBHIIBBH")

STATIC_RATES: Final = {
    **dict.fromkeys((0, 3, 4, 5, 7, 8, 9, 12, 13, 15, 18), 8000),
    6: 16000,
    10: 44100,
    11: 44100,
    16: 11025,
    17: 22050,
    14: 90000,
    **dict.fromkeys((25, 26, 28, 31, 32, 33, 34), 90000),
}
"""Clock rates of the static payload types (RFC 3551 §6); G.722's is 8000 although it samples at 16000."""


class Codec(NamedTuple):
    """A payload type's name, in small letters, and its clock rate in Hz (0: not known)."""

    name: str
    rate: int


class Heads(NamedTuple):
    """What came since the last look: how many packets, and of the last ones arrival (monotonic) and head."""

    packets: int
    ats: Sequence[float]
    heads: Sequence[bytes]


NO_HEADS: Final = Heads(0, (), ())


@dataclass(slots=True, eq=False)
class Source:
    """One SSRC. `highest` is the extended sequence number, bit n of `window` says whether `highest - n` came.

    `jitter` and times are seconds, `rate` Hz; a `rate` of 0 has no jitter.
    """

    ssrc: int
    payload_type: int
    rate: int
    highest: int
    timestamp: int
    first_at: float
    at: float
    packets: int = 0
    lost: int = 0
    reordered: int = 0
    duplicates: int = 0
    jitter: float = 0.0
    window: int = 1
    bad: int = -1

    def sequence(self, number: int) -> None:
        """Count a packet by its sequence number (RFC 3550 §A.1, without its probation)."""
        ahead = (number - self.highest) & 0xFFFF
        if 0 < ahead < MAX_DROPOUT:
            self.lost += ahead - 1
            self.highest += ahead
            self.window = (self.window << ahead | 1) & (1 << MAX_MISORDER) - 1
            self.bad = -1
            return
        behind = -ahead & 0xFFFF
        if behind < MAX_MISORDER:
            if self.window >> behind & 1:
                self.duplicates += 1
                return
            self.window |= 1 << behind
            self.reordered += 1
            self.lost = max(0, self.lost - 1)
        elif number == self.bad:
            self.highest, self.window, self.bad = number, 1, -1
        else:
            self.bad = number + 1 & 0xFFFF

    def transit(self, at: float, timestamp: int) -> None:
        """Let the jitter follow (RFC 3550 §A.8); a leap of clock or timestamp is none."""
        ticks = (timestamp - self.timestamp + 0x80000000 & 0xFFFFFFFF) - 0x80000000
        apart = abs(at - self.at - ticks / self.rate)
        if apart < LEAP:
            self.jitter += (apart - self.jitter) / 16


@dataclass(slots=True, eq=False)
class Report:
    """What who hears a stream said of it by RTCP: parts of 256 lost, all lost so far, jitter in ticks."""

    fraction: int
    lost: int
    jitter: int


class Counted(NamedTuple):
    """What one stream has counted at some time."""

    packets: int
    lost: int
    reordered: int
    duplicates: int
    events: int


_NOTHING: Final = Counted(0, 0, 0, 0, 0)


@dataclass(slots=True, eq=False)
class Track:
    """The RTP that comes from one side of a line.

    `meaning` is what `codecs` was read from, `types` counts packets by payload type, `events` those of RFC
    4733, `changes` those of the SSRC. `near` is seconds there and back between us and this side, `rtt`
    between both sides, None as long as no RTCP told; `told_rtt` is one that was not added up yet. `report`
    is what the other side says of this stream. `mos_*` are of single looks, `summed` is what they have added
    up already; `overheard` counts packets of events whose heads came before a path counted them.
    """

    codecs: dict[int, Codec] = field(default_factory=dict)
    meaning: tuple[bytes, ...] = ()
    sources: dict[int, Source] = field(default_factory=dict)
    current: Source | None = None
    types: dict[int, int] = field(default_factory=dict)
    events: int = 0
    changes: int = 0
    packets: int = 0
    lost: int = 0
    reordered: int = 0
    duplicates: int = 0
    first_at: float | None = None
    at: float | None = None
    pause: tuple[float, float] | None = None
    near: float | None = None
    rtt: float | None = None
    told_rtt: float | None = None
    overheard: int = 0
    summed: Counted = _NOTHING
    report: Report | None = None
    sent_reports: list[tuple[int, float]] = field(default_factory=list)
    mos_sum: float = 0.0
    mos_low: float = 0.0
    mos_count: int = 0
    jitter_max: float = 0.0
    _event: tuple[int, int, int] = (-1, 0, 0)
    _spoke: int | None = None
    _waiting: int = 0
    _ats: deque[float] = field(default_factory=lambda: deque(maxlen=ROOM))
    _heads: deque[bytes] = field(default_factory=lambda: deque(maxlen=ROOM))

    def use(self, codecs: dict[int, Codec]) -> None:
        """Payload types mean this from now on."""
        self._spoke = self.speech()
        self.codecs = codecs
        for source in self.sources.values():
            source.payload_type = -1

    def see(self, at: float, packet: bytes) -> None:
        """A packet of RTP was taken from this side."""
        self._waiting += 1
        self._ats.append(at)
        self._heads.append(packet[:HEAD])

    def add(self, heads: Heads) -> None:
        """Packets that somebody else saw, all of them after those seen so far."""
        self._waiting += heads.packets
        self._ats.extend(heads.ats)
        self._heads.extend(heads.heads)

    def take(self) -> Heads:
        """What has not been looked at yet; it is forgotten here."""
        taken = Heads(self._waiting, list(self._ats), list(self._heads))
        self._waiting = 0
        self._ats.clear()
        self._heads.clear()
        return taken

    def latest(self) -> tuple[float, int] | None:
        """When the last packet came, and its timestamp; None before the first one."""
        if self._heads:
            return self._ats[-1], int.from_bytes(self._heads[-1][4:8], "big")
        source = self.current
        return None if source is None else (source.at, source.timestamp)

    @property
    def waits(self) -> bool:
        """True when there are packets that nobody has looked at."""
        return self._waiting > 0

    @property
    def idle(self) -> bool:
        """True when nothing waits to be looked at, or to be added up."""
        return not self._waiting and self.packets == self.summed.packets

    def counted(self) -> Counted:
        """What was counted so far."""
        return Counted(self.packets, self.lost, self.reordered, self.duplicates, self.events)

    def speech(self) -> int | None:
        """The payload type of the last packet that was no telephone-event; None before the first one."""
        for head in reversed(self._heads):
            codec = self.codecs.get(head[1] & 0x7F)
            if codec is None or codec.name != EVENT:
                return head[1] & 0x7F
        source = self.current
        return self._spoke if source is None or source.payload_type < 0 else source.payload_type

    def paused(self, since: float, until: float) -> None:
        """No packet came in between: remembered when it is the longest pause so far, and worth it."""
        longest = PAUSE if self.pause is None else self.pause[1] - self.pause[0]
        if until - since > longest:
            self.pause = (since, until)

    def begin(self, heads: Heads) -> None:
        """Count packets, and how many of them nobody looks at: these are no loss."""
        skipped = heads.packets - len(heads.heads)
        self.packets += heads.packets
        if not heads.ats:
            return
        if self.at is not None and not skipped:
            self.paused(self.at, heads.ats[0])
        if self.first_at is None:
            self.first_at = heads.ats[0]
        self.at = heads.ats[-1]
        if skipped > 0 and self.current is not None:
            self.current.highest += skipped
            self.current.window = (1 << MAX_MISORDER) - 1
            self.current.packets += skipped

    def step(self, at: float, head: bytes) -> None:
        """One packet, in order of arrival."""
        if len(head) < HEAD:
            head = head.ljust(HEAD, b"\0")
        _, second, number, timestamp, ssrc, code, _, duration = _HEAD.unpack(head)
        kind = second & 0x7F
        self.types[kind] = self.types.get(kind, 0) + 1
        codec = self.codecs.get(kind)
        rate = STATIC_RATES.get(kind, 0) if codec is None else codec.rate
        is_event = codec is not None and codec.name == EVENT
        source = self.sources.get(ssrc)
        if source is None:
            source = self._appear(Source(ssrc, -1 if is_event else kind, rate, number, timestamp, at, at))
            fresh = True
        else:
            fresh = False
            before = source.lost, source.reordered, source.duplicates
            source.sequence(number)
            self.lost += source.lost - before[0]
            self.reordered += source.reordered - before[1]
            self.duplicates += source.duplicates - before[2]
        source.packets += 1
        if self.current is not source:
            self.changes += self.current is not None
            self.current = source
        if is_event:
            self._dtmf(ssrc, timestamp, code, duration, second >= 0x80)
            return  # its timestamp is that of the key going down
        if rate and rate == source.rate and not fresh:
            source.transit(at, timestamp)
        source.payload_type, source.rate = kind, rate
        source.at, source.timestamp = at, timestamp

    def source(
        self, ssrc: int, payload_type: int, rate: int, sequence: int, timestamp: int, at: float
    ) -> Source:
        """This SSRC speaks now, at this place of its stream."""
        found = self.sources.get(ssrc)
        if found is None:
            found = self._appear(Source(ssrc, payload_type, rate, sequence, timestamp, at, at))
        self.current = found
        return found

    def press(self, head: bytes) -> None:
        """Only the event in this head of a packet of telephone-event is looked at."""
        _, second, _, timestamp, ssrc, code, _, duration = _HEAD.unpack(head.ljust(HEAD, b"\0")[:HEAD])
        self._dtmf(ssrc, timestamp, code, duration, second >= 0x80)

    def _appear(self, source: Source) -> Source:
        if len(self.sources) >= MAX_SOURCES:
            oldest = min(self.sources.values(), key=lambda one: one.at)
            del self.sources[oldest.ssrc]
        self.sources[source.ssrc] = source
        return source

    def _dtmf(self, ssrc: int, timestamp: int, code: int, duration: int, marked: bool) -> None:
        """Count an event by its timestamp; a long one goes on under another (RFC 4733 §2.5.1.3)."""
        if code > 15:
            return
        of, began, lasted = self._event
        later = (timestamp - began & 0xFFFFFFFF) if of == ssrc else 1
        if later == 0:
            self._event = (ssrc, began, max(lasted, duration))
        elif later < 0x80000000:
            if marked or of != ssrc or later != lasted:
                self.events += 1
            self._event = (ssrc, timestamp, duration)
