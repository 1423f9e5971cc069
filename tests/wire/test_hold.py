"""Music on hold: the held side hears the prompt, whoever holds and however; then the voice again."""

from __future__ import annotations

import itertools
import time
import wave
from collections.abc import Callable

import numpy as np
import pytest
from lab.agent import Agent, Dialog
from lab.calls import Call, connect, hang_up, open_call, phone_at
from lab.capture import Capture, Rtp, audio
from lab.holder import hold_and_resume
from lab.linphone import Linphone
from lab.network import Network
from lab.process import eventually
from lab.server import Server
from lab.sip import media_address
from lab.stream import Stream, playing
from lab.tones import assert_heard, seconds_of

pytestmark = pytest.mark.wire
MUSIC = 1300.0
"""Hz of the prompt: none of the phones says it."""

Start = Callable[..., Server]


def _server(start_server: Start) -> Server:
    """A server whose music on hold is a tone, made of a stereo recording as people have them."""
    server = start_server({"rtpproxy.moh": "tone"})
    file = server.network.directory / "tone.wav"
    samples = (9000 * np.sin(2 * np.pi * MUSIC * np.arange(44100) / 44100)).astype("<i2")
    with wave.open(str(file), "wb") as out:
        out.setnchannels(2)
        out.setsampwidth(2)
        out.setframerate(44100)
        out.writeframes(np.repeat(samples, 2).tobytes())
    server.verb("prompt", "make", str(file), "tone")
    assert "tone" in [prompt["name"] for prompt in server.ask("prompt", "list")]
    return server


def _prompts(server: Server) -> list[str]:
    """What plays to the sides of the one call."""
    return [leg["prompt"] for session in server.ask("rtp", "list") for leg in session["legs"]]


def _sources(packets: list[Rtp]) -> list[int]:
    """The SSRCs in the order in which they were heard, each as often as it began anew."""
    return [ssrc for ssrc, _ in itertools.groupby(packet.ssrc for packet in packets)]


def _assert_stream(packets: list[Rtp]) -> None:
    """Numbers and times of one prompt: nothing is missing, and its pace is that of its timestamps."""
    for one, other in itertools.pairwise(packets):
        assert (other.sequence - one.sequence) & 0xFFFF == 1
        assert (other.timestamp - one.timestamp) & 0xFFFFFFFF == 160
    took = packets[-1].time - packets[0].time
    assert abs(took - 0.02 * (len(packets) - 1)) < 0.5, f"{len(packets)} packets in {took:.3f} s"


@pytest.mark.parametrize("holder", ["alice", pytest.param("bob", marks=pytest.mark.long)])
def test_a_phone_on_hold_hears_music(start_server: Start, network: Network, holder: str) -> None:
    server = _server(start_server)
    alice = phone_at(server, network, "alice", "symmetric")
    bob = phone_at(server, network, "bob", "port-restricted")
    holds, held = (alice, bob) if holder == "alice" else (bob, alice)
    wires = {phone.user: Capture(network, phone.host) for phone in (alice, bob)}
    connect(alice, bob)
    time.sleep(2.0)
    holds.hold()
    eventually("music", lambda: "tone" in _prompts(server))
    time.sleep(3.0)
    holds.resume()
    eventually("the end of the music", lambda: "tone" not in _prompts(server))
    time.sleep(2.0)
    hang_up(alice, bob)
    packets = wires[held.user].rtp(held.host.address)
    live, music, again = _sources(packets)
    assert live == again, "one change each way"
    assert music != live
    _assert_stream([packet for packet in packets if packet.ssrc == music])
    assert_heard(held.user, audio([p for p in packets if p.ssrc == music]), MUSIC, 3.0)
    before, after = (
        list(group)
        for ssrc, group in itertools.groupby(packets, key=lambda packet: packet.ssrc)
        if ssrc == live
    )
    assert_heard(held.user, audio(before), holds.frequency, 2.0)
    assert_heard(held.user, audio(after), holds.frequency, 2.0)
    mute = wires[holds.user].rtp(holds.host.address)
    assert seconds_of(audio(mute), MUSIC) == 0, "the holder hears no music"
    # baresip records no further than to the first change of direction
    assert_heard(held.user, held.recording(), holds.frequency, 1.8)


def _hold(
    by: tuple[Agent, Dialog, Stream], other: tuple[Agent, Stream], offer: bytes, direction: str
) -> None:
    """A re-INVITE with this offer, answered in this direction."""
    agent, dialog, _ = by
    asked, heard = other
    change = agent.in_dialog(dialog, "INVITE", offer)
    agent.send(change)
    request = asked.expect("INVITE")
    asked.respond(request, 200, body=asked.offer(heard, direction))
    agent.expect_response(change, 200, 299)
    agent.acknowledge(dialog)
    asked.expect("ACK")


def _listens(call: Call, holds: Stream, held: Stream, who: str, seconds: float) -> None:
    """Both speak; who is held hears the music alone, who holds does not hear it."""
    marks = len(holds.heard()), len(held.heard())
    with playing([call.says, call.hears]):
        time.sleep(seconds)
    assert_heard(who, held.heard()[marks[1] :], MUSIC, seconds - 0.3)
    assert seconds_of(holds.heard()[marks[0] :], MUSIC) == 0


