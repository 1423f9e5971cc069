"""Prompts in calls: who hears them, what becomes of the live stream, music while on hold, time that jumps."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from random import Random

import pytest
from relay_talk import KEY, Phone, Talk, sdp

from edgesip.address import Addr
from edgesip.relay.prompt import LATE, SLOT, Prompt
from edgesip.relay.rtp import Header, header

HOLD = Prompt("hold", {0: b"\x10" * 1600, 8: b"\x18" * 1600})
BEEP = Prompt("beep", {0: b"\x20" * 320})


def connected(music: str = "") -> Talk:
    talk = Talk(prompts=(HOLD, BEEP))
    talk.core.playing.music = music
    talk.connect()
    for phone in talk.phones:
        phone.inbox.clear()
    return talk


def play(talk: Talk, side: str, name: str = "hold", count: int = -1) -> str:
    return talk.core.play(KEY, "b1", side, name, count, talk.now)


def heard(phone: Phone) -> list[Header]:
    """The packets it got since the last time."""
    found = [header(packet) for packet in phone.inbox]
    phone.inbox.clear()
    return found


def chatter(talk: Talk, seconds: float) -> None:
    """Both speak, and prompts play, for so long."""
    for _ in range(round(seconds / 0.02)):
        talk.caller.speak()
        talk.now -= 0.02
        talk.callee.speak()
        talk.now -= 0.02
        talk.pace(0.02)


def changes(headers: list[Header]) -> int:
    """How often the SSRC is another one."""
    return sum(one.ssrc != other.ssrc for one, other in itertools.pairwise(headers))


def test_a_prompt_takes_the_place_of_the_other_side_and_gives_it_back() -> None:
    talk = connected()
    chatter(talk, 0.2)
    assert play(talk, "callee") == ""
    chatter(talk, 1.0)
    assert play(talk, "callee", count=0) == ""
    chatter(talk, 0.2)
    packets = heard(talk.callee)
    assert changes(packets) == 2, "one change each way"
    live = [one for one in packets if one.ssrc == talk.caller.ssrc]
    music = [one for one in packets if one.ssrc != talk.caller.ssrc]
    assert len(live) == 20
    assert 49 <= len(music) <= 51
    assert [one.marker for one in music] == [True] + [False] * (len(music) - 1)
    assert live[10].sequence - live[9].sequence == 51, "numbers go on as if it had been heard all along"
    assert live[10].timestamp - live[9].timestamp == 51 * 160
    first = next(one for one in music if one.marker)
    assert 0 < first.timestamp - live[9].timestamp <= 2 * 160, "one clock for both, to who listens"
    assert abs(live[10].timestamp - music[-1].timestamp) <= 2 * 160
    assert changes(heard(talk.caller)) == 0, "whoever does not listen to it hears no difference"


def test_what_is_covered_is_counted_and_kept_alive() -> None:
    talk = connected()
    play(talk, "callee")
    before = talk.core.counters
    chatter(talk, 1.0)
    after = talk.core.counters
    assert after["rtp:rtp_covered"] - before["rtp:rtp_covered"] == 50
    assert after["rtp:rtp_packets"] - before["rtp:rtp_packets"] == 100
    assert after["rtp:rtp_prompts"] == 1
    assert 49 <= after["rtp:rtp_prompt_packets"] <= 51
    assert talk.leg("caller")["packets"] == 53


def test_the_path_carries_only_what_is_not_covered() -> None:
    talk = connected()
    assert len(talk.path.entries) == 2
    play(talk, "callee")
    assert talk.leg("caller")["carried_by"] == "slow"
    assert talk.leg("caller")["because"] == "a prompt plays to the other side"
    assert talk.leg("callee")["carried_by"] == "user"
    assert talk.leg("callee")["prompt"] == "hold"
    play(talk, "callee", count=0)
    assert len(talk.path.entries) == 2
    assert talk.leg("callee")["prompt"] == ""


def test_rtcp_goes_on_meanwhile() -> None:
    talk = connected()
    talk.caller.report()
    talk.callee.report()
    play(talk, "callee")
    assert talk.caller.report() == 1


def test_a_counted_prompt_ends_and_the_call_goes_on() -> None:
    talk = connected()
    assert play(talk, "callee", "beep", 3) == ""
    chatter(talk, 0.2)
    packets = heard(talk.callee)
    beeps = [one for one in packets if one.ssrc != talk.caller.ssrc]
    assert len(beeps) == 6
    assert changes(packets) in (1, 2)
    assert packets[-1].ssrc == talk.caller.ssrc
    assert talk.core.pace_at() is None
    assert talk.core.counters["rtp:rtp_prompts"] == 0


def test_both_sides_can_hear_one_at_once() -> None:
    talk = connected()
    play(talk, "caller")
    play(talk, "callee")
    chatter(talk, 0.5)
    for phone, other in ((talk.caller, talk.callee), (talk.callee, talk.caller)):
        assert other.ssrc not in {one.ssrc for one in heard(phone)}
    assert not talk.path.entries


def test_another_prompt_ends_the_first() -> None:
    talk = connected()
    play(talk, "callee")
    talk.pace(0.5)
    play(talk, "callee", "beep", 1)
    talk.pace(0.5)
    assert changes(heard(talk.callee)) == 1
    assert talk.core.counters["rtp:rtp_prompts"] == 0


def test_the_receivers_codec_and_packet_size() -> None:
    talk = Talk(prompts=(HOLD,))
    talk.invite()
    talk.answer(talk.callee.sdp(fmts="8 0 101", lines=("a=ptime:30",)))
    talk.caller.speak(3)
    talk.callee.speak(3)
    talk.callee.inbox.clear()
    assert play(talk, "callee") == ""
    talk.pace(0.29)
    packets = list(talk.callee.inbox)
    assert {header(packet).payload_type for packet in packets} == {8}
    assert {len(packet) for packet in packets} == {12 + 240}
    assert len(packets) == 10


def test_why_it_cannot_play() -> None:
    talk = Talk(prompts=(HOLD, BEEP))
    assert play(talk, "caller") == "its media is not relayed"
    talk.invite()
    assert play(talk, "callee") == "the callee has no audio line yet"
    talk.answer(talk.callee.sdp(fmts="8 101"))
    assert play(talk, "callee", "nobody") == "there is no prompt nobody"
    assert play(talk, "callee", "beep") == "beep is in none of the callee's codecs"
    assert play(talk, "callee", count=-2).startswith("a count of -2")
    assert play(talk, "callee", count=0) == "nothing plays to the callee"
    assert talk.core.pace_at() is None


def test_encrypted_media_is_left_alone() -> None:
    talk = Talk(prompts=(HOLD,))
    talk.invite(sdp("198.51.100.10", 4000, proto="RTP/SAVP"))
    talk.answer(sdp("203.0.113.20", 4200, proto="RTP/SAVP"))
    assert play(talk, "callee") == "the callee's audio is encrypted"


def test_early_media_to_the_caller() -> None:
    """An announcement to a caller who has sent nothing yet: to his SDP address, which his SIP came from."""
    talk = Talk(prompts=(HOLD,))
    talk.invite()
    assert play(talk, "caller") == ""
    talk.pace(0.2)
    assert len(heard(talk.caller)) == 10


def test_nobody_unproven_gets_more_than_three_packets() -> None:
    """An SDP that names another host than its SIP came from may point at a victim."""
    talk = Talk(prompts=(HOLD,))
    victim = talk.phone("192.0.2.99", 5000)
    talk.phones.append(victim)
    talk.invite(victim.sdp())
    talk.answer()
    play(talk, "caller")
    talk.pace(5.0)
    assert len(heard(victim)) == 3


def test_music_follows_a_phone_that_moves() -> None:
    talk = connected()
    play(talk, "callee")
    talk.pace(3.0)
    talk.callee.inbox.clear()
    talk.callee.media = Addr("203.0.113.20", 4999)
    talk.callee.speak(3)
    assert heard(talk.callee) == []
    talk.pace(0.2)
    assert len(heard(talk.callee)) >= 10


def test_the_end_of_a_call_ends_its_prompts() -> None:
    talk = connected()
    play(talk, "callee")
    play(talk, "caller")
    talk.pace(0.1)
    talk.core.close(KEY, "b1", talk.now)
    sent = len(talk.sent)
    talk.pace(5.0)
    assert len(talk.sent) == sent
    assert talk.core.counters["rtp:rtp_prompts"] == 0
    assert talk.core.pace_at() is None
    assert talk.leased() == 0


def test_a_codec_that_is_taken_away_begins_the_prompt_anew_in_another() -> None:
    talk = connected()
    play(talk, "callee")
    talk.pace(0.1)
    talk.invite(talk.caller.sdp(fmts="8 101"))
    talk.answer(talk.callee.sdp(fmts="8 101"))
    talk.pace(0.1)
    assert [one.payload_type for one in heard(talk.callee)][-1] == 8
    talk.invite(talk.caller.sdp(fmts="9 101"))
    talk.answer(talk.callee.sdp(fmts="9 101"))
    assert talk.core.counters["rtp:rtp_prompts"] == 0


# Music on hold.

FORMS: dict[str, Callable[[Phone], bytes]] = {
    "null address": lambda phone: sdp("0.0.0.0", phone.said.port),
    "sendonly": lambda phone: phone.sdp(lines=("a=sendonly",)),
    "inactive": lambda phone: phone.sdp(lines=("a=inactive",)),
}
ANSWERS: dict[str, Callable[[Phone], bytes]] = {
    "null address": lambda phone: phone.sdp(),
    "sendonly": lambda phone: phone.sdp(lines=("a=recvonly",)),
    "inactive": lambda phone: phone.sdp(lines=("a=inactive",)),
}


def ask(talk: Talk, side: str, form: str) -> None:
    """A re-INVITE by `side` and its answer; no `form` is a resume."""
    holder, held = (talk.caller, talk.callee) if side == "caller" else (talk.callee, talk.caller)
    talk.invite(FORMS[form](holder) if form else holder.sdp(), side=side, tag="tag-b")
    talk.answer(ANSWERS[form](held) if form else held.sdp(), side="callee" if side == "caller" else "caller")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("side", ["caller", "callee"])
def test_whoever_is_put_on_hold_hears_music_until_the_call_goes_on(side: str, form: str) -> None:
    talk = connected("hold")
    holder, held = (talk.caller, talk.callee) if side == "caller" else (talk.callee, talk.caller)
    ask(talk, side, form)
    talk.pace(1.0)
    music = heard(held)
    assert 49 <= len(music) <= 50
    assert holder.ssrc not in {one.ssrc for one in music}
    assert heard(holder) == [], "the holder hears no music"
    ask(talk, side, "")
    chatter(talk, 0.5)
    assert {one.ssrc for one in heard(held)} == {holder.ssrc}
    assert {one.ssrc for one in heard(holder)} == {held.ssrc}
    assert talk.core.counters["rtp:rtp_prompts"] == 0


def test_no_music_where_none_is_configured() -> None:
    talk = connected()
    ask(talk, "caller", "sendonly")
    assert talk.core.pace_at() is None


def test_a_refused_hold_plays_nothing() -> None:
    talk = connected("hold")
    talk.invite(talk.caller.sdp(lines=("a=sendonly",)))
    assert talk.core.pace_at() is None, "not before the answer"
    talk.core.reject(KEY, "b1", "caller", talk.now)
    assert talk.core.pace_at() is None


def test_a_refused_resume_plays_on() -> None:
    talk = connected("hold")
    ask(talk, "caller", "sendonly")
    talk.invite()
    talk.core.reject(KEY, "b1", "caller", talk.now)
    talk.pace(0.2)
    assert len(heard(talk.callee)) == 10


def test_a_call_that_begins_without_a_listener_is_not_on_hold() -> None:
    """Click to dial offers a null address first: nobody waits for anybody."""
    talk = Talk(prompts=(HOLD,))
    talk.core.playing.music = "hold"
    talk.invite(sdp("0.0.0.0", 4000))
    talk.answer()
    assert talk.core.pace_at() is None


def test_an_answer_that_comes_twice_is_no_hold() -> None:
    """An announcement to who only listens: its answer stands in a reliable 183, and in the 200 again."""
    talk = Talk(prompts=(HOLD,))
    talk.core.playing.music = "hold"
    talk.invite(talk.caller.sdp(lines=("a=sendonly",)))
    for _ in range(2):
        talk.answer(talk.callee.sdp(lines=("a=recvonly",)))
    assert talk.core.pace_at() is None


@pytest.mark.parametrize("form", ["sendonly", "inactive"])
@pytest.mark.parametrize("by", ["caller", "callee"])
def test_a_session_refresh_while_on_hold_disturbs_no_music(form: str, by: str) -> None:
    """Either side may send the refresh; the held one repeats what it had answered."""
    talk = connected("hold")
    ask(talk, "caller", form)
    talk.pace(0.1)
    if by == "caller":
        talk.invite(FORMS[form](talk.caller), side="caller", tag="tag-b")
        talk.answer(ANSWERS[form](talk.callee), side="callee")
    else:
        talk.invite(ANSWERS[form](talk.callee), side="callee", tag="tag-b")
        talk.answer(FORMS[form](talk.caller), side="caller")
    talk.pace(0.1)
    music = heard(talk.callee)
    assert len(music) in (9, 10)
    assert changes(music) == 0
    assert heard(talk.caller) == []


def test_hold_by_both_resumed_one_after_the_other() -> None:
    talk = connected("hold")
    ask(talk, "caller", "sendonly")
    talk.invite(FORMS["sendonly"](talk.callee), side="callee", tag="tag-b")
    talk.answer(talk.caller.sdp(lines=("a=inactive",)), side="caller")
    assert talk.core.counters["rtp:rtp_prompts"] == 1
    talk.invite(talk.caller.sdp(), side="caller", tag="tag-b")
    talk.answer(FORMS["sendonly"](talk.callee), side="callee")
    heard(talk.caller), heard(talk.callee)
    talk.pace(0.2)
    assert len(heard(talk.caller)) == 10, "the caller is the one who waits now"
    assert heard(talk.callee) == []
    ask(talk, "callee", "")
    assert talk.core.counters["rtp:rtp_prompts"] == 0


def test_a_prompt_that_a_script_began_is_not_stopped_by_a_resume() -> None:
    talk = connected("hold")
    play(talk, "callee")
    ask(talk, "callee", "")
    assert talk.core.counters["rtp:rtp_prompts"] == 1


def test_hold_without_the_prompt_is_told() -> None:
    talk = connected("missing")
    talk.core.moments.take()
    ask(talk, "caller", "sendonly")
    told = [(one.event, one.fields) for one in talk.core.moments.take()]
    assert ("no music on hold", (("why", "there is no prompt missing"),)) in told


def directions(body: object) -> list[str]:
    assert isinstance(body, bytes)
    return re.findall(r"a=(sendrecv|sendonly|recvonly|inactive)", body.decode())


@pytest.mark.parametrize("side", ["caller", "callee"])
def test_who_will_hear_music_is_told_to_listen(side: str) -> None:
    """A phone that is told `inactive` plays nothing, whatever comes."""
    talk = connected("hold")
    holder, held = (talk.caller, talk.callee) if side == "caller" else (talk.callee, talk.caller)
    other = "callee" if side == "caller" else "caller"
    offer = talk.invite(holder.sdp(lines=("a=inactive",)), side=side, tag="tag-b")
    assert directions(offer) == ["sendonly"]
    answer = talk.answer(held.sdp(lines=("a=recvonly",)), side=other)
    assert directions(answer) == ["inactive"], "the only answer that the holder may get"
    talk.pace(0.2)
    assert len(heard(held)) == 10
    # The one on hold refreshes the session, with what it believes.
    assert directions(talk.invite(held.sdp(lines=("a=recvonly",)), side=other, tag="tag-b")) == ["recvonly"]
    assert directions(talk.answer(holder.sdp(lines=("a=inactive",)), side=side)) == ["sendonly"]
    talk.pace(0.2)
    music = heard(held)
    assert len(music) in (10, 11)
    assert changes(music) == 0
    assert directions(talk.invite(holder.sdp(), side=side, tag="tag-b")) == []
    assert directions(talk.answer(held.sdp(), side=other)) == []
    assert talk.core.counters["rtp:rtp_prompts"] == 0


def test_a_late_offer_holds_too() -> None:
    """A re-INVITE without SDP: the 200 has the offer, the ACK the answer that holds."""
    talk = connected("hold")
    talk.invite(talk.callee.sdp(), side="callee", tag="tag-b")
    assert directions(talk.answer(talk.caller.sdp(lines=("a=inactive",)), side="caller")) == ["sendonly"]
    talk.pace(0.2)
    assert len(heard(talk.callee)) == 10


def test_a_direction_of_the_session_counts() -> None:
    talk = connected("hold")
    body = talk.caller.sdp().replace(b"t=0 0\r\n", b"t=0 0\r\na=inactive\r\n")
    assert directions(talk.invite(body)) == ["inactive", "sendonly"]


@pytest.mark.parametrize("music", ["", "missing"])
def test_without_music_nobody_is_told_anything_else(music: str) -> None:
    talk = connected(music)
    assert directions(talk.invite(talk.caller.sdp(lines=("a=inactive",)))) == ["inactive"]
    assert directions(talk.answer(talk.callee.sdp(lines=("a=inactive",)))) == ["inactive"]


def test_a_first_offer_keeps_its_direction() -> None:
    talk = Talk(prompts=(HOLD,))
    talk.core.playing.music = "hold"
    assert directions(talk.invite(talk.caller.sdp(lines=("a=inactive",)))) == ["inactive"]
    assert directions(talk.answer(talk.callee.sdp(lines=("a=inactive",)))) == ["inactive"]


def test_an_offer_of_fewer_lines_than_before_does_no_harm() -> None:
    talk = Talk(prompts=(HOLD,))
    talk.core.playing.music = "hold"
    talk.invite(talk.caller.sdp(4000, 4100))
    talk.answer(talk.callee.sdp(4200, 4300))
    bare = b"v=0\r\no=- 1 1 IN IP4 198.51.100.10\r\ns=-\r\nc=IN IP4 198.51.100.10\r\nt=0 0\r\na=inactive\r\n"
    assert talk.invite(bare) == bare
    assert talk.answer(bare) == bare


# Time.


def test_the_alarm_is_set_when_the_first_prompt_begins() -> None:
    talk = connected()
    play(talk, "callee")
    play(talk, "caller")
    assert talk.alarms == [talk.core.pace_at()]
    assert talk.now < talk.alarms[0] <= talk.now + SLOT + 1e-9


def test_after_a_stall_what_is_missed_is_given_up() -> None:
    talk = connected()
    play(talk, "callee")
    talk.pace(0.1)
    talk.callee.inbox.clear()
    talk.now += 10.0  # the machine was suspended
    sends = talk.core.pace(talk.now)
    assert len(sends) <= LATE * SLOT / 0.02 + 1
    talk.now += 0.001
    assert talk.core.pace(talk.now) == []


def test_a_small_stall_is_made_up_for() -> None:
    talk = connected()
    play(talk, "callee")
    due = talk.core.pace_at()
    assert due is not None
    talk.now = due + 0.09
    assert len(talk.core.pace(talk.now)) == 5
    again = talk.core.pace_at()
    assert again is not None
    assert abs(again - due - 0.1) < 1e-9, "the schedule does not move"


def test_two_hundred_streams_lose_no_millisecond_in_a_minute() -> None:
    """The clock is ours: wakes come late, at random, and sometimes very late; the schedule does not move."""
    random = Random(5)
    talk = Talk(prompts=(HOLD,), max_sessions=300, low=20000, high=29999)
    for number in range(200):
        key = (f"call-{number}", "tag-a")
        talk.invite(key=key)
        talk.answer(key=key)
        talk.pace(random.random() / 50)
        assert talk.core.play(key, "b1", "callee", "hold", -1, talk.now) == ""
    begun: dict[int, tuple[float, int]] = {}
    count: dict[int, int] = {}
    last: dict[int, Header] = {}
    began = talk.now
    wakes = 0
    while talk.now < began + 60.0:
        at = talk.core.pace_at()
        assert at is not None
        talk.now = max(talk.now, at) + random.random() * 0.003
        wakes += 1
        for _, _, data in talk.core.pace(talk.now):
            packet = header(data)
            begun.setdefault(packet.ssrc, (at, packet.timestamp))
            count[packet.ssrc] = count.get(packet.ssrc, 0) + 1
            last[packet.ssrc] = packet
            lag = talk.now - begun[packet.ssrc][0] - (count[packet.ssrc] - 1) * 0.02
            assert -0.006 <= lag <= 0.006, "as far from where it belongs as its wake, and no more"
    assert len(begun) == 200
    for ssrc, (_, timestamp) in begun.items():
        assert (last[ssrc].timestamp - timestamp) & 0xFFFFFFFF == (count[ssrc] - 1) * 160
        assert abs(count[ssrc] - 3000) <= 2
    assert wakes <= 60 / SLOT + 200, "streams share their wakes"
