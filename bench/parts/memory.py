"""What many registrations cost: memory, the start that loads them, answers of the command line."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from rig import sipp
from rig.figure import Bench, Figure
from rig.servers import Edge

NEEDS = ("sipp", "ip")
SETTINGS = {"auth.enabled": "false", "nathelper.natping_interval": "0"}
VERBS = (("ul", "lookup", "u7"), ("stats",), ("uptime",), ("rtp", "ports"))
CLI_BAR = 250.0


def run(bench: Bench) -> list[Figure]:
    """Register everybody, ask, restart, ask again."""
    count = bench.pick(10_000, 100_000)
    room = bench.room("memory")
    users = sipp.users_file(room, count)
    core, state = bench.cores.server, room / "state"
    edge = Edge(state, SETTINGS, core)
    empty_start = edge.started
    try:
        empty = edge.resident()
        load = sipp.run([edge], "register", room, bench.cores.load, count=count, limit=150.0, users=users)
        each = (edge.resident() - empty) / count
    finally:
        edge.stop()
    edge = Edge(state, SETTINGS, core)
    try:
        loaded = (edge.resident() - empty) / count
        known = sum(1 for _ in edge.ask("ul", "lookup", "u7")["Contacts"])
        answers = {" ".join(verb): _times(edge, verb, bench.pick(5, 15)) for verb in VERBS}
    finally:
        edge.stop()
    worst = max(answers, key=lambda verb: statistics.median(answers[verb]))
    some = f"{count:,} bindings"
    return [
        Figure("memory.added", f"first REGISTERs, durable, up to {some}", load.per_cpu_second, "per CPU-s"),
        Figure("memory.each", f"memory of a registration, {some}", each, "octets"),
        Figure(
            "memory.loaded", "the same after a restart", loaded, "octets", detail={"contacts_of_u7": known}
        ),
        Figure(
            "memory.start",
            f"start to ready, {some}",
            edge.started,
            "s",
            "start without any",
            empty_start,
        ),
        Figure(
            "memory.cli",
            f"CLI answer, median, {some} (slowest: {worst})",
            statistics.median(answers[worst]),
            "ms",
            most=CLI_BAR,
            detail={verb: [round(time, 1) for time in times] for verb, times in answers.items()},
        ),
    ]


def _times(edge: Edge, verb: Sequence[str], tries: int) -> list[float]:
    """Milliseconds of a command from its start to its end."""
    return [edge.verb(*verb)[1] * 1000 for _ in range(tries)]
