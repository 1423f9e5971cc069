"""SIP load by SIPp: a number of registrations or calls, as fast as the server answers them.

A fixed number is under way at any time, so the server always has the next message waiting. Every load is
bounded by its count and by a time. A storm comes by the clock instead, however the server does.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from rig.process import BenchError, Child
from rig.servers import HOST, PASSWORD, PORT, Edge

CALLER_PORT = 5070
CALLEE_PORT = 5080
UNDER_WAY = 64
"""Registrations or calls that are open at the same time."""
ADDRESSES = 2500
"""Addresses, 127.1.0.1 and on, that registrations come from: each costs the load a socket."""
TIMER_B = 32
"""Seconds until a caller gives up who hears nothing (RFC 3261 §17.1.1.2)."""
_RATE = "50000"
_OFFERED, _DONE, _FAILED = "OutgoingCall(C)", "SuccessfulCall(C)", "FailedCall(C)"
_REPEATED, _COMPLETED = "Retransmissions(C)", "completed(C)"
_SCENARIOS = Path(__file__).parent.parent / "scenarios"


@dataclass(frozen=True)
class Load:
    """What a load came to: the servers' CPU-seconds, those they stood in line for a CPU, wall time."""

    done: int
    failed: int
    repeated: int
    cpu: float
    waited: float
    seconds: float
    steady: float = 0.0
    """Of them a second, less what SIPp takes to begin and to end."""

    @property
    def per_cpu_second(self) -> float:
        """Registrations or calls for one CPU-second of the server."""
        return self.done / self.cpu

    @property
    def busy(self) -> float:
        """How much of a core the server used."""
        return self.cpu / self.seconds

    def report(self) -> dict[str, float]:
        """For the JSON."""
        return {**asdict(self), "per_cpu_second": round(self.per_cpu_second, 1), "busy": round(self.busy, 3)}


@dataclass(frozen=True)
class Storm:
    """What became of calls that came by the clock. `rate` and `goodput` are calls a second while they came;
    the counts include what ended afterwards; `load_busy` is the part of its core that SIPp used.
    """

    offered: int
    completed: int
    refused: int
    told: int
    repeated: int
    rate: float
    goodput: float
    setup_p50: float
    setup_p99: float
    cpu: float
    waited: float
    seconds: float
    load_busy: float

    def report(self) -> dict[str, float]:
        """For the JSON."""
        return {name: round(value, 3) for name, value in asdict(self).items()}


def added(loads: Sequence[Load]) -> Load:
    """Several loads as one."""
    return Load(
        sum(load.done for load in loads),
        sum(load.failed for load in loads),
        sum(load.repeated for load in loads),
        sum(load.cpu for load in loads),
        sum(load.waited for load in loads),
        sum(load.seconds for load in loads),
    )


def users_file(directory: Path, count: int) -> Path:
    """The users of `register`, taken in turn: name, what answers a challenge, the address they come from.

    Each has an address of its own, and so a flow of its own, as far as the addresses go.
    """
    path = directory / f"users-{count}.csv"
    lines = [f"u{n};[authentication username=u{n} password={PASSWORD}];{_address(n)}" for n in range(count)]
    path.write_text("\n".join(["SEQUENTIAL", *lines]) + "\n")
    return path


def _address(number: int) -> str:
    number %= ADDRESSES
    return f"127.1.{number // 250}.{number % 250 + 1}"


def start(
    name: str,
    directory: Path,
    core: int | None,
    *,
    count: int,
    limit: float,
    users: Path | None = None,
    under_way: int = UNDER_WAY,
) -> Child:
    """Start the load `scenarios/NAME.xml` at the server; it ends by itself."""
    sockets = ["-t", "ui", "-ip_field", "2", "-max_socket", str(ADDRESSES + 100)]
    inject = [] if users is None else ["-inf", str(users), *sockets]
    return Child(
        f"sipp {name}",
        [
            *("sipp", f"{HOST}:{PORT}", "-sf", str(_SCENARIOS / f"{name}.xml"), *inject),
            *("-i", HOST, "-p", str(CALLER_PORT), "-m", str(count), "-l", str(under_way), "-r", _RATE),
            *("-timeout", str(int(limit)), "-nostdin", "-trace_stat", "-fd", "1"),
            *("-stf", str(_statistics(directory, name)), "-buff_size", "4194304"),
        ],
        directory / f"sipp-{name}.log",
        core,
    )


def start_callee(directory: Path, core: int | None, limit: float) -> Child:
    """Start the side that is called."""
    callee = Child(
        "sipp callee",
        [
            *("sipp", "-sf", str(_SCENARIOS / "callee.xml"), "-i", HOST, "-p", str(CALLEE_PORT)),
            *("-timeout", str(int(limit)), "-nostdin", "-buff_size", "4194304"),
        ],
        directory / "sipp-callee.log",
        core,
    )
    time.sleep(0.5)
    return callee


