"""nat_uac_test: each bit alone, with the edges that an operator meets (nat.md §2.3)."""

from __future__ import annotations

import pytest

from edgesip.address import Addr, Flow
from edgesip.signal.nat.detect import nat_uac_test
from edgesip.signal.wire.message import Request, Response, parse
from edgesip.signal.wire.uri import parse_uri

US = Addr("203.0.113.1", 5060)
SOURCE = "198.51.100.7"


def flow(host: str = SOURCE, port: int = 5060, transport: str = "udp") -> Flow:
    return Flow(transport, US, Addr(host, port))


def message(start: str, *headers: str, body: str = "", kind: str = "application/sdp") -> Request | Response:
    lines = [start, *headers, "From: <sip:a@edge>;tag=1", "To: <sip:b@edge>", "Call-ID: c", "CSeq: 1 INVITE"]
    if body:
        lines.append(f"Content-Type: {kind}")
    return parse(("\r\n".join(lines) + "\r\n\r\n" + body).encode())


def request(
    *,
    via: str = SOURCE,
    contact: str | None = None,
    body: str = "",
    kind: str = "application/sdp",
    ruri: str = "sip:b@edge",
) -> Request | Response:
    headers = [f"Via: SIP/2.0/UDP {via};branch=z9hG4bK1"]
    if contact is not None:
        headers.append(f"Contact: {contact}")
    return message(f"INVITE {ruri} SIP/2.0", *headers, body=body, kind=kind)


def reply(*vias: str) -> Request | Response:
    return message("SIP/2.0 200 OK", *[f"Via: {via}" for via in vias])


def sdp(*lines: str) -> str:
    return "".join(f"{line}\r\n" for line in lines)


def session(*lines: str) -> str:
    return sdp("v=0", "o=- 1 1 IN IP4 192.168.1.10", "s=-", *lines)


@pytest.mark.parametrize(
    "host", ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "192.0.0.9"]
)
def test_1_the_contact_is_private(host: str) -> None:
    assert nat_uac_test(1, request(contact=f"<sip:a@{host}>"), flow()) == 1


@pytest.mark.parametrize(
    "contact",
    [
        None,
        "*",
        "<sip:a@198.51.100.7>",
        "<sip:a@172.32.0.1>",
        "<sip:a@100.128.0.1>",
        "<sip:a@192.0.1.1>",
        "<sip:a@phone.lan>",
        "<sip:a@[fd00::1]>",
        "<tel:+4930>",
        "<sip:a@198.51.100.7>, <sip:a@10.0.0.1>",
        "<sip:a@10.0.0.1",
    ],
)
def test_1_only_the_first_contact_counts_and_names_are_never_private(contact: str | None) -> None:
    assert nat_uac_test(1, request(contact=contact), flow()) == 0


@pytest.mark.parametrize(
    ("via", "source", "matched"),
    [
        (SOURCE, SOURCE, 0),
        (f"{SOURCE}:9999", SOURCE, 0),
        ("192.168.1.10", SOURCE, 2),
        ("phone.example", SOURCE, 2),
        ("[2001:db8::7]", "2001:db8::7", 0),
        ("[2001:DB8:0::7]:5070", "2001:db8::7", 0),
        ("[2001:db8::8]", "2001:db8::7", 2),
        ("[::ffff:198.51.100.7]", SOURCE, 0),
    ],
)
def test_2_the_via_host_is_not_the_source(via: str, source: str, matched: int) -> None:
    assert nat_uac_test(2, request(via=via), flow(source, 40000)) == matched


@pytest.mark.parametrize(
    ("via", "matched"),
    [("10.1.1.1:5060", 4), ("192.168.0.1", 4), (SOURCE, 0), ("phone.lan", 0), ("[fd00::1]", 0)],
)
def test_4_the_via_host_is_private(via: str, matched: int) -> None:
    assert nat_uac_test(4, request(via=via), flow()) == matched


PRIVATE, PUBLIC = "c=IN IP4 192.168.1.10", "c=IN IP4 198.51.100.7"


