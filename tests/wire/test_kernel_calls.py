"""Real phones and scripted ones through the kernel's path: what they hear, and what reaches Python of it."""

from __future__ import annotations

import time

import pytest
from conftest import Start
from lab.agent import Agent
from lab.calls import Call, connect, frequency_of, hang_up, open_call, phone_at
from lab.capture import Capture, audio
from lab.carried import Span, carried_by, to_sockets, wait_carried
from lab.holder import hold_and_resume
from lab.network import SERVER6, Network
from lab.phone import Phone
from lab.process import eventually
from lab.server import Server
from lab.sip import media_address
from lab.stream import Stream, playing
from lab.tones import assert_heard, tone, write_wav
from test_media_attacks import attackers_at, phones

pytestmark = pytest.mark.wire
MUSIC = 1300.0
"""Hz of the prompt: none of the phones says it."""
KERNEL = {"relay.path": "kernel"}
TALK = 6.0


def with_music(start_server: Start) -> Server:
    server = start_server({**KERNEL, "rtpproxy.moh": "tone"})
    file = server.network.directory / "tone.wav"
    write_wav(file, tone(MUSIC, 1.0))
    server.verb("prompt", "make", str(file), "tone")
    return server


def prompts(server: Server) -> set[str]:
    return {leg["prompt"] for session in server.ask("rtp", "list") for leg in session["legs"]}


def talk(server: Server, seconds: float = TALK) -> None:
    """Phones talk, and Python sees less than a hundredth of it."""
    wait_carried(server)
    span = Span(server)
    time.sleep(seconds)
    eventually("all counted", lambda: span.is_counted(seconds), 3.0)
    span.assert_kernel(seconds)


def test_two_phones_behind_nats_hear_each_other_by_the_kernel(start_server: Start, network: Network) -> None:
    server = start_server(KERNEL)
    alice = phone_at(server, network, "alice", "port-restricted")
    bob = phone_at(server, network, "bob", "symmetric")
    connect(alice, bob)
    talk(server)
    hang_up(alice, bob)
    alice.assert_heard(bob, TALK)
    bob.assert_heard(alice, TALK)


@pytest.mark.long
def test_two_phones_over_ipv6(start_server: Start, network: Network) -> None:
    server = start_server(KERNEL)
    alice, bob = (
        Phone(
            network,
            network.public_host(user, number),
            user,
            server.add_user(user),
            frequency_of(user),
            domain=SERVER6,
        )
        for user, number in (("alice", 10), ("bob", 20))
    )
    for phone in (alice, bob):
        phone.wait_registered()
    connect(alice, bob)
    talk(server)
    hang_up(alice, bob)
    alice.assert_heard(bob, TALK)
    bob.assert_heard(alice, TALK)


@pytest.mark.long
def test_a_phone_on_hold_hears_music_from_python_and_its_friend_from_the_kernel(
    start_server: Start, network: Network
) -> None:
    server = with_music(start_server)
    alice = phone_at(server, network, "alice", "symmetric")
    bob = phone_at(server, network, "bob", "port-restricted")
    wire = Capture(network, bob.host)
    connect(alice, bob)
    talk(server, 4.0)
    alice.hold()
    eventually("music", lambda: "tone" in prompts(server))
    assert carried_by(server) != {"kernel"}
    time.sleep(3.0)
    alice.resume()
    eventually("the end of the music", lambda: "tone" not in prompts(server))
    talk(server, 4.0)
    hang_up(alice, bob)
    heard = wire.rtp(bob.host.address)
    live = heard[0].ssrc
    assert_heard("bob", audio([packet for packet in heard if packet.ssrc != live]), MUSIC, 3.0)
    assert_heard("bob", audio([packet for packet in heard if packet.ssrc == live]), alice.frequency, 8.0)


@pytest.mark.long
def test_sipp_talks_holds_and_talks(start_server: Start, network: Network) -> None:
    server = with_music(start_server)
    bob = phone_at(server, network, "bob", "symmetric")
    wire = Capture(network, bob.host)
    sipp = network.public_host("sipp", 50)
    caller = hold_and_resume(network, sipp, "alice", server.add_user("alice"), "bob", 5.0, 450.0)
    bob.wait_ringing()
    bob.answer()
    bob.wait_established()
    wait_carried(server)
    eventually("music", lambda: "tone" in prompts(server), 20.0)
    assert carried_by(server) != {"kernel"}
    eventually("the end of the music", lambda: "tone" not in prompts(server), 20.0)
    wait_carried(server)
    bob.wait_closed(30.0)
    assert caller.wait(10.0) == 0
    heard = wire.rtp(bob.host.address)
    live = heard[0].ssrc
    assert_heard("bob", audio([packet for packet in heard if packet.ssrc != live]), MUSIC, 4.0)
    assert_heard("bob", audio([packet for packet in heard if packet.ssrc == live]), 450.0, 8.0)


