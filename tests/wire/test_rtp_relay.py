"""edgesip in the place of Kamailio's rtpproxy: the real module commands it, real packets go through it."""

from __future__ import annotations

import os
import signal
import socket
import struct
import time

import pytest
from conftest import Start
from lab.agent import Agent
from lab.calls import Call, connect, hang_up, open_call
from lab.kamailio import Kamailio
from lab.network import SERVER, SERVER6, Network
from lab.phone import Phone
from lab.process import eventually
from lab.server import Server
from lab.sip import media_address
from lab.sipp_media import echo, speaks
from lab.stream import playing
from lab.tones import seconds_of, tone, write_wav

from edgesip.profile import BUILT_IN

pytestmark = pytest.mark.wire

MUSIC = 1333.0
ROUTE = BUILT_IN / "rtp_relay.py"


@pytest.fixture
def relay(start_server: Start) -> Server:
    """edgesip at 203.0.113.1 without SIP; Kamailio has that."""
    return start_server(profile="rtp-relay", settings={"relay.address": SERVER}, sip=False)


def agents(network: Network) -> tuple[Agent, Agent]:
    """alice on a public address, bob behind a symmetric NAT and registered with Kamailio."""
    bob = Agent(network.nat_host("bob", 20, "symmetric"), "bob")
    alice = Agent(network.public_host("alice", 30), "alice")
    assert bob.register().status == 200
    return alice, bob


def call_of(network: Network) -> Call:
    alice, bob = agents(network)
    return open_call(alice, bob, alice.stream(440.0), bob.stream(1000.0))


def legs(server: Server) -> list[dict[str, object]]:
    [session] = server.ask("rtp", "list")
    assert session["from_tag"].startswith("rtpp:")
    found = session["legs"]
    assert isinstance(found, list)
    return found


def reinvite(call: Call, direction: str, version: int) -> None:
    """Alice says how the media shall flow from now on; Bob agrees."""
    change = call.alice.in_dialog(call.outgoing, "INVITE", call.alice.offer(call.says, direction, version))
    call.alice.send(change)
    asked = call.bob.expect("INVITE")
    mirrored = {"sendonly": "recvonly"}.get(direction, direction)
    call.bob.respond(asked, 200, body=call.bob.offer(call.hears, mirrored, version))
    answer = call.alice.expect_response(change, 200, 299)
    assert media_address(answer.body) == call.says.remote, "ports towards the caller are stable"
    call.alice.acknowledge(call.outgoing)
    call.bob.expect("ACK")


def test_media_of_a_call_goes_through_us_both_ways(relay: Server, network: Network) -> None:
    kamailio = Kamailio(network, relay.host)
    call = call_of(network)
    assert call.says.remote is not None
    assert call.says.remote[0] == SERVER
    call.talk(4.0)
    assert {leg["carried_by"] for leg in legs(relay)} <= {"kernel", "user"}
    call.hang_up()
    said = kamailio.process.wait_for(r"relay says: (\d+) (\d+) (\d+) (\d+) (\d+)")
    ttl, caller, callee, relayed, dropped = (int(number) for number in said.groups())
    assert 0 < ttl <= 60
    assert min(caller, callee) > 150
    assert relayed == caller + callee
    assert dropped == 0
    assert relay.ask("rtp", "list") == []


def test_real_phones_behind_their_nats_hear_each_other(relay: Server, network: Network) -> None:
    Kamailio(network, relay.host, relay="udp:127.0.0.1:22222")
    alice = Phone(network, network.nat_host("alice", 10, "port-restricted"), "alice", "", 450.0)
    bob = Phone(network, network.nat_host("bob", 20, "symmetric"), "bob", "", 1000.0)
    for phone in (alice, bob):
        phone.wait_registered()
    connect(alice, bob)
    time.sleep(4.0)
    hang_up(alice, bob)
    alice.assert_heard(bob, 4.0)
    bob.assert_heard(alice, 4.0)


def test_a_reinvite_from_either_side_leaves_the_media_where_it_is(relay: Server, network: Network) -> None:
    Kamailio(network, relay.host)
    call = call_of(network)
    call.talk(2.0)
    before = [leg["local"] for leg in legs(relay)]
    reinvite(call, "sendrecv", 2)
    call.talk(2.0)
    change = call.bob.in_dialog(call.incoming, "INVITE", call.bob.offer(call.hears, version=2))
    call.bob.send(change)
    asked = call.alice.expect("INVITE")
    call.alice.respond(asked, 200, body=call.alice.offer(call.says, version=3))
    answer = call.bob.expect_response(change, 200, 299)
    assert media_address(answer.body) == call.hears.remote
    call.bob.acknowledge(call.incoming)
    call.alice.expect("ACK")
    call.talk(2.0)
    assert [leg["local"] for leg in legs(relay)] == before
    call.hang_up()