@pytest.mark.parametrize(
    ("body", "matched"),
    [
        (session(PRIVATE, "t=0 0", "m=audio 4000 RTP/AVP 0"), 8),
        (session(PUBLIC, "t=0 0", "m=audio 4000 RTP/AVP 0"), 0),
        (session(PUBLIC, "m=audio 4000 RTP/AVP 0", PRIVATE), 8),
        (session(PRIVATE, "m=audio 4000 RTP/AVP 0", PUBLIC), 0),
        (session(PRIVATE, "m=audio 4000 RTP/AVP 0", PUBLIC, "m=video 4002 RTP/AVP 96"), 8),
        (session("m=audio 4000 RTP/AVP 0", PRIVATE), 8),
        (session("m=audio 4000 RTP/AVP 0", "c=IN IP4 10.0.0.1/127"), 8),
        (session("c=IN IP4 0.0.0.0", "m=audio 4000 RTP/AVP 0", "m=video 1 RTP/AVP 9", PRIVATE), 0),
        (session("c=IN IP6 2001:db8::1", "m=audio 4000 RTP/AVP 0", "m=video 1 RTP/AVP 9", PRIVATE), 0),
        (session("m=audio 4000 RTP/AVP 0", PRIVATE, "m=video 1 RTP/AVP 9", "c=IN IP4 0.0.0.0"), 8),
        (session("c=IN IP4 media.example", "m=audio 4000 RTP/AVP 0", "m=video 1 RTP/AVP 9", PRIVATE), 8),
        (session(PRIVATE), 0),  # no media line: nowhere to send to
        (session("m=audio 4000 RTP/AVP 0"), 0),
        (session("c=IN IP6 ::1", "m=audio 1 RTP/AVP 0") + session(PRIVATE, "m=audio 2 RTP/AVP 0"), 8),
        (sdp(PRIVATE, "m=audio 4000 RTP/AVP 0"), 0),
        (session("c=192.168.1.10", "m=audio 4000 RTP/AVP 0"), 0),
        (session(PRIVATE, "m=audio 4000 RTP/AVP 0").replace("\r\n", "\n"), 8),
        ("", 0),
    ],
)
def test_8_media_is_asked_to_a_private_address(body: str, matched: int) -> None:
    assert nat_uac_test(8, request(body=body), flow()) == matched


def test_8_sees_the_sdp_part_of_a_multipart_body_and_no_other_body() -> None:
    inner = session(PRIVATE, "m=audio 4000 RTP/AVP 0")
    parts = (
        "preamble\r\n--b1\r\nContent-Type: text/plain\r\n\r\nhello\r\n"
        f"--b1\r\nContent-Type: Application/SDP\r\n\r\n{inner}\r\n--b1--\r\n"
    )
    for kind, matched in (
        ('multipart/mixed;boundary="b1"', 8),
        ("multipart/mixed; charset=x; Boundary=b1", 8),
        ("multipart/mixed;boundary=b2", 0),
        ("multipart/mixed", 0),
        ('multipart/mixed;boundary="b1', 0),
        ("text/plain", 0),
    ):
        assert nat_uac_test(8, request(body=parts, kind=kind), flow()) == matched, kind
    assert (
        nat_uac_test(
            8, request(body=parts.removeprefix("preamble\r\n"), kind="multipart/mixed;boundary=b1"), flow()
        )
        == 8
    )
    assert nat_uac_test(8, request(body=inner, kind="text/plain"), flow()) == 0
    assert nat_uac_test(8, request(body=inner, kind="APPLICATION / sdp;x=y"), flow()) == 8


@pytest.mark.parametrize(
    ("via", "port", "transport", "matched"),
    [
        (SOURCE, 5060, "udp", 0),
        (SOURCE, 5061, "tls", 16),  # a missing Via port is 5060 whatever the transport
        (f"{SOURCE}:5061", 5061, "tls", 0),
        (f"{SOURCE}:5062", 5060, "udp", 16),
        (SOURCE, 40000, "udp", 16),
    ],
)
def test_16_the_source_port_is_not_the_vias(via: str, port: int, transport: str, matched: int) -> None:
    assert nat_uac_test(16, request(via=via), flow(port=port, transport=transport)) == matched


def test_32_the_source_is_private() -> None:
    assert nat_uac_test(32, request(), flow("192.168.1.10")) == 32
    assert nat_uac_test(32, request(), flow()) == 0
    assert nat_uac_test(32, request(), flow("fd00::1")) == 0


def test_64_it_came_over_a_websocket() -> None:
    for transport, matched in (("ws", 64), ("wss", 64), ("udp", 0), ("tls", 0)):
        assert nat_uac_test(64, request(), flow(transport=transport)) == matched


@pytest.mark.parametrize(
    ("contact", "port", "matched"),
    [
        ("<sip:a@192.168.1.10>", 5060, 0),
        ("<sip:a@192.168.1.10>", 40000, 128),
        ("<sip:a@192.168.1.10:40000>", 40000, 0),
        ("<sip:a@192.168.1.10:5060>, <sip:a@192.168.1.10:40000>", 40000, 128),
        (None, 40000, 0),
        ("*", 40000, 0),
    ],
)
def test_128_the_source_port_is_not_the_contacts(contact: str | None, port: int, matched: int) -> None:
    assert nat_uac_test(128, request(contact=contact), flow(port=port)) == matched


M = "m=audio 4000 RTP/AVP 0"


@pytest.mark.parametrize(
    ("body", "matched"),
    [
        (session(PUBLIC, M), 0),
        (session("c=IN IP4 198.51.100.8", M), 256),
        (session("c=IN IP6 2001:db8::1", M), 256),
        (session(PUBLIC, M, "c=IN IP4 198.51.100.8"), 0),  # session level alone
        (session(M, "c=IN IP4 198.51.100.8"), 0),
        (session(PUBLIC, M) + session("c=IN IP4 198.51.100.8", M), 256),
        (session("c=IN IP4 198.51.100.8", M) + session(M), 256),
        (session(M) + session("c=IN IP4 198.51.100.8", M), 0),  # stops at the first without
        (session("c=IN IP4 media.example", M), 0),
        (session("c=IN IP4 198.51.100.8", M) + session("c=IN IP4 media.example", M), 0),
        (session("c=IN IP4", M), 0),
        ("", 0),
    ],
)
def test_256_the_session_address_is_not_the_source(body: str, matched: int) -> None:
    assert nat_uac_test(256, request(body=body), flow()) == matched


