"""sdpops, line by line: what SDP says, and what is left of it when codecs, streams or lines go."""

from __future__ import annotations

import pytest

from edgesip.relay.sdp import parse
from edgesip.signal.wire import sdp_ops
from edgesip.signal.wire.sdp_streams import (
    address_family,
    common_transport,
    field,
    has_ice,
    line_with,
    of_kind,
    printed,
    read,
)

PHONE = """\
v=0
o=alice 2890844526 7 IN IP4 192.0.2.10
s=-
c=IN IP4 192.0.2.10
t=0 0
a=group:BUNDLE one two
m=audio 49170 RTP/AVP 0 8 101
a=mid:one
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-15
a=ptime:20
m=video 49172 RTP/AVP 96 97 31
b=AS:512
c=IN IP6 2001:db8::10
a=mid:two
a=rtcp:49180 IN IP4 192.0.2.10
a=rtpmap:96 H264/90000
a=rtcp-fb:96 nack pli
a=rtcp-fb:* ccm fir
a=rtpmap:97 rtx/90000
a=fmtp:97 rtx-time=200; apt=96
a=inactive
"""


def octets(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode()


def cut(text: str, *lines: str, **changed: str) -> bytes:
    """The text without some lines; `m1="..."` is another beginning of the second m-line and so on."""
    kept, number = [], -1
    for line in text.splitlines():
        number += line.startswith("m=")
        if line.startswith("m=") and f"m{number}" in changed:
            line = changed[f"m{number}"]
        if line not in lines:
            kept.append(line)
    return octets("\n".join([*kept, ""]))


SDP = octets(PHONE)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("body", PHONE.replace("\n", "\r\n")),
        ("sess_version", "7"),
        ("o:ip", "192.0.2.10"),
        ("c:ip", "192.0.2.10"),
        ("c:af", "IP4"),
        ("m0:rtp:port", "49170"),
        ("m0:rtcp:port", "49171"),
        ("m1:rtcp:port", "49180"),
        ("m1:b:AS", "512"),
        ("m1:b:RR", ""),
        ("m2:rtp:port", ""),
    ],
)
def test_fields_have_the_names_of_sdpops(name: str, value: str) -> None:
    assert field(SDP, name) == value


def test_a_raw_stream_is_its_lines_as_they_came() -> None:
    assert field(SDP, "m1:raw") == "\r\n".join(PHONE[PHONE.index("m=video") :].splitlines()) + "\r\n"


@pytest.mark.parametrize("name", ["", "m", "m0", "mx:raw", "m0:rtp", "z:ip", "m0:b:XX"])
def test_a_field_that_there_is_not_is_a_fault(name: str) -> None:
    with pytest.raises(ValueError, match="there is no"):
        field(SDP, name)


def test_nothing_is_found_in_what_is_no_sdp() -> None:
    for text in (b"", b"hello", b"m=\r\n", b"m=audio\r\n", b"v=0\r\nm=audio x RTP/AVP\r\n"):
        assert field(text, "sess_version") == field(text, "c:ip") == ""
        assert address_family(text) == -1
        assert not has_ice(text)
        assert sdp_ops.without_codecs(text, sdp_ops.by_name("PCMU")) == text


def test_streams_have_kinds_transports_codecs_and_directions() -> None:
    found = read(SDP)
    assert [one.kind for one in found.streams] == ["audio", "video"]
    assert found.streams[0].codecs() == {"0": "PCMU", "8": "PCMA", "101": "telephone-event/8000"}
    assert [found.active(one) for one in found.streams] == [True, False]
    assert of_kind(found.streams, "VIDEO") == [found.streams[1]]
    assert common_transport(SDP) == "RTP/AVP"
    assert common_transport(SDP.replace(b"video 49172 RTP/AVP", b"video 49172 RTP/SAVP")) == ""
    assert (address_family(SDP), line_with(SDP, "a=rtcp")) == (4, "a=rtcp:49180 IN IP4 192.0.2.10")
    assert has_ice(SDP + b"a=candidate:1 1 UDP 1 192.0.2.1 9 typ host\r\n")


def test_the_streams_address_beats_the_sessions() -> None:
    only = octets(PHONE).replace(b"a=ptime:20\r\n", b"c=IN IP6 2001:db8::1\r\n")
    assert (field(only, "c:ip"), address_family(only)) == ("2001:db8::1", 6)


def test_a_description_in_words_has_a_line_for_each_stream() -> None:
    assert printed(SDP).splitlines() == [
        "session 192.0.2.10 version 7",
        "stream 0: audio 192.0.2.10 49170 RTP/AVP sendrecv: 0 PCMU, 8 PCMA, 101 telephone-event/8000",
        "stream 1: video 2001:db8::10 49172 RTP/AVP inactive: 96 H264/90000, 97 rtx/90000, 31 H261",
    ]