def test_a_held_party_hears_music_until_the_call_goes_on(relay: Server, network: Network) -> None:
    """rtpproxy_stream2uas on the hold, rtpproxy_stop_stream2uas on the resume."""
    wav = network.directory / "music.wav"
    write_wav(wav, tone(MUSIC, 1.0))
    relay.verb("prompt", "make", str(wav), "music")
    Kamailio(network, relay.host)
    call = call_of(network)
    call.talk(2.0)
    reinvite(call, "sendonly", 2)
    before = len(call.hears.heard())
    with playing([call.hears]):
        time.sleep(3.0)
    assert seconds_of(call.hears.heard()[before:], MUSIC) >= 2.0
    reinvite(call, "sendrecv", 3)
    call.talk(2.0)
    call.hang_up()


def test_calls_that_do_not_come_about_leave_nothing(relay: Server, network: Network) -> None:
    Kamailio(network, relay.host)
    alice, bob = agents(network)
    invite = alice.invite("bob", alice.offer(alice.stream(440.0)))
    ring = bob.expect("INVITE")
    bob.respond(ring, 180, "b1")
    alice.expect_response(invite, 180, 180)
    assert len(legs(relay)) == 2
    alice.cancel(invite)
    bob.respond(bob.expect("CANCEL"), 200)
    bob.respond(ring, 487, "b1")
    alice.acknowledge_failure(invite, alice.expect_response(invite, 487, 487))
    busy = alice.invite("bob", alice.offer(alice.stream(440.0)))
    bob.respond(bob.expect("INVITE"), 486, "b2")
    alice.acknowledge_failure(busy, alice.expect_response(busy, 486, 486))
    eventually("no media", lambda: relay.ask("rtp", "list") == [])


def test_a_refused_reinvite_leaves_the_media_as_it_was(relay: Server, network: Network) -> None:
    Kamailio(network, relay.host)
    call = call_of(network)
    call.talk(2.0)
    elsewhere = call.alice.stream(440.0)
    change = call.alice.in_dialog(call.outgoing, "INVITE", call.alice.offer(elsewhere, version=2))
    call.alice.send(change)
    call.bob.respond(call.bob.expect("INVITE"), 488)
    refused = call.alice.expect_response(change, 300, 699)
    call.alice.acknowledge_failure(change, refused)
    call.talk(2.0)
    call.hang_up()


def test_a_call_without_media_ends_and_its_controller_is_told(start_server: Start, network: Network) -> None:
    path = network.directory / "notify.sock"
    settings = {"relay.address": SERVER, "relay.timeout": "2", "rtpp.notify": f"unix:{path}"}
    relay = start_server(settings, profile="rtp-relay", sip=False)
    alice, bob = (network.public_host(name, number) for name, number in (("alice", 30), ("bob", 20)))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as ears:
        ears.bind(str(path))
        ears.listen()
        ears.settimeout(15.0)
        answer = ask(relay, f"Uc0 call {alice.address} 4000 a;1 unix:{path} the%20call")
        assert answer[1:] == [SERVER]
        assert ask(relay, f"Lc0 call {bob.address} 5000 a;1 b;1")[1:] == [SERVER]
        with ears.accept()[0] as said:
            assert said.recv(100) == b"the call\n"
    assert relay.ask("rtp", "list") == []


def test_nobody_else_commands_the_relay(start_server: Start, network: Network) -> None:
    """Not from another host, and not from one that writes our loopback address on its packets."""
    relay = start_server(
        {"relay.address": SERVER, "rtpp.listen": "udp:0.0.0.0:22222"}, profile="rtp-relay", sip=False
    )
    Kamailio(network, relay.host)
    call = call_of(network)
    eve = network.public_host("eve", 66)
    with eve.namespace.udp(eve.address, 0) as sock:
        sock.settimeout(1.0)
        sock.sendto(b"evil_1 X", (SERVER, 22222))
        with pytest.raises(TimeoutError):
            sock.recvfrom(100)
    with eve.namespace.inside():
        forger = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    with forger:
        for number in range(3):
            forger.sendto(forged("127.0.0.1", SERVER, b"evil_%d X" % number), (SERVER, 0))
    call.talk(2.0)
    assert relay.statistic("rtpp:strangers") == 1, "what is forged does not even get here"
    assert relay.process is not None
    assert "rtpp stranger" in relay.process.text()
    call.hang_up()


def forged(source: str, target: str, payload: bytes) -> bytes:
    """An IPv4 packet with UDP in it for the port of commands; the kernel fills in its checksum."""
    addresses = socket.inet_aton(source) + socket.inet_aton(target)
    length = 28 + len(payload)
    head = struct.pack("!BBHHHBBH", 0x45, 0, length, 1, 0, 64, socket.IPPROTO_UDP, 0)
    return head + addresses + struct.pack("!HHHH", 40000, 22222, 8 + len(payload), 0) + payload


