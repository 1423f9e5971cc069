"""Media beside a saturated core: calls go on while REGISTERs keep the server at its limit."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from lab.agent import Agent
from lab.calls import open_call
from lab.network import Network
from lab.server import Server
from lab.sipp import flood_registers
from lab.stream import playing
from lab.tones import assert_heard

pytestmark = pytest.mark.wire
CALLS = 10


def _wanted_cpu(pid: int) -> float:
    """Seconds that a process has run or stood in line for a CPU: what it wanted of one core."""
    running, waiting, _ = Path(f"/proc/{pid}/schedstat").read_text().split()
    return (int(running) + int(waiting)) / 1e9


@pytest.mark.parametrize("talk", [5.0, pytest.param(45.0, marks=pytest.mark.long)])
def test_ten_calls_keep_two_way_audio_while_registers_saturate_the_core(
    start_server: Callable[..., Server], network: Network, talk: float
) -> None:
    crowd = network.public_host("crowd", 50)
    server = start_server(ignore=crowd.address)
    bob = Agent(network.nat_host("bob", 20), "bob", server.add_user("bob"))
    alice = Agent(network.public_host("alice", 30), "alice", server.add_user("alice"))
    password = server.add_user("load")
    assert bob.register().status == 200
    pairs = [(alice.stream(400.0 + 40 * n), bob.stream(1000.0 + 40 * n)) for n in range(CALLS)]
    calls = [open_call(alice, bob, says, hears) for says, hears in pairs]
    assert server.process is not None
    pid = server.process.pid
    with playing([stream for pair in pairs for stream in pair]):
        flood = flood_registers(network, crowd, "load", password, 60)
        time.sleep(1.0)
        before, start = _wanted_cpu(pid), time.monotonic()
        marks = {stream: len(stream.heard()) for pair in pairs for stream in pair}
        time.sleep(talk)
        heard = {stream: stream.heard()[mark:] for stream, mark in marks.items()}
        load = (_wanted_cpu(pid) - before) / (time.monotonic() - start)
        assert flood.is_running
        flood.stop()
    for number, (says, hears) in enumerate(pairs):
        assert_heard(f"alice in call {number}", heard[says], hears.frequency, talk)
        assert_heard(f"bob in call {number}", heard[hears], says.frequency, talk)
    assert server.contacts("load"), "none of the crowd was registered"
    assert load > 0.9, f"the core was not saturated: {load:.0%}"
    for call in calls:
        call.hang_up()
