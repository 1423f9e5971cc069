"""Messages as a capture file for Wireshark and tcpdump: raw IP packets made up around them.

Every message becomes one UDP datagram, also one that came over TCP or in TLS: in clear, between the addresses
that it went between. Knows no terminal.
"""

from __future__ import annotations

import ipaddress
import struct
from typing import Any

HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 101)
"""Little-endian, microseconds, LINKTYPE_RAW: a packet begins with its IP header."""
LONGEST = 65_000
"""Octets of a message at most: what is longer is cut."""
_UDP = 17
_TTL = 64


def record(event: dict[str, Any]) -> bytes:
    """One message, as `trace.events` tells it, as a record of the file."""
    local, remote = _end(event["local"]), _end(event["remote"])
    source, target = (remote, local) if event["direction"] == "in" else (local, remote)
    data = event["text"].encode("utf-8", "surrogateescape")[:LONGEST]
    packet = _packet(source, target, data)
    seconds, micros = divmod(round(event["time"] * 1_000_000), 1_000_000)
    return struct.pack("<IIII", seconds, micros, len(packet), len(packet)) + packet


def _end(text: str) -> tuple[bytes, int]:
    """`192.0.2.1:5060`, `[2001:db8::1]:5060`."""
    host, _, port = text.rpartition(":")
    return ipaddress.ip_address(host.strip("[]")).packed, int(port)


def _packet(source: tuple[bytes, int], target: tuple[bytes, int], data: bytes) -> bytes:
    length = 8 + len(data)
    ends = source[0] + target[0]
    pseudo = ends + struct.pack("!IxxxB", length, _UDP)
    ports = struct.pack("!HHH", source[1], target[1], length)
    sum_ = _checksum(pseudo + ports + b"\0\0" + data) or 0xFFFF
    datagram = ports + struct.pack("!H", sum_) + data
    if len(ends) == 32:
        return struct.pack("!IHBB", 6 << 28, length, _UDP, _TTL) + ends + datagram
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 0, 0, _TTL, _UDP, 0) + ends
    return head[:10] + struct.pack("!H", _checksum(head)) + head[12:] + datagram


def _checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    words: tuple[int, ...] = struct.unpack(f"!{len(data) // 2}H", data)
    total = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
