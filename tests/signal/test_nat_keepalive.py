"""Pings: every UDP binding once per interval, evenly, and only real answers count."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator

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
    before = {name: value for name, value in vars(pings).items() if name not in ("_done", "_next")}
    sent = sum(len(sent) for _, sent in run(pings, usrloc, 1000.0, 1026.0))
    assert sent >= 500
    assert {name: value for name, value in vars(pings).items() if name not in ("_done", "_next")} == before
