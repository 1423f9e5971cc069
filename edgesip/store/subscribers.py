"""The users of the server: names, realms and HA1s in an SQLite file of their own.

The command line writes it, the running server reads it: a change by another process shows at the next
question, because SQLite's `data_version` moves with it. Passwords are never kept, only HA1 by MD5, SHA-256
and SHA-512-256 beside their realm (RFC 7616 §3.4.2); who was stored before the last was kept has none. A
file of its own, since bindings change far more often.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from edgesip.store.api import DIGESTS, Credential, StoreError
from edgesip.store.files import open_database, trouble

CACHED = 65_536
"""Names kept in memory at most, unknown ones included: a guesser's names push out one another."""

FRESH = 0.25
"""Seconds for which a user that is known is not asked for again. Unknown names always are: a user who was
just added is there at once."""

_ADDED = "ha1_sha512_256"
"""The column that older files do not have yet."""
_COLUMNS = f"username, realm, ha1, ha1_sha256, {_ADDED}"
_HA1 = dict(zip(DIGESTS, ("ha1", "ha1_sha256", _ADDED), strict=True))
_HEX = re.compile(r"[0-9a-f]+", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9._+*#~-]{1,64}", re.ASCII)


class SubscriberExists(StoreError):
    """There is a user of that name already."""


class NoSubscriber(StoreError):
    """There is no user of that name."""


class BadSubscriber(StoreError):
    """The name, the realm or the password cannot be used."""


class SqliteSubscribers:
    """Fits the `Users` protocol, and changes users; one thread uses it."""

    def __init__(self, path: Path, busy_ms: int = 50, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._look = 0.0
        self._connection = open_database(path, synchronous="FULL", busy_ms=busy_ms)
        self._cache: dict[str, Credential | None] = {}
        self._version = -1
        self._run(
            "CREATE TABLE IF NOT EXISTS subscriber (username TEXT PRIMARY KEY NOT NULL, realm TEXT NOT NULL,"
            " ha1 TEXT NOT NULL, ha1_sha256 TEXT NOT NULL, ha1_sha512_256 TEXT NOT NULL DEFAULT '')"
            " WITHOUT ROWID"
        )
        if _ADDED not in [row[1] for row in self._run("PRAGMA table_info(subscriber)").fetchall()]:
            self._run(f"ALTER TABLE subscriber ADD COLUMN {_ADDED} TEXT NOT NULL DEFAULT ''")

    def credential(self, username: str) -> Credential | None:
        """The credential of a user, matched exactly, or None; `StoreError` when the file cannot be read."""
        now = self._clock()
        if now < self._look:
            known = self._cache.get(username)
            if known is not None:
                return known
        try:
            version = self._connection.execute("PRAGMA data_version").fetchone()[0]
        except sqlite3.Error as error:
            raise trouble(self._path, error) from None
        self._look = now + FRESH
        if version != self._version:
            self._cache.clear()
            self._version = version
        if username in self._cache:
            return self._cache[username]
        found = self._select(username) if _NAME.fullmatch(username) else None
        if len(self._cache) >= CACHED:
            del self._cache[next(iter(self._cache))]
        self._cache[username] = found
        return found

    def users(self) -> list[Credential]:
        """Everybody, by name."""
        rows = self._run(f"SELECT {_COLUMNS} FROM subscriber ORDER BY username").fetchall()
        return [Credential(*row) for row in rows]

    def realms(self) -> dict[str, int]:
        """How many users each realm has: users of another realm than the server's cannot authenticate."""
        return dict(self._run("SELECT realm, count(*) FROM subscriber GROUP BY realm").fetchall())

    def lacking(self, algorithm: str) -> int:
        """How many users have no HA1 by this one of `DIGESTS`."""
        column = _HA1[algorithm]
        return int(self._run(f"SELECT count(*) FROM subscriber WHERE {column} = ''").fetchone()[0])

    def add(self, username: str, password: str, realm: str) -> None:
        """Add a user, or raise `SubscriberExists` (names that differ in case only are one phone number)."""
        credential = credential_for(username, password, realm)
        rows = self._run(
            "SELECT username FROM subscriber WHERE lower(username) = lower(?)", username
        ).fetchall()
        if rows:
            raise SubscriberExists(f"there is a user {rows[0][0]} already")
        self._write(f"INSERT INTO subscriber ({_COLUMNS}) VALUES (?, ?, ?, ?, ?)", *credential)

    def put(self, users: Iterable[Credential]) -> tuple[int, int]:
        """Add these, or replace whoever has their names, all or none: how many were new, how many replaced.

        Raises `SubscriberExists` for a name that differs from a user's in case only.
        """
        new = replaced = 0
        self._write("BEGIN IMMEDIATE")
        try:
            for user in users:
                name = user.username
                rows = self._run("SELECT username FROM subscriber WHERE lower(username) = lower(?)", name)
                known = [row[0] for row in rows.fetchall()]
                if known and known != [name]:
                    raise SubscriberExists(f"{name}: there is a user {known[0]} already")
                self._run(f"INSERT OR REPLACE INTO subscriber ({_COLUMNS}) VALUES (?, ?, ?, ?, ?)", *user)
                new, replaced = (new, replaced + 1) if known else (new + 1, replaced)
        except StoreError:
            self._write("ROLLBACK")
            raise
        self._write("COMMIT")
        return new, replaced

    def user(self, username: str) -> Credential:
        """What is kept of a user, or `NoSubscriber`."""
        found = self._select(username)
        if found is None:
            raise NoSubscriber(f"there is no user {username}")
        return found

    def passwd(self, username: str, password: str, realm: str | None = None) -> None:
        """Set a user's password, in the realm the user has unless another is named."""
        old = self.user(username)
        _, *kept = credential_for(username, password, realm or old.realm)
        self._write(
            "UPDATE subscriber SET realm = ?, ha1 = ?, ha1_sha256 = ?, ha1_sha512_256 = ? WHERE username = ?",
            *kept,
            username,
        )

    def remove(self, username: str) -> None:
        """Remove a user, or raise `NoSubscriber`. Bindings stay until they expire or `ul rm` takes them."""
        if self._write("DELETE FROM subscriber WHERE username = ?", username) == 0:
            raise NoSubscriber(f"there is no user {username}")

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def _select(self, username: str) -> Credential | None:
        row = self._run(f"SELECT {_COLUMNS} FROM subscriber WHERE username = ?", username).fetchone()
        return Credential(*row) if row else None

    def _write(self, statement: str, *values: str) -> int:
        self._cache.clear()  # data_version moves for the changes of others only
        return self._run(statement, *values).rowcount

    def _run(self, statement: str, *values: str) -> sqlite3.Cursor:
        try:
            return self._connection.execute(statement, values)
        except sqlite3.Error as error:
            raise trouble(self._path, error) from None


def credential_for(username: str, password: str, realm: str) -> Credential:
    """What is kept of a password (RFC 7616 §3.4.2), or `BadSubscriber`."""
    _check(username, realm)
    if not password or not password.isprintable():
        raise BadSubscriber("a password is printable text, and not empty")
    return Credential.of(username, realm, password)


def stored_credential(username: str, realm: str, *hashes: str) -> Credential:
    """What was kept of a password elsewhere, by the `DIGESTS` in turn; but that by MD5 each may be missing or
    empty. Or `BadSubscriber`.
    """
    _check(username, realm)
    if len(hashes) > len(DIGESTS) or not hashes or not hashes[0]:
        raise BadSubscriber(f"{username}: there is a hash by MD5, and {len(DIGESTS)} hashes at most")
    for ha1, digits in zip(hashes, DIGESTS.values(), strict=False):
        if ha1 and (len(ha1) != digits or not _HEX.fullmatch(ha1)):
            raise BadSubscriber(f"{username}: a hash has {digits} hex digits")
    return Credential(username, realm, *hashes, *[""] * (len(DIGESTS) - len(hashes)))


def _check(username: str, realm: str) -> None:
    if not _NAME.fullmatch(username):
        raise BadSubscriber(
            f"{username!r}: a user name has letters, digits and . _ + * # ~ - only, 64 at most"
        )
    if not realm or not realm.isprintable() or '"' in realm or "\\" in realm:
        raise BadSubscriber(f"{realm!r}: a realm is printable text without quotes and backslashes")
