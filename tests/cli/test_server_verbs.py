"""`run`, `start`, `stop`, `restart`, `status`, `check`, `profiles`: the real server on a loopback port."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from terminal import Terminal

from edgesip.cli.pidfile import server_of

EDGESIP = [sys.executable, "-m", "edgesip.cli.main"]


@pytest.fixture
def terminal(capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(capsys)


@pytest.fixture
def listen() -> str:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        probe.bind(("127.0.0.1", 0))
        return f"udp:127.0.0.1:{probe.getsockname()[1]}"


@contextmanager
def running(state: Path, listen: str, *options: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A server in the foreground, and its `ready` line."""
    child = subprocess.Popen(
        [*EDGESIP, "run", "--profile", "nat-sbc", "--listen", listen, "--state-dir", str(state), *options],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stderr is not None
    try:
        with child.stderr:
            yield child, next((line for line in child.stderr if line.startswith("ready")), "")
    finally:
        if child.poll() is None:
            child.kill()
        child.wait()


def test_run_says_ready_and_ends_cleanly(terminal: Terminal, tmp_path: Path, listen: str) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        with running(tmp_path, listen, "--set", "relay.ports=20000-20099") as (child, ready):
            assert listen in ready
            assert "20000-20099" in ready
            assert "max_sessions=" in ready
            assert server_of(tmp_path) == child.pid
            assert terminal("uptime", "--state-dir", tmp_path).code == 0
            child.send_signal(number)
            assert child.wait(10) == 0
        assert not (tmp_path / "edgesip.sock").exists()
        assert server_of(tmp_path) is None


def test_the_log_is_on_stderr_and_tells_of_users_of_another_realm(
    terminal: Terminal, tmp_path: Path, listen: str
) -> None:
    terminal("subscriber", "add", "alice", "--realm", "old.example", "--state-dir", tmp_path)
    with subprocess.Popen(
        [*EDGESIP, "run", "--profile", "nat-sbc", "--listen", listen, "--state-dir", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stderr is not None
        head = ""
        while not head.endswith("\n") or "\nready" not in f"\n{head}":
            head += child.stderr.readline()
        child.terminate()
        out, _ = child.communicate(timeout=10)
    assert out == ""
    assert "old.example" in head
    assert "level='warning'" in head


def test_a_taken_port_is_78_and_names_its_holder(terminal: Terminal, tmp_path: Path, listen: str) -> None:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as taken:
        taken.bind(("127.0.0.1", int(listen.rpartition(":")[2])))
        outcome = terminal("start", "--profile", "nat-sbc", "--listen", listen, "--state-dir", tmp_path)
    assert outcome.code == 78
    assert f"(pid {os.getpid()})" in outcome.err


def test_a_foreign_address_is_78_and_asks_for_advertise(terminal: Terminal, tmp_path: Path) -> None:
    outcome = terminal(
        "check", "--profile", "nat-sbc", "--listen", "udp:198.51.100.1:5060", "--state-dir", tmp_path
    )
    assert outcome.code == 78
    assert "did you mean --advertise 198.51.100.1?" in outcome.err


def test_two_servers_do_not_share_a_state_directory(tmp_path: Path, listen: str) -> None:
    with running(tmp_path, listen) as (child, _):
        second = subprocess.run(
            [*EDGESIP, "run", "--profile", "nat-sbc", "--listen", listen, "--state-dir", str(tmp_path)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert second.returncode == 78
        assert f"pid {child.pid}" in second.stderr


def outside(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """A verb in a process of its own: what it starts is not this process's child."""
    return subprocess.run([*EDGESIP, *arguments], capture_output=True, text=True, check=False)


def test_the_background(terminal: Terminal, tmp_path: Path, listen: str) -> None:
    state = ["--state-dir", str(tmp_path)]
    assert terminal("status", *state).code == 4
    assert terminal("stop", *state).code == 4
    assert terminal("restart", *state).code == 3

    sock = tmp_path / "other.sock"
    options = ["--profile", "nat-sbc", "--listen", listen, "--set", "tm.wt_timer=500", "--socket", str(sock)]
    started = outside("start", *options, *state)
    try:
        assert (started.returncode, started.stdout, started.stderr[:5]) == (0, "", "ready")
        first = json.loads(terminal("status", *state, "-o", "json").out)
        assert first["pid"] == server_of(tmp_path)
        assert first["socket"] == str(sock)
        assert terminal("uptime", *state).code == 0, "found from the state directory all the same"
        assert os.getsid(first["pid"]) == first["pid"], "a session of its own: it outlives the terminal"
        assert "edgesip 0" in terminal("status", *state).out
        assert terminal("start", *options, *state).code == 1, "runs already"
        assert outside("restart", *state).returncode == 0
        second = json.loads(terminal("status", *state, "-o", "json").out)
        assert second["pid"] != first["pid"]
        command = Path(f"/proc/{second['pid']}/cmdline").read_bytes()
        assert b"tm.wt_timer=500" in command
        assert listen.encode() in command
    finally:
        stopped = terminal("stop", *state)
    assert stopped.code == 0
    assert terminal("status", *state).code == 4
    assert "ready" in (tmp_path / "edgesip.log").read_text()


def test_a_pid_in_a_file_is_not_believed(terminal: Terminal, tmp_path: Path) -> None:
    (tmp_path / "edgesip.pid").write_text(f"{os.getpid()}\n")
    assert server_of(tmp_path) is None
    assert terminal("stop", "--state-dir", tmp_path).code == 4


def test_kill_9_leaves_nothing_that_blocks_the_next_start(tmp_path: Path, listen: str) -> None:
    with running(tmp_path, listen) as (child, _):
        child.kill()
        child.wait()
        assert server_of(tmp_path) is None
    with running(tmp_path, listen) as (child, ready):
        assert ready
        assert server_of(tmp_path) == child.pid


def test_both_families_and_transports_run(terminal: Terminal, tmp_path: Path, listen: str) -> None:
    port = listen.rpartition(":")[2]
    more = [
        "--listen",
        f"tcp:127.0.0.1:{port},udp:[::1]:{port},tcp:[::1]:{port}",
        "--advertise",
        "[2001:db8::5]",
    ]
    with running(tmp_path, listen, *more, "--set", "relay.address=127.0.0.1,::1") as (_, ready):
        assert f"tcp:[::1]:{port}" in ready
        assert "advertise=[2001:db8::5]" in ready
        assert "relay=127.0.0.1,::1 " in ready
        assert terminal("rtp", "ports", "--state-dir", tmp_path).code == 0


def test_check_tries_without_starting(terminal: Terminal, tmp_path: Path, listen: str) -> None:
    options = ["--profile", "nat-sbc", "--state-dir", tmp_path / "state", "--listen", listen]
    outcome = terminal("check", *options)
    assert (outcome.code, outcome.out) == (0, "")
    assert not (tmp_path / "state").exists()
    for wish in ("tm.wt_timr=5", "relay.path=cable", "usrloc.db_url=mysql://x"):
        outcome = terminal("check", *options, "--set", wish)
        assert outcome.code == 78
        assert f"--set {wish}" in outcome.err


@pytest.mark.parametrize("script", ["def request(", "import nothing_of_that_name", "x = 1"])
def test_a_route_script_that_cannot_be_used_is_78(terminal: Terminal, tmp_path: Path, script: str) -> None:
    (tmp_path / "route.py").write_text(script)
    (tmp_path / "mine.toml").write_text('route = "route.py"\nlisten = "udp:127.0.0.1:5060"\n')
    outcome = terminal("check", "--profile", tmp_path / "mine.toml", "--state-dir", tmp_path)
    assert outcome.code == 78
    assert "route.py" in outcome.err


def test_profiles_are_listed_and_shown(terminal: Terminal, tmp_path: Path) -> None:
    listed = json.loads(terminal("profiles", "list", "-o", "json").out)
    assert "nat-sbc" in [one["name"] for one in listed]
    assert "nat-sbc" in terminal("profiles", "list").out
    shown = terminal("profiles", "show", "nat-sbc")
    assert shown.out == Path(next(one["file"] for one in listed if one["name"] == "nat-sbc")).read_text()
    (tmp_path / "own.toml").write_text("x = 1\n")
    assert terminal("profiles", "show", tmp_path / "own.toml").out == "x = 1\n"
    unknown = terminal("profiles", "show", "nat-sbd")
    assert (unknown.code, unknown.out) == (3, "")
    assert "did you mean nat-sbc?" in unknown.err
    assert terminal("check", "--profile", "nat-sbd", "--state-dir", tmp_path).code == 78


def test_where_state_is_by_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from edgesip.cli import paths

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert paths.default_state_dir() == Path("/var/lib/edgesip")
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert paths.default_state_dir() == tmp_path / "edgesip"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/home/ann")
    assert paths.default_state_dir() == Path("/home/ann/.local/state/edgesip")
