"""A program under test: started, watched by its log, ended by its own pid.

Knows nothing of what the program is. The kernel ends it when the test process dies.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def eventually(what: str, probe: Callable[[], T | None], deadline: float = 10.0, step: float = 0.05) -> T:
    """Ask `probe` until it answers something true; AssertionError naming `what` after `deadline` s."""
    end = time.monotonic() + deadline
    while True:
        found = probe()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"waited {deadline:g} s for {what}")
        time.sleep(step)


class Process:
    """One child process whose stdout and stderr go to `log`; `keyboard` gives it one to `type` on."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        log: Path,
        environment: dict[str, str] | None = None,
        keyboard: bool = False,
    ) -> None:
        self.name = name
        self.log = log
        with log.open("ab") as out:
            self._child = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *arguments],
                stdin=subprocess.PIPE if keyboard else subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
            )

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def is_running(self) -> bool:
        return self._child.poll() is None

    def type(self, line: str) -> None:
        """Give it a line on its standard input."""
        assert self._child.stdin is not None
        self._child.stdin.write(line.encode() + b"\n")
        self._child.stdin.flush()

    def text(self) -> str:
        """Everything it has written so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def wait_for(self, pattern: str, deadline: float = 10.0, after: int = 0) -> re.Match[str]:
        """Wait until the log, from character `after`, matches `pattern` (multi-line)."""
        search = re.compile(pattern, re.MULTILINE)

        def look() -> re.Match[str] | None:
            found = search.search(self.text(), after)
            if found is None and not self.is_running:
                raise AssertionError(
                    f"{self.name} ended ({self._child.returncode}) before {pattern!r}:\n{self.text()}"
                )
            return found

        return eventually(f"{pattern!r} in the log of {self.name}", look, deadline)

    def wait(self, deadline: float = 10.0) -> int:
        """Its exit code, once it has ended by itself."""
        try:
            return self._child.wait(deadline)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} still runs after {deadline:g} s") from None

    def kill(self) -> None:
        """SIGKILL, as a crash."""
        self._child.kill()
        self._child.wait()

    def stop(self, how: signal.Signals = signal.SIGTERM, patience: float = 3.0) -> int:
        """Ask it to end, insist after `patience` seconds; the exit code."""
        if self.is_running:
            self._child.send_signal(how)
            try:
                self._child.wait(patience)
            except subprocess.TimeoutExpired:
                self.kill()
        if self._child.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._child.stdin.close()
        return self._child.returncode

    def cpu_seconds(self) -> float:
        """User and system time used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
