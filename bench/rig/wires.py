"""A client A, a relay and a client B, each in a network namespace of its own, with veth pairs between them.

Whatever the relay does, it does on the server's core: what arrives at it is received there by a thread, and
what arrives at a client by the load's core. Knows no calls and no relay.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

from rig.build import interpreter
from rig.process import TICKS, BenchError, pinned

HOST_A, HOST_B, RELAY = "10.77.1.2", "10.77.2.2", "10.77.1.1"
RELAY_B = "10.77.2.1"
NAPI, RELAY_PROCESS = 2, 1
"""Priorities among real-time threads: what receives goes before what was received, as with interrupts."""
HAND = Path(__file__).with_name("hand.py")
PATIENCE = 30.0

_libc = ctypes.CDLL(None, use_errno=True)


class Hand:
    """A process in a namespace of its own that does what it is told (hand.py)."""

    def __init__(self, core: int, log: Path) -> None:
        self._log = log
        with log.open("wb") as errors:
            self._popen = subprocess.Popen(
                pinned(core, [interpreter(), str(HAND), str(core)]),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self.hear()

    @property
    def pid(self) -> int:
        """Its process, whose namespaces are those."""
        return self._popen.pid

    def inside(self, *command: str) -> list[str]:
        """A command line that runs in its namespaces."""
        return ["nsenter", "-t", str(self.pid), "-n", "-m", *command]

    def say(self, order: str, **about: Any) -> None:
        """Begin an order."""
        assert self._popen.stdin is not None
        self._popen.stdin.write(json.dumps({"order": order, **about}) + "\n")
        self._popen.stdin.flush()

    def hear(self) -> Any:
        """What came of the order; BenchError when it failed."""
        assert self._popen.stdout is not None
        line = self._popen.stdout.readline()
        if not line:
            raise BenchError(f"a network namespace: {self._log.read_text()[-2000:]}")
        answer = json.loads(line)
        if "failed" in answer:
            raise BenchError(answer["failed"])
        return answer.get("done")

    def ask(self, order: str, **about: Any) -> Any:
        """One order and its answer."""
        self.say(order, **about)
        return self.hear()

    def stop(self) -> None:
        """Its end, and that of its namespaces."""
        assert self._popen.stdin is not None
        self._popen.stdin.close()
        try:
            self._popen.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()


@dataclass(frozen=True)
class Names:
    """The four interfaces, by names that nobody else has: NAPI threads bear them."""

    a: str
    relay_a: str
    relay_b: str
    b: str


class Busy(NamedTuple):
    """The relay's core up to now, in seconds, and what arrived at B.

    `busy` is all but idle time; `own` is what NAPI threads and interrupts had of it, by their own clocks.
    """

    at: float
    busy: float
    own: float
    arrived: int

    def since(self, before: Busy) -> Busy:
        """Between two looks."""
        return Busy(
            self.at - before.at,
            self.busy - before.busy,
            self.own - before.own,
            self.arrived - before.arrived,
        )


class Wires:
    """The three namespaces while they last."""

    def __init__(self, room: Path, server: int, load: int) -> None:
        self.server, self.load = server, load
        self.names = Names(*(f"{end}{os.getpid()}" for end in ("ca", "ra", "rb", "cb")))
        self._room = room
        self._hands: list[Hand] = []
        self._threads: list[int] = []

    def __enter__(self) -> Self:
        try:
            self._begin()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _begin(self) -> None:
        for core, name in ((self.load, "a"), (self.server, "relay"), (self.load, "b")):
            self._hands.append(Hand(core, self._room / f"{name}.log"))
        self.a, self.relay, self.b = self._hands
        names = self.names
        self.relay.ask(
            "ip",
            commands=[
                f"link add {names.relay_a} type veth peer name {names.a} netns {self.a.pid}",
                f"link add {names.relay_b} type veth peer name {names.b} netns {self.b.pid}",
            ],
        )
        up = "link set {} up"
        self.relay.ask(
            "ip",
            commands=[
                *(up.format(name) for name in ("lo", names.relay_a, names.relay_b)),
                f"addr add {RELAY}/24 dev {names.relay_a}",
                f"addr add {RELAY_B}/24 dev {names.relay_b}",
            ],
        )
        for hand, name, host, gateway in (
            (self.a, names.a, HOST_A, RELAY),
            (self.b, names.b, HOST_B, RELAY_B),
        ):
            hand.ask(
                "ip",
                commands=[
                    *(up.format(one) for one in ("lo", name)),
                    f"addr add {host}/24 dev {name}",
                    f"route add default via {gateway}",
                ],
            )
        self.macs = {
            name: hand.ask("mac", name=name)
            for hand, name in (
                (self.a, names.a),
                (self.relay, names.relay_a),
                (self.relay, names.relay_b),
                (self.b, names.b),
            )
        }
        for hand, name, core in (
            (self.a, names.a, self.load),
            (self.relay, names.relay_a, self.server),
            (self.relay, names.relay_b, self.server),
            (self.b, names.b, self.load),
        ):
            hand.ask("receive", name=name, core=core)
        self.receive(threads=True)
        self.pin()

    def receive(self, threads: bool) -> None:
        """Have relay and B receive in NAPI threads, which spare interrupts, or in interrupts (RPS)."""
        for hand, name in ((self.a, self.names.a), (self.relay, self.names.relay_b)):
            hand.ask("send", name=name, threads=threads)

    def pin(self) -> None:
        """Every NAPI thread on its core, before all others there; again whenever an interface got another."""
        names = self.names
        core = {
            names.a: self.load,
            names.b: self.load,
            names.relay_a: self.server,
            names.relay_b: self.server,
        }
        self._threads = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            with contextlib.suppress(OSError):
                said = Path(f"/proc/{entry}/comm").read_text().strip()
                name = said.removeprefix("napi/").rpartition("-")[0]
                if not said.startswith("napi/") or name not in core:
                    continue
                os.sched_setaffinity(int(entry), {core[name]})
                os.sched_setscheduler(int(entry), os.SCHED_FIFO, os.sched_param(NAPI))
                if core[name] == self.server:
                    self._threads.append(int(entry))

    def look(self) -> Busy:
        """The relay's core and what arrived at B, now."""
        for line in Path("/proc/stat").read_text().splitlines():
            if line.startswith(f"cpu{self.server} "):
                user, nice, system, _, _, irq, softirq = (int(word) for word in line.split()[1:8])
        at = time.monotonic()
        arrived = 0
        for line in Path(f"/proc/{self.b.pid}/net/dev").read_text().splitlines():
            name, _, rest = line.strip().partition(":")
            if name == self.names.b:
                arrived = int(rest.split()[1])
        threads = sum(int(Path(f"/proc/{one}/schedstat").read_text().split()[0]) for one in self._threads)
        busy = user + nice + system + irq + softirq
        return Busy(at, busy / TICKS, threads / 1e9 + (irq + softirq) / TICKS, arrived)

    def socket(self, hand: Hand) -> socket.socket:
        """A UDP socket in the namespace of a hand."""
        with open("/proc/self/ns/net") as ours, open(f"/proc/{hand.pid}/ns/net") as theirs:
            _enter(theirs.fileno())
            try:
                return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            finally:
                _enter(ours.fileno())

    def stop(self) -> None:
        """Nothing is left."""
        for hand in self._hands:
            hand.stop()
        self._hands = []


def _enter(net: int) -> None:
    if _libc.setns(net, 0) != 0:
        raise BenchError(f"setns: {os.strerror(ctypes.get_errno())}")
