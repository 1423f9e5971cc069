"""What the relay owes a call beyond the plain one: strangers, late offers, refused changes, silence."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from lab.agent import Agent
from lab.calls import Call, open_call
from lab.network import Network
from lab.server import Server
from lab.sip import media_address
from lab.stream import playing

pytestmark = pytest.mark.wire


def _agents(server: Server, network: Network) -> tuple[Agent, Agent]:
    """alice on a public address, bob behind a symmetric NAT and registered."""
    bob = Agent(network.nat_host("bob", 20, "symmetric"), "bob", server.add_user("bob"))
    alice = Agent(network.public_host("alice", 30), "alice", server.add_user("alice"))
    assert bob.register().status == 200
    return alice, bob


def _call(server: Server, network: Network) -> Call:
    alice, bob = _agents(server, network)
    return open_call(alice, bob, alice.stream(440.0), bob.stream(1000.0))


def test_a_stranger_neither_hears_a_call_nor_is_heard(server: Server, network: Network) -> None:
    """He knows both ports and speaks valid RTP from before the first packet of the phones."""
    call = _call(server, network)
    stranger = network.public_host("stranger", 66)
    sprays = [Agent(stranger, "eve", port=port).stream(2000.0) for port in (5060, 5062)]
    for spray, target in zip(sprays, (call.says.remote, call.hears.remote), strict=True):
        spray.remote = target
    with playing(sprays):
        time.sleep(1.0)
        call.talk(3.0)
    assert [spray.received for spray in sprays] == [[], []]
    call.hang_up()


def test_a_late_offer_gets_media_both_ways(server: Server, network: Network) -> None:
    alice, bob = _agents(server, network)
    says, hears = alice.stream(440.0), bob.stream(1000.0)
    invite = alice.invite("bob", b"")
    ring = bob.expect("INVITE")
    bob.respond(ring, 200, "late", bob.offer(hears))
    answer = alice.expect_response(invite, 200, 299)
    outgoing = alice.caller_dialog(invite, answer)
    alice.send(alice.in_dialog(outgoing, "ACK", alice.offer(says)))
    ack = bob.expect("ACK")
    says.remote, hears.remote = media_address(answer.body), media_address(ack.body)
    call = Call(alice, bob, says, hears, outgoing, bob.callee_dialog(ring, "late"), ring, answer)
    call.talk(2.0)
    call.hang_up()


def test_a_refused_reinvite_leaves_the_media_as_it_was(server: Server, network: Network) -> None:
    call = _call(server, network)
    call.talk(2.0)
    elsewhere = call.alice.stream(440.0)
    change = call.alice.in_dialog(call.outgoing, "INVITE", call.alice.offer(elsewhere, version=2))
    call.alice.send(change)
    asked = call.bob.expect("INVITE")
    assert media_address(asked.body) == call.hears.remote, "ports towards the callee are stable"
    call.bob.respond(asked, 488)
    refused = call.alice.expect_response(change, 300, 699)
    call.alice.acknowledge_failure(change, refused)
    assert refused.status == 488
    call.talk(2.0)
    call.hang_up()


def test_an_accepted_reinvite_moves_the_media(server: Server, network: Network) -> None:
    call = _call(server, network)
    call.talk(2.0)
    elsewhere = call.alice.stream(440.0)
    change = call.alice.in_dialog(call.outgoing, "INVITE", call.alice.offer(elsewhere, version=2))
    call.alice.send(change)
    asked = call.bob.expect("INVITE")
    call.bob.respond(asked, 200, body=call.bob.offer(call.hears))
    answer = call.alice.expect_response(change, 200, 299)
    assert media_address(answer.body) == call.says.remote, "ports towards the caller are stable"
    call.alice.acknowledge(call.outgoing)
    call.bob.expect("ACK")
    elsewhere.remote = call.says.remote
    call.says = elsewhere
    call.talk(2.0)
    call.hang_up()


def test_a_call_without_media_is_ended_on_both_sides(
    start_server: Callable[..., Server], network: Network
) -> None:
    server = start_server({"relay.timeout": "2"})
    call = _call(server, network)
    call.talk(1.0)
    for agent in (call.alice, call.bob):
        agent.respond(agent.expect("BYE", 8.0), 200)
