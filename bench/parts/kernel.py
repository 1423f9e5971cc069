"""The kernel path beside rtpengine: packets for a CPU-second, delay, and what put, drop and sweep cost.

Client A, relay and client B are network namespaces with veth pairs between them. The relay's core is counted
whole, by /proc/stat: user, system, interrupts. rtpengine, in userspace, has the same wires and core.
Two generators: `sendmmsg` in userspace, which tells loss and delay but not what the kernel path can do;
and frames made in the kernel, more than the relay's core can carry: what arrives then is its capacity.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rig import flows
from rig.figure import Bench, Figure
from rig.flows import Ports, Through
from rig.media import ng_open
from rig.process import BenchError
from rig.servers import NG_PORT, Rtpengine
from rig.wires import HOST_A, HOST_B, RELAY, RELAY_PROCESS, Wires

from edgesip.relay.service import limits

NEEDS = ("rtpengine", "cc", "ip", "clang-14")
FLOWS = 1000
MANY = 20_000
SWEPT = 10_000
ROOM = 30_000
RATES = (40_000, 50_000, 60_000, 70_000, 80_000, 90_000, 100_000, 120_000, 140_000)
QUICK_RATES = (40_000, 60_000, 80_000)
MOST = (150_000, 100_000)
"""What sendmmsg is asked for, until no more than one packet of a thousand is lost."""
TRIES = 2
FOREIGN = 0.05
"""The part of the core that others may have in a measurement that counts at once."""
G711 = 100
"""Packets of a call in a second, both ways."""


@dataclass(frozen=True)
class Way:
    """One way of the kernel path: where the program sits, how the next hop's MAC is found, what is wanted."""

    hook: str
    mode: str
    bar: float

    @property
    def name(self) -> str:
        """For a row."""
        return f"{self.hook} {self.mode}"


WAYS = (Way("tc", "neigh", 6.0), Way("tc", "mac", 8.0), Way("xdp", "mac", 15.0))

Row = dict[str, Any]


def run(bench: Bench) -> list[Figure]:
    """The ruler, then the kernel path each way."""
    server, load = bench.cores
    if server is None or load is None:
        raise BenchError("the kernel path is measured with a core for the relay and one for the load")
    if os.geteuid() != 0:
        raise BenchError("the kernel path is measured as root")
    room = bench.room("kernel")
    with _first(load), Wires(room, server, load) as wires:
        ruler = _rtpengine(bench, wires, room)
        good = [one for one in ruler if one.well]
        if not good:
            raise BenchError(f"rtpengine lost too much of the least load: {ruler[0].report()}")
        most = max(good, key=lambda one: (round(one.rate, -4), -(one.p99 or 0.0)))
        at = round(most.sent / most.seconds)
        best = max(one.per_cpu_second for one in ruler)
        figures = []
        rows: list[Row] = [_row("rtpengine userspace", FLOWS, one) for one in ruler]
        for way in WAYS:
            figures += _way(bench, wires, way, (at, best, most), rows)
        figures += _costs(wires)
    theirs = len(ruler)
    figures[0].detail.update(ruler=rows[:theirs], edgesip=rows[theirs:])
    _show(rows)
    return figures


@contextmanager
def _first(core: int) -> Iterator[None]:
    """Look at clocks in time: on the load's core, before all others."""
    had = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(3))
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        os.sched_setaffinity(0, had)


def _rtpengine(bench: Bench, wires: Wires, room: Path) -> list[Through]:
    """More and more packets a second in the same calls, until too many are lost.

    Received in interrupts and in threads: the better is the ruler.
    """
    inside = wires.relay.inside("chrt", "-f", str(RELAY_PROCESS))
    engine = Rtpengine(room / "rtpengine", wires.server, RELAY, inside)
    try:
        with wires.socket(wires.a) as sock:
            sock.connect((RELAY, NG_PORT))
            calls = ng_open(sock, [(a, b) for a, _, b in flows.shared(FLOWS)], HOST_A, HOST_B)
        file = room / "rtpengine.calls"
        ports = [(a, relay, b) for a, relay, b, _ in calls]
        flows.calls_file(wires, file, ports)
        found = []
        for threads in (False, True):
            wires.receive(threads)
            for rate in QUICK_RATES if bench.quick else RATES:
                one = _best(partial(flows.talk, bench, wires, file, rate, bench.pick(1, 3), engine.cpu))
                found.append(one)
                if not one.well:
                    break
        return found
    finally:
        engine.stop()


def _best(measure: Callable[[], Through]) -> Through:
    """The measurement that others disturbed least; no more than one where they did not."""
    found: list[Through] = []
    for _ in range(TRIES):
        found.append(measure())
        if found[-1].foreign < FOREIGN:
            break
    return min(found, key=lambda one: (not one.well, one.foreign))


def _plan(wires: Wires, way: Way, ports: Ports) -> dict[str, Any]:
    names, macs = wires.names, wires.macs
    return {
        "source": HOST_A,
        "relay": RELAY,
        "target": HOST_B,
        "out": names.relay_b,
        "mode": way.mode,
        "source_mac": macs[names.relay_b],
        "target_mac": macs[names.b],
        "ports": ports,
    }


