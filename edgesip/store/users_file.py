"""Users in a text file, one a line, as `htdigest` writes them; read again when it has changed.

    alice:edgesip:939e7578ed9e3c518a452acee763bce9            user:realm:HA1 by MD5
    bob:edgesip:939e...bce9:7987...77ec:be03...fd84           and HA1 by SHA-256, and by SHA-512-256
    carol:edgesip:wonderland                                  user:realm:password, with calculate_ha1

Empty lines and lines that begin with # mean nothing. A line that cannot be used is counted, not shown: it may
hold a password. The whole file is kept in memory; for more than some ten thousand users SQLite is better.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgesip.store.api import Credential, StoreError
from edgesip.store.subscribers import BadSubscriber, credential_for, stored_credential

LOOK = 0.5
"""Seconds between two looks whether the file has changed."""

Log = Callable[[str, str, dict[str, Any]], None]


class FileUsers:
    """Fits the `Users` protocol. Raises `StoreError` when the file cannot be read at the start."""

    def __init__(
        self, path: Path, passwords: bool, log: Log, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = path
        self._passwords = passwords
        self._log = log
        self._clock = clock
        self._look = clock() + LOOK
        self._users: dict[str, Credential] = {}
        self._mark: tuple[int, int, int] | None = None
        self._failed = False
        try:
            self._read(self._stamp())
        except (OSError, UnicodeDecodeError) as error:
            raise StoreError(f"{path}: the users file cannot be read: {error}") from None

    def credential(self, username: str) -> Credential | None:
        """The credential of a user, matched exactly, or None."""
        now = self._clock()
        if now >= self._look:
            self._look = now + LOOK
            self._refresh()
        return self._users.get(username)

    def realms(self) -> dict[str, int]:
        """How many users each realm has."""
        return dict(Counter(user.realm for user in self._users.values()))

    def lacking(self, algorithm: str) -> int:
        """How many users have no HA1 by this algorithm."""
        return sum(not user.ha1_by(algorithm) for user in self._users.values())

    def close(self) -> None:
        """Nothing is open."""

    def _stamp(self) -> tuple[int, int, int]:
        found = self._path.stat()
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _refresh(self) -> None:
        """Read the file again if it is another one; what cannot be read leaves everything as it was."""
        try:
            mark = self._stamp()
            if mark != self._mark:
                self._read(mark)
            self._failed = False
        except (OSError, UnicodeDecodeError) as error:
            if not self._failed:
                self._failed = True
                self._log("error", "users file cannot be read", {"file": str(self._path), "why": str(error)})

    def _read(self, mark: tuple[int, int, int]) -> None:
        users: dict[str, Credential] = {}
        bad: list[int] = []
        for number, line in enumerate(self._path.read_text(encoding="utf-8").split("\n"), 1):
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            found = read_line(line, self._passwords)
            if found is None or found.username in users:
                bad.append(number)
            else:
                users[found.username] = found
        self._users, self._mark = users, mark
        shown = {"file": str(self._path), "users": len(users)}
        if bad:
            self._log("warning", "users read", {**shown, "bad_lines": len(bad), "first_bad": bad[0]})
        else:
            self._log("info", "users read", shown)


def read_line(line: str, passwords: bool = False) -> Credential | None:
    """The user of one line, or None when it is none; with `passwords` it has a password for its hashes."""
    parts = line.split(":", 2)
    if len(parts) < 3:
        return None
    username, realm, rest = parts
    try:
        if passwords:
            return credential_for(username, rest, realm)
        return stored_credential(username, realm, *rest.lower().split(":"))
    except BadSubscriber:
        return None


def line_of(user: Credential) -> str:
    """The line of a user, without its end."""
    return ":".join(user).rstrip(":")
