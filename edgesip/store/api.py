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


DIGESTS = {"MD5": 32, "SHA-256": 64, "SHA-512-256": 64}
"""Algorithms by which a password can be proved (RFC 7616 §3.2, RFC 8760), the weakest first, and the hex
digits of their hashes."""


def digest_of(algorithm: str, data: bytes) -> str:
    """The hash of octets by one of `DIGESTS`, in hex."""
    if algorithm == "MD5":
        return hashlib.md5(data, usedforsecurity=False).hexdigest()
    if algorithm == "SHA-256":
        return hashlib.sha256(data).hexdigest()
    return hashlib.new("sha512_256", data).hexdigest()


class Credential(NamedTuple):
    """What we keep of a password: HA1 by each algorithm, bound to the realm (RFC 7616 §3.4.2).

    By SHA-256 and SHA-512-256 it may be empty: such a user cannot authenticate by them.
    """

    username: str
    realm: str
    ha1: str
    ha1_sha256: str
    ha1_sha512_256: str = ""

    @classmethod
    def of(cls, username: str, realm: str, password: str) -> Credential:
        """What is kept of this password."""
        secret = f"{username}:{realm}:{password}".encode("utf-8", "surrogateescape")
        return cls(username, realm, *(digest_of(name, secret) for name in DIGESTS))

    def ha1_by(self, algorithm: str) -> str:
        """HA1 by one of `DIGESTS`, empty when there is none."""
        if algorithm == "MD5":
            return self.ha1
        return self.ha1_sha256 if algorithm == "SHA-256" else self.ha1_sha512_256

    @property
    def algorithms(self) -> tuple[str, ...]:
        """By what the password can be proved, of `DIGESTS`."""
        return tuple(name for name in DIGESTS if self.ha1_by(name))


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

    def lacking(self, algorithm: str) -> int:
        """How many users cannot prove their password by this algorithm."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class StoreError(Exception):
    """The store could not do it; the message says what to do about it."""
