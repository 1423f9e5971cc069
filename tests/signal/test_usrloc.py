"""The location table: order, replacement, indexes, expiry, records."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from edgesip.address import Addr, Flow
from edgesip.signal.location.usrloc import PARTS, Binding, Usrloc, UsrlocSettings, aor_key

US = Addr("203.0.113.1", 5060)
FLOW = Flow("udp", US, Addr("198.51.100.7", 40000))


def binding(
    ruid: str, aor: str = "alice", expires: float = 100.0, q: float = -1.0, **more: object
) -> Binding:
    made = Binding(
        aor=aor,
        contact=f"sip:{aor}@192.168.1.10:5060",
        expires=expires,
        q=q,
        call_id="c1",
        cseq=1,
        received="sip:198.51.100.7:40000",
        flow=FLOW,
        user_agent="baresip",
        nated=True,
        instance="urn:uuid:1",
        reg_id=1,
        ruid=ruid,
        methods=("INVITE", "ACK"),
        last_modified=10.0,
        last_keepalive=12.0,
        roundtrip=0.05,
    )
    return replace(made, **more)  # type: ignore[arg-type]


def ruids(bindings: list[Binding]) -> list[str]:
    return [one.ruid for one in bindings]


def test_best_q_first_and_equal_q_in_order_of_arrival() -> None:
    usrloc = Usrloc()
    for ruid, q in (("unset", -1.0), ("half", 0.5), ("one", 1.0), ("half2", 0.5), ("zero", 0.0)):
        usrloc.put(binding(ruid, q=q))
    assert ruids(usrloc.lookup("alice", 0.0)) == ["one", "half", "half2", "zero", "unset"]


def test_a_refresh_keeps_its_place_and_a_changed_q_goes_behind_its_equals() -> None:
    usrloc = Usrloc()
    for ruid in ("a", "b", "c"):
        usrloc.put(binding(ruid, q=0.5))
    usrloc.put(binding("a", q=0.5, expires=500.0))
    assert ruids(usrloc.lookup("alice", 0.0)) == ["a", "b", "c"]
    usrloc.put(binding("a", q=0.4))
    assert ruids(usrloc.lookup("alice", 0.0)) == ["b", "c", "a"]
    usrloc.put(binding("a", q=0.5))
    assert ruids(usrloc.lookup("alice", 0.0)) == ["b", "c", "a"]


def test_lookup_ignores_case_and_leaves_out_what_is_over() -> None:
    usrloc = Usrloc()
    usrloc.put(binding("short", expires=50.0))
    usrloc.put(binding("long", expires=60.0))
    assert ruids(usrloc.lookup("ALICE", 49.9)) == ["short", "long"]
    assert ruids(usrloc.lookup("alice", 50.0)) == ["long"]
    assert usrloc.lookup("bob", 0.0) == []


def test_only_ascii_letters_fold() -> None:
    assert aor_key("Alice") == "alice"
    assert aor_key("\u212aim") == "\u212aim"  # KELVIN SIGN is not k
    assert aor_key("B\u00d6B") == "b\u00d6b"
    assert aor_key("X\udcff") == "x\udcff"


def test_remove_takes_what_the_ruid_names_now() -> None:
    usrloc = Usrloc()
    first = binding("a")
    usrloc.put(first)
    usrloc.put(binding("a", expires=900.0))
    usrloc.remove(first)
    usrloc.remove(first)
    assert usrloc.lookup("alice", 0.0) == []
    assert len(usrloc) == 0
    assert usrloc.by_flow(FLOW) == []
    assert list(usrloc.aors()) == []
    assert usrloc.deadline() is None


def test_by_flow_follows_a_phone_whose_mapping_changed() -> None:
    usrloc = Usrloc()
    usrloc.put(binding("a"))
    usrloc.put(binding("b", aor="bob"))
    assert ruids(usrloc.by_flow(FLOW)) == ["a", "b"]
    moved = FLOW._replace(remote=Addr("198.51.100.7", 40001))
    usrloc.put(binding("a", flow=moved))
    assert ruids(usrloc.by_flow(FLOW)) == ["b"]
    assert ruids(usrloc.by_flow(moved)) == ["a"]


def test_a_ruid_that_changes_its_aor_leaves_the_old_one() -> None:
    usrloc = Usrloc()
    usrloc.put(binding("a", aor="alice"))
    usrloc.put(binding("a", aor="bob"))
    assert usrloc.lookup("alice", 0.0) == []
    assert ruids(usrloc.lookup("bob", 0.0)) == ["a"]
    assert len(usrloc) == 1


def test_expire_removes_and_returns_what_is_over() -> None:
    usrloc = Usrloc()
    for ruid, expires in (("a", 30.0), ("b", 10.0), ("c", 20.0)):
        usrloc.put(binding(ruid, expires=expires))
    assert usrloc.deadline() == 10.0
    assert usrloc.expire(9.99) == []
    assert ruids(usrloc.expire(20.0)) == ["b", "c"]
    assert usrloc.deadline() == 30.0
    assert ruids(usrloc.get_all()) == ["a"]
    assert usrloc.counters["usrloc:location-expires"] == 2


def test_a_refreshed_binding_expires_at_its_new_time_only() -> None:
    usrloc = Usrloc()
    usrloc.put(binding("a", expires=10.0))
    usrloc.put(binding("a", expires=30.0))
    assert usrloc.deadline() == 30.0
    assert usrloc.expire(29.0) == []
    usrloc.put(binding("a", expires=20.0))
    assert usrloc.deadline() == 20.0
    assert ruids(usrloc.expire(29.0)) == ["a"]
    assert usrloc.expire(31.0) == []
    assert usrloc.deadline() is None


def test_a_storm_of_expiries_is_worked_off_in_slices() -> None:
    usrloc = Usrloc()
    for number in range(250):
        usrloc.put(binding(f"r{number}", aor=f"u{number}", expires=float(number % 7)))
    assert len(usrloc.expire(10.0, limit=100)) == 100
    deadline = usrloc.deadline()
    assert deadline is not None
    assert deadline <= 10.0
    assert len(usrloc.expire(10.0, limit=1000)) == 150
    assert usrloc.counters == {
        "usrloc:registered_users": 0,
        "usrloc:location-users": 0,
        "usrloc:location-contacts": 0,
        "usrloc:location-expires": 250,
    }


def test_phones_that_come_and_go_do_not_fill_the_heap() -> None:
    usrloc = Usrloc()
    for number in range(20_000):
        one = binding(f"r{number}", expires=1e6)
        usrloc.put(one)
        usrloc.remove(one)
        usrloc.put(binding("toggle", expires=3600.0 if number % 2 else 60.0))
    assert len(usrloc._agenda) < 4000
    assert ruids(usrloc.expire(1e7)) == ["toggle"]


def over(usrloc: Usrloc, now: float) -> list[Binding]:
    """What expires by now, in as many goes as it takes."""
    gone: list[Binding] = []
    while (due := usrloc.deadline()) is not None and due <= now:
        gone += usrloc.expire(now)
    return gone


def test_what_was_taken_out_leaves_the_agenda_a_little_at_a_time() -> None:
    usrloc = Usrloc()
    phones = [binding(f"r{n}", aor=f"user{n}", expires=1000.0 + n % 600) for n in range(6000)]
    for one in phones:
        usrloc.put(one)
    for one in phones[100:]:
        usrloc.remove(one)
    for turn in range(700):
        usrloc.put(binding("late", aor="late", expires=5000.0 - turn))
    assert len(usrloc._agenda) < 2 * len(usrloc) + 1100
    assert len(over(usrloc, 1700.0)) == 100
    assert ruids(over(usrloc, 5000.0)) == ["late"]
    assert usrloc.deadline() is None


def test_counters() -> None:
    usrloc = Usrloc()
    usrloc.put(binding("a"))
    usrloc.put(binding("b"))
    usrloc.put(binding("c", aor="bob"))
    assert usrloc.counters["usrloc:registered_users"] == 2
    assert usrloc.counters["usrloc:location-contacts"] == 3


def test_slices_hold_every_binding_once() -> None:
    usrloc = Usrloc()
    for number in range(500):
        usrloc.put(binding(f"r{number}", aor=f"u{number}"))
    seen = [one.ruid for index in range(PARTS) for one in usrloc.part(index)]
    assert sorted(seen) == sorted(f"r{number}" for number in range(500))


def test_an_answered_ping_is_noted() -> None:
    usrloc = Usrloc()
    usrloc.put(binding("a", last_keepalive=0.0, roundtrip=None))
    heard = usrloc.heard("a", 40.0, 0.02)
    assert heard is not None
    (shown,) = usrloc.lookup("alice", 40.0)
    assert (heard.last_keepalive, shown.last_keepalive, shown.roundtrip) == (40.0, 40.0, 0.02)
    assert usrloc.heard("gone", 40.0, 0.02) is None


def test_records_carry_wall_time_and_come_back_rebased() -> None:
    one = binding("a", q=0.7, expires=3610.0)
    record = json.loads(json.dumps(one.record(1_700_000_000.0)))
    assert record["expires"] == 1_700_003_610.0
    # The next process started 100 s later; its monotonic clock stood at 5.
    back = Binding.from_record(record, 1_700_000_000.0 + 10.0 + 100.0 - 5.0)
    assert back.expires == pytest.approx(5.0 + 3500.0)
    assert back.last_modified == pytest.approx(5.0 - 100.0)
    assert (
        replace(
            back, expires=one.expires, last_modified=one.last_modified, last_keepalive=12.0, roundtrip=0.05
        )
        == one
    )


@pytest.mark.parametrize(
    "broken",
    [
        {"flow": ["udp", "1.2.3.4", 5060]},
        {"flow": None},
        {"expires": "soon"},
        {"expires": None},
        {"methods": None},
        {"cseq": "x"},
    ],
)
def test_a_record_that_is_none_is_a_value_error(broken: dict[str, object]) -> None:
    record = binding("a").record(0.0) | broken
    with pytest.raises(ValueError, match="not a location record"):
        Binding.from_record(record, 0.0)
    del record["aor"]
    with pytest.raises(ValueError, match="not a location record"):
        Binding.from_record(record, 0.0)


def test_load_restores_the_order_of_registration() -> None:
    usrloc = Usrloc()
    count = usrloc.load(
        [
            binding("late", last_modified=30.0),
            binding("early", last_modified=10.0),
            binding("best", q=1.0, last_modified=40.0),
        ]
    )
    assert count == 3
    assert ruids(usrloc.lookup("alice", 0.0)) == ["best", "early", "late"]


def test_with_use_domain_a_user_is_one_of_his_domain() -> None:
    usrloc = Usrloc(UsrlocSettings(use_domain=True, realm_prefix="sip."))
    assert usrloc.key("Alice", "SIP.Example.org") == "alice@example.org"
    assert usrloc.key_of("sip:Alice@example.org;x=1") == "alice@example.org"
    assert usrloc.key_of("alice@example.org") == "alice@example.org"
    with pytest.raises(ValueError, match="no domain"):
        usrloc.key_of("alice")
    usrloc.put(binding("a", aor="alice@example.org"))
    usrloc.put(binding("b", aor="alice@example.net"))
    assert ruids(usrloc.lookup("ALICE@example.org", 0.0)) == ["a"]


def test_without_use_domain_the_domain_does_not_matter() -> None:
    usrloc = Usrloc()
    assert {usrloc.key_of(text) for text in ("alice", "Alice@h", "sips:ALICE@other", "sip:%61lice@h")} == {
        "alice"
    }


def test_case_sensitive_users_are_told_apart() -> None:
    usrloc = Usrloc(UsrlocSettings(case_sensitive=True, use_domain=True))
    assert usrloc.key("Alice", "Example.org") == "Alice@example.org"
    usrloc.put(binding("a", aor="Alice@example.org"))
    assert usrloc.lookup("alice@example.org", 0.0) == []
    assert ruids(usrloc.lookup("Alice@example.org", 0.0)) == ["a"]


def test_with_desc_time_order_whoever_came_last_is_first() -> None:
    usrloc = Usrloc(UsrlocSettings(desc_time_order=True))
    for ruid, q in (("a", 1.0), ("b", 0.1), ("c", 0.5)):
        usrloc.put(binding(ruid, q=q))
    assert ruids(usrloc.lookup("alice", 0.0)) == ["c", "b", "a"]
    usrloc.put(binding("a", q=1.0, expires=200.0))
    assert ruids(usrloc.lookup("alice", 0.0)) == ["a", "c", "b"]


def test_contacts_linger_where_expired_ones_are_still_wanted() -> None:
    usrloc = Usrloc(UsrlocSettings(linger=60.0))
    usrloc.put(binding("alice", expires=100.0))
    assert usrloc.lookup("alice", 101.0) == []
    assert usrloc.deadline() is not None
    assert usrloc.expire(159.0) == []
    assert len(usrloc.known("alice")) == 1
    deadline = usrloc.deadline()
    assert deadline is not None
    assert 159.0 <= deadline <= 160.0
    (gone,) = usrloc.expire(160.0)
    assert gone.aor == "alice"
    assert usrloc.known("alice") == []
