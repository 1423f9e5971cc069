"""Bans: what counts, who is not heard, and who always is."""

from __future__ import annotations

import heapq
import random
import re
from dataclasses import replace

import pytest
from talk import SERVER, Packet, Phone, Talk, moved

from edgesip.address import Addr
from edgesip.script import Reply, Script
from edgesip.signal.guard.bans import TALLIES, BanSettings
from edgesip.signal.guard.guard import GuardSettings
from edgesip.signal.guard.pike import PikeSettings
from edgesip.signal.proxy.upstream import Upstream
from edgesip.signal.wire.message import Response, parse
from edgesip.signal.wire.uri import parse_uri
from edgesip.store.api import Credential, Subscribers

OFFICE = "198.51.100.200"
JUNK = b"OPTIONS sip:203.0.113.1 SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.9\r\nbad bad bad\r\n\r\n"


REPEATS = (0.0, 0.5, 1.5, 3.5, 7.5)
"""When a request that is not answered is sent over UDP (RFC 3261 §17.1.2.2)."""
DESK_PHONE = (
    ("Expires", "3600"),
    ("User-Agent", "Desk 3000 1.2.3.4"),
    ("Allow", "INVITE, ACK, OPTIONS, CANCEL, BYE, SUBSCRIBE, NOTIFY, INFO, REFER, UPDATE"),
    ("Supported", "path, replaces"),
)
"""What makes a REGISTER as long as those of real phones."""


def register(phone: Phone) -> Packet:
    aor = f"<sip:{phone.name}@{SERVER.host}>"
    return phone.request("REGISTER", f"sip:{SERVER.host}", to=aor, headers=DESK_PHONE)


def junk(talk: Talk, phone: Phone, times: int = 20) -> None:
    for _ in range(times):
        talk >> Packet(phone, JUNK)
    talk.sent.clear()


def guess(talk: Talk, phone: Phone, wrong: str = "guess") -> Talk:
    """One REGISTER with a wrong password, after its challenge."""
    packet = register(phone)
    talk >> packet
    if not talk.sent:
        return talk
    talk >> replace(phone, password=wrong).with_credentials(packet, talk.response(phone, 401))
    talk.sent.clear()
    return talk


def deaf(talk: Talk, phone: Phone) -> bool:
    """True when an OPTIONS of this phone gets no answer."""
    talk.sent.clear()
    talk >> phone.request("OPTIONS", f"sip:{SERVER.host}")
    heard = bool(talk.sent)
    talk.sent.clear()
    return not heard


def test_twenty_unreadable_messages_ban_an_address_and_the_twentieth_is_the_last_answered() -> None:
    talk = Talk()
    scanner = talk.phone("x")
    for number in range(1, 21):
        assert not deaf(talk, scanner), number
        talk >> Packet(scanner, JUNK)
    assert deaf(talk, scanner)
    assert deaf(talk, moved(scanner, Addr(scanner.at.host, 1234))), "the address, whatever its port"
    assert not deaf(talk, talk.phone("alice"))
    assert [one.event for one in talk.notes if one.level == "warning"] == ["address banned"]


def test_a_ban_ends_and_the_next_one_lasts_twice_as_long() -> None:
    talk = Talk()
    scanner = talk.phone("x")
    for seconds in (300, 600, 1200):
        junk(talk, scanner)
        talk.wait(seconds - 1)
        assert deaf(talk, scanner), seconds
        talk.wait(2)
        assert not deaf(talk, scanner), seconds
    junk(talk, scanner)
    talk.wait(90_000)
    junk(talk, scanner)
    talk.wait(301)
    assert not deaf(talk, scanner), "a day later it is new again"


def test_what_is_dropped_does_not_make_a_ban_longer() -> None:
    talk = Talk()
    scanner = talk.phone("x")
    junk(talk, scanner)
    for _ in range(30):
        junk(talk, scanner, 100)
        talk.wait(10)
    assert not deaf(talk, scanner)


def test_few_failures_over_a_long_time_ban_nobody() -> None:
    talk = Talk()
    clumsy = talk.phone("x")
    for _ in range(100):
        junk(talk, clumsy, 1)
        talk.wait(32)
    assert not deaf(talk, clumsy)


