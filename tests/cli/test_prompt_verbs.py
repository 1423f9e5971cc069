"""`edgesip prompt`: prompts made of WAV files, listed, played and stopped."""

from __future__ import annotations

import json
import os
import stat
import wave
from pathlib import Path

import pytest
from terminal import Fault, Terminal, answering

from edgesip.relay.shelf import Shelf


@pytest.fixture
def terminal(capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(capsys)


def recording(path: Path, rate: int = 44100, channels: int = 2, seconds: float = 0.5) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(b"\x00\x10" * round(rate * channels * seconds))
    return path


def test_a_wav_file_becomes_a_prompt_of_the_server(terminal: Terminal, tmp_path: Path) -> None:
    file = recording(tmp_path / "hold.wav")
    done = terminal("prompt", "make", file, "hold", "--state-dir", tmp_path / "state")
    assert (done.code, done.out) == (0, "")
    assert done.err.startswith("hold: 0.5 seconds in PCMU, ")
    prompt = Shelf([tmp_path / "state" / "prompts"]).find("hold")
    assert prompt is not None
    assert len(prompt.tracks[0]) == len(prompt.tracks[8]) == 4000
    assert stat.S_IMODE(os.stat(tmp_path / "state" / "prompts" / "hold.0").st_mode) & 0o400


def test_another_directory_and_json(terminal: Terminal, tmp_path: Path) -> None:
    done = terminal(
        "prompt", "make", recording(tmp_path / "a.wav"), "a", "--dir", tmp_path / "p", "-o", "json"
    )
    told = json.loads(done.out)
    assert told["directory"] == str(tmp_path / "p")
    assert told["codecs"][0] == "PCMU"


def test_what_is_left_of_another_recording_goes(terminal: Terminal, tmp_path: Path) -> None:
    (tmp_path / "hold.18").write_bytes(b"a codec that we cannot make")
    (tmp_path / "other.18").write_bytes(b"somebody else's")
    terminal("prompt", "make", recording(tmp_path / "a.wav"), "hold", "--dir", tmp_path)
    assert not (tmp_path / "hold.18").exists()
    assert (tmp_path / "other.18").exists()
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")]


def test_what_cannot_be_made(terminal: Terminal, tmp_path: Path) -> None:
    song = tmp_path / "song.mp3"
    song.write_bytes(b"ID3 something")
    done = terminal("prompt", "make", song, "song", "--dir", tmp_path)
    assert (done.code, done.err) == (1, f"edgesip: {song}: not a WAV file\n")
    done = terminal("prompt", "make", tmp_path / "nothing.wav", "x", "--dir", tmp_path)
    assert (done.code, done.err) == (1, f"edgesip: {tmp_path}/nothing.wav: No such file or directory\n")
    done = terminal("prompt", "make", recording(tmp_path / "a.wav"), "../a", "--dir", tmp_path)
    assert done.code == 2


def test_questions_to_the_server(terminal: Terminal, tmp_path: Path) -> None:
    socket = tmp_path / "s"
    with answering(socket, "Ok. Playing") as asked:
        assert terminal("prompt", "play", "c1", "hold", "--socket", socket).err == "Ok. Playing\n"
        terminal("prompt", "play", "c1", "hold", "--to", "caller", "--count", "-1", "--socket", socket)
        terminal("prompt", "stop", "c1", "--socket", socket)
        terminal("rtp", "play", "c1", "hold", "--to", "callee", "--socket", socket)
        terminal("rtp", "stop", "c1", "--to", "callee", "--socket", socket)
    assert asked == [
        ["rtp.play", "c1", "hold", "both", 1],
        ["rtp.play", "c1", "hold", "caller", -1],
        ["rtp.stop", "c1", "both"],
        ["rtp.play", "c1", "hold", "callee", 1],
        ["rtp.stop", "c1", "callee"],
    ]


def test_the_list(terminal: Terminal, tmp_path: Path) -> None:
    entry = {
        "name": "hold",
        "seconds": 9.6,
        "codecs": ["PCMU", "PCMA"],
        "directory": "/var/lib/edgesip/prompts",
    }
    with answering(tmp_path / "s", [entry]):
        shown = terminal("prompt", "list", "--socket", tmp_path / "s").out
        assert "hold" in shown
        assert "PCMU PCMA" in shown
        assert json.loads(terminal("prompt", "list", "--socket", tmp_path / "s", "-o", "json").out) == [entry]


def test_no_such_call(terminal: Terminal, tmp_path: Path) -> None:
    with answering(tmp_path / "s", Fault(404, "call not found: no media session of c1")):
        assert terminal("prompt", "stop", "c1", "--socket", tmp_path / "s").code == 3
