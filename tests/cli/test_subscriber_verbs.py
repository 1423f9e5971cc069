"""Users by the command line, with no server running."""

import hashlib
import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from terminal import Terminal

from edgesip.store.subscribers import SqliteSubscribers


@pytest.fixture
def terminal(capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(capsys)


def ha1_of(state_dir: Path, name: str) -> str | None:
    users = SqliteSubscribers(state_dir / "subscribers.db")
    found = users.credential(name)
    users.close()
    return found and found.ha1


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


def test_a_password_is_made_up_and_alone_on_stdout(terminal: Terminal, tmp_path: Path) -> None:
    state = tmp_path / "new" / "state"
    outcome = terminal("subscriber", "add", "alice", "--state-dir", state)
    assert outcome.code == 0
    secret = outcome.out.removesuffix("\n")
    assert len(secret) == 14
    assert ha1_of(state, "alice") == md5(f"alice:edgesip:{secret}")
    assert secret not in outcome.err
    assert terminal("subscriber", "add", "bob", "--state-dir", state).out != outcome.out


def test_a_password_can_be_given_or_read(
    terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = terminal(
        "subscriber", "add", "alice", "--password", "one two", "--realm", "r", "--state-dir", tmp_path
    )
    assert (given.code, given.out) == (0, "")
    assert ha1_of(tmp_path, "alice") == md5("alice:r:one two")
    monkeypatch.setattr(sys, "stdin", io.StringIO("three\r\n"))
    read = terminal("subscriber", "passwd", "alice", "--password", "-", "--state-dir", tmp_path)
    assert (read.code, read.out) == (0, "")
    assert ha1_of(tmp_path, "alice") == md5("alice:r:three")
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert terminal("subscriber", "passwd", "alice", "--password", "-", "--state-dir", tmp_path).code == 1
    made = terminal("subscriber", "passwd", "alice", "--state-dir", tmp_path)
    assert ha1_of(tmp_path, "alice") == md5(f"alice:r:{made.out.strip()}")


def test_the_list_and_its_end(terminal: Terminal, tmp_path: Path) -> None:
    assert terminal("subscriber", "list", "--state-dir", tmp_path / "nowhere", "-o", "json").out == "[]\n"
    assert not (tmp_path / "nowhere").exists()
    for name in ("bob", "alice"):
        terminal("subscriber", "add", name, "--state-dir", tmp_path)
    outcome = terminal("subscriber", "list", "--state-dir", tmp_path)
    assert outcome.out.splitlines() == ["User   Realm", "alice  edgesip", "bob    edgesip"]
    outcome = terminal("subscriber", "list", "--state-dir", tmp_path, "-o", "json")
    assert json.loads(outcome.out)[0] == {"username": "alice", "realm": "edgesip"}
    assert terminal("subscriber", "rm", "alice", "--state-dir", tmp_path).code == 0
    assert ha1_of(tmp_path, "alice") is None


def test_failures_have_their_codes(terminal: Terminal, tmp_path: Path) -> None:
    terminal("subscriber", "add", "alice", "--state-dir", tmp_path)
    assert terminal("subscriber", "add", "alice", "--state-dir", tmp_path).code == 1
    assert terminal("subscriber", "add", "a:b", "--state-dir", tmp_path).code == 1
    assert terminal("subscriber", "rm", "bob", "--state-dir", tmp_path).code == 3
    assert terminal("subscriber", "passwd", "bob", "--state-dir", tmp_path).code == 3
    (tmp_path / "file").write_text("")
    outcome = terminal("subscriber", "add", "alice", "--state-dir", tmp_path / "file")
    assert outcome.code == 78
    assert "cannot be made" in outcome.err


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it gives up being root")
def test_root_acts_as_the_owner_of_the_state_directory() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        os.chmod(name, 0o755)
        state = Path(name) / "state"
        state.mkdir()
        os.chown(state, 65534, 65534)
        for verb in (["list"], ["add", "alice"], ["add", "bob"], ["passwd", "alice"], ["list"]):
            subprocess.run(
                [sys.executable, "-m", "edgesip.cli.main", "subscriber", *verb, "--state-dir", str(state)],
                check=True,
                capture_output=True,
            )
        made = list(state.iterdir())
        assert made
        assert {file.stat().st_uid for file in made} == {65534}


def test_users_are_shown_exported_and_imported_again(
    terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    for name in ("alice", "bob"):
        terminal("subscriber", "add", name, "--password", "x", "--state-dir", old)
    told = terminal("subscriber", "show", "alice", "--state-dir", old, "-o", "json")
    assert json.loads(told.out) == {
        "username": "alice",
        "realm": "edgesip",
        "algorithms": ["MD5", "SHA-256", "SHA-512-256"],
    }
    assert terminal("subscriber", "show", "carol", "--state-dir", old).code == 3
    exported = terminal("subscriber", "export", "--state-dir", old).out
    assert exported.splitlines()[0].startswith(f"alice:edgesip:{md5('alice:edgesip:x')}:")
    lines = tmp_path / "lines"
    lines.write_text("# from elsewhere\n" + exported)
    terminal("subscriber", "add", "bob", "--state-dir", new)
    told = terminal("subscriber", "import", lines, "--state-dir", new, "-o", "json")
    assert json.loads(told.out) == {"added": 1, "replaced": 1}
    assert terminal("subscriber", "export", "--state-dir", new).out == exported
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"dave:edgesip:{md5('dave:edgesip:y')}\n"))
    assert terminal("subscriber", "import", "-", "--state-dir", new).code == 0
    told = terminal("subscriber", "show", "dave", "--state-dir", new)
    assert told.out.splitlines()[1].split() == ["dave", "edgesip", "MD5"]


@pytest.mark.parametrize("line", ["carol:edgesip", "alice:edgesip:x", "carol:edgesip:zz"])
def test_one_bad_line_and_nobody_is_imported(terminal: Terminal, tmp_path: Path, line: str) -> None:
    terminal("subscriber", "add", "alice", "--password", "x", "--state-dir", tmp_path)
    lines = tmp_path / "lines"
    lines.write_text(f"bob:edgesip:{md5('b')}\n{line}\n")
    outcome = terminal("subscriber", "import", lines, "--state-dir", tmp_path)
    assert outcome.code == 1
    assert "line 2" in outcome.err
    assert ha1_of(tmp_path, "bob") is None


def test_passwords_are_imported_as_their_hashes(terminal: Terminal, tmp_path: Path) -> None:
    lines = tmp_path / "lines"
    lines.write_text("bob:edgesip:one:two\n")
    assert terminal("subscriber", "import", lines, "--passwords", "--state-dir", tmp_path).code == 0
    assert ha1_of(tmp_path, "bob") == md5("bob:edgesip:one:two")
