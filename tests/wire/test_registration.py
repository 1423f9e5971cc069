"""Registration over the wire: where a phone is reached, who may not register, what a crash keeps."""

from __future__ import annotations

import re

import pytest
from lab.agent import Agent
from lab.network import LAN_PHONE, Network
from lab.phone import Phone
from lab.process import eventually
from lab.server import Server
from lab.sip import Message

pytestmark = pytest.mark.wire


@pytest.mark.parametrize("kind", ["port-restricted", "symmetric"])
def test_lookup_shows_the_public_address_of_a_phone_behind_nat(
    server: Server, network: Network, kind: str
) -> None:
    alice = Phone(network, network.nat_host("alice", 10, kind), "alice", server.add_user("alice"), 440.0)
    alice.wait_registered()
    [contact] = server.contacts("alice")
    sources = {d.source for d in server.capture.datagrams() if d.payload.startswith(b"REGISTER ")}
    [(host, port)] = sources
    assert contact["Received"] == f"sip:{host}:{port}"
    assert host == "203.0.113.10"
    assert (port == 5060) is (kind == "port-restricted")
    assert LAN_PHONE in contact["Address"]
    assert 3500 < contact["Expires"] <= 3600
    alice.close()
    assert server.contacts("alice") == []


def test_a_phone_with_the_wrong_password_never_registers(server: Server, network: Network) -> None:
    server.add_user("alice")
    Phone(network, network.nat_host("alice", 10), "alice", "wrong", 440.0)
    # It tries ten times in a moment and is not heard any more then: it may never say what it was told.
    eventually("five wrong passwords", lambda: server.statistic("auth:refused") >= 5 or None)
    eventually("more, not looked at", lambda: server.statistic("auth:held_back") >= 1 or None)
    assert server.contacts("alice") == []
    assert server.statistic("auth:verified") == 0


def _shape(answer: Message) -> list[str]:
    """A response without what differs between any two: tags, nonce, branch, names."""
    lines = [answer.start, *(f"{name}: {value}" for name, value in answer.headers)]
    noise = r'(tag|nonce|branch)="?[^",;\s]+|Call-ID: \S+|CSeq: \d+|sip:\w+@'
    return [re.sub(noise, "_", line) for line in lines]


def test_a_wrong_password_looks_like_an_unknown_user(server: Server, network: Network) -> None:
    server.add_user("alice")
    host = network.public_host("guesser", 30)
    known, unknown = Agent(host, "alice", "wrong"), Agent(host, "nobody", "wrong", port=5062)
    known.contact = unknown.contact = "<sip:x@203.0.113.30>"
    first, second = known.register(), unknown.register()
    assert first.status == 401
    assert [line.replace("5062", "5060") for line in _shape(second)] == _shape(first)


def test_a_binding_survives_kill_9_right_after_its_200(server: Server, network: Network) -> None:
    host = network.nat_host("bob", 10)
    password = server.add_user("bob")
    bobs = [Agent(host, "bob", password, port=port) for port in (5060, 5062, 5064)]
    for count, bob in enumerate(bobs, 1):
        assert bob.register().status == 200
        server.crash()
        server.start()
        assert len(server.contacts("bob")) == count
    alice = Agent(network.public_host("alice", 30), "alice", server.add_user("alice"))
    assert alice.register().status == 200
    invite = alice.invite("bob", alice.offer(alice.stream(440.0)))
    for bob in bobs:
        ring = bob.expect("INVITE")
        bob.respond(ring, 486, tag="busy")
        bob.expect("ACK")
    answer = alice.expect_response(invite, 300, 699)
    alice.acknowledge_failure(invite, answer)
    assert answer.status == 486
