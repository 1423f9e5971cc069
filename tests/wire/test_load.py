"""Media beside a saturated core: calls go on while REGISTERs keep the server at its limit."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from lab.agent import Agent, Dialog
from lab.network import Network
from lab.server import Server
from lab.sip import media_address, token
from lab.sipp import flood_registers
from lab.stream import Stream, playing
from lab.tones import assert_heard

pytestmark = pytest.mark.wire
CALLS = 10
TALK = 5.0


def _wanted_cpu(pid: int) -> float:
    """Seconds that a process has run or stood in line for a CPU: what it wanted of one core."""
    running, waiting, _ = Path(f"/proc/{pid}/schedstat").read_text().split()
    return (int(running) + int(waiting)) / 1e9


def _open_call(alice: Agent, bob: Agent, says: Stream, hears: Stream) -> Dialog:
    invite = alice.invite("bob", alice.offer(says))
    ring = bob.expect("INVITE")
    bob.respond(ring, 200, tag=token(), body=bob.offer(hears))
    answer = alice.expect_response(invite, 200, 299)
    dialog = alice.caller_dialog(invite, answer)
    alice.acknowledge(dialog)
    bob.expect("ACK")
    says.remote, hears.remote = media_address(answer.body), media_address(ring.body)
    return dialog


def test_ten_calls_keep_two_way_audio_while_registers_saturate_the_core(
    server: Server, network: Network
) -> None:
    bob = Agent(network.nat_host("bob", 20), "bob", server.add_user("bob"))
    alice = Agent(network.public_host("alice", 30), "alice", server.add_user("alice"))
    password = server.add_user("load")
    assert bob.register().status == 200
    pairs = [(alice.stream(400.0 + 40 * n), bob.stream(1000.0 + 40 * n)) for n in range(CALLS)]
    dialogs = [_open_call(alice, bob, says, hears) for says, hears in pairs]
    assert server.process is not None
    pid = server.process.pid
    with playing([stream for pair in pairs for stream in pair]):
        flood = flood_registers(network, network.public_host("flood", 50), "load", password, 60)
        time.sleep(1.0)
        before, start = _wanted_cpu(pid), time.monotonic()
        marks = {stream: len(stream.heard()) for pair in pairs for stream in pair}
        time.sleep(TALK)
        heard = {stream: stream.heard()[mark:] for stream, mark in marks.items()}
        load = (_wanted_cpu(pid) - before) / (time.monotonic() - start)
        assert flood.is_running
        flood.stop()
    for number, (says, hears) in enumerate(pairs):
        assert_heard(f"alice in call {number}", heard[says], hears.frequency, TALK)
        assert_heard(f"bob in call {number}", heard[hears], says.frequency, TALK)
    assert load > 0.9, f"the core was not saturated: {load:.0%}"
    for dialog in dialogs:
        bye = alice.in_dialog(dialog, "BYE")
        alice.send(bye)
        bob.respond(bob.expect("BYE"), 200)
        alice.expect_response(bye, 200, 299)
