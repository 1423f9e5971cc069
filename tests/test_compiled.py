"""What the deb ships is compiled: the same tests hold for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CHOSEN = "not wire and not long and not pure"
"""`pure` are tests that put something of their own in a method's place, which compiled code refuses."""


@pytest.mark.long
def test_the_compiled_rooms_pass_the_same_tests(tmp_path: Path) -> None:
    if not shutil.which("cc") or not Path(sysconfig.get_path("include"), "Python.h").exists():
        pytest.skip("needs a C compiler and Python's headers: apt-get install gcc python3-dev")
    shutil.copytree(
        ROOT / "edgesip", tmp_path / "edgesip", ignore=shutil.ignore_patterns("__pycache__", "*.so")
    )
    compiler = [sys.executable, str(ROOT / "packaging" / "compiled.py"), str(tmp_path)]
    built = subprocess.run(compiler, capture_output=True, text=True, timeout=1200)
    assert built.returncode == 0, built.stdout[-4000:] + built.stderr[-4000:]

    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    where = [sys.executable, "-c", "import edgesip.signal.core; print(edgesip.signal.core.__file__)"]
    found = subprocess.run(where, capture_output=True, text=True, timeout=60, env=environment, cwd=tmp_path)
    assert found.stdout.strip().endswith(".so"), found.stdout + found.stderr

    tests = [str(ROOT / "tests" / name) for name in ("signal", "relay", "script", "test_ends.py")]
    pytest_ = str(Path(sys.executable).parent / "pytest")
    done = subprocess.run(
        [pytest_, "-q", "-x", "-p", "no:cacheprovider", "-m", CHOSEN, *tests],
        capture_output=True,
        text=True,
        timeout=1200,
        env=environment,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout[-6000:]
