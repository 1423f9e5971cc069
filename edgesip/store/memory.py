"""A store that forgets with the process: `usrloc.db_url = ""`, and the twin of SQLite in tests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from edgesip.store.api import Record, Write


class MemoryStore:
    """Keeps records in dictionaries; fits the `Store` protocol."""

    def __init__(self) -> None:
        self._tables: dict[str, dict[str, Record]] = {}

    def load(self, table: str) -> Iterable[tuple[str, Record]]:
        """Every (key, record) of a table."""
        return list(self._tables.get(table, {}).items())

    def commit(self, writes: Sequence[Write]) -> None:
        """Apply a group of changes."""
        for write in writes:
            table, key = write.key
            rows = self._tables.setdefault(table, {})
            if write.record is None:
                rows.pop(key, None)
            else:
                rows[key] = write.record

    def close(self) -> None:
        """Forget everything."""
        self._tables.clear()
