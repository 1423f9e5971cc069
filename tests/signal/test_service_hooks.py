"""Hooks on a loop: event hooks and save_failed, plain and async, and what becomes of those that raise."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from test_service import HEAD, House, visit

from edgesip.script import load

ROUTE = HEAD + "def request(call):\n    return Save()\n\ntold = []\n"


def house(directory: Path, text: str) -> House:
    path = directory / "route.py"
    path.write_text(ROUTE + text)
    return House(load(path))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("def tcp_closed(event):\n    told.append(event.fmt('$proto $si'))\n", ""),
        (
            "async def tcp_closed(event):\n    await asyncio.sleep(0.01)\n"
            "    told.append(event.fmt('$proto $si'))\n",
            "",
        ),
        (
            "def tcp_closed(event):\n    told.append(1 / 0)\n",
            "ZeroDivisionError: division by zero (line 8 in",
        ),
        ("async def tcp_closed(event):\n    told.append(1 / 0)\n", "ZeroDivisionError: division by zero"),
        (
            "def tcp_closed(event):\n    told.append(event.fmt('$rs' + ''))\n",
            "ValueError: $rs: not known here",
        ),
    ],
)
def test_an_event_hook_is_told_and_its_faults_are_one_line(tmp_path: Path, text: str, why: str) -> None:
    at = house(tmp_path, text)
    told = at.talk.script.request.__globals__["told"]
    bob = at.talk.phone("bob", transport="tcp")

    async def go() -> None:
        at.service.start(asyncio.get_running_loop())
        at.service._closed(bob.flow)
        await at.until(lambda: told or at.lines)
        await at.service.stop()

    asyncio.run(go())
    assert told == ([] if why else [f"tcp {bob.at.host}"])
    lines = [(level, event, fields["why"]) for level, event, fields in at.lines]
    assert [(level, event) for level, event, _ in lines] == ([("error", "event hook failed")] if why else [])
    assert not why or lines[0][2].startswith(why)


@pytest.mark.parametrize(
    ("text", "status", "lines"),
    [
        ("", b"423 ", ["refused"]),
        (
            "def save_failed(call):\n    return Reply(403, call.reason)\n",
            b"403 Interval Too Brief",
            ["refused"],
        ),
        (
            "async def save_failed(call):\n    await asyncio.sleep(0)\n    return Reply(call.status + 1)\n",
            b"424 ",
            ["refused"],
        ),
        ("def save_failed(call):\n    return Save()\n", b"423 ", ["refused"]),
        ("async def save_failed(call):\n    return Save()\n", b"423 ", ["refused"]),
        ("def save_failed(call):\n    return 1 / 0\n", b"500 ", ["route script failed", "refused"]),
        ("async def save_failed(call):\n    return 1 / 0\n", b"500 ", ["route script failed", "refused"]),
    ],
)
def test_a_registration_that_is_refused_is_asked_about(
    tmp_path: Path, text: str, status: bytes, lines: list[str]
) -> None:
    at = house(tmp_path, text)
    bob = at.talk.phone("bob")
    packet = bob.request(
        "REGISTER", "sip:203.0.113.1", to="<sip:bob@203.0.113.1>", headers=[("Expires", "10")]
    )
    asyncio.run(visit(at, [packet], lambda: at.sent))
    assert at.sent[0][1].startswith(b"SIP/2.0 " + status)
    assert [event for _, event, _ in at.lines] == lines
