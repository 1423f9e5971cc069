"""Streams that a path carries without showing a packet: what the relay knows of them all the same."""

from __future__ import annotations

import struct
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_twin import KernelTwin
from relay_talk import KEY, Phone, Talk, rtp

from edgesip.address import Addr
from edgesip.relay.core import MediaTimeout
from edgesip.relay.figures import figures
from edgesip.relay.leg import Line
from edgesip.relay.mos import Sums
from edgesip.relay.quality import look
from edgesip.relay.watch import MOST, PARTS

EVENTS = ("a=rtpmap:101 telephone-event/8000",)


class Kept(Talk):
    """A call whose relay looks and sweeps when it is told to; `kernel` None leaves all in userspace."""

    def __init__(self, kernel: KernelTwin | None, **more: Any) -> None:
        super().__init__(kernel=kernel, **more)
        self.sums = Sums()

    def begin(self) -> None:
        """Both ends of RTP and RTCP settled."""
        self.invite(self.caller.sdp(lines=EVENTS))
        self.answer(self.callee.sdp(lines=EVENTS))
        for _ in range(3):
            self.caller.speak()
            self.callee.speak()
        self.caller.report()
        self.callee.report()

    def second(self) -> list[Any]:
        """A second's worth of sweeping and looking; what the core had to say."""
        self.core.path.sweep()
        events = self.core.tick(self.now)
        for _ in range(PARTS):
            look(self.core.watch.looks(), self.sums)
        return list(events)

    def line(self, side: str) -> Line:
        return next(line for _, leg, line in self.session().lines() if leg.side == side)

    def figures(self, side: str) -> dict[str, Any]:
        return figures(self.line(side))

    def packet(self, by: Phone, data: bytes) -> int:
        assert by.relay is not None
        return self.arrive(by.relay, data, by.media)

    def shown(self, side: str) -> dict[str, Any]:
        [found] = self.core.desk.show(KEY[0], self.now)
        leg: dict[str, Any] = next(leg for leg in found["legs"] if leg["side"] == side)
        return leg


def called() -> tuple[Kept, KernelTwin]:
    kernel = KernelTwin()
    talk = Kept(kernel)
    talk.begin()
    return talk, kernel


def test_rtp_and_rtcp_of_both_sides_are_put_with_what_sdp_says_of_them() -> None:
    talk, kernel = called()
    assert {(rule.is_rtcp, rule.rate, rule.events) for rule in kernel.puts} == {
        (False, 8000, 101),
        (True, 0, -1),
    }
    assert len(kernel.flows) == 4
    assert not talk.path.entries
    for rule in [flow.rule for flow in kernel.flows.values()]:
        back = kernel.flows[rule.via].rule
        assert (back.via, back.to, rule.to) == (rule.local, rule.remote, back.remote)
    assert talk.shown("caller")["carried_by"] == "kernel"
    assert talk.shown("caller")["rtcp_carried_by"] == "kernel"
    assert talk.shown("caller")["because"] == "both ends are settled"


def test_python_sees_no_packet_of_either_kind() -> None:
    talk, _ = called()
    seen = dict(talk.core.packets.counts)
    assert (talk.caller.speak(50), talk.callee.speak(50)) == (50, 50)
    assert (talk.caller.report(), talk.callee.report()) == (1, 1)
    assert talk.core.packets.counts == seen
    assert talk.leg("caller")["packets"] == 53
    talk.second()
    assert talk.core.counters["rtp:rtp_packets"] == 106
    gauges = talk.core.desk.gauges(talk.core.ports(talk.now))
    assert (gauges["rtp:rtp_mediastreams_kernel"], gauges["rtp:rtp_mediastreams_userspace"]) == (2, 0)
    talk.core.close(KEY, "b1", talk.now)
    assert talk.core.counters["rtp:rtp_packets"] == 106


def test_with_rtcp_mux_reports_come_up() -> None:
    kernel = KernelTwin()
    talk = Kept(kernel)
    talk.invite(talk.caller.sdp(lines=("a=rtcp-mux",)))
    talk.answer(talk.callee.sdp(lines=("a=rtcp-mux",)))
    for _ in range(3):
        talk.caller.speak()
        talk.callee.speak()
    assert talk.caller.report(muxed=True) == 1
    assert [rule.is_rtcp for rule in kernel.puts] == [False, False]
    assert talk.shown("caller")["rtcp_carried_by"] == "slow"


def test_the_userspace_path_has_no_rules_for_rtcp() -> None:
    talk = Kept(None)
    talk.begin()
    assert talk.shown("caller")["rtcp_carried_by"] == "slow"
    assert talk.caller.report() == 1
    assert len(talk.path.entries) == 2


# Quality: the same as if each packet had been seen.


