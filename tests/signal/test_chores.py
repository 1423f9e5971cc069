"""What is done by the clock: asked when it is due, but not a thousand times a second."""

from __future__ import annotations

import pytest
from talk import Talk

from edgesip.signal.chores import FRESH, Chores
from edgesip.signal.proxy.inbound import Note
from edgesip.signal.transaction.timers import Timers


def chores_of(talk: Talk) -> Chores:
    core = talk.core
    rooms = (core.subscriptions, core.pinger, core.liveness, core.traversal, core.guard, core.admission)
    return Chores(core.usrloc, core.saver, *rooms)


def test_a_binding_that_ends_is_waited_for_and_taken_out() -> None:
    talk = Talk()
    talk.register(talk.phone("alice"))
    chores = chores_of(talk)
    chores.tick(talk.now, [])
    assert talk.now < chores.deadline(talk.now) <= talk.now + 3600
    end = max(one.expires for one in talk.core.usrloc.get_all())
    events = chores.tick(end + 0.001, [])
    assert [one.event for one in events if isinstance(one, Note)] == ["contact expired"]
    assert len(talk.core.usrloc) == 0


def test_what_is_fresh_is_not_asked_for_again_and_nothing_is_later_for_it() -> None:
    talk = Talk()
    chores = chores_of(talk)
    first = chores.deadline(talk.now)
    talk.register(talk.phone("alice"))
    again = chores.deadline(talk.now + FRESH / 2)
    assert again == pytest.approx(min(first, talk.now + FRESH))
    assert chores.deadline(talk.now + FRESH) < first


def test_very_many_deadlines_are_taken_in_parts() -> None:
    timers: Timers[int] = Timers()
    for number in range(3000):
        timers.set(number, 10.0 + number / 1000)
    first = timers.due(20.0, 500)
    assert 500 <= len(first) < 510
    assert (timers.deadline() or 0) < 20.0
    rest = timers.due(20.0)
    assert [*first, *rest] == sorted(range(3000), key=lambda number: int((10.0 + number / 1000) * 1024))
    assert len(timers) == 0
