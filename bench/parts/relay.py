"""Relayed packets for a CPU-second at 0.1 % loss or less, and delay; rtpengine in userspace is the ruler.

More and more calls talk until too much is lost; the most calls that went well are what a relay is judged by.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rig.figure import Bench, Figure
from rig.media import Heard, Relayed, ng_calls, play, rest, sip_calls
from rig.process import Child
from rig.servers import Edge, Rtpengine

NEEDS = ("rtpengine", "cc", "ip")
LOSS = 0.001
TRIES = 4
DISTURBED = 0.05
"""The part of the time that a relay may stand in line for its core and still be the one to blame for loss."""
SETTINGS = {
    "auth.enabled": "false",
    "nathelper.natping_interval": "0",
    "usrloc.db_url": "",
    "relay.timeout": "3600",
    "relay.path": "user",
}
STEPS = (200, 400, 500, 600, 700, 800, 900, 1000, 1200)
QUICK_STEPS = (100, 300, 500)


@dataclass(frozen=True)
class Relay:
    """One of the two: how to start it and how to open calls in it."""

    name: str
    start: Callable[[], Child]
    open: Callable[[int], list[Relayed]]


def run(bench: Bench) -> list[Figure]:
    """Both relays up the same steps."""
    core = bench.cores.server
    ours = Relay("edgesip", lambda: Edge(bench.room("relay-edge") / "state", SETTINGS, core), sip_calls)
    theirs = Relay("rtpengine", lambda: Rtpengine(bench.room("relay-rtpengine"), core), ng_calls)
    climbed, ruler = _climb(bench, ours), _climb(bench, theirs)
    figures = _figures(climbed, ruler)
    for figure in figures:
        figure.detail["edgesip"] = [step.report() for step in climbed]
        figure.detail["ruler"] = [step.report() for step in ruler]
    return figures


def _climb(bench: Bench, relay: Relay) -> list[Heard]:
    """Every step until one fails; what a noisy neighbour may have spoilt is tried again."""
    room = bench.room(f"relay-{relay.name}-load")
    steps = QUICK_STEPS if bench.quick else STEPS
    child = relay.start()
    climbed: list[Heard] = []
    try:
        calls: list[Relayed] = relay.open(steps[0])
        for step in steps:
            calls += relay.open(step - len(calls))
            for attempt in range(TRIES):
                heard = play(bench, room, child, calls, bench.pick(2, 4), f"{step}-{attempt}")
                climbed.append(heard)
                if _well(heard) or (attempt > 0 and heard.waited < DISTURBED * heard.seconds):
                    break
                rest(child)
            if not _well(heard):
                break
    finally:
        child.stop()
    return climbed


def _well(heard: Heard) -> bool:
    """Little was lost, and the load itself kept its time."""
    return heard.loss <= LOSS and heard.late <= heard.sent * 0.05


def _figures(ours: list[Heard], theirs: list[Heard]) -> list[Figure]:
    mine, other = ([step for step in climbed if _well(step)] for climbed in (ours, theirs))
    if not mine or not other:
        return [Figure("relay.packets", "RTP relayed", 0.0, "per CPU-s", "rtpengine", 1.0, 0.8)]
    both = max(one.calls for one in mine if any(one.calls == other_one.calls for other_one in other))
    here, there = (next(one for one in steps if one.calls == both) for steps in (mine, other))
    return [
        Figure(
            "relay.packets",
            "RTP relayed at <= 0.1 % loss",
            max(one.per_cpu_second for one in mine),
            "packets per CPU-s",
            "rtpengine userspace",
            max(one.per_cpu_second for one in other),
            0.8,
        ),
        Figure(
            "relay.calls",
            "most calls tried at <= 0.1 % loss",
            float(max(one.calls for one in mine)),
            "calls on one core",
            "rtpengine userspace",
            float(max(one.calls for one in other)),
        ),
        *(
            Figure(
                f"relay.delay_p{quantile}",
                f"delay of RTP, p{quantile}, {both} calls",
                here.p50 if quantile == 50 else here.p99,
                "us",
                "rtpengine userspace",
                there.p50 if quantile == 50 else there.p99,
            )
            for quantile in (50, 99)
        ),
    ]