def test_a_registered_phone_is_heard_whoever_forges_its_address() -> None:
    talk = Talk().register(alice := Talk().phone("alice", nat=True))
    junk(talk, alice, 500)
    guess_as = replace(alice, password="wrong")
    for _ in range(50):
        guess(talk, guess_as)
    assert not deaf(talk, alice)
    neighbour = moved(alice, Addr(alice.at.host, 5999))
    junk(talk, neighbour, 500)
    assert deaf(talk, neighbour), "the port that does wrong"
    assert not deaf(talk, alice), "the phone that shares its address"
    assert not deaf(talk, moved(alice, Addr(alice.at.host, 6001))), "and one that is to register yet"
    talk.register(replace(alice, name="bob", at=Addr(alice.at.host, 6001)))


def test_a_guesser_beside_the_owner_is_banned_and_the_owner_who_restarts_is_not() -> None:
    talk = Talk().register(alice := Talk().phone("alice", nat=True))
    guesser = moved(alice, Addr(alice.at.host, 4000))
    for _ in range(10):
        guess(talk, guesser)
    assert deaf(talk, guesser)
    talk.register(moved(alice, Addr(alice.at.host, 4001)))


def test_a_guesser_is_banned_for_his_victim_before_he_is_banned_for_all() -> None:
    talk = Talk()
    guesser = talk.phone("alice")
    for _ in range(10):
        guess(talk, guesser)
    for _ in range(5):  # the phone shows what is the matter, and even the right password is not weighed
        guess(talk, guesser, "secret")
    assert not talk.core.usrloc.lookup("alice", talk.now)
    assert talk.guard.bans.counters["ban:held_back"] == 5
    talk.register(replace(guesser, name="bob"))
    talk.register(talk.phone("alice"))
    talk.wait(301)
    talk.register(guesser)


def test_who_goes_on_guessing_at_a_user_is_silenced_at_the_twentieth() -> None:
    talk = Talk()
    guesser = talk.phone("alice")
    for _ in range(20):
        guess(talk, guesser)
    assert deaf(talk, guesser)
    assert talk.guard.bans.counters["ban:banned"] == 2, "the user here, then the address"


def test_by_order_a_user_is_not_heard_from_there_at_all() -> None:
    talk = Talk()
    phone = talk.phone("alice")
    talk.guard.bans.add(phone.at.host, "alice", 60, talk.now)
    talk >> register(phone)
    talk.silent()


def test_a_first_challenge_never_counts() -> None:
    talk = Talk()
    scanner = talk.phone("x")
    for number in range(400):
        someone = replace(scanner, name=f"user{number}")
        talk >> register(someone) << (someone, 401)
    assert talk.guard.bans.counters["ban:scored"] == 0


def test_trusted_addresses_and_the_upstream_are_never_banned() -> None:
    upstream = Upstream(parse_uri("sip:192.0.2.50"), re.compile("[0-9]+"))
    upstream.hosts = frozenset({"192.0.2.50"})
    talk = Talk(upstream=upstream)
    trunk = talk.phone("trunk", at=Addr("192.0.2.50", 5060))
    junk(talk, trunk, 500)
    assert not deaf(talk, trunk)
    with pytest.raises(ValueError, match="never banned"):
        talk.guard.bans.add("192.0.2.50", "", 60, talk.now)


def test_answers_of_whoever_we_call_are_read_all_the_same() -> None:
    talk = Talk()
    gateway = talk.phone("gw")
    junk(talk, gateway)
    assert not talk.guard.bans.refuses(b"SIP/2.0 200 OK\r\n", gateway.flow, talk.now)
    assert talk.guard.bans.refuses(b"INVITE sip:x SIP/2.0\r\n", gateway.flow, talk.now)


def test_a_scanner_by_its_own_name_gets_no_answer_at_all() -> None:
    talk = Talk()
    svmap = talk.phone("100")
    for _ in range(100):
        talk >> svmap.request("OPTIONS", f"sip:{SERVER.host}", headers=(("User-Agent", "friendly-scanner"),))
    talk.silent()
    assert talk.guard.bans.counters["ban:banned"] == 1
    assert talk.guard.bans.counters["ban:dropped"] == 96


