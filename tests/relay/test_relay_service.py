"""The relay's sockets and loop, on 127.0.0.1: real packets both ways, floods, faults, and a clean end."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import uvloop
from relay_talk import ports_in, rtcp, rtp, sdp

from edgesip.address import Addr, Flow
from edgesip.relay.cases import Media
from edgesip.relay.core import Event, MediaTimeout, Settings
from edgesip.relay.moments import Moment
from edgesip.relay.ports import Pair
from edgesip.relay.prompt import Prompt
from edgesip.relay.service import News, RelayService, limits

HOST = "127.0.0.1"
KEY = ("call-1", "a")
LOW, HIGH = 21000, 21199


class Phone:
    """A pair of UDP sockets that speak and listen."""

    def __init__(self, ssrc: int) -> None:
        self.ssrc = ssrc
        self.sequence = 0
        self.relay = 0
        while True:
            self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.sock.bind((HOST, 0))
            self.port = self.sock.getsockname()[1]
            self.control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                if LOW <= self.port <= HIGH:
                    raise OSError
                self.control.bind((HOST, self.port + 1))
                break
            except OSError:
                self.close()
        self.sock.setblocking(False)
        self.control.setblocking(False)

    def speak(self, count: int = 1) -> None:
        for _ in range(count):
            self.sequence += 1
            self.sock.sendto(rtp(self.sequence, self.ssrc), (HOST, self.relay))

    def heard(self, sock: socket.socket | None = None) -> list[bytes]:
        packets = []
        while True:
            try:
                packets.append((sock or self.sock).recv(4096))
            except BlockingIOError:
                return packets

    def close(self) -> None:
        self.sock.close()
        self.control.close()


class House:
    """A service on a loop, one call between two phones."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, clock: Callable[[], float] = time.monotonic, **more: Any
    ) -> None:
        self.loop = loop
        self.events: list[Event] = []
        self.moments: list[Moment] = []
        settings = Settings(True, (), (), LOW, HIGH, 60.0, 20)
        prompts = {"hold": Prompt("hold", {0: b"m" * 8000})}
        self.service = RelayService(settings, loop, self.hear, clock=clock, prompts=prompts.get, **more)
        self.alice, self.bob = Phone(0xA), Phone(0xB)
        self.ended: list[Media] = []
        self.clock = clock

    def hear(self, events: Sequence[News]) -> None:
        for event in events:
            if isinstance(event, Moment):
                self.moments.append(event)
            elif isinstance(event, Media):
                self.ended.append(event)
            else:
                self.events.append(event)

    def connect(self, key: tuple[str, str] = KEY) -> None:
        core, now = self.service.core, self.clock()
        a, b = (Flow("udp", Addr(HOST, 5060), Addr(HOST, port)) for port in (6001, 6002))
        offer = core.offer(key, "b1", "", "caller", sdp(HOST, self.alice.port), a, b, now)
        answer = core.answer(key, "b1", "t", "callee", sdp(HOST, self.bob.port), b, a, True, now)
        assert isinstance(offer, bytes)
        assert isinstance(answer, bytes)
        self.bob.relay, self.alice.relay = ports_in(offer)[0], ports_in(answer)[0]

    def settle(self, carried_by: str = "user") -> None:
        for _ in range(3):
            self.alice.speak()
            self.bob.speak()
            self.turn()
        self.alice.heard(), self.bob.heard()
        legs = self.service.core.sessions(self.clock())[0]["legs"]
        assert [leg["carried_by"] for leg in legs] == [carried_by] * 2

    def turn(self) -> None:
        """Let the loop look at what is there."""
        self.loop.run_until_complete(asyncio.sleep(0.005))


@contextmanager
def a_house(
    make_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
    clock: Callable[[], float] = time.monotonic,
    **more: Any,
) -> Iterator[House]:
    loop = make_loop()
    house = House(loop, clock, **more)
    house.service.start()
    try:
        yield house
    finally:
        house.service.stop()
        house.alice.close()
        house.bob.close()
        loop.close()


