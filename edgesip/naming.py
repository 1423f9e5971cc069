"""What `[dns]` means to the rooms: the resolver, the blocklist, and the upstream's addresses as they are now.

Each is given its slice of the section; what they do with it they know themselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from edgesip.address import Addr, parse_ip
from edgesip.sections import Dns
from edgesip.signal.net.resolver import AskSettings, Resolver
from edgesip.signal.proxy.blocklist import Blocklist, BlocklistSettings
from edgesip.signal.proxy.dns_cache import CacheSettings
from edgesip.signal.proxy.hops import Settings
from edgesip.signal.proxy.upstream import Upstream

UPSTREAM_REFRESH = 60.0
"""Seconds between two looks at the upstream's addresses, which DNS may change."""
KIB = 1024

Log = Callable[[str, str, dict[str, Any]], None]


def resolver_for(section: Dns, listens: Sequence[tuple[str, Addr]], log: Log) -> Resolver:
    """The resolver; it looks for ways that there is a listener for."""
    settings = Settings(
        ways=frozenset((transport, addr.family) for transport, addr in listens),
        preferences={
            "udp": section.dns_udp_pref,
            "tcp": section.dns_tcp_pref,
            "tls": section.dns_tls_pref,
        },
        try_naptr=section.dns_try_naptr,
        naptr_ignore_rfc=section.dns_naptr_ignore_rfc,
        srv_lb=section.dns_srv_lb,
        try_ipv6=section.dns_try_ipv6,
        cache_flags=section.dns_cache_flags,
    )
    cache = CacheSettings(
        use_cache=section.use_dns_cache,
        min_ttl=section.dns_cache_min_ttl,
        max_ttl=section.dns_cache_max_ttl,
        negative_ttl=section.dns_cache_negative_ttl,
        mem=section.dns_cache_mem * KIB,
        gc_interval=section.dns_cache_gc_interval,
        del_nonexp=section.dns_cache_del_nonexp,
    )
    ask = AskSettings(
        servers=section.servers,
        retr_time=section.dns_retr_time,
        retr_no=section.dns_retr_no,
        slow_query_ms=section.dns_slow_query_ms,
    )
    return Resolver(settings, cache, ask, log)


def blocklist_for(section: Dns) -> Blocklist:
    """The list of dead destinations."""
    settings = BlocklistSettings(
        use=section.use_dst_blocklist,
        expire=section.dst_blocklist_expire,
        mem=section.dst_blocklist_mem * KIB,
        gc_interval=section.dst_blocklist_gc_interval,
    )
    return Blocklist(settings)


async def refresh(upstream: Upstream, resolver: Resolver, log: Log) -> None:
    """Look where the upstream is: what comes from there is believed. Without an answer nothing changes."""
    literal = parse_ip(upstream.name.host)
    if literal is not None:
        upstream.hosts = frozenset({str(literal)})
        return
    found = await resolver.resolve(upstream.name)
    if found.hops:
        upstream.hosts = frozenset(hop.addr.host for hop in found.hops)
    else:
        log("warning", "upstream does not resolve", {"upstream": str(upstream.uri)})


async def refreshing(upstream: Upstream, resolver: Resolver, log: Log) -> None:
    """Go on looking, until cancelled."""
    while True:
        await refresh(upstream, resolver, log)
        await asyncio.sleep(UPSTREAM_REFRESH)
