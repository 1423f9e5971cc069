"""How a verb fails: one exception, one exit code, one sentence."""

from __future__ import annotations

FAILED = 1
"""It could not be done; the message says why."""
USAGE = 2
"""The command line cannot be read: an unknown verb or option, a missing argument."""
NOT_FOUND = 3
"""What was asked for is not there: a user, a contact, a statistic, a method."""
UNREACHABLE = 4
"""No server answers on the control socket, or it may not be asked."""
BAD_CONFIG = 78
"""EX_CONFIG of sysexits.h: a profile, an option's value, an address or the state directory cannot be used."""


class Fail(Exception):
    """Ends the program with an exit code and a message on stderr."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
