"""`edgesip dns` and `edgesip blocklist`: what they ask, what they print, how they fail."""

import json
from pathlib import Path
from typing import Any

import pytest
from terminal import Fault, Terminal, answering

FOUND: dict[str, Any] = {
    "name": "x.example",
    "failed": False,
    "hops": [
        {"proto": "tcp", "ip": "192.0.2.1", "port": 5060, "blocked": "did not answer"},
        {"proto": "udp", "ip": "2001:db8::1", "port": 5062, "blocked": ""},
    ],
    "answers": [],
}
ENTRIES = [
    {
        "name": "_sip._udp.x.example",
        "type": "SRV",
        "expires": 30,
        "failed": False,
        "records": [{"rr_name": "a.example", "rr_port": 5062, "rr_priority": 1, "rr_weight": 2}],
    },
    {"name": "none.example", "type": "A", "expires": 9, "failed": False, "records": []},
    {"name": "dead.example", "type": "A", "expires": 4, "failed": True, "records": []},
]


@pytest.fixture
def terminal(capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(capsys)


def test_lookup_prints_the_hops_in_order(terminal: Terminal, tmp_path: Path) -> None:
    path = tmp_path / "s"
    with answering(path, FOUND) as asked:
        shown = terminal("dns", "lookup", "x.example", "--socket", path)
        told = terminal("dns", "lookup", "x.example", "--socket", path, "-o", "json")
    assert asked == [["dns.lookup", "x.example"]] * 2
    assert (shown.code, shown.err) == (0, "")
    assert [line.split() for line in shown.out.splitlines()[1:]] == [
        ["tcp", "192.0.2.1", "5060", "did", "not", "answer"],
        ["udp", "2001:db8::1", "5062", "is", "tried"],
    ]
    assert json.loads(told.out) == FOUND


@pytest.mark.parametrize(
    ("failed", "code", "why"),
    [(False, 3, "nothing leads to x.example"), (True, 1, "DNS did not answer for x.example")],
)
def test_a_name_that_leads_nowhere(
    terminal: Terminal, tmp_path: Path, failed: bool, code: int, why: str
) -> None:
    with answering(tmp_path / "s", FOUND | {"hops": [], "failed": failed}):
        outcome = terminal("dns", "lookup", "x.example", "--socket", tmp_path / "s")
    assert (outcome.code, outcome.out) == (code, "")
    assert why in outcome.err


def test_list_shows_records_as_a_zone_file_does(terminal: Terminal, tmp_path: Path) -> None:
    with answering(tmp_path / "s", ENTRIES) as asked:
        outcome = terminal("dns", "list", "--socket", tmp_path / "s")
    assert asked == [["dns.list"]]
    assert "1 2 5062 a.example" in outcome.out
    assert "(does not exist)" in outcome.out
    assert "(no answer came)" in outcome.out


def test_flush_says_what_the_server_says(terminal: Terminal, tmp_path: Path) -> None:
    with answering(tmp_path / "s", "Ok. Answers forgotten: 2") as asked:
        assert terminal("dns", "flush", "--socket", tmp_path / "s").err == "Ok. Answers forgotten: 2\n"
        assert terminal("blocklist", "flush", "--socket", tmp_path / "s").code == 0
    assert asked == [["dns.delete_all"], ["dst_blocklist.delete_all"]]


def test_the_blocklist_is_listed_and_added_to(terminal: Terminal, tmp_path: Path) -> None:
    row = {"ip": "192.0.2.1", "port": 5060, "proto": "udp", "expires": "never", "reason": "by order"}
    with answering(tmp_path / "s", [row]):
        outcome = terminal("blocklist", "list", "--socket", tmp_path / "s")
    assert outcome.out.splitlines()[1].split() == ["udp", "192.0.2.1", "5060", "never", "by", "order"]
    (tmp_path / "s").unlink()
    with answering(tmp_path / "s", "Ok. Nothing is sent there") as asked:
        assert terminal("blocklist", "add", "192.0.2.1", "5060", "--socket", tmp_path / "s").code == 0
        terminal("blocklist", "add", "192.0.2.1", "5061", "tls", "--for", "60", "--socket", tmp_path / "s")
    assert asked == [
        ["dst_blocklist.add", "192.0.2.1", "5060", "udp"],
        ["dst_blocklist.add", "192.0.2.1", "5061", "tls", 60],
    ]


def test_a_refusal_is_told(terminal: Terminal, tmp_path: Path) -> None:
    with answering(tmp_path / "s", Fault(-32602, "Invalid params: PORT must be a number")):
        outcome = terminal("blocklist", "add", "192.0.2.1", "x", "--socket", tmp_path / "s")
    assert (outcome.code, "PORT must be a number" in outcome.err) == (1, True)
