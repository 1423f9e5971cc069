"""SDP rewriting: what changes is written down here octet by octet, all the rest must stay."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesip.relay.sdp import Endpoint, SdpError, parse, rewrite

RELAY = Endpoint("203.0.113.5", 20000, 20001, False)
SECOND = Endpoint("203.0.113.5", 20002, 20003, False)
MUXED = Endpoint("203.0.113.5", 20000, 20000, True)
RELAY6 = Endpoint("2001:db8::5", 20000, 20001, False)

HEAD = "v=0\no=alice 2890844526 18446744073709551617 IN IP4 10.0.0.7\ns=call\n"
HEAD6 = HEAD.replace("IN IP4 10.0.0.7", "IN IP6 2001:db8::5")
PRIVATE = "c=IN IP4 10.0.0.7\n"
PUBLIC = "c=IN IP4 203.0.113.5\n"
WEBRTC = (
    "m=video 41000 UDP/TLS/RTP/SAVPF 96\na=ice-ufrag:abcd\na=candidate:1 1 UDP 9 10.0.0.7 41000 typ host\n"
)


def octets(*texts: str) -> bytes:
    return "".join(texts).replace("\n", "\r\n").encode()


def check_rewrite(before: bytes, lines: list[Endpoint | None], after: bytes) -> None:
    assert rewrite(before, lines) == after
    assert rewrite(after, lines) == after, "a second pass changed something"


# Writing: the c= logic


def test_a_plain_call_changes_only_address_and_port() -> None:
    tail = "a=rtpmap:0 PCMU/8000\na=sendrecv\na=direction:active\na=x-unknown:\u00e9\nz=odd line\n"
    check_rewrite(
        octets(HEAD, "b=AS:84\n", PRIVATE, "t=0 0\n", "m=audio  4000  RTP/AVP 0 8 \n", tail),
        [RELAY],
        octets(HEAD, "b=AS:84\n", PUBLIC, "t=0 0\n", "m=audio  20000  RTP/AVP 0 8 \n", tail),
    )


def test_octets_that_are_not_utf8_pass() -> None:
    body = octets(HEAD, PRIVATE, "m=audio 4000 RTP/AVP 0\n") + b"i=caf\xe9 \xff\r\n"
    assert rewrite(body, [RELAY]).endswith(b"i=caf\xe9 \xff\r\n")


def test_bare_lf_stays_bare() -> None:
    body = (HEAD + PRIVATE + "m=audio 4000 RTP/AVP 0\na=sendrecv\n").encode()
    check_rewrite(body, [RELAY], (HEAD + PUBLIC + "m=audio 20000 RTP/AVP 0\na=sendrecv\n").encode())


def test_line_ends_may_even_be_mixed() -> None:
    body = b"v=0\no=- 1 1 IN IP4 10.0.0.7\r\nc=IN IP4 10.0.0.7\nm=audio 4000 RTP/AVP 0\r\na=x\n"
    assert rewrite(body, [RELAY]) == (
        b"v=0\no=- 1 1 IN IP4 10.0.0.7\r\nc=IN IP4 203.0.113.5\nm=audio 20000 RTP/AVP 0\r\na=x\n"
    )


def test_media_c_only() -> None:
    check_rewrite(
        octets(HEAD, "m=audio 4000 RTP/AVP 0\n", PRIVATE, "m=video 4002 RTP/AVP 31\n", PRIVATE),
        [RELAY, SECOND],
        octets(HEAD, "m=audio 20000 RTP/AVP 0\n", PUBLIC, "m=video 20002 RTP/AVP 31\n", PUBLIC),
    )


def test_session_c_that_nobody_uses_is_left() -> None:
    other = "c=IN IP4 10.0.0.99\n"
    check_rewrite(
        octets(HEAD, other, "m=audio 4000 RTP/AVP 0\n", PRIVATE),
        [RELAY],
        octets(HEAD, other, "m=audio 20000 RTP/AVP 0\n", PUBLIC),
    )


def test_session_c_and_media_c_mixed() -> None:
    check_rewrite(
        octets(HEAD, PRIVATE, "m=audio 4000 RTP/AVP 0\n", "m=video 4002 RTP/AVP 31\n", "c=IN IP4 10.0.0.8\n"),
        [RELAY, SECOND],
        octets(HEAD, PUBLIC, "m=audio 20000 RTP/AVP 0\n", "m=video 20002 RTP/AVP 31\n", PUBLIC),
    )


@pytest.mark.parametrize(
    "line",
    ["m=video 41000 UDP/TLS/RTP/SAVPF 96\n", "m=message 7394 TCP/MSRP *\n", "m=video 4002 RTP/AVP 31\n"],
)
def test_session_c_stays_while_a_line_that_passes_depends_on_it(line: str) -> None:
    check_rewrite(
        octets(HEAD, PRIVATE, "m=audio 4000 RTP/AVP 0\ni=voice\nb=AS:84\n", line, "m=text 4004 RTP/AVP 98\n"),
        [RELAY, None, SECOND],
        octets(
            HEAD,
            PRIVATE,
            "m=audio 20000 RTP/AVP 0\ni=voice\n",
            PUBLIC,
            "b=AS:84\n",
            line,
            "m=text 20002 RTP/AVP 98\n",
            PUBLIC,
        ),
    )


def test_a_passing_line_with_its_own_c_does_not_hold_the_session_c() -> None:
    check_rewrite(
        octets(HEAD, PRIVATE, "m=audio 4000 RTP/AVP 0\n", "m=message 7394 TCP/MSRP *\n", PRIVATE),
        [RELAY, None],
        octets(HEAD, PUBLIC, "m=audio 20000 RTP/AVP 0\n", "m=message 7394 TCP/MSRP *\n", PRIVATE),
    )


def test_a_disabled_line_does_not_hold_the_session_c_and_stays_disabled() -> None:
    dead = "m=video 0 RTP/AVP 31\na=rtcp:4003\na=candidate:1 1 UDP 9 10.0.0.7 4002 typ host\n"
    check_rewrite(
        octets(HEAD, PRIVATE, "m=audio 4000 RTP/AVP 0\n", dead),
        [RELAY, SECOND],
        octets(HEAD, PUBLIC, "m=audio 20000 RTP/AVP 0\n", dead),
    )


def test_session_c_follows_even_if_only_a_disabled_line_depends_on_it() -> None:
    check_rewrite(
        octets(HEAD, PRIVATE, "m=audio 4000 RTP/AVP 0\n", PRIVATE, "m=video 0 RTP/AVP 31\n"),
        [RELAY, None],
        octets(HEAD, PUBLIC, "m=audio 20000 RTP/AVP 0\n", PUBLIC, "m=video 0 RTP/AVP 31\n"),
    )


def test_a_disabled_line_keeps_its_own_c() -> None:
    body = octets(HEAD, "m=video 0 RTP/AVP 31\n", PRIVATE, "m=audio 4000 RTP/AVP 0\n", PRIVATE)
    after = octets(HEAD, "m=video 0 RTP/AVP 31\n", PRIVATE, "m=audio 20000 RTP/AVP 0\n", PUBLIC)
    check_rewrite(body, [None, RELAY], after)


def test_nothing_to_relay_leaves_every_octet() -> None:
    body = octets(HEAD, PRIVATE, "a=ice-lite\n", "m=audio 0 RTP/AVP 0\n", WEBRTC)
    check_rewrite(body, [RELAY, SECOND], body)
    plain = octets(HEAD, PRIVATE, "m=audio 4000 RTP/AVP 0\n")
    check_rewrite(plain, [None], plain)


def test_an_inserted_c_after_a_last_line_without_line_end() -> None:
    check_rewrite(
        octets(HEAD, PRIVATE, "m=message 7394 TCP/MSRP *\n", "m=audio 4000 RTP/AVP 0"),
        [None, RELAY],
        octets(HEAD, PRIVATE, "m=message 7394 TCP/MSRP *\n", "m=audio 20000 RTP/AVP 0\n", PUBLIC[:-1]),
    )


def test_a_misplaced_title_does_not_move_the_inserted_c() -> None:
    check_rewrite(
        octets(HEAD, PRIVATE, "m=message 7394 TCP/MSRP *\n", "m=audio 4000 RTP/AVP 0\nb=AS:84\ni=voice\n"),
        [None, RELAY],
        octets(
            HEAD,
            PRIVATE,
            "m=message 7394 TCP/MSRP *\n",
            "m=audio 20000 RTP/AVP 0\n",
            PUBLIC,
            "b=AS:84\ni=voice\n",
        ),
    )


def test_of_several_session_c_lines_one_is_left() -> None:
    check_rewrite(
        octets(HEAD, PRIVATE, "c=IN IP4 10.0.0.8\n", "m=audio 4000 RTP/AVP 0\n"),
        [RELAY],
        octets(HEAD, PUBLIC, "m=audio 20000 RTP/AVP 0\n"),
    )


def test_of_several_c_lines_in_one_media_part_one_is_left() -> None:
    check_rewrite(
        octets(HEAD, "m=audio 4000 RTP/AVP 0\n", PRIVATE, "c=IN IP4 10.0.0.8\n", "a=x\n"),
        [RELAY],
        octets(HEAD, "m=audio 20000 RTP/AVP 0\n", PUBLIC, "a=x\n"),
    )


def test_legs_of_two_families_share_no_session_c() -> None:
    check_rewrite(
        octets(HEAD, PRIVATE, "m=audio 4000 RTP/AVP 0\n", "m=video 4002 RTP/AVP 31\n"),
        [RELAY, RELAY6],
        octets(
            HEAD, PUBLIC, "m=audio 20000 RTP/AVP 0\n", "m=video 20000 RTP/AVP 31\n", "c=IN IP6 2001:db8::5\n"
        ),
    )


def test_v4_offer_towards_v6_and_back() -> None:
    """o= goes along: baresip takes the family of all media from the first address in the body."""
    four = octets(HEAD, PUBLIC, "m=audio 20000 RTP/AVP 0\n", "a=rtcp:20001 IN IP4 203.0.113.5\n")
    six = octets(
        HEAD6, "c=IN IP6 2001:db8::5\n", "m=audio 20000 RTP/AVP 0\n", "a=rtcp:20001 IN IP6 2001:db8::5\n"
    )
    check_rewrite(four, [RELAY6], six)
    check_rewrite(six, [RELAY], four.replace(b"IP4 10.0.0.7", b"IP4 203.0.113.5"))


def test_an_origin_that_cannot_be_read_stays() -> None:
    for origin in ("o=- 1 1 IN IP4\n", "o=- 1 1 IN IPX 10.0.0.7\n", "o=x\n"):
        check_rewrite(
            octets("v=0\n", origin, "s=-\n", PRIVATE, "m=audio 4000 RTP/AVP 0\n"),
            [RELAY6],
            octets("v=0\n", origin, "s=-\n", "c=IN IP6 2001:db8::5\n", "m=audio 20000 RTP/AVP 0\n"),
        )


def test_udptl_and_bfcp_get_ports_too() -> None:
    check_rewrite(
        octets(
            HEAD, PRIVATE, "m=image 4000 udptl t38\na=T38FaxVersion:0\n", "m=application 4002 UDP/BFCP *\n"
        ),
        [RELAY, SECOND],
        octets(
            HEAD, PUBLIC, "m=image 20000 udptl t38\na=T38FaxVersion:0\n", "m=application 20002 UDP/BFCP *\n"
        ),
    )


# Writing: hold, RTCP, ICE


def test_a_null_session_address_stays_null() -> None:
    null = "c=IN IP4 0.0.0.0\n"
    check_rewrite(
        octets(HEAD, null, "m=audio 4000 RTP/AVP 0\n"),
        [RELAY],
        octets(HEAD, null, "m=audio 20000 RTP/AVP 0\n"),
    )
    check_rewrite(
        octets(HEAD, null, "m=audio 4000 RTP/AVP 0\n"),
        [RELAY6],
        octets(HEAD6, "c=IN IP6 ::\n", "m=audio 20000 RTP/AVP 0\n"),
    )


def test_a_null_media_address_stays_null_beside_a_living_one() -> None:
    null = "c=IN IP4 0.0.0.0\na=sendonly\n"
    check_rewrite(
        octets(HEAD, PRIVATE, "m=audio 4000 RTP/AVP 0\n", null, "m=video 4002 RTP/AVP 31\n"),
        [RELAY, SECOND],
        octets(HEAD, PUBLIC, "m=audio 20000 RTP/AVP 0\n", null, "m=video 20002 RTP/AVP 31\n"),
    )


def test_a_null_session_address_that_must_stay_is_inherited_not_repeated() -> None:
    null = "c=IN IP4 0.0.0.0\n"
    line = "m=message 7394 TCP/MSRP *\n"
    check_rewrite(
        octets(HEAD, null, "m=audio 4000 RTP/AVP 0\n", line),
        [RELAY, None],
        octets(HEAD, null, "m=audio 20000 RTP/AVP 0\n", line),
    )


def test_null_v6_towards_v4_and_null_rtcp() -> None:
    check_rewrite(
        octets(HEAD, "m=audio 4000 RTP/AVP 0\n", "c=IN IP6 ::\n", "a=rtcp:4001 IN IP6 ::\n"),
        [RELAY],
        octets(HEAD, "m=audio 20000 RTP/AVP 0\n", "c=IN IP4 0.0.0.0\n", "a=rtcp:20001 IN IP4 0.0.0.0\n"),
    )


@pytest.mark.parametrize(
    ("before", "where", "after"),
    [
        ("a=rtcp:4777\n", RELAY, "a=rtcp:20001\n"),
        ("a=rtcp:4777 IN IP4 10.0.0.9\n", RELAY, "a=rtcp:20001 IN IP4 203.0.113.5\n"),
        ("a=rtcp:4777 IN IP4 10.0.0.9\n", RELAY6, "a=rtcp:20001 IN IP6 2001:db8::5\n"),
        ("a=rtcp:4777\na=rtcp:4778\n", RELAY, "a=rtcp:20001\na=rtcp:20001\n"),
        ("", RELAY, ""),
        ("a=rtcp:4777\n", Endpoint("203.0.113.5", 20000, None, False), ""),
        ("a=rtcp:4000\na=rtcp-mux\n", MUXED, "a=rtcp:20000\na=rtcp-mux\n"),
        ("a=rtcp-mux\n", MUXED, "a=rtcp-mux\n"),
        ("a=rtcp-mux-only\n", MUXED, "a=rtcp-mux-only\n"),
        ("", MUXED, ""),
        ("a=rtcp-mux\na=rtcp-rsize\n", RELAY, "a=rtcp-rsize\n"),
        ("a=rtcp-fb:* nack\na=rtcp-xr:voip-metrics\n", RELAY, "a=rtcp-fb:* nack\na=rtcp-xr:voip-metrics\n"),
    ],
)
def test_rtcp_and_mux_lines(before: str, where: Endpoint, after: str) -> None:
    head, family = (HEAD6, "c=IN IP6 2001:db8::5\n") if ":" in where.host else (HEAD, PUBLIC)
    check_rewrite(
        octets(HEAD, PRIVATE, "m=audio 4000 RTP/AVP 0\n", before, "a=sendrecv\n"),
        [where],
        octets(head, family, "m=audio 20000 RTP/AVP 0\n", after, "a=sendrecv\n"),
    )


def test_rtcp_at_session_level_is_nobody_s_and_stays() -> None:
    check_rewrite(
        octets(HEAD, PRIVATE, "a=rtcp:nonsense\n", "m=audio 4000 RTP/AVP 0\n"),
        [RELAY],
        octets(HEAD, PUBLIC, "a=rtcp:nonsense\n", "m=audio 20000 RTP/AVP 0\n"),
    )


ICE = (
    "a=ice-ufrag:8hhY\na=ice-pwd:asd88fgpdd777uzjYhagZg\na=ice-options:ice2 trickle\na=ice-pacing:50\n"
    "a=candidate:1 1 UDP 2130706431 10.0.0.7 4000 typ host\na=Candidate:2 1 UDP 1 10.0.0.7 4000 typ host\n"
    "a=remote-candidates:1 10.0.0.9 5000\na=end-of-candidates\na=ice-mismatch\na=ice-lite\n"
)


def test_ice_is_stripped_where_the_relay_stands_in_between() -> None:
    check_rewrite(
        octets(
            HEAD, PRIVATE, ICE, "a=group:LS 1\n", "m=audio 4000 RTP/AVP 0\na=mid:1\n", ICE, "a=ptime:20\n"
        ),
        [RELAY],
        octets(HEAD, PUBLIC, "a=group:LS 1\n", "m=audio 20000 RTP/AVP 0\na=mid:1\n", "a=ptime:20\n"),
    )


def test_session_ice_stays_while_a_line_passes_whole() -> None:
    check_rewrite(
        octets(HEAD, PRIVATE, ICE, "m=audio 4000 RTP/AVP 0\n", ICE, WEBRTC),
        [RELAY, None],
        octets(HEAD, PRIVATE, ICE, "m=audio 20000 RTP/AVP 0\n", PUBLIC, WEBRTC),
    )


def test_a_disabled_line_does_not_keep_session_ice() -> None:
    dead = "m=video 0 UDP/TLS/RTP/SAVPF 96\n"
    check_rewrite(
        octets(HEAD, PRIVATE, ICE, "m=audio 4000 RTP/AVP 0\n", dead),
        [RELAY, None],
        octets(HEAD, PUBLIC, "m=audio 20000 RTP/AVP 0\n", dead),
    )


def test_one_entry_per_media_line_is_asked_for() -> None:
    body = octets(HEAD, PRIVATE, "m=audio 4000 RTP/AVP 0\n")
    for lines in ([], [RELAY, SECOND]):
        with pytest.raises(ValueError, match="1 media"):
            rewrite(body, lines)


# Anything at all


HOSTS = ["10.0.0.7", "0.0.0.0", "224.0.0.1", "host.invalid", "10.0.0.7/1/2", "::", "[::1]", "1.2.3"]
CONNECTIONS = st.sampled_from([f"c=IN {family} {host}" for family in ("IP4", "IP6") for host in HOSTS])
ATTRIBUTES = st.sampled_from(
    [
        *ICE.split("\n")[:-1],
        *(
            "a=" + text
            for text in ("rtcp:1", "rtcp:2 IN IP4 0.0.0.0", "rtcp-mux", "sendonly", "inactive", "x")
        ),
    ]
)
MEDIA = st.builds(
    "m={} {} {}".format,
    st.sampled_from(["audio", "video"]),
    st.sampled_from([0, 1, 9, 4000, 65535, "4000/1"]),
    st.sampled_from(["RTP/AVP 0", "RTP/SAVP 96 97", "UDP/TLS/RTP/SAVPF 96", "udptl t38", "TCP/MSRP *"]),
)
NOISE = st.sampled_from(["i=x", "b=AS:1", "k=prompt", "a=", "z=0", "y=\udcff", "t=0 0"])
LINES = st.lists(st.one_of(CONNECTIONS, ATTRIBUTES, ATTRIBUTES, MEDIA, MEDIA, NOISE), max_size=12)
ENDS = st.sampled_from(["\r\n", "\n"])
WHERE = st.sampled_from([None, RELAY, SECOND, RELAY6, MUXED, Endpoint("203.0.113.5", 20004, None, True)])


def other_lines(body: bytes) -> list[bytes]:
    lines = (line.removesuffix(b"\r") for line in body.split(b"\n"))
    kept = (line for line in lines if line and line[:2] not in (b"c=", b"m=", b"a="))
    return [line.partition(b" IN IP")[0] if line.startswith(b"o=") else line for line in kept]


@settings(deadline=None)
@given(LINES, LINES, ENDS, st.booleans(), st.lists(WHERE, min_size=16, max_size=16))
def test_whatever_can_be_read_can_be_rewritten(
    lines: list[str], more: list[str], end: str, closed: bool, where: list[Endpoint | None]
) -> None:
    text = end.join(
        ["v=0", "o=- 1 1 IN IP4 10.0.0.7", "c=IN IP4 10.0.0.7", *lines, "m=text 9 RTP/AVP 98", *more]
    )
    body = (text + end * closed).encode("utf-8", "surrogateescape")
    try:
        before = parse(body)
    except SdpError:
        return
    targets = where[: len(before.media)]
    done = before.rewrite(targets)
    after = parse(done)
    assert after.rewrite(targets) == done
    assert len(after.media) == len(before.media)
    for old, new, target in zip(before.media, after.media, targets, strict=True):
        assert (new.kind, new.proto, new.fmts, new.direction) == (
            old.kind,
            old.proto,
            old.fmts,
            old.direction,
        )
        if target is None or not old.relayed:
            assert new.port == old.port
            assert new.address == old.address or old.port == 0
        else:
            assert (new.port, new.null) == (target.port, old.null)
            assert new.null or new.address == target.host
    assert other_lines(done) == other_lines(body)
