"""What a store of lasting state promises, and nothing of how it keeps it.

A core never touches a store: it returns `Write` values, the service commits them in groups, and the
core hears of it through `stored(token)`. Records are plain JSON objects; times in them are wall time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol

Record = dict[str, Any]


class Write(NamedTuple):
    """One change to be made durable: `record` None deletes; `token` None means that nobody waits for it.

    `key` is `(table, primary key)`, for example `("location", "ulcx-…")`.
    """

    token: int | None
    key: tuple[str, str]
    record: Record | None


class Census(NamedTuple):
    """How many users and contacts a store has, and how many of the contacts are over."""

    users: int
    contacts: int
    expired: int


class Store(Protocol):
    """Where records survive the process."""

    def load(self, table: str) -> Iterable[tuple[str, Record]]:
        """Every (key, record) of a table; unreadable rows are skipped and counted, never fatal."""
        ...

    def commit(self, writes: Sequence[Write]) -> None:
        """Make a group of changes durable together, or raise `StoreError` and keep none of them."""
        ...

    def close(self) -> None:
        """Flush and let go."""
        ...


class Credential(NamedTuple):
    """What we keep of a password: HA1 by MD5 and by SHA-256, bound to the realm (RFC 7616 §3.4.2)."""

    username: str
    realm: str
    ha1: str
    ha1_sha256: str

    @classmethod
    def of(cls, username: str, realm: str, password: str) -> Credential:
        """What is kept of this password."""
        secret = f"{username}:{realm}:{password}".encode("utf-8", "surrogateescape")
        md5 = hashlib.md5(secret, usedforsecurity=False)
        return cls(username, realm, md5.hexdigest(), hashlib.sha256(secret).hexdigest())


class Subscribers(Protocol):
    """Who may authenticate. Answers at once; a change made by another process shows within a second."""

    def credential(self, username: str) -> Credential | None:
        """The stored credential of a user name, matched exactly, or None."""
        ...


class Users(Subscribers, Protocol):
    """A source of users, as a server opens and closes it."""

    def realms(self) -> dict[str, int]:
        """How many users each realm has."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class StoreError(Exception):
    """The store could not do it; the message says what to do about it."""
