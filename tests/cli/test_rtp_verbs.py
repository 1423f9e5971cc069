"""`edgesip rtp ...`: what the verbs ask, and what people see of the answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from terminal import Fault, Terminal, answering

LEG = {
    "side": "caller",
    "media": "audio",
    "said": "192.168.1.9:4000",
    "told": "192.0.2.1:20000",
    "remote": "203.0.113.7:7078",
    "state": "locked",
    "rank": "2a",
    "packets": 500,
    "heard": 3,
    "src_mismatch": 0,
    "invalid": 1,
    "withheld": 2,
    "direction": "sendrecv",
    "carried_by": "user",
    "because": "both ends are settled",
    "quality": {},
}
HOW = {
    "codec": "PCMU",
    "ssrc": "0000000a",
    "lost": 2,
    "loss": 0.4,
    "reordered": 1,
    "duplicates": 0,
    "jitter": 3.25,
    "rtt": None,
    "mos": 4.38,
    "mos_lowest": 4.1,
    "dtmf": 5,
}
SESSION: dict[str, Any] = {
    "call-id": "c1",
    "state": "answered",
    "ended_by": "",
    "ended": -1,
    "age": 70,
    "duration": 61,
    "timeout_in": 57,
    "on_hold": False,
    "blocked": [],
    "branches": 1,
    "legs": [LEG],
}
INTERFACE = {"setid": 0, "url": "relay", "index": 0, "disabled": 1, "weight": 1, "recheck": 0}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "edgesip.sock"


@pytest.fixture
def terminal(capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(capsys)


@pytest.mark.parametrize(
    ("verb", "question", "result"),
    [
        (["show", "c1"], ["rtp.show", "c1"], [SESSION]),
        (["destroy", "c1"], ["rtp.destroy", "c1"], "Ok. Its media is over"),
        (["block", "c1"], ["rtp.block", "c1", "both"], "Ok. Blocked"),
        (["block", "c1", "callee"], ["rtp.block", "c1", "callee"], "Ok. Blocked"),
        (["unblock", "c1", "caller"], ["rtp.unblock", "c1", "caller"], "Ok. Goes through"),
        (["stats"], ["rtp.stats"], {"sessions": 1}),
        (["interfaces"], ["rtpproxy.list"], [INTERFACE]),
        (["disable"], ["rtpproxy.enable", "all", "0"], "Ok. Takes no new calls"),
        (["enable", "inside"], ["rtpproxy.enable", "inside", "1"], "Ok. Takes new calls"),
    ],
)
def test_a_verb_asks_its_question_and_json_is_the_result_as_it_is(
    terminal: Terminal, path: Path, verb: list[str], question: list[Any], result: Any
) -> None:
    with answering(path, result) as asked:
        outcome = terminal("rtp", *verb, "--socket", path, "-o", "json")
    assert (outcome.code, asked, json.loads(outcome.out)) == (0, [question], result)


def shown(terminal: Terminal, path: Path, **changed: Any) -> str:
    """The sentence above the table."""
    with answering(path, [SESSION | changed]):
        return terminal("rtp", "show", "c1", "--socket", path).err.strip()


def test_a_call_has_a_sentence_and_a_line_for_each_side(terminal: Terminal, path: Path) -> None:
    with answering(path, [SESSION]):
        outcome = terminal("rtp", "show", "c1", "--socket", path)
    assert outcome.err == "c1, answered 00:01:01 ago, ends in 57 s without media\n"
    assert outcome.out.splitlines() == [
        "Side    Media  Says              Is told          Sent to           State   Rank  Packets  Heard"
        "    Dropped  Direction  Carried by  Because",
        "caller  audio  192.168.1.9:4000  192.0.2.1:20000  203.0.113.7:7078  locked  2a    500      3 s ago"
        "  3        sendrecv   user        both ends are settled",
    ]


def test_how_it_came_in_is_a_table_of_its_own(terminal: Terminal, path: Path) -> None:
    with answering(path, [SESSION | {"legs": [LEG | {"quality": HOW}, LEG | {"side": "callee"}]}]):
        lines = terminal("rtp", "show", "c1", "--socket", path).out.splitlines()
    assert lines[3:] == [
        "Side    Media  Codec  SSRC      Lost       Late  Twice  Jitter   Trip  MOS   Lowest  Keys",
        "caller  audio  PCMU   0000000a  2 (0.4 %)  1     0      3.25 ms  -     4.38  4.1     5",
    ]


def test_strangers_and_silence_are_named(terminal: Terminal, path: Path) -> None:
    with answering(path, [SESSION | {"legs": [LEG | {"heard": -1, "src_mismatch": 9}]}]):
        row = terminal("rtp", "show", "c1", "--socket", path).out.splitlines()[1]
    assert "never" in row
    assert "12, 9 of strangers" in row


def test_the_sentence_says_how_it_stands(terminal: Terminal, tmp_path: Path) -> None:
    paths = (tmp_path / f"{number}.sock" for number in range(9))
    assert shown(terminal, next(paths), on_hold=True, timeout_in=3600) == (
        "c1, answered 00:01:01 ago, on hold, ends in 3600 s without media"
    )
    assert shown(terminal, next(paths), state="offered", branches=3) == (
        "c1, offered 00:01:10 ago, not answered, 3 branches"
    )
    assert shown(terminal, next(paths), blocked=["caller", "callee"]).endswith("blocked: caller and callee")
    ended = {"state": "ended", "ended": 12, "ended_by": "silent_timeout"}
    assert shown(terminal, next(paths), **ended) == (
        "c1, ended 00:00:12 ago on hold for too long, lasted 00:01:01"
    )


def test_what_was_counted_is_a_list_of_numbers(terminal: Terminal, path: Path) -> None:
    result = {"sessions": 1, "takes_new_calls": False, "closed_sessions": {"timeout": 2, "rejected": 3}}
    with answering(path, result):
        outcome = terminal("rtp", "stats", "--socket", path)
    assert outcome.out.splitlines() == [
        "What                      Number",
        "sessions                  1",
        "takes new calls           no",
        "closed sessions timeout   2",
        "closed sessions rejected  3",
    ]


def test_what_takes_calls_is_said_in_words(terminal: Terminal, path: Path) -> None:
    with answering(path, [INTERFACE, INTERFACE | {"url": "inside", "disabled": 0}]):
        outcome = terminal("rtp", "interfaces", "--socket", path)
    assert outcome.out.splitlines() == [
        "URL     State",
        "relay   drained: no new calls",
        "inside  takes calls",
    ]


def test_a_call_that_nobody_knows_is_3(terminal: Terminal, path: Path) -> None:
    with answering(path, Fault(404, "call not found: no media session of c9")):
        outcome = terminal("rtp", "show", "c9", "--socket", path)
    assert (outcome.code, outcome.out) == (3, "")
    assert "call not found" in outcome.err