@pytest.mark.parametrize(
    ("ruri", "next_hop", "matched"),
    [
        ("sip:b@198.51.100.9", None, 0),
        ("sip:b@198.51.100.9;transport=ws", None, 512),
        ("sip:b@198.51.100.9;transport=WSS", None, 512),
        ("sip:b@198.51.100.9", "sip:198.51.100.9", 0),
        ("sip:b@198.51.100.9", "sip:198.51.100.9:5060", 0),
        ("sip:b@198.51.100.9", "sip:198.51.100.9:5070", 512),
        ("sip:b@198.51.100.9", "sip:198.51.100.9;transport=tls", 512),
        ("sips:b@198.51.100.9", "sip:198.51.100.9;transport=tls", 0),
        ("sip:b@198.51.100.9:80", "sip:198.51.100.9;transport=ws", 512),
        ("sip:b@198.51.100.9;transport=ws", "sip:198.51.100.9:80", 0),
        ("sip:b@198.51.100.9", "sip:198.51.100.8", 512),
        ("sip:b@[2001:db8:0::9]", "sip:[2001:db8::9]", 0),
        ("sip:b@Phone.example", "sip:phone.example", 0),
        ("sip:b@phone.example", "sip:other.example", 512),
        ("sip:b@phone.example", "sip:198.51.100.9", 512),
        ("sip:b@198.51.100.9", "sip:phone.example", 512),
    ],
)
def test_512_a_request_goes_elsewhere_than_its_uri_says(
    ruri: str, next_hop: str | None, matched: int
) -> None:
    hop = None if next_hop is None else parse_uri(next_hop)
    assert nat_uac_test(512, request(ruri=ruri), flow(), next_hop=hop) == matched


@pytest.mark.parametrize(
    ("second", "matched"),
    [
        (None, 0),
        ("SIP/2.0/UDP 192.168.1.10:5060;branch=1", 0),
        ("SIP/2.0/WS x.invalid;branch=1", 512),
        ("SIP/2.0/WSS x.invalid;branch=1", 512),
        ("SIP/2.0/UDP 192.168.1.10;branch=1;rport=5060", 0),
        ("SIP/2.0/UDP 192.168.1.10;branch=1;rport=40000", 512),
        ("SIP/2.0/UDP 192.168.1.10:40000;branch=1;rport=40000", 0),
        ("SIP/2.0/UDP 192.168.1.10:40000;branch=1;rport=4x", 512),
        ("SIP/2.0/UDP 192.168.1.10;branch=1;rport", 0),
        ("SIP/2.0/UDP 192.168.1.10;branch=1;received=198.51.100.7", 512),
        ("SIP/2.0/UDP 192.168.1.10;branch=1;received=192.168.1.10;rport=5060", 0),
        ("SIP/2.0/UDP [2001:db8::1];branch=1;received=[2001:db8:0::1]", 0),
    ],
)
def test_512_a_reply_goes_elsewhere_than_its_second_via_says(second: str | None, matched: int) -> None:
    vias = ["SIP/2.0/UDP 203.0.113.1;branch=z9hG4bKours"] + ([second] if second else [])
    assert nat_uac_test(512, reply(*vias), flow()) == matched


def test_all_selected_bits_that_match_come_back_and_no_other() -> None:
    invite = request(
        via="192.168.1.10:5060",
        contact="<sip:a@192.168.1.10:5060>",
        body=session(PRIVATE, "m=audio 4000 RTP/AVP 0"),
    )
    behind = flow(port=40000)
    assert nat_uac_test(19, invite, behind) == 19
    assert nat_uac_test(1023, invite, behind) == 1 + 2 + 4 + 8 + 16 + 128 + 256
    assert nat_uac_test(0, invite, behind) == 0
    assert nat_uac_test(1 << 20, invite, behind) == 0


def test_a_phone_on_the_open_internet_matches_nothing() -> None:
    invite = request(
        via=f"{SOURCE}:5070", contact=f"<sip:a@{SOURCE}:5070>", body=session(PUBLIC, "m=audio 4000 RTP/AVP 0")
    )
    assert nat_uac_test(1023, invite, flow(port=5070)) == 0


def test_a_reply_is_tested_like_a_request_where_it_has_the_parts() -> None:
    answer = message(
        "SIP/2.0 200 OK",
        "Via: SIP/2.0/UDP 203.0.113.1;branch=z9hG4bKours",
        "Contact: <sip:b@192.168.1.10>",
        body=session(PRIVATE, "m=audio 4000 RTP/AVP 0"),
    )
    assert nat_uac_test(1 + 8 + 32, answer, flow(port=40000)) == 1 + 8
