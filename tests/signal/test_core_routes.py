"""Who may ask for what, and where it goes: registration, authentication and routing through nat-sbc."""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import ip_network

import pytest
from talk import SDP, SERVER, Packet, Talk, moved

from edgesip.address import Addr
from edgesip.signal.guard.permissions import TRUSTED_GROUP, Address
from edgesip.signal.proxy.upstream import Upstream
from edgesip.signal.wire.uri import parse_uri

TRUNK = Addr("192.0.2.50", 5060)


def trunked(**more: object) -> Talk:
    upstream = Upstream(parse_uri(f"sip:{TRUNK.host}"), re.compile(r"\+?[0-9*#]+"), frozenset({TRUNK.host}))
    return Talk(upstream=upstream, **more)  # type: ignore[arg-type]


# -- registration ----------------------------------------------------------------------------------


def test_a_binding_remembers_where_it_really_is() -> None:
    talk = Talk()
    alice = talk.phone("alice", nat=True)
    talk.register(alice)
    (binding,) = talk.core.usrloc.lookup("alice", talk.now)
    assert binding.received == f"sip:{alice.at}"
    assert binding.contact == "sip:alice@192.168.1.10:5060"
    assert binding.nated
    assert binding.flow.remote == alice.at


def test_the_200_waits_for_the_store_and_a_repetition_waits_with_it() -> None:
    talk = Talk(durable=True)
    talk.hold_store = True
    alice = talk.phone("alice")
    packet = alice.request("REGISTER", f"sip:{SERVER.host}", to=f"<sip:alice@{SERVER.host}>")
    talk >> packet
    signed = alice.with_credentials(packet, talk.response(alice, 401))
    talk >> signed
    talk.silent()
    talk >> signed
    talk.silent()
    (write,) = talk.writes
    assert write.key[0] == "location"
    assert write.record is not None
    assert write.token is not None
    talk._step(talk.core.stored(write.token, talk.now))
    response = talk.response(alice, 200)
    assert "expires=3600" in (response.headers.get("Contact") or "")
    talk.silent()


def test_a_store_that_fails_keeps_the_binding_in_memory_and_raises_an_alarm() -> None:
    talk = Talk(durable=True)
    talk.hold_store = True
    alice = talk.phone("alice")
    packet = alice.request("REGISTER", f"sip:{SERVER.host}", to=f"<sip:alice@{SERVER.host}>")
    talk >> packet
    talk >> alice.with_credentials(packet, talk.response(alice, 401))
    talk._step(talk.core.stored(talk.writes[0].token or 0, talk.now, "disk full"))
    talk << (alice, 200)
    assert len(talk.core.usrloc.lookup("alice", talk.now)) == 1
    assert [note.level for note in talk.notes if note.event == "binding kept in memory only"] == ["error"]


def test_expiry_takes_the_binding_away_in_memory_and_store() -> None:
    talk = Talk(durable=True)
    talk.register(talk.phone("alice"))
    talk.wait(3601)
    assert talk.core.usrloc.lookup("alice", talk.now) == []
    assert talk.writes[-1].record is None
    assert talk.writes[-1].token == -1, "no REGISTER waits for it"


def test_wrong_password_and_unknown_user_look_the_same() -> None:
    talk = Talk()
    answers = []
    for name, password in (("alice", "wrong"), ("nobody", "secret")):
        phone = replace(talk.phone(name), password=password)
        packet = phone.request(
            "REGISTER", f"sip:{SERVER.host}", call_id=f"{name:<6}"[:6].strip() + "x", to=f"<sip:{name}@x>"
        )
        talk >> phone.request("REGISTER", f"sip:{SERVER.host}", to=f"<sip:{name}@{SERVER.host}>")
        challenge = talk.response(phone, 401)
        packet = phone.request("REGISTER", f"sip:{SERVER.host}", to=f"<sip:{name}@{SERVER.host}>")
        talk >> phone.with_credentials(packet, challenge)
        again = talk.response(phone, 401)
        names = [name for name, _ in again.headers.fields]
        shape = re.sub(r'nonce="[^"]*"', "", again.headers.get("WWW-Authenticate") or "")
        answers.append((names, shape, len(again.headers.get("WWW-Authenticate") or "")))
        assert talk.core.usrloc.lookup(name, talk.now) == []
    assert answers[0] == answers[1]
    told = [dict(note.fields)["why"] for note in talk.notes if note.event == "authentication failed"]
    assert len(told) == 2
    assert told[0] != told[1]
    assert "secret" not in str(talk.notes)


def test_nobody_registers_for_somebody_else() -> None:
    talk = Talk()
    alice = talk.phone("alice")
    packet = alice.request("REGISTER", f"sip:{SERVER.host}", to=f"<sip:bob@{SERVER.host}>")
    talk >> packet
    talk >> alice.with_credentials(packet, talk.response(alice, 401)) << (alice, 403)
    assert talk.core.usrloc.lookup("bob", talk.now) == []


