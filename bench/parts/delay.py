"""The delay that ten calls see in the relay, at rest and while REGISTERs take all that signalling can get."""

from __future__ import annotations

from rig import sipp
from rig.figure import Bench, Figure
from rig.media import Heard, play, sip_calls
from rig.process import BenchError
from rig.servers import Edge

NEEDS = ("sipp", "cc", "ip")
CALLS = 10
SETTINGS = {"auth.enabled": "false", "nathelper.natping_interval": "0", "relay.path": "user"}


def run(bench: Bench) -> list[Figure]:
    """The same ten calls twice."""
    room = bench.room("delay")
    seconds = bench.pick(3, 15)
    users = sipp.users_file(room, bench.pick(200, 1000))
    edge = Edge(room / "state", SETTINGS, bench.cores.server)
    try:
        calls = sip_calls(CALLS)
        rest = play(bench, room, edge, calls, seconds, "rest")
        flood = sipp.start(
            "register", room, bench.cores.load, count=10_000_000, limit=seconds + 8.0, users=users
        )
        try:
            busy = play(bench, room, edge, calls, seconds, "busy")
            if not flood.alive():
                raise BenchError(f"the flood ended too early: {flood.text()[-500:]}")
        finally:
            flood.stop()
    finally:
        edge.stop()
    return [
        _figure("p50", rest.p50, busy.p50, rest, busy),
        _figure("p99", rest.p99, busy.p99, rest, busy),
        _figure("most", rest.most, busy.most, rest, busy),
        Figure("delay.lost", "RTP lost beside the REGISTERs", busy.loss * 100, "%"),
        Figure("delay.busy", "core used by the server meanwhile", busy.cpu / busy.seconds * 100, "%"),
    ]


def _figure(key: str, rest: float, busy: float, *both: Heard) -> Figure:
    return Figure(
        f"delay.{key}",
        f"delay of RTP, {CALLS} calls, beside REGISTERs, {key}",
        busy,
        "us",
        "edgesip at rest",
        rest,
        detail={name: heard.report() for name, heard in zip(("rest", "busy"), both, strict=True)},
    )
