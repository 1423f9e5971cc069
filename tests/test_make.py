"""The two commands of the README, as far as make itself tells what they would do."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent


def plan(*targets: str) -> str:
    done = subprocess.run(
        ["make", "-n", *targets], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


def test_make_run_says_how_to_add_two_users_and_what_to_type_and_starts_the_profile() -> None:
    text = plan("run", "ARGS=--advertise 192.0.2.5")
    for word in ("subscriber add alice", "subscriber add bob", "Type into each phone", "ul lookup alice"):
        assert word in text
    assert "edgesip run --profile nat-sbc --advertise 192.0.2.5" in text


def test_make_test_checks_style_then_units_then_the_wire() -> None:
    text = plan("test")
    places = [
        text.index(part) for part in ("ruff check", "mypy", "not wire and not long", "'wire and not long'")
    ]
    assert places == sorted(places)


def test_ci_runs_the_quick_tests_first() -> None:
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    assert lines.index("make test") < lines.index("make test-long")
    assert "set -euo pipefail" in lines
