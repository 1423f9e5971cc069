"""Programs that the bench starts: pinned to a core, watched by their log, ended by their own pid.

Also what the kernel says of them: CPU-seconds of a process with its children, resident memory. Knows no SIP.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


class BenchError(Exception):
    """A measurement that could not be made, and why."""


class Cores(NamedTuple):
    """Where servers run and where loads run; None leaves it to the scheduler."""

    server: int | None
    load: int | None


def cores() -> Cores:
    """The server under test has a core of its own where there are two."""
    usable = sorted(os.sched_getaffinity(0))
    return Cores(usable[0], usable[1]) if len(usable) > 1 else Cores(None, None)


def pinned(core: int | None, arguments: Sequence[str]) -> list[str]:
    """The command line that runs on `core` and ends when the bench ends."""
    bound = [] if core is None else ["taskset", "-c", str(core)]
    return ["setpriv", "--pdeathsig", "TERM", *bound, *arguments]


class Child:
    """One running program; stdout and stderr go to `log`."""

    def __init__(
        self, name: str, arguments: Sequence[str], log: Path, core: int | None, cwd: Path | None = None
    ) -> None:
        self.name = name
        self.log = log
        with log.open("wb") as out:
            self._popen = subprocess.Popen(
                pinned(core, arguments), stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=cwd
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._popen.pid

    def text(self) -> str:
        """Everything it has written so far."""
        return self.log.read_text(errors="replace")

    def alive(self) -> bool:
        """Whether it still runs."""
        return self._popen.poll() is None

    def wait_for(self, pattern: str, deadline: float = 20.0) -> None:
        """Wait until a line of the log matches; BenchError when it ends or says nothing for too long."""
        search = re.compile(pattern, re.MULTILINE)
        end = time.monotonic() + deadline
        while not search.search(self.text()):
            if not self.alive() or time.monotonic() > end:
                raise BenchError(f"{self.name} did not say {pattern!r}:\n{self.text()[-2000:]}")
            time.sleep(0.01)

    def wait(self, deadline: float) -> int:
        """Its exit code; it is ended when it takes longer than `deadline` s."""
        try:
            return self._popen.wait(deadline)
        except subprocess.TimeoutExpired:
            self.stop()
            raise BenchError(f"{self.name} took more than {deadline:.0f} s") from None

    def stop(self, patience: float = 10.0) -> None:
        """SIGTERM, and SIGKILL after `patience` s."""
        if self.alive():
            self._popen.send_signal(signal.SIGTERM)
            try:
                self._popen.wait(patience)
            except subprocess.TimeoutExpired:
                self._popen.kill()
                self._popen.wait()

    def cpu(self) -> float:
        """CPU-seconds so far, user and system, of the process and all that it has forked."""
        return cpu_seconds(self.pid)

    def waited(self) -> float:
        """Seconds its threads stood in line for a CPU: above little, somebody else was measured too."""
        total = 0
        for pid in _family(_processes(), self.pid):
            for file in Path(f"/proc/{pid}/task").glob("*/schedstat"):
                with contextlib.suppress(OSError):
                    total += int(file.read_text().split()[1])
        return total / 1e9

    def resident(self) -> int:
        """Octets of resident memory."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * PAGE


def _stat(pid: int) -> tuple[int, int] | None:
    """Parent and ticks of a process, ended children that were waited for included."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return int(fields[1]), sum(int(field) for field in fields[11:15])


def _processes() -> dict[int, tuple[int, int]]:
    stats: dict[int, tuple[int, int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (found := _stat(int(entry))) is not None:
            stats[int(entry)] = found
    return stats


def _family(stats: dict[int, tuple[int, int]], pid: int) -> set[int]:
    """`pid` and every living descendant."""
    family = {pid}
    while True:
        grown = family | {child for child, (parent, _) in stats.items() if parent in family}
        if grown == family:
            return family
        family = grown


def cpu_seconds(pid: int) -> float:
    """utime + stime + cutime + cstime of `pid` and every living descendant (proc(5), /proc/PID/stat)."""
    stats = _processes()
    return sum(stats[member][1] for member in _family(stats, pid) if member in stats) / TICKS
