"""Flows: TCP connections that come and go, both families, phones that moved in mid-call."""

from __future__ import annotations

from dataclasses import replace

from talk import SDP, SERVER, SERVER6, Talk

from edgesip.address import Addr
from edgesip.signal.wire.grammar import ParseError


def test_tcp_phones_are_called_over_their_own_connection_and_nothing_is_repeated() -> None:
    talk = Talk()
    alice = talk.phone("alice", nat=True, transport="tcp")
    bob = talk.phone("bob", nat=True, transport="tcp")
    talk.register(alice, bob)
    invite = talk.call(alice, "bob")
    talk << (alice, 100)
    flow, _ = talk.sent[0]
    assert flow == bob.flow
    received = talk.request(bob, "INVITE")
    assert received.headers.via.transport == "TCP"
    assert received.headers.record_routes[0].uri.param("transport") == "tcp"
    assert received.headers.contacts[0].uri.param("alias") == f"{alice.at.host}~{alice.at.port}~2"
    talk.wait(20).silent()
    talk >> bob.reply(received, 200, body=SDP)
    answer = talk.response(alice, 200)
    talk >> alice.ack(invite, answer)
    assert talk.sent[0][0] == bob.flow
    talk << (bob, "ACK")
    talk >> bob.back(received, bob.reply(received, 200), "BYE")
    assert talk.sent[0][0] == alice.flow
    talk << (alice, "BYE")


def test_udp_calls_tcp_through_two_record_routes_both_taken_off_again() -> None:
    talk = Talk()
    alice, bob = talk.phone("alice", nat=True), talk.phone("bob", nat=True, transport="tcp")
    talk.register(alice, bob)
    invite = talk.call(alice, "bob")
    talk << (alice, 100)
    received = talk.request(bob, "INVITE")
    assert [route.uri.param("r2") for route in received.headers.record_routes] == ["on", "on"]
    assert [route.uri.param("transport") for route in received.headers.record_routes] == ["tcp", None]
    talk >> bob.reply(received, 200, body=SDP)
    answer = talk.response(alice, 200)
    talk >> alice.ack(invite, answer)
    ack = talk.request(bob, "ACK")
    assert ack.headers.routes == ()


def test_a_lost_connection_takes_its_binding_and_nobody_elses() -> None:
    talk = Talk(durable=True)
    alice, bob = talk.phone("alice", transport="tcp"), talk.phone("bob", transport="tcp")
    talk.register(alice, bob)
    talk.hang(alice)
    assert talk.core.usrloc.lookup("alice", talk.now) == []
    assert len(talk.core.usrloc.lookup("bob", talk.now)) == 1
    assert talk.writes[-1].record is None


def test_a_call_to_a_connection_that_dies_fails_at_once() -> None:
    talk = Talk()
    alice, bob = talk.phone("alice"), talk.phone("bob", transport="tcp")
    talk.register(alice, bob)
    talk.call(alice, "bob")
    talk << (alice, 100) << (bob, "INVITE")
    talk.hang(bob) << (alice, 408)


def test_a_caller_whose_connection_dies_cancels_its_call() -> None:
    talk = Talk()
    alice, bob = talk.phone("alice", transport="tcp"), talk.phone("bob")
    talk.register(alice, bob)
    talk.call(alice, "bob")
    talk << (alice, 100)
    received = talk.request(bob, "INVITE")
    talk >> bob.reply(received, 180) << (alice, 180)
    talk.hang(alice) << (bob, "CANCEL")
    talk >> bob.reply(received, 487) << (bob, "ACK")
    talk.silent()
    talk.wait(40)
    talk.sent.clear()
    talk.quiet()


def test_an_alias_over_tcp_opens_no_connection() -> None:
    talk = Talk()
    alice, bob = talk.phone("alice"), talk.phone("bob", nat=True, transport="tcp")
    talk.register(alice, bob)
    invite, answer, _, _ = talk.answered(alice, bob)
    talk.hang(bob)
    talk >> alice.within(invite, answer, "INFO")
    flow, _ = talk.sent.pop(0)
    assert flow == bob.flow
    assert flow.local.port


def test_an_in_dialog_request_finds_the_phone_where_it_registered_last() -> None:
    talk = Talk()
    alice, bob = talk.phone("alice", nat=True), talk.phone("bob", nat=True)
    talk.register(alice, bob)
    invite, answer, received, ok = talk.answered(alice, bob)
    there = replace(bob, at=Addr(bob.at.host, 61000))
    packet = bob.request("REGISTER", f"sip:{SERVER.host}", call_id="again", to=f"<sip:bob@{SERVER.host}>")
    packet.phone = there
    talk >> packet
    again = there.with_credentials(packet, talk.response(there, 401))
    talk >> again << (there, 200)
    talk >> alice.within(invite, answer, "INFO") << (there, "INFO")
    elsewhere = replace(alice, at=Addr(alice.at.host, 62000))
    packet = alice.request(
        "REGISTER", f"sip:{SERVER.host}", call_id="again-a", to=f"<sip:alice@{SERVER.host}>"
    )
    packet.phone = elsewhere
    talk >> packet
    talk >> elsewhere.with_credentials(packet, talk.response(elsewhere, 401)) << (elsewhere, 200)
    back = bob.back(received, ok, "BYE")
    back.phone = there
    talk >> back << (elsewhere, "BYE")


