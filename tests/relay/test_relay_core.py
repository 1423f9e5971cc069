"""The relay as a whole: early media, RTCP, who carries what, silence, limits, and 2,000 calls that end."""

from __future__ import annotations

from random import Random

import pytest
from relay_talk import KEY, RELAY, Phone, Talk, nat_call, ports_in, rtcp, rtp, sdp

from edgesip.address import Addr
from edgesip.relay.core import MediaTimeout, Refusal
from edgesip.relay.packets import LooseSource, StrangeSource
from edgesip.relay.rule import Rule

# Early media.


def test_early_media_of_a_near_source_passes_before_the_answer_and_caller_audio_after_the_preview() -> None:
    talk = Talk()
    talk.invite()
    assert talk.callee.speak(2) == 2  # no SDP of the callee yet: the host its INVITE went to
    assert talk.callee.speak(2, source=Addr("192.0.2.66", 4200)) == 0
    talk.answer(final=False)
    assert talk.caller.speak() == talk.callee.speak() == 1
    assert talk.core.tick(talk.now + 1000) == []  # unanswered calls are not ours to end
    talk.answer()
    assert talk.caller.speak() == 1


# RTCP.


def test_rtcp_goes_to_the_port_after_and_comes_back() -> None:
    talk = Talk()
    talk.connect()
    assert talk.caller.report() == talk.callee.report() == 1
    assert [to.port for _, to, _ in talk.sent[-2:]] == [4201, 4001]
    assert [via.port % 2 for via, _, _ in talk.sent[-2:]] == [1, 1]


def test_rtcp_port_of_the_sdp_is_used() -> None:
    talk = Talk()
    talk.invite(talk.caller.sdp(lines=("a=rtcp:4777",)))
    talk.answer()
    talk.callee.speak(2), talk.caller.speak(2)
    talk.callee.report()
    assert talk.sent[-1][1] == Addr("198.51.100.10", 4777)


@pytest.mark.parametrize(("port", "lines"), [(65534, ("a=rtcp:9 IN IP4 0.0.0.0",)), (65535, ())])
def test_a_side_without_a_usable_rtcp_port_gets_none(port: int, lines: tuple[str, ...]) -> None:
    talk = Talk()
    talk.caller.media = Addr("198.51.100.10", port)
    talk.invite(talk.caller.sdp(port, lines=lines))
    talk.answer()
    talk.caller.speak(2), talk.callee.speak(2)
    assert talk.callee.report() == 0
    assert talk.core.counters["rtp:rtp_no_target"] == 1


def test_encrypted_rtcp_is_looked_at_no_further_than_its_header() -> None:
    talk = Talk()
    for proto, passes in (("RTP/AVP", 0), ("RTP/SAVP", 1)):
        talk.invite(sdp("198.51.100.10", 4000, proto=proto))
        talk.answer(sdp("203.0.113.20", 4200, proto=proto))
        talk.caller.speak(2), talk.callee.speak(2)
        assert talk.caller.relay is not None
        at, source = Addr(RELAY, talk.caller.relay.port + 1), Addr("198.51.100.10", 4001)
        assert talk.arrive(at, rtcp(0xA)[:8] + b"\xff" * 30, source) == passes


def test_hostile_rtcp_moves_nothing_and_ends_nothing() -> None:
    random = Random(41)
    talk = Talk()
    talk.connect()
    talk.caller.report()
    assert talk.caller.relay is not None
    at = Addr(talk.caller.relay.host, talk.caller.relay.port + 1)
    before = talk.leg("caller"), len(talk.sent)
    for n in range(2000):
        talk.now += 0.01
        # A third host may know the SSRC; who shares the phone's address and knows it is the phone (rule 6b).
        source, ssrc = random.choice(
            ((Addr("192.0.2.66", 4001), 0xA), (Addr("198.51.100.10", 5001), 1000 + n))
        )
        bye = b"\x81\xcb\0\1" + ssrc.to_bytes(4, "big")
        size = random.randrange(0, 60)
        packet = random.choice((bye, rtcp(ssrc)[:size], random.randbytes(size), rtcp(ssrc)))
        assert talk.arrive(random.choice((at, talk.caller.relay)), packet, source) == 0
    after = talk.leg("caller"), len(talk.sent)
    assert {**after[0], "src_mismatch": 0} == {**before[0], "src_mismatch": 0}
    assert after[1] == before[1]
    assert talk.caller.report() == 1


# Who carries it.


