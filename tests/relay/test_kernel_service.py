"""The relay's sockets beside a path in the kernel: open to all, for what the kernel passes up."""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import Callable, Sequence

import pytest
import uvloop
from kernel_twin import KernelTwin
from relay_talk import rtcp, rtp
from test_links import Clock
from test_relay_service import HOST, KEY, House, Phone, a_house

from edgesip.address import Addr
from edgesip.relay.paths import Paths


class Copies:
    """A file that is readable while there are copies, as a ring buffer's is."""

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_NONBLOCK)
        self._waiting: list[tuple[Addr, bytes]] = []
        self.asked = 0

    def fileno(self) -> int:
        return self._fd

    def leave(self, local: Addr, data: bytes) -> None:
        self._waiting.append((local, data))
        os.eventfd_write(self._fd, 1)

    def copies(self) -> Sequence[tuple[Addr, bytes]]:
        self.asked += 1
        os.eventfd_read(self._fd)
        waiting, self._waiting = self._waiting, []
        return waiting

    def close(self) -> None:
        os.close(self._fd)


def carried(house: House) -> list[str]:
    return [leg["carried_by"] for leg in house.service.core.sessions(house.clock())[0]["legs"]]


def seconds(house: House, clock: Clock, count: int) -> None:
    for _ in range(count):
        clock.now += 1.0
        house.service._sweep()
        house.service.tend(house.service._links.values(), clock.now)


def test_ports_that_the_kernel_carries_are_not_connected() -> None:
    clock = Clock()
    with a_house(clock=clock, kernel=KernelTwin()) as house:
        house.connect()
        house.settle("kernel")
        seconds(house, clock, 3)
        for link in house.service._links.values():
            assert (link.peer, link.only, link.entry) == (None, None, None)


def test_what_the_kernel_passes_up_goes_on_all_the_same() -> None:
    with a_house(kernel=KernelTwin()) as house:
        house.connect()
        house.settle("kernel")
        house.alice.speak(5)
        house.turn()
        assert house.bob.heard() == [rtp(n, 0xA) for n in range(4, 9)]
        eve = Phone(0xBAD)
        eve.relay = house.alice.relay
        eve.speak(5)
        house.turn()
        assert house.bob.heard() == []
        assert house.service.counters["rtp:rtp_src_mismatch"] == 5
        eve.close()


def test_a_flooded_port_of_the_kernel_hears_its_phone_alone_and_opens_again() -> None:
    clock = Clock()
    with a_house(clock=clock, kernel=KernelTwin()) as house:
        house.connect()
        house.settle("kernel")
        link = house.service._by_local[Addr(HOST, house.alice.relay)]
        link.refused = 501
        seconds(house, clock, 1)
        assert link.peer == Addr(HOST, house.alice.port)
        house.alice.speak(1)
        house.turn()
        assert len(house.bob.heard()) == 1
        seconds(house, clock, 5)
        assert link.peer is None


def test_a_stream_that_comes_back_is_connected_and_one_that_goes_is_not() -> None:
    kernel = KernelTwin()
    clock = Clock()
    with a_house(clock=clock, kernel=kernel) as house:
        house.connect()
        house.settle("kernel")
        kernel.refuses, kernel.lost = "the route has gone", list(kernel.flows)
        seconds(house, clock, 1)
        assert carried(house) == ["user", "user"]
        house.alice.speak(2)
        house.turn()
        link = house.service._by_local[Addr(HOST, house.alice.relay)]
        assert link.peer == Addr(HOST, house.alice.port)
        kernel.refuses, kernel.lost = "", [link.local]
        seconds(house, clock, 1)
        assert carried(house) == ["kernel", "user"]
        assert link.peer is None
        assert link.entry is None


@pytest.mark.parametrize("make_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_copies_are_read_when_they_come(make_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    copies = Copies()
    with a_house(make_loop, kernel=KernelTwin(), overheard=copies) as house:
        house.connect()
        house.settle("kernel")
        sender = struct.pack("!BBHIIIIII", 0x80, 200, 6, 0xA, 0x1111AAAA, 0xBBBB2222, 0, 9, 900)
        copies.leave(Addr(HOST, house.alice.relay + 1), sender)
        copies.leave(Addr(HOST, house.alice.relay + 1), rtcp(0xA))
        house.turn()
        assert copies.asked == 1
        [session] = house.service.core.named(KEY[0])
        line = session.caller.lines[0]
        assert line.track is not None
        assert [middle for middle, _ in line.track.sent_reports] == [0xAAAABBBB]
    copies.close()


def test_a_sweep_reads_all_at_once_and_asks_about_no_single_flow() -> None:
    kernel, clock = KernelTwin(), Clock()
    with a_house(clock=clock, kernel=kernel) as house:
        house.connect()
        house.settle("kernel")
        reads, sweeps = kernel.reads, kernel.sweeps
        seconds(house, clock, 10)
        house.service._watch()
        assert (kernel.sweeps - sweeps, kernel.reads) == (10, reads)


def test_without_a_kernel_the_reason_is_shown() -> None:
    with a_house(why="CAP_BPF is missing") as house:
        assert not isinstance(house.service.core.path, Paths)
        house.connect()
        house.settle()
        assert house.service.core.sessions(house.clock())[0]["legs"][0]["because"] == "CAP_BPF is missing"


def test_stopping_closes_the_kernel_path() -> None:
    kernel, copies = KernelTwin(), Copies()
    with a_house(kernel=kernel, overheard=copies) as house:
        house.connect()
        house.settle("kernel")
    assert kernel.closed
    copies.close()
