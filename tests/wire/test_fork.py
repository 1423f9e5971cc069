"""One user at three places: early media of two 183s, one answer, and the others let go."""

from __future__ import annotations

import time

import pytest
from lab.agent import Agent
from lab.network import SERVER, Network
from lab.server import Server
from lab.sip import media_address
from lab.stream import playing
from lab.tones import assert_heard, seconds_of

pytestmark = pytest.mark.wire
ALICE, FIRST, SECOND = 440.0, 1000.0, 1500.0


def test_three_way_fork_with_two_183s(server: Server, network: Network) -> None:
    password = server.add_user("bob")
    places = [
        network.nat_host("first", 10),
        network.nat_host("second", 20, "symmetric"),
        network.public_host("third", 31),
    ]
    first, second, third = (Agent(place, "bob", password) for place in places)
    for bob in (first, second, third):
        assert bob.register().status == 200
    alice = Agent(network.public_host("alice", 30), "alice", server.add_user("alice"))
    says = alice.stream(ALICE)
    invite = alice.invite("bob", alice.offer(says))
    rings = {bob: bob.expect("INVITE") for bob in (first, second, third)}
    offered = {media_address(ring.body) for ring in rings.values()}
    assert {host for host, _ in offered} == {SERVER}
    assert len(offered) == 3, "each target has ports of its own"

    sounds = {first: first.stream(FIRST), second: second.stream(SECOND)}
    second.respond(rings[second], 180, "two")
    third.respond(rings[third], 180, "three")
    early: list[tuple[str, int]] = []
    with playing([says, *sounds.values()]):
        for bob, tag in ((first, "one"), (second, "two")):
            bob.respond(rings[bob], 183, tag, bob.offer(sounds[bob]))
            sounds[bob].remote = media_address(rings[bob].body)
            early.append(media_address(alice.expect_response(invite, 183, 183).body))
            says.remote = early[-1]
            time.sleep(2.0)
        assert early[0] == early[1], "both answerers are behind the same ports towards the caller"
        assert early[0][0] == SERVER
        heard = says.heard()
        assert_heard("alice, early, from the first", heard, FIRST, 1.5)
        assert_heard("alice, early, from the second", heard, SECOND, 1.5)
        assert_heard("the second, early", sounds[second].heard(), ALICE, 1.5)

        first.respond(rings[first], 200, "one", first.offer(sounds[first]))
        answer = alice.expect_response(invite, 200, 299)
        assert media_address(answer.body) == early[0]
        call = alice.caller_dialog(invite, answer)
        alice.acknowledge(call)
        first.expect("ACK")
        for bob in (second, third):
            bob.respond(bob.expect("CANCEL"), 200)
            bob.respond(rings[bob], 487, "two" if bob is second else "three")
            bob.expect("ACK")
        before = {stream: len(stream.heard()) for stream in (says, *sounds.values())}
        time.sleep(2.0)
        talk = {stream: stream.heard()[count:] for stream, count in before.items()}
    assert_heard("alice from the one who answered", talk[says], FIRST, 1.8)
    assert_heard("the one who answered", talk[sounds[first]], ALICE, 1.8)
    assert seconds_of(talk[says], SECOND) == 0
    assert seconds_of(talk[sounds[second]], ALICE) < 0.3, "a loser of the fork still hears the caller"
    bye = alice.in_dialog(call, "BYE")
    alice.send(bye)
    first.respond(first.expect("BYE"), 200)
    assert alice.expect_response(bye, 200, 299).status == 200
