"""Connected sockets against a core whose ports hear everybody: whatever happens, the same packets leave."""

from __future__ import annotations

import asyncio
import socket
import time
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from relay_talk import ports_in, rtcp, rtp, sdp

from edgesip.address import Addr, Flow
from edgesip.relay.core import RelayCore, Settings
from edgesip.relay.path import UserPath
from edgesip.relay.service import RelayService, forward

HOST = "127.0.0.1"
KEY = ("call-1", "a")
SETTINGS = Settings(True, (), (), 22000, 22099, 60.0, 20)
CALLER, CALLEE = (Flow("udp", Addr(HOST, 5060), Addr(HOST, port)) for port in (6001, 6002))
PATIENCE = 5.0
WHO = ("alice", "bob", "moved", "eve")
SSRC = {"alice": 0xA, "bob": 0xB, "moved": 0xA, "eve": 0xBAD}

Sent = tuple[str, bytes]

SETTLED = [("speak", name, 3) for name in ("alice", "bob", "alice", "bob")]
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("speak"), st.sampled_from(WHO), st.integers(1, 4)),
        st.tuples(st.just("report"), st.sampled_from(WHO), st.just(1)),
        st.tuples(st.just("wait"), st.just(""), st.integers(2, 6)),
        st.tuples(st.just("offer"), st.sampled_from(("alice", "moved")), st.just(1)),
    ),
    min_size=10,
    max_size=60,
)


class Twins:
    """The service with its sockets and a bare core, told the same."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.loop = asyncio.new_event_loop()
        self.service = RelayService(
            SETTINGS, self.loop, lambda events: None, entropy=Random(3).randbytes, clock=lambda: self.now
        )
        self.path = UserPath()
        self.core = RelayCore(
            SETTINGS,
            bind=lambda pair: Addr(pair.host, pair.rtp) in self.service._by_local,  # if the other one could
            unbind=lambda pair: None,
            path=self.path,
            entropy=Random(3).randbytes,
        )
        self.socks = {name: socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for name in WHO}
        for sock in self.socks.values():
            sock.bind((HOST, 0))
            sock.setblocking(False)
        self.numbers = dict.fromkeys(WHO, 0)
        self.relay: dict[str, Addr] = {}
        self.agree("alice")

    def close(self) -> None:
        self.service.stop()
        self.loop.close()
        for sock in self.socks.values():
            sock.close()

    def port(self, name: str) -> int:
        port: int = self.socks[name].getsockname()[1]
        return port

    def agree(self, caller: str) -> None:
        """An offer from this one's address, and bob's answer, at both."""
        for core in (self.service.core, self.core):
            body = sdp(HOST, self.port(caller))
            tag = "" if not self.relay else "t"
            offer = core.offer(KEY, "b1", tag, "caller", body, CALLER, CALLEE, self.now)
            body = sdp(HOST, self.port("bob"))
            answer = core.answer(KEY, "b1", "t", "callee", body, CALLEE, CALLER, True, self.now)
            assert isinstance(offer, bytes)
            assert isinstance(answer, bytes)
            found = {"bob": Addr(HOST, ports_in(offer)[0])}
            found |= dict.fromkeys(("alice", "moved", "eve"), Addr(HOST, ports_in(answer)[0]))
            assert self.relay in ({}, found), "both have the same ports"
        self.relay = found

    def packet(self, what: str, name: str) -> tuple[Addr, bytes]:
        """The next of this one: alice goes on as moved with the same stream."""
        stream = "alice" if name == "moved" else name
        at = self.relay[name]
        if what == "report":
            return Addr(HOST, at.port + 1), rtcp(SSRC[name])
        self.numbers[stream] += 1
        return at, rtp(self.numbers[stream], SSRC[name])

    def heard(self) -> list[Sent]:
        """What the service sends now, and to whom."""
        self.service.drain()
        found = []
        for name, sock in self.socks.items():
            while True:
                try:
                    found.append((name, sock.recv(2048)))
                except BlockingIOError:
                    break
        return found

    def both(self, what: str, name: str) -> tuple[list[Sent], list[Sent]]:
        """One packet through both: what came out, to whom."""
        at, data = self.packet(what, name)
        source, entry = Addr(HOST, self.port(name)), self.path.entries.get(at)
        if entry is not None and forward(entry, data, source, self.now):
            sends = [(entry.to, data)]
        else:
            sends = [(to, octets) for _, to, octets in self.core.receive(at, data, source, self.now)]
        ports = {self.port(other): other for other in WHO}
        meant = [(ports[to.port], octets) for to, octets in sends if to.port in ports]
        self.socks[name].sendto(data, at)
        real = self.heard()
        until = time.monotonic() + PATIENCE
        while len(real) < len(meant) and time.monotonic() < until:  # a busy kernel delivers later
            time.sleep(0.001)
            real += self.heard()
        return real, meant


@settings(max_examples=60, deadline=None)
@given(EVENTS)
def test_the_same_packets_leave(events: list[tuple[str, str, int]]) -> None:
    twins = Twins()
    try:
        for what, name, count in [*SETTLED, *events]:
            for _ in range(count):
                if what == "wait":
                    twins.now += 0.5
                    twins.service.tend(twins.service._links.values(), twins.now)
                elif what == "offer":
                    twins.agree(name)
                else:
                    twins.now += 0.02
                    real, meant = twins.both(what, name)
                    assert real == meant
    finally:
        twins.close()
