"""At the start: who cannot log in, and what becomes of phones over TCP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgesip.address import Addr, Flow
from edgesip.lasting import load_bindings, warn_users
from edgesip.signal.location.usrloc import Binding, Usrloc
from edgesip.store.api import Credential, Write
from edgesip.store.sqlite import SqliteStore
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


def test_what_led_to_a_phone_over_tcp_leads_there_again_when_it_has_come_back(tmp_path: Path) -> None:
    server, lines = Addr("203.0.113.1", 5060), [("tcp", Addr("203.0.113.1", 5060))]

    def phone(ruid: str, port: int) -> Binding:
        flow = Flow("tcp", server, Addr("198.51.100.7", port))
        contact, seen = f"sip:alice@192.168.1.10:{port};transport=tcp", f"sip:198.51.100.7:{port}"
        return Binding("alice", contact, 500.0, -1.0, "c", 1, seen, flow, "", True, "", 0, ruid)

    store = SqliteStore(tmp_path / "location.db")
    store.commit([Write(None, ("location", "old"), phone("old", 40000).record(0.0))])
    usrloc = Usrloc()
    load_bindings(store, usrloc, lines, 0.0, lambda *line: None)
    assert len(usrloc) == 0, "its connection is gone"
    assert usrloc.present("old") is None
    usrloc.put(phone("new", 40001))
    heir = usrloc.present("old")
    assert heir is not None
    assert heir.flow.remote.port == 40001
