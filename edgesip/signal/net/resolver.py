"""Names to addresses: the one place that asks DNS (RFC 3263 §4.2: SRV, then A and AAAA).

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

    async def resolve(
        self, host: str, port: int | None, transport: str = "udp", default: int = 5060
    ) -> list[Addr]:
        """Addresses for `host`, IPv4 before IPv6; empty when there are none or no answer came in time."""
        if self._slots.locked():
            self.counters["dns:failed_dns_request"] += 1
            return []
        async with self._slots:
            try:
                return await asyncio.wait_for(self._find(host, port, transport, default), DEADLINE)
            except (TimeoutError, dns.exception.DNSException, OSError):
                self.counters["dns:failed_dns_request"] += 1
                return []

    async def _find(self, host: str, port: int | None, transport: str, default: int) -> list[Addr]:
        known = _from_hosts(host)
        if known:
            return [Addr(one, port or default) for one in known]
        if port is not None:
            return await self._addresses(host, port)
        found: list[Addr] = []
        for target, number in await self._srv(host, transport):
            found += await self._addresses(target, number)
        return found or await self._addresses(host, default)

    async def _srv(self, host: str, transport: str) -> list[tuple[str, int]]:
        try:
            answer = await self._ask(f"_sip._{transport}.{host}", "SRV")
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return []
        rows = [(record.priority, record.weight, str(record.target), record.port) for record in answer]
        rows.sort(key=lambda row: (row[0], -row[1] * random.random()))
        return [(target.rstrip("."), port) for _, _, target, port in rows if target != "."]

    async def _addresses(self, host: str, port: int) -> list[Addr]:
        literal = parse_ip(host)
        if literal is not None:
            return [Addr(str(literal), port)]
        found: list[Addr] = []
        for kind in ("A", "AAAA"):
            try:
                found += [Addr(record.address, port) for record in await self._ask(host, kind)]
            except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
                continue
        return found

    async def _ask(self, name: str, kind: str) -> dns.resolver.Answer:
        if self._resolver is None:
            self._resolver = dns.asyncresolver.Resolver()
            self._resolver.cache = dns.resolver.LRUCache(1000)
        return await self._resolver.resolve(name, kind, lifetime=DEADLINE)


def _from_hosts(host: str) -> list[str]:
    """The addresses that the hosts file gives a name, IPv4 first."""
    try:
        lines = HOSTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    found: list[str] = []
    for line in lines:
        words = line.partition("#")[0].split()
        if host.lower() in (word.lower() for word in words[1:]):
            ip = parse_ip(words[0])
            if ip is not None:
                found.append(str(ip))
    return sorted(found, key=lambda one: ":" in one)
