"""The server under test and its rulers, each started for one measurement and ended after it.

Knows their command lines; the settings of a measurement are the caller's.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgesip.places import subscribers_db
from edgesip.store.subscribers import SqliteSubscribers
from rig import build
from rig.process import BenchError, Child

HOST = "127.0.0.1"
PORT = 5060
NG_PORT = 2223
OPEN = {"pike.reqs_density_per_unit": "1000000"}
"""All load comes from one address, which would be a flood."""
ENGINE_PORTS = (30000, 60000)
PASSWORD = "secret"

_SQL = Path("/usr/share/kamailio/db_sqlite")
_CFG = Path(__file__).with_name("kamailio.cfg")


class Edge(Child):
    """`edgesip run --profile nat-sbc` on loopback; `started` is how long it took to its ready line."""

    def __init__(
        self, state: Path, settings: Mapping[str, str], core: int | None, patience: float = 60.0
    ) -> None:
        state.mkdir(parents=True, exist_ok=True)
        self.state = state
        settings = {**OPEN, **settings}
        sets = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
        begin = time.monotonic()
        super().__init__(
            "edgesip",
            [
                *(build.program(), "run", "--profile", "nat-sbc", "--listen", f"udp:{HOST}:{PORT}"),
                *("--state-dir", str(state), *sets),
            ],
            state / "edgesip.log",
            core,
        )
        try:
            self.wait_for("^ready ", patience)
        except BenchError:
            self.stop()
            raise
        self.started = time.monotonic() - begin

    def verb(self, *arguments: str) -> tuple[str, float]:
        """The stdout of a command and how long it took, its own start included."""
        begin = time.monotonic()
        done = subprocess.run(
            [build.program(), *arguments, "--state-dir", str(self.state)],
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "COLUMNS": "200"},
        )
        if done.returncode != 0:
            raise BenchError(f"edgesip {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout, time.monotonic() - begin

    def ask(self, *arguments: str) -> Any:
        """The JSON answer of a command."""
        return json.loads(self.verb(*arguments, "-o", "json")[0])


def add_users(state: Path, names: Sequence[str]) -> None:
    """Subscribers with the one password, before the server starts."""
    state.mkdir(parents=True, exist_ok=True)
    users = SqliteSubscribers(subscribers_db(state))
    for name in names:
        users.add(name, PASSWORD, "edgesip")
    users.close()


class Kamailio(Child):
    """Kamailio with `rig/kamailio.cfg`; `words` are its WITH_ switches."""

    def __init__(self, directory: Path, words: Sequence[str], core: int | None) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        defines = [f"WITH_{word}" for word in words]
        if "SQLITE" in words:
            database = directory / "kamailio.db"
            with sqlite3.connect(database) as connection:
                for name in ("standard", "usrloc"):
                    connection.executescript((_SQL / f"{name}-create.sql").read_text())
            connection.close()
            defines += [f'DBURL="sqlite:///{database}"', f'DBMODE="{database}=WAL"']
        if "RTPENGINE" in words:
            defines.append(f'ENGINE="udp:{HOST}:{NG_PORT}"')
        super().__init__(
            "kamailio",
            [
                *("kamailio", "-DD", "-E", "-f", str(_CFG), "-m", "256", "-M", "16"),
                *("-Y", str(directory), *(part for define in defines for part in ("-A", define))),
            ],
            directory / "kamailio.log",
            core,
        )
        settle(self)


class Rtpengine(Child):
    """rtpengine without its kernel module, one worker on the one core; its command begins with `inside`."""

    def __init__(
        self, directory: Path, core: int | None, host: str = HOST, inside: Sequence[str] = ()
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        low, high = ENGINE_PORTS
        super().__init__(
            "rtpengine",
            [
                *(
                    *inside,
                    "rtpengine",
                    "--config-file=none",
                    "--foreground",
                    "--log-stderr",
                    "--log-level=4",
                ),
                *(f"--interface={host}", f"--listen-ng={host}:{NG_PORT}", "--table=-1", "--num-threads=1"),
                *(f"--port-min={low}", f"--port-max={high}", "--timeout=3600"),
            ],
            directory / "rtpengine.log",
            core,
        )
        settle(self)


def settle(child: Child, seconds: float = 1.5) -> None:
    """Give a program without a ready line its time to open; BenchError when it ended instead."""
    time.sleep(seconds)
    if not child.alive():
        raise BenchError(f"{child.name} ended:\n{child.text()[-2000:]}")


def versions() -> dict[str, str]:
    """What was measured against what."""
    asked = {
        "python": [build.interpreter(), "--version"],
        "edgesip": [build.program(), "--version"],
        "kamailio": ["kamailio", "-v"],
        "rtpengine": ["rtpengine", "-v"],
    }
    found = {"kernel": os.uname().release}
    for name, command in asked.items():
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=20)
        except OSError:
            continue
        lines = (done.stdout + done.stderr).strip().splitlines()
        if lines:
            found[name] = lines[0]
    return found
