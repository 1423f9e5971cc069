"""Prompts: music and announcements as RTP for one phone, in packets of its size, at a pace that cannot drift.

A `Prompt` is what was recorded, a track of octets for each codec; a `Player` makes its packets, with an SSRC,
a sequence and timestamps of its own (RFC 3550 §5.1). Time is counted in slots of 5 ms since a fixed beginning
of the clock, in whole numbers, so that the thousandth packet is as much on time as the first. Refuses to know
files, calls and where packets go.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

SLOT = 0.005
"""Seconds between two moments at which packets may leave: streams share them, and with them the wakes."""
SLOT_MS = 5
RATE_MS = 8
"""Timestamp units in a millisecond: the RTP clock of every codec here is 8000 Hz (RFC 3551 §4.5, §6)."""
PTIME = 20
LONGEST_PTIME = 60
LATE = 40
"""Slots behind which a player gives up what it missed: a burst of a fifth of a second helps nobody."""
ENDLESS = -1

_HEADER = struct.Struct("!BBHII")


class Codec(NamedTuple):
    """A static payload type (RFC 3551 §6), and its frame: so many octets for so many milliseconds."""

    name: str
    octets: int
    ms: int


CODECS: dict[int, Codec] = {
    0: Codec("PCMU", 8, 1),
    3: Codec("GSM", 33, 20),
    4: Codec("G723", 24, 30),
    8: Codec("PCMA", 8, 1),
    9: Codec("G722", 8, 1),
    18: Codec("G729", 10, 10),
}


class Prompt(NamedTuple):
    """A recording: its name, and its octets by payload type, frames one after the other."""

    name: str
    tracks: Mapping[int, bytes]


def chosen(prompt: Prompt, wanted: Sequence[int], agreed: Collection[int] = ()) -> int | None:
    """The first payload type of the receiver's list that the prompt has; those both sides named come first.

    An offerer may stop to listen for what the answer left out (RFC 3264 §7). None when it has none of them.
    """
    for code in (*(one for one in wanted if one in agreed), *wanted):
        track = prompt.tracks.get(code)
        if code in CODECS and track is not None and len(track) >= CODECS[code].octets:
            return code
    return None


def packet_ms(code: int, wanted: int) -> int:
    """Milliseconds a packet: what the receiver wants (0: nothing said), in whole frames and whole slots."""
    frame = max(CODECS[code].ms, SLOT_MS)
    fits = min(wanted or PTIME, LONGEST_PTIME) // frame * frame
    return fits or frame


class Player:
    """One prompt on its way to one phone.

    `count` repetitions, -1 for ever; `ptime` is the receiver's, in milliseconds; `seed` has ten random
    octets. `slot` is when the next packet is due, `done` says that there is none.
    """

    __slots__ = (
        "_data",
        "_marker",
        "_position",
        "_sequence",
        "_size",
        "_ssrc",
        "_step",
        "_timestamp",
        "code",
        "count",
        "done",
        "is_music",
        "name",
        "ptime",
        "slot",
        "slots",
    )

    def __init__(
        self,
        prompt: Prompt,
        code: int,
        ptime: int,
        count: int,
        slot: int,
        seed: bytes,
        is_music: bool = False,
    ) -> None:
        codec = CODECS[code]
        track = prompt.tracks[code]
        self.name = prompt.name
        self.code = code
        self.count = count
        self.is_music = is_music
        self.ptime = packet_ms(code, ptime)
        self.slot = slot
        self.slots = self.ptime // SLOT_MS
        self.done = False
        self._data = track[: len(track) // codec.octets * codec.octets]
        self._size = self.ptime // codec.ms * codec.octets
        self._step = self.ptime * RATE_MS
        self._position = 0
        self._marker = True
        self._sequence = int.from_bytes(seed[:2], "big")
        self._timestamp = int.from_bytes(seed[2:6], "big")
        self._ssrc = int.from_bytes(seed[6:10], "big")

    @property
    def ssrc(self) -> int:
        """The SSRC of its packets."""
        return self._ssrc

    def join(self, at: float, timestamp: int) -> None:
        """Go on from the stream that it covers: its timestamp at that time (monotonic seconds).

        A receiver whose clock runs by timestamps, whatever the SSRC, would else wait for hours, or drop all
        that follows; and when the stream is heard again there is nothing to make up for either.
        """
        ticks = round((self.slot * SLOT - at) * 1000 * RATE_MS)
        self._timestamp = (timestamp + ticks) & 0xFFFFFFFF

    def packet(self) -> bytes:
        """The packet that is due; the next one is due `slots` later."""
        kind = self.code | 0x80 if self._marker else self.code
        head = _HEADER.pack(0x80, kind, self._sequence, self._timestamp, self._ssrc)
        self._marker = False
        self._sequence = (self._sequence + 1) & 0xFFFF
        return head + self._take()

    def unsent(self) -> None:
        """The packet that is due has nowhere to go: the prompt goes on, and what is sent next begins anew."""
        self._marker = True
        self._take()

    def skip(self, slots: int) -> None:
        """Give up so many slots, in whole packets: the timestamp moves as time did, the recording waits."""
        missed = slots // self.slots
        self.slot += missed * self.slots
        self._timestamp = (self._timestamp + missed * self._step) & 0xFFFFFFFF
        self._marker = self._marker or missed > 0

    def _take(self) -> bytes:
        """The payload that is due; the last one of all may be shorter."""
        data, size, position = self._data, self._size, self._position
        self.slot += self.slots
        self._timestamp = (self._timestamp + self._step) & 0xFFFFFFFF
        payload = data[position : position + size]
        self._position = position + size
        while self._position >= len(data):
            if self.count != ENDLESS:
                self.count -= 1
            if self.count == 0:
                self.done = True
                break
            self._position -= len(data)
            missing = size - len(payload)
            payload += data[:missing]
        return payload
