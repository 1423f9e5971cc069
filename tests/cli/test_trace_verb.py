"""`edgesip trace`: what it asks for, what it prints, what it writes."""

from __future__ import annotations

import json
import os
import pty
import socket
import stat
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from terminal import Terminal, answering
from test_ladder import nated_call

from edgesip import pcap
from edgesip.cli.pcap import record

CALL = {
    "time": 1_000_000_000.0,
    "method": "INVITE",
    "from": '"Alice" <sip:alice@edge>;tag=1',
    "to": "<sip:bob@edge;user=phone>",
    "status": "200 OK",
    "call_id": "c1@phone",
    "messages": 9,
}


def end(seq: int = 99) -> dict[str, Any]:
    return {"seq": seq, "kind": "end"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "edgesip.sock"


@pytest.fixture
def terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("COLUMNS", "100")
    return Terminal(capsys)


def test_without_options_it_lists_calls(terminal: Terminal, path: Path) -> None:
    with answering(path, [CALL]) as asked:
        done = terminal("trace", "--socket", path)
        as_json = terminal("trace", "--socket", path, "-o", "json")
    assert asked == [["trace.list"], ["trace.list"]]
    heads, line = done.out.splitlines()
    assert heads.split() == ["Time", "Method", "From", "To", "Status", "Call-ID"]
    assert line.split()[2:] == ["INVITE", "alice@edge", "bob@edge", "200", "OK", "c1@phone"]
    assert json.loads(as_json.out) == [CALL]


@pytest.mark.parametrize(
    ("options", "params"),
    [
        (["--call", "nated"], [0, "", "nated"]),
        (["--user", "alice"], [0, "alice"]),
        (["--user", "alice", "--call", "x"], [0, "alice", "x"]),
        (["--call", ""], [0, "", ""]),
    ],
)
def test_a_choice_is_drawn(terminal: Terminal, path: Path, options: list[str], params: list[Any]) -> None:
    with answering(path, [*nated_call(), end()]) as asked:
        done = terminal("trace", *options, "--socket", path)
    assert asked == [["trace.events", *params]]
    assert "Call-ID nated" in done.out.splitlines()[0]
    assert "INVITE bob" in done.out
    assert "\x1b" not in done.out


def test_full_and_json(terminal: Terminal, path: Path) -> None:
    found = nated_call()
    with answering(path, [*found, end()]):
        full = terminal("trace", "--full", "--socket", path)
        as_json = terminal("trace", "--call", "nated", "-o", "json", "--socket", path)
    assert "    CSeq: 2 INVITE" in full.out.splitlines()
    assert json.loads(as_json.out) == found


@pytest.mark.parametrize("options", [["--call", "nobody"], ["--user", "nobody"]])
def test_what_is_not_remembered_is_not_found(terminal: Terminal, path: Path, options: list[str]) -> None:
    with answering(path, [end()]):
        done = terminal("trace", *options, "--socket", path)
    assert (done.code, done.out) == (3, "")
    assert "nothing of it is remembered" in done.err


def test_following_asks_on_until_the_user_has_seen_enough(
    terminal: Terminal, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = iter(range(3))

    def sleep(seconds: float) -> None:
        if next(turns) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("edgesip.cli.trace.time.sleep", sleep)
    with answering(path, [*nated_call()[:2], end(7)]) as asked:
        done = terminal("trace", "--follow", "--user", "alice", "--socket", path)
    assert asked == [["trace.events", 0, "alice"], *[["trace.events", 7, "alice", "nated"]] * 2]
    assert done.code == 0
    assert done.out.count("INVITE bob") == 3
    assert done.out.count("Call-ID nated") == 1


def test_following_all_calls_is_one_list(
    terminal: Terminal, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sleep(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("edgesip.cli.trace.time.sleep", sleep)
    found = nated_call()
    with answering(path, [found[0], found[0] | {"call_id": "other"}, end()]):
        listed = terminal("trace", "--follow", "--socket", path)
        lines = terminal("trace", "--follow", "-o", "json", "--socket", path)
        ladders = terminal("trace", "--follow", "--call", "", "--socket", path)
    assert [line.rpartition("[")[2] for line in listed.out.splitlines()] == ["nated]", "other]"]
    assert [json.loads(line)["call_id"] for line in lines.out.splitlines()] == ["nated", "other"]
    assert ladders.out.count("Call-ID") == 2


def test_a_capture_file_is_for_its_owner_only(terminal: Terminal, path: Path, tmp_path: Path) -> None:
    found = nated_call()
    messages = [one for one in found if one["kind"] == "message"]
    file = tmp_path / "call.pcap"
    with answering(path, [*found, end()]):
        done = terminal("trace", "--call", "nated", "--pcap", file, "--socket", path)
    assert (done.code, done.out) == (0, "")
    assert f"{len(messages)} messages" in done.err
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    data = file.read_bytes()
    assert data.startswith(pcap.HEADER)
    at, texts = len(pcap.HEADER), []
    while at < len(data):
        seconds, micros, length, whole = struct.unpack_from("<IIII", data, at)
        packet = data[at + 16 : at + 16 + length]
        assert (length, packet[0], packet[9]) == (whole, 0x45, 17)
        texts.append((seconds + micros / 1e6, packet[28:].decode("utf-8", "surrogateescape")))
        at += 16 + length
    assert texts == [(pytest.approx(one["time"]), one["text"]) for one in messages]
    assert b"****" in data


def test_a_file_that_cannot_be_written_is_said(terminal: Terminal, path: Path, tmp_path: Path) -> None:
    with answering(path, [*nated_call(), end()]):
        done = terminal("trace", "--pcap", tmp_path / "no" / "file", "--socket", path)
        full = terminal("trace", "--pcap", "/dev/full", "--socket", path)
    assert done.code == full.code == 1
    assert "cannot be written: No such file or directory" in done.err
    assert "cannot be written: No space left on device" in full.err


def ones_sum(data: bytes) -> int:
    """The sum of a datagram with its checksum: all ones when that is right (RFC 1071)."""
    words: tuple[int, ...] = struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2))
    total = sum(words)
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@pytest.mark.parametrize("text", ["", "x", "even", "\udce9\udcff", "z" * 70_000])
@pytest.mark.parametrize("direction", ["in", "out"])
def test_checksums_are_right_in_both_families(text: str, direction: str) -> None:
    event = {"time": 1.5, "direction": direction, "text": text}
    data = text.encode("utf-8", "surrogateescape")[: pcap.LONGEST]
    packet = record(event | {"local": "192.0.2.1:5060", "remote": "203.0.113.7:40000"})[16:]
    assert ones_sum(packet[:20]) == 0xFFFF
    assert ones_sum(packet[12:20] + struct.pack("!HH", 17, len(packet) - 20) + packet[20:]) == 0xFFFF
    hosts = (socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20]))
    ends = ("203.0.113.7", "192.0.2.1")
    assert hosts == (ends if direction == "in" else ends[::-1])
    assert packet[28:] == data
    packet = record(event | {"local": "[2001:db8::1]:5060", "remote": "[2001:db8::7]:5060"})[16:]
    assert packet[0] >> 4 == 6
    assert ones_sum(packet[8:40] + struct.pack("!IxxxB", len(packet) - 40, 17) + packet[40:]) == 0xFFFF
    assert packet[48:] == data


@pytest.mark.parametrize(("no_colour", "expected"), [("", True), ("1", False)])
def test_colour_is_for_terminals(path: Path, no_colour: str, expected: bool) -> None:
    """On a pseudo-terminal, as a program of its own."""
    environment = {**os.environ, "NO_COLOR": no_colour, "TERM": "xterm", "PYTHONUTF8": "1", "COLUMNS": "80"}
    with answering(path, [*nated_call(), end()]):
        master, slave = pty.openpty()
        command = [sys.executable, "-m", "edgesip.cli.main", "trace", "--call", "n", "--socket", str(path)]
        process = subprocess.Popen(command, stdout=slave, env=environment)
        os.close(slave)
        output = b""
        while True:
            try:
                part = os.read(master, 65536)
            except OSError:
                break
            if not part:
                break
            output += part
        os.close(master)
        assert process.wait(20) == 0
    assert (b"\x1b[1;36mINVITE bob" in output) is expected
    assert "──→│".encode() in output
