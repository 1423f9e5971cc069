"""The location table against a plain list of bindings, under any sequence of what can happen to it."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from math import inf
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_usrloc import FLOW, US, binding, ruids

from edgesip.address import Addr, Flow
from edgesip.signal.location.agenda import SLICE
from edgesip.signal.location.glance import at_a_glance
from edgesip.signal.location.packed import pack, unpack
from edgesip.signal.location.usrloc import PARTS, Binding, Usrloc, UsrlocSettings

AORS = ("alice", "bob")
RUIDS = tuple(f"r{number}" for number in range(6))
FLOWS = tuple(Flow("udp", US, Addr("198.51.100.7", port)) for port in (1000, 1001))
PUTS = st.tuples(
    st.just("put"),
    st.sampled_from(RUIDS),
    st.sampled_from(AORS),
    st.sampled_from([1, 2, 2.5, 30, 60, inf]),
    st.sampled_from([-1.0, 0.5, 1.0]),
    st.sampled_from(FLOWS),
)
STEPS = st.lists(
    st.one_of(
        PUTS,
        PUTS,
        st.tuples(st.just("remove"), st.sampled_from(RUIDS)),
        st.tuples(st.just("heard"), st.sampled_from(RUIDS)),
        st.tuples(st.just("wait"), st.sampled_from([0.5, 1.0, 20.0])),
    ),
    max_size=60,
)


class Model:
    """What the table should hold: the bindings in the order in which they are to be tried."""

    def __init__(self, newest_first: bool) -> None:
        self.rows: list[Binding] = []
        self.newest_first = newest_first

    def find(self, ruid: str) -> Binding | None:
        return next((one for one in self.rows if one.ruid == ruid), None)

    def put(self, new: Binding) -> None:
        old = self.find(new.ruid)
        if old is not None and (old.aor, old.q) == (new.aor, new.q) and not self.newest_first:
            self.rows[self.rows.index(old)] = new
            return
        if old is not None:
            self.rows.remove(old)
        self.rows.insert(0 if self.newest_first else len(self.rows), new)
        if not self.newest_first:
            self.rows.sort(key=lambda one: -one.q)

    def of(self, aor: str) -> list[Binding]:
        return [one for one in self.rows if one.aor == aor]


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("warm", [0, 2, 100])
@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
def test_all_indexes_agree_with_a_plain_list(
    newest_first: bool, warm: int, steps: list[tuple[Any, ...]]
) -> None:
    usrloc = Usrloc(UsrlocSettings(desc_time_order=newest_first), warm)
    model, now, expired = Model(newest_first), 0.0, 0
    for kind, *rest in steps:
        if kind == "put":
            ruid, aor, seconds, q, flow = rest
            one = binding(ruid, aor=aor, expires=now + seconds, q=q, flow=flow)
            usrloc.put(one)
            model.put(one)
        elif kind == "remove":
            usrloc.remove(binding(rest[0]))
            model.rows = [one for one in model.rows if one.ruid != rest[0]]
        elif kind == "heard":
            before = model.find(rest[0])
            heard = usrloc.heard(rest[0], now, 0.25)
            after = None if before is None else replace(before, last_keepalive=now, roundtrip=0.25)
            assert heard == (None if after is None else at_a_glance(after))
            model.rows = [after if after and one is before else one for one in model.rows]
        else:
            now += rest[0]
            gone = usrloc.expire(now)
            over = [one for one in model.rows if one.expires <= now]
            assert sorted(ruids(gone)) == sorted(ruids(over))
            assert [one.expires for one in gone] == sorted(one.expires for one in over)
            expired += len(over)
            model.rows = [one for one in model.rows if one.expires > now]
        _agree(usrloc, model, now)
    assert usrloc.counters == {
        "usrloc:registered_users": len({one.aor for one in model.rows}),
        "usrloc:location-users": len({one.aor for one in model.rows}),
        "usrloc:location-contacts": len(model.rows),
        "usrloc:location-expires": expired,
    }


def _agree(usrloc: Usrloc, model: Model, now: float) -> None:
    assert len(usrloc) == len(model.rows)
    expiries = [one.expires for one in model.rows if one.expires < inf]
    assert usrloc.deadline() == min(expiries, default=None)
    for aor in AORS:
        assert usrloc.known(aor) == model.of(aor)
        assert usrloc.lookup(aor, now) == [one for one in model.of(aor) if one.expires > now]
    assert dict(usrloc.aors()) == {aor: tuple(model.of(aor)) for aor in AORS if model.of(aor)}
    for ruid in RUIDS:
        assert usrloc.get(ruid) == model.find(ruid)
    by_part = [one for index in range(PARTS) for one in usrloc.part(index)] if len(usrloc) == 1 else []
    assert by_part == (model.rows if by_part else [])
    if len(usrloc) == 1:
        seen = [found for index in range(PARTS) for found in usrloc.part(index).glances()]
        assert seen == [(one.ruid, at_a_glance(one)) for one in model.rows]
    assert sorted(ruids(usrloc.get_all())) == sorted(ruids(model.rows))
    for flow in FLOWS:
        there = {one.ruid for one in model.rows if one.flow == flow}
        assert {one.ruid for one in usrloc.by_flow(flow)} == there
        one = usrloc.one_by_flow(flow)
        assert (one.ruid in there) if one is not None else not there


TEXTS = st.text(st.characters(exclude_characters="\0"), max_size=8)
NUMBERS = st.integers(-(2**63), 2**63 - 1)
ADDRS = st.builds(Addr, TEXTS, st.integers(-(2**62), 2**62))
BINDINGS = st.builds(
    Binding,
    expires=st.floats(allow_nan=False),
    q=st.floats(allow_nan=False),
    last_modified=st.floats(allow_nan=False),
    last_keepalive=st.floats(allow_nan=False),
    roundtrip=st.none() | st.floats(0, 10),
    nated=st.booleans(),
    methods=st.lists(TEXTS, max_size=3).map(tuple),
    flow=st.builds(Flow, TEXTS, ADDRS, ADDRS, TEXTS),
    **dict.fromkeys(("cseq", "reg_id", "flags", "cflags"), NUMBERS),
    **{
        name: TEXTS | st.just("a\0b")
        for name in ("aor", "contact", "call_id", "received", "user_agent", "instance", "ruid", "path")
    },
)


@settings(max_examples=300, deadline=None)
@given(one=BINDINGS)
def test_what_is_packed_comes_back_as_it_was(one: Binding) -> None:
    data = pack(one)
    assert data is None or (unpack(one.ruid, data) == one and at_a_glance(data) == at_a_glance(one))


def test_an_ordinary_binding_packs_with_every_field() -> None:
    """A field that is forgotten by `pack` would be lost after a while."""
    plain = binding("a", path="<sip:p;lr>", flags=3, cflags=5)
    for field in dataclasses.fields(Binding):
        assert getattr(plain, field.name) != field.default, f"{field.name}: this test must not leave it out"
    data = pack(plain)
    assert data is not None
    assert unpack("a", data) == plain


def test_flows_whose_hashes_meet_are_told_apart() -> None:
    usrloc = Usrloc()
    usrloc.put(binding("a"))
    usrloc._flows.of(hash(FLOWS[0]))[hash(FLOWS[0])] = "a"
    assert usrloc.by_flow(FLOWS[0]) == []
    assert usrloc.one_by_flow(FLOWS[0]) is None
    assert usrloc.one_by_flow(FLOW) is not None


def test_very_many_that_expire_within_a_second_go_in_slices() -> None:
    usrloc = Usrloc(warm=10)
    count = SLICE * 2 + 100
    for number in range(count):
        usrloc.put(binding(f"r{number}", aor=f"u{number}", expires=100.0 + number % 90 / 100))
    assert usrloc.deadline() == 100.0
    assert usrloc.expire(99.9, limit=count) == []
    gone: list[str] = []
    for _ in range(10):
        gone += ruids(usrloc.expire(101.0, limit=SLICE))
        due = usrloc.deadline()
        if due is None:
            break
        assert due <= 101.0, "the rest is still due"
    assert sorted(gone) == sorted(f"r{number}" for number in range(count))


def test_permanent_contacts_stay() -> None:
    usrloc = Usrloc()
    usrloc.put(binding("a", expires=inf))
    assert usrloc.deadline() is None
    assert usrloc.expire(1e9) == []
    (one,) = usrloc.lookup("alice", 1e9)
    assert one.permanent
    assert Binding.from_record(one.record(5.0), 7.0).permanent