def _way(
    bench: Bench, wires: Wires, way: Way, ruler: tuple[int, float, Through], rows: list[Row]
) -> list[Figure]:
    names = wires.names
    at, best, theirs = ruler
    figures = []
    for count in (FLOWS, MANY):
        wires.relay.ask("load", flows=ROOM)
        wires.relay.ask("attach", name=names.relay_a, hook=way.hook, others=[names.relay_b])
        wires.pin()
        ports = flows.shared(count)
        wires.relay.ask("put", plan=_plan(wires, way, ports))
        file = bench.directory / f"kernel-{way.hook}-{way.mode}-{count}.calls"
        flows.calls_file(wires, file, ports)
        seconds = bench.pick(1, 3)
        same = _best(partial(flows.talk, bench, wires, file, at, seconds))
        for rate in MOST:
            most = flows.talk(bench, wires, file, rate, seconds)
            if most.well:
                break
        wires.relay.ask("drop")
        ports = flows.apart(count)
        wires.relay.ask("put", plan=_plan(wires, way, ports))
        full = flows.blast(bench, wires, ports, way.hook, seconds)
        counted = wires.relay.ask("counted")
        wires.relay.ask("unload")
        if counted["flows"] != count or counted["packets"] < full.received:
            raise BenchError(f"{way.name}: the program counted {counted} of {full.received} in {count} flows")
        rows += [_row(way.name, count, one) for one in (same, most, full)]
        figures += _figures(way, count, (same, most, full), best, theirs)
    return figures


def _figures(
    way: Way, count: int, took: tuple[Through, Through, Through], best: float, theirs: Through
) -> list[Figure]:
    same, most, full = took
    what, key = f"{way.name}, {count:,} flows", f"kernel.{way.hook}.{way.mode}.{count}"
    unit, against = "packets per CPU-s", "rtpengine userspace"
    capacity = Figure(
        f"{key}.capacity",
        f"{what}, in kernel, core {full.full:.0%} busy",
        full.per_cpu_second,
        unit,
        against,
        best,
        way.bar if count == FLOWS else None,
    )
    asked = Figure(
        f"{key}.sendmmsg",
        f"{what}, sendmmsg {most.sent / most.seconds:,.0f}/s, loss {most.loss:.2%}",
        most.per_cpu_second,
        unit,
        against,
        best,
    )
    delays = [
        Figure(
            f"{key}.p{quantile}",
            f"{what}, sendmmsg {same.sent / same.seconds:,.0f}/s, p{quantile}",
            here or 0.0,
            "us",
            against,
            there,
            most=(there or 0.0) / 10 if quantile == 99 else None,
        )
        for quantile, here, there in ((50, same.p50, theirs.p50), (99, same.p99, theirs.p99))
    ]
    return [capacity, asked, *delays]


def _costs(wires: Wires) -> list[Figure]:
    """What Python pays: flows put, dropped and read; and the program alone."""
    wires.relay.ask("load", flows=ROOM)
    plan = _plan(wires, WAYS[0], flows.apart(SWEPT))
    put = wires.relay.ask("put", plan=plan)
    sweeps = wires.relay.ask("sweep", times=20)
    drop = wires.relay.ask("drop")
    alone = wires.relay.ask("trial", name=wires.names.relay_a, relay=RELAY, source=HOST_A, rounds=500)
    wires.relay.ask("unload")
    wires.relay.ask("load", flows=ROOM)
    path = {
        name: statistics.median(took) for name, took in wires.relay.ask("carry", plan=plan, times=20).items()
    }
    files = wires.relay.ask("files")
    wires.relay.ask("unload")
    return [
        Figure("kernel.put", f"put as the relay does, {SWEPT:,} flows", path["put"], "us", most=10.0),
        Figure("kernel.put.program", "the kernel's part of it", statistics.median(put), "us"),
        Figure("kernel.drop", f"drop with its counters, {SWEPT:,} flows", path["drop"], "us"),
        Figure("kernel.drop.program", "the kernel's part of it", statistics.median(drop), "us"),
        Figure("kernel.sweep", f"sweep of {SWEPT:,} flows as the relay does", path["sweep"], "ms", most=20.0),
        Figure("kernel.sweep.program", "the kernel's part of it", statistics.median(sweeps), "ms"),
        *(
            Figure(f"kernel.program.{hook}", f"the program alone, {hook} mac", took, "ns")
            for hook, took in alone.items()
        ),
        Figure("kernel.files", f"calls that {files:,} files allow", float(limits(0, 65535, files)), "calls"),
    ]


def _row(name: str, count: int, one: Through) -> Row:
    return {"relay": name, "flows": count, **one.report()}


def _show(rows: list[Row]) -> None:
    """All rows, for who wants to see more than the figures."""
    for row in rows:
        delay = "" if row["p99"] is None else f", p50 {row['p50']:,.0f} us, p99 {row['p99']:,.0f} us"
        print(
            f"  {row['relay']}, {row['flows']:,} flows, {row['generator']}: {row['rate']:,}/s,"
            f" loss {row['loss']:.2%}, core {row['full']:.0%} ({row['foreign']:.0%} of that others'),"
            f" {row['per_cpu_second']:,} per CPU-s = {row['per_cpu_second'] // G711:,} G.711 calls{delay}",
            flush=True,
        )
