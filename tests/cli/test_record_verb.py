"""`edgesip rtp record`: what is asked of the server, and what one reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from terminal import Fault, Terminal, answering

RECORDING = {
    "call-id": "c1",
    "from_tag": "a",
    "format": "wav",
    "file": "/var/lib/edgesip/recordings/c1=a.wav",
    "seconds": 61,
    "octets": 1952044,
    "lost": 0,
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "edgesip.sock"


@pytest.fixture
def terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("COLUMNS", "120")
    return Terminal(capsys)


@pytest.mark.parametrize(
    ("words", "asked", "said"),
    [
        (["c1"], ["rtp.record", "c1", "wav"], "recording to /var/lib/edgesip/recordings/c1=a.wav"),
        (["c1", "--pcap"], ["rtp.record", "c1", "pcap"], "recording to /var/lib"),
        (["c1", "--stop"], ["rtp.record", "c1", "stop"], "recorded /var/lib/edgesip/recordings/c1=a.wav"),
    ],
)
def test_begun_and_stopped(
    terminal: Terminal, path: Path, words: list[str], asked: list[str], said: str
) -> None:
    with answering(path, [RECORDING]) as questions:
        done = terminal("rtp", "record", *words, "--socket", path)
    assert (done.code, done.out) == (0, "")
    assert said in done.err
    assert questions == [asked]


def test_without_a_call_what_is_recorded_is_listed(terminal: Terminal, path: Path) -> None:
    with answering(path, [RECORDING]) as questions:
        done = terminal("rtp", "record", "--socket", path)
    assert questions == [["rtp.record"]]
    titles, row = done.out.splitlines()
    assert titles.split() == ["Call-ID", "Format", "For", "Bytes", "Lost", "File"]
    assert row.split()[-3:] == ["1952044", "0", RECORDING["file"]]


def test_json_is_the_answer_as_it_is(terminal: Terminal, path: Path) -> None:
    with answering(path, [RECORDING]):
        done = terminal("rtp", "record", "c1", "-o", "json", "--socket", path)
    assert json.loads(done.out) == [RECORDING]


@pytest.mark.parametrize("words", [["--pcap"], ["--stop"], ["c1", "--pcap", "--stop"]])
def test_what_makes_no_sense_is_a_usage_error(terminal: Terminal, path: Path, words: list[str]) -> None:
    assert terminal("rtp", "record", *words, "--socket", path).code == 2


def test_faults_have_their_exit_codes(terminal: Terminal, path: Path) -> None:
    with answering(path, Fault(404, "there is no call")):
        assert terminal("rtp", "record", "c9", "--socket", path).code == 3
    path.unlink()
    with answering(path, Fault(500, "its sound is no G.711: a pcap can hold it")):
        done = terminal("rtp", "record", "c1", "--socket", path)
    assert done.code == 1
    assert "a pcap can hold it" in done.err
