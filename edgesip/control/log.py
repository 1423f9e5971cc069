"""The log: one line an event on stderr, keys and quoted values, so that no octet from outside breaks a line.

Holds the form of a line and nothing of what is worth one.
"""

from __future__ import annotations

import io
import logging
import re
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, TextIO

import structlog

LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


LONGEST: Final = 300
"""Characters of one value at most."""
_PASSWORD: Final = re.compile(r"(sips?:[^:@\s]*):[^@\s]*@", re.IGNORECASE)


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


class Lines:
    """Where lines go: structlog's logger, and for the way of a message a shorter road to the same place.

    A line that cannot be written is lost and counted: a full disk must not stop a call.
    """

    def __init__(self, stream: TextIO, level: str = "info", stamp: Callable[[], str] | None = None) -> None:
        self._stream = stream
        self._flushed = stream.line_buffering if isinstance(stream, io.TextIOWrapper) else False
        self._least = LEVELS[level]
        self._stamp = stamp or Stamp()
        self.lost = 0

    def line(self, level: str, event: str, fields: Mapping[str, Any]) -> None:
        """Write one event, if its level is worth it."""
        if LEVELS[level] >= self._least:
            self.msg(self._text(level, event, fields))

    def render(self, _: Any, level: str, fields: Any) -> str:
        """structlog's last processor: the fixed keys first, then the others in their order."""
        event, error = fields.pop("event"), fields.pop("exception", None)
        text = self._text(level, event, fields)
        return text if error is None else f"{text} exception={error!r}"

    def _text(self, level: str, event: str, fields: Mapping[str, Any]) -> str:
        parts = [f"timestamp='{self._stamp()}' level='{level}' event={event!r}"]
        if "call_id" in fields:
            parts.append(f"call_id={_value(fields['call_id'])}")
        for name, value in fields.items():
            if name != "call_id":
                parts.append(f"{name}={_value(value)}")
        return " ".join(parts)

    def msg(self, text: str) -> None:
        """Write a line, or count that it was lost."""
        try:
            self._stream.write(text + "\n")
            if not self._flushed:
                self._stream.flush()
        except (OSError, ValueError):
            self.lost += 1

    debug = msg
    info = msg
    warning = msg
    error = msg
    critical = msg


def configure(level: str = "info") -> None:
    """Set the process's log up; to be called once, at the start."""
    lines = Lines(sys.stderr, level)
    structlog.configure(
        processors=[structlog.processors.format_exc_info, lines.render],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=True,
    )


def writer(name: str) -> Any:
    """A function (level, event, fields) that writes a line; `exc` among the fields is an exception."""
    logger = structlog.get_logger(name)
    found: list[Lines] = []

    def write(level: str, event: str, fields: dict[str, Any]) -> None:
        error = fields.pop("exc", None)
        if error is not None:
            fields["exc_info"] = error
        if not found:
            lines = structlog.get_config()["logger_factory"](name)
            found.extend([lines] if isinstance(lines, Lines) else [])
        if found and error is None:
            found[0].line(level, event, fields)
        else:
            logger.log(LEVELS[level], event, **fields)

    return write
