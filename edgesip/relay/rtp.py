"""What a datagram on a media port is, and the fields of its header that the relay looks at.

Reads octets only. Refuses to know who sent them, whether they may pass, or what the payload holds.
"""

from __future__ import annotations

import enum
import struct
from typing import Final, NamedTuple

_RTP_HEADER: Final = struct.Struct("!BBHII")

RTP_MINIMUM: Final = 12
RTCP_MINIMUM: Final = 8
STUN_MINIMUM: Final = 20
DTLS_MINIMUM: Final = 13


class Kind(enum.Enum):
    """The protocols that share a media port (RFC 7983 §7); JUNK is everything else, and what is too short."""

    RTP = "rtp"
    RTCP = "rtcp"
    STUN = "stun"
    DTLS = "dtls"
    JUNK = "junk"


RTP, RTCP, STUN, DTLS, JUNK = Kind.RTP, Kind.RTCP, Kind.STUN, Kind.DTLS, Kind.JUNK


class Header(NamedTuple):
    """The fixed RTP header without its flags (RFC 3550 §5.1)."""

    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    ssrc: int


def classify(packet: bytes) -> Kind:
    """Tell the protocol by the first octet (RFC 7983 §7), RTP from RTCP by the second (RFC 5761 §4)."""
    size = len(packet)
    if size < RTCP_MINIMUM:
        return JUNK
    first = packet[0]
    if 128 <= first <= 191:
        if 192 <= packet[1] <= 223:
            return RTCP
        return RTP if size >= RTP_MINIMUM else JUNK
    if first <= 3:
        return STUN if size >= STUN_MINIMUM else JUNK
    if 20 <= first <= 63:
        return DTLS if size >= DTLS_MINIMUM else JUNK
    return JUNK


def header(packet: bytes) -> Header:
    """Read the header of a packet that `classify` calls RTP; ValueError when it is too short to have one."""
    if len(packet) < RTP_MINIMUM:
        raise ValueError("shorter than an RTP header")
    _, second, sequence, timestamp, ssrc = _RTP_HEADER.unpack_from(packet)
    return Header(second & 0x7F, second >= 0x80, sequence, timestamp, ssrc)


def payload_of(data: bytes) -> bytes | None:
    """The payload of what `classify` calls RTP, without padding; None when its lengths do not hold."""
    first, end = data[0], len(data)
    start = RTP_MINIMUM + 4 * (first & 0x0F)
    if first & 0x10:
        if start + 4 > end:
            return None
        start += 4 + 4 * int.from_bytes(data[start + 2 : start + 4], "big")
    if first & 0x20:
        end -= data[-1]
    return data[start:end] if start <= end else None


def is_valid_rtcp(packet: bytes, secured: bool = False) -> bool:
    """Whether the octets hold together as RTCP (RFC 3550 §A.2; reduced-size packets too, RFC 5506 §3.4.3).

    At least 8 octets; every report of version 2 and an RTCP type; padding only in the last; lengths that
    add up to the datagram. `secured` (SRTCP, RFC 3711 §3.4) looks at the first header alone: the rest is
    ciphertext and a trailer.
    """
    size = len(packet)
    if size < RTCP_MINIMUM:
        return False
    offset = 0
    while offset < size:
        if size - offset < 4:
            return False
        first, kind = packet[offset], packet[offset + 1]
        if first >> 6 != 2 or not 192 <= kind <= 223:
            return False
        offset += 4 * (int.from_bytes(packet[offset + 2 : offset + 4], "big") + 1)
        if secured:
            return offset <= size
        if first & 0x20 and offset < size:
            return False
    return offset == size
