"""Streams that the kernel carries: what the server says of their quality, of reports and of silence."""

from __future__ import annotations

import socket
import struct
import time
from typing import Any

import pytest
from conftest import Start
from lab.agent import Agent
from lab.calls import Call, open_call
from lab.network import Network
from lab.process import eventually
from lab.server import Server
from lab.stream import Stream, playing

pytestmark = pytest.mark.wire


class Lossy:
    """A stream of which each tenth packet is lost on its way to us, and each seventh comes twice."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.sent = self.lost = self.twice = 0

    def send_packet(self) -> None:
        stream = self.stream
        assert stream.remote is not None
        if stream._number % 10 == 0:
            stream._number += 1
            self.lost += 1
        if stream._number % 7 == 0:
            number, sent = stream._number, stream._sent
            stream.send_packet()
            stream._number, stream._sent = number, sent
            self.twice += 1
        stream.send_packet()
        self.sent += 1

    def drain(self) -> None:
        self.stream.drain()


def settled(start_server: Start, network: Network, settings: dict[str, str]) -> tuple[Server, Call]:
    """A call of two agents on public addresses, both ways in the kernel."""
    server = start_server({"relay.path": "kernel", **settings})
    alice, bob = (
        Agent(network.public_host(name, number), name, server.add_user(name))
        for name, number in (("alice", 30), ("bob", 20))
    )
    assert alice.register().status == 200
    assert bob.register().status == 200
    call = open_call(alice, bob, alice.stream(440.0), bob.stream(1000.0))
    with playing([call.says, call.hears]):
        eventually("the kernel", lambda: {leg["carried_by"] for leg in legs(server)} == {"kernel"}, 10.0)
    return server, call


def legs(server: Server) -> list[dict[str, Any]]:
    [session] = server.ask("rtp", "list")
    found: list[dict[str, Any]] = session["legs"]
    return found


def shown(server: Server, call: Call, side: str) -> dict[str, Any]:
    [session] = server.ask("rtp", "show", call.outgoing.call_id)
    found: dict[str, Any] = next(leg for leg in session["legs"] if leg["side"] == side)
    return found


def test_loss_and_order_are_known_of_packets_that_python_never_saw(
    start_server: Start, network: Network
) -> None:
    server, call = settled(start_server, network, {})
    lossy = Lossy(call.says)
    with playing([lossy, call.hears]):
        time.sleep(5.0)
    assert lossy.lost >= 20
    eventually(
        "the last look",
        lambda: shown(server, call, "caller")["quality"].get("lost") == lossy.lost,
        10.0,
        step=0.5,
    )
    quality = shown(server, call, "caller")["quality"]
    assert quality["duplicates"] == lossy.twice
    assert quality["codec"] == "pcmu"
    assert quality["loss"] == pytest.approx(10, abs=2.5)
    assert 0 <= quality["jitter"] < 20
    assert quality["mos"] < shown(server, call, "callee")["quality"]["mos"]
    assert shown(server, call, "callee")["quality"]["lost"] == 0
    call.hang_up()
    assert server.process is not None
    ended = server.process.wait_for(r"event='media ended'.* caller_loss=([0-9.]+) ")
    assert float(ended[1]) == pytest.approx(quality["loss"], abs=0.5)


class Reports:
    """The RTCP of one side."""

    def __init__(self, agent: Agent, stream: Stream) -> None:
        assert stream.remote is not None
        self.socket: socket.socket = agent.host.namespace.udp(stream.host, stream.port + 1)
        self.socket.settimeout(5.0)
        self.to = (stream.remote[0], stream.remote[1] + 1)
        self.ssrc = stream.ssrc

    def sender(self, middle: int) -> bytes:
        """A sender report of this time (the middle of its NTP timestamp)."""
        seconds, fraction = middle >> 16, (middle & 0xFFFF) << 16
        return struct.pack("!BBHIIIIII", 0x80, 200, 6, self.ssrc, seconds, fraction, 0, 9, 900)

    def answer(self, of: int, middle: int) -> bytes:
        """A receiver report at once about the sender report of that time."""
        block = struct.pack("!IIIIII", of, 0x40000003, 9, 40, middle, 0)
        return struct.pack("!BBHI", 0x81, 201, 7, self.ssrc) + block

    def send(self, data: bytes) -> None:
        self.socket.sendto(data, self.to)


def test_reports_pass_in_the_kernel_and_are_overheard(start_server: Start, network: Network) -> None:
    server, call = settled(start_server, network, {})
    alice, bob = Reports(call.alice, call.says), Reports(call.bob, call.hears)
    with playing([call.says, call.hears]):
        alice.send(alice.sender(1))
        bob.send(bob.sender(1))
        eventually(
            "reports in the kernel",
            lambda: (
                {shown(server, call, side)["rtcp_carried_by"] for side in ("caller", "callee")} == {"kernel"}
            ),
            5.0,
        )
        time.sleep(1.5)
        alice.send(alice.sender(0x12345678))
        data = bob.socket.recv(2048)
        while data != alice.sender(0x12345678):
            data = bob.socket.recv(2048)
        time.sleep(0.08)
        bob.send(bob.answer(alice.ssrc, 0x12345678))
        assert alice.socket.recv(2048)
        eventually(
            "the round trip",
            lambda: (shown(server, call, "callee")["quality"]["rtt_here"] or 0) >= 80,
            5.0,
            step=0.3,
        )
    assert shown(server, call, "callee")["quality"]["rtt_here"] < 2000
    assert shown(server, call, "caller")["quality"]["told"]["lost"] == 3
    call.hang_up()


def test_a_call_in_the_kernel_is_not_silent_and_a_silent_one_ends(
    start_server: Start, network: Network
) -> None:
    server, call = settled(start_server, network, {"relay.timeout": "4"})
    assert server.process is not None
    call.talk(10.0)
    assert "media timeout" not in server.process.text()
    assert len(legs(server)) == 2
    server.process.wait_for(r"event='media timeout'")
    for agent in (call.alice, call.bob):
        agent.respond(agent.expect("BYE"), 200)
    eventually("the end", lambda: not server.ask("rtp", "list"), 10.0)
