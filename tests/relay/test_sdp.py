"""SDP read: what a body says about its media, and which bodies are refused."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesip.relay.sdp import MAX_BODY, MAX_LINES, Endpoint, Media, Sdp, SdpError, parse, rewrite

RELAY = Endpoint("203.0.113.5", 20000, 20001, False)

HEAD = "v=0\no=alice 2890844526 18446744073709551617 IN IP4 10.0.0.7\ns=call\n"
PRIVATE = "c=IN IP4 10.0.0.7\n"
PUBLIC = "c=IN IP4 203.0.113.5\n"


def octets(*texts: str) -> bytes:
    return "".join(texts).replace("\n", "\r\n").encode()


def only(body: bytes) -> Media:
    (media,) = parse(body).media
    return media


# Reading


def test_reads_what_a_media_line_says_and_inherits() -> None:
    body = octets(
        HEAD,
        PRIVATE,
        "t=0 0\na=sendonly\n",
        "m=audio 4000/1 RTP/AVP 0 8 101 8\na=rtcp:4777 IN IP4 10.0.0.8\na=rtcp-mux\n",
        "m=video 4002 RTP/SAVPF 96\nc=IN IP6 2001:DB8:0::1\na=recvonly\n",
    )
    audio, video = parse(body).media
    assert (audio.kind, audio.port, audio.proto, audio.fmts) == (
        "audio",
        4000,
        "RTP/AVP",
        ("0", "8", "101", "8"),
    )
    assert audio.payload_types == {0, 8, 101}
    assert (audio.address, audio.direction, audio.mux) == ("10.0.0.7", "sendonly", True)
    assert (audio.rtcp_port, audio.rtcp_address) == (4777, "10.0.0.8")
    assert audio.relayed
    assert audio.hold
    assert not audio.null
    assert (video.address, video.direction, video.mux) == ("2001:db8::1", "recvonly", False)
    assert (video.rtcp_port, video.rtcp_address) == (None, None)
    assert not video.hold


@pytest.mark.parametrize(
    ("line", "relayed"),
    [
        ("m=audio 4000 RTP/AVP 0", True),
        ("m=audio 4000 RTP/SAVP 0", True),
        ("m=audio 4000 rtp/avpf 0", True),
        ("m=image 4000 udptl t38", True),
        ("m=application 4000 UDP/BFCP *", True),
        ("m=audio 0 RTP/AVP 0", False),
        ("m=audio 4000 UDP/TLS/RTP/SAVPF 0", False),
        ("m=image 4000 UDP/TLS/UDPTL t38", False),
        ("m=application 4000 UDP/DTLS/SCTP webrtc-datachannel", False),
        ("m=application 9 TCP/DTLS/SCTP webrtc-datachannel", False),
        ("m=message 4000 TCP/MSRP *", False),
        ("m=audio 4000 TCP/RTP/AVP 0", False),
        ("m=audio 4000 SCTP 0", False),
    ],
)
def test_which_lines_the_relay_takes(line: str, relayed: bool) -> None:
    assert only(octets(HEAD, PRIVATE, line, "\n")).relayed is relayed


@pytest.mark.parametrize("group", ["IN IP4 224.2.17.12/127", "IN IP6 ff15::101/3"])
def test_multicast_is_left_alone(group: str) -> None:
    body = octets(HEAD, f"c={group}\n", "m=audio 4000 RTP/AVP 0\n")
    assert not only(body).relayed
    assert rewrite(body, [RELAY]) == body


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("IN IP4 10.0.0.7", "10.0.0.7"),
        ("in ip4  10.0.0.7 ", "10.0.0.7"),
        ("IN IP4 10.0.0.7/127", "10.0.0.7"),
        ("IN IP6 [2001:db8::0:1]", "2001:db8::1"),
        ("IN IP6 ::ffff:10.0.0.7", "10.0.0.7"),
        ("IN IP4 media.example.org", "media.example.org"),
    ],
)
def test_addresses_are_canonical(written: str, read: str) -> None:
    assert only(octets(HEAD, f"c={written}\n", "m=audio 4000 RTP/AVP 0\n")).address == read


@pytest.mark.parametrize(
    ("lines", "direction", "hold"),
    [
        ("", "sendrecv", False),
        ("a=sendrecv\n", "sendrecv", False),
        ("a=recvonly\n", "recvonly", False),
        ("a=sendonly\n", "sendonly", True),
        ("a=inactive\n", "inactive", True),
        ("c=IN IP4 0.0.0.0\n", "sendrecv", True),
        ("c=IN IP6 ::\n", "sendrecv", True),
    ],
)
def test_hold_forms(lines: str, direction: str, hold: bool) -> None:
    media = only(octets(HEAD, PRIVATE, "m=audio 4000 RTP/AVP 0\n", lines))
    assert (media.direction, media.hold) == (direction, hold)


def test_a_disabled_line_needs_neither_address_nor_formats() -> None:
    assert only(octets(HEAD, "m=audio 0 RTP/AVP\n")).address == ""


def test_of_lines_that_stand_twice_the_first_counts() -> None:
    twice = "c=IN IP4 10.0.0.8\nc=IN IP4 10.0.0.9\na=rtcp:4001\na=rtcp:4002\n"
    media = only(octets(HEAD, "m=audio 4000 RTP/AVP 0\n", twice))
    assert (media.address, media.rtcp_port) == ("10.0.0.8", 4001)
    assert only(octets(HEAD, PRIVATE, "c=IN IP4 10.0.0.9\nm=audio 4000 RTP/AVP 0\n")).address == "10.0.0.7"


def test_a_blank_after_the_version_is_forgiven() -> None:
    assert parse(octets("v=0 \no=- 1 1 IN IP4 10.0.0.7\n")).media == ()


def test_no_media_at_all_is_a_session_too() -> None:
    body = octets(HEAD, PRIVATE)
    assert parse(body).media == ()
    assert rewrite(body, []) == body


def test_a_body_that_ends_in_blank_lines_or_in_none() -> None:
    for tail in (b"", b"\r\n", b"\n", b"\r\n\r\n\r\n"):
        body = octets(HEAD, PRIVATE, "m=audio 4000 RTP/AVP 0") + tail
        assert rewrite(body, [RELAY]) == octets(HEAD, PUBLIC, "m=audio 20000 RTP/AVP 0") + tail


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\r\n\r\n",
        b"garbage",
        octets("o=- 1 1 IN IP4 10.0.0.7\n"),
        octets("v=1\no=- 1 1 IN IP4 10.0.0.7\n"),
        octets("v=0\ns=-\n"),
        octets("b=AS:1\n", HEAD, PRIVATE),
        octets("v=0\n", PRIVATE, "m=audio 4000 RTP/AVP 0\no=- 1 1 IN IP4 10.0.0.7\n"),
        octets(HEAD, HEAD),
        octets(HEAD, "m=audio 4000 RTP/AVP 0\n"),
        octets(HEAD, PRIVATE, "m=audio 4000 RTP/AVP\n"),
        octets(HEAD, PRIVATE, "m=audio 4000 RTP/AVP 128\n"),
        octets(HEAD, PRIVATE, "m=audio 4000 RTP/AVP pcmu\n"),
        octets(HEAD, PRIVATE, "m=audio 65536 RTP/AVP 0\n"),
        octets(HEAD, PRIVATE, "m=audio 4294967296 RTP/AVP 0\n"),
        octets(HEAD, PRIVATE, "m=audio " + "9" * 5000 + " RTP/AVP 0\n"),
        octets(HEAD, PRIVATE, "m=audio -1 RTP/AVP 0\n"),
        octets(HEAD, PRIVATE, "m=audio +4000 RTP/AVP 0\n"),
        octets(HEAD, PRIVATE, "m=audio 4_00 RTP/AVP 0\n"),
        octets(HEAD, PRIVATE, "m=audio ٤٠٠٠ RTP/AVP 0\n"),
        octets(HEAD, PRIVATE, "m=audio 4000/2 RTP/AVP 0\n"),
        octets(HEAD, PRIVATE, "m=audio 4000/0 RTP/AVP 0\n"),
        octets(HEAD, PRIVATE, "m=audio 4000/4294967297 RTP/AVP 0\n"),
        octets(HEAD, PRIVATE, "m=audio\n"),
        octets(HEAD, PRIVATE, "m= audio 4000 RTP/AVP 0\n"),
        octets(HEAD, PRIVATE, "m=audio 4000 RTP/AVP 0\na=fmtp\0\n"),
        octets(HEAD, PRIVATE, "m=audio 4000 RTP/AVP 0\na=x\rc=IN IP4 192.0.2.66\n"),
        octets(HEAD, PRIVATE, "m=audio 4000 RTP/AVP 0\na=x") + b"\r",
        octets(HEAD, PRIVATE, "\nm=audio 4000 RTP/AVP 0\n"),
        octets(HEAD, PRIVATE, "m=audio 4000 RTP/AVP 0\nno attribute\n"),
        octets(HEAD, PRIVATE, "m=audio 4000 RTP/AVP 0\n =x\n"),
        octets(HEAD, PRIVATE, "m=audio 4000 RTP/AVP 0\na=rtcp\n"),
        octets(HEAD, PRIVATE, "m=audio 4000 RTP/AVP 0\na=rtcp:65536\n"),
        octets(HEAD, PRIVATE, "m=audio 4000 RTP/AVP 0\na=rtcp:4001 10.0.0.7\n"),
        octets(HEAD, PRIVATE, "m=audio 4000 RTP/AVP 0\na=rtcp:4001\na=rtcp:x\n"),
        octets(HEAD, "c=IN IP4\nm=audio 4000 RTP/AVP 0\n"),
        octets(HEAD, "c=IN IP4 \nm=audio 4000 RTP/AVP 0\n"),
        octets(HEAD, "c=ATM NSAP 10.0.0.7\nm=audio 4000 RTP/AVP 0\n"),
        octets(HEAD, "c=IN IP4 10.0.0.7;x\nm=audio 4000 RTP/AVP 0\n"),
        octets(HEAD, "c=IN IP6 fe80::1%eth0\nm=audio 4000 RTP/AVP 0\n"),
        octets(HEAD, "c=IN IP6 2001:::1\nm=audio 4000 RTP/AVP 0\n"),
        octets(HEAD, "c=IN IP4 ", "a" * 256, "\nm=audio 4000 RTP/AVP 0\n"),
    ],
)
def test_a_body_we_cannot_answer_for(body: bytes) -> None:
    with pytest.raises(SdpError) as refusal:
        parse(body)
    assert refusal.value.status == 488
    assert refusal.value.reason


def test_limits_hold_exactly() -> None:
    line = "m=audio 4000 RTP/AVP 0\n"
    assert len(parse(octets(HEAD, PRIVATE, line * 16)).media) == 16
    with pytest.raises(SdpError, match="16 media"):
        parse(octets(HEAD, PRIVATE, line * 17))
    room = MAX_LINES - 4
    assert parse(octets(HEAD, PRIVATE, "a=x\n" * room)).media == ()
    with pytest.raises(SdpError, match="512 lines"):
        parse(octets(HEAD, PRIVATE, "a=x\n" * (room + 1)))
    with pytest.raises(SdpError, match="512 lines"):
        parse(octets(HEAD, PRIVATE, "a=x\n" * room, "a=x"))
    start = octets(HEAD, PRIVATE, "a=")
    assert parse(start + b"x" * (MAX_BODY - len(start))).media == ()
    with pytest.raises(SdpError, match="65536"):
        parse(start + b"x" * (MAX_BODY - len(start) + 1))


def test_the_worst_bodies_are_read_in_linear_time() -> None:
    start = octets(HEAD, PRIVATE, "m=audio 4000 RTP/AVP")
    began = time.perf_counter()
    for filler in (b" 0", b"  ", b" ", b"x", b"\n", b"=", b"a=\n", b"m=\n", b"c=IN IP4 1.1.1.1\n"):
        fill = filler * ((MAX_BODY - len(start) - 1) // len(filler))
        for body in (start + fill + b"\x80", start + b" 0" + fill, start + b" 0\r\n" + fill):
            try:
                parse(body)
            except SdpError:
                continue
    assert time.perf_counter() - began < 1.0


# Anything at all


GOOD_STARTS = [b"", b"v=0\r\no=", octets(HEAD, PRIVATE, "m=audio 4000 RTP/AVP 0\n")]


@settings(deadline=None)
@given(st.sampled_from(GOOD_STARTS), st.binary(max_size=400))
def test_any_octets_are_read_or_refused(start: bytes, rest: bytes) -> None:
    try:
        sdp = parse(start + rest)
    except SdpError:
        return
    assert isinstance(sdp, Sdp)
    assert sdp.rewrite([None] * len(sdp.media)) == start + rest
