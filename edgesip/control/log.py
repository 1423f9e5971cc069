"""The log: one line an event on stderr, keys and quoted values, so that no octet from outside breaks a line.

Holds the form of a line and nothing of what is worth one.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Callable
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


class Stamp:
    """The time of a line in UTC; the part down to the second is worked out once a second."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._second = -1
        self._text = ""

    def __call__(self) -> str:
        """The time now, to the millisecond."""
        now = self._clock()
        second = int(now)
        if second != self._second:
            self._second = second
            self._text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._text}.{int((now - second) * 1000):03d}Z"


def _value(value: object) -> str:
    """A value as it may be read by anybody: cut, quoted, and without the password of a URI."""
    if not isinstance(value, str):
        return repr(value)
    text = value[:LONGEST] if len(value) > LONGEST else value
    if text.count(":", 0, text.rfind("@") + 1) > 1:
        text = _PASSWORD.sub(r"\1@", text)
    return repr(text)


def renderer(stamp: Callable[[], str]) -> Callable[[Any, str, Any], str]:
    """structlog's last processor: the fixed keys first, then the others in their order."""

    def render(_: Any, method: str, fields: Any) -> str:
        event, error = fields.pop("event"), fields.pop("exception", None)
        line = f"timestamp='{stamp()}' level='{method}' event={event!r}"
        if "call_id" in fields:
            line += f" call_id={_value(fields.pop('call_id'))}"
        for name, value in fields.items():
            line += f" {name}={_value(value)}"
        return f"{line} exception={error!r}" if error is not None else line

    return render


def configure(level: str = "info") -> None:
    """Set the process's log up; to be called once, at the start."""
    structlog.configure(
        processors=[structlog.processors.format_exc_info, renderer(Stamp())],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, Lines(sys.stderr))),
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
