"""usrloc's own keepalive: every contact asked over its own transport, and given up when it is silent."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import pytest
from talk import SERVER, Talk
from test_nat_keepalive import answer, binding, table

from edgesip.address import Addr, Flow
from edgesip.signal.location.usrloc import Usrloc, UsrlocSettings
from edgesip.signal.nat.learning import Learning
from edgesip.signal.nat.learning import Settings as LearningSettings
from edgesip.signal.nat.liveness import Liveness, Settings
from edgesip.signal.wire.message import Request, parse


def dice() -> Iterator[int]:
    yield from itertools.cycle((0, 255, 128, 64))


def keeper(settings: Settings) -> Liveness:
    throws = dice()
    made = Liveness(
        lambda count: bytes([next(throws)]) * count, lambda local: local, Learning(LearningSettings(25.0, 0))
    )
    made.use(settings)
    return made


def asked(
    liveness: Liveness, usrloc: Usrloc, start: float, end: float
) -> Iterator[tuple[float, Flow, Request]]:
    """Who is asked what and when: the loop calls `due` at each deadline."""
    now = start
    while now <= end:
        for flow, data in liveness.due(usrloc, now):
            request = parse(data)
            assert isinstance(request, Request)
            yield now, flow, request
        deadline = liveness.deadline(now)
        assert deadline is not None
        assert now < deadline <= now + 1.0
        now = deadline


def test_every_contact_is_asked_in_each_round_and_evenly() -> None:
    usrloc = table(*[binding(number) for number in range(1000)])
    moments: dict[Flow, list[float]] = {}
    seconds = [0] * 240
    for now, flow, _ in asked(keeper(Settings(1, 40.0, 20.0)), usrloc, 1000.0, 1239.9):
        moments.setdefault(flow, []).append(now)
        seconds[int(now - 1000.0)] += 1
    assert len(moments) == 1000
    gaps = [later - earlier for times in moments.values() for earlier, later in itertools.pairwise(times)]
    assert min(gaps) >= 39.9
    assert max(gaps) <= 60.1
    assert max(gaps) - min(gaps) > 15.0, "each round has a length of its own"
    assert max(seconds) < 2.5 * 1000 / 40


def test_without_chance_a_round_is_as_long_as_the_interval() -> None:
    usrloc = table(binding(1))
    times = [now for now, _, _ in asked(keeper(Settings(1, 30.0, 0.0)), usrloc, 0.0, 300.0)]
    assert [later - earlier for earlier, later in itertools.pairwise(times)] == pytest.approx(
        [30.0] * 9, abs=0.1
    )


def test_what_is_asked() -> None:
    usrloc = table(replace(binding(7), aor="u 7#", path="<sip:192.0.2.9;lr>"))
    liveness = keeper(Settings(1, method="INFO", sender="sip:server@example.net", domain="example.net"))
    _, flow, request = next(asked(liveness, usrloc, 0.0, 60.0))
    assert flow == binding(7).flow, "the way that the REGISTER came"
    assert (request.method, request.uri) == ("INFO", binding(7).contact)
    assert str(request.headers.from_.uri) == "sip:server@example.net"
    assert str(request.headers.to.uri) == "sip:u%207%23@example.net"
    assert [str(one) for one in request.headers.routes] == ["<sip:192.0.2.9;lr>"]
    plain = table(binding(7))
    _, _, request = next(asked(keeper(Settings(1)), plain, 0.0, 60.0))
    assert str(request.headers.from_.uri) == "sip:ping@10.0.0.1:5060"
    assert str(request.headers.to.uri) == "sip:u7@10.0.0.1"
    whole = Usrloc(UsrlocSettings(use_domain=True))
    whole.put(replace(binding(7), aor="u7@one.example"))
    _, _, request = next(asked(keeper(Settings(1, domain="other.example")), whole, 0.0, 60.0))
    assert str(request.headers.to.uri) == "sip:u7@one.example"


CROWD = (
    replace(binding(1), nated=False),
    binding(2),
    replace(binding(3, transport="tcp"), nated=False),
    binding(4, transport="tls"),
    replace(binding(5), expires=1.0),
)


@pytest.mark.parametrize(
    ("mode", "whom"), [(1, [1, 2, 3, 4]), (2, [2, 4]), (3, [2, 4]), (4, [1, 2]), (5, [1, 2]), (7, [2])]
)
def test_who_is_asked_is_what_the_bits_say(mode: int, whom: list[int]) -> None:
    found = asked(keeper(Settings(mode, 40.0, 0.0)), table(*CROWD), 100.0, 139.0)
    assert sorted(flow.remote.host for _, flow, _ in found) == [f"198.51.0.{number}" for number in whom]


def test_the_request_names_its_transport_and_zero_is_off() -> None:
    _, flow, request = next(asked(keeper(Settings(1)), table(binding(4, transport="tls")), 0.0, 60.0))
    assert (flow.transport, request.headers.via.transport) == ("tls", "TLS")
    off = keeper(Settings(0))
    assert off.deadline(0.0) is None
    assert off.due(table(binding(1)), 0.0) == []


def test_an_answer_is_measured_for_all_lines_of_a_phone_and_of_a_packed_one_too() -> None:
    usrloc = Usrloc(warm=0)
    usrloc.put(binding(1))
    liveness = keeper(Settings(1))
    now, _, request = next(asked(liveness, usrloc, 100.0, 160.0))
    assert liveness.hear(usrloc, answer(request, 404), now + 0.0123)
    (one,) = usrloc.get_all()
    assert one.last_keepalive == now + 0.0123
    assert one.roundtrip == pytest.approx(0.0123, abs=1e-5)
    assert liveness.counters["usrloc:ka_answers"] == 1
    assert not liveness.hear(usrloc, answer(request), now + 33.0), "too late"


def test_only_some_answers_count_where_that_is_said() -> None:
    usrloc = table(binding(1))
    liveness = keeper(Settings(1, reply_codes=(2, 404)))
    now, _, request = next(asked(liveness, usrloc, 100.0, 160.0))
    for status, counted in ((503, 0), (405, 0), (404, 1), (200, 2), (202, 3)):
        assert liveness.hear(usrloc, answer(request, status), now + 0.1), "ours in any case"
        assert liveness.counters["usrloc:ka_answers"] == counted


def test_who_does_not_answer_is_given_up_and_who_does_is_not() -> None:
    usrloc = table(
        binding(1), binding(2), binding(3, transport="tcp"), replace(binding(4), expires=float("inf"))
    )
    liveness = keeper(Settings(1, 20.0, 0.0, timeout=70.0, log_level="info"))
    gone: dict[str, float] = {}
    there = 0
    for now, flow, request in asked(liveness, usrloc, 1000.0, 1200.0):
        if flow.remote == binding(1).flow.remote:
            liveness.hear(usrloc, answer(request), now + 0.1)
        for news in liveness.news():
            if news.event == "contact is there":
                there += 1
                assert dict(news.fields)["milliseconds"] == 100.0
                continue
            assert news.event == "contact does not answer pings"
            gone[str(dict(news.fields)["aor"])] = now
        usrloc.expire(now)
    assert sorted(gone) == ["u2", "u3"], "over any transport; what is there for ever stays"
    assert all(1070.0 < when <= 1091.5 for when in gone.values())
    assert {one.aor for one in usrloc.get_all()} == {"u1", "u4"}
    assert liveness.counters["usrloc:ka_timeouts"] == 2
    assert there >= 9


def test_nathelper_need_not_ping_where_somebody_was_just_asked() -> None:
    learning = Learning(LearningSettings(25.0, 120.0))
    usrloc = table(binding(1))
    flow = binding(1).flow
    learning.registered(binding(1).ruid, flow, None, False, 1000.0)
    liveness = Liveness(lambda count: bytes(count), lambda local: local, learning)
    liveness.use(Settings(1, 20.0, 0.0))
    now, _, request = next(asked(liveness, usrloc, 1030.0, 1060.0))
    assert learning.rests(flow, now + 0.1), "the question has opened the way as a ping does"
    assert liveness.hear(usrloc, answer(request), now + 0.2)
    assert learning.rests(flow, now + 10.0)
    assert not learning.rests(flow, now + 30.0)


# -- in the house --------------------------------------------------------------------------------------


def test_a_phone_over_tcp_is_asked_answers_and_stays_until_it_does_not() -> None:
    talk = Talk()
    talk.core.liveness.use(Settings(1, 20.0, 0.0, timeout=50.0))
    alice, bob = talk.phone("alice", transport="tcp"), talk.phone("bob", nat=True)
    talk.register(alice, bob)
    for _ in range(6):
        talk.wait(20.0)
        talk.sent.sort(key=lambda sent: sent[0].remote != alice.at)
        asks = talk.request(alice, "OPTIONS")
        assert asks.headers.via.transport == "TCP"
        talk.sent.clear()  # bob hears nothing of it
        talk >> alice.reply(asks, 200)
    assert [one.aor for one in talk.core.usrloc.get_all()] == ["alice"]
    assert talk.core.liveness.counters["usrloc:ka_timeouts"] == 1
    assert "contact does not answer pings" in [one.event for one in talk.notes]
    assert talk.core.counters["core:drop_replies"] == 0, "answers end here"


def test_addresses_of_ours_are_told_as_they_are_reached() -> None:
    talk = Talk()
    talk.core.liveness.use(Settings(1, 5.0, 0.0))
    talk.register(talk.phone("alice", at=Addr("198.51.100.20", 5060)))
    talk.wait(6.0)
    asks = talk.request(Addr("198.51.100.20", 5060), "OPTIONS")
    assert asks.headers.via.host == SERVER.host
