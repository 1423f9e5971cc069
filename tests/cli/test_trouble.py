"""What a verb says when it may not, cannot or has no room: a sentence and an exit code, no traceback."""

import errno
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from terminal import Terminal, answering

from edgesip.cli import paths
from edgesip.cli.fail import Fail
from edgesip.cli.pidfile import server_of, serving
from edgesip.cli.runstate import RunState, keep, kept

EDGESIP = [sys.executable, "-m", "edgesip.cli.main"]
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it becomes another user")
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
STATE = RunState("nat-sbc", "/run/x.sock", ["udp:127.0.0.1:5060"], [], ["tm.wt_timer=500"])


@pytest.fixture
def terminal(capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(capsys)


@pytest.fixture
def private() -> Iterator[Path]:
    """A directory that only root can look into, in one that everybody can reach."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        os.chmod(name, 0o755)
        directory = Path(name) / "private"
        directory.mkdir(mode=0o700)
        keep(directory, STATE)
        (directory / "x.toml").write_text('route = "x.py"\n')
        (directory / "x.py").write_text("def request(call): ...\n")
        yield directory


def said(result: "subprocess.CompletedProcess[str]") -> str:
    """The one line on stderr."""
    assert "Traceback" not in result.stderr
    assert result.stderr.startswith("edgesip: "), result.stderr
    assert result.stderr.count("\n") == 1
    return result.stderr


@pytest.fixture(scope="module")
def everybody() -> None:
    """The program can be run by everybody: not when it lies in root's home."""
    command = [*NOBODY, sys.executable, "-c", "import edgesip.cli.main"]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("other users cannot read this copy of edgesip")


@ROOT
@pytest.mark.usefixtures("everybody")
@pytest.mark.parametrize(
    ("verb", "code", "told"),
    [
        (["ul", "lookup", "alice", "--state-dir", "{}"], 4, "not permitted; ask as the server's user"),
        (["status", "--state-dir", "{}"], 4, "not permitted"),
        (["stop", "--state-dir", "{}"], 4, "not permitted"),
        (["restart", "--state-dir", "{}"], 4, "edgesip.run.json: not permitted"),
        (["subscriber", "list", "--state-dir", "{}"], 1, "Permission denied; ask as its owner"),
        (["subscriber", "add", "bob", "--state-dir", "{}"], 1, "Permission denied"),
        (["check", "--profile", "{}/x.toml", "--state-dir", "/tmp"], 78, "cannot be read: Permission denied"),
        (
            ["check", "--profile", "nat-sbc", "--set", "route={}/x.py", "--state-dir", "/tmp"],
            78,
            "route: {}/x.py: Permission denied",
        ),
        (["profiles", "show", "{}/x.toml"], 1, "cannot be read"),
        (["start", "--profile", "nat-sbc", "--state-dir", "{}/deeper"], 78, "cannot be made"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else "",
)
def test_who_may_not_is_told_so(private: Path, verb: list[str], code: int, told: str) -> None:
    command = [*NOBODY, *EDGESIP, *(word.format(private) for word in verb)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.format(private) in said(result)
    assert (result.returncode, result.stdout) == (code, "")


LONG = "x" * 300


@pytest.mark.parametrize(
    ("verb", "code"),
    [
        (["check", "--profile", f"/tmp/{LONG}.toml"], 78),
        (["check", "--profile", "nat-sbc", "--set", f"route=/tmp/{LONG}"], 78),
        (["subscriber", "list", "--state-dir", f"/tmp/{LONG}"], 1),
        (["status", "--state-dir", f"/tmp/{LONG}", "--socket", "/tmp/s"], 78),
        (["stop", "--state-dir", f"/tmp/{LONG}"], 78),
        (["restart", "--state-dir", f"/tmp/{LONG}"], 78),
        (["start", "--profile", "nat-sbc", "--state-dir", f"/tmp/{LONG}", "--socket", "/tmp/s"], 78),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_name_that_is_too_long_for_a_file(terminal: Terminal, verb: list[str], code: int) -> None:
    outcome = terminal(*verb)
    assert "File name too long" in outcome.err
    assert (outcome.code, outcome.out) == (code, "")


def test_a_user_without_a_home_names_the_state_directory(
    terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_home(cls: type[Path]) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    monkeypatch.setattr(Path, "home", classmethod(no_home))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    assert paths.default_state_dir() is None
    for verb in (["uptime"], ["subscriber", "list"], ["check", "--profile", "nat-sbc"]):
        outcome = terminal(*verb)
        assert outcome.code == 78
        assert "--state-dir" in outcome.err
    listen = ["--listen", "udp:127.0.0.1:5060"]
    assert terminal("check", "--profile", "nat-sbc", *listen, "--state-dir", tmp_path).code == 0
    (tmp_path / "mine.toml").write_text(f'route = "x.py"\nstate_dir = "{tmp_path}"\n')
    (tmp_path / "x.py").write_text("def request(call): ...\n")
    assert terminal("check", "--profile", tmp_path / "mine.toml", *listen).code == 0


# ---- links that somebody planted


@pytest.mark.parametrize("link", [os.symlink, os.link], ids=["symbolic", "hard"])
def test_a_planted_link_is_not_followed(terminal: Terminal, tmp_path: Path, link: Any) -> None:
    precious = tmp_path / "precious"
    precious.write_text('{"kept": "safe"}')
    state = tmp_path / "state"
    state.mkdir()
    for name in ("edgesip.pid", "edgesip.run.json", "edgesip.log"):
        link(precious, state / name)
    with pytest.raises(Fail, match=r"edgesip\.pid: "), serving(state):
        pytest.fail("the pid file is somebody else's")
    with pytest.raises(Fail, match=r"edgesip\.run\.json: "):
        keep(state, STATE)
    for verb in (["status"], ["stop"], ["restart"], ["start", "--profile", "nat-sbc"]):
        assert terminal(*verb, "--state-dir", state).code == 78
    (state / "edgesip.pid").unlink()
    outcome = terminal("start", "--profile", "nat-sbc", "--state-dir", state)
    assert outcome.code == 78
    assert "edgesip.log: " in outcome.err
    assert precious.read_text() == '{"kept": "safe"}'


@ROOT
def test_root_leaves_its_files_to_the_owner_of_the_directory(tmp_path: Path) -> None:
    os.chown(tmp_path, 65534, 65534)
    keep(tmp_path, STATE)
    with serving(tmp_path):
        assert server_of(tmp_path) is None, "no other process"
        assert {file.stat().st_uid for file in tmp_path.iterdir()} == {65534}
    assert kept(tmp_path) == STATE


def test_a_pipe_in_the_place_of_a_file_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "edgesip.pid")
    with pytest.raises(Fail, match="not a plain file"):
        server_of(tmp_path)


# ---- no room


def test_a_full_disk_at_the_start_is_1_with_a_message(tmp_path: Path) -> None:
    def no_room() -> None:  # Python ignores SIGXFSZ, so that every write to a file fails with EFBIG
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    result = subprocess.run(
        [*EDGESIP, "run", "--profile", "nat-sbc", "--state-dir", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=no_room,
    )
    assert result.returncode == 1
    assert "edgesip.pid: cannot be written: File too large" in said(result)
    result = subprocess.run(
        [*EDGESIP, "start", "--profile", "nat-sbc", "--state-dir", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=no_room,
    )
    assert result.returncode == 1
    assert "is the disk full?" in said(result)


def test_options_that_cannot_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, flags: int, mode: int = 0o644) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("edgesip.cli.runstate.open_owned", full)
    with pytest.raises(Fail, match=r"edgesip\.run\.json: cannot be written: No space") as caught:
        keep(tmp_path, STATE)
    assert caught.value.code == 1


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"profile": "x", "socket": "y", "listen": "z"}'])
def test_options_that_cannot_be_read_are_not_called_missing(
    terminal: Terminal, tmp_path: Path, text: str
) -> None:
    (tmp_path / "edgesip.run.json").write_text(text)
    outcome = terminal("restart", "--state-dir", tmp_path)
    assert outcome.code == 78
    assert "edgesip.run.json: " in outcome.err


# ---- closed and full standard streams


def shell(command: str, **more: Any) -> "subprocess.CompletedProcess[str]":
    line = command.replace("edgesip", " ".join(EDGESIP))
    return subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False, **more)


@pytest.mark.parametrize("where", [">&-", ">/dev/full"])
@pytest.mark.parametrize(
    "verb", ["profiles show nat-sbc", "profiles list", "profiles list -o json", "--version"]
)
def test_data_that_cannot_be_written_is_1(verb: str, where: str) -> None:
    result = shell(f"edgesip {verb} {where}")
    assert "stdout cannot be written: " in said(result)
    assert result.returncode == 1


def test_a_reader_that_leaves_gets_no_traceback(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    many = {"AoR": "a" * 1000, "Contacts": []}
    with answering(path, {"Domains": [many] * 1000}):
        result = shell(
            f"{{ edgesip ul dump -o json --socket {path}; echo $? >&2; }} | head -n 1",
            env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
        )
    assert result.stderr.endswith("Broken pipe\n1\n")
    assert result.stderr.count("\n") == 2


def test_nothing_goes_to_stdout_when_stderr_is_closed_or_full(tmp_path: Path) -> None:
    for where in ("2>&-", "2>/dev/full"):
        result = shell(f"edgesip uptime --state-dir {tmp_path} {where}")
        assert (result.returncode, result.stdout) == (4, "")


def test_a_password_from_a_closed_stdin_is_1(tmp_path: Path) -> None:
    result = shell(f"edgesip subscriber add alice --password - --state-dir {tmp_path} <&-")
    assert "no password can be read: stdin is closed" in said(result)
    assert result.returncode == 1


# ---- a port that is taken


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_taken_port_names_its_holder(terminal: Terminal, tmp_path: Path, transport: str, host: str) -> None:
    kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind) as taken:
        taken.bind((host, 0))
        if transport == "tcp":
            taken.listen()
        shown = f"{transport}:{f'[{host}]' if ':' in host else host}:{taken.getsockname()[1]}"
        outcome = terminal("start", "--profile", "nat-sbc", "--listen", shown, "--state-dir", tmp_path)
    assert f"cannot listen on {shown}: the port is held by " in outcome.err
    assert f"(pid {os.getpid()})" in outcome.err
    assert "Traceback" not in outcome.err
    assert outcome.code == 78


# ---- restart, and which options a verb takes


def test_a_restart_that_would_fail_leaves_the_server_alone(terminal: Terminal, tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        listen = f"udp:127.0.0.1:{probe.getsockname()[1]}"
    profile = tmp_path / "mine.toml"
    profile.write_text(f'route = "x.py"\nlisten = "{listen}"\n')
    (tmp_path / "x.py").write_text("def request(call): ...\n")
    state = ["--state-dir", str(tmp_path)]
    command = [*EDGESIP, "start", "--profile", str(profile), *state, "-o", "json"]
    started = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    try:
        assert started["ready"].startswith("ready listen=")
        for broken in ("nonsense = 1\n", f'route = "x.py"\nlisten = "{listen}"\n[tm]\nwt_timer = 0\n'):
            profile.write_text(broken)
            outcome = terminal("restart", *state)
            assert outcome.code == 78
            assert str(profile) in outcome.err
            assert server_of(tmp_path) == started["pid"], "still the same server"
        profile.write_text(f'route = "x.py"\nlisten = "{listen}"\n')
        (tmp_path / "x.py").write_text("def request(\n")
        assert terminal("restart", *state).code == 78
        assert server_of(tmp_path) == started["pid"]
        by_socket = terminal("status", "--socket", tmp_path / "edgesip.sock", "-o", "json")
        assert json.loads(by_socket.out)["pid"] == started["pid"]
    finally:
        stopped = terminal("stop", *state, "-o", "json")
    assert json.loads(stopped.out)["pid"] == started["pid"]
    assert terminal("status", "--socket", tmp_path / "edgesip.sock").code == 4


@pytest.mark.parametrize("verb", [["stop"], ["restart"], ["subscriber", "list"], ["profiles", "list"]])
def test_a_verb_that_asks_no_server_refuses_a_socket(terminal: Terminal, verb: list[str]) -> None:
    outcome = terminal(*verb, "--socket", "/tmp/s")
    assert (outcome.code, outcome.out) == (2, "")
    assert "No such option" in outcome.err
    assert "--socket" in outcome.err


def test_a_user_that_is_removed_is_told_as_json_too(terminal: Terminal, tmp_path: Path) -> None:
    terminal("subscriber", "add", "alice", "--state-dir", tmp_path)
    outcome = terminal("subscriber", "rm", "alice", "-o", "json", "--state-dir", tmp_path)
    assert json.loads(outcome.out) == {"username": "alice"}