def test_a_rule_is_put_when_both_ends_are_locked_and_says_so() -> None:
    talk = Talk()
    talk.invite()
    assert talk.leg("caller")["because"] == "there is no answer yet"
    talk.answer()
    talk.caller.speak(2)
    assert talk.leg("callee")["because"] == "this side's address is not settled yet"
    assert talk.leg("caller")["because"] == "the other side's address is not settled yet"
    assert talk.leg("caller")["carried_by"] == "slow"
    talk.callee.speak(2)
    assert talk.leg("caller")["carried_by"] == talk.leg("callee")["carried_by"] == "user"
    assert talk.leg("caller")["because"] == "both ends are settled"
    assert talk.caller.relay is not None
    assert talk.callee.relay is not None
    rule = Rule(talk.caller.relay, talk.caller.media, talk.callee.relay, talk.callee.media)
    assert talk.path.entries[talk.caller.relay].rule == rule._replace(rate=8000)


def test_counts_are_one_whoever_carried() -> None:
    talk = Talk()
    talk.invite()
    talk.answer()
    talk.callee.speak(2)
    talk.caller.speak(10)
    assert (talk.leg("caller")["packets"], talk.leg("caller")["bytes"]) == (10, 1720)
    assert talk.core.counters["rtp:rtp_packets"] == 12
    talk.invite(talk.caller.sdp(4600))
    talk.answer()
    assert talk.leg("caller")["packets"] == 10
    talk.core.close(KEY, "b1", talk.now)
    assert talk.core.counters["rtp:rtp_packets"] == 12
    assert (talk.path.entries, talk.core.sessions(talk.now)) == ({}, [])


def test_a_path_that_takes_nothing_leaves_all_to_the_core() -> None:
    class Full:
        def put(self, rule: Rule) -> bool:
            return False

        def drop(self, local: Addr) -> None:
            raise AssertionError("nothing was put")

        def counters(self, local: Addr) -> None:
            raise AssertionError("nothing was put")

        def heads(self, local: Addr) -> None:
            raise AssertionError("nothing was put")

        def figures(self, local: Addr) -> None:
            raise AssertionError("nothing was put")

        def totals(self) -> tuple[int, int]:
            return 0, 0

        def sweep(self) -> None:
            """It holds nothing."""

        def stale(self) -> tuple[Addr, ...]:
            return ()

        def carrier(self, local: Addr) -> str:
            raise AssertionError("nothing was put")

        def because(self, local: Addr) -> str:
            raise AssertionError("nothing was put")

        def close(self) -> None:
            """It holds nothing."""

    talk = Talk(path=Full())
    talk.connect()
    assert talk.caller.speak(5) == 5
    assert talk.leg("caller")["carried_by"] == "slow"
    assert talk.leg("caller")["because"] == "the path does not take it"


def test_what_is_no_media_is_dropped_and_counted() -> None:
    talk = Talk()
    talk.connect()
    assert talk.caller.relay is not None
    for junk in (b"", b"\r\n\r\n", b"\0\1\0\0" + bytes(16), b"\x16\xfe\xfd" + bytes(20), bytes(2000)):
        assert talk.arrive(talk.caller.relay, junk, talk.caller.media) == 0
    assert talk.core.counters["rtp:rtp_invalid"] == 5


def test_any_octets_at_any_port_in_any_stage_are_carried_as_they_are_or_dropped() -> None:
    random = Random(35)
    for stage in ("unanswered", "silent", "learning", "locked"):
        talk = nat_call(stage)
        talk.sent.clear()
        ports = [Addr(RELAY, port) for pair in talk.binder.bound for port in (pair.rtp, pair.rtcp)]
        phones = (talk.caller.media, talk.callee.media, Addr("203.0.113.20", 4201))
        sources = (*phones, Addr("192.0.2.66", 4000), Addr("127.0.0.1", 5000), ports[0])
        arrived = set()
        for _ in range(2000):
            data = random.choice((b"", b"\x80", b"\x80\xc8\0\1", b"\x80\0")) + random.randbytes(
                random.randrange(40)
            )
            arrived.add(data)
            source = random.choice(sources)
            assert talk.arrive(random.choice(ports), data, source) <= (source in phones)
        assert {data for _, _, data in talk.sent} <= arrived
        assert {data[0] >> 6 for _, _, data in talk.sent} <= {2}


def test_an_unnegotiated_payload_type_passes_from_the_settled_source_alone() -> None:
    talk = Talk()
    talk.invite()
    talk.answer()
    assert talk.caller.relay is not None
    assert talk.arrive(talk.caller.relay, rtp(1, payload_type=77), talk.caller.media) == 0
    talk.caller.speak(2)
    assert talk.arrive(talk.caller.relay, rtp(3, payload_type=77), talk.caller.media) == 1


