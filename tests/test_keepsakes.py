"""What a restart does not end: bans, and the dialogs of SUBSCRIBE and REFER."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from talk import SERVER, Packet, Phone, Talk

from edgesip.address import Addr, Flow
from edgesip.keepsakes import BANS, SUBSCRIPTIONS, Keepsakes
from edgesip.signal.dialog.subscriptions import SubscriptionSettings
from edgesip.signal.guard.bans import BanSettings
from edgesip.signal.guard.guard import GuardSettings
from edgesip.signal.wire.message import Request
from edgesip.store.api import Write
from edgesip.store.sqlite import SqliteStore

JUNK = b"OPTIONS sip:203.0.113.1 SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.9\r\nbad bad bad\r\n\r\n"
LISTENS = (("udp", SERVER), ("tcp", SERVER))
BEFORE, AFTER = 1_800_000_000.0, 1_799_990_000.0
"""What the wall clock is ahead of the monotonic one, which begins anew with the host."""


class Said(list[tuple[str, str, dict[str, Any]]]):
    """What was logged."""

    def __call__(self, level: str, event: str, fields: dict[str, Any]) -> None:
        self.append((level, event, fields))


def keepsakes(path: Path, talk: Talk, said: Said | None = None) -> Keepsakes:
    return Keepsakes(path / "kept.db", talk.core, said if said is not None else Said())


def killed(path: Path, talk: Talk) -> None:
    """What changed is written, and then nothing more is done: the process is gone."""
    assert not keepsakes(path, talk).write(talk.now, BEFORE)


def started(path: Path, talk: Talk, said: Said | None = None) -> Talk:
    """A server begins with what another one left, 20 seconds later on the wall."""
    talk.now += BEFORE - AFTER + 20.0
    keepsakes(path, talk, said).load(LISTENS, talk.now, AFTER)
    return talk


def banned(seconds: float = 300.0) -> tuple[Talk, Phone]:
    talk = Talk(guard=GuardSettings(ban=BanSettings(autoexpire=seconds)))
    stranger = talk.phone("mallory")
    for _ in range(20):
        talk >> Packet(stranger, JUNK)
    talk.sent.clear()
    assert unheard(talk, stranger)
    return talk, stranger


def unheard(talk: Talk, phone: Phone) -> bool:
    """Whether what comes from there is dropped unread."""
    return talk.core.guard.unheard(JUNK, phone.flow, talk.now, talk.core.admission)


# -- bans ------------------------------------------------------------------------------------------------


def test_a_ban_goes_on_after_a_restart_until_the_moment_it_was_meant_to_end(tmp_path: Path) -> None:
    talk, stranger = banned()
    killed(tmp_path, talk)
    again = started(tmp_path, Talk())
    assert unheard(again, stranger)
    (ban,) = again.core.guard.bans
    assert (ban.why, ban.times, ban.by_hand) == ("malformed", 1, False)
    again.now += 279.0
    assert unheard(again, stranger)
    again.now += 2.0
    assert not unheard(again, stranger)


def test_the_next_ban_of_the_same_source_is_longer_as_if_nothing_had_been_between(tmp_path: Path) -> None:
    talk, stranger = banned()
    killed(tmp_path, talk)
    again = started(tmp_path, Talk())
    again.now += 400.0
    for _ in range(20):
        again >> Packet(stranger, JUNK)
    (ban,) = again.core.guard.bans
    assert (ban.times, round(ban.until - ban.since)) == (2, 600)


def test_each_kind_of_ban_comes_back_as_narrow_as_it_was(tmp_path: Path) -> None:
    talk = Talk()
    bans, flow = talk.core.guard.bans, Flow("udp", SERVER, Addr("198.51.100.9", 4000))
    bans.add("198.51.100.1", "", 100.0, talk.now)
    bans.add("2001:db8::1", "Bob", 100.0, talk.now)
    for _ in range(20):
        bans.score(flow, "", "flood", talk.now, narrow=True)
    killed(tmp_path, talk)
    again = started(tmp_path, Talk())
    found = {(ban.source, ban.user, ban.port, ban.by_hand) for ban in again.core.guard.bans}
    assert found == {
        ("198.51.100.1", "", 0, True),
        ("2001:db8::/64", "bob", 0, True),
        ("198.51.100.9", "", 4000, False),
    }
    assert not again.core.guard.bans.changed, "what was read is not written again"


def test_what_is_over_or_lifted_or_trusted_now_does_not_come_back(tmp_path: Path) -> None:
    talk = Talk()
    bans = talk.core.guard.bans
    bans.add("198.51.100.1", "", 10.0, talk.now)
    bans.add("198.51.100.2", "", 500.0, talk.now)
    bans.add("198.51.100.3", "", 500.0, talk.now)
    kept = keepsakes(tmp_path, talk)
    kept.write(talk.now, BEFORE)
    bans.remove("198.51.100.2")
    kept.write(talk.now, BEFORE)
    later = Talk()
    later.guard.bans._near.trusts = lambda host: host == "198.51.100.3"
    started(tmp_path, later)
    assert len(later.core.guard.bans) == 0
    assert list(SqliteStore(tmp_path / "kept.db").load(BANS)) == []


def test_clearing_and_making_room_reach_the_store_too(tmp_path: Path) -> None:
    talk = Talk(guard=GuardSettings(ban=BanSettings(size=2)))
    bans, kept = talk.core.guard.bans, keepsakes(tmp_path, talk)
    for last in range(1, 4):
        bans.add(f"198.51.100.{last}", "", 500.0, talk.now)
        kept.write(talk.now, BEFORE)
    store = SqliteStore(tmp_path / "kept.db")
    assert [name for name, _ in store.load(BANS)] == ["198.51.100.2", "198.51.100.3"]
    bans.clear()
    kept.write(talk.now, BEFORE)
    assert list(store.load(BANS)) == []


def test_a_storm_of_bans_is_written_in_groups(tmp_path: Path) -> None:
    talk = Talk()
    kept = keepsakes(tmp_path, talk)
    for number in range(2500):
        talk.core.guard.bans.add(f"10.0.{number // 250}.{number % 250}", "", 500.0, talk.now)
    assert [kept.write(talk.now, BEFORE, 1000) for _ in range(3)] == [True, True, False]
    assert len(list(SqliteStore(tmp_path / "kept.db").load(BANS))) == 2500


# -- subscriptions ---------------------------------------------------------------------------------------


def pair() -> tuple[Talk, Phone, Phone]:
    talk = Talk()
    alice, bob = talk.phone("alice", nat=True), talk.phone("bob", nat=True)
    return talk.register(alice, bob), alice, bob


def subscribed(talk: Talk, watcher: Phone, friend: Phone) -> tuple[Packet, Request]:
    """A SUBSCRIBE that was answered with 200 for 600 seconds: as sent, and as it arrived."""
    fields = (("Event", "presence"), ("Expires", "600"))
    packet = watcher.request("SUBSCRIBE", f"sip:{friend.name}@{SERVER.host}", headers=fields)
    talk >> packet
    packet = watcher.with_credentials(packet, talk.response(watcher, 407))
    talk >> packet
    received = talk.request(friend, "SUBSCRIBE")
    talk >> friend.reply(received, 200, headers=(("Contact", friend.contact), ("Expires", "600")))
    talk.response(watcher, 200)
    return packet, received


def notify(phone: Phone, received: Request, state: str = "active;expires=600") -> Packet:
    routes = [("Route", str(route)) for route in received.headers.record_routes]
    return phone.request(
        "NOTIFY",
        str(received.headers.contacts[0].uri),
        call_id=received.headers.call_id,
        from_=f"{received.headers.get('To')};tag=to-{phone.name}",
        to=received.headers.get("From") or "",
        headers=[*routes, ("Event", "presence"), ("Subscription-State", state)],
    )


def test_a_notify_finds_its_way_after_a_restart_and_ends_what_was_begun_before(tmp_path: Path) -> None:
    talk, alice, bob = pair()
    _, received = subscribed(talk, alice, bob)
    killed(tmp_path, talk)

    again = started(tmp_path, Talk()).register(alice, bob)
    again >> notify(bob, received)
    arrived = again.request(alice, "NOTIFY")
    again >> alice.reply(arrived, 200) << (bob, 200)
    again.wait(500)
    again >> notify(bob, received, "terminated;reason=timeout")
    again >> alice.reply(again.request(alice, "NOTIFY"), 200) << (bob, 200)
    again.wait(40)
    again >> notify(bob, received) << (bob, 481)
    assert not keepsakes(tmp_path, again).write(again.now, AFTER)
    assert list(SqliteStore(tmp_path / "kept.db").load(SUBSCRIPTIONS)) == []


def test_without_what_was_kept_the_same_notify_is_refused() -> None:
    talk, alice, bob = pair()
    _, received = subscribed(talk, alice, bob)
    again = Talk().register(alice, bob)
    again >> notify(bob, received) << (bob, 481)


def test_what_nobody_answered_or_is_over_is_not_kept(tmp_path: Path) -> None:
    talk, alice, bob = pair()
    packet = alice.request("SUBSCRIBE", f"sip:bob@{SERVER.host}", headers=(("Event", "presence"),))
    talk >> packet >> alice.with_credentials(packet, talk.response(alice, 407))
    killed(tmp_path, talk)
    assert len(talk.core.subscriptions) == 1
    assert list(SqliteStore(tmp_path / "kept.db").load(SUBSCRIPTIONS)) == []

    talk, alice, bob = pair()
    subscribed(talk, alice, bob)
    killed(tmp_path, talk)
    late = Talk()
    late.now += 700.0
    assert len(started(tmp_path, late).core.subscriptions) == 0
    assert list(SqliteStore(tmp_path / "kept.db").load(SUBSCRIPTIONS)) == []


def test_everything_of_a_subscription_comes_back(tmp_path: Path) -> None:
    talk, alice, bob = pair()
    subscribed(talk, alice, bob)
    (one,) = talk.core.subscriptions
    (end,) = one.ends.values()
    end.others = {"dialog": talk.now + 50.0}
    killed(tmp_path, talk)
    again = started(tmp_path, Talk())
    (two,) = again.core.subscriptions
    names = ("call_id", "tag", "method", "event", "from_uri", "ruri", "wanted", "sent")
    assert [getattr(two, name) for name in names] == [getattr(one, name) for name in names]
    ((tag, other),) = two.ends.items()
    assert tag in one.ends
    for old, new in ((one.near, two.near), (end, other)):
        assert (new.flow, new.nated, new.ruid, new.sure) == (old.flow, old.nated, old.ruid, old.sure)
    assert other.others is not None
    assert other.others["dialog"] + AFTER == pytest.approx(end.others["dialog"] + BEFORE)
    assert two.until + AFTER == pytest.approx(one.until + BEFORE)


def test_limits_hold_for_those_who_come_back(tmp_path: Path) -> None:
    talk, alice, bob = pair()
    subscribed(talk, alice, bob)
    subscribed(talk, alice, bob)
    killed(tmp_path, talk)
    again = Talk()
    again.core.subscriptions.settings = SubscriptionSettings(100, 1)
    assert len(started(tmp_path, again).core.subscriptions) == 1


# -- what goes wrong -------------------------------------------------------------------------------------


def test_what_cannot_be_read_is_counted_and_the_rest_comes_back(tmp_path: Path) -> None:
    talk, stranger = banned()
    killed(tmp_path, talk)
    store = SqliteStore(tmp_path / "kept.db")
    ((_, good),) = store.load(BANS)
    rows: list[tuple[str, dict[str, Any]]] = [
        ("newer", {**good, "version": 2}),
        ("nobody", {**good, "host": "not an address"}),
        ("empty", {}),
        ("odd", {**good, "until": [], "host": "198.51.100.77"}),
    ]
    bad = [Write(None, (BANS, name), record) for name, record in rows]
    store.commit([*bad, Write(None, (SUBSCRIPTIONS, "x y"), {"version": 1, "ends": 7})])
    with sqlite3.connect(tmp_path / "kept.db") as file:
        file.execute("INSERT INTO bans VALUES ('torn', x'7b')")
    said = Said()
    again = started(tmp_path, Talk(), said)
    assert unheard(again, stranger)
    assert said == [("warning", "keepsakes loaded", {"bans": 1, "subscriptions": 0, "unreadable": 6})]


def test_a_damaged_file_is_said_once_and_ends_no_start(tmp_path: Path) -> None:
    (tmp_path / "kept.db").write_bytes(b"no database" * 1000)
    said, talk = Said(), Talk()
    kept = keepsakes(tmp_path, talk, said)
    kept.load(LISTENS, talk.now, BEFORE)
    talk.core.guard.bans.add("198.51.100.1", "", 500.0, talk.now)
    assert not kept.write(talk.now, BEFORE)
    kept.close()
    assert [event for _, event, _ in said] == ["keepsakes not written"]
    assert "damaged" in said[0][2]["why"]


def test_what_a_full_disk_did_not_take_is_written_when_there_is_room_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said, talk = Said(), Talk()
    kept = keepsakes(tmp_path, talk, said)
    with sqlite3.connect(tmp_path / "kept.db", isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        for last in (1, 2):
            talk.core.guard.bans.add(f"198.51.100.{last}", "", 500.0, talk.now)
            assert not kept.write(talk.now, BEFORE)
        other.execute("ROLLBACK")
    assert [event for _, event, _ in said] == ["keepsakes not written"]
    assert not kept.write(talk.now, BEFORE)
    assert len(list(SqliteStore(tmp_path / "kept.db").load(BANS))) == 2


def test_an_end_whose_listener_is_gone_is_reached_by_one_that_is_there(tmp_path: Path) -> None:
    talk, alice, bob = pair()
    subscribed(talk, alice, bob)
    killed(tmp_path, talk)
    moved, again = Addr("203.0.113.77", 5080), Talk()
    again.now += BEFORE - AFTER
    keepsakes(tmp_path, again).load((("udp", moved),), again.now, AFTER)
    (one,) = again.core.subscriptions
    assert one.near.flow == Flow("udp", moved, alice.flow.remote)
