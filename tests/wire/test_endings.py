"""How calls end when they do not end well: busy, nobody answers, somebody is gone, somebody comes back."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from lab.agent import Agent
from lab.calls import assert_call, connect, hang_up, phone_at
from lab.network import Network
from lab.process import eventually
from lab.server import Server

pytestmark = pytest.mark.wire
Start = Callable[..., Server]


def _failure(server: Server, network: Network, number: int = 50, patience: float = 12.0) -> int:
    """What eve hears when she calls bob."""
    eve = Agent(network.public_host("eve", number), "eve", server.add_user("eve"))
    invite = eve.invite("bob", eve.offer(eve.stream(440.0)))
    answer = eve.expect_response(invite, 300, 699, patience)
    eve.acknowledge_failure(invite, answer)
    return answer.status


@pytest.mark.long
def test_a_busy_phone_says_so_and_its_call_goes_on(server: Server, network: Network) -> None:
    alice = phone_at(server, network, "alice", "port-restricted")
    bob = phone_at(server, network, "bob", "symmetric", calls=1)
    connect(alice, bob)
    time.sleep(2.0)
    assert _failure(server, network) == 486
    time.sleep(2.0)
    hang_up(alice, bob)
    alice.assert_heard(bob, 4.0)
    bob.assert_heard(alice, 4.0)


def test_nobody_answers(start_server: Start, network: Network) -> None:
    """Timer C (fr_inv_timer): CANCEL to the phone that rings, 408 to the caller."""
    server = start_server({"tm.fr_inv_timer": "3000"})
    bob = phone_at(server, network, "bob", "symmetric")
    begin = time.monotonic()
    assert _failure(server, network) == 408
    assert 2.5 < time.monotonic() - begin < 10.0
    bob.wait_closed()


@pytest.mark.long
def test_a_vanished_phone_is_not_reached_and_works_again_after_its_restart(
    start_server: Start, network: Network
) -> None:
    server = start_server({"tm.fr_timer": "3000"})
    alice = phone_at(server, network, "alice", "port-restricted")
    bob = phone_at(server, network, "bob", "symmetric")
    bob.vanish()
    assert _failure(server, network) == 408
    bob.start()
    bob.wait_registered()
    assert_call(alice, bob, 3.0)
    assert_call(bob, alice, 3.0)


@pytest.mark.long
@pytest.mark.parametrize("comes_back", [True, False])
def test_a_phone_that_vanishes_in_a_call_leaves_nothing_behind(
    start_server: Start, network: Network, comes_back: bool
) -> None:
    """The other one hangs up; whether or not its BYE is answered, the call is over."""
    server = start_server({"tm.fr_timer": "3000"})
    alice = phone_at(server, network, "alice", "port-restricted")
    bob = phone_at(server, network, "bob", "symmetric")
    connect(alice, bob)
    time.sleep(2.0)
    bob.vanish()
    time.sleep(2.0)
    if comes_back:
        bob.start()
        bob.wait_registered()
    alice.hangup()
    alice.wait_closed()
    server.assert_clean(20.0)
    if comes_back:
        assert_call(alice, bob, 3.0)


@pytest.mark.long
def test_a_call_whose_two_phones_vanish_ends_by_itself(start_server: Start, network: Network) -> None:
    server = start_server({"relay.timeout": "3", "tm.fr_timer": "3000"})
    alice = phone_at(server, network, "alice", "port-restricted")
    bob = phone_at(server, network, "bob", "symmetric")
    connect(alice, bob)
    time.sleep(2.0)
    assert server.leftovers()
    for phone in (alice, bob):
        phone.vanish()
    eventually("the end of the call", lambda: not server.ask("rtp", "list"), 15.0, 0.3)
    server.assert_clean(20.0)


@pytest.mark.long
@pytest.mark.parametrize("place", ["port-restricted", "symmetric"])
def test_five_calls_in_a_row(server: Server, network: Network, place: str) -> None:
    alice = phone_at(server, network, "alice", place)
    bob = phone_at(server, network, "bob", place)
    for number in range(5):
        assert_call(*((alice, bob) if number % 2 else (bob, alice)), 2.0)


@pytest.mark.long
def test_two_calls_at_once_do_not_mix(server: Server, network: Network) -> None:
    alice, bob, carol, dave = (
        phone_at(server, network, user, kind)
        for user, kind in zip(
            ("alice", "bob", "carol", "dave"),
            ("port-restricted", "symmetric", "cgnat", "public"),
            strict=True,
        )
    )
    connect(alice, bob)
    connect(carol, dave)
    time.sleep(4.0)
    assert len(server.ask("rtp", "list")) == 2
    hang_up(bob, alice)
    time.sleep(2.0)
    hang_up(carol, dave)
    for one, other, talk in ((alice, bob, 4.0), (carol, dave, 6.0)):
        one.assert_heard(other, talk)
        other.assert_heard(one, talk)
