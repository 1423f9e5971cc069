"""Calls over TLS: each phone over its own connection, sips: URIs nowhere else, trunks by their name."""

from __future__ import annotations

from pathlib import Path

import pytest
from talk import SECURE, SERVER, Talk

from edgesip.address import Addr, Flow
from edgesip.script import load
from edgesip.signal.core import Arrived
from edgesip.signal.proxy.hops import Found, Hop
from edgesip.signal.proxy.locate import Unresolved
from edgesip.signal.wire.message import Request

TRUNK = Addr("198.51.100.250", 5061)


@pytest.mark.parametrize(("one", "other"), [("tls", "udp"), ("udp", "tls"), ("tls", "tls"), ("tls", "tcp")])
def test_a_call_between_transports_both_ways(one: str, other: str) -> None:
    talk = Talk()
    alice = talk.phone("alice", nat=True, transport=one)
    bob = talk.phone("bob", nat=True, transport=other)
    talk.register(alice, bob)
    invite, answer, received, ok = talk.answered(alice, bob)
    assert received.headers.via.transport == other.upper()
    assert received.headers.via.port == (5061 if other == "tls" else 5060)
    assert not received.headers.via.param("alias"), "only a connection of ours is offered"
    assert (
        received.headers.contacts[0].uri.param("alias")
        == f"{alice.at.host}~{alice.at.port}~" + ({"udp": "1", "tcp": "2", "tls": "3"}[one])
    )
    shown = [route.uri.param("transport") for route in received.headers.record_routes]
    assert shown == [None if name == "udp" else name for name in dict.fromkeys((other, one))]
    talk >> alice.within(invite, answer, "INFO") << (bob, "INFO")
    talk >> bob.back(received, ok, "BYE") << (alice, "BYE")


def test_requests_to_a_tls_phone_go_over_its_own_connection_only() -> None:
    talk = Talk()
    alice, bob = talk.phone("alice"), talk.phone("bob", nat=True, transport="tls")
    talk.register(alice, bob)
    talk.call(alice, "bob")
    talk << (alice, 100)
    flow, _ = talk.sent[0]
    assert flow == Flow("tls", SECURE, bob.at)
    talk.request(bob, "INVITE")
    talk.hang(bob)
    assert not talk.core.usrloc.lookup("bob", talk.now), "its binding goes with its connection"
    final = talk.sent[-1][1]
    assert final.startswith((b"SIP/2.0 408", b"SIP/2.0 480", b"SIP/2.0 500"))


def sips(talk: Talk, to: str) -> Request:
    """The INVITE of a call to a sips: URI, as bob gets it."""
    alice, bob = talk.phone("alice", transport="tls"), talk.phone("bob", transport=to)
    talk.register(alice, bob)
    talk.call(alice, f"sips:bob@{SERVER.host}")
    talk << (alice, 100)
    return talk.request(bob, "INVITE")


def test_a_sips_uri_leads_to_a_tls_phone() -> None:
    received = sips(Talk(), "tls")
    (route,) = received.headers.record_routes
    assert str(route.uri).startswith(f"sips:{SERVER.host}:5061;lr")


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_sips_uri_leads_to_no_other_phone(transport: str) -> None:
    talk = Talk()
    alice, bob = talk.phone("alice", transport="tls"), talk.phone("bob", transport=transport)
    talk.register(alice, bob)
    talk.call(alice, f"sips:bob@{SERVER.host}")
    refused = talk.response(alice, 480)
    assert refused.headers.get("Warning") == '380 edgesip "SIPS Not Allowed"'
    talk.silent()


def test_a_phone_that_registered_a_sips_contact_over_udp_is_not_called() -> None:
    talk = Talk()
    alice, bob = talk.phone("alice"), talk.phone("bob")
    talk.register(alice)
    packet = bob.request(
        "REGISTER",
        f"sip:{SERVER.host}",
        to=f"<sip:bob@{SERVER.host}>",
        contact=f"<sips:bob@{bob.at}>",
    )
    talk >> packet
    talk >> bob.with_credentials(packet, talk.response(bob, 401)) << (bob, 200)
    talk.call(alice, "bob")
    talk << (alice, 478)


def trunked(tmp_path: Path, uri: str) -> Talk:
    file = tmp_path / "route.py"
    file.write_text(f"from edgesip.script import *\ndef request(call):\n    return Forward(({uri!r},))\n")
    return Talk(script=load(file), auth=False)


@pytest.mark.parametrize(
    "uri", [f"sips:1@{TRUNK.host}", f"sip:1@{TRUNK.host};transport=tls", f"sips:1@{TRUNK};transport=tcp"]
)
def test_the_way_to_a_trunk_over_tls_names_whom_it_has_to_prove_to_be(tmp_path: Path, uri: str) -> None:
    talk = trunked(tmp_path, uri)
    alice = talk.phone("alice")
    talk >> alice.invite("1") << (alice, 100)
    flow, octets = talk.sent[0]
    assert flow == Flow("tls", Addr(SERVER.host, 0), TRUNK, TRUNK.host)
    assert b"Via: SIP/2.0/TLS 203.0.113.1:5061;rport;branch=" in octets
    assert b";alias\r\n" in octets


def test_a_sips_uri_with_udp_leads_nowhere(tmp_path: Path) -> None:
    talk = trunked(tmp_path, f"sips:1@{TRUNK};transport=sctp")
    alice = talk.phone("alice")
    talk >> alice.invite("1") << (alice, 478)


def test_names_are_proven_as_they_were_asked_for() -> None:
    talk = Talk()
    alice = talk.phone("alice")
    talk.register(alice)
    octets = alice.invite("sips:1@sip.trunk.example").octets
    (arrived,) = talk.core.receive(octets, alice.flow, talk.now)
    assert isinstance(arrived, Arrived)
    inbound = arrived.inbound
    (wanted,) = talk.locator.locate(inbound, ("sips:1@sip.trunk.example",), talk.now)
    hops = (Hop("tls", TRUNK), Hop("udp", Addr(TRUNK.host, 5060)))
    assert isinstance(wanted, Unresolved)
    ((target,), silent) = talk.locator.settle(inbound, [wanted], {wanted.name: Found(hops)}, talk.now)
    assert not silent
    assert target.hops == (Flow("tls", Addr(SERVER.host, 0), TRUNK, "sip.trunk.example"),)
