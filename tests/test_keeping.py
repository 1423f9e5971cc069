"""The file that keeps endpoints through a restart, and the keys of `[nat_traversal]`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgesip import forms, profile
from edgesip.address import Addr, Flow
from edgesip.keeping import learning_of, load_state, room_for, save_state, settings_of
from edgesip.sections_traversal import NatTraversal
from edgesip.signal.nat.traversal import Row, Traversal

HERE = Addr("203.0.113.1", 5060)
LISTENS = (("udp", HERE), ("udp", Addr("2001:db8::1", 5060)))
WALL = 1_700_000_000.0
Lines = list[tuple[str, str, dict[str, Any]]]


def room(**keys: object) -> Traversal:
    return room_for(NatTraversal(**keys), bytes, lambda local: local, lambda flow: False)  # type: ignore[arg-type]


def load(path: Path, into: Traversal, now: float = 100.0) -> Lines:
    lines: Lines = []
    load_state(path, into, LISTENS, now, WALL, lambda *line: lines.append(line))
    return lines


def nothing(level: str, event: str, fields: dict[str, Any]) -> None:
    raise AssertionError(event)


def test_registrations_and_subscriptions_outlive_a_restart_and_calls_do_not(tmp_path: Path) -> None:
    before, path = room(), tmp_path / "keepalive_state"
    four = Flow("udp", HERE, Addr("198.51.100.7", 40000))
    six = Flow("udp", Addr("2001:db8::1", 5060), Addr("2001:db8::7", 5070))
    gone = Flow("udp", HERE, Addr("198.51.100.8", 40000))
    before.restore(iter([Row(four, 700.0, 0.0), Row(six, 90.0, 400.0), Row(gone, 120.0, 0.0)]), 50.0)
    before.calls([], Flow("udp", HERE, Addr("198.51.100.9", 40000)), 50.0)
    save_state(path, before, 130.0, WALL, nothing)
    assert sorted(path.read_text().splitlines()[1:]) == [
        "sip:198.51.100.7:40000 udp:203.0.113.1:5060 1700000700 0",
        "sip:[2001:db8::7]:5070 udp:[2001:db8::1]:5060 0 1700000400",
    ]
    assert path.stat().st_mode & 0o777 == 0o600
    after = room()
    assert load(path, after, 140.0) == [
        ("info", "endpoints loaded", {"endpoints": 2, "unreadable": 0, "other_address": 0, "over": 0})
    ]
    assert sorted(after.rows(140.0)) == sorted([Row(four, 700.0, 0.0), Row(six, 0.0, 400.0)])


def test_bad_lines_are_counted_and_the_others_taken(tmp_path: Path) -> None:
    path, until = tmp_path / "state", int(WALL) + 500
    path.write_bytes(
        f"""# a comment
sip:198.51.100.7:40000 udp:203.0.113.1:5060 {until} 0
sip:198.51.100.7:40000 udp:203.0.113.1:5060 {until}
sip:198.51.100.7:40000 udp:203.0.113.1:5060 soon 0
sip:198.51.100.7:40000 tcp:203.0.113.1:5060 {until} 0
sip:198.51.100.7 udp:203.0.113.1:5060 {until} 0
sip:224.0.0.1:5060 udp:203.0.113.1:5060 {until} 0
http://198.51.100.7 udp:203.0.113.1:5060 {until} 0
sip:198.51.100.8:40000 udp:203.0.113.99:5060 {until} 0
sip:198.51.100.9:40000 udp:203.0.113.1:5060 {int(WALL) + 99} 0
sip:198.51.100.9:40000 udp:203.0.113.1:5060 0 {until}

""".encode()
        + b"\xff\x00" * 700
    )
    into = room()
    [(level, event, fields)] = load(path, into)
    assert (level, event) == ("warning", "endpoints loaded")
    assert fields["endpoints"] == 2
    assert (fields["other_address"], fields["over"]) == (1, 1)
    assert 7 <= fields["unreadable"] <= 20
    assert [row.flow.remote.host for row in sorted(into.rows(100.0))] == ["198.51.100.7", "198.51.100.9"]


def test_no_file_is_nothing_to_say_and_a_directory_is(tmp_path: Path) -> None:
    assert load(tmp_path / "none", room()) == []
    [(level, event, _)] = load(tmp_path, room())
    assert (level, event) == ("warning", "endpoints not loaded")


def test_a_file_that_cannot_be_written_is_an_error_line_and_the_old_one_stays(tmp_path: Path) -> None:
    lines: Lines = []
    save_state(tmp_path / "missing" / "state", room(), 1.0, WALL, lambda *line: lines.append(line))
    assert [line[:2] for line in lines] == [("error", "endpoints not saved")]


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    secret, path = tmp_path / "secret", tmp_path / "state"
    secret.write_text("secret")
    (tmp_path / "state.new").symlink_to(secret)
    save_state(path, room(), 1.0, WALL, nothing)
    assert secret.read_text() == "secret"


@pytest.mark.parametrize(("given", "used"), [(0, 0.0), (1, 10.0), (9, 10.0), (10, 10.0), (60, 60.0)])
def test_one_to_nine_seconds_count_as_ten(given: int, used: float) -> None:
    assert settings_of(NatTraversal(keepalive_interval=given)).interval == used


def test_what_is_no_method_sender_or_header_is_refused(tmp_path: Path) -> None:
    for key, value in (
        ("keepalive_method", "INVITE"),
        ("keepalive_method", "a b"),
        ("keepalive_from", "tel:1"),
        ("keepalive_from", "sip:a@b>\r\nX: y"),
        ("keepalive_extra_headers", "no header"),
        ("keepalive_extra_headers", "Via: x"),
        ("keepalive_extra_headers", "i: x"),
        ("keepalive_extra_headers", "X: a\0b"),
        ("contact_match", "2"),
    ):
        with pytest.raises(profile.ConfigError, match=key):
            profile.load("nat-sbc", default_state_dir=tmp_path, sets=(f"nat_traversal.{key}={value}",))


def test_extra_headers_end_as_lines_of_sip_do() -> None:
    assert forms.header_lines("X-A: 1\nX-B: 2\r\n") == "X-A: 1\r\nX-B: 2\r\n"
    assert forms.header_lines("") == ""


def test_an_interval_that_becomes_nought_lets_everybody_go() -> None:
    kept = room()
    kept.restore(iter([Row(Flow("udp", HERE, Addr("198.51.100.7", 40000)), 700.0, 0.0)]), 50.0)
    kept.use(settings_of(NatTraversal(keepalive_interval=0)))
    assert len(kept) == 0
    assert kept.deadline(60.0) is None


def test_pings_get_no_rarer_than_who_does_not_answer_may_be_told_by(tmp_path: Path) -> None:
    for sets, longest in (
        ((), 120.0),
        (("nat_traversal.adaptive=false",), 0.0),
        (("nat_traversal.adaptive_max_interval=60",), 60.0),
        (("nathelper.keepalive_timeout=150",), 50.0),
    ):
        read = profile.load("nat-sbc", default_state_dir=tmp_path, sets=sets)
        assert learning_of(read).longest == longest