def test_registration_without_authentication_where_it_is_switched_off() -> None:
    talk = Talk(auth=False)
    zoe = talk.phone("zoe")
    talk >> zoe.request("REGISTER", f"sip:{SERVER.host}", to=f"<sip:zoe@{SERVER.host}>") << (zoe, 200)
    talk >> zoe.request("REGISTER", "sip:elsewhere.example", to="<sip:zoe@elsewhere.example>")
    talk << (zoe, 403)


# -- who may ask -----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["INVITE", "MESSAGE", "SUBSCRIBE", "REFER", "INFO", "OPTIONS"])
def test_whatever_opens_something_is_challenged_first(method: str) -> None:
    talk = Talk()
    talk.register(bob := talk.phone("bob"))
    mallory = talk.phone("mallory")
    talk >> mallory.request(method, f"sip:bob@{SERVER.host}") << (mallory, 407)
    talk.silent()
    assert len(talk.core.transactions) == 0
    alice = talk.phone("alice")
    packet = alice.request(method, f"sip:bob@{SERVER.host}")
    talk >> packet
    talk >> alice.with_credentials(packet, talk.response(alice, 407))
    if method == "INVITE":
        talk << (alice, 100)
    talk << (bob, method)


def test_a_stolen_from_is_refused() -> None:
    talk = Talk()
    talk.register(talk.phone("bob"))
    alice = talk.phone("alice")
    packet = alice.invite("bob", from_=f"<sip:carol@{SERVER.host}>;tag=x")
    talk >> packet
    talk >> alice.with_credentials(packet, talk.response(alice, 407)) << (alice, 403)


def test_options_to_us_is_answered_without_a_password() -> None:
    talk = Talk()
    mallory = talk.phone("mallory")
    talk >> mallory.request("OPTIONS", f"sip:{SERVER.host}")
    assert talk.response(mallory, 200).headers.get("Accept-Language") == "en"


@pytest.mark.parametrize(
    ("uri", "status"),
    [
        ("sip:bob@example.com", 403),
        (f"sip:bob@{SERVER.host}:5999", 403),
        ("tel:+1555", 416),
        ("http://example.com", 416),
    ],
)
def test_what_is_not_ours_is_refused(uri: str, status: int) -> None:
    talk = Talk()
    mallory = talk.phone("mallory")
    talk >> mallory.request("INVITE", uri, to="<sip:bob@x>") << (mallory, status)


def test_our_domain_names_us_too() -> None:
    talk = Talk()
    alice = talk.phone("alice")
    talk >> alice.request("INVITE", "sip:bob@EXAMPLE.net") << (alice, 407)


def test_preloaded_routes_and_spent_hops_and_required_extensions_are_refused() -> None:
    talk = Talk()
    mallory = talk.phone("mallory")
    talk >> mallory.invite("bob", headers=[("Route", "<sip:198.51.100.99;lr>")]) << (mallory, 403)
    packet = mallory.invite("bob")
    packet.octets = packet.octets.replace(b"Max-Forwards: 70", b"Max-Forwards: 0")
    talk >> packet << (mallory, 483)
    talk >> mallory.invite("bob", headers=[("Proxy-Require", "nothing-we-know")])
    assert talk.response(mallory, 420).headers.get("Unsupported") == "nothing-we-know"


def test_our_own_route_is_taken_off_quietly() -> None:
    talk = Talk()
    talk.register(bob := talk.phone("bob"))
    alice = talk.phone("alice")
    packet = alice.invite("bob", headers=[("Route", f"<sip:{SERVER};lr>")])
    talk >> packet
    talk >> alice.with_credentials(packet, talk.response(alice, 407)) << (alice, 100)
    assert talk.request(bob, "INVITE").headers.routes == ()


# -- where it goes ---------------------------------------------------------------------------------


def test_a_subscriber_without_a_phone_is_unavailable_and_anyone_else_unknown() -> None:
    talk = Talk()
    alice = talk.phone("alice")
    talk.call(alice, "bob")
    talk << (alice, 480)
    talk.call(alice, "nobody")
    talk << (alice, 404)
    talk.call(alice, "5551234")
    talk << (alice, 404)


def test_numbers_go_upstream_and_a_registered_number_rings_here() -> None:
    talk = trunked(users=("alice", "100"))
    alice, desk = talk.phone("alice"), talk.phone("100")
    talk.register(alice, desk)
    talk.call(alice, "+4930123")
    talk << (alice, 100)
    assert talk.request(TRUNK, "INVITE").uri == f"sip:+4930123@{TRUNK.host}"
    talk.call(alice, "100")
    talk << (alice, 100) << (desk, "INVITE")
    talk.call(alice, "dora")
    talk << (alice, 404)


