"""Calls in the file: written as they change and no oftener, taken up whatever the file is like."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from relay_talk import KEY, Talk

from edgesip.address import Addr, Flow
from edgesip.relay import kept as media
from edgesip.resuming import GATHER, PAUSE, REFRESH, SLICE, Diary, Rooms, opened, resume
from edgesip.signal.dialog import kept as dialogs
from edgesip.signal.dialog.state import Dialog, Leg, On
from edgesip.signal.dialog.table import Dialogs, DialogSettings
from edgesip.signal.wire.headers import Headers
from edgesip.signal.wire.message import Request
from edgesip.store.api import Record, StoreError, Write
from edgesip.store.memory import MemoryStore
from edgesip.store.sqlite import SqliteStore

WALL = 1_700_000_000.0
FLOW = Flow("udp", Addr("203.0.113.1", 5060), Addr("198.51.100.2", 40000))
Lines = list[tuple[str, str, dict[str, Any]]]


class Counting(MemoryStore):
    """A store that counts what is written, and refuses when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.groups: list[int] = []
        self.full = False

    def commit(self, writes: Sequence[Write]) -> None:
        if self.full:
            raise StoreError("calls.db: the disk is full")
        self.groups.append(len(writes))
        super().commit(writes)

    def rows(self, table: str) -> dict[str, Record]:
        return dict(self.load(table))


class House:
    """Dialogs, a relay with one call, and the diary over a store."""

    def __init__(self, store: Counting | None = None) -> None:
        self.talk = Talk()
        self.dialogs = Dialogs(DialogSettings())
        self.store = store or Counting()
        self.lines: Lines = []
        self.rooms = Rooms(self.dialogs, self.talk.core)
        self.diary = self.begin()

    def begin(self) -> Diary:
        return Diary(self.store, self.rooms, WALL, self.log)

    def log(self, level: str, event: str, fields: dict[str, Any]) -> None:
        self.lines.append((level, event, fields))

    def answered(self, call_id: str = KEY[0]) -> Dialog:
        """A call that signalling has: its dialog, whose media is the relay's call."""
        fields = (
            ("From", f"<sip:a@x>;tag={KEY[1]}"),
            ("To", "<sip:b@x>"),
            ("Call-ID", call_id),
            ("CSeq", "1 INVITE"),
        )
        invite = Request("INVITE", "sip:b@x", Headers(fields), b"")
        dialog = self.dialogs.create(invite, FLOW, self.talk.now, False)
        self.dialogs.answered(dialog, Leg("<sip:b@x>;tag=tag-b", "tag-b", flow=FLOW), "b1", self.talk.now)
        return dialog

    def turn(self) -> float:
        self.talk.now += GATHER
        return self.diary.turn(self.talk.now)


def test_a_call_is_two_rows_while_it_is_up_and_none_after() -> None:
    house = House()
    house.talk.connect()
    dialog = house.answered()
    house.turn()
    assert len(house.store.rows(media.TABLE)) == len(house.store.rows(dialogs.TABLE)) == 1
    house.talk.core.end(KEY, house.talk.now)
    house.dialogs.end(dialog, On.BYE, "BYE from caller", house.talk.now)
    house.turn()
    assert house.store.rows(media.TABLE) == house.store.rows(dialogs.TABLE) == {}
    house.turn()
    assert house.store.groups == [2, 2]


def test_a_call_that_is_over_at_once_is_never_written() -> None:
    house = House()
    house.talk.connect()
    dialog = house.answered()
    house.talk.core.end(KEY, house.talk.now)
    house.dialogs.end(dialog, On.BYE, "BYE from caller", house.talk.now)
    assert house.turn() == GATHER
    assert house.store.groups == []


def test_packets_alone_write_a_call_once_in_half_a_minute() -> None:
    house = House()
    house.talk.connect()
    house.answered()
    house.turn()
    for _ in range(int(2 * REFRESH / GATHER)):
        house.talk.caller.speak()
        house.turn()
    assert 2 <= sum(house.store.groups) - 2 <= 3
    [row] = house.store.rows(media.TABLE).values()
    assert max(packets for packets, _ in row["carried"].values()) > 50


def test_many_changes_are_written_a_slice_at_a_time() -> None:
    house = House()
    for number in range(3 * SLICE):
        house.answered(f"call-{number}")
    assert [house.turn() for _ in range(3)] == [PAUSE, PAUSE, GATHER]
    assert house.store.groups == [SLICE, SLICE, SLICE]
    assert len(house.store.rows(dialogs.TABLE)) == 3 * SLICE


def test_a_full_disk_is_said_once_and_tried_again() -> None:
    house = House()
    house.store.full = True
    house.answered()
    assert [house.turn() for _ in range(3)] == [GATHER] * 3
    assert [event for _, event, _ in house.lines] == ["store failed"]
    house.store.full = False
    house.turn()
    assert len(house.store.rows(dialogs.TABLE)) == 1


