"""SIP load by SIPp: a number of registrations or calls, as fast as the server answers them.

A fixed number is under way at any time, so the server always has the next message waiting. Every load is
bounded by its count and by a time.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rig.process import BenchError, Child
from rig.servers import HOST, PASSWORD, PORT

CALLER_PORT = 5070
CALLEE_PORT = 5080
UNDER_WAY = 64
"""Registrations or calls that are open at the same time."""
ADDRESSES = 2500
"""Addresses, 127.1.0.1 and on, that registrations come from: each costs the load a socket."""
_RATE = "50000"
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
    done, failed, repeated = _counts(_statistics(directory, name))
    if failed > count // 100 or done < count * 0.99:
        raise BenchError(
            f"sipp {name}: {done} of {count} done, {failed} failed, {repeated} repetitions;"
            f" {server[0].name} says\n{server[0].text()[-1500:]}"
        )
    return Load(done, failed, repeated, cpu, waited, seconds)


def _statistics(directory: Path, name: str) -> Path:
    return directory / f"sipp-{name}.csv"


def _counts(path: Path) -> tuple[int, int, int]:
    """Successful calls, failed calls and repetitions, from the last line of a -trace_stat file."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    if not rows:
        raise BenchError(f"{path}: SIPp wrote no statistics")
    last = rows[-1]
    return int(last["SuccessfulCall(C)"]), int(last["FailedCall(C)"]), int(last["Retransmissions(C)"])
