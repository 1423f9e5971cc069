"""The server as the deb ships it: a copy of the package with its message path compiled.

Knows where the compiling program is, not what it compiles.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from rig.process import BenchError

NEEDS = ["cc", "python headers"]
PATIENCE = 900.0


def compiled(root: Path, room: Path) -> Path:
    """A folder for PYTHONPATH with the package of the checkout `root`, compiled; it is made inside `room`."""
    tree = room / "compiled"
    shutil.copytree(root / "edgesip", tree / "edgesip", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    done = subprocess.run(
        [sys.executable, str(root / "packaging" / "compiled.py"), str(tree)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    if done.returncode != 0:
        raise BenchError(f"compiling failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return tree
