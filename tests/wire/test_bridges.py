"""Calls between two networks of the server and between IPv4 and IPv6; two relays on the way of one call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from lab.agent import Agent
from lab.calls import Call, open_call
from lab.network import SERVER6, Network
from lab.server import Server
from lab.sip import media_address

pytestmark = pytest.mark.wire
INSIDE = "10.0.0.1"
PROFILE = f"""
route = "bridge.py"

[relay]
ports = "20000-20063"

[relay.interface.internal]
address = "{INSIDE}"

[relay.interface.external]
address = "203.0.113.1,{SERVER6}"
ports = "40000-40063"
"""
ROUTE = '''"""Phones of the office and of the internet; the media of each comes to its own side."""

from edgesip.script import Call, Decision, Forward, Reply, Save


def request(call: Call) -> Decision:
    if call.method == "REGISTER":
        return call.www_authenticate() or Save()
    if refusal := call.proxy_authenticate():
        return refusal
    inside = call.source_ip.startswith("10.0.0.")
    done = call.rtpproxy_manage("ie address-family=IP6" if inside else "ei address-family=IP4")
    return Forward(call.lookup()) if done == 1 else Reply(503)
'''
OFFICE = (INSIDE, range(20000, 20064))
INTERNET = (SERVER6, range(40000, 40064))


@pytest.fixture
def agents(
    start_server: Callable[..., Server], network: Network, tmp_path: Path
) -> tuple[Server, Agent, Agent]:
    """A server between an office and the internet, alice in the one, bob in the other."""
    (tmp_path / "bridge.py").write_text(ROUTE)
    (tmp_path / "bridge.toml").write_text(PROFILE)
    server = start_server(profile=str(tmp_path / "bridge.toml"), lan="10.0.0")
    assert server.lan is not None
    alice = Agent(server.lan.host("alice"), "alice", server.add_user("alice"))
    bob = Agent(network.public_host("bob", 20), "bob", server.add_user("bob"))
    for agent in (alice, bob):
        assert agent.register().status == 200
    return server, alice, bob


def assert_sides(call: Call, caller: tuple[str, range], callee: tuple[str, range]) -> None:
    """Where each side was told to send."""
    for stream, (host, ports) in ((call.says, caller), (call.hears, callee)):
        assert stream.remote is not None
        assert stream.remote[0] == host
        assert stream.remote[1] in ports


def test_the_office_hears_the_internet_in_another_family(agents: tuple[Server, Agent, Agent]) -> None:
    server, alice, bob = agents
    call = open_call(alice, bob, alice.stream(440.0), bob.stream(1000.0, family=6))
    assert_sides(call, OFFICE, INTERNET)
    call.talk(3.0)
    legs = server.ask("rtp", "list")[0]["legs"]
    assert {leg["carried_by"] for leg in legs} <= {"kernel", "user"}
    call.hang_up()


def test_the_internet_calls_holds_and_goes_on(agents: tuple[Server, Agent, Agent]) -> None:
    _, alice, bob = agents
    call = open_call(bob, alice, bob.stream(1000.0, family=6), alice.stream(440.0))
    assert_sides(call, INTERNET, OFFICE)
    call.talk(2.0)
    held = bob.offer(call.says, version=2).replace(f"c=IN IP6 {call.says.host}".encode(), b"c=IN IP6 ::")
    for body, told in ((held, "0.0.0.0"), (bob.offer(call.says, version=3), INSIDE)):
        change = bob.in_dialog(call.outgoing, "INVITE", body)
        bob.send(change)
        asked = alice.expect("INVITE")
        assert call.hears.remote is not None
        assert media_address(asked.body) == (told, call.hears.remote[1])
        alice.respond(asked, 200, body=alice.offer(call.hears))
        answer = bob.expect_response(change, 200, 299)
        assert media_address(answer.body) == call.says.remote
        bob.acknowledge(call.outgoing)
        alice.expect("ACK")
    call.talk(2.0)
    call.hang_up()


CHAIN = '''"""One of two servers in a row: to whoever registered here, else on to the second."""

from edgesip.script import Call, Decision, Forward, Save


def request(call: Call) -> Decision:
    if call.method == "REGISTER":
        return Save()
    call.rtpproxy_manage(FLAGS)
    return Forward(call.lookup() or ("sip:bob@203.0.113.1",))
'''


@pytest.mark.parametrize(("flags", "leased"), [("", 0), ("f", 4)])
def test_of_two_relays_the_second_leaves_it_to_the_first_unless_told_otherwise(
    start_server: Callable[..., Server], network: Network, tmp_path: Path, flags: str, leased: int
) -> None:
    servers = []
    for number, own in ((1, flags), (2, "")):
        (tmp_path / f"chain{number}.py").write_text(CHAIN.replace("FLAGS", repr(own)))
        profile = tmp_path / f"chain{number}.toml"
        profile.write_text(f'route = "chain{number}.py"\n')
        servers.append(start_server(name=f"server{number}", number=number, profile=str(profile)))
    second, first = servers
    alice = Agent(network.nat_host("alice", 30), "alice", server="203.0.113.2")
    bob = Agent(network.public_host("bob", 20), "bob")
    assert bob.register().status == 200
    call = open_call(alice, bob, alice.stream(440.0), bob.stream(1000.0))
    assert call.ring.body.count(b"a=nortpproxy:yes\r\n") == 1
    call.talk(3.0)
    assert (first.ask("rtp", "ports")["leased"], second.ask("rtp", "ports")["leased"]) == (4, leased)
    call.hang_up()
