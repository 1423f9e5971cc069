"""GRUUs (RFC 5627), as conversations: a phone gets names of its own, by which it alone is called."""

from __future__ import annotations

import pytest
from talk import SERVER, Phone, Talk

from edgesip.address import Addr, Flow
from edgesip.signal.location.gruu import Gruus, instance_of, is_of, public_gruu
from edgesip.signal.location.registrar import Settings
from edgesip.signal.location.usrloc import Binding
from edgesip.signal.wire.message import Response
from edgesip.signal.wire.uri import parse_uri

DESK, MOBILE = "urn:uuid:00000000-0000-1000-8000-000A95A0E128", "urn:uuid:mobile"


def register(talk: Talk, phone: Phone, instance: str, *, supported: str = "gruu", **more: str) -> Response:
    call_id = more.pop("call_id", f"reg-{phone.at}")
    tail = "".join(f";{name}={value}" for name, value in more.items())
    packet = phone.request(
        "REGISTER",
        f"sip:{SERVER.host}",
        to=f"<sip:{phone.name}@example.net>",
        call_id=call_id,
        contact=f'{phone.contact};+sip.instance="<{instance}>"{tail}',
        headers=[("Supported", supported)] if supported else [],
    )
    talk >> packet
    talk >> phone.with_credentials(packet, talk.response(phone, 401))
    return talk.response(phone, 200)


def named(response: Response, at: Phone, which: str) -> str:
    (text,) = (one.param(which) for one in response.headers.contacts if f"@{at.inside}" in str(one.uri))
    assert text is not None
    return text.strip('"')


def call(talk: Talk, caller: Phone, uri: str) -> None:
    packet = caller.request("INVITE", uri)
    talk >> packet
    talk >> caller.with_credentials(packet, talk.response(caller, 407))


def test_a_phone_gets_a_public_and_a_temporary_name_when_it_supports_them() -> None:
    talk = Talk()
    bob = talk.phone("bob")
    answer = register(talk, bob, DESK)
    assert named(answer, bob, "pub-gruu") == f"sip:bob@example.net;gr={DESK}"
    temporary = parse_uri(named(answer, bob, "temp-gruu"))
    assert temporary.host == "example.net"
    assert temporary.param("gr") == ""
    assert "bob" not in str(temporary)
    plain = register(talk, bob, DESK, supported="").headers.contacts[0]
    assert plain.param("pub-gruu") is None
    assert plain.param("temp-gruu") is None


def test_each_temporary_name_is_another_one_and_all_of_them_are_good() -> None:
    talk = Talk(rules=Settings())
    bob = talk.phone("bob")
    names = [named(register(talk, bob, DESK), bob, "temp-gruu") for _ in range(3)]
    assert len(set(names)) == 3
    alice = talk.phone("alice")
    for name in names:
        call(talk, alice, name)
        talk << (alice, 100) << (bob, "INVITE")


def test_gruus_are_off_when_the_profile_says_so() -> None:
    talk = Talk(rules=Settings(gruu_enabled=False))
    contact = register(talk, bob := talk.phone("bob"), DESK).headers.contacts[0]
    assert str(contact.uri).startswith(f"sip:bob@{bob.inside}")
    assert contact.param("pub-gruu") is None


@pytest.mark.parametrize("which", ["pub-gruu", "temp-gruu"])
def test_a_call_to_a_gruu_rings_that_phone_alone_at_its_contact(which: str) -> None:
    talk = Talk(rules=Settings())
    alice, desk, mobile = talk.phone("alice"), talk.phone("bob"), talk.phone("bob")
    register(talk, desk, DESK)
    name = named(register(talk, mobile, MOBILE), mobile, which)
    call(talk, alice, name)
    talk << (alice, 100)
    assert talk.request(mobile, "INVITE").uri == f"sip:bob@{mobile.inside}"
    talk.silent()


def test_a_public_name_of_a_phone_that_is_away_is_480_and_of_nobody_404() -> None:
    talk = Talk(rules=Settings())
    alice, bob = talk.phone("alice"), talk.phone("bob")
    register(talk, bob, DESK)
    for uri, status in ((f"sip:bob@example.net;gr={MOBILE}", 480), (f"sip:x@example.net;gr={DESK}", 404)):
        call(talk, alice, uri)
        talk << (alice, status)


def test_a_temporary_name_ends_with_its_call_id_and_with_its_registration() -> None:
    talk = Talk(rules=Settings())
    alice, bob = talk.phone("alice"), talk.phone("bob")
    first = named(register(talk, bob, DESK), bob, "temp-gruu")
    second = named(register(talk, bob, DESK, call_id="started again"), bob, "temp-gruu")
    call(talk, alice, first)
    talk << (alice, 404)
    call(talk, alice, second)
    talk << (alice, 100)
    talk >> bob.reply(talk.request(bob, "INVITE"), 486) << (bob, "ACK") << (alice, 486)
    talk.wait(3700).sent.clear()
    call(talk, alice, second)
    talk << (alice, 404)


def test_a_temporary_name_cannot_be_made_up() -> None:
    talk = Talk(rules=Settings())
    alice, bob = talk.phone("alice"), talk.phone("bob")
    name = named(register(talk, bob, DESK), bob, "temp-gruu")
    token = parse_uri(name).user or ""
    for user in (token[:-1], token[::-1], "Z" + token[1:], "", "%41", "A" * 400):
        call(talk, alice, f"sip:{user}@example.net;gr" if user else "sip:example.net;gr")
        talk << (alice, 404)


def test_a_gruu_is_the_target_of_requests_inside_a_call() -> None:
    talk = Talk(rules=Settings())
    alice, bob = talk.phone("alice"), talk.phone("bob", nat=True)
    name = named(register(talk, bob, DESK), bob, "pub-gruu")
    packet = talk.call(alice, "bob")
    talk << (alice, 100)
    received = talk.request(bob, "INVITE")
    talk >> bob.reply(received, 200, contact=f"<{name}>")
    answer = talk.response(alice, 200)
    talk >> alice.ack(packet, answer)
    assert talk.request(bob, "ACK").uri == f"sip:bob@{bob.inside}"
    talk >> alice.within(packet, answer, "BYE")
    assert talk.request(bob, "BYE").uri == f"sip:bob@{bob.inside}"


# ---- as values

FLOW = Flow("udp", SERVER, Addr("198.51.100.7", 40000))
HERE = Binding("bob", "sip:bob@x", 9, -1, "call", 1, "", FLOW, "", False, DESK, 0, "uloc-0011")


@pytest.mark.parametrize("instance", [DESK, "a b;c=d,é?", "urn:x:%41"])
def test_an_instance_survives_its_way_through_a_uri(instance: str) -> None:
    text = public_gruu(parse_uri("sip:bob@example.net:5070"), instance)
    assert instance_of(parse_uri(text)) == instance


def test_a_seal_is_stable_over_restarts_and_another_secret_cannot_read_it() -> None:
    serial = iter(range(1, 100))
    one, again, other = (Gruus(key, lambda n: next(serial).to_bytes(n, "big")) for key in (b"a", b"a", b"b"))
    uri = parse_uri(one.temporary(parse_uri("sip:bob@example.net"), HERE))
    found = again.ruid(uri)
    assert found is not None
    assert found[0] == HERE.ruid
    assert is_of(found[1], HERE)
    assert other.ruid(uri) is None