def test_what_happens_while_the_disk_is_full_is_made_up_for() -> None:
    house = House()
    gone, stays = house.answered("gone"), house.answered("stays")
    house.turn()
    house.store.full = True
    house.dialogs.end(gone, On.BYE, "BYE from caller", house.talk.now)
    house.dialogs.end(house.answered("short"), On.BYE, "BYE from caller", house.talk.now)
    for _ in range(4):
        house.turn()
    house.answered("new")
    house.turn()
    house.store.full = False
    house.turn()
    assert {row["call_id"] for row in house.store.rows(dialogs.TABLE).values()} == {"stays", "new"}
    assert stays.state < 5


def test_a_server_that_ends_writes_everything_as_it_is() -> None:
    house = House()
    house.talk.connect()
    for number in range(2 * SLICE):
        house.answered(f"call-{number}")
    house.talk.caller.speak(9)
    house.diary.close(house.talk.now)
    assert len(house.store.rows(dialogs.TABLE)) == 2 * SLICE
    [row] = house.store.rows(media.TABLE).values()
    assert max(packets for packets, _ in row["carried"].values()) >= 9


def next_house(before: House, store: Counting | None = None) -> House:
    """The next process on the same store, ten seconds later."""
    after = House(store or before.store)
    after.talk.now = 50.0
    resume(after.store, after.rooms, 50.0, WALL + before.talk.now + 10 - 50.0, after.log)
    after.diary = after.begin()
    return after


def test_the_next_process_has_the_call_and_ends_it() -> None:
    house = House()
    house.talk.connect()
    house.answered()
    house.turn()
    after = next_house(house)
    assert after.lines == [("info", "calls taken up again", {"calls": 1, "media": 1})]
    [dialog] = after.dialogs
    assert after.talk.core.keys == [dialog.media_key]
    after.talk.core.end(KEY, after.talk.now)
    after.dialogs.end(dialog, On.BYE, "BYE from callee", after.talk.now)
    after.turn()
    assert after.store.rows(media.TABLE) == after.store.rows(dialogs.TABLE) == {}


def test_what_cannot_be_taken_up_is_said_with_the_reason_and_deleted() -> None:
    house = House()
    house.talk.connect()
    house.answered()
    house.turn()
    [name] = house.store.rows(dialogs.TABLE)
    house.store.commit(
        [
            Write(None, (dialogs.TABLE, "old"), {"v": 0}),
            Write(None, (dialogs.TABLE, "none"), {"v": dialogs.VERSION, "call_id": 7}),
            Write(None, (media.TABLE, "none"), {}),
        ]
    )
    after = next_house(house)
    [(level, event, fields)] = after.lines
    assert (level, event, fields["calls"], fields["media"], fields["lost"]) == (
        *("warning", "calls taken up again"),
        *(1, 1, 3),
    )
    assert "2: its record is of another version" in fields["why"]
    assert set(after.store.rows(dialogs.TABLE)) == {name}
    assert len(after.store.rows(media.TABLE)) == 1


def test_phones_are_reached_from_an_address_that_is_there() -> None:
    house = House()
    house.answered()
    house.turn()
    here = Addr("203.0.113.1", 5070)
    rooms = Rooms(Dialogs(DialogSettings()), None, (("udp", here),))
    resume(house.store, rooms, 50.0, WALL + house.talk.now, house.log)
    [dialog] = rooms.dialogs
    assert dialog.caller.flow == dialog.callee.flow == FLOW._replace(local=here)


def test_without_a_relay_dialogs_alone_come_back() -> None:
    house = House()
    house.talk.connect()
    house.answered()
    house.turn()
    rooms = Rooms(Dialogs(DialogSettings()), None)
    resumed = resume(house.store, rooms, 50.0, WALL + house.talk.now, house.log)
    assert (resumed.calls, resumed.media) == (1, [])
    assert house.store.rows(media.TABLE) == {}
    assert Diary(house.store, rooms, WALL, house.log).turn(51.0) == GATHER


@pytest.mark.parametrize("content", [b"", b"no database " * 400])
def test_whatever_the_file_is_the_server_starts(tmp_path: Path, content: bytes) -> None:
    path, house = tmp_path / "calls.db", House()
    path.write_bytes(content)
    store = opened(path, house.log)
    assert store is not None
    assert resume(store, house.rooms, 50.0, WALL, house.log).media == []
    store.close()
    damaged = path.with_name("calls.db.damaged")
    assert damaged.exists() is bool(content)
    assert [event for _, event, _ in house.lines] == ["calls not readable"] * bool(content)


def test_a_file_that_cannot_be_there_costs_the_calls_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    house = House()
    assert opened(tmp_path / "file" / "calls.db", house.log) is None
    assert [event for _, event, _ in house.lines] == ["calls are not kept"]


def test_what_is_in_the_file_comes_back_from_the_disk(tmp_path: Path) -> None:
    house = House()
    house.talk.connect()
    house.answered("call-\udcff")
    house.answered()
    store = SqliteStore(tmp_path / "calls.db")
    Diary(store, house.rooms, WALL, house.log).close(house.talk.now)
    store.close()
    again, after = SqliteStore(tmp_path / "calls.db"), House()
    resumed = resume(again, after.rooms, 50.0, WALL + house.talk.now, after.log)
    again.close()
    assert (resumed.calls, resumed.media, resumed.lost) == (2, [KEY], {})
    assert after.talk.binder.bound == house.talk.binder.bound
