"""Overload: what is new is turned away first, what is under way never; errors are not answered for ever."""

from __future__ import annotations

import random
from collections import Counter, deque

import pytest
from talk import SDP, SERVER, Packet, Talk

from edgesip.signal.guard.admission import Admission, AdmissionSettings
from edgesip.signal.wire.message import Request, Response, parse


def admission(**more: float) -> Admission:
    dice = random.Random(7)
    return Admission(AdmissionSettings(**more), dice.randbytes)  # type: ignore[arg-type]


def invite(tag: str = "") -> Request:
    talk = Talk()
    packet = talk.phone("alice").invite("bob")
    octets = packet.octets.replace(b"To: <sip:bob@203.0.113.1>", b"To: <sip:bob@203.0.113.1>" + tag.encode())
    request = parse(octets)
    assert isinstance(request, Request)
    return request


def busy(guard: Admission, delay: float, looks: int, now: float = 100.0) -> float:
    for _ in range(looks):
        now += 0.11
        guard.measure(delay, now)
    return now


def test_a_pause_closes_nothing_and_a_queue_does() -> None:
    guard = admission()
    guard.measure(0.5, 100.0)
    guard.measure(0.0, 100.2)
    assert not guard.closed
    busy(guard, 0.2, 3, 101.0)
    assert guard.closed
    assert 0 < guard.part < 0.5
    busy(guard, 0.2, 200, 102.0)
    assert guard.part == 2.0


def test_it_opens_when_the_queue_is_gone() -> None:
    guard = admission()
    now = busy(guard, 0.5, 30)
    assert guard.part == 2.0
    now = busy(guard, 0.04, 3, now)
    assert 1.1 < guard.part < 1.7, "those who are at home are let in again first"
    now = busy(guard, 0.04, 40, now)
    assert guard.part < 1.0
    guard.measure(0.0, now + 0.2)
    guard.measure(0.0, now + 20)
    assert not guard.closed


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize(("load", "least"), [(0.5, 0.49), (0.95, 0.94), (1.3, 0.9), (2.0, 0.9), (4.0, 0.75)])
def test_goodput_under_load(load: float, least: float, known: bool) -> None:
    """A queue that serves 200 calls a second; turning one away costs a twentieth of a call."""
    guard, request, dice = admission(), invite(), random.Random(3)
    now, arrival, served = 0.0, 0.0, 0
    queue: deque[float] = deque()
    waits: list[float] = []
    while now < 40:
        while arrival <= now:
            queue.append(arrival)
            arrival += dice.expovariate(200 * load)
        if not queue:
            now = arrival
            continue
        waited = now - queue.popleft()
        guard.measure(waited, now)
        if guard.closed and guard.refusal(request, known, dice.randrange(65536)):
            now += 0.05 / 200
            continue
        now += 1 / 200
        served += now > 10
        waits.append(waited)
    assert served / 30 / 200 >= least
    waits.sort()
    assert waits[int(len(waits) * 0.99)] < 1.0


def test_the_part_that_is_turned_away_is_the_part_that_was_said() -> None:
    guard = admission()
    guard.part, guard.closed = 0.3, True
    request = invite()
    dice = random.Random(5)
    waits = Counter(guard.refusal(request, False, dice.randrange(65536)) for _ in range(4000))
    assert 0.25 < 1 - waits[0] / 4000 < 0.35
    assert set(waits) <= set(range(11))
    assert len(waits) == 11
    assert guard.counters["core:overload_rejected"] == 4000 - waits[0]


def turned(guard: Admission, request: Request, known: bool) -> float:
    """The part of such requests that is turned away."""
    lots = range(0, 65536, 64)
    return sum(guard.refusal(request, known, lot) != 0 for lot in lots) / len(lots)


@pytest.mark.parametrize(
    ("part", "strangers", "calls", "refreshes"),
    [
        (0.5, 0.5, 0.0, 0.0),
        (1.0, 1.0, 0.0, 0.0),
        (1.4, 1.0, 0.4, 0.0),
        (1.75, 1.0, 0.75, 0.5),
        (2.0, 1.0, 1.0, 1.0),
    ],
)
def test_strangers_are_turned_away_first_and_refreshes_last(
    part: float, strangers: float, calls: float, refreshes: float
) -> None:
    guard = admission()
    guard.part, guard.closed = part, True
    talk = Talk()
    refresh = parse(talk.phone("alice").request("REGISTER", f"sip:{SERVER.host}").octets)
    assert isinstance(refresh, Request)
    assert turned(guard, invite(), False) == pytest.approx(strangers, abs=0.01)
    assert turned(guard, refresh, False) == pytest.approx(strangers, abs=0.01)
    assert turned(guard, invite(), True) == pytest.approx(calls, abs=0.01)
    assert turned(guard, refresh, True) == pytest.approx(refreshes, abs=0.01)


def test_one_long_pause_turns_away_strangers_and_nobody_who_is_at_home() -> None:
    """A neighbour on the same machine takes the processor for two seconds: what that leaves in the queue is
    short work once strangers are dropped.
    """
    guard = admission()
    guard.measure(0.11, 100.0)
    guard.measure(2.0, 102.0)
    assert guard.part == 1.0
    guard.measure(1.9, 102.11)
    guard.measure(0.3, 102.22)
    guard.measure(0.01, 102.33)
    assert turned(guard, invite(), True) == 0.0


def test_what_waited_too_long_is_not_even_answered() -> None:
    guard = admission()
    busy(guard, 2.5, 20)
    assert guard.refusal(invite(), False, 0) == -1
    assert guard.refusal(invite(";tag=x"), False, 0) == 0
    assert guard.counters["core:overload_dropped"] == 1


