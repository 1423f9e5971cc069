"""A flood of RTP or RTCP at one port, bounded in rate and time; run as a program inside a namespace.

`media_flood.py HOST PORT KIND RATE SECONDS`: KIND is rtp or rtcp; PORT 0 sprays the relay's whole range. Each
packet is valid but for its source. Prints how many it sent.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
import time

SSRC = 0xBAD0BAD0
BURST = 20
FIRST, LAST = 16384, 32767


def packet(kind: str, number: int) -> bytes:
    """The next packet of the flood."""
    if kind == "rtcp":
        return struct.pack("!BBHI", 0x80, 201, 1, SSRC) + struct.pack("!BBHII", 0x81, 202, 2, SSRC, 0)
    return struct.pack("!BBHII", 0x80, 0, number & 0xFFFF, number * 160 & 0xFFFFFFFF, SSRC) + bytes(160)


def main(host: str, port: int, kind: str, rate: float, seconds: float) -> int:
    """Send until the time is over; how many left."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sent, begin = 0, time.monotonic()
    while (now := time.monotonic()) < begin + seconds:
        for _ in range(min(BURST, int((now - begin) * rate) + BURST - sent)):
            at = port or FIRST + sent % (LAST - FIRST + 1)
            with contextlib.suppress(OSError):  # what comes back by ICMP does not concern it
                sock.sendto(packet(kind, sent if port else sent // (LAST - FIRST + 1)), (host, at))
            sent += 1
        time.sleep(max(0.0, begin + sent / rate - time.monotonic()))
    return sent


if __name__ == "__main__":
    where, at, what, *rest = sys.argv[1:]
    print("sent", main(where, int(at), what, float(rest[0]), float(rest[1])), flush=True)
