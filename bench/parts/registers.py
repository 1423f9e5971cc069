"""REGISTERs: refreshes of phones behind NAT, in memory, durable, and with digest; Kamailio is the ruler."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rig import sipp
from rig.figure import Bench, Figure
from rig.process import Child
from rig.servers import Edge, Kamailio, add_users
from rig.sipp import Load

NEEDS = ("kamailio", "sipp", "ip")
OPEN = {"auth.enabled": "false", "nathelper.natping_interval": "0"}
MEMORY = {"usrloc.db_url": ""}


@dataclass(frozen=True)
class Case:
    """One kind of registration: our settings, the ruler's switches."""

    key: str
    what: str
    scenario: str
    settings: dict[str, str]
    words: tuple[str, ...]
    ruler: str
    bar: float | None = None


CASES = (
    Case("memory", "REGISTER, in memory", "register", {**OPEN, **MEMORY}, (), "Kamailio in memory"),
    Case(
        "durable",
        "REGISTER, durable",
        "register",
        OPEN,
        ("SQLITE",),
        "Kamailio with db_sqlite, written through",
        0.5,
    ),
    Case(
        "digest",
        "REGISTER with digest, in memory",
        "register_digest",
        {**MEMORY, "nathelper.natping_interval": "0"},
        ("DIGEST",),
        "Kamailio in memory, digest",
    ),
)


def run(bench: Bench) -> list[Figure]:
    """Each case by turns, ours and the ruler's, so that a noisy minute hits both."""
    rounds = bench.pick(1, 2)
    figures: list[Figure] = []
    for case in CASES:
        ours: list[Load] = []
        theirs: list[Load] = []
        for turn in range(rounds):
            room = bench.room(f"registers-{case.key}-{turn}")
            ours.append(_measure(bench, case, room, _edge(bench, case, room)))
            theirs.append(
                _measure(bench, case, room, Kamailio(room / "kamailio", case.words, bench.cores.server))
            )
        figures.append(_figure(case, ours, theirs))
    durable, memory = figures[1], figures[0]
    figures.insert(
        2,
        Figure(
            "registers.durable_to_memory",
            "REGISTER, durable, against the ruler in memory",
            durable.value,
            "per CPU-s",
            "Kamailio in memory",
            memory.against,
        ),
    )
    return figures


def _users(bench: Bench) -> int:
    return bench.pick(200, 1000)


def _edge(bench: Bench, case: Case, room: Path) -> Edge:
    state = room / "state"
    if case.key == "digest":
        add_users(state, [f"u{n}" for n in range(_users(bench))])
    return Edge(state, case.settings, bench.cores.server)


def _measure(bench: Bench, case: Case, room: Path, server: Child) -> Load:
    """Register everybody once unmeasured, then count refreshes, then end the server."""
    try:
        users = sipp.users_file(room, _users(bench))
        core = bench.cores.load
        sipp.run([server], case.scenario, room, core, count=_users(bench), users=users)
        count = bench.pick(5000, 20_000)
        return sipp.run([server], case.scenario, room, core, count=count, users=users)
    finally:
        server.stop()


def _figure(case: Case, ours: list[Load], theirs: list[Load]) -> Figure:
    return Figure(
        f"registers.{case.key}",
        case.what,
        sipp.added(ours).per_cpu_second,
        "per CPU-s",
        case.ruler,
        sipp.added(theirs).per_cpu_second,
        case.bar,
        detail={
            "edgesip": [load.report() for load in ours],
            "ruler": [load.report() for load in theirs],
        },
    )