@pytest.mark.parametrize("make_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_audio_both_ways_and_its_rtcp(make_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    with a_house(make_loop) as house:
        house.connect()
        house.settle()
        house.alice.speak(20)
        house.bob.speak(20)
        house.turn()
        assert house.bob.heard() == [rtp(n, 0xA) for n in range(4, 24)]
        assert house.alice.heard() == [rtp(n, 0xB) for n in range(4, 24)]
        house.alice.control.sendto(rtcp(0xA), (HOST, house.alice.relay + 1))
        house.turn()
        assert house.bob.heard(house.bob.control) == [rtcp(0xA)]
        assert house.service.counters["rtp:rtp_packets"] == 46


def test_ipv6() -> None:
    def phone() -> socket.socket:
        sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        sock.bind(("::1", 0))
        sock.settimeout(2)
        return sock

    try:
        alice, bob = phone(), phone()
    except OSError as error:
        pytest.skip(f"no IPv6 loopback here: {error}")
    with a_house() as house, alice, bob:
        core, flow = house.service.core, Flow("udp", Addr("::1", 5060), Addr("::1", 5062))
        bodies = [
            sdp("::1", sock.getsockname()[1]).replace(b"c=IN IP4", b"c=IN IP6") for sock in (alice, bob)
        ]
        offer = core.offer(KEY, "b1", "", "caller", bodies[0], flow, flow, house.clock())
        answer = core.answer(KEY, "b1", "t", "callee", bodies[1], flow, flow, True, house.clock())
        assert isinstance(offer, bytes)
        assert isinstance(answer, bytes)
        for n in range(4):
            alice.sendto(rtp(n, 0xA), ("::1", ports_in(answer)[0]))
            bob.sendto(rtp(n, 0xB), ("::1", ports_in(offer)[0]))
            house.turn()
        assert [bob.recv(2048) for _ in range(4)] == [rtp(n, 0xA) for n in range(4)]
        assert {leg["carried_by"] for leg in core.sessions(house.clock())[0]["legs"]} == {"user"}


def test_quality_is_measured_while_a_call_lasts_and_told_when_it_is_over() -> None:
    with a_house() as house:
        house.connect()
        house.settle()
        house.alice.speak(20)
        house.turn()
        [media] = house.service.media(KEY[0][:3])
        assert [seen.side.packets for seen in media.seen] == [23, 3]
        assert media.seen[0].figures["payload_types"] == {"0": 23}
        house.alice.speak(5)
        house.turn()
        house.service.core.end(KEY, house.clock())
        deadline = time.monotonic() + 20.0
        while not house.ended and time.monotonic() < deadline:
            house.turn()
        [ended] = house.ended
        assert ended.over
        assert ended.seen[0].figures["payload_types"] == {"0": 28}
        assert house.service.counters["rtp:rtp_mos_samples_total"] >= 1
        assert house.service.media(KEY[0]) == []


def test_a_stranger_is_not_heard_and_hears_nothing() -> None:
    with a_house() as house:
        house.connect()
        house.settle()
        eve = Phone(0xBAD)
        eve.relay = house.alice.relay
        eve.speak(50)
        house.bob.speak(50)
        house.turn()
        assert (len(house.bob.heard()), len(eve.heard()), len(house.alice.heard())) == (0, 0, 50)
        eve.close()


@pytest.mark.parametrize("make_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_prompt_plays_until_it_is_stopped(make_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    with a_house(make_loop) as house:
        house.connect()
        house.settle()
        core = house.service.core
        assert core.play(KEY, "b1", "callee", "hold", -1, house.clock()) == ""
        heard: list[bytes] = []
        for _ in range(2000):
            house.alice.speak()
            house.turn()
            heard += house.bob.heard()
            if len(heard) >= 10:
                break
        music = [packet[12:] for packet in heard]
        assert music == [b"m" * 160] * len(music)
        core.play(KEY, "b1", "callee", "", 0, house.clock())
        house.turn()
        house.bob.heard()
        house.alice.speak(3)
        house.turn()
        assert [packet[12:] for packet in house.bob.heard()] == [bytes(160)] * 3


def test_the_end_of_the_service_ends_prompts() -> None:
    with a_house() as house:
        house.connect()
        house.service.core.play(KEY, "b1", "callee", "hold", -1, house.clock())
        house.service.stop()
        house.turn()
        house.service.core.play(KEY, "b1", "caller", "hold", -1, house.clock())
        house.turn()


def test_a_flood_on_one_port_leaves_the_loop_and_the_other_calls_alone() -> None:
    with a_house() as house:
        house.connect()
        house.settle()
        eve = Phone(0xBAD)
        eve.relay = house.bob.relay
        for _ in range(2000):
            eve.speak()
        house.alice.speak(5)
        slices = 0
        begin = time.perf_counter()
        while len(house.bob.heard()) == 0 and slices < 100:
            slices += 1
            house.service.drain()
        assert time.perf_counter() - begin < slices * 0.05
        assert slices <= 2
        eve.close()


def test_one_drain_is_about_a_millisecond() -> None:
    now = [0.0]

    def clock() -> float:
        now[0] += 0.0004  # every socket that is looked at takes this long
        return now[0]

    with a_house(clock=clock) as house:
        for n in range(10):
            house.connect((str(n), "a"))
            house.alice.speak()
            house.bob.speak()
        house.service.drain()
        taken = house.service.counters["rtp:rtp_packets"]
        assert taken == 2
        for _ in range(20):
            house.service.drain()
        assert house.service.counters["rtp:rtp_packets"] == 20


def test_sockets_are_as_the_specification_wants_them() -> None:
    with a_house() as house:
        house.connect()
        links = list(house.service._links.values())
        assert len(links) == 4
        for link in links:
            assert link.sock.getsockopt(socket.IPPROTO_IP, socket.IP_TOS) == 0xB8
            assert link.sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) >= 256 * 1024
            assert not link.sock.getblocking()


def test_a_taken_port_is_passed_over_and_a_pair_is_bound_whole_or_not_at_all() -> None:
    with a_house() as house, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((HOST, LOW + 1))
        assert not house.service.bind(Pair(HOST, LOW, LOW + 1))
        assert not house.service.bind(Pair("192.0.2.1", LOW, LOW + 1))
        assert house.service._links == {}
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as even:
            even.bind((HOST, LOW))


def test_a_closed_phone_costs_nothing_but_its_packets() -> None:
    with a_house() as house:
        house.connect()
        house.settle()
        port = house.bob.port
        house.bob.sock.close()
        for _ in range(5):
            house.alice.speak()
            house.turn()
        house.bob.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        house.bob.sock.bind((HOST, port))
        house.bob.sock.setblocking(False)
        house.alice.speak(3)
        house.turn()
        assert len(house.bob.heard()) == 3


@pytest.mark.parametrize(
    ("error", "counter", "heard"),
    [
        (BlockingIOError(), "rtp:rtp_send_dropped", 2),
        (ConnectionRefusedError(), "rtp:rtp_socket_errors", 3),
        (OSError(101, "Network is unreachable"), "rtp:rtp_socket_errors", 3),
    ],
)
@pytest.mark.parametrize("settled", [True, False])
def test_a_send_that_fails_is_counted_and_tried_once_more_unless_the_buffer_is_full(
    error: OSError, counter: str, heard: int, settled: bool
) -> None:
    with a_house() as house:
        house.connect()
        if settled:
            house.settle()
        link = house.service._by_local[Addr(HOST, house.bob.relay)]
        failing = [True]

        def fails() -> None:
            if failing:
                failing.pop()
                raise error

        def send(data: bytes) -> int:
            fails()
            return link.sock.send(data)

        def sendto(data: bytes, to: Addr) -> int:
            fails()
            return link.sock.sendto(data, to)

        link.send, link.sendto = send, sendto
        house.alice.speak(3)
        house.turn()
        assert len(house.bob.heard()) == heard
        assert house.service.counters[counter] == 1


def test_the_sweep_tells_of_silence_and_survives_its_listener() -> None:
    now = [100.0]
    with a_house(clock=lambda: now[0]) as house:
        house.connect()
        house.service._sweep()
        assert house.events == []
        now[0] += 61
        house.service._sweep()
        assert house.events == [MediaTimeout(KEY, "b1")]

        def broken(events: Sequence[News]) -> None:
            raise RuntimeError("the listener fails")

        house.service._on_events = broken
        before = house.service._sweeper
        now[0] += 61
        with pytest.raises(RuntimeError):
            house.service._sweep()
        assert house.service._sweeper is not before


def test_stop_leaves_nothing_open() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for started in (True, False):
        loop = asyncio.new_event_loop()
        house = House(loop)
        if started:
            house.service.start()
        house.connect()
        house.service.stop()
        house.service.stop()
        house.alice.close()
        house.bob.close()
        loop.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_closing_a_call_closes_its_sockets() -> None:
    with a_house() as house:
        before = len(os.listdir("/proc/self/fd"))
        house.connect()
        assert len(os.listdir("/proc/self/fd")) == before + 4
        house.service.core.close(KEY, "b1", house.clock())
        assert len(os.listdir("/proc/self/fd")) == before
        house.alice.speak()
        house.turn()


@pytest.mark.parametrize(
    ("low", "high", "nofile", "sessions"),
    [
        (16384, 32767, 20000, 4096),  # the ports are the limit
        (16384, 32767, 16384, 3596),  # (16384 - 2000) / 4
        (16384, 32767, 1024, 128),  # half of the files are kept back
        (20000, 20003, 20000, 1),
        (20001, 20004, 20000, 0),  # one whole pair only
        (20000, 20000, 20000, 0),
    ],
)
def test_limits(low: int, high: int, nofile: int, sessions: int) -> None:
    assert limits(low, high, nofile) == sessions