def stream(seed: int) -> list[tuple[float, bytes]]:
    """Packets with gaps, late ones, a second SSRC and key presses: the time before each, and itself."""
    random, number, found = Random(seed), 3, list[tuple[float, bytes]]()
    ssrc = 0xA
    for _ in range(300):
        number += 1
        if random.random() < 0.05:
            number += random.randrange(1, 4)
        found.append((0.02 + random.random() * 0.005, rtp(number, ssrc)))
    for late in (40, 90, 200):
        found[late], found[late + 1] = found[late + 1], found[late]
        found.insert(late + 9, found[late + 5])
    for press in range(3):
        number += 1
        event = struct.pack("!BBHII", 0x80, 0x80 | 101, number, 90000 + press * 8000, ssrc)
        found.append((0.02, event + bytes([press, 10, 0, 160])))
    return found


KNOWN = ("payload_types", "lost", "loss", "reordered", "duplicates", "dtmf", "ssrcs")


def comparable(talk: Kept) -> dict[str, Any]:
    shown = talk.figures("caller")
    return {name: shown[name] for name in KNOWN}


@given(st.integers(0, 10_000), st.integers(1, 120))
@settings(max_examples=10, deadline=None)
def test_figures_say_what_packets_would_have_said(seed: int, often: int) -> None:
    talks = [Kept(KernelTwin()), Kept(None)]
    for talk in talks:
        talk.begin()
        for number, (pause, data) in enumerate(stream(seed)):
            talk.now += pause
            assert talk.packet(talk.caller, data) == 1
            if number % often == 0:
                talk.second()
        talk.second()
    kernel, user = talks
    assert comparable(kernel) == comparable(user)
    assert kernel.figures("caller")["jitter"] == pytest.approx(user.figures("caller")["jitter"], abs=0.6)
    for name in ("packets_lost", "reordered", "duplicates", "dtmf_events"):
        assert kernel.sums.counts[f"rtp:rtp_{name}"] == user.sums.counts[f"rtp:rtp_{name}"]
    assert kernel.figures("caller")["mos"] == pytest.approx(user.figures("caller")["mos"], abs=0.1)


def test_what_came_after_the_last_sweep_is_known_when_the_call_is_over() -> None:
    talk, _ = called()
    talk.caller.speak(10)
    talk.second()
    talk.caller.sequence += 5
    talk.caller.speak(20)
    line = talk.line("caller")
    talk.core.close(KEY, "b1", talk.now)
    look(talk.core.watch.over(), talk.sums)
    shown = figures(line)
    assert (line.packets, shown["lost"], shown["payload_types"]) == (33, 5, {"0": 33})
    assert talk.sums.counts["rtp:rtp_packets_lost"] == 5


def test_a_stream_is_in_step_again_when_it_comes_back_to_python() -> None:
    talk, kernel = called()
    talk.caller.speak(400)
    talk.second()
    talk.caller.speak(30)
    kernel.refuses = "no route"
    kernel.lost = list(kernel.flows)
    talk.second()
    assert talk.leg("caller")["carried_by"] == "user"
    talk.caller.speak(10)
    talk.second()
    shown = talk.figures("caller")
    assert (shown["lost"], shown["payload_types"], shown["ssrc_changes"]) == (0, {"0": 443}, 0)


def test_each_stay_in_the_kernel_counts_for_itself() -> None:
    talk, _ = called()
    for _ in range(3):
        talk.caller.sequence += 2
        talk.caller.speak(40)
        talk.caller.sequence += 3
        talk.caller.speak(10)
        talk.second()
        talk.core.desk.block(KEY[0], ("caller",), True)
        talk.caller.speak(5)
        talk.core.desk.block(KEY[0], ("caller",), False)
    talk.second()
    shown = talk.figures("caller")
    assert (shown["lost"], shown["payload_types"]) == (3 * (2 + 3), {"0": 3 + 150 + 15})


def test_a_pause_that_only_the_kernel_saw_is_remembered() -> None:
    talk, _ = called()
    talk.caller.speak(10)
    talk.wait(7.0)
    talk.caller.speak(10)
    talk.second()
    track = talk.line("caller").track
    assert track is not None
    assert track.pause is not None
    assert track.pause[1] - track.pause[0] == pytest.approx(7.02)


def test_reports_that_were_overheard_tell_the_round_trip() -> None:
    talk, kernel = called()

    def report(by: Phone, data: bytes) -> None:
        assert by.relay is not None
        to, source = (Addr(a.host, a.port + 1) for a in (by.relay, by.media))
        assert talk.arrive(to, data, source) == 1

    talk.second()
    sender = struct.pack("!BBHIIIIII", 0x80, 200, 6, 0xA, 0x1111AAAA, 0xBBBB2222, 0, 9, 900)
    report(talk.caller, sender)
    talk.now += 0.05
    block = struct.pack("!IIIIII", 0xA, 0x40000003, 9, 40, 0xAAAABBBB, 0)
    report(talk.callee, struct.pack("!BBHI", 0x81, 201, 7, 0xB) + block)
    assert talk.core.packets.counts["invalid"] == 0
    assert kernel.flows[Addr(talk.caller.relay.host, talk.caller.relay.port + 1)].packets == 1  # type: ignore[union-attr]
    assert talk.figures("callee")["rtt_here"] == pytest.approx(50, abs=1)
    assert talk.figures("caller")["told"] == {"lost": 3, "loss_now": 25.0, "jitter": 5.0}


