"""Two sides of a call as one sound file: the caller left, the callee right, each packet at its own time.

Takes RTP packets with G.711, gives 16-bit PCM at 8000 Hz, and the header of a WAV file. What is missing, lost
or not G.711 is silence. Refuses to know files, sockets and calls.

A packet's place follows from its RTP timestamp; where a stream begins, from when it came. Every five seconds
a stream whose packets all came early or late by more than 40 ms is moved, so that the clocks of two phones
do not pull the sides apart.
"""

from __future__ import annotations

import struct

from edgesip.relay.rtp import RTP, classify, header, payload_of

RATE = 8000
FRAME = 4
"""Octets of a sample of both channels."""
HEADER = 44
CHANNELS = 2
HOLD = 1.0
"""Seconds that a packet may come after its time, and still be in the file."""
LARGEST = 0xFFFFFFFF - HEADER - 1
"""Octets of sound in one file at most: its sizes have 32 bits."""
_EARLY, _LATE = RATE // 2, 2 * RATE
_WINDOW = 250  # packets
_SHIFT = RATE * 40 // 1000
_LONGEST = RATE // 5  # samples in a packet that is speech


def wav_header(octets: int) -> bytes:
    """The header of a file with so many octets of sound (RIFF, PCM)."""
    octets = min(octets, LARGEST)
    form = struct.pack("<HHIIHH", 1, CHANNELS, RATE, RATE * FRAME, FRAME, 16)
    return (
        b"RIFF"
        + struct.pack("<I", 36 + octets)
        + b"WAVEfmt \x10\0\0\0"
        + form
        + b"data"
        + struct.pack("<I", octets)
    )


class _Track:
    """One channel: its stream, where the newest packet of it stands, and how the packets of late came."""

    __slots__ = ("count", "least", "place", "ssrc", "timestamp")

    def __init__(self) -> None:
        self.ssrc = -1
        self.timestamp = 0
        self.place = 0
        self.least = 0
        self.count = 0

    def place_of(self, ssrc: int, timestamp: int, came: int) -> int:
        """The sample at which a packet begins, that would begin at `came` by the time it came."""
        ahead = (timestamp - self.timestamp) & 0xFFFFFFFF
        place = self.place + (ahead - (1 << 32) if ahead >> 31 else ahead)
        late = came - place
        if ssrc != self.ssrc or not -_EARLY <= late <= _LATE:
            self.ssrc, place, late, self.count = ssrc, came, 0, 0
        self.least = late if not self.count else min(self.least, late)
        self.count += 1
        if self.count >= _WINDOW:
            place += self.least if abs(self.least) >= _SHIFT else 0
            self.count = 0
        self.timestamp, self.place = timestamp, place
        return place


class Mixer:
    """The sound of a call from `start` (monotonic seconds) on.

    `unheard` counts packets by payload type that are no G.711: they are silence.
    """

    __slots__ = ("_base", "_sound", "_start", "_tracks", "unheard")

    def __init__(self, start: float) -> None:
        self._start = start
        self._base = 0  # the first sample that is not given out yet
        self._sound = bytearray()
        self._tracks = (_Track(), _Track())
        self.unheard: dict[int, int] = {}

    def add(self, channel: int, data: bytes, now: float) -> None:
        """One RTP packet of the caller (0) or the callee (1), that came at `now`."""
        if classify(data) is not RTP:
            return
        fields, payload = header(data), payload_of(data)
        tables = _TABLES.get(fields.payload_type)
        if payload is None or tables is None or len(payload) > _LONGEST:
            self.unheard[fields.payload_type] = self.unheard.get(fields.payload_type, 0) + 1
            return
        came = round((now - self._start) * RATE) - len(payload)
        place = self._tracks[channel].place_of(fields.ssrc, fields.timestamp, came) - self._base
        if place < 0:
            payload, place = payload[-place:], 0
        if not payload:
            return
        begin, end = place * FRAME, (place + len(payload)) * FRAME
        if end > len(self._sound):
            self._sound += bytes(end - len(self._sound))
        at = begin + 2 * channel
        self._sound[at:end:FRAME] = payload.translate(tables[0])
        self._sound[at + 1 : end : FRAME] = payload.translate(tables[1])

    def take(self, now: float) -> bytes:
        """The sound up to HOLD before `now`, both channels interleaved; nothing of it changes any more."""
        return self._until(round((now - self._start - HOLD) * RATE))

    def finish(self, now: float) -> bytes:
        """All that is left, up to `now`."""
        return self._until(max(round((now - self._start) * RATE), self._base + len(self._sound) // FRAME))

    def _until(self, sample: int) -> bytes:
        size = (sample - self._base) * FRAME
        if size <= 0:
            return b""
        if size > len(self._sound):
            self._sound += bytes(size - len(self._sound))
        taken = bytes(self._sound[:size])
        del self._sound[:size]
        self._base = sample
        return taken


def _ulaw(code: int) -> int:
    """A sample of PCMU (ITU-T G.711)."""
    code = ~code & 0xFF
    size = ((((code & 0x0F) << 3) + 0x84) << (code >> 4 & 7)) - 0x84
    return -size if code & 0x80 else size


def _alaw(code: int) -> int:
    """A sample of PCMA (ITU-T G.711)."""
    code ^= 0x55
    segment, size = code >> 4 & 7, ((code & 0x0F) << 4) + 8
    if segment:
        size = (size + 0x100) << (segment - 1)
    return size if code & 0x80 else -size


def _tables(samples: list[int]) -> tuple[bytes, bytes]:
    """From a code to the lower and to the upper octet of its sample."""
    whole = struct.pack("<256h", *samples)
    return whole[::2], whole[1::2]


_TABLES = {
    0: _tables([_ulaw(code) for code in range(256)]),
    8: _tables([_alaw(code) for code in range(256)]),
}
HEARD = frozenset(_TABLES)
"""Payload types that can be heard in the file: PCMU and PCMA."""
