"""What it costs a call that it outlives the process: its rows in calls.db, and its return at the start."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from rig.figure import Bench, Figure
from rig.process import BenchError, pinned

NEEDS: tuple[str, ...] = ()
SCRIPT = Path(__file__).parent.parent / "rig" / "kept.py"


def run(bench: Bench) -> list[Figure]:
    """Best of three turns each, CPU time of one call in microseconds."""
    turns = [_measured(bench, bench.directory / f"calls-{turn}.db") for turn in range(bench.pick(1, 3))]
    best = {name: min(turn[name] for turn in turns) for name in turns[0]}
    return [Figure(f"kept.{name}", name, took, "us") for name, took in best.items()]


def _measured(bench: Bench, path: Path) -> dict[str, float]:
    command = pinned(bench.cores.server, [sys.executable, str(SCRIPT), str(bench.pick(500, 2000)), str(path)])
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        raise BenchError(f"kept: {done.stderr[-2000:]}")
    return dict(json.loads(done.stdout))
