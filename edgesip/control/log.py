"""The log: one line an event on stderr, keys and quoted values, so that no octet from outside breaks a line.

Holds the form of a line and nothing of what is worth one.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


def configure(level: str = "info") -> None:
    """Set the process's log up; to be called once, at the start."""
    structlog.configure(
        processors=[
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(
                key_order=["timestamp", "level", "event", "call_id"], drop_missing=True
            ),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
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
