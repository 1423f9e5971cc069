"""Coverage-guided fuzzing of every target, each for a bounded time; FUZZ_SECONDS makes it longer."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from fuzz_targets import TARGETS

HARNESS = Path(__file__).parent / "fuzz_harness.py"
SECONDS = int(os.environ.get("FUZZ_SECONDS", "60"))
SHORT = {"digest", "media", "stun"}  # small, and seen through in a moment


@pytest.mark.long
@pytest.mark.parametrize("target", TARGETS)
def test_nothing_is_found(target: str, tmp_path: Path) -> None:
    seconds = SECONDS // 6 if target in SHORT else SECONDS
    done = subprocess.run(
        [sys.executable, str(HARNESS), target, "--seconds", str(seconds), "--corpus", str(tmp_path)],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=seconds * 2 + 120,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-8000:]
    runs = re.search(r"Done (\d+) runs", said)
    assert runs is not None, said[-2000:]
    assert int(runs[1]) > 1000
