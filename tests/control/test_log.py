"""The log: nothing from outside breaks a line, no password is in it, a full disk stops nobody."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator

import pytest
import structlog
from hostile import hostile

from edgesip.control import log


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    before = structlog.get_config()
    log.configure()
    structlog.configure(cache_logger_on_first_use=False)
    yield stream
    structlog.configure(**before)


def test_an_event_is_one_line_whatever_is_in_it(lines: io.StringIO) -> None:
    log.writer("x")("info", "refused", {"call_id": "a\r\nb\x1b[31m\udc80", "why": "x" * 1000})
    (line,) = lines.getvalue().splitlines()
    assert "event='refused'" in line
    assert "\\r\\nb\\x1b[31m\\udc80" in line
    assert len(line) < 500


def test_hostile_text_is_a_quoted_line_of_plain_characters(lines: io.StringIO) -> None:
    for text in hostile():
        log.writer("x")("info", "authentication failed", {"user": text, "why": "unknown user"})
    shown = lines.getvalue()
    assert shown.count("\n") == 300
    assert re.fullmatch(r"[ -~\n\xa1-\uffff]*", shown)
    assert not re.search("[\u2028\u202e\x85]", shown)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("sip:bob:S3CRET@example.net", "sip:bob@example.net"),
        ("<SIPS:bob:S3CRET@example.net>;x=1", "<SIPS:bob@example.net>;x=1"),
        ("sip:bob@example.net:5060", "sip:bob@example.net:5060"),
        ("sip:example.net:5060", "sip:example.net:5060"),
    ],
)
def test_a_password_in_a_uri_is_not_logged(lines: io.StringIO, text: str, shown: str) -> None:
    log.writer("x")("warning", "refused", {"ruri": text})
    assert f"ruri='{shown}'" in lines.getvalue()
    assert "S3CRET" not in lines.getvalue()


def test_an_exception_comes_with_its_traceback_and_debug_is_off(lines: io.StringIO) -> None:
    write = log.writer("x")
    write("error", "failed", {"exc": ZeroDivisionError("why")})
    write("debug", "nothing", {})
    assert "ZeroDivisionError: why" in lines.getvalue()
    assert "nothing" not in lines.getvalue()


def test_a_line_that_cannot_be_written_is_counted_and_lost() -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

        def flush(self) -> None:
            raise ValueError("closed")

    full = log.Lines(Full())
    full.msg("line")
    full.line("info", "started", {"call_id": "c"})
    full.line("debug", "unseen", {})
    assert full.lost == 2
