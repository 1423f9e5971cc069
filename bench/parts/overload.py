"""Twice as many calls as the server can carry (RFC 6357): what is still completed, what the rest hears.

The capacity is measured on the same server before, and again after. The callers come by the clock: they do
not wait for each other.
"""

from __future__ import annotations

from rig import sipp
from rig.figure import Bench, Figure
from rig.process import BenchError
from rig.servers import Edge
from rig.sipp import Load, Storm

from parts.calls import RELAY_OFF, SETTINGS, register_bob

NEEDS = ("sipp", "ip")
TIMES = 2
FULL = 0.9
"""The part of its core that SIPp may use before it, and not the server, may be what is measured."""


def run(bench: Bench) -> list[Figure]:
    """Capacity, overload, capacity again."""
    room, core = bench.room("overload"), bench.cores.load
    count, seconds = bench.pick(2000, 8000), bench.pick(8, 20)
    edge = Edge(room / "state", {**SETTINGS, **RELAY_OFF}, bench.cores.server)
    callee = None
    try:
        register_bob()
        callee = sipp.start_callee(room, core, 300.0)
        sipp.run([edge], "caller", room, core, count=bench.pick(500, 12_000))
        before = sipp.run([edge], "caller", room, core, count=count)
        storm = sipp.storm(edge, callee, room, core, rate=round(TIMES * before.steady), seconds=seconds)
        if not edge.alive():
            raise BenchError(f"edgesip ended:\n{edge.text()[-1500:]}")
        after = sipp.run([edge], "caller", room, core, count=count)
    finally:
        for child in (callee, edge):
            if child is not None:
                child.stop()
    return _figures(storm, before, after)


def _figures(storm: Storm, before: Load, after: Load) -> list[Figure]:
    capacity = before.steady
    turned = storm.offered - storm.completed
    detail = {
        "edgesip": [before.report(), storm.report(), after.report()],
        "limits": _limits(storm, capacity),
    }
    return [
        Figure(
            "overload.goodput",
            "goodput at twice the capacity" + "".join(f" ({why})" for why in _limits(storm, capacity)),
            storm.goodput,
            "calls/s",
            "its capacity",
            capacity,
            0.9,
            detail=detail,
        ),
        Figure("overload.offered", "calls offered", storm.rate, "calls/s", "its capacity", capacity),
        Figure("overload.refused", "of the rest, heard 503", _per_cent(storm.refused, turned), "%"),
        Figure("overload.told_when", "of these, with Retry-After", _per_cent(storm.told, storm.refused), "%"),
        Figure(
            "overload.unheard",
            "of the rest, timed out or broken",
            _per_cent(turned - storm.refused, turned),
            "%",
        ),
        Figure("overload.setup_p50", "INVITE to 200 of admitted calls, p50", storm.setup_p50, "ms"),
        Figure(
            "overload.setup_p99", "INVITE to 200 of admitted calls, p99", storm.setup_p99, "ms", most=1000
        ),
    ]


def _limits(storm: Storm, capacity: float) -> list[str]:
    """Why the figure may be SIPp's and not the server's."""
    found = []
    if storm.load_busy > FULL:
        found.append(f"SIPp used {storm.load_busy:.0%} of its core")
    if storm.rate < 0.95 * TIMES * capacity:
        found.append(f"SIPp offered {storm.rate / capacity:.2f} times the capacity only")
    return found


def _per_cent(part: int, whole: int) -> float:
    return 100 * part / whole if whole else 0.0
