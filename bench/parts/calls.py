"""Calls between two phones behind NAT, INVITE to BYE: CPU, and the delay added until 180 is heard.

The ruler is Kamailio with tm, rr, dialog and nathelper's aliases; with media, rtpengine beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rig import sipp
from rig.agent import Phone, call, hang_up
from rig.figure import Bench, Figure
from rig.process import Child
from rig.servers import HOST, PORT, Edge, Kamailio, Rtpengine
from rig.sipp import Load

NEEDS = ("kamailio", "rtpengine", "sipp", "ip")
SETTINGS = {"auth.enabled": "false", "nathelper.natping_interval": "0", "usrloc.db_url": ""}
RELAY_OFF = {"relay.enabled": "false"}
# Ports rest half a minute after a call: a bench that hangs up at once needs a wide range.
RELAY_ON = {"relay.ports": "10000-60000"}
PROBES_WARM = 20


@dataclass(frozen=True)
class Side:
    """One who carries calls: how to start it, all its processes."""

    name: str
    start: Callable[[Path], list[Child]]


def run(bench: Bench) -> list[Figure]:
    """Calls by turns without and with media; then the delay of single calls."""
    core = bench.cores.server
    edge_off = Side("edge", lambda room: [Edge(room / "state", {**SETTINGS, **RELAY_OFF}, core)])
    edge_on = Side("edge-relay", lambda room: [Edge(room / "state", {**SETTINGS, **RELAY_ON}, core)])
    kamailio = Side("kamailio", lambda room: [Kamailio(room, ("CALLS",), core)])
    both = Side(
        "kamailio-rtpengine",
        lambda room: [Rtpengine(room / "engine", core), Kamailio(room, ("CALLS", "RTPENGINE"), core)],
    )
    rounds, count = bench.pick(1, 2), bench.pick(500, 4000)
    off = _by_turns(bench, "off", [edge_off, kamailio], rounds, bench.pick(100, 12_000), count)
    on = _by_turns(bench, "on", [edge_on, both], rounds, bench.pick(100, 400), count)
    delays = {side.name: _delays(bench, side) for side in (edge_off, edge_on, kamailio)}
    direct = _direct(bench)
    return [
        _calls("calls.relay_off", "call INVITE..BYE, relay off", "Kamailio tm+rr+dialog+alias", off, 0.8),
        _calls("calls.relay_on", "call INVITE..BYE, relay on", "the same with rtpengine", on, None),
        *_delay_figures("relay off", delays["edge"], delays["kamailio"], direct),
        *_delay_figures("relay on", delays["edge-relay"], delays["kamailio"], direct),
    ]


def _by_turns(
    bench: Bench, key: str, sides: Sequence[Side], rounds: int, warm: int, count: int
) -> tuple[list[Load], list[Load]]:
    loads: tuple[list[Load], list[Load]] = ([], [])
    for turn in range(rounds):
        for side, into in zip(sides, loads, strict=True):
            into.append(_load(bench, side, bench.room(f"calls-{key}-{side.name}-{turn}"), warm, count))
    return loads


def _load(bench: Bench, side: Side, room: Path, warm: int, count: int) -> Load:
    """Calls of SIPp to SIPp; `warm` of them unmeasured first: what is kept for a while (`tm.wt_timer`, ended
    dialogs) is there when it counts.
    """
    servers = side.start(room)
    callee: Child | None = None
    try:
        register_bob()
        callee = sipp.start_callee(room, bench.cores.load, 120.0)
        for number in (warm, count):
            load = sipp.run(servers[::-1], "caller", room, bench.cores.load, count=number, limit=50.0)
        return load
    finally:
        for child in (callee, *reversed(servers)):
            if child is not None:
                child.stop()


def register_bob() -> None:
    """Bob, from the port where SIPp will answer for him."""
    bob = Phone("bob", sipp.CALLEE_PORT)
    bob.register()
    bob.close()


def _delays(bench: Bench, side: Side) -> list[float]:
    """INVITE there and 180 back, seconds, one call after the other on an idle server."""
    servers = side.start(bench.room(f"calls-delay-{side.name}"))
    try:
        return _probe(bench, (HOST, PORT), register=True)
    finally:
        for child in reversed(servers):
            child.stop()


def _direct(bench: Bench) -> list[float]:
    """The same with nobody in between: what the phones and the kernel take."""
    return _probe(bench, (HOST, sipp.CALLEE_PORT), register=False)


def _probe(bench: Bench, server: tuple[str, int], *, register: bool) -> list[float]:
    alice, bob = Phone("alice", sipp.CALLER_PORT), Phone("bob", sipp.CALLEE_PORT)
    rang: list[float] = []
    try:
        if register:
            bob.register()
        for _ in range(bench.pick(100, 600) + PROBES_WARM):
            made = call(alice, bob, server, 40000, 42000)
            hang_up(made, alice, bob, server)
            rang.append(made.rang)
    finally:
        alice.close()
        bob.close()
    return rang[PROBES_WARM:]


def _calls(
    key: str, what: str, ruler: str, loads: tuple[list[Load], list[Load]], bar: float | None
) -> Figure:
    ours, theirs = loads
    return Figure(
        key,
        what,
        sipp.added(ours).per_cpu_second,
        "per CPU-s",
        ruler,
        sipp.added(theirs).per_cpu_second,
        bar,
        detail={"edgesip": [one.report() for one in ours], "ruler": [one.report() for one in theirs]},
    )


def _delay_figures(how: str, ours: list[float], theirs: list[float], direct: list[float]) -> list[Figure]:
    """What the server adds, in microseconds: its distribution less the median without any server."""
    floor = float(np.median(direct))
    figures = []
    for quantile in (50, 99):
        mine, other = (float(np.percentile(times, quantile)) - floor for times in (ours, theirs))
        figures.append(
            Figure(
                f"calls.added_p{quantile}.{how.replace(' ', '_')}",
                f"INVITE to 180, delay added, p{quantile}, {how}",
                mine * 1e6,
                "us",
                "Kamailio without media",
                other * 1e6,
                detail={"direct_us": floor * 1e6, "calls": len(ours)},
            )
        )
    return figures