def test_kamailio_speaks_over_a_unix_socket_as_well(start_server: Start, network: Network) -> None:
    path = network.directory / "rtpp.sock"
    relay = start_server(
        profile="rtp-relay", settings={"relay.address": SERVER, "rtpp.listen": f"unix:{path}"}, sip=False
    )
    Kamailio(network, relay.host, relay=f"unix:{path}")
    call = call_of(network)
    call.talk(2.0)
    call.hang_up()


def test_a_command_that_comes_again_is_done_once(relay: Server, network: Network) -> None:
    """We sleep, Kamailio sends its command again under the same cookie, and gets one answer to both."""
    Kamailio(network, relay.host)
    alice, bob = agents(network)
    says, hears = alice.stream(440.0), bob.stream(1000.0)
    assert relay.process is not None
    os.kill(relay.process.pid, signal.SIGSTOP)
    try:
        invite = alice.build("INVITE", f"sip:bob@{SERVER}", body=alice.offer(says))
        alice.send(invite)
        time.sleep(1.5)
    finally:
        os.kill(relay.process.pid, signal.SIGCONT)
    ring = bob.expect("INVITE")
    bob.respond(ring, 200, "b1", bob.offer(hears))
    answer = alice.expect_response(invite, 200, 299)
    alice.acknowledge(alice.caller_dialog(invite, answer))
    bob.expect("ACK")
    assert len(legs(relay)) == 2
    received, distinct, created = (
        int(word) for word in ask(relay, "G ncmds_rcvd ncmds_rcvd_ndups nsess_created")
    )
    assert received > distinct
    assert created == 1
    assert ask(relay, "X") == ["0"]


def test_kamailio_comes_back_to_a_relay_that_was_restarted(relay: Server, network: Network) -> None:
    kamailio = Kamailio(network, relay.host)
    call = call_of(network)
    call.talk(1.0)
    relay.crash()
    refused = call.alice.ask(
        call.alice.build("INVITE", f"sip:bob@{SERVER}", body=call.alice.offer(call.says))
    )
    assert refused.status == 503
    call.hang_up()
    relay.start()
    eventually("a relay that Kamailio trusts", lambda: is_trusted(call, kamailio), 20.0, step=0.5)
    again = open_call(call.alice, call.bob, call.alice.stream(440.0), call.bob.stream(1000.0))
    again.talk(2.0)
    again.hang_up()
    assert ask(relay, "X") == ["0"], "the calls that nobody answered"


def is_trusted(call: Call, kamailio: Kamailio) -> bool:
    """Kamailio asks a relay anew when it needs one: a call that nobody answers makes it."""
    probe = call.alice.build("INVITE", f"sip:nobody@{call.alice.address}:9", body=call.alice.offer(call.says))
    call.alice.send(probe)
    answer = call.alice.expect_response(probe, 100, 699)
    call.alice.cancel(probe)
    return answer.status != 503 and "disabled: 0" in kamailio.rpc("rtpproxy.list")


def ask(server: Server, command: str) -> list[str]:
    """What a command on the server's own host is answered, in words, without its cookie."""
    with server.host.namespace.udp("127.0.0.1", 0) as sock:
        sock.settimeout(2.0)
        sock.sendto(f"test_1 {command}".encode(), ("127.0.0.1", 22222))
        return sock.recvfrom(8192)[0].decode().split()[1:]


def test_sipp_calls_by_the_dozen(relay: Server, network: Network) -> None:
    """SIPp says something to SIPp, which says it again."""
    Kamailio(network, relay.host)
    bob, alice = network.public_host("bob", 20), network.public_host("alice", 30)
    echo(network, bob)
    caller = speaks(network, alice, bob, calls=24, rate=8)
    assert caller.wait(60.0) == 0, caller.text()[-2000:]
    created, destroyed, complete, silent, one_way = (
        int(word)
        for word in ask(relay, "G nsess_created nsess_destroyed nsess_complete nsess_nortp nsess_owrtp")
    )
    assert (created, destroyed, complete) == (24, 24, 24)
    assert (silent, one_way) == (0, 0)


def test_a_bridge_between_ipv4_and_ipv6(start_server: Start, network: Network) -> None:
    """Kamailio's flag x: IPv4 is internal, IPv6 external."""
    profile = network.directory / "bridge.toml"
    profile.write_text(
        f"""
        listen = []
        route = "{ROUTE}"
        [rtpp]
        listen = "udp:127.0.0.1:22222"
        [relay.interface.internal]
        address = "{SERVER}"
        [relay.interface.external]
        address = "{SERVER6}"
        """
    )
    relay = start_server(profile=str(profile), sip=False)
    Kamailio(network, relay.host, flags="cox")
    alice = Agent(network.public_host("alice", 30), "alice")
    bob = Agent(network.public_host("bob", 20), "bob", server=SERVER6)
    assert bob.register().status == 200
    call = open_call(alice, bob, alice.stream(440.0), bob.stream(1000.0))
    assert call.says.remote is not None
    assert call.hears.remote is not None
    assert (call.says.remote[0], call.hears.remote[0]) == (SERVER, SERVER6)
    call.talk(3.0)
    call.hang_up()
