"""The log: one line an event on stderr, keys and quoted values, so that no octet from outside breaks a line.

Holds the form of a line and nothing of what is worth one.
"""

from __future__ import annotations

import logging
import re
import sys
from typing import Any, TextIO, cast

import structlog

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


LONGEST = 300
"""Characters of one value at most."""
_PASSWORD = re.compile(r"(sips?:[^:@\s]*):[^@\s]*@", re.IGNORECASE)


class Lines:
    """Where lines go. One that cannot be written is lost and counted: a full disk must not stop a call."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.lost = 0

    def write(self, text: str) -> int:
        """Write, or count what was lost."""
        try:
            return self._stream.write(text)
        except (OSError, ValueError):
            self.lost += 1
            return 0

    def flush(self) -> None:
        """Flush, or count what was lost."""
        try:
            self._stream.flush()
        except (OSError, ValueError):
            self.lost += 1


def _shown(_: Any, __: str, fields: Any) -> Any:
    """Values as they may be read by anybody: cut, and without the password of a URI."""
    for name, value in fields.items():
        if isinstance(value, str) and name not in ("exception", "timestamp"):
            fields[name] = _PASSWORD.sub(r"\1@", value[:LONGEST])
    return fields


def configure(level: str = "info") -> None:
    """Set the process's log up; to be called once, at the start."""
    structlog.configure(
        processors=[
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            _shown,
            structlog.processors.KeyValueRenderer(
                key_order=["timestamp", "level", "event", "call_id"], drop_missing=True
            ),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, Lines(sys.stderr))),
        cache_logger_on_first_use=True,
    )


def writer(name: str) -> Any:
    """A function (level, event, fields) that writes a line."""
    logger = structlog.get_logger(name)

    def write(level: str, event: str, fields: dict[str, Any]) -> None:
        error = fields.pop("exc", None)
        if error is not None:
            fields["exc_info"] = error
        logger.log(_LEVELS[level], event, **fields)

    return write
