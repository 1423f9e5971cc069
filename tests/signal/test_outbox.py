"""What a batch leaves: requests before the word that they are on their way, lines for the log at the end."""

from __future__ import annotations

from edgesip.address import Addr, Flow
from edgesip.signal.net.outbox import Outbox
from edgesip.signal.proxy.inbound import note

ALICE = Flow("udp", Addr("203.0.113.1", 5060), Addr("198.51.100.1", 5060))
BOB = Flow("udp", Addr("203.0.113.1", 5060), Addr("198.51.100.2", 5060))


def test_what_goes_on_leaves_first_and_lines_are_written_last() -> None:
    done: list[object] = []
    out = Outbox(
        lambda flow, data: done.append((flow, data)),
        lambda level, event, fields: done.append((event, fields)),
    )
    out.say(note("info", "call started", "a@b", branches=1))
    out.sends += [
        (ALICE, b"SIP/2.0 100 Trying\r\n"),
        (BOB, b"INVITE sip:bob SIP/2.0\r\n"),
        (ALICE, b"SIP/2.0 180"),
        (ALICE, b"SIP/2.0 100 Giving a try\r\n"),
    ]
    out.flush()
    assert done == [
        (BOB, b"INVITE sip:bob SIP/2.0\r\n"),
        (ALICE, b"SIP/2.0 100 Trying\r\n"),
        (ALICE, b"SIP/2.0 180"),
        (ALICE, b"SIP/2.0 100 Giving a try\r\n"),
        ("call started", {"branches": 1, "call_id": "a@b"}),
    ]
    done.clear()
    out.flush()
    assert done == []


def test_what_is_said_while_lines_are_written_is_for_the_next_time() -> None:
    lines: list[str] = []

    def log(level: str, event: str, fields: dict[str, object]) -> None:
        lines.append(event)
        if len(lines) == 1:
            out.say(note("error", "more"))

    out = Outbox(lambda flow, data: None, log)
    out.say(note("info", "one"))
    out.flush()
    assert lines == ["one"]
    out.flush()
    assert lines == ["one", "more"]
