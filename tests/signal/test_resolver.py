"""Names to hops: the hosts file first, one question for all who wait, bounds on everything."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from edgesip.address import Addr
from edgesip.signal.net import resolver
from edgesip.signal.net.resolver import AskSettings, Resolver, Unanswered
from edgesip.signal.proxy.dns_cache import CacheSettings
from edgesip.signal.proxy.hops import Found, Hop, Host, Name, Question, Settings

T = TypeVar("T")
ZONE = """
trunk.example 60 A 192.0.2.7
trunk.example 60 A 192.0.2.8
trunk.example 60 AAAA 2001:db8::7
_sip._udp.srv.example 60 SRV 20 0 5070 second.example.
_sip._udp.srv.example 60 SRV 10 0 5065 First.Example.
first.example 60 A 192.0.2.1
second.example 60 A 192.0.2.2
alias.example 5 CNAME trunk.example.
cut.example 5 CNAME trunk.example.
half.example 60 A 192.0.2.60
spelled.example 60 AAAA ::ffff:127.0.0.1
once.example 0 A 192.0.2.50
glued.example 60 NAPTR 10 10 "s" "SIP+D2T" "" _sip._tcp.glued.example.
_sip._tcp.glued.example 60 SRV 10 0 5060 first.example.
loop.example 5 CNAME loop.example.
"""
WAYS = frozenset({("udp", 4), ("udp", 6), ("tcp", 4)})


class Zone(Resolver):
    """Answers from ZONE, and counts what it is asked; some names hang or are refused."""

    def __init__(
        self, tmp_path: Path, cache: CacheSettings | None = None, ask: AskSettings | None = None
    ) -> None:
        self.lines: list[tuple[str, str, dict[str, Any]]] = []
        self.asked: Counter[tuple[str, str]] = Counter()
        self.delay = 0.0
        super().__init__(
            Settings(WAYS),
            cache or CacheSettings(),
            ask or AskSettings(retr_no=1),
            lambda *line: self.lines.append(line),
            tmp_path / "hosts",
            tmp_path / "resolv.conf",
        )

    async def _exchange(self, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> dns.message.QueryMessage:
        text = name.to_text(omit_final_dot=True)
        self.asked[text, dns.rdatatype.to_text(kind)] += 1
        if text.startswith("slow") or (text.startswith("half") and kind == dns.rdatatype.NAPTR):
            await asyncio.sleep(60)
        if text == "broken.example":
            raise Unanswered("192.0.2.53:53: SERVFAIL")
        await asyncio.sleep(self.delay)
        reply = dns.message.make_response(dns.message.make_query(name, kind))
        rows = [line.split(maxsplit=3) for line in ZONE.split("\n") if line]
        while found := [row for row in rows if dns.name.from_text(row[0]) == name]:
            for type_ in dict.fromkeys(row[2] for row in found):
                if type_ == "CNAME" or dns.rdatatype.from_text(type_) == kind:
                    data = [row[3] for row in found if row[2] == type_]
                    reply.answer.append(dns.rrset.from_text_list(name, int(found[0][1]), "IN", type_, data))
            if found[0][2] != "CNAME" or text in ("cut.example", "loop.example"):
                break
            name = dns.name.from_text(found[0][3])
        if not found and not reply.answer:
            reply.set_rcode(dns.rcode.NXDOMAIN)
        if text == "_sip._tcp.glued.example":
            for owner, ip in (("first.example", "192.0.2.1"), ("other.example", "192.0.2.66")):
                reply.additional.append(dns.rrset.from_text(owner + ".", 60, "IN", "A", ip))
        read = dns.message.from_wire(reply.to_wire())
        assert isinstance(read, dns.message.QueryMessage)
        return read


@pytest.fixture
def zone(tmp_path: Path) -> Zone:
    (tmp_path / "hosts").write_text(
        "2001:db8::a a.example\n192.0.2.10 A.example other # b.example\nrubbish x.example\n"
    )
    return Zone(tmp_path)


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def hops(zone: Zone, *name: Any) -> list[str]:
    return [f"{hop.transport}:{hop.addr}" for hop in run(zone.resolve(Name(*name))).hops]


def test_the_hosts_file_wins_over_dns(zone: Zone) -> None:
    assert hops(zone, "a.EXAMPLE") == ["udp:192.0.2.10:5060", "udp:[2001:db8::a]:5060"]
    assert hops(zone, "other", 5070) == ["udp:192.0.2.10:5070"]
    assert not zone.asked
    assert hops(zone, "b.example") == []
    assert hops(zone, "x.example") == []


def test_a_changed_hosts_file_is_read_again(zone: Zone, tmp_path: Path) -> None:
    assert hops(zone, "new.example", 5060) == []
    (tmp_path / "hosts").write_text("192.0.2.33 new.example\n")
    assert hops(zone, "new.example", 5060) == ["udp:192.0.2.33:5060"]
    (tmp_path / "hosts").unlink()
    assert hops(zone, "a.example", 5060) == []


def test_a_port_asks_for_addresses_only(zone: Zone) -> None:
    found = hops(zone, "trunk.example", 5070)
    assert sorted(found[:2]) == ["udp:192.0.2.7:5070", "udp:192.0.2.8:5070"]
    assert found[2:] == ["udp:[2001:db8::7]:5070"]
    assert {kind for _, kind in zone.asked} == {"A", "AAAA"}


def test_srv_gives_targets_and_ports_by_priority(zone: Zone) -> None:
    assert hops(zone, "srv.example") == ["udp:192.0.2.1:5065", "udp:192.0.2.2:5070"]
    assert hops(zone, "srv.example", None, "tcp") == []


def test_naptr_leads_to_tcp_and_addresses_that_came_along_are_not_asked(zone: Zone) -> None:
    assert hops(zone, "glued.example") == ["tcp:192.0.2.1:5060"]
    assert ("first.example", "A") not in zone.asked
    assert zone.known(Question("other.example", "A")) is None


@pytest.mark.parametrize("name", ["alias.example", "cut.example"])
def test_cnames_are_followed_and_live_as_short_as_they_say(zone: Zone, name: str) -> None:
    assert "udp:192.0.2.7:5060" in hops(zone, name, 5060)
    answer = zone.known(Question(name, "A"))
    assert answer is not None
    assert answer.expires <= time.monotonic() + 5


def test_a_ring_of_cnames_ends(zone: Zone) -> None:
    assert hops(zone, "loop.example", 5060) == []
    assert sum(zone.asked.values()) <= 2 * resolver.CHAIN


def test_no_spelling_hides_an_address(zone: Zone) -> None:
    (hop,) = run(zone.resolve(Name("spelled.example", 5060))).hops
    assert hop == Hop("udp", Addr("127.0.0.1", 5060))


@pytest.mark.parametrize("name", ["a..example", "x" * 64 + ".example", ".".join(["label"] * 60)])
def test_what_cannot_be_a_name_is_none(zone: Zone, name: str) -> None:
    assert run(zone.resolve(Name(name, 5060))) == Found((), False)


def test_what_is_known_needs_no_waiting(zone: Zone) -> None:
    name = Name("srv.example")
    assert zone.ready(name) is None
    found = run(zone.resolve(name))
    assert zone.ready(name) == found
    before = sum(zone.asked.values())
    assert run(zone.resolve(name)) == found
    assert sum(zone.asked.values()) == before


def test_an_answer_good_for_no_time_is_used_and_asked_again(zone: Zone) -> None:
    assert hops(zone, "once.example", 5060) == ["udp:192.0.2.50:5060"]
    assert hops(zone, "once.example", 5060) == ["udp:192.0.2.50:5060"]
    assert zone.asked["once.example", "A"] == 2


def test_a_dead_server_costs_its_deadline_and_is_counted_and_told(zone: Zone) -> None:
    async def go() -> None:
        begun = time.monotonic()
        assert await zone.resolve(Name("slow.example", 5060)) == Found((), True)
        assert 0.9 < time.monotonic() - begun < 2
        while zone.pending:
            await asyncio.sleep(0.01)
        assert await zone.resolve(Name("slow.example", 5060)) == Found((), True)

    run(go())
    assert zone.counters["dns:failed_dns_request"] == 2
    assert sum(zone.asked.values()) == 2, "nobody is asked again for a moment"
    level, event, fields = zone.lines[0]
    assert (level, event, fields["name"]) == ("warning", "DNS failed", "slow.example")


def test_what_is_known_when_time_is_over_is_used(tmp_path: Path) -> None:
    zone = Zone(tmp_path)
    global ZONE
    kept = ZONE
    ZONE += "_sip._udp.mixed.example 60 SRV 10 0 5060 slow.example.\n"
    ZONE += "_sip._udp.mixed.example 60 SRV 20 0 5060 first.example.\n"
    try:
        found = run(zone.resolve(Name("mixed.example", None, "udp")))
    finally:
        ZONE = kept
    assert found == Found((Hop("udp", Addr("192.0.2.1", 5060)),), True)


def test_a_failing_type_leaves_the_other(zone: Zone) -> None:
    assert run(zone.resolve(Name("broken.example", 5060))) == Found((), True)


def test_naptr_that_nobody_answers_leaves_time_for_the_rest(zone: Zone) -> None:
    begun = time.monotonic()
    found = run(zone.resolve(Name("half.example")))
    assert found == Found((Hop("udp", Addr("192.0.2.60", 5060)),), True)
    assert time.monotonic() - begun < 0.9


def test_many_who_ask_the_same_are_one_question(zone: Zone) -> None:
    zone.delay = 0.02

    async def go() -> Sequence[Found]:
        return await asyncio.gather(*(zone.resolve(Name("trunk.example", 5060)) for _ in range(300)))

    found = run(go())
    assert all(len(one.hops) == 3 for one in found)
    assert zone.asked["trunk.example", "A"] == 1
    assert zone.counters["dns:failed_dns_request"] == 0


def test_who_gives_up_leaves_the_question_to_the_others(zone: Zone) -> None:
    zone.delay = 0.05

    async def go() -> Found:
        first = asyncio.ensure_future(zone.resolve(Name("trunk.example", 5060)))
        second = asyncio.ensure_future(zone.resolve(Name("trunk.example", 5060)))
        await asyncio.sleep(0.01)
        first.cancel()
        return await second

    assert len(run(go()).hops) == 3


def test_questions_beyond_the_bound_are_refused_at_once(zone: Zone) -> None:
    async def go() -> None:
        await asyncio.gather(*(zone.resolve(Name(f"slow{n}.example", 5060)) for n in range(200)))

    run(go())
    assert sum(zone.asked.values()) == resolver.PENDING
    assert zone.pending == 0


def test_nothing_is_left_after_close(zone: Zone) -> None:
    async def go() -> None:
        waiting = asyncio.ensure_future(zone.resolve(Name("slow.example", 5060)))
        await asyncio.sleep(0.01)
        assert zone.pending == 2
        await zone.close()
        assert zone.pending == 0
        assert (await waiting).failed

    run(go())


def test_slow_answers_are_counted_and_told(tmp_path: Path) -> None:
    zone = Zone(tmp_path, ask=AskSettings(retr_no=1, slow_query_ms=10))
    zone.delay = 0.03
    assert run(zone.answer(Question("first.example", "A"))).records == (Host("192.0.2.1"),)
    assert zone.counters["dns:slow_dns_request"] == 1
    assert zone.lines[0][1] == "DNS slow"


class Silent(Resolver):
    """Asks nobody: says whom it would have asked."""

    def whom(self) -> tuple[Addr, ...]:
        return self._configured()


def test_servers_are_those_of_resolv_conf_as_it_is_now(tmp_path: Path) -> None:
    conf = tmp_path / "resolv.conf"
    silent = Silent(Settings(WAYS), CacheSettings(), AskSettings(), print, tmp_path / "hosts", conf)
    assert silent.whom() == ()
    conf.write_text(
        "# none\nnameserver 192.0.2.53\nnameserver 2001:db8::53 \nsearch example\nnameserver x\n"
        "nameserver fe80::1%eth0\n"
    )
    assert silent.whom() == (Addr("192.0.2.53", 53), Addr("2001:db8::53", 53), Addr("fe80::1%eth0", 53))
    conf.write_text("nameserver 192.0.2.54\n")
    os.utime(conf, (1, 1))
    assert silent.whom() == (Addr("192.0.2.54", 53),)
    given = AskSettings((Addr("192.0.2.1", 5353),))
    silent = Silent(Settings(WAYS), CacheSettings(), given, print, tmp_path / "hosts", conf)
    assert silent.whom() == (Addr("192.0.2.1", 5353),)


def test_without_any_server_it_fails_at_once(tmp_path: Path) -> None:
    silent = Silent(
        Settings(WAYS), CacheSettings(), AskSettings(), lambda *_: None, tmp_path / "h", tmp_path / "r"
    )
    begun = time.monotonic()
    assert run(silent.resolve(Name("a.example", 5060))) == Found((), True)
    assert time.monotonic() - begun < 0.5
