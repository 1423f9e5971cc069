"""Databases of a state directory read once, changing nothing: for trying things out beside a server."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from tempfile import TemporaryDirectory

from edgesip.store import codec
from edgesip.store.api import Credential, Record, StoreError
from edgesip.store.files import trouble


class Snapshot:
    """Users as they were when they were read."""

    def __init__(self, users: dict[str, Credential]) -> None:
        self._users = users

    def credential(self, username: str) -> Credential | None:
        """The stored credential of a user name, matched exactly, or None."""
        return self._users.get(username)

    def users(self) -> list[Credential]:
        """Everybody."""
        return list(self._users.values())


def read_subscribers(path: Path) -> Snapshot:
    """Everybody in a user database; nobody when there is no such file. Raises `StoreError`."""
    rows = _rows(path, "SELECT * FROM subscriber")  # older files have a column less
    return Snapshot({row[0]: Credential(*row) for row in rows})


def read_location(path: Path) -> list[Record]:
    """The records of the location table, unreadable ones left out; none when there is no such file."""
    found = []
    for (data,) in _rows(path, "SELECT record FROM location"):
        try:
            record = codec.loads(data)
        except (ValueError, TypeError):
            continue
        if isinstance(record, dict):
            found.append(record)
    return found


def _rows(path: Path, statement: str) -> list[tuple[str, ...]]:
    """The rows of a copy: SQLite leaves files of its own beside any database that it opens.

    The journal is copied last, so that a server at work meanwhile makes the copy old and never torn.
    """
    if not path.exists():
        return []
    with TemporaryDirectory() as directory:
        copy = Path(directory, path.name)
        try:
            shutil.copyfile(path, copy)
            journal = path.with_name(f"{path.name}-wal")
            if journal.exists():
                shutil.copyfile(journal, copy.with_name(journal.name))
        except OSError as error:
            raise StoreError(f"{path}: cannot be read: {error.strerror}") from None
        connection = sqlite3.connect(copy)
        try:
            return list(connection.execute(statement))
        except sqlite3.Error as error:
            if "no such table" in str(error):
                return []
            raise trouble(path, error) from None
        finally:
            connection.close()


def soundness(path: Path, table: str) -> tuple[str, int]:
    """What SQLite finds wrong with a database (empty: nothing), and the rows of a table of it.

    -1 rows when there is no such file. A copy is looked at, so it takes as much space for a moment.
    """
    if not path.exists():
        return "", -1
    try:
        (verdict,) = _rows(path, "PRAGMA quick_check(1)")[0]
        if verdict != "ok":
            return f"{path}: damaged ({verdict})", 0
        counted = _rows(path, f"SELECT count(*) FROM {table}")
        return "", int(counted[0][0]) if counted else 0
    except StoreError as error:
        return str(error), 0
