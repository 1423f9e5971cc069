"""The server as the deb ships it: the bundle's interpreter, and the package with its message path compiled.

Knows where the compiling program is, not what it compiles.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from rig.process import BenchError

NEEDS = ["cc", "python headers"]
PATIENCE = 900.0
BUNDLED = os.environ.get("BUNDLE_PYTHON", "/usr/bin/python3")
"""The interpreter that packaging/build-deb.sh takes. Debian's runs the same code in four fifths of the time
of one that was built without a profile, as many are that are built by hand.
"""
_CHOSEN = "EDGESIP_BENCH_PYTHON"


def interpreter() -> str:
    """The interpreter under test: this one, unless `shipped` has made another."""
    return os.environ.get(_CHOSEN, sys.executable)


def program() -> str:
    """The command `edgesip` of that interpreter."""
    return str(Path(interpreter()).parent / "edgesip")


def shipped(root: Path, room: Path) -> None:
    """From now on the package of the checkout `root` is measured as the deb has it, made inside `room`."""
    venv = room / "venv"
    python = str(venv / "bin" / "python")
    _done("an environment", [BUNDLED, "-m", "venv", str(venv)])
    wanted = [str(root), "mypy>=1.11,<3", "setuptools>=77"]
    _done("installing", [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *wanted])
    tree = room / "compiled"
    shutil.copytree(root / "edgesip", tree / "edgesip", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    _done("compiling", [python, str(root / "packaging" / "compiled.py"), str(tree)])
    os.environ["PYTHONPATH"] = str(tree)
    os.environ[_CHOSEN] = python


def _done(what: str, command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    if done.returncode != 0:
        raise BenchError(f"{what} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
