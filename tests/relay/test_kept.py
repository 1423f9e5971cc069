"""Media sessions that outlive the process: the same ports, latches, counters and behaviour after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from relay_talk import KEY, Phone, Talk, rtp, sdp
from rtpp_talk import Controller

from edgesip.address import Addr
from edgesip.relay import kept
from edgesip.relay.latch import State
from edgesip.relay.path import Counters, UserPath
from edgesip.relay.prompt import Prompt
from edgesip.relay.stated import OWNED
from edgesip.store import codec

WALL = 1_700_000_000.0
HOLD = Prompt("hold", {0: b"\x10" * 1600})
BOOTED = 77.0
"""What the clock of the next process says when it begins."""


def recorded(talk: Talk) -> dict[str, Any]:
    """The record of the call as a store gives it back."""
    record = kept.record_of(talk.core, KEY, talk.now, WALL)
    assert record is not None
    found: dict[str, Any] = codec.loads(codec.dumps(record))
    return found


def reborn(talk: Talk, away: float = 1.0, **how: Any) -> Talk:
    """The next process, `away` seconds later, with the call taken up; the phones are as they were."""
    after = Talk(seed=2, **how)
    after.now = BOOTED
    kept.take_up(after.core, recorded(talk), BOOTED, WALL + talk.now + away - BOOTED)
    after.caller, after.callee = (replace(phone, talk=after, inbox=[]) for phone in talk.phones[:2])
    after.phones = [after.caller, after.callee]
    return after


def carried(talk: Talk) -> list[str]:
    return [leg["carried_by"] for leg in talk.core.sessions(talk.now)[0]["legs"]]


def test_a_settled_call_goes_on_at_once_through_the_same_ports() -> None:
    talk = Talk()
    talk.connect()
    after = reborn(talk)
    assert after.binder.bound == talk.binder.bound
    assert carried(after) == ["user", "user"]
    assert after.caller.speak(5) == after.callee.speak(5) == 5
    assert (len(after.caller.inbox), len(after.callee.inbox)) == (5, 5)


def test_packets_are_counted_on_from_where_they_were() -> None:
    talk = Talk()
    talk.connect()
    talk.caller.speak(40)
    after = reborn(talk)
    after.caller.speak(7)
    before, now = talk.core.sessions(talk.now)[0]["legs"], after.core.sessions(after.now)[0]["legs"]
    assert [leg["packets"] for leg in before] == [43, 3]
    assert [leg["packets"] for leg in now] == [50, 3]
    assert now[0]["bytes"] == 50 * 172


@pytest.mark.pure
def test_a_path_that_has_kept_its_counters_is_not_counted_twice() -> None:
    class Lasting(UserPath):
        """Goes on where it was, as a path does that outlives the process."""

        def counters(self, local: Addr) -> Counters | None:
            return Counters(45, 4500, 76.0, 0xA, 43) if local in self.entries else None

        def drop(self, local: Addr) -> Counters | None:
            found = self.counters(local)
            super().drop(local)
            return found

    talk = Talk()
    talk.connect()
    talk.caller.speak(38)
    after = reborn(talk, path=Lasting())
    assert [leg["packets"] for leg in after.core.sessions(after.now)[0]["legs"]] == [2 + 45, 2 + 45]


def test_a_stranger_is_as_strange_to_the_next_process() -> None:
    talk = Talk()
    talk.connect()
    after = reborn(talk)
    assert after.caller.relay is not None
    for number in range(20):
        assert after.arrive(after.caller.relay, rtp(number, 0xBAD), Addr("198.51.100.66", 4000)) == 0
    assert after.callee.inbox == []


def test_a_phone_that_got_another_port_meanwhile_is_found() -> None:
    talk = Talk()
    talk.connect()
    after = reborn(talk, away=5.0)
    after.caller.media = Addr(after.caller.media.host, 40404)
    assert after.caller.speak(10) > 0
    after.callee.speak(3)
    assert len(after.caller.inbox) == 3


def test_silence_is_counted_from_the_start() -> None:
    talk = Talk()
    talk.connect()
    after = reborn(talk, away=3000.0)
    assert after.core.tick(BOOTED + 59.0) == []
    [event] = after.core.tick(BOOTED + 61.0)
    assert event.key == KEY


def test_its_end_gives_everything_back() -> None:
    talk = Talk()
    talk.connect()
    after = reborn(talk)
    after.core.end(KEY, after.now)
    assert after.binder.bound == set()
    assert after.core.ports(after.now + 31)["free"] == after.core.ports(after.now + 31)["total"]
    assert kept.record_of(after.core, KEY, after.now, WALL) is None


def test_a_reinvite_of_the_next_process_keeps_the_ports() -> None:
    talk = Talk()
    talk.connect()
    after = reborn(talk)
    assert after.callee.relay is not None
    before = after.callee.relay
    after.invite(after.caller.sdp())
    assert after.callee.relay == before
    after.answer()
    assert after.callee.speak(2) == 2


def test_a_held_call_hears_music_again() -> None:
    talk = Talk(prompts=(HOLD,))
    talk.core.playing.music = "hold"
    talk.connect()
    talk.invite(talk.caller.sdp(lines=("a=sendonly",)))
    talk.answer(talk.callee.sdp(lines=("a=recvonly",)))
    assert [leg["prompt"] for leg in talk.core.sessions(talk.now)[0]["legs"]] == ["", "hold"]
    after = reborn(talk, prompts=(HOLD,))
    assert [leg["prompt"] for leg in after.core.sessions(after.now)[0]["legs"]] == ["", "hold"]
    assert after.core.pace(after.now + 0.1)


def test_what_was_blocked_and_wished_is_so_again() -> None:
    talk = Talk()
    talk.invite(flags="r")
    talk.answer(flags="lz40")
    talk.core.desk.block("call-1", ("callee",), True)
    after = reborn(talk)
    assert after.callee.speak(3) == 0
    session, old = after.session(), talk.session()
    assert session.blocked == {"callee"}
    assert session.caller.trust is old.caller.trust is True
    legs = [(leg.learn, leg.ptime) for leg in (session.caller, session.branches["b1"].leg)]
    assert legs == [(leg.learn, leg.ptime) for leg in (old.caller, old.branches["b1"].leg)]


def test_a_recording_goes_on_in_another_file() -> None:
    talk = Talk()
    talk.connect()
    talk.core.record(KEY, "wav", talk.now)
    after = reborn(talk)
    assert [sink.kind for sink in after.core.sinks.take()] == ["wav"]
    assert carried(after) == ["slow", "slow"]


def test_who_has_not_answered_is_not_kept() -> None:
    talk = Talk()
    talk.invite()
    assert kept.record_of(talk.core, KEY, talk.now, WALL) is None
    talk.answer(final=False)
    assert kept.record_of(talk.core, KEY, talk.now, WALL) is None


def test_ports_that_somebody_else_has_are_said_and_nothing_is_left_bound() -> None:
    talk = Talk()
    talk.connect()
    record = recorded(talk)
    after = Talk()
    after.binder.refuses = {max(pair.rtp for pair in talk.binder.bound)}
    with pytest.raises(kept.NotKept, match="cannot be had"):
        kept.take_up(after.core, record, after.now, WALL)
    assert after.binder.bound == set()
    assert after.core.keys == []


@pytest.mark.parametrize("low", [19000, 22000])
def test_ports_outside_the_range_are_not_taken(low: int) -> None:
    talk = Talk()
    talk.connect()
    with pytest.raises(kept.NotKept, match="cannot be had"):
        reborn(talk, low=low, high=low + 500)


def test_another_version_a_second_time_and_too_many_are_refused() -> None:
    talk = Talk()
    talk.connect()
    record = recorded(talk)
    with pytest.raises(kept.NotKept, match="version"):
        kept.take_up(Talk().core, {**record, "v": kept.VERSION + 1}, 1.0, WALL)
    with pytest.raises(kept.NotKept, match="already"):
        kept.take_up(talk.core, record, talk.now, WALL)
    with pytest.raises(kept.NotKept, match="too many"):
        kept.take_up(Talk(max_sessions=0).core, record, 1.0, WALL)


def pieces(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where everything is in a record."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = [path] if path else []
    for key, one in inside:
        found += pieces(one, (*path, key))
    return found


def test_a_record_that_lacks_anything_is_refused_and_changes_nothing() -> None:
    talk = Talk()
    talk.connect()
    record = recorded(talk)
    optional = {"carried", "plays", "recorded", "spent"}
    for place in pieces(record):
        if optional & {str(key) for key in place} or not isinstance(place[-1], str):
            continue
        cut = codec.loads(codec.dumps(record))
        owner = cut
        for key in place[:-1]:
            owner = owner[key]
        if place[-1] not in owner:
            continue
        del owner[place[-1]]
        after = Talk()
        with pytest.raises(kept.NotKept):
            kept.take_up(after.core, cut, after.now, WALL)
        assert after.binder.bound == set(), place


def test_changes_are_named_once_and_only_where_somebody_asks() -> None:
    talk = Talk()
    talk.connect()
    assert kept.changed(Talk().core) == []
    kept.follow(talk.core)
    talk.caller.speak(50)
    assert kept.changed(talk.core) == []
    talk.invite(sdp("198.51.100.10", 4002))
    talk.answer()
    assert kept.changed(talk.core) == [KEY]
    talk.core.end(KEY, talk.now)
    assert kept.changed(talk.core) == [KEY]
    assert kept.changed(talk.core) == []


def test_keys_have_names_of_their_own() -> None:
    keys = [("a b", "c"), ("a", "b c"), ("a", ""), ("", "a"), ("a", OWNED + "b"), ("a", "b")]
    assert len({kept.name_of(key) for key in keys}) == len(keys)


def _say(phone: Callable[[Talk], Phone], source: int) -> Callable[[Talk], object]:
    def step(talk: Talk) -> object:
        who = phone(talk)
        if who.relay is None:
            return None
        return who.speak(2, source=Addr(who.media.host, who.media.port + source))

    return step


def _caller(talk: Talk) -> Phone:
    return talk.caller


def _callee(talk: Talk) -> Phone:
    return talk.callee


STEPS: dict[str, Callable[[Talk], object]] = {
    "caller speaks": _say(_caller, 0),
    "callee speaks": _say(_callee, 0),
    "caller from another port": _say(_caller, 10),
    "stranger": lambda talk: (
        talk.caller.relay and talk.arrive(talk.caller.relay, rtp(9, 0xE), Addr("198.51.100.99", 9999))
    ),
    "caller moves": lambda talk: (talk.invite(sdp("198.51.100.10", 4100)), talk.answer()),
    "callee reports": lambda talk: talk.callee.report(),
    "a while": lambda talk: setattr(talk, "now", talk.now + 2.5),
}


@settings(max_examples=60, deadline=None)
@given(
    before=st.lists(st.sampled_from(sorted(STEPS)), max_size=8),
    after=st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=8),
)
def test_who_lived_on_and_who_came_back_do_the_same(before: list[str], after: list[str]) -> None:
    stayed = Talk()
    stayed.invite()
    stayed.answer()
    for step in before:
        STEPS[step](stayed)
    came = Talk(seed=2)
    came.now = stayed.now
    kept.take_up(came.core, recorded(stayed), came.now, WALL)
    came.caller, came.callee = (replace(phone, talk=came, inbox=[]) for phone in stayed.phones[:2])
    came.phones = [came.caller, came.callee]
    for latch in (each for _, _, line in stayed.session().lines() for each in (line.rtp, line.rtcp)):
        latch.tries.clear()  # who was merely tried is not kept
        if latch.best is not None:
            latch.best.since = latch.best.at
    stayed.caller.inbox.clear()
    stayed.callee.inbox.clear()
    for step in after:
        assert STEPS[step](stayed) == STEPS[step](came) or step == "caller moves"
    assert (stayed.caller.inbox, stayed.callee.inbox) == (came.caller.inbox, came.callee.inbox)
    states = [[line.rtp.state for _, _, line in talk.session().lines()] for talk in (stayed, came)]
    assert states[0] == states[1]
    assert State.INIT not in states[1]


def test_a_lent_session_is_its_owners_again() -> None:
    lent = Controller()
    lent.call()
    [key] = lent.core.keys
    record = kept.record_of(lent.core, key, lent.now, WALL)
    assert record is not None
    after = Controller()
    kept.take_up(after.core, codec.loads(codec.dumps(record)), after.now, WALL)
    after.commands.adopt(key, after.now)
    assert after.leased == 4
    assert after.ask("Q call a;1 b;1").startswith("60 ")
    assert after.ask("D call a;1 b;1") == "0"
    assert after.leased == 0
