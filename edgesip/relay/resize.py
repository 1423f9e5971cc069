"""Repacketisation: the sound of one direction of a stream in packets of another length (rtpproxy's `zNN`).

Takes RTP packets, gives RTP packets whose payload is the same octets, cut at whole codec frames: G.711,
G.722, G.729 and GSM. Everything else passes in its order. Refuses to know sockets, legs and sound.

Sequence numbers are our own: they go on by one, and where packets of the sender were lost by as many as would
have carried what is missing, so that the receiver counts the same share of loss. Timestamps are those of the
first sample inside. RTCP of such a stream is adjusted: the counts in sender reports are of what we sent, the
blocks that the receiver writes about it speak of what the sender sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from edgesip.address import Addr
from edgesip.relay.rtp import RTP, RTP_MINIMUM, classify, header, payload_of

SHORTEST, LONGEST = 10, 200
"""Milliseconds per packet that can be asked for; what is longer is no speech, and passes as it is."""
JUMP = 3000
"""Packets that may be lost in a row (RFC 3550 §A.1, MAX_DROPOUT); beyond it the sender has begun anew."""
_SENDER_REPORT, _RECEIVER_REPORT = 200, 201
_BLOCK = 24


class Codec(NamedTuple):
    """The frames of a codec: octets and samples of one, and the octets of a comfort frame at the end, or 0.

    Samples are ticks of the RTP clock: of 8000 Hz for all of these, G.722 too (RFC 3551 §4.5.2).
    """

    octets: int
    samples: int
    tail: int = 0


CODECS: Mapping[int, Codec] = MappingProxyType(
    {
        0: Codec(1, 1),  # PCMU
        3: Codec(33, 160),  # GSM, 20 ms
        8: Codec(1, 1),  # PCMA
        9: Codec(1, 1),  # G.722
        18: Codec(10, 80, 2),  # G.729, 10 ms, and the comfort noise of its Annex B (RFC 3551 §4.5.6)
    }
)
"""By static payload type (RFC 3551 §6)."""
UNIT = 80
"""The wanted length is rounded up to a multiple of 10 ms, or of a longer frame."""


class Resizer:
    """One direction of one stream. `milliseconds` per packet is what is wanted, 10 to 200 (else ValueError).

    `dropped` counts packets that came too late, or twice.
    """

    __slots__ = (
        "_buffer",
        "_first",
        "_in_count",
        "_in_octets",
        "_in_sequence",
        "_last",
        "_marker",
        "_next",
        "_out_count",
        "_out_octets",
        "_out_sequence",
        "_ssrc",
        "_type",
        "_wanted",
        "dropped",
        "milliseconds",
    )

    def __init__(self, milliseconds: int) -> None:
        if not SHORTEST <= milliseconds <= LONGEST:
            raise ValueError(f"packets of {milliseconds} ms: {SHORTEST} to {LONGEST} can be made")
        self.milliseconds = milliseconds
        self.dropped = 0
        self._type = -1
        self._ssrc = -1
        self._wanted = 0  # samples of a packet that leaves
        self._last = 0  # samples of the newest that came
        self._buffer = b""
        self._first = 0  # the timestamp of the first sample in the buffer
        self._next = 0  # the timestamp that goes on without a hole
        self._marker = False
        self._in_sequence = 0  # of the newest packet that came, counted on beyond 65535
        self._out_sequence = 0  # of the next packet that leaves, likewise
        self._in_count = self._in_octets = self._out_count = self._out_octets = 0

    @property
    def why(self) -> str:
        """The reason why no path carries the stream."""
        return f"it is sent in packets of {self.milliseconds} ms"

    # Media.

    def carry(self, data: bytes, source: Addr, now: float) -> Sequence[bytes]:
        """What leaves for one packet: none while it waits to be filled up, one, or some."""
        if classify(data) is not RTP:
            return (data,)
        fields = header(data)
        out: list[bytes] = []
        if fields.ssrc != self._ssrc:
            self._flush(out)
            self._begin(fields.ssrc, fields.sequence)
            lost = 0
        else:
            step = (fields.sequence - self._in_sequence) & 0xFFFF
            if step > 0xFFFF - JUMP or not step:
                self.dropped += 1
                return out
            if step > JUMP:
                lost, step = 0, fields.sequence - (self._in_sequence & 0xFFFF)
            else:
                lost = step - 1
            self._in_sequence += step
        payload = payload_of(data)
        codec = CODECS.get(fields.payload_type)
        self._in_count += 1
        self._in_octets += len(payload) if payload is not None else len(data) - RTP_MINIMUM
        samples = 0 if codec is None or payload is None else _samples(codec, payload)
        if codec is None or payload is None or not samples:
            self._flush(out)
            self._out_sequence += lost
            self._pass(data, out)
            return out
        hole = (fields.timestamp - self._next) & 0xFFFFFFFF
        if fields.payload_type != self._type or hole or fields.marker:
            self._flush(out)
            if lost:
                self._out_sequence += self._missing(hole, lost)
            self._type = fields.payload_type
            self._wanted = _wanted(codec, self.milliseconds)
            self._first, self._marker = fields.timestamp, fields.marker
        elif not self._buffer:
            self._first = fields.timestamp
        self._buffer += payload
        self._next, self._last = (fields.timestamp + samples) & 0xFFFFFFFF, samples
        self._cut(codec, out)
        if codec.tail and len(payload) % codec.octets:  # nothing may follow a comfort frame in its packet
            self._flush(out)
        return out

    def _begin(self, ssrc: int, sequence: int) -> None:
        """Another stream: it goes on with its own numbers, and nothing is known of it."""
        self._ssrc, self._type, self._wanted = ssrc, -1, 0
        self._in_sequence = self._out_sequence = sequence
        self._in_count = self._in_octets = self._out_count = self._out_octets = 0

    def _missing(self, hole: int, lost: int) -> int:
        """How many of our packets were lost with `lost` of the sender's, silence beside them not counted."""
        if not self._wanted:
            return lost
        return max(1, (min(hole, lost * self._last) + self._wanted // 2) // self._wanted)

    def _cut(self, codec: Codec, out: list[bytes]) -> None:
        """Send as many whole packets as there are."""
        size = self._wanted // codec.samples * codec.octets
        while len(self._buffer) >= size:
            self._send(self._buffer[:size], out)
            self._buffer = self._buffer[size:]
            self._first = (self._first + self._wanted) & 0xFFFFFFFF

    def _flush(self, out: list[bytes]) -> None:
        """Send what is there, though it is short."""
        if self._buffer:
            self._send(self._buffer, out)
            self._buffer = b""

    def _send(self, payload: bytes, out: list[bytes]) -> None:
        kind = self._type | 0x80 if self._marker else self._type
        self._marker = False
        head = self._out_sequence & 0xFFFF, self._first, self._ssrc
        out.append(bytes((0x80, kind)) + _fixed(*head) + payload)
        self._sent(len(payload))

    def _pass(self, data: bytes, out: list[bytes]) -> None:
        """A packet as it is, under our number; after it sound begins anew."""
        out.append(data[:2] + (self._out_sequence & 0xFFFF).to_bytes(2, "big") + data[4:])
        self._type, self._wanted = -1, 0
        self._sent(len(data) - RTP_MINIMUM)

    def _sent(self, octets: int) -> None:
        self._out_sequence += 1
        self._out_count += 1
        self._out_octets += octets

    # RTCP.

    def report(self, data: bytes, source: Addr, now: float) -> bytes:
        """RTCP of the sender: its own counts become those of what we sent (RFC 3550 §6.4.1)."""
        for start, kind, size in _parts(data):
            if kind == _SENDER_REPORT and size >= 28 and _number(data, start + 4) == self._ssrc:
                packets = _number(data, start + 20) - self._in_count + self._out_count
                octets = _number(data, start + 24) - self._in_octets + self._out_octets
                counts = (packets & 0xFFFFFFFF).to_bytes(4, "big") + (octets & 0xFFFFFFFF).to_bytes(4, "big")
                data = data[: start + 20] + counts + data[start + 28 :]
        return data

    def answer(self, data: bytes) -> bytes:
        """RTCP of the receiver: what it says of our packets, said of the sender's (RFC 3550 §6.4.1).

        The share of loss, the jitter and the times hold for both; the number of lost packets is scaled,
        the highest sequence number is the sender's at that place.
        """
        for start, kind, size in _parts(data):
            if kind not in (_SENDER_REPORT, _RECEIVER_REPORT):
                continue
            first = start + (28 if kind == _SENDER_REPORT else 8)
            last = min(first + (data[start] & 0x1F) * _BLOCK, start + size)
            for at in range(first, last - _BLOCK + 1, _BLOCK):
                if _number(data, at) == self._ssrc and self._out_count:
                    data = data[: at + 5] + self._translated(data[at + 5 : at + 12]) + data[at + 12 :]
        return data

    def _translated(self, block: bytes) -> bytes:
        """Cumulative loss (24 bits, signed) and the extended highest sequence number of a block."""
        ratio = self._in_count / self._out_count
        lost = int.from_bytes(block[:3], "big", signed=True)
        lost = max(-0x800000, min(0x7FFFFF, round(lost * ratio)))
        behind = (self._out_sequence - 1 - int.from_bytes(block[3:], "big")) & 0xFFFF
        behind -= 0x10000 if behind >= 0x8000 else 0
        highest = max(0, self._in_sequence - round(behind * ratio)) & 0xFFFFFFFF
        return lost.to_bytes(3, "big", signed=True) + highest.to_bytes(4, "big")


def _wanted(codec: Codec, milliseconds: int) -> int:
    """Samples of a packet: whole frames, and at least the wanted time."""
    unit = max(codec.samples, UNIT)
    return -(-milliseconds * 8 // unit) * unit


def _samples(codec: Codec, payload: bytes) -> int:
    """How many samples a payload is; 0 when it is no whole number of frames, or too long for speech."""
    frames, rest = divmod(len(payload), codec.octets)
    if (rest and rest != codec.tail) or frames * codec.samples > LONGEST * 8:
        return 0
    return (frames + (1 if rest else 0)) * codec.samples


def _parts(data: bytes) -> list[tuple[int, int, int]]:
    """Where each report of a compound begins, its type and its octets; it was found to hold together."""
    found, at = [], 0
    while at + 4 <= len(data):
        size = 4 * (int.from_bytes(data[at + 2 : at + 4], "big") + 1)
        found.append((at, data[at + 1], size))
        at += size
    return found


def _number(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "big")


def _fixed(sequence: int, timestamp: int, ssrc: int) -> bytes:
    return sequence.to_bytes(2, "big") + timestamp.to_bytes(4, "big") + ssrc.to_bytes(4, "big")