def run(
    server: Sequence[Child],
    name: str,
    directory: Path,
    core: int | None,
    *,
    count: int,
    limit: float = 60.0,
    users: Path | None = None,
) -> Load:
    """Put a load on the servers and count their CPU-seconds; BenchError when one in a hundred failed."""
    before, begin = sum(one.cpu() for one in server), time.monotonic()
    stood = sum(one.waited() for one in server)
    child = start(name, directory, core, count=count, limit=limit, users=users)
    child.wait(limit + 15.0)
    seconds = time.monotonic() - begin
    cpu = sum(one.cpu() for one in server) - before
    waited = sum(one.waited() for one in server) - stood
    rows = _rows(_statistics(directory, name))
    done, failed, repeated = (int(rows[-1][key]) for key in (_DONE, _FAILED, _REPEATED))
    if failed > count // 100 or done < count * 0.99:
        raise BenchError(
            f"sipp {name}: {done} of {count} done, {failed} failed, {repeated} repetitions;"
            f" {server[0].name} says\n{server[0].text()[-1500:]}"
        )
    return Load(done, failed, repeated, cpu, waited, seconds, _rate(rows, _DONE))


def storm(edge: Edge, callee: Child, directory: Path, core: int | None, *, rate: int, seconds: int) -> Storm:
    """Offer `rate` calls a second for `seconds`, then wait until the last has given up (timer B)."""
    for old in directory.glob("overload_*_rtt.csv"):
        old.unlink()
    command = [
        *("sipp", f"{HOST}:{PORT}", "-sf", str(_SCENARIOS / "overload.xml"), "-i", HOST),
        *("-p", str(CALLER_PORT), "-m", str(rate * seconds), "-l", str(rate * seconds), "-r", str(rate)),
        *("-timeout", str(seconds + TIMER_B + 10), "-nostdin", "-trace_stat", "-fd", "1"),
        *("-stf", str(_statistics(directory, "overload")), "-trace_rtt", "-rtt_freq", "1000"),
        *("-buff_size", "4194304"),
    ]
    child = Child("sipp overload", command, directory / "sipp-overload.log", core, directory)
    watched = (child, callee)
    load, cpu, waited = sum(one.cpu() for one in watched), edge.cpu(), edge.waited()
    begin = time.monotonic()
    while child.alive() and time.monotonic() < begin + seconds:
        time.sleep(0.05)
    passed = time.monotonic() - begin
    load, cpu, waited = sum(one.cpu() for one in watched) - load, edge.cpu() - cpu, edge.waited() - waited
    while child.alive() and time.monotonic() < begin + seconds + TIMER_B + 5:
        time.sleep(0.2)
    child.stop()
    rows = _rows(_statistics(directory, "overload"))
    last = rows[-1]
    came = [row for row in rows if _elapsed(row) <= seconds]
    if len(came) < 3:
        raise BenchError(f"the storm was over before it began:\n{child.text()[-1500:]}")
    setups = _setups(directory)
    if not setups:
        raise BenchError(f"no call was admitted:\n{child.text()[-1500:]}")
    return Storm(
        offered=int(last[_OFFERED]),
        completed=int(last[_COMPLETED]),
        refused=int(last["refused(C)"]),
        told=int(last["told_when(C)"]),
        repeated=int(last[_REPEATED]),
        rate=_rate(came, _OFFERED),
        goodput=_rate(came, _COMPLETED),
        setup_p50=float(np.percentile(setups, 50)),
        setup_p99=float(np.percentile(setups, 99)),
        cpu=cpu,
        waited=waited,
        seconds=passed,
        load_busy=load / passed,
    )


def _setups(directory: Path) -> list[float]:
    """Milliseconds from INVITE to 200, of each call that had one."""
    times = []
    for path in directory.glob("overload_*_rtt.csv"):
        for line in path.read_text().splitlines()[1:]:
            times.append(float(line.split(";")[1]))
    return times


def _statistics(directory: Path, name: str) -> Path:
    return directory / f"sipp-{name}.csv"


def _rows(path: Path) -> list[dict[str, str]]:
    """The lines of a -trace_stat file, one a second; (C) are sums from the beginning."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    if not rows:
        raise BenchError(f"{path}: SIPp wrote no statistics")
    return rows


def _elapsed(row: dict[str, str]) -> float:
    """Seconds since SIPp began."""
    now, start = (float(row[name].rsplit("\t", 1)[-1]) for name in ("CurrentTime", "StartTime"))
    return now - start


def _rate(rows: Sequence[dict[str, str]], column: str) -> float:
    """How fast a sum grew a second, from SIPp's first line to the last at which something was still
    under way; 0 when it was over at once.
    """
    total = int(rows[-1][column])
    first, last = rows[0], [row for row in rows if int(row[column]) < total or row is rows[0]][-1]
    passed = _elapsed(last) - _elapsed(first)
    return (int(last[column]) - int(first[column])) / passed if passed else 0.0
