"""Wrong passwords: how many guesses are weighed, and who is never made to wait (threat 12)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from talk import SERVER, Packet, Phone, Talk, moved

from edgesip.address import Addr
from edgesip.signal.guard.backoff import (
    CROWD,
    FORGET,
    HELD,
    HELD_FOR_OTHERS,
    Backoff,
    BackoffSettings,
    network,
)
from edgesip.signal.guard.bans import BanSettings
from edgesip.signal.guard.guard import GuardSettings
from edgesip.signal.wire.message import Response

HERE, BESIDE, THERE = Addr("198.51.100.7", 5060), Addr("198.51.100.7", 5070), Addr("203.0.113.9", 5060)
UNBANNED = GuardSettings(ban=BanSettings(enabled=False))


def weighed(
    backoff: Backoff, user: str, remote: Addr, start: float, seconds: float, step: float = 0.05
) -> int:
    """How many of the wrong passwords that come every `step` seconds are looked at."""
    found = 0
    for number in range(int(seconds / step)):
        now = start + number * step
        if not backoff.holds(user, remote, now):
            found += 1
            backoff.failed(user, remote, now)
    return found


@pytest.fixture
def backoff() -> Backoff:
    return Backoff(BackoffSettings())


def test_five_failures_are_weighed_at_once_then_the_time_doubles(backoff: Backoff) -> None:
    for _ in range(5):
        assert not backoff.holds("alice", HERE, 0.0)
        backoff.failed("alice", HERE, 0.0)
    now = 0.0
    for wait in (1, 2, 4, 8, 16, 32, 60, 60):
        assert backoff.holds("alice", HERE, now + wait - 0.01) == HELD
        now += wait
        assert not backoff.holds("alice", HERE, now)
        backoff.failed("alice", HERE, now)


def test_a_thousand_guesses_from_one_place_are_at_most_twenty_a_minute(backoff: Backoff) -> None:
    for minute in range(5):
        assert weighed(backoff, "alice", HERE, minute * 60.0, 60.0) <= 20


def test_other_ports_of_the_same_address_do_not_help(backoff: Backoff) -> None:
    found = 0
    for number in range(1000):
        remote, now = Addr(HERE.host, 1024 + number), number * 0.06
        if not backoff.holds("alice", remote, now):
            found += 1
            backoff.failed("alice", remote, now)
    assert found <= 20


def test_other_names_do_not_help(backoff: Backoff) -> None:
    found = 0
    for number in range(1000):
        user, now = f"u{number}", number * 0.06
        if not backoff.holds(user, HERE, now):
            found += 1
            backoff.failed(user, HERE, now)
    assert found <= 20


def test_other_addresses_do_not_help(backoff: Backoff) -> None:
    found = 0
    for number in range(1000):
        remote, now = Addr(f"203.0.113.{number % 250}", 5060), number * 0.06
        if not backoff.holds("alice", remote, now):
            found += 1
            backoff.failed("alice", remote, now)
    assert found <= 20


def test_addresses_of_one_ipv6_network_are_one(backoff: Backoff) -> None:
    found = 0
    for number in range(1000):
        remote, now = Addr(f"2001:db8::{number:x}", 5060), number * 0.06
        if not backoff.holds("alice", remote, now):
            found += 1
            backoff.failed("alice", remote, now)
    assert found <= 20
    assert network("2001:db8::1") == network("2001:db8::ffff:1") != network("2001:db8:0:1::1")


def test_who_proved_a_password_from_here_does_not_wait_for_what_others_do(backoff: Backoff) -> None:
    backoff.proved("alice", THERE, 0.0)
    backoff.proved("bob", HERE, 0.0)
    for number in range(200):
        backoff.failed("alice", HERE, float(number))
    assert backoff.holds("alice", HERE, 200.0)
    assert not backoff.holds("alice", THERE, 200.0), "alice at home, guessed elsewhere"
    assert not backoff.holds("bob", HERE, 200.0), "the guesser's neighbour"
    assert backoff.holds("alice", Addr("192.0.2.55", 5060), 200.0) == HELD_FOR_OTHERS


def test_a_newcomer_at_a_noisy_address_is_heard_unless_it_is_a_crowd_of_failures(backoff: Backoff) -> None:
    for _ in range(30):
        backoff.failed("alice", HERE, 0.0)
    assert not backoff.holds("bob", BESIDE, 0.0)
    for number in range(CROWD):
        backoff.failed(f"u{number}", HERE, 0.0)
    assert backoff.holds("bob", BESIDE, 0.0) == HELD_FOR_OTHERS


def test_the_right_password_starts_its_port_afresh_and_nobody_elses(backoff: Backoff) -> None:
    for _ in range(6):
        backoff.failed("alice", HERE, 0.0)
        backoff.failed("alice", BESIDE, 0.0)
    backoff.proved("alice", HERE, 1.0)
    assert backoff.holds("alice", BESIDE, 1.0) == HELD


def test_failures_are_forgotten_in_time(backoff: Backoff) -> None:
    for _ in range(50):
        backoff.failed("alice", HERE, 0.0)
    assert len(backoff) == 4
    backoff.failed("bob", THERE, FORGET)
    assert len(backoff) == 4
    assert not backoff.holds("alice", HERE, FORGET)


def test_the_tables_are_bounded() -> None:
    backoff = Backoff(BackoffSettings(), entries=100)
    for number in range(5000):
        remote = Addr(f"10.0.{number >> 8}.{number & 255}", 5060)
        backoff.failed(f"u{number}", remote, 0.0)
        backoff.proved(f"v{number}", remote, 0.0)
    assert len(backoff) == 100
    assert len(backoff._proven) == 100


def test_it_can_be_switched_off() -> None:
    backoff = Backoff(BackoffSettings(after=0))
    for _ in range(100):
        backoff.failed("alice", HERE, 0.0)
    assert not backoff.holds("alice", HERE, 0.0)


# -- in conversation -----------------------------------------------------------------------------------


def register(phone: Phone, call_id: str = "") -> Packet:
    aor = f"<sip:{phone.name}@{SERVER.host}>"
    return phone.request("REGISTER", f"sip:{SERVER.host}", to=aor, call_id=call_id)


def tried(talk: Talk, phone: Phone, call_id: str = "") -> Response:
    """A REGISTER, its challenge, and what the password brings."""
    packet = register(phone, call_id)
    talk >> packet
    return answered(talk, phone, phone.with_credentials(packet, talk.response(phone, 401)))


def answered(talk: Talk, phone: Phone, packet: Packet) -> Response:
    talk >> packet
    status = int(talk.sent[0][1][8:11])
    return talk.response(phone, status)


def test_svcrack_learns_little_and_the_owner_registers_all_the_while() -> None:
    talk = Talk(guard=UNBANNED)
    owner = talk.phone("alice", nat=True)
    assert tried(talk, owner, "reg-1").status == 200
    guesser = replace(talk.phone("alice"), password="guess")
    counters = talk.core.digest.counters
    for number in range(1000):
        talk.now += 0.06
        assert tried(talk, guesser).status == 401
        if number % 100 == 50:
            assert tried(talk, owner, "reg-1").status == 200, "the owner, by the same flow"
    assert counters["auth:refused"] <= 20
    assert counters["auth:refused"] + counters["auth:held_back"] == 1000
    elsewhere = moved(owner, Addr("192.0.2.77", 4711))
    assert tried(talk, elsewhere, "reg-1").status == 200, "the same registration, by another network"


def test_beside_the_guesser_behind_the_same_nat_the_owner_registers_too() -> None:
    talk = Talk(guard=UNBANNED)
    owner = talk.phone("alice", nat=True)
    assert tried(talk, owner, "reg-1").status == 200
    guesser = replace(moved(owner, Addr(owner.at.host, 6666)), password="guess")
    for _ in range(150):
        talk.now += 0.4
        assert tried(talk, guesser).status == 401
    assert tried(talk, owner, "reg-1").status == 200
    assert tried(talk, moved(owner, Addr(owner.at.host, 6667)), "reg-1").status == 200, "a new port"
    assert talk.core.digest.counters["auth:refused"] <= 20


def test_who_is_held_back_hears_what_everybody_hears_even_with_the_right_password() -> None:
    talk = Talk(guard=UNBANNED)
    stranger = talk.phone("alice")
    wrong = replace(stranger, password="guess")
    shapes = {shape(tried(talk, wrong)) for _ in range(4)}
    for _ in range(4):
        shapes.add(shape(tried(talk, wrong)))
    assert talk.core.digest.counters["auth:held_back"] == 3
    shapes.add(shape(tried(talk, stranger)))
    assert len(shapes) == 1
    why = [dict(note.fields)["why"] for note in talk.notes if note.event == "authentication failed"]
    assert why[-1] == HELD
    talk.wait(61)
    assert tried(talk, stranger).status == 200


def shape(response: Response) -> tuple[int, str, tuple[tuple[str, int], ...]]:
    """Status, reason, names and lengths: what there is to see but for nonces and tags."""
    skipped = ("Call-ID", "Via", "From", "CSeq")
    fields = [(name, len(value)) for name, value in response.headers.fields if name not in skipped]
    return response.status, response.reason, tuple(fields)


def test_without_a_nonce_of_ours_nothing_is_remembered_of_anybody() -> None:
    talk = Talk(guard=UNBANNED)
    alice = talk.phone("alice")
    packet = register(alice)
    talk >> packet
    guess = replace(alice, password="guess").with_credentials(packet, talk.response(alice, 401))
    for number in range(300):
        forged = moved(alice, Addr(f"192.0.2.{number % 250}", 5000 + number))
        octets = guess.octets.replace(b"branch=z9hG4bK", b"branch=z9hG4bK%d-" % number, 1)
        answer = answered(talk, forged, Packet(forged, octets))
        assert "stale=true" in (answer.headers.get("WWW-Authenticate") or "")
    assert len(talk.core.digest.backoff) == 0
    assert len(talk.core.digest.nonces) == 0
