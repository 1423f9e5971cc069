"""Users: what is kept of them, and that a change shows at once."""

import hashlib
import sqlite3
from pathlib import Path

import pytest
from hostile import hostile

from edgesip.store.api import Credential, StoreError
from edgesip.store.snapshot import read_subscribers
from edgesip.store.subscribers import (
    CACHED,
    FRESH,
    BadSubscriber,
    NoSubscriber,
    SqliteSubscribers,
    SubscriberExists,
    credential_for,
)
from edgesip.store.users_file import FileUsers, line_of


@pytest.fixture
def users(tmp_path: Path) -> SqliteSubscribers:
    return SqliteSubscribers(tmp_path / "subscribers.db")


def test_both_hashes_are_kept_with_the_realm_and_no_password(
    users: SqliteSubscribers, tmp_path: Path
) -> None:
    users.add("alice", "s3cret word", "edgesip")
    found = users.credential("alice")
    assert found is not None
    assert found.realm == "edgesip"
    assert found.ha1 == hashlib.md5(b"alice:edgesip:s3cret word").hexdigest()
    assert found.ha1_sha256 == hashlib.sha256(b"alice:edgesip:s3cret word").hexdigest()
    users.close()
    assert all(b"s3cret" not in file.read_bytes() for file in tmp_path.iterdir())


def test_rfc_7616_example_hashes() -> None:
    mufasa = credential_for("Mufasa", "Circle Of Life", "testrealm@host.com")
    assert mufasa.ha1 == "939e7578ed9e3c518a452acee763bce9"


def test_a_change_by_another_process_shows_within_a_second(tmp_path: Path) -> None:
    now = 100.0
    server = SqliteSubscribers(tmp_path / "s.db", clock=lambda: now)
    operator = SqliteSubscribers(tmp_path / "s.db")
    assert server.credential("alice") is None
    operator.add("alice", "one", "edgesip")
    first = server.credential("alice")  # at once: nobody had been known by that name
    operator.passwd("alice", "two")
    assert server.credential("alice") == first
    now += FRESH
    second = server.credential("alice")
    assert first is not None
    assert second is not None
    assert first.ha1 != second.ha1
    operator.remove("alice")
    now += FRESH
    assert server.credential("alice") is None
    assert FRESH <= 1


def test_own_changes_show_too(users: SqliteSubscribers) -> None:
    assert users.credential("alice") is None
    users.add("alice", "one", "edgesip")
    before = users.credential("alice")
    users.passwd("alice", "two", "other")
    after = users.credential("alice")
    assert before is not None
    assert after is not None
    assert (before.realm, after.realm) == ("edgesip", "other")
    users.remove("alice")
    assert users.credential("alice") is None


def test_names_match_exactly_and_differ_in_more_than_case(users: SqliteSubscribers) -> None:
    users.add("alice", "one", "edgesip")
    assert users.credential("Alice") is None
    with pytest.raises(SubscriberExists, match="alice"):
        users.add("ALICE", "two", "edgesip")


def test_who_is_not_there_cannot_be_changed(users: SqliteSubscribers) -> None:
    with pytest.raises(NoSubscriber):
        users.passwd("bob", "x")
    with pytest.raises(NoSubscriber):
        users.remove("bob")


@pytest.mark.parametrize("name", ["", "a:b", "a b", "a;b", "a@b", 'a"', "é", "a\n", "x" * 65, "a\0"])
def test_odd_names_are_refused_and_never_found(users: SqliteSubscribers, name: str) -> None:
    with pytest.raises(BadSubscriber):
        users.add(name, "x", "edgesip")
    assert users.credential(name) is None


@pytest.mark.parametrize(
    ("password", "realm"), [("", "r"), ("a\nb", "r"), ("\udcff", "r"), ("x", ""), ("x", 'a"')]
)
def test_odd_passwords_and_realms_are_refused(users: SqliteSubscribers, password: str, realm: str) -> None:
    with pytest.raises(BadSubscriber):
        users.add("alice", password, realm)


