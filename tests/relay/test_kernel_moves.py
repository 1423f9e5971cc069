"""What takes a stream out of the kernel and what brings it back: each put and drop is counted."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from kernel_twin import KernelTwin
from relay_talk import KEY, Talk, rtcp, rtp

from edgesip.address import Addr
from edgesip.relay.prompt import Prompt
from edgesip.relay.record import PCAP, WAV

HOLD = Prompt("hold", {0: b"\x10" * 1600, 8: b"\x18" * 1600})
EVENTS = ("a=rtpmap:101 telephone-event/8000",)


def settled() -> tuple[Talk, KernelTwin]:
    """A call whose RTP and RTCP are in the kernel; what moves from now on is counted from zero."""
    kernel = KernelTwin()
    talk = Talk(kernel=kernel, prompts=(HOLD,))
    talk.invite(talk.caller.sdp(lines=EVENTS))
    talk.answer(talk.callee.sdp(lines=EVENTS))
    speak(talk, 3)
    talk.caller.report()
    talk.callee.report()
    assert len(kernel.flows) == 4
    kernel.puts.clear()
    kernel.drops.clear()
    return talk, kernel


def speak(talk: Talk, count: int = 2) -> None:
    for _ in range(count):
        talk.caller.speak()
        talk.callee.speak()


def rtp_in(kernel: KernelTwin) -> int:
    """How many streams of RTP the kernel carries."""
    return sum(not flow.rule.is_rtcp for flow in kernel.flows.values())


def again(talk: Talk, side: str = "caller", lines: tuple[str, ...] = EVENTS) -> None:
    """A re-INVITE with this, and its answer."""
    caller, callee = talk.caller.sdp(lines=lines), talk.callee.sdp(lines=lines)
    offer, answer = (caller, callee) if side == "caller" else (callee, caller)
    talk.invite(offer, side=side, tag="tag-b")
    talk.answer(answer, side="callee" if side == "caller" else "caller", tag="tag-b")


@pytest.mark.parametrize("side", ["caller", "callee"])
def test_a_refresh_with_the_same_sdp_moves_nothing(side: str) -> None:
    talk, kernel = settled()
    seen = talk.core.packets.counts["packets"]
    for _ in range(5):
        again(talk, side)
        speak(talk)
        talk.core.tick(talk.now)
    assert kernel.moves == 0
    assert talk.core.packets.counts["packets"] == seen


def test_a_refresh_whose_session_version_goes_up_moves_nothing() -> None:
    talk, kernel = settled()
    body = talk.caller.sdp(lines=EVENTS).replace(b"o=- 1 1 ", b"o=- 1 2 ")
    talk.invite(body, tag="tag-b")
    talk.answer(talk.callee.sdp(lines=EVENTS).replace(b"o=- 1 1 ", b"o=- 1 2 "), tag="tag-b")
    assert kernel.moves == 0


@pytest.mark.parametrize("direction", ["sendonly", "inactive"])
def test_a_hold_without_music_moves_nothing(direction: str) -> None:
    talk, kernel = settled()
    again(talk, lines=(*EVENTS, f"a={direction}"))
    assert talk.session().held()
    again(talk)
    assert kernel.moves == 0


def test_a_refused_re_invite_moves_nothing() -> None:
    talk, kernel = settled()
    talk.invite(talk.caller.sdp(4600, lines=EVENTS), tag="tag-b")
    talk.core.reject(KEY, "b1", "caller", talk.now)
    assert kernel.moves == 0


def test_a_prompt_takes_the_stream_that_it_covers_and_gives_it_back() -> None:
    talk, kernel = settled()
    assert talk.core.play(KEY, "b1", "callee", "hold", -1, talk.now) == ""
    assert (len(kernel.puts), kernel.drops) == (0, [talk.caller.relay])
    speak(talk)
    assert talk.core.packets.counts["covered"] == 2
    assert talk.leg("caller")["because"] == "a prompt plays to the other side"
    assert talk.leg("callee")["carried_by"] == "kernel"
    talk.core.play(KEY, "b1", "callee", "", 0, talk.now)
    assert ([rule.local for rule in kernel.puts], len(kernel.drops)) == ([talk.caller.relay], 1)
    seen = talk.core.packets.counts["packets"]
    speak(talk)
    assert talk.core.packets.counts["packets"] == seen


def test_music_on_hold_and_back() -> None:
    talk, kernel = settled()
    talk.core.playing.music = "hold"
    again(talk, lines=(*EVENTS, "a=sendonly"))
    assert (len(kernel.puts), kernel.drops) == (0, [talk.caller.relay])
    talk.callee.inbox.clear()
    talk.pace(0.2)
    assert len(talk.callee.inbox) >= 9
    again(talk)
    assert ([rule.local for rule in kernel.puts], len(kernel.drops)) == ([talk.caller.relay], 1)


@pytest.mark.parametrize("kind", [WAV, PCAP])
def test_a_recording_has_every_packet_and_gives_the_streams_back(kind: str) -> None:
    talk, kernel = settled()
    talk.core.record(KEY, kind, talk.now)
    assert (len(kernel.puts), len(kernel.drops), kernel.flows) == (0, 4, {})
    seen = talk.core.packets.counts["packets"]
    speak(talk, 5)
    assert talk.core.packets.counts["packets"] == seen + 10
    assert talk.caller.report() == 1
    talk.core.record(KEY, "", talk.now)
    assert (len(kernel.puts), len(kernel.drops), len(kernel.flows)) == (4, 4, 4)


def test_packets_of_another_length_are_cut_in_python_until_that_is_over() -> None:
    talk, kernel = settled()
    body, answer = talk.caller.sdp(lines=EVENTS), talk.callee.sdp(lines=EVENTS)
    talk.invite(body, tag="tag-b", flags="z40")
    talk.answer(answer, tag="tag-b")
    assert rtp_in(kernel) == 1
    assert all(not flow.rule.is_rtcp for flow in kernel.flows.values()), "reports count other packets"
    assert (len(kernel.puts), len(kernel.drops)) == (0, 3)
    assert "40 ms" in str(talk.leg("caller")["because"])
    talk.invite(body, tag="tag-b", flags="")
    talk.answer(answer, tag="tag-b")
    assert (len(kernel.puts), len(kernel.drops), len(kernel.flows)) == (3, 3, 4)


def test_a_phone_that_moves_by_re_invite_is_learned_anew_and_carried_again() -> None:
    talk, kernel = settled()
    talk.caller.media = talk.caller.said = Addr(talk.caller.media.host, 4600)
    again(talk)
    assert rtp_in(kernel) == 0
    speak(talk, 3)
    talk.caller.report()
    talk.callee.report()
    assert {flow.rule.remote.port for flow in kernel.flows.values()} == {4600, 4601, 4200, 4201}
    assert talk.leg("caller")["packets"] == 6


def test_a_nat_that_gives_another_port_is_followed_after_silence() -> None:
    talk, kernel = settled()
    speak(talk, 20)
    talk.wait(1.9)
    moved = Addr(talk.caller.media.host, 4999)
    assert talk.caller.speak(2, source=moved) == 0, "the kernel heard the old one too lately"
    talk.wait(0.2)
    assert talk.caller.speak(3, source=moved) == 2
    assert talk.leg("caller")["remote"] == str(moved)
    assert kernel.flows[talk.caller.relay].rule.remote == moved  # type: ignore[index]
    talk.wait(10)
    assert talk.caller.speak(1) == 0, "the old address is a stranger's now"


@pytest.mark.parametrize("covered", [False, True])
def test_rtcp_that_moves_is_followed_once_the_kernel_has_heard_none_for_two_seconds(covered: bool) -> None:
    talk, kernel = settled()
    if covered:
        talk.core.play(KEY, "b1", "callee", "hold", -1, talk.now)
    assert talk.caller.relay is not None
    port = Addr(talk.caller.relay.host, talk.caller.relay.port + 1)
    moved = Addr(talk.caller.media.host, 4777)
    talk.wait(5)
    assert talk.caller.report() == 1
    talk.wait(1.9)
    assert talk.arrive(port, rtcp(talk.caller.ssrc), moved) == 0
    talk.wait(0.2)
    assert talk.arrive(port, rtcp(talk.caller.ssrc), moved) == 1
    assert kernel.flows[port].rule.remote == moved


def test_a_stranger_is_never_forwarded() -> None:
    talk, kernel = settled()
    random = Random(5)
    assert talk.caller.relay is not None
    for _ in range(200):
        speak(talk, 1)
        source = Addr(f"192.0.2.{random.randrange(60, 250)}", random.randrange(1024, 65535))
        packet = rtp(random.randrange(1 << 16), talk.caller.ssrc)
        assert talk.arrive(talk.caller.relay, packet, source) == 0
    assert kernel.moves == 0
    assert talk.core.packets.counts["src_mismatch"] == 200


def test_blocked_media_is_not_carried_and_comes_back() -> None:
    talk, kernel = settled()
    talk.core.desk.block(KEY[0], ("caller",), True)
    assert (len(kernel.puts), kernel.drops) == (0, [talk.caller.relay])
    assert talk.caller.speak(3) == 0
    assert talk.callee.speak(3) == 3
    talk.core.desk.block(KEY[0], ("caller",), False)
    assert talk.caller.speak(3) == 3
    assert (len(kernel.puts), len(kernel.drops)) == (1, 1)


# What the path cannot do, or no longer.


def test_what_the_kernel_refuses_goes_to_userspace_and_says_why() -> None:
    kernel = KernelTwin()
    kernel.refuses = "there is no route to 203.0.113.20"
    talk = Talk(kernel=kernel)
    talk.connect()
    talk.caller.report()
    talk.callee.report()
    leg = talk.leg("caller")
    assert (leg["carried_by"], leg["because"]) == ("user", "there is no route to 203.0.113.20")
    assert len(talk.path.entries) == 2
    assert talk.caller.speak(3) == 3


def test_a_rule_that_the_kernel_gives_up_goes_on_in_userspace_and_comes_back() -> None:
    talk, kernel = settled()
    speak(talk, 5)
    kernel.refuses, kernel.lost = "the route has gone", list(kernel.flows)
    talk.core.tick(talk.now)
    assert (len(kernel.drops), len(talk.path.entries)) == (4, 2)
    assert talk.leg("caller")["because"] == "the route has gone"
    assert (talk.caller.speak(5), talk.callee.speak(5), talk.caller.report()) == (5, 5, 1)
    kernel.refuses, kernel.lost = "", list(talk.path.entries)
    talk.core.tick(talk.now)
    assert (len(kernel.puts), len(talk.path.entries), len(kernel.flows)) == (4, 0, 4)
    assert talk.leg("caller")["packets"] == 13
    assert talk.leg("caller")["carried_by"] == "kernel"


def test_a_rule_whose_call_is_over_is_not_put_anew() -> None:
    talk, kernel = settled()
    kernel.lost = list(kernel.flows)
    talk.core.close(KEY, "b1", talk.now)
    talk.core.tick(talk.now)
    assert (kernel.flows, len(kernel.puts), len(kernel.drops)) == ({}, 0, 4)


@pytest.mark.parametrize(
    "end",
    [
        lambda talk: talk.core.close(KEY, "b1", talk.now),
        lambda talk: talk.core.end(KEY, talk.now),
        lambda talk: talk.core.destroy(KEY[0], talk.now),
    ],
)
def test_nothing_is_left_of_a_call_that_is_over(end: Callable[[Talk], object]) -> None:
    talk, kernel = settled()
    end(talk)
    assert (kernel.flows, talk.path.entries) == ({}, {})
    assert talk.core.path.carrier(talk.caller.relay) == ""  # type: ignore[arg-type]


def test_any_order_of_events_leaves_the_kernel_with_what_it_should_have() -> None:
    random = Random(77)
    talk, kernel = settled()
    acts: list[Callable[[], object]] = [
        lambda: again(talk),
        lambda: again(talk, "callee", (*EVENTS, "a=sendonly")),
        lambda: talk.core.play(KEY, "b1", random.choice(("caller", "callee")), "hold", 1, talk.now),
        lambda: talk.core.record(KEY, random.choice((WAV, PCAP, "")), talk.now),
        lambda: talk.core.desk.block(KEY[0], ("callee",), random.random() < 0.5),
        lambda: setattr(kernel, "refuses", random.choice(("", "", "no route"))),
        lambda: kernel.lost.extend(kernel.flows),
        lambda: talk.core.tick(talk.now),
        lambda: talk.pace(0.3),
        lambda: speak(talk, 4),
    ]
    for _ in range(600):
        random.choice(acts)()
        rules = [rule for _, _, line in talk.session().lines() for rule in (line.rule, line.rtcp_rule)]
        carried = {*kernel.flows, *talk.path.entries}
        assert {rule.local for rule in rules if rule is not None} == carried
        assert not set(kernel.flows) & set(talk.path.entries)
    for line in [line for _, _, line in talk.session().lines()]:
        assert line.packets <= 5000
