"""What stands on a media port: told apart by its first two octets, believed only when it holds together."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesip.relay import rtp

SSRC = b"\x11\x22\x33\x44"


def report(kind: int, body: bytes = SSRC, flags: int = 0x80) -> bytes:
    return struct.pack("!BBH", flags, kind, len(body) // 4) + body


SENDER = report(200, SSRC + b"\0" * 20)
SOURCE = report(202, SSRC + b"\x01\x02me\0\0\0\0", flags=0x81)


@pytest.mark.parametrize(
    ("low", "high", "kind"),
    [
        (0, 3, rtp.STUN),
        (4, 19, rtp.JUNK),
        (20, 63, rtp.DTLS),
        (64, 127, rtp.JUNK),
        (128, 191, rtp.RTP),
        (192, 255, rtp.JUNK),
    ],
)
def test_every_first_octet(low: int, high: int, kind: rtp.Kind) -> None:
    for first in range(low, high + 1):
        assert rtp.classify(bytes((first,)) + b"\0" * 30) is kind


def test_every_second_octet() -> None:
    for second in range(256):
        kind = rtp.RTCP if 192 <= second <= 223 else rtp.RTP
        assert rtp.classify(bytes((0x80, second)) + b"\0" * 30) is kind


@pytest.mark.parametrize(
    ("start", "shortest", "kind"),
    [
        (b"\x80\x00", 12, rtp.RTP),
        (b"\x80\xc8", 8, rtp.RTCP),
        (b"\x00\x01", 20, rtp.STUN),
        (b"\x16\xfe", 13, rtp.DTLS),
    ],
)
def test_too_short_is_junk(start: bytes, shortest: int, kind: rtp.Kind) -> None:
    for size in range(shortest):
        assert rtp.classify((start + b"\0" * 40)[:size]) is rtp.JUNK
    assert rtp.classify((start + b"\0" * 40)[:shortest]) is kind


def test_header_fields() -> None:
    packet = bytes.fromhex("80e0fffe01020304aabbccdd") + b"payload"
    assert rtp.header(packet) == (96, True, 0xFFFE, 0x01020304, 0xAABBCCDD)
    assert rtp.header(b"\x80\x08" + packet[2:]) == (8, False, 0xFFFE, 0x01020304, 0xAABBCCDD)
    assert rtp.header(b"\x80\x80" + packet[2:])[:2] == (0, True)
    with pytest.raises(ValueError, match="shorter"):
        rtp.header(packet[:11])


@pytest.mark.parametrize(
    "packet",
    [
        SENDER,
        SENDER + SOURCE,
        SENDER + SOURCE + report(203, flags=0x81),
        report(201),
        report(206, SSRC * 2, flags=0x81),
        SENDER + report(201, SSRC + b"\0\0\0\4", flags=0xA0),
    ],
)
def test_rtcp_that_holds_together(packet: bytes) -> None:
    assert rtp.is_valid_rtcp(packet)
    assert rtp.is_valid_rtcp(packet, secured=True)


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        report(200, b""),
        SENDER[:-1],
        SENDER + b"\0",
        SENDER + b"\x80\xca\x00",
        SENDER + report(202)[:4],
        SENDER + report(200, flags=0x40),
        SENDER + report(96),
        SENDER + b"\0" * 8,
        report(200, flags=0xA0) + SOURCE,
        report(200, flags=0xC0),
        report(191),
        report(224),
        b"\x80\xc8\xff\xff" + SSRC,
    ],
)
def test_rtcp_that_does_not(packet: bytes) -> None:
    assert not rtp.is_valid_rtcp(packet)


def test_srtcp_is_judged_by_its_first_header() -> None:
    packet = report(200, SSRC + b"\x9f" * 20) + b"\x5a" * 36 + b"\x80\0\0\1" + b"tagtagtag!"
    assert not rtp.is_valid_rtcp(packet)
    assert rtp.is_valid_rtcp(packet, secured=True)
    assert not rtp.is_valid_rtcp(packet[:20], secured=True)


@settings(deadline=None)
@given(st.binary(max_size=64))
def test_any_datagram_has_a_kind(packet: bytes) -> None:
    kind = rtp.classify(packet)
    if kind is rtp.RTP:
        found = rtp.header(packet)
        assert 0 <= found.payload_type < 128
    if rtp.is_valid_rtcp(packet):
        assert kind is rtp.RTCP
        assert rtp.is_valid_rtcp(packet, secured=True)