def shut(talk: Talk) -> None:
    talk.core.admission.part, talk.core.admission.closed = 2.0, True


def test_under_way_is_served_and_new_is_told_when_to_come_again() -> None:
    talk = Talk()
    alice, bob = talk.phone("alice"), talk.phone("bob")
    talk.register(alice, bob)
    call = talk.call(alice, "bob")
    talk << (alice, 100)
    received = talk.request(bob, "INVITE")
    shut(talk)
    talk >> call << (alice, 100)
    talk >> bob.reply(received, 180) << (alice, 180)
    talk >> bob.reply(received, 200, body=SDP)
    answer = talk.response(alice, 200)
    talk >> alice.ack(call, answer) << (bob, "ACK")
    talk >> alice.within(call, answer, "INVITE", body=SDP) << (alice, 100) << (bob, "INVITE")
    new = alice.invite("bob")
    talk >> new
    refused = talk.response(alice, 503)
    assert 1 <= int(refused.headers.get("Retry-After") or "") <= 10
    assert len(bytes(refused)) < 1.3 * len(new.octets)
    for method in ("OPTIONS", "MESSAGE", "SUBSCRIBE"):
        talk >> alice.request(method, f"sip:bob@{SERVER.host}") << (alice, 503)
    stranger = talk.phone("carol")
    talk >> stranger.request("REGISTER", f"sip:{SERVER.host}", to=f"<sip:carol@{SERVER.host}>")
    talk.silent()
    stranger = talk.phone("carol", transport="tcp")
    talk >> stranger.request("REGISTER", f"sip:{SERVER.host}", to=f"<sip:carol@{SERVER.host}>")
    talk << (stranger, 503)
    talk.core.admission.part = 1.5
    talk >> alice.request("REGISTER", f"sip:{SERVER.host}", to=f"<sip:alice@{SERVER.host}>") << (alice, 401)
    talk >> alice.within(call, answer, "BYE") << (bob, "BYE")


def test_after_a_lull_the_first_who_comes_is_let_in() -> None:
    talk = Talk()
    alice = talk.phone("alice", transport="tcp")
    busy(talk.core.admission, 0.5, 30, talk.now)
    talk.now += 3.3
    talk >> alice.request("OPTIONS", f"sip:bob@{SERVER.host}") << (alice, 503)
    talk.wait(30.0)
    assert not talk.core.admission.closed
    talk >> alice.request("OPTIONS", f"sip:bob@{SERVER.host}") << (alice, 407)


def test_a_repeated_invite_hears_the_same_as_before() -> None:
    """The second copy of one that was turned away opens no call: nobody waits for it any more."""
    talk = Talk()
    alice, bob = talk.phone("alice"), talk.phone("bob")
    talk.register(alice, bob)
    talk.core.admission.part, talk.core.admission.closed = 1.5, True
    turned_away = 0
    for _ in range(40):
        invite = alice.invite("bob")
        talk >> invite
        first = parse(talk.sent.pop()[1])
        assert isinstance(first, Response)
        turned_away += first.status == 503
        for _ in range(3):
            talk >> invite << (alice, first.status)
    assert 5 < turned_away < 35


def test_the_ack_of_a_refusal_goes_nowhere() -> None:
    talk = Talk()
    alice = talk.phone("alice")
    shut(talk)
    invite = alice.invite("bob")
    talk >> invite
    refused = talk.response(alice, 503)
    headers = refused.headers
    talk >> alice.request(
        "ACK",
        f"sip:bob@{SERVER.host}",
        call_id=headers.call_id,
        from_=headers.get("From") or "",
        to=headers.get("To") or "",
        cseq=headers.cseq.number,
    )
    talk.silent()
    assert talk.core.counters["sl:received_ACKs"] == 1


def test_over_a_connection_even_late_answers_are_given() -> None:
    talk = Talk()
    alice, bob = talk.phone("alice", transport="tcp"), talk.phone("bob")
    shut(talk)
    talk.core.admission.delay = 3.0
    talk >> bob.invite("alice")
    talk.silent()
    talk >> alice.invite("bob") << (alice, 503)


def test_one_error_a_second_for_a_source_and_a_table_that_does_not_grow() -> None:
    guard = admission(burst=1.0, sources=100)
    assert [guard.may_err("192.0.2.1", 100.0 + at) for at in (0.0, 0.1, 0.9, 1.0, 1.5, 2.1)] == [
        True,
        False,
        False,
        True,
        False,
        True,
    ]
    for number in range(1000):
        assert guard.may_err(f"192.0.2.{number}", 110.0)
    assert len(guard._errors) == 100
    assert guard.counters["core:errors_suppressed"] == 3


def test_garbage_for_ever_is_not_answered_for_ever() -> None:
    """Of somebody who is never banned: his phone is registered over this flow."""
    talk = Talk().register(alice := Talk().phone("alice"))
    bad = alice.invite("bob").octets.replace(b"CSeq: 1 INVITE", b"CSeq: 1 BYE")
    for _ in range(1000):
        talk >> Packet(alice, bad)
    assert len(talk.sent) == 64
    talk.sent.clear()
    for _ in range(10):
        talk.wait(1.0)
        talk >> Packet(alice, bad)
        talk >> Packet(alice, bad)
    assert len(talk.sent) == 10
    talk.sent.clear()
    talk >> alice.request("OPTIONS", f"sip:{SERVER.host}") << (alice, 200)
