"""Frames of Ethernet, IPv4 or IPv6, and UDP, built by hand and with their sums done."""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

from edgesip.address import Addr

ETHERNET, IPV4, UDP = 14, 20, 8


class Given(NamedTuple):
    """What a frame has beside addresses and payload; None where it follows from the rest."""

    ttl: int = 64
    tos: int = 0xB8
    options: bytes = b""
    fragment: int = 0x4000
    protocol: int = 17
    length: int | None = None
    udp_length: int | None = None
    check: int | None = None
    trailer: bytes = b""
    macs: bytes = bytes(12)
    tag: bytes = b""


PLAIN = Given()


def octets(host: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)


def summed(data: bytes) -> int:
    """The Internet checksum (RFC 1071), word by word."""
    total = 0
    for high, low in zip(data[::2], (*data[1::2], *([0] if len(data) % 2 else [])), strict=True):
        total += high << 8 | low
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def frame(source: Addr, target: Addr, payload: bytes, given: Given = PLAIN) -> bytes:
    """A frame as a card would hand it over."""
    hosts = octets(source.host) + octets(target.host)
    size = UDP + len(payload)
    udp = struct.pack(
        "!HHH", source.port, target.port, size if given.udp_length is None else given.udp_length
    )
    is_v4 = len(hosts) == 8
    pseudo = hosts + (struct.pack("!HH", 17, size) if is_v4 else struct.pack("!II", size, 17))
    check = summed(pseudo + udp + b"\0\0" + payload) or 0xFFFF
    udp += struct.pack("!H", check if given.check is None else given.check) + payload
    if is_v4:
        length = IPV4 + len(given.options) + size if given.length is None else given.length
        version = 0x45 + len(given.options) // 4
        first = struct.pack(
            "!BBHHHBB", version, given.tos, length, 7, given.fragment, given.ttl, given.protocol
        )
        header = (
            first + struct.pack("!H", summed(first + b"\0\0" + hosts + given.options)) + hosts + given.options
        )
        kind = b"\x08\x00"
    else:
        length = len(given.options) + size if given.length is None else given.length
        header = struct.pack("!IHBB", 6 << 28 | given.tos << 20 | 0x12345, length, given.protocol, given.ttl)
        header += hosts + given.options
        kind = b"\x86\xdd"
    return given.macs + given.tag + kind + header + udp + given.trailer
