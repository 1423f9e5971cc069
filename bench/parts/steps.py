"""What the steps of a message cost inside the server, one by one: as compiled, beside the sources."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from rig.build import interpreter
from rig.figure import Bench, Figure
from rig.process import BenchError, pinned

NEEDS: tuple[str, ...] = ()
SCRIPT = Path(__file__).parent.parent / "rig" / "steps.py"


def run(bench: Bench) -> list[Figure]:
    """Best of three turns each; without a compiled package, the sources alone."""
    tree = os.environ.get("PYTHONPATH", "")
    sources = _best(bench, "")
    compiled = _best(bench, tree) if tree else sources
    return [
        Figure(f"steps.{name}", name, took, "us", "the sources", sources[name] if tree else None)
        for name, took in compiled.items()
    ]


def _best(bench: Bench, tree: str) -> dict[str, float]:
    turns = [_measured(bench, tree) for _ in range(bench.pick(1, 3))]
    return {name: min(turn[name] for turn in turns) for name in turns[0]}


def _measured(bench: Bench, tree: str) -> dict[str, float]:
    command = pinned(bench.cores.server, [interpreter(), str(SCRIPT), str(bench.pick(2000, 8000))])
    environment = {**os.environ, "PYTHONPATH": tree}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    if done.returncode != 0:
        raise BenchError(f"steps: {done.stderr[-2000:]}")
    return dict(json.loads(done.stdout))
