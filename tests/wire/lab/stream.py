"""RTP of scripted agents: each stream says one tone and keeps what it hears; one thread plays them all.

Knows G.711 and the fixed RTP header, no signalling.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from lab.tones import Samples, decode, encode_ulaw, tone

_PACKET = 0.02
_OCTETS = 160


class Player(Protocol):
    """What `playing` plays: something to send every 20 ms, and something to take in."""

    def send_packet(self) -> None: ...

    def drain(self) -> None: ...


class Stream:
    """A UDP socket with a tone; `remote` is where it sends, None as long as nobody said."""

    def __init__(self, sock: socket.socket, frequency: float) -> None:
        self.socket = sock
        self.socket.setblocking(False)
        self.frequency = frequency
        self.host: str = sock.getsockname()[0]
        self.port: int = sock.getsockname()[1]
        self.remote: tuple[str, int] | None = None
        self.received: list[tuple[float, tuple[str, int], bytes]] = []
        self.ssrc = secrets.randbits(32)
        self._octets = encode_ulaw(tone(frequency, 1.0))
        self._number = secrets.randbits(12)
        self._sent = 0

    def send_packet(self) -> None:
        """The next 20 ms to `remote`."""
        if self.remote is None:
            return
        begin = self._sent * _OCTETS % len(self._octets)
        header = struct.pack("!BBHII", 0x80, 0, self._number & 0xFFFF, self._sent * _OCTETS, self.ssrc)
        self._number += 1
        self._sent += 1
        with contextlib.suppress(OSError):  # an ICMP error of an earlier packet
            self.socket.sendto(header + self._octets[begin : begin + _OCTETS], self.remote)

    def drain(self) -> None:
        """Take in what has arrived."""
        while True:
            try:
                data, source = self.socket.recvfrom(2048)
            except BlockingIOError:
                return
            except OSError:
                continue
            self.received.append((time.monotonic(), source, data))

    @property
    def number(self) -> int:
        """The sequence number of the next packet."""
        return self._number & 0xFFFF

    def follow(self, before: Stream) -> None:
        """Go on where another one stopped: the same stream from another port."""
        self.ssrc, self._number, self._sent = before.ssrc, before._number, before._sent

    def numbers(self, sender: Stream) -> list[int]:
        """The sequence numbers of what came of another stream, in order of arrival."""
        mark = sender.ssrc.to_bytes(4, "big")
        return [int.from_bytes(data[2:4], "big") for _, _, data in self.received if data[8:12] == mark]

    def heard(self) -> Samples:
        """All PCMU and PCMA received so far, in order of arrival."""
        parts = [
            decode(data[1] & 0x7F, data[12:])
            for _, _, data in self.received
            if len(data) > 12 and data[1] & 0x7F in (0, 8)
        ]
        return np.concatenate(parts) if parts else np.zeros(0, np.int16)

    def close(self) -> None:
        self.socket.close()


@contextlib.contextmanager
def playing(streams: Sequence[Player]) -> Iterator[None]:
    """Send and receive on all streams every 20 ms until the block ends."""
    over = threading.Event()

    def play() -> None:
        due = time.monotonic()
        while not over.is_set():
            for stream in streams:
                stream.send_packet()
                stream.drain()
            due += _PACKET
            time.sleep(max(due - time.monotonic(), 0.0))
        for stream in streams:
            stream.drain()

    thread = threading.Thread(target=play, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
