"""`edgesip call why`: what it prints of a call, and how it fails."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from terminal import Fault, Terminal, answering

CALL: dict[str, Any] = {
    "call-id": "1746220@198.51.100.7",
    "from_tag": "a",
    "state": "up",
    "created": 1_700_000_000,
    "answered": 1_700_000_009,
    "ended": 0,
    "note": "",
    "legs": [
        {"side": "caller", "media": "audio", "text": "media comes", "do": "", "also": []},
        {
            "side": "callee",
            "media": "audio",
            "text": "one way since 03:03:10",
            "do": "look at that phone",
            "also": [
                {"verdict": "alg", "text": "an ALG\x1b[2J", "do": "switch it off"},
                {"verdict": "pause", "text": "a pause", "do": ""},
            ],
        },
    ],
}
CLOCK = r"\d\d:\d\d:\d\d"


@pytest.fixture
def terminal(capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(capsys)


def test_each_side_has_its_verdict_and_what_to_do(terminal: Terminal, tmp_path: Path) -> None:
    with answering(tmp_path / "s", [CALL]) as asked:
        shown = terminal("call", "why", "1746220", "--socket", tmp_path / "s")
        told = terminal("call", "why", "1746220", "--socket", tmp_path / "s", "-o", "json")
    assert asked == [["call.why", "1746220"]] * 2
    assert (shown.code, shown.err) == (0, "")
    head, *lines = shown.out.splitlines()
    assert re.fullmatch(rf"1746220@198\.51\.100\.7: began {CLOCK}, answered {CLOCK}, up", head)
    assert lines == [
        "  caller audio: media comes",
        "  callee audio: one way since 03:03:10",
        "    -> look at that phone",
        "    also: an ALG\\x1b[2J",
        "      -> switch it off",
        "    also: a pause",
    ]
    assert json.loads(told.out) == [CALL]


def test_a_call_without_media_says_why(terminal: Terminal, tmp_path: Path) -> None:
    over = CALL | {"legs": [], "note": "it was not answered: 486 Busy Here", "ended": 1_700_000_020}
    with answering(tmp_path / "s", [over, CALL]):
        shown = terminal("call", "why", "1", "--socket", tmp_path / "s")
    head, note, blank, *_ = shown.out.splitlines()
    assert re.search(rf", ended {CLOCK}$", head)
    assert (note, blank) == ("  it was not answered: 486 Busy Here", "")


def test_a_call_that_nobody_knows(terminal: Terminal, tmp_path: Path) -> None:
    with answering(tmp_path / "s", Fault(404, "call not found: x")):
        outcome = terminal("call", "why", "x", "--socket", tmp_path / "s")
    assert (outcome.code, outcome.out, outcome.err) == (3, "", "edgesip: call not found: x\n")
