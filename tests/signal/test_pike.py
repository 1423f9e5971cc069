"""pike: windows of time, who is blocked and for how long, and what a scan from everywhere costs."""

from __future__ import annotations

import pytest

from edgesip.signal.guard.pike import ALLOWED, BLOCKED, NEWLY_BLOCKED, Pike, PikeSettings
from edgesip.signal.proxy.inbound import Note


def pike(**settings: float) -> Pike:
    return Pike(PikeSettings(**{"reqs_density_per_unit": 30, **settings}), [])  # type: ignore[arg-type]


def test_the_limit_of_a_window_blocks_and_a_silent_window_frees() -> None:
    one = pike()
    assert [one.check("192.0.2.1", 100.0) for _ in range(32)] == [ALLOWED] * 29 + [
        NEWLY_BLOCKED,
        BLOCKED,
        BLOCKED,
    ]
    assert one.check("192.0.2.2", 100.0) == ALLOWED
    assert one.check("192.0.2.1", 103.0) == BLOCKED, "the window before was too full"
    assert one.check("192.0.2.1", 104.5) == ALLOWED
    assert one.counters["pike:blocked_ips"] == 1


def test_who_goes_on_stays_blocked() -> None:
    one = pike()
    for step in range(4000):
        found = one.check("192.0.2.1", 100.0 + step / 40)
        assert found == ALLOWED if step < 29 else found != ALLOWED
    assert one.counters["pike:blocked_ips"] == 1


def test_below_the_limit_nobody_is_blocked_for_ever() -> None:
    one = pike()
    assert all(one.check("192.0.2.1", 100.0 + step / 14) == ALLOWED for step in range(5000))


def test_the_lines_of_the_log_and_their_level() -> None:
    for number, level in {-1: "error", 0: "warning", 1: "info", 3: "debug"}.items():
        said: list[Note] = []
        one = Pike(PikeSettings(reqs_density_per_unit=1, pike_log_level=number), said)
        one.check("192.0.2.1", 100.0)
        due = one.deadline()
        assert due == pytest.approx(102.001)
        one.tick(102.01)
        one.tick(104.01)
        assert one.deadline() is None
        assert [(note.level, note.event) for note in said] == [
            (level, "source blocked"),
            (level, "source free again"),
        ]


def test_an_ipv6_source_is_its_64() -> None:
    one = pike()
    assert [one.check(f"2001:db8:0:1::{number:x}", 100.0) for number in range(30)][-1] == NEWLY_BLOCKED
    assert one.check("2001:db8:0:2::1", 100.0) == ALLOWED
    assert one.top("HOT", 100.0)[0][0] == "2001:db8:0:1::/64"


def test_a_scan_from_everywhere_costs_a_bounded_table_and_hides_no_flood() -> None:
    one = pike(sources=1000)
    for number in range(50_000):
        assert one.check(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 100.0) == ALLOWED
        if number % 100 == 0:
            one.check("192.0.2.1", 100.0)
    assert len(one) == 1000
    assert one.top("ALL", 100.0)[0][:3] == ("192.0.2.1", 0, 500)


def test_top_shows_the_busiest_first_and_forgets_the_silent() -> None:
    one = pike(remove_latency=4)
    for host, count in (("192.0.2.1", 40), ("192.0.2.2", 10), ("192.0.2.3", 1)):
        for _ in range(count):
            one.check(host, 100.0)
    assert [(row[0], row[2], row[4]) for row in one.top("ALL", 100.0)] == [
        ("192.0.2.1", 40, "HOT"),
        ("192.0.2.2", 10, "WARM"),
        ("192.0.2.3", 1, "ALL"),
    ]
    assert [row[0] for row in one.top("WARM", 100.0)] == ["192.0.2.2"]
    assert one.top("ALL", 104.5) == []
    one.sweep(104.5)
    assert len(one) == 0
