"""The pinger and what is learned together: lines of one phone, front proxies, switches while it runs."""

from __future__ import annotations

from dataclasses import replace

from test_nat_keepalive import answer, binding, entropy, run, table

from edgesip.signal.location.usrloc import Usrloc
from edgesip.signal.nat.keepalive import Pinger, Settings
from edgesip.signal.nat.learning import Learning
from edgesip.signal.nat.learning import Settings as LearningSettings
from edgesip.signal.wire.message import Request, parse


def learner(longest: float = 120.0) -> Pinger:
    return Pinger(Settings(25.0), entropy, lambda local: local, Learning(LearningSettings(25.0, longest)))


def moments(pings: Pinger, usrloc: Usrloc, start: float, end: float, answers: bool = True) -> list[float]:
    """When something was sent, each ping answered a tenth of a second later or not at all."""
    found = []
    for now, sent in run(pings, usrloc, start, end):
        for _, data in sent:
            found.append(now)
            request = parse(data)
            assert isinstance(request, Request)
            if answers:
                assert pings.hear(usrloc, answer(request), now + 0.1)
    return found


def test_a_phone_that_nothing_is_known_of_is_pinged_at_the_usual_interval() -> None:
    times = moments(learner(), table(binding(1)), 1000.0, 2000.0)
    assert 38 <= len(times) <= 41


def test_one_ping_is_for_all_lines_of_a_phone_and_its_answer_too() -> None:
    lines = [replace(binding(number), flow=binding(1).flow) for number in range(1, 6)]
    usrloc = table(*lines)
    times = moments(learner(), usrloc, 1000.0, 2000.0)
    assert 40 <= len(times) <= 75  # of 200: whose look comes first pings for the others
    assert len({one.last_keepalive for one in usrloc.get_all()}) == 1
    assert all(one.roundtrip is not None for one in usrloc.get_all())


def test_phones_behind_a_front_proxy_are_pinged_each_for_itself() -> None:
    crowd = [replace(binding(number), flow=binding(1).flow) for number in range(1, 41)]
    usrloc = table(*crowd)
    pings = learner()
    times = moments(pings, usrloc, 1000.0, 1250.0)
    assert 380 <= len(times) <= 420
    assert all(one.roundtrip is not None for one in usrloc.get_all())
    assert len(pings.learning) == 0


def test_learning_is_switched_off_and_on_without_a_pause_in_the_pings() -> None:
    pings, usrloc = learner(), table(binding(1))
    moments(pings, usrloc, 50_000.0, 50_300.0)
    pings.learning.use(LearningSettings(25.0, 0.0))
    off = moments(pings, usrloc, 50_300.0, 50_600.0)
    pings.learning.use(LearningSettings(25.0, 120.0))
    on = moments(pings, usrloc, 50_600.0, 50_900.0)
    assert 11 <= len(off) <= 13
    assert 11 <= len(on) <= 13
    pings.use(Settings(50.0))
    assert 5 <= len(moments(pings, usrloc, 50_900.0, 51_200.0)) <= 7


def test_the_interval_is_told_of_who_is_pinged() -> None:
    pings, one = learner(), binding(1)
    assert pings.interval_for(one.flow, 10.0) == 25.0
    assert pings.interval_for(binding(2, transport="tcp").flow, 10.0) == 0.0
    pings.switch(False)
    assert pings.interval_for(one.flow, 10.0) == 0.0


def test_four_zero_octets_teach_nothing() -> None:
    usrloc = table(binding(1))
    learning = Learning(LearningSettings())
    pings = Pinger(replace(Settings(25.0), sipping_bflag=-1), entropy, lambda local: local, learning)
    learning.registered("r", binding(1).flow, None, True, 1000.0)
    sent = sum(len(sent) for _, sent in run(pings, usrloc, 1000.0, 2000.0))
    assert 38 <= sent <= 42
    learning.registered("r", binding(1).flow, binding(1).flow, True, 2000.0)
    assert learning.interval_for(binding(1).flow, 2000.0) == 25.0