def test_a_subscriber_number_without_a_phone_does_not_leave() -> None:
    talk = trunked(users=("alice", "100"))
    alice = talk.phone("alice")
    talk.call(alice, "100")
    talk << (alice, 480)


def test_the_upstream_rings_phones_without_a_password_and_never_gets_its_calls_back() -> None:
    talk = trunked()
    talk.register(bob := talk.phone("bob"))
    trunk = talk.phone("trunk", at=TRUNK)
    talk >> trunk.invite("bob") << (trunk, 100) << (bob, "INVITE")
    talk >> trunk.invite("5551234") << (trunk, 404)
    talk.silent()


def test_trusted_sources_are_believed() -> None:
    talk = trunked()
    talk.guard.permissions.use([Address(TRUSTED_GROUP, ip_network("192.0.2.128/25"), "", 0, "")], ())
    talk.register(bob := talk.phone("bob"))
    inside = talk.phone("gateway", at=Addr("192.0.2.200", 5060))
    outside = talk.phone("gateway", at=Addr("192.0.2.20", 5060))
    talk >> inside.invite("bob") << (inside, 100) << (bob, "INVITE")
    talk >> inside.invite("5551234") << (inside, 404)
    talk >> outside.invite("bob") << (outside, 407)


def test_every_phone_of_a_user_rings() -> None:
    talk = Talk()
    desks = [talk.phone("bob") for _ in range(3)]
    talk.register(*desks)
    alice = talk.phone("alice")
    talk.call(alice, "bob")
    talk << (alice, 100) << (desks[0], "INVITE") << (desks[1], "INVITE") << (desks[2], "INVITE")
    talk.silent()


# -- answers go where the question came from -------------------------------------------------------


def test_answers_go_to_the_packet_source_whatever_via_says() -> None:
    talk = Talk()
    alice = talk.phone("alice", nat=True)
    packet = alice.invite("bob")
    packet.octets = packet.octets.replace(b"192.168.1.10:5060;rport", b"255.255.255.255;maddr=192.0.2.9")
    talk >> packet
    response = talk.response(alice, 407)
    assert response.headers.via.received == alice.at.host


def test_bad_requests_get_400_and_garbage_gets_nothing() -> None:
    talk = Talk()
    alice = talk.phone("alice")
    packet = alice.invite("bob", body=SDP)
    talk >> Packet(alice, packet.octets.replace(b"Content-Length: ", b"Content-Length: 9")) << (alice, 400)
    talk >> Packet(alice, packet.octets.replace(b"CSeq: 1 INVITE", b"CSeq: 1 BYE")) << (alice, 400)
    for bad in (
        (b"CSeq: 1 ", b"CSeq: 4294967296 "),
        (b"From: <", b"From: <<<"),
        (b"Contact: <", b"Contact: <<<"),
    ):
        talk >> Packet(alice, packet.octets.replace(*bad))
        assert talk.sent.pop()[1].startswith(b"SIP/2.0 400 ")
    talk >> Packet(alice, packet.octets.replace(b"SIP/2.0\r\n", b"SIP/7.0\r\n", 1)) << (alice, 505)
    talk >> Packet(alice, b"\xff" * 500)
    talk >> Packet(alice, b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n" * 3)
    talk >> Packet(alice, b"SIP/2.0 200 OK\r\n\r\n" * 3)
    talk.silent()


def test_keepalive_pings_go_out_once_an_interval_and_their_answers_are_ours() -> None:
    talk = Talk(ping=25.0)
    alice = talk.phone("alice", nat=True)
    talk.register(alice)
    talk.wait(250)
    pings = len(talk.sent)
    assert 9 <= pings <= 11
    ping = talk.request(alice, "OPTIONS")
    talk.sent.clear()
    talk.wait(0.2)
    talk >> alice.reply(ping, 200)
    talk.silent()


def test_an_operator_can_throw_a_phone_out() -> None:
    talk = Talk(durable=True)
    talk.register(talk.phone("alice"))
    talk._step(talk.core.unregister(talk.core.usrloc.lookup("alice", talk.now), talk.now))
    assert talk.core.usrloc.lookup("alice", talk.now) == []
    assert talk.writes[-1].record is None


def test_a_request_from_elsewhere_moves_no_binding() -> None:
    talk = Talk()
    alice = talk.phone("alice")
    talk.register(alice)
    thief = moved(alice, Addr("198.51.100.250", 6000))
    for method in ("INVITE", "OPTIONS", "MESSAGE", "SUBSCRIBE"):
        talk >> thief.request(method, f"sip:bob@{SERVER.host}") << (thief, 407)
    (binding,) = talk.core.usrloc.lookup("alice", talk.now)
    assert binding.flow.remote == alice.at