def test_a_copy_that_comes_too_late_or_is_no_report_says_nothing() -> None:
    talk, kernel = called()
    [local, *_] = [local for local, flow in kernel.flows.items() if flow.rule.is_rtcp]
    talk.core.packets.overheard(local, b"\x80\xc8\x00\x06" + bytes(6), talk.now)
    talk.core.close(KEY, "b1", talk.now)
    talk.core.packets.overheard(local, struct.pack("!BBHI", 0x80, 201, 1, 1), talk.now)
    assert talk.core.counters["rtp:rtp_invalid"] == 0


# Silence.


def silent(talk: Kept, seconds: int) -> list[Any]:
    """So many seconds pass, each with its sweep."""
    events = []
    for _ in range(seconds):
        talk.now += 1.0
        events += talk.second()
    return [event for event in events if isinstance(event, MediaTimeout)]


def test_a_call_that_the_kernel_carries_is_not_silent() -> None:
    talk, _ = called()
    for _ in range(40):
        talk.caller.speak(1)
        assert silent(talk, 3) == []
    assert len(silent(talk, 56)) == 0
    assert len(silent(talk, 3)) == 1


def test_on_hold_the_reports_in_the_kernel_keep_a_call_alive() -> None:
    talk, _ = called()
    talk.invite(talk.caller.sdp(lines=(*EVENTS, "a=inactive")), tag="tag-b")
    talk.answer(talk.callee.sdp(lines=(*EVENTS, "a=inactive")), tag="tag-b")
    assert talk.session().held()
    for _ in range(5):
        assert silent(talk, 1200) == []
        assert talk.callee.report() == 1
    assert len(silent(talk, 3700)) >= 1


# Clocks.


OPUS = (
    "a=rtpmap:111 opus/48000/2",
    "a=rtpmap:101 telephone-event/8000",
    "a=rtpmap:102 telephone-event/48000",
)


def test_of_two_clocks_the_one_that_is_heard_is_measured_by_and_changes_with_it() -> None:
    kernel = KernelTwin()
    talk = Kept(kernel)
    body = talk.caller.sdp(lines=OPUS, fmts="111 0 101 102")
    talk.invite(body)
    talk.answer(talk.callee.sdp(lines=OPUS, fmts="111 0 101 102"))
    for number in range(3):
        talk.packet(talk.caller, rtp(number, 0xA, 111))
        talk.packet(talk.callee, rtp(number, 0xB, 111))
        talk.now += 0.02
    assert {(rule.rate, rule.events) for rule in kernel.puts} == {(48000, 102)}
    for number in range(3, 9):
        talk.packet(talk.caller, rtp(number, 0xA, 0))
        talk.now += 0.02
    talk.second()
    talk.second()
    assert [(rule.rate, rule.events) for rule in kernel.puts[2:]] == [(8000, 101)]
    moves = kernel.moves
    talk.invite(body, tag="tag-b")
    talk.answer(talk.callee.sdp(lines=(*OPUS, "a=ptime:20"), fmts="111 0 101 102"), tag="tag-b")
    talk.second()
    assert kernel.moves == moves
    assert talk.figures("caller")["payload_types"] == {"0": 7, "111": 2}, "one look, one type"


def test_a_stream_without_a_clock_has_no_jitter() -> None:
    kernel = KernelTwin()
    talk = Kept(kernel)
    talk.invite(talk.caller.sdp(fmts="98"))
    talk.answer(talk.callee.sdp(fmts="98"))
    for number in range(30):
        talk.packet(talk.caller, rtp(number, 0xA, 98))
        talk.packet(talk.callee, rtp(number, 0xB, 98))
        talk.now += 0.03
    talk.second()
    assert {rule.rate for rule in kernel.puts} == {0}
    assert talk.figures("caller")["jitter"] is None


def test_of_very_many_calls_each_has_its_turn_though_not_every_second() -> None:
    kernel = KernelTwin()
    talk = Kept(kernel, low=16384, high=32767, max_sessions=2000)
    many = PARTS * MOST + 200
    for number in range(many):
        key = (f"call-{number}", "a")
        talk.invite(key=key)
        talk.answer(key=key)
        talk.caller.speak(2)
        talk.callee.speak(2)
    turns = []
    for _ in range(2):
        talk.core.path.sweep()
        looks = []
        for _ in range(PARTS):
            part = talk.core.watch.looks()
            assert len(part) <= 2 * MOST
            looks += part
            look(part, talk.sums)
        turns.append(len(looks))
        talk.callee.speak(1)
    assert sum(turns) == 2 * many
    assert turns[0] == 2 * PARTS * MOST
