"""What is asked about a call's media and ordered for it: shown, queried, blocked, destroyed, refused."""

from __future__ import annotations

import pytest
from relay_talk import KEY, Talk, sdp

from edgesip.address import Addr
from edgesip.relay.core import Refusal
from edgesip.relay.past import MOST, Past


def counted(talk: Talk) -> dict[str, int]:
    """What has been counted since the start, without the zeros and without packets."""
    names = ("closed_sessions", "sessions_total", "zero_packet", "one_way", "call_duration")
    return {
        name.removeprefix("rtp:rtp_"): value
        for name, value in talk.core.counters.items()
        if value and any(word in name for word in names)
    }


# ---- shown and queried


def test_a_call_is_shown_with_everything_about_its_lines() -> None:
    talk = Talk()
    talk.connect()
    talk.wait(7.0)
    [shown] = talk.core.desk.show(KEY[0], talk.now)
    assert (shown["state"], shown["duration"], shown["timeout_in"]) == ("answered", 7, 53)
    assert (shown["from_tag"], shown["to_tag"], shown["blocked"]) == (KEY[1], "tag-b", [])
    caller, callee = shown["legs"]
    assert (caller["side"], caller["said"], caller["remote"]) == (
        "caller",
        "198.51.100.10:4000",
        "198.51.100.10:4000",
    )
    assert (caller["packets"], caller["heard"], caller["direction"]) == (3, 7, "sendrecv")
    assert caller["payload_types"] == [0, 8, 101]
    assert callee["branch"] == "b1"
    assert talk.core.desk.show("another", talk.now) == []


def test_what_rtpproxy_answers_to_q() -> None:
    talk = Talk()
    talk.connect()
    talk.caller.speak(4)
    assert talk.caller.relay is not None
    talk.arrive(talk.caller.relay, b"\x80\x00" + bytes(20), Addr("192.0.2.66", 1234))
    assert talk.core.desk.query(KEY, talk.now) == "60 3 7 10 1"
    assert talk.core.desk.told(KEY) == (
        "caller 198.51.100.10:4000 7 packets 1 dropped, callee 203.0.113.20:4200 3 packets 0 dropped"
    )
    assert talk.core.desk.query(("another", "x"), talk.now) == talk.core.desk.told(("another", "x")) == ""


def test_a_call_that_is_over_is_remembered_for_half_a_minute() -> None:
    talk = Talk()
    talk.connect()
    talk.wait(5.0)
    talk.core.end(KEY, talk.now)
    assert talk.leased() == 0
    talk.wait(20.0)
    talk.core.tick(talk.now)
    [shown] = talk.core.desk.show(KEY[0], talk.now)
    assert (shown["state"], shown["ended_by"], shown["ended"], shown["duration"]) == (
        "ended",
        "terminated",
        20,
        5,
    )
    assert [leg["packets"] for leg in shown["legs"]] == [3, 3]
    assert talk.core.desk.query(KEY, talk.now) == "0 3 3 6 0"
    talk.wait(11.0)
    talk.core.tick(talk.now)
    assert talk.core.desk.show(KEY[0], talk.now) == []
    assert talk.core.desk.query(KEY, talk.now) == ""


def test_no_more_are_remembered_than_there_is_room_for() -> None:
    past, session = Past(), Talk()
    session.connect()
    one = session.session()
    for number in range(MOST + 5):
        one.key = (f"call-{number}", "a")
        past.add(one, 0.0)
    assert past.named("call-0") == past.named("call-399") == []
    assert len(past.named("call-400")) == len(past.named(f"call-{MOST + 4}")) == 1
    past.forget(29.0)
    assert past.named("call-400")
    past.forget(30.0)
    assert past.named(f"call-{MOST + 4}") == []


# ---- how calls end


def test_a_call_counts_by_what_ended_it() -> None:
    talk = Talk()
    talk.connect()
    talk.wait(10.0)
    talk.core.end(KEY, talk.now)
    assert counted(talk) == {
        "closed_sessions_terminated": 1,
        "sessions_total": 1,
        "call_duration": 10,
        "call_duration2": 100,
    }
    talk.invite()
    talk.core.reject(KEY, "b1", "caller", talk.now)
    assert counted(talk)["closed_sessions_rejected"] == 1
    talk.connect()
    talk.core.condemn(KEY, "timeout")
    talk.core.close(KEY, "b1", talk.now)
    talk.core.condemn(KEY, "timeout")
    assert counted(talk)["closed_sessions_timeout"] == 1
    assert counted(talk)["sessions_total"] == 3