# ---- codecs


def test_a_codec_goes_with_its_attributes() -> None:
    expected = cut(
        PHONE, "a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-15", m0="m=audio 49170 RTP/AVP 0 8"
    )
    assert sdp_ops.without_codecs(SDP, sdp_ops.by_id("101")) == expected
    assert sdp_ops.without_codecs(SDP, sdp_ops.by_name("Telephone-Event/8000")) == expected


def test_what_repeats_a_codec_goes_with_it() -> None:
    gone = (
        "a=rtpmap:96 H264/90000",
        "a=rtcp-fb:96 nack pli",
        "a=rtpmap:97 rtx/90000",
        "a=fmtp:97 rtx-time=200; apt=96",
    )
    expected = cut(PHONE, *gone, m1="m=video 49172 RTP/AVP 31")
    assert sdp_ops.without_codecs(SDP, sdp_ops.by_name("h264"), "video") == expected


def test_only_streams_of_the_media_type_lose_codecs() -> None:
    kept = sdp_ops.without_codecs(SDP, sdp_ops.by_name("PCMA,telephone-event"), "audio", keep=True)
    assert kept == cut(PHONE, m0="m=audio 49170 RTP/AVP 8 101")


def test_a_stream_without_codecs_is_off_and_keeps_its_place() -> None:
    left = sdp_ops.without_codecs(SDP, sdp_ops.by_name("PCMA"), keep=True)
    media = parse(left).media
    assert [(one.kind, one.port, one.fmts) for one in media] == [
        ("audio", 49170, ("8",)),
        ("video", 0, ("96", "97", "31")),
    ]
    assert b"a=group:BUNDLE one\r\n" in left, "what is off is in no group"
    assert b"H264" not in left


def test_a_list_without_anything_in_it_changes_no_octet() -> None:
    assert sdp_ops.without_codecs(SDP, sdp_ops.by_name("opus")) is SDP
    assert sdp_ops.without_codecs(SDP, sdp_ops.by_id("3,18")) is SDP


def test_formats_that_are_no_payload_types_stay() -> None:
    fax = octets("v=0\no=- 1 1 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nm=image 4000 udptl t38\n")
    assert sdp_ops.without_codecs(fax, sdp_ops.by_name("PCMU"), keep=True) is fax


@pytest.mark.parametrize("listed", ["", "0,,8", "PCMU", "128", "-1"])
def test_a_list_of_payload_types_has_numbers(listed: str) -> None:
    with pytest.raises(ValueError, match="no list of payload types"):
        sdp_ops.by_id(listed)


# ---- streams and lines


def test_a_media_type_is_switched_off_but_its_line_stays() -> None:
    left = sdp_ops.without_streams(SDP, "video")
    assert left.endswith(octets("a=ptime:20\nm=video 0 RTP/AVP 96 97 31\nc=IN IP6 2001:db8::10\n"))
    assert sdp_ops.without_streams(left, "video") is left
    assert sdp_ops.without_streams(SDP, "", "RTP/SAVP") is SDP
    assert [one.port for one in parse(sdp_ops.without_streams(SDP, "", "RTP/AVP")).media] == [0, 0]


def test_lines_go_by_their_beginning() -> None:
    assert sdp_ops.without_lines(SDP, "a=rtcp-fb") == cut(
        PHONE, "a=rtcp-fb:96 nack pli", "a=rtcp-fb:* ccm fir"
    )
    assert sdp_ops.without_lines(SDP, "a=mid", "audio") == cut(PHONE, "a=mid:one")
    assert sdp_ops.without_lines(SDP, "c=", "video") == cut(PHONE, "c=IN IP6 2001:db8::10")


@pytest.mark.parametrize("prefix", ["", "a", "m=", "v=0", "o=", "t=", "s=-", "ax"])
def test_what_every_description_needs_stays(prefix: str) -> None:
    with pytest.raises(ValueError, match="no beginning"):
        sdp_ops.without_lines(SDP, prefix)


def test_the_version_is_counted_up_or_set() -> None:
    assert field(sdp_ops.with_version(SDP, -1), "sess_version") == "8"
    assert sdp_ops.with_version(SDP, 12) == octets(PHONE.replace("526 7 IN", "526 12 IN"))
    with pytest.raises(ValueError, match="no version"):
        sdp_ops.with_version(SDP, -2)


def test_bare_line_feeds_and_a_missing_end_stay_as_they_are() -> None:
    bare = PHONE.encode().removesuffix(b"\n")
    left = sdp_ops.without_codecs(bare, sdp_ops.by_id("101"))
    gone = ("a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-15")
    expected = cut(PHONE, *gone, m0="m=audio 49170 RTP/AVP 0 8")
    assert left == expected.replace(b"\r\n", b"\n").removesuffix(b"\n")
