"""Where the phones are: behind one router, behind one carrier, two of one user, two with one address."""

from __future__ import annotations

import time

import pytest
from lab.agent import Agent
from lab.calls import Call, connect, hang_up, phone_at
from lab.network import LAN_PHONE, Network
from lab.routers import KINDS
from lab.server import Server
from lab.sip import media_address

pytestmark = pytest.mark.wire
TALK = 3.0


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=() if kind == "port-restricted" else pytest.mark.long)
        for kind in (*KINDS, "alg")
    ],
)
def test_both_phones_behind_one_router(server: Server, network: Network, kind: str) -> None:
    home = network.router("home", 10, kind)
    alice = phone_at(server, network, "alice", home.host("alice", 10))
    bob = phone_at(server, network, "bob", home.host("bob", 11))
    connect(alice, bob)
    time.sleep(TALK)
    [session] = server.ask("rtp", "list")
    assert {leg["remote"].rpartition(":")[0] for leg in session["legs"]} == {home.public}
    hang_up(bob, alice)
    alice.assert_heard(bob, TALK)
    bob.assert_heard(alice, TALK)


@pytest.mark.long
@pytest.mark.parametrize("carrier_kind", ["symmetric", "full-cone"])
def test_two_homes_behind_one_carrier(server: Server, network: Network, carrier_kind: str) -> None:
    """Both phones are 192.168.1.10, both homes show one public address."""
    carrier = network.router("carrier", 10, carrier_kind, lan="100.64.0")
    homes = [network.router(f"home{number}", number, carrier=carrier) for number in (11, 12)]
    alice = phone_at(server, network, "alice", homes[0].host("alice"))
    bob = phone_at(server, network, "bob", homes[1].host("bob"))
    assert alice.host.address == bob.host.address == LAN_PHONE
    connect(alice, bob)
    time.sleep(TALK)
    hang_up(alice, bob)
    alice.assert_heard(bob, TALK)
    bob.assert_heard(alice, TALK)


@pytest.mark.parametrize("answers", [0, 1])
def test_two_phones_of_one_user_with_one_contact_are_two(
    server: Server, network: Network, answers: int
) -> None:
    """Two houses, in each a phone 192.168.1.10:5060 of bob's: both ring, the call is the answerer's."""
    password = server.add_user("bob")
    hosts = [network.nat_host("first", 20), network.nat_host("second", 21, "symmetric")]
    bobs = [Agent(host, "bob", password) for host in hosts]
    for bob in bobs:
        bob.contact = f"<sip:bob@{LAN_PHONE}:5060>"
        assert bob.register().status == 200
    assert len(server.contacts("bob")) == 2
    alice = Agent(network.nat_host("alice", 10), "alice", server.add_user("alice"))
    says = alice.stream(440.0)
    invite = alice.invite("bob", alice.offer(says))
    rings = [bob.expect("INVITE") for bob in bobs]
    for number, (bob, ring) in enumerate(zip(bobs, rings, strict=True)):
        bob.respond(ring, 180, f"t{number}")
    bob, ring, tag = bobs[answers], rings[answers], f"t{answers}"
    loser = bobs[1 - answers]
    hears = bob.stream(1000.0)
    bob.respond(ring, 200, tag, bob.offer(hears))
    answer = alice.expect_response(invite, 200, 299)
    outgoing = alice.caller_dialog(invite, answer)
    alice.acknowledge(outgoing)
    bob.expect("ACK")
    loser.respond(loser.expect("CANCEL"), 200)
    loser.respond(rings[1 - answers], 487, f"t{1 - answers}")
    loser.expect("ACK")
    says.remote, hears.remote = media_address(answer.body), media_address(ring.body)
    call = Call(alice, bob, says, hears, outgoing, bob.callee_dialog(ring, tag), ring, answer)
    call.talk(TALK)
    call.hang_up()
    assert loser.receive(lambda message: message.method in ("ACK", "BYE"), 0.3) is None


@pytest.mark.long
def test_two_baresips_of_one_user_both_ring_and_one_answers(server: Server, network: Network) -> None:
    home = network.router("home", 20)
    desk = phone_at(server, network, "bob", home.host("desk", 10))
    kitchen = phone_at(server, network, "bob", home.host("kitchen", 11), name="kitchen")
    alice = phone_at(server, network, "alice", "symmetric")
    for answerer, other in ((kitchen, desk), (desk, kitchen)):
        alice.dial("bob")
        desk.wait_ringing()
        kitchen.wait_ringing()
        answerer.answer()
        alice.wait_established()
        answerer.wait_established()
        other.wait_closed()
        time.sleep(TALK)
        hang_up(alice, answerer)
        alice.assert_heard(answerer, TALK)
        answerer.assert_heard(alice, TALK)
