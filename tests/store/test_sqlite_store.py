"""Records outlive the process, whatever happens to it and to the disk."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from edgesip.store.api import Store, StoreError, Write
from edgesip.store.memory import MemoryStore
from edgesip.store.sqlite import SqliteStore


def put(key: str, **record: object) -> Write:
    return Write(None, ("location", key), dict(record))


def drop(key: str) -> Write:
    return Write(None, ("location", key), None)


@pytest.fixture(params=["sqlite", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return SqliteStore(tmp_path / "s.db") if request.param == "sqlite" else MemoryStore()


def test_what_was_committed_is_loaded(store: Store) -> None:
    store.commit([put("a", n=1), put("b", n=2), Write(7, ("dialog", "a"), {"n": 3})])
    store.commit([put("a", n=4), drop("b"), drop("never there")])
    assert dict(store.load("location")) == {"a": {"n": 4}}
    assert dict(store.load("dialog")) == {"a": {"n": 3}}
    assert dict(store.load("empty")) == {}


def test_the_last_change_of_a_group_wins(store: Store) -> None:
    store.commit([put("a", n=1), drop("a"), put("b", n=1), put("b", n=2), drop("c"), put("c", n=3)])
    assert dict(store.load("location")) == {"b": {"n": 2}, "c": {"n": 3}}


def test_octets_that_are_no_utf8_survive(tmp_path: Path) -> None:
    odd = b"caf\xe9\xff".decode("utf-8", "surrogateescape")
    SqliteStore(tmp_path / "s.db").commit([put(odd, user_agent=odd, plain="é\0\x1b[2J")])
    again = dict(SqliteStore(tmp_path / "s.db").load("location"))
    assert again == {odd: {"user_agent": odd, "plain": "é\0\x1b[2J"}}


def test_kill_9_loses_nothing_that_was_committed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path\n"
        "from edgesip.store.sqlite import SqliteStore; from edgesip.store.api import Write\n"
        "store = SqliteStore(Path(sys.argv[1]))\n"
        "store.commit([Write(1, ('location', 'a'), {'n': 1})]); print('done', flush=True); time.sleep(30)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code, tmp_path / "s.db"], stdout=subprocess.PIPE)
    assert child.stdout is not None
    with child.stdout:
        assert child.stdout.readline() == b"done\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert dict(SqliteStore(tmp_path / "s.db").load("location")) == {"a": {"n": 1}}


@pytest.mark.parametrize("bad", ["{", "[1]", "null", "", b"\xff\xfe", 7])
def test_unreadable_rows_are_skipped_and_counted(tmp_path: Path, bad: object) -> None:
    store = SqliteStore(tmp_path / "s.db")
    store.commit([put("a", n=1), put("b", n=2)])
    with sqlite3.connect(tmp_path / "s.db") as other:
        other.execute("UPDATE location SET record = ? WHERE key = 'a'", (bad,))
    assert dict(store.load("location")) == {"b": {"n": 2}}
    assert store.skipped == 1


def test_a_full_disk_is_an_error_that_says_so_and_keeps_none_of_the_group(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "s.db")
    store.commit([put("a", n=1)])
    store._connection.execute("PRAGMA max_page_count=4")
    with pytest.raises(StoreError, match="disk is full"):
        store.commit([put("a", n=2), *(put(f"k{i}", text="x" * 2000) for i in range(50))])
    assert dict(store.load("location")) == {"a": {"n": 1}}
    store._connection.execute("PRAGMA max_page_count=100000")
    store.commit([put("b", n=2)])
    assert set(dict(store.load("location"))) == {"a", "b"}


def test_a_foreign_lock_is_an_error_soon_and_over_with_the_lock(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "s.db")
    store.commit([put("a", n=1)])
    other = sqlite3.connect(tmp_path / "s.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="locked"):
        store.commit([put("b", n=2)])
    other.execute("ROLLBACK")
    other.close()
    store.commit([put("b", n=2)])
    assert set(dict(store.load("location"))) == {"a", "b"}


def test_a_file_that_is_no_database_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "s.db").write_bytes(b"this is not a database at all" * 100)
    with pytest.raises(StoreError, match="move it away"):
        SqliteStore(tmp_path / "s.db")


def test_a_record_that_is_no_json_is_our_bug_and_harms_no_later_group(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "s.db")
    with pytest.raises(TypeError):
        store.commit([put("a", n=object())])
    store.commit([put("b", n=1)])
    assert dict(store.load("location")) == {"b": {"n": 1}}


def test_checkpoints_run_in_a_thread_beside_commits(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "s.db")
    for start in range(0, 5000, 500):
        store.commit([put(f"k{i}", text="x" * 300) for i in range(start, start + 500)])
    assert store.checkpoint_due
    thread = threading.Thread(target=store.checkpoint)
    thread.start()
    store.commit([put("meanwhile", n=1)])
    thread.join()
    assert not store.checkpoint_due
    journal = tmp_path / "s.db-wal"
    peak = journal.stat().st_size
    store.checkpoint()
    store.commit([put(f"k{i}", text="y" * 300) for i in range(500)])
    assert journal.stat().st_size == peak, "the journal is written again from its start"


def test_the_file_is_not_for_others(tmp_path: Path) -> None:
    SqliteStore(tmp_path / "deep" / "s.db").close()
    assert (tmp_path / "deep" / "s.db").stat().st_mode & 0o007 == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it gives files away")
def test_root_leaves_files_to_the_owner_of_the_directory(tmp_path: Path) -> None:
    os.chown(tmp_path, 65534, 65534)
    store = SqliteStore(tmp_path / "s.db")
    store.commit([put("a", n=1)])
    owners = {file.name: file.stat().st_uid for file in tmp_path.iterdir()}
    assert owners == {"s.db": 65534, "s.db-wal": 65534, "s.db-shm": 65534}
