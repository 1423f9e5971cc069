"""Loads of RTP from A to B through a relay between wires, and what came of them.

Holds the two generators: sendmmsg (rtpgen.c), which also tells loss and delay, and frames made in the kernel
(load.bpf.c), which fill the relay's core. Refuses to know what the relay is.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from rig.figure import Bench
from rig.media import compiled
from rig.process import BenchError, Child
from rig.wires import HOST_A, HOST_B, RELAY, RELAY_B, Busy, Wires

WARM = 1.0
LOSS = 0.001
LATE = 0.05
"""The part of the load that may be sent too late and still be the load that was meant."""
SOCKETS = 20
"""Ports of the load at each side."""
FIRST = (1024, 16384, 10000)
"""Where the ports of flows begin: A's, the relay's, B's."""

Ports = list[tuple[int, int, int]]


@dataclass(frozen=True)
class Through:
    """What a load came to. Delays in us, None where the generator sees none."""

    generator: str
    seconds: float
    busy: float
    foreign: float
    sent: int
    received: int
    late: int = 0
    p50: float | None = None
    p99: float | None = None

    @property
    def loss(self) -> float:
        """The part of what was sent that did not arrive."""
        return max(0.0, 1.0 - self.received / max(self.sent, 1))

    @property
    def well(self) -> bool:
        """Little was lost, and the load kept its time."""
        return self.loss <= LOSS and self.late <= self.sent * LATE

    @property
    def rate(self) -> float:
        """Packets a second that arrived."""
        return self.received / self.seconds

    @property
    def full(self) -> float:
        """The part of the relay's core that was busy."""
        return min(self.busy / self.seconds, 1.0)

    @property
    def per_cpu_second(self) -> float:
        """Packets for a busy second of the relay's core."""
        return self.received / max(self.busy, 0.01)

    def report(self) -> dict[str, Any]:
        """For the JSON."""
        more = {"loss": round(self.loss, 6), "full": round(self.full, 3), "waited": self.foreign * self.busy}
        return {
            **asdict(self),
            **more,
            "rate": round(self.rate),
            "per_cpu_second": round(self.per_cpu_second),
        }


def apart(flows: int) -> Ports:
    """Ports for flows that share none."""
    return [(FIRST[0] + number, FIRST[1] + number, FIRST[2] + number) for number in range(flows)]


def shared(flows: int) -> Ports:
    """Ports for flows that share some of A and of B: a generator sends by the batch of a socket."""
    each = max(1, flows // SOCKETS)
    return [
        (FIRST[0] + 2 * (number // each), FIRST[1] + number, FIRST[2] + 2 * (number // each))
        for number in range(flows)
    ]


def calls_file(wires: Wires, file: Path, ports: Ports) -> None:
    """For rtpgen: A speaks in each flow and B hears it."""
    sides = ((wires.a.pid, HOST_A, RELAY), (wires.b.pid, HOST_B, RELAY_B))
    said = " ".join(f"/proc/{pid}/ns/net {host} {relay}" for pid, host, relay in sides)
    file.write_text(f"between {said}\n" + "".join(f"{a} {relay} {b} 0\n" for a, relay, b in ports))


def talk(
    bench: Bench, wires: Wires, file: Path, rate: int, seconds: float, own: Callable[[], float] | None = None
) -> Through:
    """Send so many packets a second by sendmmsg; `own` tells the CPU-seconds of the relay's process."""
    program = [str(compiled(bench)), str(file), str(WARM), str(seconds), str(rate)]
    load = Child("rtpgen", ["chrt", "-f", "1", *program], file.with_suffix(".log"), wires.load)
    try:
        load.wait_for("^begin$", WARM * 4 + 5.0)
        before, had = wires.look(), own() if own else 0.0
        load.wait_for("^end$", seconds * 4 + 5.0)
        core, has = wires.look().since(before), own() if own else 0.0
        load.wait(10.0)
    finally:
        load.stop()
    found = re.search(r"^{.*}$", load.text(), re.MULTILINE)
    if found is None:
        raise BenchError(f"rtpgen: {load.text()}")
    told = json.loads(found[0])
    heard = {name: told[name] for name in ("sent", "received", "late", "p50", "p99")}
    return Through("sendmmsg", core.at, core.busy, foreign(core, has - had), **heard)


def foreign(core: Busy, relay: float) -> float:
    """The part of the busy time that was others'."""
    return max(0.0, core.busy - core.own - relay) / max(core.busy, 0.01)


def program(bench: Bench) -> Path:
    """The generator in the kernel and its end, compiled."""
    source, made = Path(__file__).with_name("load.bpf.c"), bench.directory / "load.bpf.o"
    if not made.exists():
        headers = next(Path("/usr/include").glob("*-linux-gnu"))
        command = ["clang-14", "-target", "bpfel", "-mcpu=v3", "-O2", "-Wall", "-I", str(headers)]
        done = subprocess.run(
            [*command, "-c", str(source), "-o", str(made)], capture_output=True, text=True, timeout=60
        )
        if done.returncode != 0:
            raise BenchError(f"{source.name}: {done.stderr}")
    return made


def blast(
    bench: Bench,
    wires: Wires,
    ports: Ports,
    hook: str,
    seconds: int,
) -> Through:
    """Send all frames that the load's core can make; the second in which others had least of the relay's."""
    names, macs = wires.names, wires.macs
    made = str(program(bench))
    wires.b.ask("take", object=made, name=names.b, hook=hook)
    wires.pin()
    plan = {
        "source": HOST_A,
        "relay": RELAY,
        "source_mac": macs[names.a],
        "target_mac": macs[names.relay_a],
        "ports": ports,
    }
    wires.a.ask("make", object=made, name=names.a, plan=plan)
    wires.a.say("blast", seconds=seconds + WARM)
    time.sleep(WARM / 2)
    looks = [wires.look()]
    try:
        for _ in range(seconds):
            time.sleep(1.0)
            looks.append(wires.look())
    finally:
        sent = wires.a.hear()
        wires.a.ask("release")
        wires.b.ask("release")
    seconds_seen = [now.since(then) for then, now in pairwise(looks)]
    core = min(seconds_seen, key=lambda one: foreign(one, 0.0))
    offered = round(sent / (seconds + WARM) * core.at)
    return Through("in kernel", core.at, core.busy, foreign(core, 0.0), offered, core.arrived)