def settled_call(server: Server, alice: Agent, bob: Agent) -> Call:
    """A call of two scripted phones that the kernel carries."""
    call = open_call(alice, bob, alice.stream(440.0), bob.stream(1000.0))
    with playing([call.says, call.hears]):
        wait_carried(server)
    return call


@pytest.mark.long
def test_a_reinvite_that_changes_nothing_moves_nothing_and_one_that_does_comes_back(
    start_server: Start, network: Network
) -> None:
    server = start_server(KERNEL)
    alice, bob, _ = phones(server, network)
    call = settled_call(server, alice, bob)

    def offer(stream: Stream, version: int) -> None:
        change = alice.in_dialog(call.outgoing, "INVITE", alice.offer(stream, version=version))
        alice.send(change)
        bob.respond(bob.expect("INVITE"), 200, body=bob.offer(call.hears))
        answer = alice.expect_response(change, 200, 299)
        assert media_address(answer.body) == call.says.remote, "ports towards the caller are stable"
        alice.acknowledge(call.outgoing)
        bob.expect("ACK")

    with playing([call.says, call.hears]):
        span = Span(server)
        offer(call.says, 1)
        time.sleep(TALK)
        span.assert_kernel(TALK - 1.0)
    elsewhere = alice.stream(440.0)
    offer(elsewhere, 2)
    elsewhere.remote = call.says.remote
    call.says = elsewhere
    with playing([call.says, call.hears]):
        wait_carried(server)
        span = Span(server)
        heard = len(call.hears.received)
        time.sleep(2.0)
        span.assert_kernel(1.0)
        assert len(call.hears.received) - heard >= 90
    call.talk(2.0)
    call.hang_up()


@pytest.mark.long
def test_a_nat_that_rebinds_is_learned_by_python_and_carried_by_the_kernel_again(
    start_server: Start, network: Network
) -> None:
    server = start_server(KERNEL)
    alice, bob, beside = phones(server, network)
    call = settled_call(server, alice, bob)
    assert call.says.remote is not None
    moved = Stream(alice.host.namespace.udp(alice.address), 440.0)
    moved.remote = call.says.remote
    moved.follow(call.says)
    stranger = attackers_at(beside, call.says.remote, ("rtp",))
    heard = len(call.hears.received)
    with playing([moved, call.hears, *stranger]):
        eventually("alice again", lambda: len(call.hears.received) > heard + 50, 15.0)
        wait_carried(server)
        before = len(call.hears.received), len(moved.received)
        time.sleep(2.0)
    assert len(call.hears.received) - before[0] >= 90
    assert len(moved.received) - before[1] >= 90
    assert [one.octets for one in stranger] == [0]
    assert {data[8:12] for _, _, data in call.hears.received} == {call.says.ssrc.to_bytes(4, "big")}
    call.says = moved
    call.talk(2.0)
    call.hang_up()


@pytest.mark.long
def test_strangers_come_up_to_python_and_never_through(start_server: Start, network: Network) -> None:
    server = start_server(KERNEL)
    alice, bob, beside = phones(server, network)
    call = settled_call(server, alice, bob)
    assert call.says.remote is not None
    assert call.hears.remote is not None
    foreign = network.public_host("stranger", 66)
    strangers = [
        *attackers_at(foreign, call.says.remote),
        *attackers_at(foreign, call.hears.remote),
        *attackers_at(beside, call.says.remote),
    ]
    up = to_sockets(server)
    with playing([call.says, call.hears, *strangers]):
        time.sleep(4.0)
        assert carried_by(server) == {"kernel"}
    fired = sum(one.sent for one in strangers)
    assert fired > 1000
    assert to_sockets(server) - up >= 0.9 * fired, "what is not expected is Python's to judge"
    assert [one.octets for one in strangers] == [0] * 6
    marks = {data[8:12] for _, _, data in call.says.received + call.hears.received}
    assert marks == {one.ssrc.to_bytes(4, "big") for one in (call.says, call.hears)}
    assert server.statistic("rtp:rtp_src_mismatch") > 0
    call.talk(2.0)
    call.hang_up()