@pytest.mark.parametrize("side", ["bob", pytest.param("alice", marks=pytest.mark.long)])
def test_every_form_of_hold(start_server: Start, network: Network, side: str) -> None:
    server = _server(start_server)
    bob = Agent(network.nat_host("bob", 20, "symmetric"), "bob", server.add_user("bob"))
    alice = Agent(network.public_host("alice", 30), "alice", server.add_user("alice"))
    assert bob.register().status == 200
    call = open_call(alice, bob, alice.stream(440.0), bob.stream(1000.0))
    call.talk(1.0)
    by = (alice, call.outgoing, call.says) if side == "alice" else (bob, call.incoming, call.hears)
    other = (bob, call.hears) if side == "alice" else (alice, call.says)
    agent, _, stream = by
    null = agent.offer(stream).replace(f"c=IN IP4 {agent.address}".encode(), b"c=IN IP4 0.0.0.0")
    forms = {
        "null": (null, "sendrecv"),
        "sendonly": (agent.offer(stream, "sendonly"), "recvonly"),
        "inactive": (agent.offer(stream, "inactive"), "inactive"),
    }
    for offer, direction in forms.values():
        _hold(by, other, offer, direction)
        _listens(call, stream, other[1], other[0].user, 1.5)
        _hold(by, other, agent.offer(stream), "sendrecv")
        call.talk(1.0)
    call.hang_up()


@pytest.mark.parametrize("direction", ["sendonly", pytest.param("inactive", marks=pytest.mark.long)])
def test_the_music_is_heard_by_who_listens(start_server: Start, network: Network, direction: str) -> None:
    """Who would be told `inactive`, and so would play nothing, is told `sendonly`: linphone records it."""
    server = _server(start_server)
    carol = Linphone(network, network.nat_host("carol", 20), "carol", server.add_user("carol"), 1000.0)
    eventually("carol is registered", lambda: server.contacts("carol"), 20.0)
    alice = Agent(network.public_host("alice", 30), "alice", server.add_user("alice"))
    says = alice.stream(450.0)
    invite = alice.invite("carol", alice.offer(says))
    carol.wait_ringing()
    carol.answer()
    answer = alice.expect_response(invite, 200, 299, 10.0)
    dialog = alice.caller_dialog(invite, answer)
    alice.acknowledge(dialog)
    says.remote = media_address(answer.body)
    with playing([says]):
        time.sleep(2.0)
        change = alice.in_dialog(dialog, "INVITE", alice.offer(says, direction, 2))
        alice.send(change)
        held = alice.expect_response(change, 200, 299)
        alice.acknowledge(dialog)
        wanted = b"a=inactive" if direction == "inactive" else b"a=recvonly"
        assert wanted in held.body, "the answer that the holder must get"
        time.sleep(4.0)
    bye = alice.in_dialog(dialog, "BYE")
    alice.send(bye)
    alice.expect_response(bye, 200, 299)
    carol.wait_closed()
    assert_heard("carol", carol.recording()[-3 * 8000 :], MUSIC, 3.0)


def test_a_refused_hold_plays_nothing(start_server: Start, network: Network) -> None:
    server = _server(start_server)
    bob = Agent(network.nat_host("bob", 20, "symmetric"), "bob", server.add_user("bob"))
    alice = Agent(network.public_host("alice", 30), "alice", server.add_user("alice"))
    assert bob.register().status == 200
    call = open_call(alice, bob, alice.stream(440.0), bob.stream(1000.0))
    call.talk(1.0)
    change = alice.in_dialog(call.outgoing, "INVITE", alice.offer(call.says, "sendonly"))
    alice.send(change)
    bob.respond(bob.expect("INVITE"), 491)
    alice.acknowledge_failure(change, alice.expect_response(change, 300, 699))
    call.talk(1.5)
    assert _prompts(server) == ["", ""]
    call.hang_up()


def test_sipp_holds_a_phone(start_server: Start, network: Network) -> None:
    """Talk, hold by a null address, talk: what the phone hears is told by frequency."""
    server = _server(start_server)
    bob = phone_at(server, network, "bob", "symmetric")
    sipp = network.public_host("sipp", 50)
    wire = Capture(network, bob.host)
    caller = hold_and_resume(network, sipp, "alice", server.add_user("alice"), "bob", 3.0, 450.0)
    bob.wait_ringing()
    bob.answer()
    bob.wait_established()
    bob.wait_closed(30.0)
    assert caller.wait(10.0) == 0
    packets = wire.rtp(bob.host.address)
    live, music, again = _sources(packets)
    assert live == again
    _assert_stream([packet for packet in packets if packet.ssrc == music])
    assert_heard("bob", audio([p for p in packets if p.ssrc == music]), MUSIC, 2.8)
    assert_heard("bob", audio([p for p in packets if p.ssrc == live]), 450.0, 5.0)
    assert_heard("bob", bob.recording(), MUSIC, 2.5)
    assert_heard("bob", bob.recording(), 450.0, 5.0)


def test_an_operator_plays_into_a_call(start_server: Start, network: Network) -> None:
    server = _server(start_server)
    bob = Agent(network.nat_host("bob", 20, "symmetric"), "bob", server.add_user("bob"))
    alice = Agent(network.public_host("alice", 30), "alice", server.add_user("alice"))
    assert bob.register().status == 200
    call = open_call(alice, bob, alice.stream(440.0), bob.stream(1000.0))
    call.talk(1.0)
    call_id = server.ask("rtp", "list")[0]["call-id"]
    server.verb("prompt", "play", call_id, "tone", "--to", "caller", "--count", "-1")
    _listens(call, call.hears, call.says, "alice", 1.5)
    server.verb("prompt", "stop", call_id)
    call.talk(1.0)
    server.verb("prompt", "play", call_id, "moh", "--to", "callee")
    assert _prompts(server) == ["", "moh"]
    call.hang_up()
