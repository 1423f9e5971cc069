"""The whole server as a process on loopback: what it says when it starts, and when it cannot."""

from __future__ import annotations

import signal
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

SECONDS = 60.0


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def command(state: Path, *more: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "edgesip.cli.main",
        "run",
        "--profile",
        "nat-sbc",
        "--state-dir",
        str(state),
        *more,
    ]


def ready_line(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("ready "):
            return line
    raise AssertionError("never ready")


def test_the_ready_line_names_listeners_relay_path_and_capacity(tmp_path: Path) -> None:
    port = free_port()
    more = ["--listen", f"udp:127.0.0.1:{port},tcp:127.0.0.1:{port}", "--advertise", "192.0.2.5"]
    with subprocess.Popen(command(tmp_path, *more), stderr=subprocess.PIPE, text=True) as process:
        line = ready_line(process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0
    words = dict(word.split("=", 1) for word in line.split()[1:])
    assert words["listen"] == f"udp:127.0.0.1:{port},tcp:127.0.0.1:{port}"
    assert words["advertise"] == "192.0.2.5"
    assert (words["relay"], words["relay_advertise"]) == ("127.0.0.1", "192.0.2.5")
    assert words["ports"] == "16384-32767"
    assert words["path"] == "user"
    assert int(words["max_sessions"]) > 0


def test_a_damaged_user_database_ends_the_start_with_a_sentence(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "subscribers.db") as db:
        db.execute("CREATE TABLE subscriber (x)")
    octets = (tmp_path / "subscribers.db").read_bytes()
    (tmp_path / "subscribers.db").write_bytes(octets[:100] + b"\xff" * (len(octets) - 100))
    listen = f"udp:127.0.0.1:{free_port()}"
    done = subprocess.run(
        command(tmp_path, "--listen", listen), capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode in (1, 78)
    assert "subscribers.db" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("listen", ["udp:[::1]:{}", "tcp:127.0.0.1:{}"])
def test_other_families_and_transports_are_listened_on(tmp_path: Path, listen: str) -> None:
    where = listen.format(free_port())
    with subprocess.Popen(command(tmp_path, "--listen", where), stderr=subprocess.PIPE, text=True) as process:
        assert f"listen={where} " in ready_line(process)
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 0


def test_a_damaged_file_of_bans_ends_no_start(tmp_path: Path) -> None:
    (tmp_path / "kept.db").write_bytes(b"no database" * 1000)
    listen = f"udp:127.0.0.1:{free_port()}"
    with subprocess.Popen(
        command(tmp_path, "--listen", listen), stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if line.startswith("ready "):
                break
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0
    said = "".join(lines)
    assert "keepsakes not written" in said
    assert "kept.db" in said
    assert lines[-1].startswith("ready ")
