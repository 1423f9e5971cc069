"""RFC 3263 in words: what is asked for a name, and in which order its hops are tried."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from edgesip.address import Addr
from edgesip.signal.proxy.hops import (
    Answer,
    Found,
    Hop,
    Host,
    Name,
    Naptr,
    Question,
    Settings,
    Srv,
    ordered,
    plan,
)

WAYS = frozenset((transport, family) for transport in ("udp", "tcp", "tls") for family in (4, 6))
ALL = Settings(WAYS)


class Zone:
    """What DNS says, by question; what it does not have does not exist. Writes down what it is asked."""

    def __init__(self, *rows: tuple[str, str, object], dead: tuple[str, ...] = ()) -> None:
        self.rows = rows
        self.dead = dead
        self.asked: list[Question] = []

    def get(self, question: Question) -> Answer | None:
        self.asked.append(question)
        if question.name in self.dead:
            return Answer((), 1.0, True)
        found = [record for name, kind, record in self.rows if (name, kind) == question]
        return Answer(tuple(found), 1.0)  # type: ignore[arg-type]


def a(name: str, ip: str) -> tuple[str, str, object]:
    return name, "AAAA" if ":" in ip else "A", Host(ip)


def srv(
    name: str, target: str, port: int = 5060, priority: int = 10, weight: int = 1
) -> tuple[str, str, object]:
    return name, "SRV", Srv(priority, weight, port, target)


def naptr(name: str, service: str, to: str, order: int = 10, preference: int = 10) -> tuple[str, str, object]:
    return name, "NAPTR", Naptr(order, preference, "s", service, "", to)


def entropy(seed: int) -> Callable[[int], bytes]:
    return random.Random(seed).randbytes


def found(zone: Zone, name: Name, settings: Settings = ALL) -> list[str]:
    result = plan(name, settings, zone, entropy(1))
    assert isinstance(result, Found)
    return [f"{hop.transport}:{hop.addr}" for hop in result.hops]


TRUNK = Zone(
    naptr("trunk.example", "SIP+D2T", "_sip._tcp.trunk.example", order=50),
    naptr("trunk.example", "SIPS+D2T", "_sips._tcp.trunk.example", order=90),
    naptr("trunk.example", "SIP+D2U", "_sip._udp.trunk.example", order=50, preference=50),
    naptr("trunk.example", "SIP+D2S", "_sip._sctp.trunk.example", order=1),
    naptr("trunk.example", "E2U+sip", "elsewhere.example", order=1),
    srv("_sip._tcp.trunk.example", "one.trunk.example", 5070),
    srv("_sip._tcp.trunk.example", "two.trunk.example", 5071, priority=20),
    srv("_sip._udp.trunk.example", "one.trunk.example", 5060),
    srv("_sips._tcp.trunk.example", "one.trunk.example", 5061),
    a("one.trunk.example", "192.0.2.1"),
    a("one.trunk.example", "2001:db8::1"),
    a("two.trunk.example", "192.0.2.2"),
    a("trunk.example", "192.0.2.99"),
)


def test_naptr_orders_the_transports_srv_the_hosts() -> None:
    assert found(TRUNK, Name("trunk.example")) == [
        "tcp:192.0.2.1:5070",
        "tcp:[2001:db8::1]:5070",
        "tcp:192.0.2.2:5071",
        "udp:192.0.2.1:5060",
        "udp:[2001:db8::1]:5060",
        "tls:192.0.2.1:5061",
        "tls:[2001:db8::1]:5061",
    ]


def test_our_own_preference_may_beat_the_order_of_the_records() -> None:
    hops = found(TRUNK, Name("trunk.example"), replace(ALL, naptr_ignore_rfc=True))
    assert [hop.partition(":")[0] for hop in dict.fromkeys(hops)] == ["udp"] * 2 + ["tcp"] * 3 + ["tls"] * 2


def test_a_transport_without_a_listener_or_with_a_negative_preference_is_not_used() -> None:
    udp_only = replace(ALL, ways=frozenset({("udp", 4)}))
    assert found(TRUNK, Name("trunk.example"), udp_only) == ["udp:192.0.2.1:5060"]
    no_udp = replace(ALL, preferences={"udp": -1, "tcp": 20, "tls": -1})
    assert {hop[:3] for hop in found(TRUNK, Name("trunk.example"), no_udp)} == {"tcp"}
    assert found(TRUNK, Name("trunk.example", transport="tls"), udp_only) == []


def test_sips_is_tls_only() -> None:
    assert found(TRUNK, Name("trunk.example", secure=True))[0] == "tls:192.0.2.1:5061"
    assert found(TRUNK, Name("trunk.example", transport="tcp", secure=True))[0] == "tls:192.0.2.1:5061"
    assert found(Zone(a("x.example", "192.0.2.5")), Name("x.example", secure=True)) == ["tls:192.0.2.5:5061"]


def test_a_transport_parameter_skips_naptr_and_a_port_skips_srv() -> None:
    assert found(TRUNK, Name("trunk.example", transport="udp"))[0] == "udp:192.0.2.1:5060"
    TRUNK.asked.clear()
    assert found(TRUNK, Name("trunk.example", 5099)) == ["udp:192.0.2.99:5099"]
    assert {question.kind for question in TRUNK.asked} == {"A", "AAAA"}


def test_without_naptr_all_our_transports_are_looked_for_in_our_order() -> None:
    zone = Zone(
        srv("_sip._tcp.x.example", "h.example"),
        srv("_sip._udp.x.example", "h.example"),
        a("h.example", "192.0.2.1"),
    )
    assert found(zone, Name("x.example")) == ["udp:192.0.2.1:5060", "tcp:192.0.2.1:5060"]


def test_an_address_is_asked_of_nobody() -> None:
    zone = Zone()
    assert found(zone, Name("192.0.2.1")) == ["udp:192.0.2.1:5060"]
    assert found(zone, Name("2001:db8::1", 5070, "tcp")) == ["tcp:[2001:db8::1]:5070"]
    assert not zone.asked


def test_naptr_that_leads_nowhere_is_as_none() -> None:
    zone = Zone(naptr("x.example", "SIP+D2U", "_sip._udp.gone.example"), a("x.example", "192.0.2.1"))
    assert found(zone, Name("x.example")) == ["udp:192.0.2.1:5060"]


def test_a_root_target_means_no_service_and_no_other_way() -> None:
    zone = Zone(srv("_sip._udp.x.example", ""), a("x.example", "192.0.2.1"))
    assert found(zone, Name("x.example", transport="udp")) == []


@pytest.mark.parametrize(
    ("flags", "try_ipv6", "expected"),
    [
        (0, True, ["192.0.2.1", "2001:db8::1"]),
        (1, True, ["192.0.2.1"]),
        (2, True, ["2001:db8::1"]),
        (4, True, ["2001:db8::1", "192.0.2.1"]),
        (0, False, ["192.0.2.1"]),
    ],
)
def test_families(flags: int, try_ipv6: bool, expected: list[str]) -> None:
    settings = replace(ALL, cache_flags=flags, try_ipv6=try_ipv6)
    result = plan(Name("one.trunk.example", 5060), settings, TRUNK, entropy(1))
    assert isinstance(result, Found)
    assert list(result.hops) == [Hop("udp", Addr(ip, 5060)) for ip in expected]


class Partly:
    """Knows only what it was told so far."""

    def __init__(self, zone: Zone) -> None:
        self.zone = zone
        self.told: dict[Question, Answer | None] = {}

    def get(self, question: Question) -> Answer | None:
        return self.told.get(question)


def test_questions_come_in_as_few_rounds_as_there_are_steps() -> None:
    known = Partly(TRUNK)
    rounds: list[list[Question]] = []
    while isinstance(result := plan(Name("Trunk.Example."), ALL, known, entropy(1)), list):
        rounds.append(result)
        known.told |= {question: TRUNK.get(question) for question in result}
    assert [sorted({question.kind for question in one}) for one in rounds] == [
        ["NAPTR"],
        ["SRV"],
        ["A", "AAAA"],
    ]
    assert len(result.hops) == 7


def test_what_nobody_answered_is_told() -> None:
    result = plan(Name("x.example"), ALL, Zone(dead=("x.example",)), entropy(1))
    assert result == Found((), True)
    assert plan(Name("x.example"), ALL, Zone(), entropy(1)) == Found((), False)


def test_hops_are_bounded() -> None:
    rows = [srv("_sip._udp.x.example", f"h{n}.example", priority=n) for n in range(100)]
    rows += [a(f"h{n}.example", f"192.0.2.{m}") for n in range(100) for m in range(10)]
    assert len(found(Zone(*rows), Name("x.example", transport="udp"))) <= 32


# -- RFC 2782


def first_of(records: list[Srv], draws: int = 1000) -> Counter[str]:
    random_octets = entropy(7)
    return Counter(ordered(records, True, random_octets)[0].target for _ in range(draws))


def test_weights_are_shares() -> None:
    shares = first_of(
        [Srv(1, 60, 5060, "a"), Srv(1, 30, 5060, "b"), Srv(1, 10, 5060, "c"), Srv(2, 999, 5060, "d")]
    )
    assert 550 <= shares["a"] <= 650
    assert 255 <= shares["b"] <= 345
    assert 70 <= shares["c"] <= 130
    assert "d" not in shares


def test_records_without_weight_share_alike_and_are_rare_beside_others() -> None:
    alike = first_of([Srv(1, 0, 5060, name) for name in "abcd"])
    assert all(180 <= alike[name] <= 320 for name in "abcd")
    beside = first_of([Srv(1, 99, 5060, "a"), Srv(1, 0, 5060, "b"), Srv(1, 0, 5060, "c")], 5000)
    assert 0 < beside["b"] < 100
    assert 0 < beside["c"] < 100


def test_every_record_is_tried_once_priority_by_priority() -> None:
    records = [
        Srv(priority, weight, 5060, f"{priority}-{weight}") for priority in (3, 1, 2) for weight in (0, 5, 9)
    ]
    for seed in range(20):
        targets = [one.target for one in ordered(records, True, entropy(seed))]
        assert sorted(targets) == sorted(one.target for one in records)
        assert [target[0] for target in targets] == list("111222333")


def test_without_balancing_the_heaviest_is_first() -> None:
    records = [Srv(2, 9, 5060, "d"), Srv(1, 1, 5060, "c"), Srv(1, 5, 5060, "b"), Srv(1, 9, 0, "no port")]
    assert [one.target for one in ordered(records, False, entropy(1))] == ["b", "c", "d"]