def test_a_flood_is_dropped_within_its_first_second_and_banned() -> None:
    talk = Talk()
    flooder = talk.phone("x")
    answered = 0
    for _ in range(3000):
        talk.now += 1 / 3000
        talk >> flooder.invite("bob")
        answered += len(talk.sent)
        talk.sent.clear()
    assert answered == 999
    assert deaf(talk, flooder)
    talk.register(talk.phone("alice"))


def test_what_is_turned_away_by_a_slow_server_counts_as_well() -> None:
    talk = Talk()
    flooder = talk.phone("x")
    other = Talk(script=Script("s.py", lambda call: Reply(200)))
    for house in (talk, other):
        house >> flooder.invite("bob")
        admission = house.core.admission
        admission.part, admission.delay, admission.closed = 1.0, 3.0, True
        for _ in range(1000):
            house >> flooder.invite("bob")
    assert talk.guard.bans.refuses(b"INVITE", flooder.flow, talk.now)
    assert not other.guard.bans.active, "a script that asks for no pike has none"


def test_by_order_a_registered_phone_is_not_heard_either() -> None:
    talk = Talk().register(alice := Talk().phone("alice"))
    talk.guard.bans.add(alice.at.host, "", 60, talk.now)
    assert deaf(talk, alice)
    assert talk.guard.bans.remove(alice.at.host) == 1
    assert not deaf(talk, alice)


def test_ipv6_is_banned_by_the_64_and_not_beyond() -> None:
    talk = Talk()
    for number in range(20):
        junk(talk, talk.phone("x", at=Addr(f"2001:db8:0:1::{number + 1:x}", 5060)), 1)
    assert deaf(talk, talk.phone("x", at=Addr("2001:db8:0:1::ffff", 5060)))
    assert not deaf(talk, talk.phone("x", at=Addr("2001:db8:0:2::1", 5060)))


def test_the_tables_are_bounded() -> None:
    settings = GuardSettings(ban=BanSettings(failures=1, size=100))
    talk = Talk(guard=settings)
    for number in range(TALLIES + 500):
        at = Addr(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 5060)
        talk.guard.bans.score(talk.phone("x", at=at).flow, "", "malformed", talk.now)
    assert len(talk.guard.bans) == 100
    assert talk.guard.bans.gauges()["ban:watched"] == TALLIES
    talk.wait(400)
    assert len(talk.guard.bans) == 0
    assert not talk.guard.bans.active


@pytest.mark.parametrize("seed", range(5))
def test_an_office_of_200_phones_comes_back_all_at_once(seed: int) -> None:
    """Power returns: every phone registers from a new port in the same second, every request is sent twice,
    ten phones have a wrong password and insist. All the others are registered, and nobody else suffers.
    """
    rng = random.Random(seed)
    talk = Talk(users=[f"u{number}" for number in range(200)])
    phones = [
        replace(talk.phone(f"u{number}", nat=True), at=Addr(OFFICE, 20000 + number)) for number in range(200)
    ]
    wrong = {phone.name for phone in rng.sample(phones, 10)}
    first = {phone.name: register(phone) for phone in phones}
    rng.shuffle(phones)
    challenges = {}
    for phone in [*phones, *phones]:  # T1 is over before the server is there
        talk.now += 0.001
        talk >> first[phone.name]
        challenges[phone.name] = talk.response(phone, 401)
    for phone in phones:
        talk.now += 0.001
        asked = replace(phone, password="old") if phone.name in wrong else phone
        packet = asked.with_credentials(first[phone.name], challenges[phone.name])
        talk >> packet >> packet
        talk.sent.clear()
    for phone in phones:
        if phone.name in wrong:
            for _ in range(3):
                guess(talk, phone, "old")
    registered = sum(bool(talk.core.usrloc.lookup(phone.name, talk.now)) for phone in phones)
    assert registered == 190
    assert not talk.guard.bans.refuses(b"REGISTER", replace(phones[0], at=Addr(OFFICE, 60000)).flow, talk.now)
    assert talk.guard.counters()["pike:blocked_ips"] == 0


