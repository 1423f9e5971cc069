"""fix_nated_sdp, line by line, and what is on hold (nat.md §2.4, §5)."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesip.signal.nat.sdp_fix import fix_nated_sdp
from edgesip.signal.nat.sdp_seen import place_of_sdp

US = "198.51.100.7"
MARK = "a=nortpproxy:yes"


def text(*lines: str, end: str = "\r\n") -> bytes:
    return "".join(line + end for line in lines).encode()


HEAD = ("v=0", "o=- 1 1 IN IP4 192.168.1.10", "s=-", "c=IN IP4 192.168.1.10", "t=0 0")
AUDIO = ("m=audio 4000 RTP/AVP 0", "a=rtcp:4001 IN IP4 192.168.1.10", "a=sendrecv")
VIDEO = ("m=video 5000 RTP/AVP 99", "c=IN IP4 192.168.1.11/127", "a=rtcp:5001")


def fixed(sdp: bytes, flags: int, host: str = US, mark: str = MARK, old: bool = True) -> list[str] | None:
    done = fix_nated_sdp(sdp, flags, host, mark, old)
    return done.decode().split("\r\n") if done is not None else None


def test_2_makes_media_go_to_the_source_and_tells_where_it_would_have_gone() -> None:
    assert fixed(text(*HEAD, *AUDIO, *VIDEO), 2) == [
        "v=0",
        "o=- 1 1 IN IP4 192.168.1.10",
        "s=-",
        "c=IN IP4 198.51.100.7",
        "t=0 0",
        "m=audio 4000 RTP/AVP 0",
        "a=rtcp:4001 IN IP4 198.51.100.7",
        "a=sendrecv",
        "m=video 5000 RTP/AVP 99",
        "c=IN IP4 198.51.100.7/127",
        "a=rtcp:5001",
        "a=oldmediaip:192.168.1.10",
        "a=oldmediaip:192.168.1.11",
        "",
    ]


def test_8_is_the_same_for_the_origin() -> None:
    assert fixed(text(*HEAD, *AUDIO), 8, old=False) == [
        "v=0",
        "o=- 1 1 IN IP4 198.51.100.7",
        *HEAD[2:],
        "m=audio 4000 RTP/AVP 0",
        "a=rtcp:4001 IN IP4 198.51.100.7",
        "a=sendrecv",
        "",
    ]


def test_1_makes_each_media_description_active_once() -> None:
    sdp = text(*HEAD, *AUDIO, *VIDEO, "a=direction:active")
    assert fixed(sdp, 1) == [*HEAD, *AUDIO, "a=direction:active", *VIDEO, "a=direction:active", ""]
    assert fix_nated_sdp(text(*HEAD), 1, US, MARK, True) == text(*HEAD), "nothing to be active"


def test_4_adds_its_mark_once_and_an_empty_one_not_at_all() -> None:
    once = text(*HEAD, *AUDIO, MARK)
    assert fix_nated_sdp(text(*HEAD, *AUDIO), 4, US, MARK, True) == once
    assert fix_nated_sdp(once, 4, US, MARK, True) is once
    assert fix_nated_sdp(text(*HEAD), 4, US, "", True) == text(*HEAD)
    assert fix_nated_sdp(text(*HEAD), 4, US, "a=x", True) == text(*HEAD, "a=x")


@pytest.mark.parametrize(
    "line",
    [
        "c=IN IP4 0.0.0.0",
        "c=IN IP6 ::",
        f"c=IN IP4 {US}",
        "c=IN IP4 224.2.36.42/127",
        "c=IN IP4",
        "c=garbage",
        "C=IN IP4 10.0.0.1",
        "a=rtcp:5001",
        "a=candidate:1 1 UDP 1 192.168.1.10 4000 typ host",
    ],
)
def test_hold_multicast_and_what_is_there_already_stay(line: str) -> None:
    sdp = text("v=0", "o=- 1 1 IN IP4 192.168.1.10", "s=-", "m=audio 1 RTP/AVP 0", line)
    assert fix_nated_sdp(sdp, 2, US, MARK, True) is sdp


def test_the_other_family_is_an_error_and_nothing_is_changed() -> None:
    sdp = text("v=0", "o=- 1 1 IN IP6 2001:db8::1", "c=IN IP4 192.168.1.10", "a=rtcp:1 IN IP6 fd00::1")
    assert fix_nated_sdp(sdp, 2, US, MARK, True) is None
    assert fix_nated_sdp(sdp, 8, US, MARK, True) is None
    assert fix_nated_sdp(sdp, 5, US, MARK, True) is not None


def test_ipv6_has_a_mark_of_its_own() -> None:
    sdp = text("v=0", "o=- 1 1 IN IP6 fd00::1", "s=-", "c=IN IP6 fd00::1", "m=audio 1 RTP/AVP 0")
    assert fixed(sdp, 10, "2001:db8::7") == [
        "v=0",
        "o=- 1 1 IN IP6 2001:db8::7",
        "s=-",
        "c=IN IP6 2001:db8::7",
        "m=audio 1 RTP/AVP 0",
        "a=oldmediaip6:fd00::1",
        "",
    ]


@pytest.mark.parametrize("end", ["\r\n", "\n"])
@pytest.mark.parametrize("last", [True, False], ids=["ended", "cut"])
def test_line_ends_are_those_of_the_body(end: str, last: bool) -> None:
    sdp = text(*HEAD, *AUDIO, end=end)
    expected = text(*HEAD, *AUDIO, "a=direction:active", MARK, end=end)
    assert fix_nated_sdp(sdp if last else sdp.removesuffix(end.encode()), 5, US, MARK, True) == expected


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(
    lines=st.lists(
        st.sampled_from([*HEAD, *AUDIO, *VIDEO, "", "x", "c=IN IP4 ", "o=", "\x00", "a=rtcp:"]), max_size=12
    ),
    flags=st.integers(1, 15),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_whatever_it_is_a_second_time_changes_nothing(lines: list[str], flags: int, end: str) -> None:
    once = fix_nated_sdp(end.join(lines).encode(), flags, US, MARK, True)
    assert once is not None
    assert fix_nated_sdp(once, flags, US, MARK, True) == once


# -- the SDP in a body -----------------------------------------------------------------------------------


def test_the_sdp_of_a_multipart_body_is_found_where_it_stands() -> None:
    sdp = text(*HEAD, *AUDIO).rstrip(b"\r\n")
    body = b"--b\r\nContent-Type: text/plain\r\n\r\nc=IN IP4 1.2.3.4\r\n"
    body += b"--b\r\nContent-Type: application/sdp\r\n\r\n" + sdp + b"\r\n--b--\r\n"
    place = place_of_sdp(body, 'multipart/mixed; boundary="b"')
    assert place is not None
    assert body[place[0] : place[1]] == sdp
    assert place_of_sdp(body, "multipart/mixed; boundary=c") is None
    assert place_of_sdp(body, "multipart/mixed") is None
    assert place_of_sdp(body, "text/plain") is None
    assert place_of_sdp(b"", "application/sdp") is None
    assert place_of_sdp(sdp, "Application/SDP;x=y") == (0, len(sdp))


def test_parts_without_number_and_without_an_end_take_no_time() -> None:
    body = b"--b" + b"\r\n--b" * 200_000
    start = time.process_time()
    assert place_of_sdp(body, "multipart/mixed; boundary=b") is None
    assert time.process_time() - start < 2.0
