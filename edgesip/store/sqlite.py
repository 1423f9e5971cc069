"""Records in an SQLite file: the embedded default behind the `Store` protocol.

One table per kind of record: key and JSON. It survives `kill -9` (WAL, synchronous=NORMAL). Groups are
committed inline in the loop, so nothing here may wait: the automatic checkpoint is off and `checkpoint`
is made for a thread. It knows nothing of what the records mean.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import quote

from edgesip.store import codec
from edgesip.store.api import Census, Record, StoreError, Write
from edgesip.store.files import open_database, trouble

CHECKPOINT_ROWS = 4000
"""Rows after which the journal is worth copying back (about 1 to 4 MB of it)."""

_CENSUS = """
    SELECT count(DISTINCT aor), count(*), sum(expires > 0 AND expires <= ?) FROM (
        SELECT json_extract(text, '$.aor') AS aor, json_extract(text, '$.expires') AS expires FROM (
            SELECT CAST(record AS TEXT) AS text FROM location WHERE json_valid(CAST(record AS TEXT))))
"""


class SqliteStore:
    """Fits the `Store` protocol; one thread uses it, except for `checkpoint`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = open_database(path, synchronous="NORMAL")
        self._connection.execute("PRAGMA wal_autocheckpoint=0")
        self._tables: set[str] = set()
        self.skipped = 0
        """Rows that could not be read, since the start."""
        self.uncheckpointed = 0
        """Rows committed since the last checkpoint began."""

    def load(self, table: str) -> Iterable[tuple[str, Record]]:
        """Every (key, record) of a table; unreadable rows are skipped and counted in `skipped`."""
        name = self._table(table)
        try:
            cursor = self._connection.execute(f"SELECT key, record FROM {name}")
            while (row := cursor.fetchone()) is not None:
                key, data = row
                try:
                    record = codec.loads(data)
                    text = key.decode("utf-8", "surrogateescape") if isinstance(key, bytes) else str(key)
                except (ValueError, TypeError):
                    record = None
                if isinstance(record, dict):
                    yield text, record
                else:
                    self.skipped += 1
        except sqlite3.OperationalError as error:
            raise trouble(self._path, error) from None
        except sqlite3.DatabaseError:  # a damaged page: what came before it is still good
            self.skipped += 1

    def commit(self, writes: Sequence[Write]) -> None:
        """Make a group durable in one transaction, or raise `StoreError` and keep none of it."""
        latest = {write.key: write.record for write in writes}
        puts: dict[str, list[tuple[str | bytes, bytes]]] = {}
        drops: dict[str, list[tuple[str | bytes]]] = {}
        for (table, key), record in latest.items():
            if record is None:
                drops.setdefault(table, []).append((_bound(key),))
            else:
                puts.setdefault(table, []).append((_bound(key), codec.dumps(record)))
        self._roll_back()
        names = {table: self._table(table) for table in {*puts, *drops}}
        execute, executemany = self._connection.execute, self._connection.executemany
        try:
            execute("BEGIN IMMEDIATE")
            for table, put_rows in puts.items():
                executemany(f"INSERT OR REPLACE INTO {names[table]} VALUES (?, ?)", put_rows)
            for table, drop_rows in drops.items():
                executemany(f"DELETE FROM {names[table]} WHERE key = ?", drop_rows)
            execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            raise trouble(self._path, error) from None
        self.uncheckpointed += len(latest)

    @property
    def checkpoint_due(self) -> bool:
        """True when enough was committed that `checkpoint` should run, in a thread."""
        return self.uncheckpointed >= CHECKPOINT_ROWS

    def checkpoint(self) -> None:
        """Copy the journal back into the file so that it can be written from its start again.

        Blocks for the disk and neither readers nor commits: run it in a thread. It has a connection of its
        own. `StoreError` when the disk refuses.
        """
        self.uncheckpointed = 0
        connection = sqlite3.connect(self._path, timeout=1.0, isolation_level=None)
        try:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error as error:
            raise trouble(self._path, error) from None
        finally:
            connection.close()

    def census(self, now: float) -> Census:
        """Count the location table; `now` is wall time. Reads all of it: run it in a thread.

        It has a connection of its own. `StoreError` when the file cannot be read.
        """
        try:
            connection = sqlite3.connect(f"file:{quote(str(self._path))}?mode=ro", uri=True, timeout=1.0)
        except sqlite3.Error as error:
            raise trouble(self._path, error) from None
        try:
            row = connection.execute(_CENSUS, (now,)).fetchone()
        except sqlite3.Error as error:
            raise trouble(self._path, error) from None
        finally:
            connection.close()
        return Census(*(int(one or 0) for one in row))

    def close(self) -> None:
        """Checkpoint and let go."""
        self._connection.close()

    def _table(self, table: str) -> str:
        if table not in self._tables:
            if not re.fullmatch(r"[a-z][a-z_]{0,30}", table):
                raise StoreError(f"{table!r} is not a name for a table")
            try:
                columns = "(key PRIMARY KEY NOT NULL, record NOT NULL) WITHOUT ROWID"
                self._connection.execute(f"CREATE TABLE IF NOT EXISTS {table} {columns}")
            except sqlite3.Error as error:
                raise trouble(self._path, error) from None
            self._tables.add(table)
        return table

    def _roll_back(self) -> None:
        """Leave no transaction open; one that will not end now is tried again before the next."""
        if self._connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")


def _bound(key: str) -> str | bytes:
    """A key as SQLite takes it: text, or octets where it holds some that are not UTF-8."""
    try:
        key.encode("utf-8")
    except UnicodeEncodeError:
        return key.encode("utf-8", "surrogateescape")
    return key
