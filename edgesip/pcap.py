"""Capture files for Wireshark and tcpdump: datagrams as raw IP packets made up around them.

Each datagram gets an IP and a UDP header with right lengths and checksums. Knows no file and no socket.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from ipaddress import ip_address

from edgesip.address import Addr

HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 101)
"""Little-endian, microseconds, LINKTYPE_RAW: a packet begins with its IP header."""
LONGEST = 65_000
"""Octets of a datagram at most: what is longer is cut."""
_UDP = 17
_TTL = 64


def record(at: float, source: Addr, target: Addr, data: bytes) -> bytes:
    """One datagram of the wall clock time `at`, as a record of the file. Both addresses are of one family."""
    packet = packet_of(source, target, data[:LONGEST])
    seconds, micros = divmod(round(at * 1_000_000), 1_000_000)
    return struct.pack("<IIII", seconds, micros, len(packet), len(packet)) + packet


def packet_of(source: Addr, target: Addr, data: bytes) -> bytes:
    """The IP packet of a UDP datagram (RFC 791, RFC 8200, RFC 768)."""
    length = 8 + len(data)
    ends = _packed(source.host) + _packed(target.host)
    pseudo = ends + struct.pack("!IxxxB", length, _UDP)
    ports = struct.pack("!HHH", source.port, target.port, length)
    sum_ = _checksum(pseudo + ports + b"\0\0" + data) or 0xFFFF
    datagram = ports + struct.pack("!H", sum_) + data
    if len(ends) == 32:
        return struct.pack("!IHBB", 6 << 28, length, _UDP, _TTL) + ends + datagram
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 0, 0, _TTL, _UDP, 0) + ends
    return head[:10] + struct.pack("!H", _checksum(head)) + head[12:] + datagram


@lru_cache(maxsize=1024)
def _packed(host: str) -> bytes:
    return ip_address(host).packed


def _checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071): 65536 leaves 1 by 65535, so the sum of all words is a remainder."""
    if len(data) % 2:
        data += b"\0"
    rest = int.from_bytes(data, "big") % 0xFFFF
    return 0xFFFF - rest if rest or not any(data) else 0
