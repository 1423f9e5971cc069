"""The port pool against a binder that refuses on demand: random, rested, and never one pair lost."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesip.relay.ports import TRIES, Pair, Ports

HERE = "192.0.2.1"
THERE = "2001:db8::1"


class Binder:
    """The twin of the sockets: remembers what is bound, refuses the RTP ports in `taken`."""

    def __init__(self) -> None:
        self.taken: set[int] = set()
        self.bound: set[Pair] = set()
        self.tried: list[Pair] = []
        self.broken = False

    def bind(self, pair: Pair) -> bool:
        if self.broken:
            raise OSError("the machine is on fire")
        assert pair not in self.bound
        self.tried.append(pair)
        if pair.rtp in self.taken:
            return False
        self.bound.add(pair)
        return True

    def unbind(self, pair: Pair) -> None:
        self.bound.remove(pair)


def pool(low: int, high: int, binder: Binder, seed: int = 1, rest: float = 30.0) -> Ports:
    return Ports(low, high, random.Random(seed).randbytes, binder.bind, binder.unbind, rest)


def leased(ports: Ports, host: str, now: float) -> Pair:
    pair = ports.lease(host, now)
    assert pair is not None
    return pair


def test_hands_out_even_pairs_inside_the_range_each_once() -> None:
    binder = Binder()
    ports = pool(16384, 16483, binder)
    pairs = [leased(ports, HERE, 0.0) for _ in range(50)]
    assert {pair.rtp for pair in pairs} == set(range(16384, 16484, 2))
    assert all(pair.rtcp == pair.rtp + 1 and pair.host == HERE for pair in pairs)
    assert binder.bound == set(pairs)
    assert ports.lease(HERE, 0.0) is None
    assert ports.counts(0.0) == (100, 100, 0, 0)


@pytest.mark.parametrize(
    ("low", "high", "evens"),
    [
        (10000, 10003, {10000, 10002}),
        (10001, 10004, {10002}),
        (10000, 10002, {10000}),
        (65534, 65535, {65534}),
    ],
)
def test_a_pair_never_reaches_over_an_edge(low: int, high: int, evens: set[int]) -> None:
    ports = pool(low, high, Binder())
    assert ports.pairs == len(evens)
    assert {leased(ports, HERE, 0.0).rtp for _ in evens} == evens
    assert ports.lease(HERE, 0.0) is None


@pytest.mark.parametrize(
    ("low", "high"), [(10000, 10000), (10001, 10002), (20000, 10000), (0, 9), (65534, 65536)]
)
def test_a_range_without_a_pair_is_refused(low: int, high: int) -> None:
    with pytest.raises(ValueError, match="no pair"):
        pool(low, high, Binder())


def test_the_order_follows_the_entropy_and_nothing_else() -> None:
    def order(seed: int) -> list[Pair]:
        ports = pool(16384, 32767, Binder(), seed)
        return [leased(ports, HERE, 0.0) for _ in range(20)]

    assert order(1) == order(1)
    assert order(1) != order(2)
    assert order(1) != sorted(order(1))


def test_every_free_pair_is_about_as_likely() -> None:
    seen = dict.fromkeys(range(20000, 20016, 2), 0)
    for seed in range(4000):
        seen[leased(pool(20000, 20015, Binder(), seed), HERE, 0.0).rtp] += 1
    assert min(seen.values()) > 400
    assert max(seen.values()) < 600


def test_a_released_pair_rests_thirty_seconds() -> None:
    binder = Binder()
    ports = pool(20000, 20001, binder)
    pair = leased(ports, HERE, 100.0)
    ports.release(pair, 200.0)
    assert binder.bound == set()
    assert ports.counts(200.0) == (2, 0, 2, 0)
    assert ports.lease(HERE, 229.9) is None
    assert ports.counts(229.9) == (2, 0, 2, 0)
    assert ports.counts(230.0) == (2, 0, 0, 2)
    assert leased(ports, HERE, 230.0) == pair


def test_releasing_twice_or_what_was_never_leased_does_no_harm() -> None:
    ports = pool(20000, 20003, Binder())
    pair = leased(ports, HERE, 0.0)
    ports.release(pair, 1.0)
    ports.release(pair, 2.0)
    ports.release(Pair("198.51.100.9", 4000, 4001), 2.0)
    assert ports.counts(2.0) == (4, 0, 2, 2)
    assert ports.counts(60.0) == (4, 0, 0, 4)


def test_a_pair_that_cannot_be_bound_is_skipped_and_tried_again_later() -> None:
    binder = Binder()
    binder.taken = {20000, 20002, 20004}
    ports = pool(20000, 20009, binder)
    first, second = leased(ports, HERE, 0.0), leased(ports, HERE, 0.0)
    assert {first.rtp, second.rtp} == {20006, 20008}
    assert ports.lease(HERE, 1.0) is None
    binder.taken.clear()
    assert {leased(ports, HERE, 40.0).rtp for _ in range(3)} == {20000, 20002, 20004}
    assert ports.counts(40.0) == (10, 10, 0, 0)


def test_a_refused_pair_rests_so_that_the_next_lease_does_not_pay_again() -> None:
    binder = Binder()
    binder.taken = set(range(20000, 20020, 2)) - {20000, 20018}
    ports = pool(20000, 20019, binder)
    leased(ports, HERE, 0.0)
    refused = len(binder.tried) - 1
    assert ports.counts(0.0) == (20, 2, 2 * refused, 18 - 2 * refused)
    leased(ports, HERE, 0.0)
    assert len(binder.tried) == len(set(binder.tried)), "a pair that had just refused was tried again"


def test_when_nothing_binds_the_pairs_stay_free_and_the_tries_are_bounded() -> None:
    binder = Binder()
    binder.taken = set(range(16384, 32768, 2))
    ports = pool(16384, 32767, binder)
    assert ports.lease(HERE, 0.0) is None
    assert len(binder.tried) == len(set(binder.tried)) == TRIES
    assert ports.counts(0.0) == (16384, 0, 0, 16384)
    binder.taken.clear()
    leased(ports, HERE, 0.0)


def test_a_binder_that_breaks_loses_no_port() -> None:
    binder = Binder()
    ports = pool(20000, 20007, binder)
    kept = leased(ports, HERE, 0.0)
    binder.broken = True
    with pytest.raises(OSError, match="on fire"):
        ports.lease(HERE, 0.0)
    binder.broken = False
    assert ports.counts(0.0) == (8, 2, 0, 6)
    assert len({kept, *(leased(ports, HERE, 0.0) for _ in range(3))}) == 4


def test_an_unbind_that_breaks_loses_no_port() -> None:
    binder = Binder()
    ports = pool(20000, 20001, binder)
    pair = leased(ports, HERE, 0.0)
    binder.bound.clear()
    with pytest.raises(KeyError):
        ports.release(pair, 0.0)
    assert ports.counts(0.0) == (2, 0, 2, 0)


def test_each_host_has_its_own_ports() -> None:
    ports = pool(20000, 20001, Binder())
    assert ports.counts(0.0) == (2, 0, 0, 2)
    here, there = leased(ports, HERE, 0.0), leased(ports, THERE, 0.0)
    assert (here.host, there.host, here.rtp) == (HERE, THERE, there.rtp)
    assert ports.counts(0.0) == (4, 4, 0, 0)
    ports.release(there, 0.0)
    assert ports.lease(HERE, 30.0) is None
    assert leased(ports, THERE, 30.0) == there


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("lrtb"), st.integers(0, 15)), max_size=80), st.integers(0, 9))
def test_no_sequence_of_events_loses_or_doubles_a_pair(events: list[tuple[str, int]], seed: int) -> None:
    binder = Binder()
    ports = pool(20000, 20015, binder, seed)
    held: list[Pair] = []
    now = 0.0
    for event, number in events:
        if event == "l":
            pair = ports.lease(HERE, now)
            if pair is not None:
                assert pair not in held
                held.append(pair)
        elif event == "r" and held:
            ports.release(held.pop(number % len(held)), now)
        elif event == "t":
            now += number * 3.0
        elif event == "b":
            binder.taken ^= {20000 + number // 2 * 2}
        total, out, resting, free = ports.counts(now)
        assert (total, out) == (16, 2 * len(held))
        assert resting + free == 16 - out
        assert binder.bound == set(held)


def test_a_pair_of_before_is_claimed_once_and_given_back_like_any_other() -> None:
    binder = Binder()
    ports = pool(20000, 20009, binder)
    first, last = Pair("h", 20000, 20001), Pair("h", 20008, 20009)
    assert ports.claim(last)
    assert ports.claim(first)
    assert not ports.claim(first)
    assert binder.bound == {first, last}
    others = [leased(ports, "h", 0.0) for _ in range(3)]
    assert len({first, last, *others}) == 5
    assert ports.lease("h", 0.0) is None
    ports.release(first, 0.0)
    assert leased(ports, "h", 30.0) == first


@pytest.mark.parametrize("pair", [Pair("h", 20001, 20002), Pair("h", 20010, 20011), Pair("h", 20000, 20005)])
def test_what_is_no_pair_of_ours_is_not_claimed(pair: Pair) -> None:
    binder = Binder()
    assert not pool(20000, 20009, binder).claim(pair)
    assert not binder.bound


def test_a_claim_that_cannot_be_bound_leaves_the_pair_free() -> None:
    binder = Binder()
    binder.taken = {20004}
    ports = pool(20000, 20009, binder)
    assert not ports.claim(Pair("h", 20004, 20005))
    binder.taken = set()
    assert sorted(leased(ports, "h", 0.0).rtp for _ in range(5)) == [20000, 20002, 20004, 20006, 20008]