def test_a_v4_phone_calls_a_v6_phone() -> None:
    talk = Talk()
    alice, bob = talk.phone("alice", nat=True), talk.phone("bob", at=Addr("2001:db8::20", 5060))
    talk.register(alice, bob)
    invite = talk.call(alice, "bob")
    talk << (alice, 100)
    assert talk.sent[0][0].local == SERVER6
    received = talk.request(bob, "INVITE")
    assert received.uri == "sip:bob@[2001:db8::20]:5060"
    assert received.headers.via.host == SERVER6.host
    assert [route.uri.host for route in received.headers.record_routes] == [SERVER6.host, SERVER.host]
    talk >> bob.reply(received, 200, body=SDP)
    answer = talk.response(alice, 200)
    talk >> alice.ack(invite, answer) << (bob, "ACK")
    talk >> alice.within(invite, answer, "BYE") << (bob, "BYE")


def test_a_stream_that_lies_about_its_length_is_told_400() -> None:
    talk = Talk()
    alice = talk.phone("alice", transport="tcp")
    octets = alice.invite("bob").octets.replace(b"Content-Length: ", b"Content-Length: -")
    talk._step(talk.core.malformed(octets, ParseError("no"), alice.flow))
    talk << (alice, 400)
    talk._step(talk.core.malformed(b"GET / HTTP/1.1\r\n\r\n", ParseError("no"), alice.flow))
    talk.silent()
    assert talk.core.registered(alice.flow) is False
    talk.register(alice)
    assert talk.core.registered(alice.flow) is True


def test_the_flows_of_living_calls_are_known() -> None:
    talk = Talk()
    alice, bob, carol = (talk.phone(name, transport="tcp") for name in ("alice", "bob", "carol"))
    talk.register(alice, bob)
    everybody = [phone.flow for phone in (alice, bob, carol)]
    invite, answer, _, _ = talk.answered(alice, bob)
    assert talk.core.dialogs.in_calls(everybody) == {alice.flow, bob.flow}
    assert talk.core.dialogs.in_calls([carol.flow]) == set()
    talk >> alice.within(invite, answer, "BYE")
    talk >> bob.reply(talk.request(bob, "BYE"), 200) << (alice, 200)
    assert talk.core.dialogs.in_calls(everybody) == set()


def test_two_houses_with_the_same_private_address_are_two_phones_of_one_user() -> None:
    talk = Talk()
    home, office = talk.phone("bob", nat=True), talk.phone("bob", nat=True)
    assert home.contact == office.contact
    talk.register(home, office)
    alice = talk.phone("alice")
    talk.call(alice, "bob")
    talk << (alice, 100) << (home, "INVITE") << (office, "INVITE")


def test_a_router_that_starts_again_leaves_one_binding() -> None:
    talk = Talk()
    bob = talk.phone("bob", nat=True)
    there = replace(bob, at=Addr(bob.at.host, 61000))
    talk.register(bob, there)
    (binding,) = talk.core.usrloc.lookup("bob", talk.now)
    assert binding.flow.remote == there.at


def test_a_front_proxys_flow_carries_many_users_and_each_is_found() -> None:
    talk = Talk(users=[f"user{number}" for number in range(20)])
    at = Addr("192.0.2.77", 5060)
    phones = [talk.phone(f"user{number}", at=at) for number in range(20)]
    talk.register(*phones)
    usrloc = talk.core.usrloc
    assert len(usrloc.by_flow(phones[0].flow)) == 20
    talk._step(talk.core.unregister(usrloc.by_flow(phones[0].flow)[:19], talk.now))
    (last,) = usrloc.by_flow(phones[0].flow)
    assert usrloc.one_by_flow(phones[0].flow) == last
    talk._step(talk.core.unregister([last], talk.now))
    assert usrloc.one_by_flow(phones[0].flow) is None
    assert len(usrloc._flows) == 0


def test_a_tcp_phone_that_comes_back_in_mid_call_is_found_by_what_follows() -> None:
    for instance in ("", ';+sip.instance="<urn:uuid:0>"'):
        talk = Talk()
        alice, bob = talk.phone("alice", nat=True), talk.phone("bob", nat=True, transport="tcp")
        contact = f"{bob.contact}{instance}"
        packet = bob.request("REGISTER", f"sip:{SERVER.host}", to=f"<sip:bob@{SERVER.host}>", contact=contact)
        talk >> packet
        talk >> bob.with_credentials(packet, talk.response(bob, 401)) << (bob, 200)
        talk.register(alice)
        invite, answer, _, _ = talk.answered(alice, bob)
        for port in (61000, 62000):
            talk.hang(bob)
            bob = replace(bob, at=Addr(bob.at.host, port), inside=Addr(bob.inside.host, port))
            contact = f"{bob.contact}{instance}"
            packet = bob.request(
                "REGISTER", f"sip:{SERVER.host}", to=f"<sip:bob@{SERVER.host}>", contact=contact
            )
            talk >> packet
            talk >> bob.with_credentials(packet, talk.response(bob, 401)) << (bob, 200)
            talk >> alice.within(invite, answer, "INFO")
            info = talk.request(bob, "INFO")
            talk >> bob.reply(info, 200) << (alice, 200)
        talk._step(talk.core.media_timeout(*_media_of(talk), talk.now))
        talk << (alice, "BYE") << (bob, "BYE")


def _media_of(talk: Talk) -> tuple[tuple[str, str], str]:
    (dialog,) = talk.core.dialogs
    return dialog.media_key, dialog.branch


def test_lost_phones_are_remembered_within_bounds() -> None:
    talk = Talk()
    bob = talk.phone("bob", nat=True, transport="tcp")
    for number in range(50):
        at = replace(bob, at=Addr(bob.at.host, 50000 + number))
        talk.register(at)
        talk.hang(at)
    assert len(talk.core.usrloc._lost) == 1
    assert len(talk.core.usrloc._heirs) == 49
    assert talk.core.usrloc.present("nobody") is None
