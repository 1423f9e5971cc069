"""At the start: who cannot log in, and why, said before the first phone complains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgesip.lasting import warn_users
from edgesip.store.api import Credential
from edgesip.store.subscribers import SqliteSubscribers


def test_users_of_another_realm_and_those_without_a_hash_that_is_asked_for(tmp_path: Path) -> None:
    users = SqliteSubscribers(tmp_path / "subscribers.db")
    users.add("alice", "x", "edgesip")
    old = Credential.of("bob", "old.example", "x")
    users.put([old._replace(ha1_sha512_256="")])
    said: list[tuple[str, str, dict[str, Any]]] = []
    warn_users(users, "edgesip", ("SHA-512-256", "MD5"), lambda *line: said.append(line))
    assert [(event, fields["users"]) for _, event, fields in said] == [
        ("users without a hash", 1),
        ("users of another realm cannot log in", 1),
    ]
    assert said[0][2]["algorithm"] == "SHA-512-256"
