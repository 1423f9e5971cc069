"""Every way a call can end, with the real relay behind the real core: nothing is left of any of them."""

from __future__ import annotations

import gc
import random
from collections.abc import Iterator

import pytest
from endings import WAYS, House, Way, up
from talk import SDP, Packet, Phone

from edgesip.signal.wire.message import Request, Response, parse

Passage = tuple[Phone, Phone, Packet, Response, Request, Packet]


@pytest.fixture(scope="module")
def _frozen() -> Iterator[None]:
    """What was there before does not make each full collection slow."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_nothing_is_left_of_a_call(way: Way) -> None:
    house = House()
    alice, bob = house.phone("alice", nat=True), house.phone("bob", nat=True)
    house.register(alice, bob)
    way(house, alice, bob)
    house.clean()


@pytest.mark.usefixtures("_frozen")
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_call_leaves_no_circle(way: Way) -> None:
    """What is over is gone at once: full collections come a minute apart, and a flood does not wait."""
    house = House()
    alice, bob = house.phone("alice", nat=True), house.phone("bob", nat=True)
    house.register(alice, bob)
    gc.collect()
    gc.disable()
    try:
        way(house, alice, bob)
        house.clean()
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        left = {type(one).__name__ for one in gc.garbage if type(one).__module__.startswith("edgesip.")}
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert left == set()


@pytest.mark.parametrize("rounds", [5, pytest.param(250, marks=pytest.mark.long)])
def test_nothing_is_left_of_many_calls_in_any_order(rounds: int) -> None:
    """Threat 30: the long one makes ten thousand calls."""
    dice = random.Random(5)
    house = House(ports=4000)
    alice, bob = house.phone("alice", nat=True), house.phone("bob", nat=True)
    for _ in range(rounds):
        house.register(alice, bob)
        for way in dice.sample(WAYS, len(WAYS)):
            way(house, alice, bob)
            house.drain()
        house.wait(300)
        house.drain()
    house.clean()


# Ports run out (R11).


def full_house(calls: int) -> tuple[House, list[Passage], Phone]:
    """A house with ports for so many calls, all of them taken; bob's passages, and alice who wants more."""
    house = House(ports=4 * calls)
    alice, bob = house.phone("alice", nat=True), house.phone("bob", nat=True)
    house.register(alice, bob)
    return house, [(alice, bob, *up(house, alice, bob)) for _ in range(calls)], alice


def refused(house: House, alice: Phone) -> int:
    """A call that is refused for want of ports: its Retry-After."""
    house.call(alice, "bob")
    house << (alice, 100)
    answer = house.response(alice, 503)
    house.silent()
    return int(answer.headers.get("Retry-After") or 0)


def test_a_call_that_finds_no_ports_is_503_and_leaves_the_others_alone() -> None:
    house, _, alice = full_house(2)
    before = house.relay.sessions(house.now), house.relay.ports(house.now)
    again = [refused(house, alice) for _ in range(60)]
    assert set(again) <= set(range(1, 11))
    assert len(set(again)) >= 5, "those who were refused together do not come back together"
    assert (house.relay.sessions(house.now), house.relay.ports(house.now)) == before
    house.wait(40)
    assert len(house.core.transactions) == 0
    assert len([dialog for dialog in house.core.dialogs if dialog.state < 5]) == 2


def test_the_pool_is_whole_again_half_a_minute_after_the_last_call() -> None:
    house, passages, alice = full_house(2)
    for caller, callee, invite, answer, _, _ in passages:
        house >> caller.within(invite, answer, "BYE")
        house >> callee.reply(house.request(callee, "BYE"), 200) << (caller, 200)
    assert house.relay.ports(house.now)["resting"] == 8
    assert refused(house, alice) > 0
    house.wait(30)
    house.drain()
    assert house.relay.ports(house.now) == {"total": 8, "leased": 0, "resting": 0, "free": 8}
    house.call(alice, "bob")
    house << (alice, 100) << (passages[0][1], "INVITE")


def test_a_fork_that_finds_ports_for_one_of_its_two_goes_on_with_that_one() -> None:
    house = House(ports=4)
    alice = house.phone("alice", nat=True)
    one, two = house.phone("bob", nat=True), house.phone("bob", nat=True)
    house.register(alice, one, two)
    invite = house.call(alice, "bob")
    house << (alice, 100)
    ((flow, octets),) = house.sent
    house.drain()
    ringing = one if flow.remote == one.at else two
    received = parse(octets)
    assert isinstance(received, Request)
    house >> ringing.reply(received, 200, body=SDP)
    answer = house.response(alice, 200)
    house >> alice.ack(invite, answer) << (ringing, "ACK")
    house >> alice.within(invite, answer, "BYE")
    house >> ringing.reply(house.request(ringing, "BYE"), 200) << (alice, 200)
    house.clean()
