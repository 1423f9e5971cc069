"""The recording of a call: what is taken of its packets, and the octets of a file that come of them.

A `Tap` is the link that packets pass on their way; they gather in the `Sink` of their call until whoever
writes takes them. `WavFile` and `PcapFile` say what the file has to hold. Refuses to know files and disks.

What is recorded is what each side sent and we believed, as it came: prompts that we play are not in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from edgesip import pcap
from edgesip.address import Addr
from edgesip.relay.wav import FRAME, HEADER, Mixer, wav_header

WAV, PCAP = "wav", "pcap"
KINDS = (WAV, PCAP)
MOST_WAITING = 1 << 20
"""Octets of one call that may wait to be written; what comes beyond is lost to the file, not to the call."""
LONGEST_NAME = 150
"""Octets of a file's name, its suffix not counted."""
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@._-+")


class Taken(NamedTuple):
    """One datagram that one side (0 caller, 1 callee) sent from `source` to our `local`, at `at`."""

    at: float
    channel: int
    source: Addr
    local: Addr
    data: bytes


class Sink:
    """What was taken of the call `key` since `since` (monotonic seconds), and is not written yet.

    `kind` is "wav" or "pcap"; `name` what its file is to be called, "" for as the call; `ended` the time when
    there comes no more; `lost` counts packets that found too much waiting.
    """

    __slots__ = ("_octets", "_waiting", "ended", "key", "kind", "lost", "name", "since")

    def __init__(self, key: tuple[str, str], kind: str, since: float, name: str = "") -> None:
        self.key = key
        self.kind = kind
        self.name = name
        self.since = since
        self.ended: float | None = None
        self.lost = 0
        self._waiting: list[Taken] = []
        self._octets = 0

    def add(self, taken: Taken) -> None:
        """One datagram more."""
        if self._octets >= MOST_WAITING:
            self.lost += 1
            return
        self._octets += len(taken.data)
        self._waiting.append(taken)

    def take(self) -> list[Taken]:
        """What waits, oldest first; it is forgotten here."""
        waiting, self._waiting, self._octets = self._waiting, [], 0
        return waiting

    def end(self, now: float) -> None:
        """Nothing comes any more."""
        if self.ended is None:
            self.ended = now


class Tap:
    """The link that one side's packets pass: everything goes on as it came, and into the sink."""

    __slots__ = ("_channel", "_rtcp", "_rtp", "sink")

    def __init__(self, sink: Sink, channel: int, rtp: Addr, rtcp: Addr) -> None:
        self.sink = sink
        self._channel = channel
        self._rtp = rtp
        self._rtcp = rtcp

    @property
    def why(self) -> str:
        """The reason why no path carries the stream."""
        return "it is recorded"

    def carry(self, data: bytes, source: Addr, now: float) -> Sequence[bytes]:
        """Media."""
        self.sink.add(Taken(now, self._channel, source, self._rtp, data))
        return (data,)

    def report(self, data: bytes, source: Addr, now: float) -> bytes:
        """RTCP; sound has none of it."""
        if self.sink.kind == PCAP:
            self.sink.add(Taken(now, self._channel, source, self._rtcp, data))
        return data

    def answer(self, data: bytes) -> bytes:
        """The other side's RTCP is its own tap's."""
        return data


class WavFile:
    """Two channels of sound. `suffix` is the end of its name."""

    suffix: ClassVar[str] = ".wav"

    def __init__(self, sink: Sink) -> None:
        self._mixer = Mixer(sink.since)

    def begin(self) -> bytes:
        """What a file begins with."""
        return wav_header(0)

    def made(self, packets: Sequence[Taken], now: float) -> bytes:
        """What comes behind, of these packets and those before them."""
        for one in packets:
            self._mixer.add(one.channel, one.data, one.at)
        return self._mixer.take(now)

    def finish(self, now: float) -> bytes:
        """What is left at the end."""
        return self._mixer.finish(now)

    def patched(self, size: int) -> bytes:
        """What the file of so many octets has to begin with by now."""
        return wav_header((size - HEADER) // FRAME * FRAME)

    def unheard(self) -> str:
        """The payload types that are silence in it, in words; empty for none."""
        return ", ".join(f"{kind}: {count}" for kind, count in sorted(self._mixer.unheard.items()))


class PcapFile:
    """Every datagram, with the headers that it had or could have had."""

    suffix: ClassVar[str] = ".pcap"

    def __init__(self, sink: Sink, wall_offset: float) -> None:
        self._offset = wall_offset

    def begin(self) -> bytes:
        """What a file begins with."""
        return pcap.HEADER

    def made(self, packets: Sequence[Taken], now: float) -> bytes:
        """The records of these packets."""
        return b"".join(
            [pcap.record(one.at + self._offset, one.source, one.local, one.data) for one in packets]
        )

    def finish(self, now: float) -> bytes:
        """Nothing is left at the end."""
        return b""

    def patched(self, size: int) -> bytes:
        """The beginning stays as it was."""
        return b""

    def unheard(self) -> str:
        """Everything is in it."""
        return ""


def name_of(key: Sequence[str]) -> str:
    """The name of a call's file, without suffix: Call-ID and From tag, or a wish, in plain characters.

    Others become %XX, a dot at the beginning too, so that different calls have different names and none leads
    out of its folder. A name that gets too long ends with a digest of the whole.
    """
    name = "=".join(_escaped(part) for part in key)
    if len(name) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:16]
    return f"{name[: LONGEST_NAME - len(digest) - 1]}~{digest}"


def _escaped(text: str) -> str:
    octets = text.encode("utf-8", "surrogateescape")
    escaped = "".join([chr(one) if one in _PLAIN else f"%{one:02X}" for one in octets])
    return "%2E" + escaped[1:] if escaped.startswith(".") else escaped
