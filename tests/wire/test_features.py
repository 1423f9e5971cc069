"""What people do in calls: press keys, send the other one on; and what comes in their way."""

from __future__ import annotations

import time

import pytest
from lab.agent import Agent
from lab.calls import connect, hang_up, open_call, phone_at
from lab.capture import Capture, Rtp, audio
from lab.network import SERVER, SERVER6, Host, Network
from lab.server import Server
from lab.stream import Stream, playing
from lab.tones import assert_heard

pytestmark = pytest.mark.wire
_EVENT = 101
_KEYS = "0123456789*#"


def _keys(packets: list[Rtp]) -> str:
    """The keys of the telephone events (RFC 4733 §2.3): each once, by its end packets."""
    ended: list[tuple[int, str]] = []
    for packet in packets:
        if packet.payload_type == _EVENT and packet.payload[1] & 0x80:
            key = (packet.timestamp, _KEYS[packet.payload[0]])
            if key not in ended:
                ended.append(key)
    return "".join(key for _, key in ended)


@pytest.mark.long
def test_keys_arrive_in_order_both_ways(server: Server, network: Network) -> None:
    alice = phone_at(server, network, "alice", "symmetric")
    bob = phone_at(server, network, "bob", "port-restricted")
    wires = {phone.user: Capture(network, phone.host) for phone in (alice, bob)}
    connect(alice, bob)
    time.sleep(1.5)
    for phone, keys in ((alice, "159#"), (bob, "*0")):
        for key in keys:
            phone.press(key)
            time.sleep(0.5)
    time.sleep(2.0)
    hang_up(alice, bob)
    assert _keys(wires["bob"].rtp(bob.host.address)) == "159#"
    assert _keys(wires["alice"].rtp(alice.host.address)) == "*0"


@pytest.mark.long
@pytest.mark.parametrize("transferor", ["alice", "bob"])
def test_blind_transfer(server: Server, network: Network, transferor: str) -> None:
    """REFER in the call; the one who is sent on calls carol, the one who sent is out."""
    alice = phone_at(server, network, "alice", "symmetric")
    bob = phone_at(server, network, "bob", "port-restricted")
    carol = phone_at(server, network, "carol", "symmetric")
    connect(alice, bob)
    time.sleep(2.0)
    sender, moved = (alice, bob) if transferor == "alice" else (bob, alice)
    sender.transfer("carol")
    carol.wait_ringing()
    carol.answer()
    carol.wait_established()
    sender.hangup()
    sender.wait_closed()
    wire = Capture(network, moved.host)
    begin = time.time() + 0.5
    time.sleep(3.5)
    end = time.time()
    heard = audio(wire.rtp(moved.host.address, begin, end))
    assert_heard(moved.user, heard, carol.frequency, end - begin)
    carol.hangup()
    carol.wait_closed()
    carol.assert_heard(moved, 3.5)


def test_an_invite_of_3_kilobytes_passes_in_fragments(server: Server, network: Network) -> None:
    """Larger than any path: alice sends it in pieces, bob gets it in pieces, through two routers."""
    bob = Agent(network.nat_host("bob", 20, "symmetric"), "bob", server.add_user("bob"))
    alice = Agent(network.nat_host("alice", 10), "alice", server.add_user("alice"))
    assert bob.register().status == 200
    extra = tuple((f"X-Part-{number}", "y" * 300) for number in range(9))
    call = open_call(alice, bob, alice.stream(450.0), bob.stream(1000.0), extra)
    assert len(call.ring.encode()) > 3000
    assert call.ring.get("X-Part-8") == "y" * 300
    call.talk(2.0)
    call.hang_up()


@pytest.mark.long
@pytest.mark.parametrize(
    ("caller", "callee"), [("tcp", "udp"), ("udp", "tcp"), ("tcp", "tcp")], ids=lambda name: name
)
@pytest.mark.parametrize("six", [False, True], ids=["v4", "v6"])
def test_an_invite_of_3_kilobytes_between_transports(
    server: Server, network: Network, caller: str, callee: str, six: bool
) -> None:
    """`six`: the caller has IPv6 only."""
    bob = Agent(network.nat_host("bob", 20), "bob", server.add_user("bob"), transport=callee)
    host = network.public_host("alice", 30)
    domain = SERVER6 if six else SERVER
    alice = Agent(host, "alice", server.add_user("alice"), transport=caller, server=domain)
    assert bob.register().status == 200
    extra = tuple((f"X-Part-{number}", "y" * 300) for number in range(9))
    call = open_call(alice, bob, alice.stream(450.0), bob.stream(1000.0), extra)
    assert call.ring.get("X-Part-8") == "y" * 300
    call.talk(2.0)
    change = bob.in_dialog(call.incoming, "INVITE", bob.offer(call.hears, version=2))
    bob.send(change)
    alice.respond(alice.expect("INVITE"), 200, body=alice.offer(call.says))
    bob.expect_response(change, 200, 299)
    bob.acknowledge(call.incoming)
    alice.expect("ACK")
    call.talk(2.0)
    call.hang_up()


def _spray(host: Host, port: int, target: str) -> Stream:
    address, _, number = target.rpartition(":")
    stream = Stream(host.namespace.udp(host.address, port), 2000.0)
    stream.remote = (address, int(number))
    return stream


@pytest.mark.long
@pytest.mark.parametrize("kind", ["port-restricted", "symmetric"])
def test_a_stranger_who_fires_at_the_ports_in_mid_call_changes_nothing(
    server: Server, network: Network, kind: str
) -> None:
    alice = phone_at(server, network, "alice", kind)
    bob = phone_at(server, network, "bob", kind)
    stranger = network.public_host("stranger", 66)
    connect(alice, bob)
    time.sleep(2.0)
    [session] = server.ask("rtp", "list")
    ports = [leg["local"] for leg in session["legs"]]
    sprays = [_spray(stranger, 20000 + 2 * n, port) for n, port in enumerate(ports)]
    with playing(sprays):
        time.sleep(5.0)
    time.sleep(1.0)
    [after] = server.ask("rtp", "list")
    assert [leg["remote"] for leg in after["legs"]] == [leg["remote"] for leg in session["legs"]]
    hang_up(alice, bob)
    assert [spray.received for spray in sprays] == [[], []]
    alice.assert_heard(bob, 8.0)
    bob.assert_heard(alice, 8.0)
