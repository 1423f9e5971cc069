"""What a check of `edgesip doctor` comes to: one line, good or not, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

OK, WARN, FAIL = "ok", "warn", "fail"


class Finding(NamedTuple):
    """One line: `level` is ok, warn or fail, `check` what was looked at, `do` what an operator can do."""

    level: str
    check: str
    text: str
    do: str = ""


def ok(check: str, text: str) -> Finding:
    """Nothing to do."""
    return Finding(OK, check, text)


def warn(check: str, text: str, do: str) -> Finding:
    """It works, or may work; somebody should look at it."""
    return Finding(WARN, check, text, do)


def fail(check: str, text: str, do: str) -> Finding:
    """It does not work like this."""
    return Finding(FAIL, check, text, do)


def broken(findings: Iterable[Finding]) -> bool:
    """True when anything has failed."""
    return any(one.level == FAIL for one in findings)
