"""Users in a text file: read, read again when it changes, and never half."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from edgesip.store.api import Credential, StoreError
from edgesip.store.files import kept_secret
from edgesip.store.users_file import LOOK, FileUsers, line_of, read_line

ALICE = Credential.of("alice", "edgesip", "wonderland")


class Clock:
    """Time that a test moves."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


class Said(list[tuple[str, str, dict[str, Any]]]):
    """What was logged."""

    def __call__(self, level: str, event: str, fields: dict[str, Any]) -> None:
        self.append((level, event, fields))


def written(path: Path, *lines: str) -> Path:
    """The file with these lines, put there at once, as an editor does it."""
    fresh = path.with_name("fresh")
    fresh.write_text("\n".join(lines) + "\n")
    os.replace(fresh, path)
    return path


def test_lines_as_htdigest_writes_them(tmp_path: Path) -> None:
    short = f"bob:edgesip:{Credential.of('bob', 'edgesip', 'x').ha1.upper()}"
    file = written(tmp_path / "users", "# users", "", line_of(ALICE), short, "  ")
    users = FileUsers(file, False, Said())
    assert users.credential("alice") == ALICE
    bob = users.credential("bob")
    assert bob == Credential("bob", "edgesip", Credential.of("bob", "edgesip", "x").ha1, "")
    assert users.credential("Alice") is None
    assert users.realms() == {"edgesip": 2}


def test_lines_with_passwords_which_may_have_colons(tmp_path: Path) -> None:
    users = FileUsers(written(tmp_path / "users", "alice:edgesip:won:der"), True, Said())
    assert users.credential("alice") == Credential.of("alice", "edgesip", "won:der")


ZEROS = "0" * 32


@pytest.mark.parametrize(
    "line",
    [
        "alice",
        "alice:edgesip",
        "alice:edgesip:",
        "alice:edgesip:abc",
        f"a b:edgesip:{ZEROS}",
        f":r:{ZEROS}",
        f"alice::{ZEROS}",
        "alice:edgesip:" + "g" * 32,
        f"alice:edgesip:{ZEROS}:00",
    ],
)
def test_what_is_no_user_is_none(line: str) -> None:
    assert read_line(line) is None


def test_bad_lines_are_counted_and_not_shown(tmp_path: Path) -> None:
    said = Said()
    FileUsers(written(tmp_path / "users", line_of(ALICE), "bob:secret", line_of(ALICE)), False, said)
    shown = {"file": str(tmp_path / "users"), "users": 1, "bad_lines": 2, "first_bad": 2}
    assert said == [("warning", "users read", shown)]


def test_a_change_shows_within_a_second(tmp_path: Path) -> None:
    clock, said = Clock(), Said()
    file = written(tmp_path / "users", line_of(ALICE))
    users = FileUsers(file, False, said, clock)
    written(file, line_of(ALICE), line_of(Credential.of("bob", "edgesip", "x")))
    assert users.credential("bob") is None
    clock.now += LOOK
    assert users.credential("bob") is not None
    assert LOOK < 1
    written(file, "")
    clock.now += LOOK
    assert users.credential("alice") is None


def test_a_file_that_goes_away_changes_nothing_and_says_so_once(tmp_path: Path) -> None:
    clock, said = Clock(), Said()
    file = written(tmp_path / "users", line_of(ALICE))
    users = FileUsers(file, False, said, clock)
    file.unlink()
    for _ in range(3):
        clock.now += LOOK
        assert users.credential("alice") == ALICE
    assert [event for _, event, _ in said] == ["users read", "users file cannot be read"]


def test_without_the_file_there_is_no_start(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="users file cannot be read"):
        FileUsers(tmp_path / "nothing", False, Said())


def test_the_secret_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "auth.secret"
    first = kept_secret(path)
    assert len(first) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert kept_secret(path) == first
    path.write_bytes(b"cut short")
    assert kept_secret(path) not in (first, b"cut short")
    with pytest.raises(StoreError, match="cannot be kept"):
        kept_secret(tmp_path / "no" / "where")


def test_hashes_follow_that_by_md5_each_after_a_colon_and_the_last_may_be_missing() -> None:
    md5, sha256, sha512_256 = ALICE[2:]
    head = f"alice:edgesip:{md5}"
    assert read_line(f"{head}:{sha256}:{sha512_256}") == ALICE
    assert line_of(ALICE) == f"{head}:{sha256}:{sha512_256}"
    older = ALICE._replace(ha1_sha512_256="")
    assert read_line(f"{head}:{sha256}") == older
    assert line_of(older) == f"{head}:{sha256}"
    only_last = ALICE._replace(ha1_sha256="")
    assert read_line(line_of(only_last)) == only_last
    assert read_line(f"{head}:{sha256}:{sha512_256[1:]}") is None
    assert read_line(f"{head}:{sha256}:{sha512_256}:{sha256}") is None
    assert read_line(f"alice:edgesip::{sha256}") is None


def test_who_lacks_a_hash_is_counted(tmp_path: Path) -> None:
    users = FileUsers(written(tmp_path / "users", line_of(ALICE), f"bob:edgesip:{ZEROS}"), False, Said())
    assert [users.lacking(name) for name in ("MD5", "SHA-256", "SHA-512-256")] == [0, 1, 1]
