"""How a verb fails: one exception, one exit code, one sentence."""

from __future__ import annotations

FAILED = 1
USAGE = 2
NOT_FOUND = 3
UNREACHABLE = 4
BAD_CONFIG = 78
"""EX_CONFIG of sysexits.h."""


class Fail(Exception):
    """Ends the program with an exit code and a message on stderr."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