def test_a_source_that_fits_nothing_is_learned_where_that_is_wished_and_reported() -> None:
    for flags in ("", "learn=loose"):
        talk = Talk()
        talk.callee.said = Addr("192.0.2.99", 4200)
        talk.callee.media = Addr("192.0.2.77", 9000)
        talk.invite()
        talk.answer(flags=flags)
        assert talk.callee.speak(2) == (2 if flags else 0)
        assert talk.leg("callee")["rank"] == ("4" if flags else "")
        anywhere = LooseSource(KEY, "callee", "audio", talk.callee.media, "4")
        assert talk.core.tick(talk.now) == ([anywhere] if flags else [])


def test_a_strange_source_is_reported_once_a_minute() -> None:
    talk = Talk()
    talk.connect()
    assert talk.caller.relay is not None
    source = Addr("192.0.2.66", 5555)
    for _ in range(100):
        talk.arrive(talk.caller.relay, rtp(1), source)
    assert talk.core.tick(talk.now) == [StrangeSource(KEY, "caller", "audio", source, 1)]
    talk.wait(60)
    talk.arrive(talk.caller.relay, rtp(1), source)
    assert talk.core.tick(talk.now) == [
        StrangeSource(KEY, "caller", "audio", source, 101),
        MediaTimeout(KEY, "b1"),
    ]


# Silence.


def ends_after(talk: Talk, limit: float) -> float | None:
    """How long until the core says that the call is dead; None when it is not within `limit`."""
    begin = talk.now
    while talk.now - begin < limit:
        talk.wait(1.0)
        if (KEY, "b1") in [event[:2] for event in talk.core.tick(talk.now)]:
            return talk.now - begin
    return None


def test_silence_ends_an_answered_call_after_the_timeout() -> None:
    talk = Talk()
    talk.invite()
    assert talk.core.deadline() is None
    talk.answer()
    assert talk.core.deadline() == talk.now + 60
    assert ends_after(talk, 100) == 60
    assert ends_after(talk, 100) == 60  # said again if nobody closes it


def test_media_of_one_side_keeps_a_call_whoever_carries_it() -> None:
    talk = Talk()
    talk.connect()
    for _ in range(20):
        talk.wait(50)
        talk.caller.speak()
        assert talk.core.tick(talk.now) == []
    assert talk.leg("caller")["carried_by"] == "user"
    assert ends_after(talk, 100) in (60, 61)


def test_strangers_and_rtcp_do_not_keep_a_call() -> None:
    talk = Talk()
    talk.connect()
    begin = talk.now
    while not talk.core.tick(talk.now):
        talk.wait(5)
        talk.caller.report()
        assert talk.caller.relay is not None
        talk.arrive(talk.caller.relay, rtp(1), Addr("192.0.2.66", 1234))
        talk.core.packets.take_events()
        assert talk.now - begin < 100


def test_on_hold_it_takes_an_hour_and_rtcp_counts() -> None:
    talk = Talk()
    talk.connect()
    talk.invite(talk.caller.sdp(lines=("a=sendonly",)))
    talk.answer(talk.callee.sdp(lines=("a=recvonly",)))
    talk.wait(3000)
    assert talk.core.tick(talk.now) == []
    talk.caller.report()
    assert ends_after(talk, 4000) in (3600, 3601)
    talk.invite()
    talk.answer()
    assert ends_after(talk, 100) == 60


# Limits.


def test_sessions_run_out() -> None:
    talk = Talk(max_sessions=2)
    assert isinstance(talk.invite(key=("1", "a")), bytes)
    assert isinstance(talk.invite(key=("2", "a")), bytes)
    refusal = talk.invite(key=("3", "a"))
    assert isinstance(refusal, Refusal)
    assert refusal.status == 503
    assert refusal.retry_after in range(1, 11)
    assert talk.leased() == 8
    talk.core.close(("1", "a"), "b1", talk.now)
    assert isinstance(talk.invite(key=("3", "a")), bytes)


def test_leases_stay_within_four_ports_a_session_whatever_the_calls_are_like() -> None:
    talk = Talk(max_sessions=3)
    assert isinstance(talk.invite(talk.caller.sdp(4000, 5000), key=("1", "a")), bytes)
    assert isinstance(talk.invite(talk.caller.sdp(4000, 5000), key=("2", "a")), Refusal)
    assert isinstance(talk.invite(key=("3", "a")), bytes)
    assert talk.leased() == 12