def test_a_thousand_phones_behind_one_address_come_back_all_at_once() -> None:
    """A mobile provider's NAT after a power cut: nobody is registered, all ask within half a second of a
    server that reads 1500 messages a second, and repeat what is not answered as RFC 3261 says. All get in,
    and nothing is blocked on the way.
    """
    rng = random.Random(3)
    names = [f"u{number}" for number in range(1000)]
    talk = Talk(users=names)
    begin = talk.now
    phones = {
        name: replace(talk.phone(name, nat=True), at=Addr(OFFICE, 20000 + n)) for n, name in enumerate(names)
    }
    first = {name: register(phone) for name, phone in phones.items()}
    arrivals = [
        (begin + rng.uniform(0.0, 0.5) + again, name, first[name]) for name in names for again in REPEATS
    ]
    heapq.heapify(arrivals)
    asked: set[str] = set()
    there: dict[str, float] = {}
    while arrivals:
        at, name, packet = heapq.heappop(arrivals)
        if name in there or (packet is first[name] and name in asked):
            continue
        talk.now = max(talk.now + 1 / 1500, at)
        talk >> packet
        for answer in [parse(octets) for _, octets in talk.sent]:
            assert isinstance(answer, Response)
            if answer.status == 200:
                there[name] = talk.now
            elif name not in asked:
                asked.add(name)
                proved = phones[name].with_credentials(packet, answer)
                soon = talk.now + rng.uniform(0.05, 0.2)
                for again in REPEATS:
                    heapq.heappush(arrivals, (soon + again, name, proved))
        talk.sent.clear()
    assert len(there) == len(names)
    assert max(there.values()) < begin + 3.0
    assert talk.guard.counters()["pike:blocked_ips"] == 0
    assert talk.guard.bans.counters["ban:banned"] == 0


def test_a_flood_from_one_port_spares_its_neighbours_and_one_from_many_ends_with_the_address() -> None:
    talk = Talk()
    flooder, neighbour = talk.phone("x"), talk.phone("alice")
    neighbour = replace(neighbour, at=Addr(flooder.at.host, 7000))
    for number in range(2100):
        talk.now += 1 / 3000
        talk >> (neighbour if number % 20 == 0 else flooder).request("OPTIONS", f"sip:{SERVER.host}")
    talk.sent.clear()
    assert deaf(talk, flooder)
    talk.wait(5)
    assert not deaf(talk, neighbour)
    crowd = [replace(flooder, at=Addr("198.51.100.99", 1024 + number)) for number in range(64)]
    for number in range(20 * 1100):
        talk.now += 1 / 1100
        if talk.guard.bans.refuses(b"OPTIONS", crowd[0].flow, talk.now):
            break
        talk.guard.floods(crowd[number % 64].flow, "x", talk.now, "c")
    assert 10.0 < number / 1100 < 16.0, "five windows after the one that was too much"


def test_made_up_credentials_from_everywhere_cost_no_look_up() -> None:
    """R16: who forges his address has no nonce of ours, so nobody asks the database for his user."""
    talk = Talk()
    asked: list[str] = []
    users = talk.rooms.subscribers
    talk.rooms = replace(talk.rooms, subscribers=Counting(users, asked))
    real = talk.phone("alice")
    packet = register(real)
    talk >> packet
    stolen = real.with_credentials(packet, talk.response(real, 401)).octets
    for number in range(500):
        at = Addr(f"198.18.{number >> 8}.{number & 255}", 5060)
        phone = talk.phone("x", at=at)
        branch = b"branch=z9hG4bKf%d" % number
        talk >> Packet(phone, re.sub(rb"branch=[^\r;]*", branch, stolen)) << (phone, 401)
    assert asked == []


class Counting:
    """Subscribers who write down whom they were asked for."""

    def __init__(self, inner: Subscribers, asked: list[str]) -> None:
        self.inner = inner
        self.asked = asked

    def credential(self, username: str) -> Credential | None:
        self.asked.append(username)
        return self.inner.credential(username)


def test_switched_off_nobody_is_banned() -> None:
    talk = Talk(guard=GuardSettings(pike=PikeSettings(), ban=BanSettings(enabled=False)))
    scanner = talk.phone("x")
    junk(talk, scanner, 100)
    assert not deaf(talk, scanner)
