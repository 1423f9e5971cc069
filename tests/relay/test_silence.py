"""When a call has been silent for too long: both sides or either, on hold, and however long it lasts."""

from __future__ import annotations

from relay_talk import KEY, Talk

from edgesip.relay.core import Event, MediaTimeout
from edgesip.relay.silence import Limits, judge

BOTH = ("caller", "callee")


def until_silent(talk: Talk, limit: float, speaks: str = "") -> tuple[float, MediaTimeout] | None:
    """After how many seconds the core says so, while one side goes on to speak once a second."""
    begin = talk.now
    while talk.now - begin < limit:
        talk.wait(1.0)
        if speaks:
            (talk.caller if speaks == "caller" else talk.callee).speak()
        found: list[Event] = [one for one in talk.core.tick(talk.now) if isinstance(one, MediaTimeout)]
        if found:
            assert isinstance(found[0], MediaTimeout)
            return talk.now - begin, found[0]
    return None


def talking(timeout: float = 60.0, hold: float = 3600.0, final: float = 0.0, either: bool = False) -> Talk:
    talk = Talk()
    talk.connect()
    talk.core.judge_by(Limits(timeout, hold, final, either))
    return talk


def test_one_side_is_enough_to_keep_a_call() -> None:
    talk = talking()
    assert until_silent(talk, 200, speaks="caller") is None
    found = until_silent(talk, 200)
    assert found is not None
    assert found[1] == MediaTimeout(KEY, "b1", "timeout", BOTH)


def test_or_one_silent_side_is_enough_to_end_it() -> None:
    talk = talking(either=True)
    found = until_silent(talk, 200, speaks="caller")
    assert found is not None
    seconds, event = found
    assert 59 <= seconds <= 63
    assert event == MediaTimeout(KEY, "b1", "timeout", ("callee",))
    talk = talking(either=True)
    found = until_silent(talk, 200, speaks="callee")
    assert found is not None
    assert found[1].sides == ("caller",)


def test_both_are_named_when_both_are_silent() -> None:
    talk = talking(timeout=5.0, either=True)
    now = talk.now
    found = until_silent(talk, 100)
    assert found is not None
    assert talk.now - now < 8
    assert set(found[1].sides) <= set(BOTH)


def test_who_does_not_send_by_its_own_word_may_be_silent() -> None:
    talk = talking(either=True)
    talk.invite(talk.caller.sdp(lines=("a=recvonly",)))
    talk.answer(talk.callee.sdp(lines=("a=sendonly",)))
    [session] = talk.core.named(KEY[0])
    assert [(line.sends, line.listens) for _, _, line in session.lines()] == [(False, True), (True, False)]
    assert judge(session, Limits(60.0, 3600.0, either=True)).due == talk.now + 3600, "held by the callee"


def test_a_call_on_hold_is_waited_for_longer_and_says_so() -> None:
    talk = talking(hold=100.0)
    talk.invite(talk.caller.sdp(lines=("a=sendonly",)))
    talk.answer(talk.callee.sdp(lines=("a=recvonly",)))
    found = until_silent(talk, 200)
    assert found is not None
    assert (round(found[0]), found[1].why) == (100, "silent_timeout")


def test_a_call_may_last_so_long_and_no_longer() -> None:
    talk = talking(final=90.0)
    found = until_silent(talk, 200, speaks="caller")
    assert found is not None
    assert 85 <= found[0] <= 91
    assert (found[1].why, found[1].sides) == ("final_timeout", ())


def test_other_limits_hold_for_calls_that_are_there() -> None:
    talk = talking()
    talk.core.judge_by(Limits(3.0, 60.0))
    found = until_silent(talk, 20)
    assert found is not None
    assert found[0] <= 4


def test_signalling_counts_as_a_sign_of_life_of_both() -> None:
    talk = talking(either=True)
    for _ in range(3):
        assert until_silent(talk, 50) is None
        talk.invite()
        talk.answer()