def test_ports_run_out_and_come_back_after_their_rest() -> None:
    talk = Talk(low=20000, high=20007)
    for n in (1, 2):
        assert isinstance(talk.invite(key=(str(n), "a")), bytes)
    assert isinstance(talk.invite(key=("3", "a")), Refusal)
    talk.core.close(("1", "a"), "b1", talk.now)
    assert talk.core.ports(talk.now) == {"total": 8, "leased": 4, "resting": 4, "free": 0}
    talk.wait(29.9)
    assert isinstance(talk.invite(key=("3", "a")), Refusal)
    talk.wait(0.1)
    assert isinstance(talk.invite(key=("3", "a")), bytes)


def test_an_address_that_cannot_be_bound_is_503_and_leaks_nothing() -> None:
    talk = Talk()
    talk.binder.broken = True
    assert isinstance(talk.invite(), Refusal)
    talk.binder.broken = False
    assert (talk.leased(), talk.core.sessions(talk.now)) == (0, [])
    assert isinstance(talk.invite(), bytes)


def test_a_fork_with_no_ports_for_one_branch_keeps_the_other() -> None:
    talk = Talk(max_sessions=1)
    assert isinstance(talk.invite(branch="b1"), bytes)
    assert isinstance(talk.invite(branch="b2"), Refusal)
    assert talk.leased() == 4
    assert isinstance(talk.answer(branch="b1"), bytes)


# Every way a call can end.


def random_call(talk: Talk, random: Random, number: int) -> None:
    """One call through a random sequence of whatever signalling can do, ended as signalling must end it."""
    key = (f"call-{number}", "a")
    branches = [f"b{n}" for n in range(random.choice((1, 1, 1, 2, 3)))]
    opened: set[str] = set()
    tag = "t"

    def body(phone: Phone) -> bytes:
        return random.choice(
            (
                phone.sdp(),
                phone.sdp(4000, 5000),
                phone.sdp(0, 5000),
                phone.sdp(random.randrange(2000, 9000, 2)),
                sdp("0.0.0.0", 4000),
                b"not sdp" if random.random() < 0.1 else phone.sdp(),
            )
        )

    for branch in branches:
        late = random.random() < 0.2
        side = "callee" if late else "caller"
        phone = talk.callee if late else talk.caller
        offered = talk.invite(body(phone), side=side, branch=branch, tag=tag if late else "", key=key)
        if isinstance(offered, bytes):
            opened.add(branch)
    for _ in range(random.randrange(8)):
        branch = random.choice(branches)
        side, phone = random.choice((("caller", talk.caller), ("callee", talk.callee)))
        match random.randrange(6):
            case 0:
                talk.invite(body(phone), side=side, branch=branch, tag=tag, key=key)
                opened.add(branch)
            case 1:
                final, answerer = random.random() < 0.6, random.choice(("t", "t", "u"))
                talk.answer(body(phone), side=side, branch=branch, tag=answerer, key=key, final=final)
            case 2:
                talk.core.reject(key, branch, side, talk.now)
            case 3:
                talk.core.close(key, branch, talk.now)
            case 4:
                talk.caller.speak(random.randrange(3)), talk.callee.speak(random.randrange(3))
            case 5:
                talk.wait(random.choice((0.1, 3, 70)))
                talk.core.tick(talk.now)
    for branch in opened:
        if random.randrange(3):
            talk.core.close(key, branch, talk.now)
        else:
            talk.core.reject(key, branch, random.choice(("caller", "callee")), talk.now)
        talk.core.close(key, branch, talk.now)


def test_two_thousand_calls_that_end_in_every_way_leave_nothing() -> None:
    random = Random(30)
    talk = Talk(high=20399, max_sessions=60)
    talk.connect()
    talk.core.close(KEY, "b1", talk.now)
    for number in range(2000):
        talk.binder.refuses = set(random.sample(range(20000, 20400, 2), 20))
        random_call(talk, random, number)
        assert talk.leased() == 0
    assert talk.core.sessions(talk.now) == []
    assert talk.core.packets.ports == 0
    assert talk.path.entries == {}
    talk.core.tick(talk.now + 10_000)
    assert talk.core.deadline() is None
    talk.wait(31)
    assert talk.core.ports(talk.now) == {"total": 400, "leased": 0, "resting": 0, "free": 400}


def test_interleaved_calls_share_no_port() -> None:
    talk = Talk(max_sessions=200)
    used: set[int] = set()
    for number in range(100):
        out, back = talk.invite(key=(str(number), "a")), talk.answer(key=(str(number), "a"))
        assert isinstance(out, bytes)
        assert isinstance(back, bytes)
        ports = {*ports_in(out), *ports_in(back)}
        assert len(ports) == 2
        assert not ports & used
        used |= ports
    assert talk.leased() == 400
