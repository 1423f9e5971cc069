"""How long a NAT remembers: learned without losing anybody more often than it must be."""

from __future__ import annotations

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from nat_house import HERE, House, Phone, Router, house

from edgesip.address import Addr, Flow
from edgesip.signal.nat.learning import Learning, Settings

DAY = 24 * 3600.0
PUBLIC = "198.51.100.7"


def test_a_new_phone_is_pinged_at_the_usual_interval() -> None:
    home = house(300.0).run(900.0)
    assert home.interval() == 25.0
    assert home.phones[0].pings in range(10, 40)


def test_a_patient_router_is_pinged_five_times_more_rarely_and_nobody_is_lost() -> None:
    home = house(300.0).run(DAY / 2)
    assert 115.0 < home.interval() <= 120.0
    assert home.phones[0].lost == 0


def test_a_hasty_router_is_pinged_twice_as_often() -> None:
    home = house(20.0).run(DAY / 2)
    assert home.interval() == 12.5
    assert home.phones[0].lost == 1


@settings(max_examples=25, deadline=None)
@given(
    timeout=st.floats(20.0, 600.0),
    period=st.floats(120.0, 3600.0),
    keeps_port=st.booleans(),
    inbound_refreshes=st.booleans(),
    seed=st.integers(0, 10_000),
)
def test_one_trial_is_lost_at_most_and_what_is_found_is_safe(
    timeout: float, period: float, keeps_port: bool, inbound_refreshes: bool, seed: int
) -> None:
    # A router that forgets after exactly the usual interval does so while the answer is on its way: each time
    # for a tenth of a second, which no ping can see.
    assume(abs(timeout - 25.0) > 0.4)
    home = house(timeout, 1, period, keeps_port=keeps_port, inbound_refreshes=inbound_refreshes, seed=seed)
    phone = home.phones[0]
    home.run(20 * period)
    # Below 28 s the usual interval itself is a trial, which nobody has timed.
    assert phone.lost <= (1 if timeout > 28.0 else 2)
    if timeout > 28.0:
        assert phone.away <= 200.0
    lost, away = phone.lost, phone.away
    home.run(20 * period)
    if timeout > 28.0:
        assert (phone.lost, phone.away) == (lost, away)
        assert home.interval() < timeout


@settings(max_examples=8, deadline=None)
@example(timeout=93.2, phones=5, seed=5)
@given(timeout=st.floats(30.0, 600.0), phones=st.integers(2, 8), seed=st.integers(0, 10_000))
def test_phones_of_one_address_learn_from_one_trial_of_one_of_them(
    timeout: float, phones: int, seed: int
) -> None:
    home = house(timeout, phones, 600.0, seed=seed).run(DAY)
    assert sum(phone.lost for phone in home.phones) <= 1
    expected = min(105.0, 0.8 * timeout / 1.5 - 15.0)
    now = [home.interval(phone.number) for phone in home.phones]
    home.run(5.0)  # whose ping was under way just then has answered it
    later = [home.interval(phone.number) for phone in home.phones]
    assert all(max(both) >= max(25.0, expected) for both in zip(now, later, strict=True))


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 10_000), timeout=st.floats(80.0, 600.0))
def test_packets_that_get_lost_do_not_lose_a_phone(seed: int, timeout: float) -> None:
    """One in fifty, each way; no more mappings die than with pings at the usual interval."""
    home = house(timeout, 3, 600.0, seed=seed, loss=0.02).run(DAY / 2)
    plain = house(timeout, 3, 600.0, seed=seed, loss=0.02, settings=Settings(25.0, 0.0)).run(DAY / 2)
    learned, usual = (sum(phone.lost for phone in one.phones) for one in (home, plain))
    assert learned <= usual + 3


def test_routers_of_different_patience_behind_one_address_lose_one_phone_at_a_time() -> None:
    """A carrier's address: what one home proves is tried by each other before it is believed there."""
    people = [
        Phone(Router(timeout, PUBLIC), 600.0, n) for n, timeout in enumerate((300.0, 60.0, 45.0, 200.0))
    ]
    for number, phone in enumerate(people):
        phone.router.next_port = 10_000 * (number + 1)
    home = House(people, 7).run(2 * DAY)
    assert sum(phone.lost for phone in people) <= 4
    lost = [phone.lost for phone in people]
    home.run(2 * DAY)
    assert [phone.lost for phone in people] == lost
    for phone in people:
        assert home.interval(phone.number) < phone.router.timeout


def test_a_router_that_is_replaced_by_a_hasty_one_is_found_out() -> None:
    home = house(600.0, 4, 600.0).run(DAY / 2)
    assert home.interval() > 100.0
    for phone in home.phones:
        phone.router.timeout = 40.0
    before = sum(phone.lost for phone in home.phones)
    home.run(DAY)
    assert all(home.interval(number) < 40.0 for number in range(4))
    lost = sum(phone.lost for phone in home.phones)
    assert lost - before <= 6
    home.run(DAY)
    assert sum(phone.lost for phone in home.phones) == lost


