"""Who we are: our hosts and ports, and the address that others are told."""

from __future__ import annotations

import pytest

from edgesip.address import Addr, Flow
from edgesip.signal.proxy.forward import our_via, record_routes
from edgesip.signal.proxy.myself import Myself
from edgesip.signal.wire.uri import parse_uri

INSIDE = Addr("10.0.0.5", 5060)
LOOP = Addr("127.0.0.1", 5060)
SIX = Addr("2001:db8::5", 5062)
PHONE = Addr("198.51.100.7", 40000)
MYSELF = Myself(
    (("udp", INSIDE), ("udp", LOOP), ("tcp", INSIDE), ("udp", SIX)),
    (("192.0.2.5", None), ("2001:db8::99", 5080)),
    frozenset({"example.net", "edge-1"}),
)


@pytest.mark.parametrize(
    ("uri", "ours"),
    [
        ("sip:bob@10.0.0.5", True),
        ("sip:bob@10.0.0.5:5060", True),
        ("sip:bob@192.0.2.5:5060", True),
        ("sip:bob@[2001:db8:0::5]:5062", True),
        ("sip:bob@[2001:db8::99]:5080", True),
        ("sip:bob@EXAMPLE.net", True),
        ("sip:bob@edge-1", True),
        ("sip:bob@example.net.", True),
        ("sip:bob@10.0.0.5:5999", False),
        ("sip:bob@example.com", False),
        ("sip:bob@sub.example.net", False),
        ("sip:bob@10.0.0.6", False),
    ],
)
def test_a_uri_is_ours_by_host_and_port(uri: str, ours: bool) -> None:
    assert MYSELF.is_myself(parse_uri(uri)) is ours


def test_others_are_told_the_advertised_address_of_the_family_and_loopback_the_truth() -> None:
    assert MYSELF.address_for(INSIDE) == Addr("192.0.2.5", 5060)
    assert MYSELF.address_for(SIX) == Addr("2001:db8::99", 5080)
    assert MYSELF.address_for(LOOP) == LOOP
    assert MYSELF.address_for(Addr("10.0.0.5", 0)) == Addr("192.0.2.5", 5060)
    assert Myself((("udp", INSIDE),)).address_for(INSIDE) == INSIDE


def test_via_and_record_route_carry_it() -> None:
    flow = Flow("udp", INSIDE, PHONE)
    via = our_via(flow, "z9hG4bKx", MYSELF)
    assert str(via) == "SIP/2.0/UDP 192.0.2.5:5060;rport;branch=z9hG4bKx"
    assert record_routes(flow, flow, MYSELF, ";lr") == ["<sip:192.0.2.5:5060;lr>"]
    six = Flow("udp", SIX, Addr("2001:db8::7", 5060))
    assert record_routes(flow, six, MYSELF, ";lr") == [
        "<sip:192.0.2.5:5060;r2=on;lr>",
        "<sip:[2001:db8::99]:5080;r2=on;lr>",
    ]


def test_what_would_come_back_to_us() -> None:
    assert MYSELF.is_our_address(Addr("192.0.2.5", 5060))
    assert MYSELF.is_our_address(LOOP)
    assert not MYSELF.is_our_address(Addr("192.0.2.5", 5999))
    assert not MYSELF.is_our_address(PHONE)


TLS = Myself(
    (("udp", INSIDE), ("tcp", INSIDE), ("tls", Addr("10.0.0.5", 5061))),
    (("192.0.2.5", 5070),),
    frozenset(),
)
OUT = Flow("tls", Addr("10.0.0.5", 0), Addr("198.51.100.9", 5061), "sip.example.org")


def test_tls_has_a_port_of_its_own_whatever_is_advertised() -> None:
    assert TLS.address_for(INSIDE, "udp") == Addr("192.0.2.5", 5070)
    assert TLS.address_for(Addr("10.0.0.5", 5061), "tls") == Addr("192.0.2.5", 5061)
    assert TLS.address_for(Addr("10.0.0.5", 0), "tls") == Addr("192.0.2.5", 5061)
    assert TLS.is_myself(parse_uri("sips:bob@192.0.2.5:5061"))
    assert TLS.is_our_address(Addr("192.0.2.5", 5061))


def test_a_tls_connection_that_we_open_is_offered_for_the_other_way() -> None:
    via = our_via(OUT, "z9hG4bKx", TLS)
    assert str(via) == "SIP/2.0/TLS 192.0.2.5:5061;rport;branch=z9hG4bKx;alias"
    phone = Flow("tls", Addr("10.0.0.5", 5061), PHONE)
    assert str(our_via(phone, "z9hG4bKx", TLS)) == "SIP/2.0/TLS 192.0.2.5:5061;rport;branch=z9hG4bKx"


def test_record_routes_over_tls() -> None:
    phone = Flow("tls", Addr("10.0.0.5", 5061), PHONE)
    plain = Flow("udp", INSIDE, PHONE)
    assert record_routes(phone, OUT, TLS, ";lr") == ["<sip:192.0.2.5:5061;transport=tls;lr>"]
    assert record_routes(phone, OUT, TLS, ";lr", secure=True) == ["<sips:192.0.2.5:5061;lr>"]
    assert record_routes(phone, plain, TLS, ";lr") == [
        "<sip:192.0.2.5:5061;transport=tls;r2=on;lr>",
        "<sip:192.0.2.5:5070;r2=on;lr>",
    ]
