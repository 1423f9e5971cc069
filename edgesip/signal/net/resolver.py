"""Names to addresses: the one place that asks DNS (RFC 3263 §4.2 for UDP: SRV, then A).

Bounded: at most `PENDING` questions at a time, each with a deadline; a dead resolver delays only the calls
that need it. Knows no SIP message.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import dns.asyncresolver
import dns.exception
import dns.rdatatype
import dns.resolver

from edgesip.address import Addr, parse_ip

PENDING = 100
DEADLINE = 4.0
HOSTS = Path("/etc/hosts")


class Resolver:
    """Resolves a host, and its SRV records when no port is given, into addresses in the order to try."""

    def __init__(self) -> None:
        self._resolver: dns.asyncresolver.Resolver | None = None
        self._slots = asyncio.Semaphore(PENDING)
        self.counters: dict[str, int] = {"dns:failed_dns_request": 0}

    async def resolve(self, host: str, port: int | None, default: int = 5060) -> list[Addr]:
        """IPv4 addresses for `host`; an empty list when there are none or no answer came in time."""
        if self._slots.locked():
            self.counters["dns:failed_dns_request"] += 1
            return []
        async with self._slots:
            try:
                return await asyncio.wait_for(self._find(host, port, default), DEADLINE)
            except (TimeoutError, dns.exception.DNSException, OSError):
                self.counters["dns:failed_dns_request"] += 1
                return []

    async def _find(self, host: str, port: int | None, default: int) -> list[Addr]:
        known = _from_hosts(host)
        if known:
            return [Addr(known, port or default)]
        if port is not None:
            return await self._a(host, port)
        found: list[Addr] = []
        for target, number in await self._srv(host):
            found += await self._a(target, number)
        return found or await self._a(host, default)

    async def _srv(self, host: str) -> list[tuple[str, int]]:
        try:
            answer = await self._ask(f"_sip._udp.{host}", "SRV")
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return []
        rows = [(record.priority, record.weight, str(record.target), record.port) for record in answer]
        rows.sort(key=lambda row: (row[0], -row[1] * random.random()))
        return [(target.rstrip("."), port) for _, _, target, port in rows if target != "."]

    async def _a(self, host: str, port: int) -> list[Addr]:
        literal = parse_ip(host)
        if literal is not None:
            return [Addr(str(literal), port)]
        try:
            answer = await self._ask(host, "A")
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return []
        return [Addr(record.address, port) for record in answer]

    async def _ask(self, name: str, kind: str) -> dns.resolver.Answer:
        if self._resolver is None:
            self._resolver = dns.asyncresolver.Resolver()
            self._resolver.cache = dns.resolver.LRUCache(1000)
        return await self._resolver.resolve(name, kind, lifetime=DEADLINE)


def _from_hosts(host: str) -> str:
    """The IPv4 address that the hosts file gives a name, or nothing."""
    try:
        lines = HOSTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    for line in lines:
        words = line.partition("#")[0].split()
        if host.lower() in (word.lower() for word in words[1:]) and ":" not in words[0]:
            return words[0]
    return ""
