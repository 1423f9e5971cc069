"""Names to addresses: the hosts file first, SRV where no port is given, a bound on everything."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dns.exception
import dns.resolver
import pytest

from edgesip.address import Addr
from edgesip.signal.net import resolver

ZONE: dict[tuple[str, str], list[Any]] = {
    ("trunk.example", "A"): [SimpleNamespace(address="192.0.2.7"), SimpleNamespace(address="192.0.2.8")],
    ("trunk.example", "AAAA"): [SimpleNamespace(address="2001:db8::7")],
    ("_sip._udp.srv.example", "SRV"): [
        SimpleNamespace(priority=20, weight=0, target="second.example.", port=5070),
        SimpleNamespace(priority=10, weight=0, target="first.example.", port=5065),
    ],
    ("first.example", "A"): [SimpleNamespace(address="192.0.2.1")],
    ("second.example", "A"): [SimpleNamespace(address="192.0.2.2")],
}


class Zone(resolver.Resolver):
    asked = 0

    async def _ask(self, name: str, kind: str) -> Any:
        self.asked += 1
        if name == "slow.example":
            await asyncio.sleep(60)
        if name == "broken.example":
            raise dns.exception.Timeout
        if (name, kind) not in ZONE:
            raise dns.resolver.NXDOMAIN
        return ZONE[name, kind]


@pytest.fixture(autouse=True)
def hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "hosts"
    path.write_text("2001:db8::a a.example\n192.0.2.10 A.example alias # b.example\nrubbish x.example\n")
    monkeypatch.setattr(resolver, "HOSTS", path)
    monkeypatch.setattr(resolver, "DEADLINE", 0.05)


def found(host: str, port: int | None = None, transport: str = "udp") -> list[Addr]:
    return asyncio.run(Zone().resolve(host, port, transport))


def test_the_hosts_file_wins_and_ipv4_comes_first() -> None:
    assert found("a.EXAMPLE") == [Addr("192.0.2.10", 5060), Addr("2001:db8::a", 5060)]
    assert found("alias", 5070) == [Addr("192.0.2.10", 5070)]
    assert found("b.example") == []
    assert found("x.example") == []


def test_a_port_or_no_srv_asks_for_addresses() -> None:
    both = ["192.0.2.7", "192.0.2.8", "2001:db8::7"]
    assert found("trunk.example", 5070) == [Addr(host, 5070) for host in both]
    assert found("trunk.example") == [Addr(host, 5060) for host in both]


def test_srv_gives_targets_and_ports_by_priority() -> None:
    assert found("srv.example") == [Addr("192.0.2.1", 5065), Addr("192.0.2.2", 5070)]
    assert found("srv.example", transport="tcp") == []


@pytest.mark.parametrize("host", ["slow.example", "broken.example"])
def test_a_dead_server_costs_its_deadline_and_is_counted(host: str) -> None:
    zone = Zone()
    assert asyncio.run(zone.resolve(host, 5060)) == []
    assert zone.counters["dns:failed_dns_request"] == 1


def test_questions_beyond_the_bound_are_refused_at_once() -> None:
    async def go() -> tuple[int, int]:
        zone = Zone()
        await asyncio.gather(*(zone.resolve("slow.example", 5060) for _ in range(resolver.PENDING + 20)))
        return zone.asked, zone.counters["dns:failed_dns_request"]

    asked, failed = asyncio.run(go())
    assert asked == resolver.PENDING
    assert failed == resolver.PENDING + 20
