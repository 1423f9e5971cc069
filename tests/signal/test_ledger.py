"""What is written when: the modes of `db_mode`, and a store that fails."""

from __future__ import annotations

from dataclasses import replace

import pytest
from test_usrloc import binding

from edgesip.signal.location.ledger import DbMode, Ledger
from edgesip.signal.location.usrloc import Usrloc
from edgesip.store.api import Write


class Book:
    """A ledger, its table and a clock."""

    def __init__(self, mode: DbMode = DbMode.BACK) -> None:
        self.ledger = Ledger(mode, 60.0)
        self.usrloc = Usrloc()
        self.now = 100.0

    def put(self, ruid: str) -> None:
        one = binding(ruid, aor=ruid, expires=9e9)
        new = self.usrloc.get(ruid) is None
        self.usrloc.put(one)
        self.ledger.note(ruid, new, False, self.now)

    def remove(self, ruid: str) -> None:
        self.usrloc.remove(binding(ruid))
        self.ledger.note(ruid, False, True, self.now)

    def state(self, ruid: str, started: float = 0.0) -> str:
        return self.ledger.state_of(binding(ruid), started)

    def written(self, later: float = 60.0) -> list[Write]:
        """What is due after so many seconds, all kept by the store."""
        self.now += later
        writes = self.ledger.take(self.usrloc.get, self.now, 0.0)
        for write in writes:
            if write.token is not None:
                self.ledger.stored(write.token, self.now, None)
        return writes


def told(writes: list[Write]) -> dict[str, str]:
    return {write.key[1]: "put" if write.record else "drop" for write in writes}


def test_write_back_waits_for_its_time() -> None:
    book = Book()
    assert book.ledger.deadline() is None
    book.put("a")
    assert book.ledger.deadline() == 160.0
    assert book.state("a") == "CS_NEW"
    assert book.written(59.0) == []
    assert told(book.written(1.0)) == {"a": "put"}
    assert book.state("a") == "CS_SYNC"
    assert book.ledger.deadline() is None
    book.put("a")
    assert book.state("a") == "CS_DIRTY"
    assert told(book.written()) == {"a": "put"}


def test_what_came_and_went_between_is_never_written() -> None:
    book = Book()
    book.put("a")
    book.remove("a")
    assert book.written() == []
    book.put("b")
    book.written()
    book.put("b")
    book.remove("b")
    assert told(book.written()) == {"b": "drop"}


def test_many_changes_are_written_in_slices() -> None:
    book = Book()
    for number in range(250):
        book.put(f"r{number}")
    book.ledger.hurry(book.now)
    sizes = [len(book.written(0.02)) for _ in range(4)]
    assert sizes == [100, 100, 50, 0]


def test_what_a_store_refuses_is_tried_again_as_it_is_then() -> None:
    book = Book()
    book.put("a")
    book.put("b")
    writes = book.ledger.take(book.usrloc.get, 160.0, 0.0)
    (token,) = [write.token for write in writes if write.token is not None]
    assert token < 0, "no token of a REGISTER"
    book.remove("b")
    book.ledger.stored(token, 160.0, "disk full")
    assert book.ledger.deadline() == 220.0
    assert told(book.written(120.0)) == {"a": "put", "b": "drop"}


@pytest.mark.parametrize(
    ("mode", "old", "new"),
    [
        (DbMode.MEMORY, "CS_NEW", "CS_NEW"),
        (DbMode.THROUGH, "CS_SYNC", "CS_SYNC"),
        (DbMode.READ_ONLY, "CS_SYNC", "CS_NEW"),
    ],
)
def test_the_other_modes_write_nothing_later(mode: DbMode, old: str, new: str) -> None:
    book = Book(mode)
    book.put("a")
    assert book.ledger.deadline() is None
    loaded = replace(binding("a"), last_modified=5.0)
    assert book.ledger.state_of(loaded, 10.0) == old
    assert book.ledger.state_of(replace(loaded, last_modified=15.0), 10.0) == new


@pytest.mark.parametrize(
    ("mode", "drops"), [(DbMode.THROUGH, True), (DbMode.BACK, True), (DbMode.MEMORY, False)]
)
def test_expired_contacts_leave_the_store_without_hurry(mode: DbMode, drops: bool) -> None:
    book = Book(mode)
    book.ledger.expired("a", book.now)
    assert told(book.written()) == ({"a": "drop"} if drops else {})
