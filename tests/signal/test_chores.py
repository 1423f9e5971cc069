"""What is done by the clock: asked when it is due, but not a thousand times a second."""

from __future__ import annotations

import pytest
from talk import Talk

from edgesip.signal.chores import FRESH, Chores
from edgesip.signal.proxy.inbound import Note


def chores_of(talk: Talk) -> Chores:
    core = talk.core
    return Chores(talk.core.usrloc, core.saver, core.subscriptions, core.pinger, core.traversal, core.guard)


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
