"""Pings: every UDP binding once per interval, evenly, and only real answers count."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest

from edgesip.address import Addr, Flow
from edgesip.signal.location.usrloc import Binding, Usrloc
from edgesip.signal.nat.keepalive import Pinger, Settings
from edgesip.signal.wire.message import Request, Response, parse, reply_to

US = Addr("10.0.0.1", 5060)
PUBLIC = Addr("203.0.113.1", 5060)


def entropy(count: int) -> bytes:
    return bytes(range(1, count + 1))


def other_entropy(count: int) -> bytes:
    return bytes(range(101, 101 + count))


def pinger(interval: float = 25.0) -> Pinger:
    return Pinger(Settings(interval), entropy, lambda local: PUBLIC if local == US else local)


def binding(number: int, transport: str = "udp", expires: float = 1e9, local: Addr = US) -> Binding:
    source = Addr(f"198.51.{number // 250 % 250}.{number % 250}", 40000)
    return Binding(
        aor=f"u{number}",
        contact=f"sip:u{number}@192.168.1.10:5060;ob",
        expires=expires,
        q=-1.0,
        call_id="c",
        cseq=1,
        received="",
        flow=Flow(transport, local, source),
        user_agent="",
        nated=True,
        instance="",
        reg_id=0,
        ruid=f"uloc-{number:016x}",
    )


def table(*bindings: Binding) -> Usrloc:
    usrloc = Usrloc()
    usrloc.load(bindings)
    return usrloc


Moment = tuple[float, list[tuple[Flow, bytes]]]


def run(pings: Pinger, usrloc: Usrloc, start: float, end: float) -> Iterator[Moment]:
    """What a loop does: call `due` at each deadline."""
    now = start
    while now <= end:
        yield now, pings.due(usrloc, now)
        deadline = pings.deadline(now)
        assert deadline is not None
        assert now < deadline <= now + 1.0
        now = deadline


def one_ping(usrloc: Usrloc, pings: Pinger) -> tuple[float, Flow, Request]:
    for now, sent in run(pings, usrloc, 100.0, 126.0):
        for flow, data in sent:
            message = parse(data)
            assert isinstance(message, Request)
            return now, flow, message
    raise AssertionError("no ping within an interval")


def answer(ping: Request, status: int = 200) -> Response:
    """What the phone sends, as the parser reads it."""
    response = parse(bytes(reply_to(ping, status, to_tag="phone")))
    assert isinstance(response, Response)
    return response


@pytest.mark.parametrize("interval", [4.0, 25.0, 60.0])
def test_each_binding_is_pinged_once_per_interval_and_evenly(interval: float) -> None:
    usrloc = table(*[binding(number) for number in range(2000)])
    moments: dict[Flow, list[float]] = {}
    per_tenth: Counter[int] = Counter()
    for now, sent in run(pinger(interval), usrloc, 1000.0, 1000.0 + 3 * interval):
        for flow, _ in sent:
            moments.setdefault(flow, []).append(now)
            per_tenth[int((now - 1000.0) / interval * 10)] += 1
    assert len(moments) == 2000
    for times in moments.values():
        assert times[0] <= 1000.0 + interval + 0.1
        assert len(times) in (3, 4)
        for earlier, later in itertools.pairwise(times):
            assert later - earlier == pytest.approx(interval, abs=0.06)
    assert all(150 < per_tenth[tenth] < 250 for tenth in range(1, 30))


def test_a_ping_is_an_options_to_the_contact_by_its_own_flow() -> None:
    _, flow, ping = one_ping(table(binding(7)), pinger())
    assert flow == Flow("udp", US, Addr("198.51.0.7", 40000))
    assert ping.method == "OPTIONS"
    assert ping.uri == "sip:u7@192.168.1.10:5060;ob"
    via = ping.headers.via
    assert (via.transport, via.host, via.port, via.rport) == ("UDP", "203.0.113.1", 5060, "")
    assert via.branch.startswith("z9hG4bK")
    assert str(ping.headers.from_.uri) == "sip:ping@203.0.113.1:5060"
    assert ping.headers.from_.tag
    assert str(ping.headers.to.uri) == ping.uri
    assert ping.headers.to.tag == ""
    assert ping.headers.max_forwards == 70
    assert ping.headers.get("Content-Length") == "0"
    assert ping.headers.get("Contact") is None


def test_ipv6_is_written_in_brackets() -> None:
    six = Addr("2001:db8::1", 5060)
    _, flow, ping = one_ping(table(binding(7, local=six)), pinger())
    assert flow.local == six
    assert ping.headers.via.host == "2001:db8::1"


def test_a_new_binding_is_pinged_within_one_interval() -> None:
    pings, usrloc = pinger(4.0), table()
    for now, sent in run(pings, usrloc, 1000.0, 1020.0):
        if now >= 1010.0 and not len(usrloc):
            usrloc.put(binding(3))
            added = now
        if sent:
            assert now - added <= 4.0
            return
    pytest.fail("never pinged")


def test_only_living_udp_bindings_are_pinged() -> None:
    usrloc = table(
        binding(1), binding(2, transport="tcp"), binding(3, transport="wss"), binding(4, expires=900.0)
    )
    seen = {flow for _, sent in run(pinger(), usrloc, 1000.0, 1030.0) for flow, _ in sent}
    assert seen == {binding(1).flow}


def test_a_removed_binding_is_pinged_no_more() -> None:
    pings, usrloc = pinger(), table(binding(1))
    one_ping(usrloc, pings)
    usrloc.remove(binding(1))
    assert not [sent for _, sent in run(pings, usrloc, 130.0, 190.0) if sent]


@pytest.mark.parametrize("interval", [0.0, -1.0])
def test_interval_0_means_no_pings(interval: float) -> None:
    pings, usrloc = pinger(interval), table(binding(1))
    assert pings.deadline(100.0) is None
    assert [pings.due(usrloc, float(now)) for now in range(100, 200)] == [[]] * 100


def test_the_default_interval_is_25_seconds() -> None:
    assert Settings().interval == 25.0


def test_a_late_caller_gets_each_binding_once_and_in_portions() -> None:
    pings, usrloc = pinger(), table(*[binding(number) for number in range(3000)])
    pings.due(usrloc, 1000.0)
    seen: Counter[Flow] = Counter()
    largest, now = 0, 1400.0  # the process was stopped for 16 intervals
    while now < 1401.5:
        sent = pings.due(usrloc, now)
        largest = max(largest, len(sent))
        seen.update(flow for flow, _ in sent)
        deadline = pings.deadline(now)
        assert deadline is not None
        now = deadline
    assert 1000 <= largest < 1050
    assert len(seen) == 3000
    assert sum(seen.values()) < 3300  # the moments of 1.5 s came round again, no more


def test_a_new_process_goes_on_where_the_old_one_was() -> None:
    usrloc = table(binding(7))
    before, _, _ = one_ping(usrloc, pinger())
    again = Pinger(Settings(25.0), other_entropy, lambda local: local)
    first = next(now for now, sent in run(again, usrloc, before + 5.0, before + 40.0) if sent)
    assert first - before == pytest.approx(25.0, abs=0.06)


@pytest.mark.parametrize("status", [200, 404, 486, 501])
def test_any_answer_counts(status: int) -> None:
    pings, usrloc = pinger(), table(binding(7))
    now, _, ping = one_ping(usrloc, pings)
    response = answer(ping, status)
    assert pings.answered(response, now + 0.25) == binding(7).ruid
    assert pings.hear(usrloc, response, now + 0.25)
    (heard,) = usrloc.get_all()
    assert heard.last_keepalive == now + 0.25
    assert heard.roundtrip == pytest.approx(0.25, abs=0.002)


def test_an_answer_for_a_binding_that_is_gone_is_still_ours() -> None:
    pings, usrloc = pinger(), table(binding(7))
    now, _, ping = one_ping(usrloc, pings)
    usrloc.remove(binding(7))
    assert pings.hear(usrloc, answer(ping), now)
    assert usrloc.get_all() == []


def test_an_answer_after_32_seconds_says_nothing() -> None:
    pings, usrloc = pinger(), table(binding(7))
    now, _, ping = one_ping(usrloc, pings)
    assert pings.answered(answer(ping), now + 31.9)
    assert pings.answered(answer(ping), now + 33.0) is None
    assert not pings.hear(usrloc, answer(ping), now + 33.0)


def changed(ping: Request, old: str, new: str) -> Response:
    data = bytes(answer(ping))
    assert old.encode() in data
    response = parse(data.replace(old.encode(), new.encode()))
    assert isinstance(response, Response)
    return response


def test_what_only_looks_like_an_answer_is_none() -> None:
    pings, usrloc = pinger(), table(binding(7))
    now, _, ping = one_ping(usrloc, pings)
    ruid, tag, branch = binding(7).ruid, ping.headers.from_.tag, ping.headers.via.branch
    call_id = ping.headers.call_id
    top = f"Via: {ping.headers.get('Via')}"
    for old, new in (
        (ruid, binding(8).ruid),  # another binding
        (f".{tag}@", f".{'0' * len(tag)}@"),  # another signature
        (f".{tag}@", ".@"),
        (f".{tag}@", f".{chr(0x17F) * len(tag)}@"),
        (call_id, "np-"),
        (call_id, "np-01020304-"),
        (call_id, "somebody-else"),
        (branch, "z9hG4bKother"),
        ("1 OPTIONS", "2 OPTIONS"),
        ("1 OPTIONS", "1 INVITE"),
        (top, f"{top}\r\n{top}"),  # came through somebody else
    ):
        response = changed(ping, old, new)
        assert pings.answered(response, now) is None, (old, new)
        assert not pings.hear(usrloc, response, now)
    assert usrloc.get_all() == [binding(7)]


def test_an_answer_to_another_process_is_not_ours() -> None:
    usrloc = table(binding(7))
    now, _, ping = one_ping(usrloc, Pinger(Settings(), other_entropy, lambda local: local))
    assert pinger().answered(answer(ping), now) is None


@pytest.mark.pure
def test_nothing_is_kept_per_binding() -> None:
    pings, usrloc = pinger(), table(*[binding(number) for number in range(500)])
    rest = ("_round", "counters")
    before = {name: value for name, value in vars(pings).items() if name not in rest}
    sent = sum(len(sent) for _, sent in run(pings, usrloc, 1000.0, 1026.0))
    assert sent >= 500
    assert {name: value for name, value in vars(pings).items() if name not in rest} == before


# -- who is pinged, and how (nat.md §2.7) ----------------------------------------------------------------

ZEROS = bytes(4)


def asked(settings: Settings, *bindings: Binding) -> dict[str, bytes]:
    """What each contact is sent within one interval: its user and the octets."""
    pings = Pinger(settings, entropy, lambda local: PUBLIC if local == US else local)
    usrloc = table(*bindings)
    names = {one.flow.remote: one.aor for one in bindings}
    found: dict[str, bytes] = {}
    for _, sent in run(pings, usrloc, 1000.0, 1000.0 + settings.interval - 1):
        found |= {names.get(flow.remote, str(flow)): data for flow, data in sent}
    return found


def contact(number: int, **more: object) -> Binding:
    return replace(binding(number), **more)  # type: ignore[arg-type]


def test_nated_only_leaves_the_others_alone_and_asks_those_that_are_marked() -> None:
    found = asked(
        Settings(ping_nated_only=True),
        contact(1, nated=False),
        contact(2, nated=True),
        contact(3, nated=True, cflags=1 << 7),
        contact(4, nated=False, cflags=1 << 7),
    )
    assert set(found) == {"u2", "u3"}
    assert found["u2"] == ZEROS
    assert found["u3"].startswith(b"OPTIONS ")


def test_without_nated_only_the_flag_asks_everybody() -> None:
    found = asked(Settings(), contact(1, nated=False), contact(2, cflags=1 << 7))
    assert [data[:8] for data in found.values()] == [b"OPTIONS "] * 2


def test_without_a_flag_everybody_gets_four_octets() -> None:
    found = asked(Settings(sipping_bflag=-1), contact(1), contact(2, cflags=1 << 7))
    assert list(found.values()) == [ZEROS] * 2


def test_the_flag_of_nat_may_be_the_one_that_asks() -> None:
    found = asked(Settings(ping_nated_only=True, sipping_bflag=6), contact(1, nated=True))
    assert found["u1"].startswith(b"OPTIONS ")


def test_a_contact_that_wants_no_pings_gets_none() -> None:
    found = asked(Settings(natping_disable_bflag=3), contact(1, cflags=1 << 3), contact(2))
    assert set(found) == {"u2"}


def test_method_and_sender_are_those_of_the_profile() -> None:
    settings = Settings(sipping_method="INFO", sipping_from="sip:pinger@example.net")
    pings, usrloc = Pinger(settings, entropy, lambda local: local), table(binding(7))
    now, _, ping = one_ping(usrloc, pings)
    assert (ping.method, str(ping.headers.cseq)) == ("INFO", "1 INFO")
    assert str(ping.headers.from_.uri) == "sip:pinger@example.net"
    assert pings.hear(usrloc, answer(ping), now)


def test_every_ping_may_leave_by_one_socket_of_its_family() -> None:
    force = Addr("10.0.0.2", 5070)
    usrloc = table(binding(7))
    _, flow, ping = one_ping(usrloc, Pinger(Settings(force_socket=force), entropy, lambda local: local))
    assert flow == Flow("udp", force, binding(7).flow.remote)
    assert ping.headers.via.host == "10.0.0.2"
    six = contact(8, flow=Flow("udp", Addr("2001:db8::1", 5060), Addr("2001:db8::8", 40000)))
    _, flow, _ = one_ping(table(six), Pinger(Settings(force_socket=force), entropy, lambda local: local))
    assert flow == six.flow


@pytest.mark.parametrize(
    ("path", "remote"),
    [
        ("<sip:192.0.2.50:5070;lr>", Addr("192.0.2.50", 5070)),
        ("<sip:192.0.2.50;lr>,<sip:192.0.2.60;lr>", Addr("192.0.2.50", 5060)),
        ("<sip:proxy.example.net;lr>", Addr("198.51.0.7", 40000)),
        ("<sip:192.0.2.50;transport=tcp;lr>", Addr("198.51.0.7", 40000)),
        ("<sip:[2001:db8::50];lr>", Addr("198.51.0.7", 40000)),
        ("<sip:192", Addr("198.51.0.7", 40000)),
    ],
)
def test_a_stored_path_is_the_way(path: str, remote: Addr) -> None:
    usrloc = table(contact(7, path=path))
    _, flow, ping = one_ping(usrloc, pinger())
    assert flow.remote == remote
    assert ping.headers.get("Route") == path
    assert ping.uri == "sip:u7@192.168.1.10:5060;ob"
    back = Pinger(Settings(ignore_path=True), entropy, lambda local: local)
    _, flow, ping = one_ping(usrloc, back)
    assert flow == binding(7).flow
    assert "Route" not in ping.headers


def test_who_does_not_answer_is_given_up_and_who_does_is_not() -> None:
    settings = Settings(interval=20.0, timeout=60.0)
    pings = Pinger(settings, entropy, lambda local: local)
    usrloc = table(binding(1), contact(2, expires=1e9), contact(3, expires=float("inf")))
    told: list[str] = []
    given_up: dict[str, float] = {}
    for now, sent in run(pings, usrloc, 1000.0, 1200.0):
        for flow, data in sent:
            ping = parse(data)
            assert isinstance(ping, Request)
            if flow.remote == binding(1).flow.remote:
                pings.hear(usrloc, answer(ping, 404), now + 0.1)
        for news in pings.news():
            told.append(dict(news.fields)["aor"])  # type: ignore[arg-type]
            given_up[told[-1]] = now
        usrloc.expire(now)
    assert told == ["u2"], "once, and nobody who answers or is permanent"
    assert 1060.0 < given_up["u2"] <= 1081.0
    assert {one.aor for one in usrloc.get_all()} == {"u1", "u3"}
    assert pings.counters["nathelper:timeouts"] == 1
    assert pings.counters["nathelper:answers"] >= 9


def test_a_contact_that_is_given_up_has_ten_seconds_and_may_come_back() -> None:
    pings = Pinger(Settings(interval=20.0, timeout=60.0), entropy, lambda local: local)
    usrloc = table(contact(2, expires=1e9))
    now = next(now for now, _ in run(pings, usrloc, 1000.0, 1200.0) if pings.news())
    (left,) = usrloc.get_all()
    assert left.expires == now + 10.0
    usrloc.put(replace(left, expires=now + 3600.0, last_modified=now + 5.0))  # it registers again
    later = [sent for _, sent in run(pings, usrloc, now + 5.0, now + 30.0) if sent]
    assert later, "it is pinged again"
    assert not pings.news()


def test_nobody_is_given_up_for_not_answering_four_octets_or_while_nobody_asked() -> None:
    zeros = Pinger(Settings(interval=20.0, timeout=60.0, sipping_bflag=-1), entropy, lambda local: local)
    usrloc = table(binding(1))
    for _ in run(zeros, usrloc, 1000.0, 1200.0):
        assert not zeros.news()
    stopped = Pinger(Settings(interval=20.0, timeout=60.0), entropy, lambda local: local)
    stopped.switch(False)
    assert stopped.deadline(1000.0) is None
    assert stopped.due(usrloc, 1000.0) == []
    stopped.switch(True)
    for now, _ in run(stopped, usrloc, 2000.0, 2055.0):  # it was silent for 1000 s, but not asked
        assert not stopped.news(), now


def test_switched_off_nobody_is_covered() -> None:
    pings, usrloc = pinger(), table(binding(1), binding(2, transport="tcp"))
    assert pings.covers(usrloc, binding(1).flow)
    assert not pings.covers(usrloc, binding(2, transport="tcp").flow)
    assert not pings.covers(usrloc, binding(3).flow)
    pings.switch(False)
    assert not pings.covers(usrloc, binding(1).flow)
    pings.switch(True)
    pings.use(Settings(ping_nated_only=True))
    assert pings.covers(usrloc, binding(1).flow)
    pings.use(Settings(0.0))
    assert not pings.covers(usrloc, binding(1).flow)


def test_other_settings_take_effect_at_once() -> None:
    pings, usrloc = pinger(3600.0), table(*[binding(number) for number in range(50)])
    pings.due(usrloc, 1000.0)
    pings.use(Settings(10.0, sipping_bflag=-1))
    found = [data for _, sent in run(pings, usrloc, 1000.5, 1010.5) for _, data in sent]
    assert set(found) == {ZEROS}
    assert len(found) >= 50
    assert pings.counters["nathelper:udp_pings"] == len(found)
