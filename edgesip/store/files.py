"""Opening an SQLite file the way all of ours are opened: private, WAL, and saying what to do on trouble."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

from edgesip.store.api import StoreError

BUSY_MS = 50
"""How long a statement waits for another process's lock: it runs inside the loop, so hardly at all."""


def open_database(path: Path, *, synchronous: str, busy_ms: int = BUSY_MS) -> sqlite3.Connection:
    """Open or create a database file, owner-only; `StoreError` when it cannot be used.

    Root that creates a file inside somebody's state directory leaves it to that somebody: SQLite then gives
    the same owner to the -wal and -shm files, and the server can open what an operator's `sudo` made.
    """
    try:
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        _create(path)
        connection = sqlite3.connect(path, timeout=busy_ms / 1000, isolation_level=None)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"{path}: cannot be opened: {_why(error)}") from None
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={synchronous}")
    except sqlite3.Error as error:
        connection.close()
        raise trouble(path, error) from None
    return connection


def kept_secret(path: Path, size: int = 32) -> bytes:
    """The random octets in a file that only its owner reads, made when it is not there or cut short.

    Raises `StoreError`.
    """
    try:
        with contextlib.suppress(FileNotFoundError):
            found = path.read_bytes()
            if len(found) >= size:
                return found
        secret = os.urandom(size)
        fresh = path.with_name(f"{path.name}.new")
        fresh.unlink(missing_ok=True)
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(fd, "wb") as file:
            if os.geteuid() == 0:
                owner = os.stat(path.parent)
                os.fchown(fd, owner.st_uid, owner.st_gid)
            file.write(secret)
            file.flush()
            os.fsync(fd)
        fresh.rename(path)
    except OSError as error:
        raise StoreError(f"{path}: cannot be kept: {error.strerror}") from None
    return secret


def trouble(path: Path, error: sqlite3.Error) -> StoreError:
    """The error of a database as one that says what an operator can do about it."""
    text = str(error)
    if "full" in text:
        return StoreError(f"{path}: the disk is full ({text}): free some space on it")
    if "not a database" in text or "malformed" in text:
        return StoreError(f"{path}: damaged ({text}): move it away to start with an empty one")
    if "locked" in text:
        return StoreError(f"{path}: another process holds it locked")
    if "readonly" in text:
        return StoreError(f"{path}: not writable for this user (uid {os.geteuid()})")
    return StoreError(f"{path}: {text}")


def _why(error: OSError | sqlite3.Error) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def _create(path: Path) -> None:
    """Make the file with the right mode and owner before SQLite makes it with others."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
    except FileExistsError:
        return
    try:
        if os.geteuid() == 0:
            owner = os.stat(path.parent)
            os.fchown(fd, owner.st_uid, owner.st_gid)
    finally:
        os.close(fd)