def test_what_was_never_heard_is_counted() -> None:
    talk = Talk()
    talk.invite()
    talk.answer()
    talk.caller.speak(5)
    talk.core.end(KEY, talk.now)
    assert (counted(talk)["one_way_sessions"], counted(talk)["zero_packet_streams"]) == (1, 1)
    talk.invite()
    talk.answer()
    talk.core.end(KEY, talk.now)
    assert (counted(talk)["one_way_sessions"], counted(talk)["zero_packet_streams"]) == (1, 3)


def test_streams_that_were_refused_and_branches_that_lost_are_not_missed() -> None:
    talk = Talk()
    talk.invite(sdp("198.51.100.10", 4000, 4002), branch="b2")
    talk.invite(sdp("198.51.100.10", 4000, 4002))
    talk.answer(sdp("203.0.113.20", 4200, 0))
    talk.core.close(KEY, "b2", talk.now)
    for _ in range(3):
        talk.caller.speak()
        talk.callee.speak()
    talk.core.end(KEY, talk.now)
    assert "zero_packet_streams" not in counted(talk)
    assert "one_way_sessions" not in counted(talk)


# ---- orders


@pytest.mark.parametrize(("side", "heard"), [("caller", (0, 5)), ("callee", (5, 0))])
def test_one_side_is_blocked_and_the_other_goes_on(side: str, heard: tuple[int, int]) -> None:
    talk = Talk()
    talk.connect()
    assert talk.core.desk.block(KEY[0], (side,), True) == 1
    assert (talk.caller.speak(5), talk.callee.speak(5)) == heard
    assert talk.leg(side)["because"] == "an operator has blocked it"
    assert talk.core.counters["rtp:rtp_blocked"] == 5
    assert talk.core.desk.show(KEY[0], talk.now)[0]["blocked"] == [side]
    assert talk.core.desk.block(KEY[0], ("caller", "callee"), False) == 1
    assert (talk.caller.speak(5), talk.callee.speak(5)) == (5, 5)
    assert talk.leg(side)["carried_by"] == "user", "it is on its path again"


def test_who_is_blocked_is_alive_all_the_same() -> None:
    talk = Talk()
    talk.connect()
    talk.core.desk.block(KEY[0], ("caller", "callee"), True)
    for _ in range(30):
        talk.wait(5.0)
        talk.caller.speak()
        assert talk.core.tick(talk.now) == []


def test_a_stream_that_comes_later_is_blocked_too() -> None:
    talk = Talk()
    talk.connect()
    talk.core.desk.block(KEY[0], ("caller",), True)
    talk.invite(sdp("198.51.100.10", 4000, 4002))
    talk.answer(sdp("203.0.113.20", 4200, 4202))
    legs = talk.core.sessions(talk.now)[0]["legs"]
    blocked = {(leg["side"], leg["media"]) for leg in legs if "blocked" in leg["because"]}
    assert blocked == {("caller", "audio"), ("caller", "video")}


def test_a_call_without_a_session_cannot_be_blocked_or_destroyed() -> None:
    talk = Talk()
    assert talk.core.desk.block("another", ("caller",), True) == 0
    assert talk.core.destroy("another", talk.now) == 0


def test_destroyed_media_is_gone_and_a_new_offer_gets_new() -> None:
    talk = Talk()
    talk.connect()
    assert talk.core.destroy(KEY[0], talk.now) == 1
    assert (talk.leased(), talk.caller.speak(3), talk.callee.speak(3)) == (0, 0, 0)
    assert counted(talk)["closed_sessions_force_terminated"] == 1
    talk.connect()
    assert talk.caller.speak(3) == 3


# ---- drained


def test_new_calls_are_refused_and_running_ones_go_on() -> None:
    talk = Talk()
    talk.connect()
    talk.core.drained = frozenset([""])
    assert not talk.core.has_room()
    refused = talk.invite(key=("call-2", "tag-a"))
    assert isinstance(refused, Refusal)
    assert (refused.status, refused.reason) == (503, "The media relay takes no new calls")
    assert refused.retry_after
    assert isinstance(talk.invite(), bytes)
    assert isinstance(talk.answer(), bytes)
    assert talk.caller.speak(3) == 3
    talk.core.drained = frozenset()
    assert isinstance(talk.invite(key=("call-2", "tag-a")), bytes)