def test_realms_are_counted_for_the_warning_at_start(users: SqliteSubscribers) -> None:
    for name, realm in (("a", "edgesip"), ("b", "edgesip"), ("c", "old.example")):
        users.add(name, "x", realm)
    assert users.realms() == {"edgesip": 2, "old.example": 1}
    assert [user.username for user in users.users()] == ["a", "b", "c"]


def test_guessed_names_do_not_fill_the_memory(users: SqliteSubscribers) -> None:
    users.add("alice", "x", "edgesip")
    for number in range(CACHED + 100):
        users.credential(f"+{number};")
    assert len(users._cache) == CACHED
    assert users.credential("alice") is not None


def test_a_file_that_cannot_be_read_is_a_store_error(users: SqliteSubscribers, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "subscribers.db") as other:
        other.execute("DROP TABLE subscriber")
    with pytest.raises(StoreError):
        users.credential("alice")


def test_a_directory_that_cannot_be_written_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be opened"):
        SqliteSubscribers(tmp_path / "file" / "s.db")


def test_three_hundred_hostile_names_are_nobody_and_change_nothing(tmp_path: Path) -> None:
    users = SqliteSubscribers(tmp_path / "s.db")
    users.add("alice", "x", "edgesip")
    file = tmp_path / "users"
    file.write_text(line_of(users.user("alice")) + "\n")
    listed = FileUsers(file, False, lambda level, event, fields: None)
    before = users.users()
    for name in hostile():
        assert users.credential(name) is None
        assert listed.credential(name) is None
        with pytest.raises(BadSubscriber):
            users.add(name, "x", "edgesip")
    assert users.users() == before


def test_users_are_put_all_or_none(tmp_path: Path) -> None:
    users = SqliteSubscribers(tmp_path / "s.db")
    users.add("alice", "x", "edgesip")
    new = [Credential.of(name, "edgesip", "y") for name in ("bob", "alice", "carol")]
    assert users.put(new) == (2, 1)
    assert users.users() == sorted(new)
    with pytest.raises(SubscriberExists, match="alice"):
        users.put([Credential.of(name, "edgesip", "z") for name in ("dave", "ALICE")])
    assert [user.username for user in users.users()] == ["alice", "bob", "carol"]


def test_a_file_of_before_sha_512_256_is_taken_as_it_is_and_gets_the_hash_with_the_next_password(
    tmp_path: Path,
) -> None:
    path = tmp_path / "subscribers.db"
    old = Credential.of("alice", "edgesip", "one")
    with sqlite3.connect(path) as file:
        file.execute(
            "CREATE TABLE subscriber (username TEXT PRIMARY KEY NOT NULL, realm TEXT NOT NULL,"
            " ha1 TEXT NOT NULL, ha1_sha256 TEXT NOT NULL) WITHOUT ROWID"
        )
        file.execute("INSERT INTO subscriber VALUES (?, ?, ?, ?)", old[:4])
    assert read_subscribers(path).credential("alice") == old._replace(ha1_sha512_256="")
    users = SqliteSubscribers(path)
    assert users.credential("alice") == old._replace(ha1_sha512_256="")
    assert users.user("alice").algorithms == ("MD5", "SHA-256")
    assert (users.lacking("SHA-512-256"), users.lacking("SHA-256")) == (1, 0)
    users.passwd("alice", "two")
    users.add("bob", "three", "edgesip")
    assert users.credential("alice") == Credential.of("alice", "edgesip", "two")
    assert users.lacking("SHA-512-256") == 0
    assert read_subscribers(path).users() == [
        Credential.of("alice", "edgesip", "two"),
        Credential.of("bob", "edgesip", "three"),
    ]
    users.close()
    assert SqliteSubscribers(path).user("bob").algorithms == ("MD5", "SHA-256", "SHA-512-256")
