"""The ports of the relay on 127.0.0.1: narrow while a settled stream speaks, wide for all that may come."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from relay_talk import rtcp, rtp, sdp
from test_relay_service import HOST, KEY, House, Phone, a_house

from edgesip.address import Addr, Flow
from edgesip.relay.links import Link, SocketPath, bound
from edgesip.relay.rule import Rule
from edgesip.relay.watch import PARTS


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def a_settled_house() -> Iterator[tuple[House, Clock]]:
    """One call, both ends settled, under a clock that stands still."""
    clock = Clock()
    with a_house(clock=clock) as house:
        house.connect()
        house.settle()
        yield house, clock


def link_to(house: House, phone: Phone) -> Link:
    return house.service._by_local[Addr(HOST, phone.relay)]


def sweep(house: House, clock: Clock, seconds: float) -> None:
    clock.now += seconds
    house.service.tend(house.service._links.values(), clock.now)


def mismatches(house: House) -> int:
    return house.service.counters["rtp:rtp_src_mismatch"]


def test_ports_are_narrow_once_their_stream_is_settled_and_speaks() -> None:
    with a_house() as house:
        house.connect()
        assert {link.peer for link in house.service._links.values()} == {None}
        house.settle()
        for phone in (house.alice, house.bob):
            assert link_to(house, phone).peer == Addr(HOST, phone.port)
        controls = [
            house.service._by_local[Addr(HOST, phone.relay + 1)] for phone in (house.alice, house.bob)
        ]
        assert {link.peer for link in controls} == {None}


def test_strangers_cost_the_process_nothing_while_the_phone_speaks() -> None:
    with a_settled_house() as (house, _):
        eve = Phone(0xBAD)
        eve.relay = house.alice.relay
        eve.speak(500)
        assert house.service._poll.poll(0) == []
        assert mismatches(house) == 0
        eve.close()


def test_strangers_are_looked_at_when_the_phone_is_silent() -> None:
    with a_settled_house() as (house, clock):
        sweep(house, clock, 1.0)
        eve = Phone(0xBAD)
        eve.relay = house.alice.relay
        eve.speak(500)
        house.turn()
        assert (house.bob.heard(), mismatches(house)) == ([], 500)
        house.alice.speak()
        house.turn()
        eve.speak(500)
        house.turn()
        assert (len(house.bob.heard()), mismatches(house)) == (1, 500)
        eve.close()


def test_what_was_queued_before_the_connection_is_still_judged_by_its_source() -> None:
    with a_house(clock=Clock()) as house:
        house.connect()
        for _ in range(2):
            house.alice.speak()
            house.bob.speak()
            house.turn()
        house.alice.heard(), house.bob.heard()
        eve = Phone(0xBAD)
        eve.relay = house.alice.relay
        house.alice.speak()
        eve.speak(20)
        house.alice.speak()
        house.service.drain()
        assert [packet[8:12] for packet in house.bob.heard()] == [b"\0\0\0\x0a"] * 2
        assert mismatches(house) == 20
        eve.close()


def test_sources_are_asked_for_until_nothing_old_can_be_queued() -> None:
    with a_settled_house() as (house, clock):
        link = link_to(house, house.alice)
        sweep(house, clock, 0.4)
        assert link.only is None, "too early"
        house.alice.speak()
        sweep(house, clock, 0.2)
        assert link.only is None, "a packet waits"
        house.turn()
        sweep(house, clock, 0.2)
        assert link.only == Addr(HOST, house.alice.port)
        house.bob.heard()
        house.alice.speak(5)
        house.turn()
        assert len(house.bob.heard()) == 5
        assert house.service.core.sessions(clock.now)[0]["legs"][0]["packets"] == 9


def test_what_is_no_rtp_is_asked_about_at_a_narrow_port_too() -> None:
    with a_settled_house() as (house, clock):
        for _ in range(2):
            house.alice.speak()
            house.turn()
            sweep(house, clock, 0.6)
        assert link_to(house, house.alice).only is not None
        house.bob.heard()
        house.alice.sock.sendto(b"junk that is long enough", (HOST, house.alice.relay))
        house.turn()
        assert house.bob.heard() == []
        assert house.service.counters["rtp:rtp_invalid"] == 1


def test_a_nat_that_rebinds_heals_and_a_stranger_does_not_profit() -> None:
    with a_settled_house() as (house, clock):
        moved, eve = Phone(0xA), Phone(0xBAD)
        moved.relay = eve.relay = house.alice.relay
        moved.sequence = house.alice.sequence
        for _ in range(3):
            moved.speak()
            eve.speak()
            house.turn()
            sweep(house, clock, 0.7)
        assert house.bob.heard() == [], "the old address was not silent for two seconds"
        for _ in range(4):
            moved.speak()
            eve.speak()
            house.bob.speak()
            house.turn()
        assert [packet[8:12] for packet in house.bob.heard()] == [b"\0\0\0\x0a"] * 3
        assert house.service.counters["rtp:rtp_relatch"] == 1
        assert link_to(house, house.alice).peer == Addr(HOST, moved.port)
        assert len(moved.heard()) == 3
        assert eve.heard() == []
        moved.close()
        eve.close()


def flood(eve: Phone, house: House, control: bool) -> None:
    """More than a port refuses between two sweeps, in parts that its buffer takes."""
    for _ in range(6):
        for _ in range(100):
            eve.sock.sendto(rtcp(0xBAD) if control else rtp(7, 0xBAD), (HOST, eve.relay))
        house.turn()


def test_every_port_has_its_turn_once_a_second() -> None:
    with a_settled_house() as (house, clock):
        clock.now += 1.0
        for _ in range(2 * PARTS - 1):
            house.service._tend()
        assert {link.peer for link in house.service._links.values()} == {None}


def test_a_flooded_port_of_rtcp_hears_its_phone_alone_for_a_while() -> None:
    with a_settled_house() as (house, clock):
        eve = Phone(0xBAD)
        eve.relay = house.alice.relay + 1
        link = house.service._by_local[Addr(HOST, eve.relay)]
        house.alice.control.sendto(rtcp(0xA), link.local)
        flood(eve, house, True)
        assert (mismatches(house), link.peer) == (600, None)
        sweep(house, clock, 1.0)
        assert link.peer == Addr(HOST, house.alice.port + 1)
        flood(eve, house, True)
        assert mismatches(house) == 600
        house.alice.control.sendto(rtcp(0xA), link.local)
        house.turn()
        assert house.bob.heard(house.bob.control) == [rtcp(0xA)] * 2
        sweep(house, clock, 4.9)
        assert link.peer is not None
        sweep(house, clock, 0.1)
        assert link.peer is None
        eve.close()


def test_a_flooded_port_whose_phone_is_silent_is_open_every_other_second() -> None:
    with a_settled_house() as (house, clock):
        eve = Phone(0xBAD)
        eve.relay = house.alice.relay
        link = link_to(house, house.alice)
        seen = []
        for _ in range(6):
            sweep(house, clock, 1.0)
            flood(eve, house, False)
            seen.append(link.peer is not None)
        assert seen == [False, True, False, True, False, True]
        assert mismatches(house) == 1800
        eve.close()


def test_a_flood_before_a_stream_is_settled_is_looked_at() -> None:
    with a_house(clock=(clock := Clock())) as house:
        house.connect()
        eve = Phone(0xBAD)
        eve.relay = house.alice.relay
        flood(eve, house, False)
        sweep(house, clock, 1.0)
        assert {link.peer for link in house.service._links.values()} == {None}
        eve.close()


def test_an_offer_with_another_address_opens_the_port_at_once() -> None:
    with a_settled_house() as (house, clock):
        moved = Phone(0xE)
        core = house.service.core
        a, b = (Flow("udp", Addr(HOST, 5060), Addr(HOST, port)) for port in (6001, 6002))
        core.offer(KEY, "b1", "t", "caller", sdp(HOST, moved.port), a, b, clock.now)
        core.answer(KEY, "b1", "t", "callee", sdp(HOST, house.bob.port), b, a, True, clock.now)
        moved.relay = house.alice.relay
        for _ in range(4):
            moved.speak()
            house.turn()
        assert len(house.bob.heard()) == 4
        assert link_to(house, house.alice).peer == Addr(HOST, moved.port)
        moved.close()


def test_a_call_whose_rules_are_gone_hears_everybody_again() -> None:
    with a_settled_house() as (house, _):
        for link in house.service._links.values():
            house.service.core.path.drop(link.local)
        assert {link.peer for link in house.service._links.values()} == {None}
        house.alice.speak()
        house.turn()
        assert len(house.bob.heard()) == 1


def test_where_a_socket_cannot_be_connected_sources_are_looked_at() -> None:
    with a_house() as house:
        house.connect()

        class NoRoute:
            """A socket that does all but connect."""

            def __init__(self, sock: socket.socket) -> None:
                self.sock = sock

            def connect(self, to: Addr) -> None:
                raise OSError(101, "Network is unreachable")

            def fileno(self) -> int:
                return self.sock.fileno()

            def close(self) -> None:
                self.sock.close()

        for link in house.service._links.values():
            link.sock = NoRoute(link.sock)  # type: ignore[assignment]
        house.settle()
        eve = Phone(0xBAD)
        eve.relay = house.alice.relay
        eve.speak(5)
        house.alice.speak(5)
        house.turn()
        assert (len(house.bob.heard()), mismatches(house)) == (5, 5)
        eve.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_port_keeps_its_number_when_it_is_widened(host: str) -> None:
    try:
        link, other = bound(Addr(host, 21400)), bound(Addr(host, 21402))
    except OSError as error:
        pytest.skip(f"cannot bind on {host}: {error}")
    stranger = socket.socket(link.sock.family, socket.SOCK_DGRAM)
    for narrow in (True, False, True, False):
        link.narrow(other.local, 1.0) if narrow else link.widen()
        other.sendto(rtp(1), link.local)
        stranger.sendto(rtp(2), link.local)
        heard = []
        for _ in range(2):
            try:
                heard.append(link.recv(2048)[3])
            except BlockingIOError:
                break
        assert heard == ([1] if narrow else [1, 2])
    for sock in (link.sock, other.sock, stranger):
        sock.close()


def test_a_path_takes_no_rule_whose_ports_are_not_bound() -> None:
    path = SocketPath({})
    nowhere = Addr(HOST, 1)
    assert not path.put(Rule(nowhere, nowhere, nowhere, nowhere))
    assert (path.drop(nowhere), path.counters(nowhere)) == (None, None)
    path.close()


def test_output_is_input_whatever_the_network_did_before() -> None:
    """R24: gaps, duplicates and swapped packets leave as they came, 10,000 of them."""
    with a_settled_house() as (house, clock):
        order = [n for n in range(10, 10_700) if n % 20]
        for at in range(0, len(order), 20):
            order[at : at + 2] = order[at : at + 2][::-1]
            order[at + 5 : at + 5] = order[at + 4 : at + 5]
        heard = []
        for at, number in enumerate(order[:10_000]):
            house.alice.sock.sendto(rtp(number, 0xA), (HOST, house.alice.relay))
            if at % 50 == 49:
                house.service.drain()
                heard += house.bob.heard()
                clock.now += 0.1
            if at % 500 == 499:
                sweep(house, clock, 0.0)
        house.service.drain()
        heard += house.bob.heard()
        assert link_to(house, house.alice).only is not None
        assert heard == [rtp(number, 0xA) for number in order[:10_000]]