def test_a_phone_that_answers_no_ping_is_no_proof_of_anything() -> None:
    mute = house(600.0, 1, 600.0, answers=False, inbound_refreshes=True).run(DAY / 2)
    assert mute.interval() in (12.5, 25.0)
    place = mute.learning._places[PUBLIC]
    assert (place.losses, place.proven) == (0, 0.0)
    assert DAY / 2 / mute.phones[0].pings > 15.0


def test_a_phone_that_is_switched_off_costs_the_others_nothing_for_long() -> None:
    home = house(600.0, 3, 600.0).run(DAY / 2)
    home.phones[0].on = False
    home.run(3 * 3600.0)
    assert home.interval(1) > 100.0
    assert sum(phone.lost for phone in home.phones[1:]) == 0


def test_a_phone_whose_next_registration_cannot_be_foreseen_is_hardly_ever_tried() -> None:
    erratic = [house(600.0, 1, 600.0, jitter=0.9, seed=seed).run(3 * 3600.0) for seed in range(8)]
    assert [home.interval() for home in erratic].count(25.0) >= 7
    steady = house(40.0, 1, 600.0, jitter=0.9, seed=3).run(DAY)
    assert steady.phones[0].lost <= 1


# -- single conclusions ------------------------------------------------------------------------------


def flow(port: int = 40000, host: str = PUBLIC) -> Flow:
    return Flow("udp", HERE, Addr(host, port))


def steady(learning: Learning, one: Flow, now: float, times: int = 3) -> float:
    """A phone that has registered every 600 s and answered each ping after 25 s."""
    for _ in range(times):
        learning.registered("r", one, None, True, now)
        end = now + 600.0
        while now < end:
            if not learning.rests(one, now):
                learning.pinged(one, now)
                learning.answered(hash(one), now + 0.1)
            now += learning.pause
    return now


def test_a_silent_ping_is_repeated_at_once_and_nobody_rests_until_it_is_clear() -> None:
    learning = Learning(Settings())
    now = steady(learning, flow(), 0.0, 12)
    other = flow(40001)
    steady(learning, other, 0.0, 12)
    assert learning.interval_for(flow(), now) > 25.0
    learning.rests(flow(), now)
    learning.pinged(flow(), now)
    assert learning.interval_for(flow(), now) == 12.5
    learning.pinged(flow(), now + 12.5)
    assert learning.interval_for(flow(), now + 12.5) == 25.0


def test_what_the_phone_says_by_itself_shortens_the_silence_that_is_proven() -> None:
    learning = Learning(Settings())
    learning.registered("r", flow(), None, True, 0.0)
    learning.came(flow(), 20.0)
    learning.pinged(flow(), 25.0)
    learning.answered(hash(flow()), 25.1)
    assert learning._watches[hash(flow())].proven == 5.0


def test_what_we_send_shortens_it_too() -> None:
    learning = Learning(Settings())
    learning.registered("r", flow(), None, True, 0.0)
    learning.came(flow(99), 21.0)
    learning.went([(flow(), b"")])
    learning.pinged(flow(), 25.0)
    learning.answered(hash(flow()), 25.1)
    assert learning._watches[hash(flow())].proven == 4.0


def test_a_forged_packet_puts_no_ping_off() -> None:
    learning = Learning(Settings())
    learning.registered("r", flow(), None, True, 0.0)
    for second in range(1, 25):
        learning.came(flow(), float(second))
    assert not learning.rests(flow(), 25.0)


def test_after_a_start_the_first_look_pings_and_proves_nothing() -> None:
    learning = Learning(Settings())
    assert not learning.rests(flow(), 5000.0)
    learning.pinged(flow(), 5000.0)
    learning.answered(hash(flow()), 5000.1)
    assert learning.rests(flow(), 5012.5)
    assert learning._watches[hash(flow())].proven == 0.0


def test_the_bound_is_kept_and_nothing_below_the_interval_learns() -> None:
    for bound in (40, 60, 119):
        home = house(600.0, settings=Settings(25.0, float(bound))).run(DAY / 2)
        assert 0.95 * bound < home.interval() <= bound
    off = house(600.0, settings=Settings(25.0, 0.0)).run(DAY / 4)
    assert off.interval() == 25.0
    assert len(off.learning) == 0


def test_who_is_not_looked_at_any_more_is_forgotten() -> None:
    learning = Learning(Settings())
    steady(learning, flow(), 0.0)
    assert len(learning) == 1
    for hour in range(1, 5):
        learning.rests(flow(50000, "192.0.2.1"), 3600.0 * hour + 2000.0)
    assert len(learning) == 1
    assert PUBLIC not in learning._places
    assert PUBLIC not in learning._old_places


def test_there_are_so_many_flows_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgesip.signal.nat.learning.MOST", 10)
    learning = Learning(Settings())
    rests = [learning.rests(flow(port), now) for port in range(40000, 40020) for now in (100.0, 112.5)]
    assert len(learning) == 10
    assert rests[20:] == [False, True] * 10  # every other look
