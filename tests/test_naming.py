"""`[dns]` as the rooms get it, and the upstream's addresses as DNS changes them."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any

from edgesip.address import Addr
from edgesip.naming import blocklist_for, refresh, resolver_for
from edgesip.sections import Dns
from edgesip.signal.net.resolver import AskSettings, Resolver
from edgesip.signal.proxy.dns_cache import CacheSettings
from edgesip.signal.proxy.hops import Found, Hop, Host, Name, Question, Record, Settings, Srv
from edgesip.signal.proxy.upstream import Upstream
from edgesip.signal.wire.uri import parse_uri

LISTENS = (("udp", Addr("192.0.2.1", 5060)), ("tcp", Addr("192.0.2.1", 5060)))
NAME = Name("trunk.example")


class Says(Resolver):
    """Finds what it is told to."""

    found = Found()

    async def resolve(self, name: Name) -> Found:
        return self.found


def looked(upstream: Upstream, found: Found) -> list[tuple[str, str, dict[str, Any]]]:
    lines: list[tuple[str, str, dict[str, Any]]] = []
    says = Says(Settings(frozenset()), CacheSettings(), AskSettings(), lambda *line: None)
    says.found = found
    asyncio.run(refresh(upstream, says, lambda *line: lines.append(line)))
    return lines


def test_the_upstream_is_wherever_dns_says_and_stays_there_when_it_says_nothing() -> None:
    upstream = Upstream(parse_uri("sip:trunk.example"), re.compile("[0-9]+"))
    hops = (Hop("udp", Addr("192.0.2.7", 5060)), Hop("tcp", Addr("192.0.2.8", 5062)))
    assert looked(upstream, Found(hops)) == []
    assert upstream.hosts == {"192.0.2.7", "192.0.2.8"}
    ((level, event, _),) = looked(upstream, Found((), True))
    assert (level, event) == ("warning", "upstream does not resolve")
    assert upstream.hosts == {"192.0.2.7", "192.0.2.8"}
    looked(upstream, Found(hops[:1]))
    assert upstream.hosts == {"192.0.2.7"}


def test_an_upstream_with_an_address_asks_nobody() -> None:
    upstream = Upstream(parse_uri("sip:[2001:db8:0::9]:5070"), re.compile("[0-9]+"))
    assert looked(upstream, Found((), True)) == []
    assert upstream.hosts == {"2001:db8::9"}


def told(section: Dns, *, weights: tuple[int, int] = (1, 1)) -> list[str]:
    """The hops for NAME, which has two SRV records for UDP and one for TCP."""
    resolver = resolver_for(section, LISTENS, lambda *line: None)
    udp = (Srv(1, weights[0], 5060, "a.example"), Srv(1, weights[1], 5062, "b.example"))
    rows: dict[tuple[str, str], tuple[Record, ...]] = {
        ("trunk.example", "NAPTR"): (),
        ("_sip._udp.trunk.example", "SRV"): udp,
        ("_sip._tcp.trunk.example", "SRV"): (Srv(1, 1, 5070, "a.example"),),
        ("a.example", "A"): (Host("192.0.2.7"),),
        ("b.example", "A"): (Host("192.0.2.8"),),
    }
    for (name, kind), records in rows.items():
        resolver.cache.put(Question(name, kind), records, 60, time.monotonic())
    assert resolver.cache.max == section.dns_cache_mem * 1024
    found = resolver.ready(NAME)
    assert found is not None, "nothing has to be asked"
    return [f"{hop.transport}:{hop.addr.port}" for hop in found.hops]


def test_each_parameter_reaches_its_room() -> None:
    assert set(told(Dns())[:2]) == {"udp:5060", "udp:5062"}
    assert told(Dns(dns_udp_pref=-1)) == ["tcp:5070"]
    assert told(Dns(dns_tcp_pref=40))[0] == "tcp:5070"
    assert told(Dns(dns_srv_lb=False), weights=(1, 9))[0] == "udp:5062"
    assert told(Dns(dns_cache_flags=2)) == []


def test_the_blocklist_has_its_bounds() -> None:
    blocklist = blocklist_for(Dns(dst_blocklist_mem=1, dst_blocklist_expire=7))
    assert blocklist.max == 1024
    blocklist.add("udp", Addr("192.0.2.1", 5060), 0.0, "did not answer")
    assert blocklist.find("udp", Addr("192.0.2.1", 5060), 6.9) is not None
    assert blocklist.find("udp", Addr("192.0.2.1", 5060), 7.0) is None
    assert not len(blocklist_for(Dns(use_dst_blocklist=False)))
