"""Two hundred prompts for a minute by the real clock: who listens for so long is a millisecond off at most.

Arrival is the kernel's own time stamp. A busy machine makes single packets late; the least delay that any
packet of some seconds had is what shows whether the schedule itself moves.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections import defaultdict

import pytest
import uvloop
from relay_talk import sdp

from edgesip.address import Addr, Flow
from edgesip.relay.core import Settings
from edgesip.relay.prompt import Prompt
from edgesip.relay.rtp import header
from edgesip.relay.service import RelayService

HOST = "127.0.0.1"
STREAMS, SECONDS = 200, 60.0
MEASURED = 10.0
"""Seconds at the beginning and at the end that are compared."""
STAMP = 35  # SO_TIMESTAMPNS of Linux, which socket has no name for


class Ear:
    """One socket that all the phones have: when a packet came, and what it says of itself."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.socket.setsockopt(socket.SOL_SOCKET, STAMP, 1)
        self.socket.bind((HOST, 0))
        self.socket.setblocking(False)
        self.heard: dict[int, list[tuple[float, int]]] = defaultdict(list)

    def listen(self) -> None:
        with contextlib.suppress(BlockingIOError):
            for _ in range(256):
                data, told, _, _ = self.socket.recvmsg(256, 64)
                seconds, nanoseconds = struct.unpack("qq", told[0][2])
                packet = header(data)
                self.heard[packet.ssrc].append((seconds + nanoseconds / 1e9, packet.timestamp))


@pytest.mark.long
def test_the_pace_of_two_hundred_streams(capsys: pytest.CaptureFixture[str]) -> None:
    loop = uvloop.new_event_loop()
    ear = Ear()
    settings = Settings(True, (), (), 22000, 23999, 60.0, 500)
    service = RelayService(
        settings, loop, lambda events: None, prompts={"moh": Prompt("moh", {0: bytes(76800)})}.get
    )
    service.start()
    loop.add_reader(ear.socket.fileno(), ear.listen)
    flow = Flow("udp", Addr(HOST, 5060), Addr(HOST, 5062))
    body = sdp(HOST, ear.socket.getsockname()[1])

    async def begin() -> None:
        for number in range(STREAMS):
            key, now = (f"call-{number}", "a"), time.monotonic()
            service.core.offer(key, "b", "", "caller", body, flow, flow, now)
            service.core.answer(key, "b", "t", "callee", body, flow, flow, True, now)
            assert service.core.play(key, "b", "callee", "moh", -1, time.monotonic()) == ""
            await asyncio.sleep(0.003)
        await asyncio.sleep(SECONDS)

    try:
        used = time.process_time()
        loop.run_until_complete(begin())
        used = time.process_time() - used
    finally:
        service.stop()
        ear.listen()
        ear.socket.close()
        loop.close()
    assert len(ear.heard) == STREAMS
    drifts = []
    for packets in ear.heard.values():
        began, first = packets[0]
        late = [at - began - ((stamp - first) & 0xFFFFFFFF) / 8000 for at, stamp in packets]
        few = round(MEASURED / 0.02)
        assert len(packets) > 2 * few
        drifts.append(min(late[-few:]) - min(late[:few]))
    count = sum(map(len, ear.heard.values()))
    with capsys.disabled():
        print(
            f"\n{count} packets, at most {max(map(abs, drifts)) * 1e3:.3f} ms off after {SECONDS:.0f} s;"
            f" {used / count * 1e6:.1f} CPU-microseconds for sending and hearing one"
        )
    assert max(map(abs, drifts)) <= 0.001
    assert count >= STREAMS * (SECONDS - 1) * 50
