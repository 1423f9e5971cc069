"""An upstream that is a name, with a DNS server of its own: which place gets a call, and when."""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lab.agent import Agent
from lab.names import Names
from lab.network import Host, Network
from lab.places import Place
from lab.process import eventually
from lab.server import Server, Verb
from lab.sip import Message, sdp

pytestmark = pytest.mark.wire
Start = Callable[..., Server]
NUMBER = "5551234"
SHARES = {61: 60, 62: 30, 63: 10}
NO_AUTH = {"auth.enabled": "false", "pike.reqs_density_per_unit": "100000"}  # one stranger asks it all


@pytest.fixture
def names(network: Network) -> Names:
    return Names(network, network.public_host("dns", 53))


@pytest.fixture
def places(network: Network) -> Iterator[Callable[..., Place]]:
    """Make places at 203.0.113.`number`; they end with the test."""
    made: list[Place] = []
    hosts: dict[int, Host] = {}

    def make(number: int, status: int, port: int = 5060, transport: str = "udp") -> Place:
        if number not in hosts:
            hosts[number] = network.public_host(f"place{number}", number)
        made.append(Place(hosts[number], status, port, transport))
        return made[-1]

    yield make
    for place in made:
        place.close()


def address(number: int) -> str:
    return f"203.0.113.{number}"


def settings(names: Names, **more: str) -> dict[str, str]:
    dotted = {key.replace("__", "."): value for key, value in more.items()}
    return {
        "upstream": "sip:trunk.example",
        "dns.servers": names.host.address,
        "tm.fr_timer": "1000",
        **NO_AUTH,
        **dotted,
    }


def two_places(transport: str = "udp") -> list[str]:
    """SRV: .51 first, .52 when that fails."""
    return [
        f"srv _sip._{transport}.trunk.example one.trunk.example 5060 10 1",
        f"srv _sip._{transport}.trunk.example two.trunk.example 5060 20 1",
        f"a one.trunk.example {address(51)}",
        f"a two.trunk.example {address(52)}",
    ]


def call(alice: Agent, number: str = NUMBER, deadline: float = 8.0) -> tuple[int, float]:
    """The final status of a call that nobody takes, and the seconds until it came."""
    while True:
        begun = time.monotonic()
        invite = alice.invite(number, sdp(alice.address, 40000))
        final = alice.expect_response(invite, 200, 699, deadline)
        taken = time.monotonic() - begun
        alice.acknowledge_failure(invite, final)
        if not _is_busy(final):
            return final.status, taken


def message(alice: Agent, number: str = NUMBER) -> int:
    while True:
        answer = alice.ask(alice.build("MESSAGE", f"sip:{number}@{alice.domain}"))
        if not _is_busy(answer):
            return answer.status


def _is_busy(answer: Message) -> bool:
    """A machine with much else to do makes the server refuse for a moment; that is another test's matter."""
    busy = answer.status == 503 and bool(answer.get("Retry-After"))
    if busy:
        time.sleep(0.5)
    return busy


def test_naptr_leads_to_tcp_and_a_refused_connection_to_the_next(
    start_server: Start, network: Network, names: Names, places: Callable[..., Place]
) -> None:
    names.serve(
        "naptr trunk.example 10 10 SIP+D2T _sip._tcp.trunk.example",
        "naptr trunk.example 20 10 SIP+D2U _sip._udp.trunk.example",
        *two_places("tcp"),
        *two_places("udp")[:2],
    )
    udp, second = places(51, 486), places(52, 486, transport="tcp")
    server = start_server(settings(names))
    alice = Agent(network.public_host("alice", 30), "alice")
    assert call(alice)[0] == 486
    assert second.requests["INVITE"] >= 1
    assert not udp.requests, "UDP comes after all of TCP"
    hops = server.ask("dns", "lookup", "trunk.example")["hops"]
    assert [(one["proto"], one["ip"]) for one in hops] == [
        ("tcp", address(51)),
        ("tcp", address(52)),
        ("udp", address(51)),
        ("udp", address(52)),
    ]
    assert hops[0]["blocked"] == "cannot be reached"


def test_a_silent_place_costs_its_time_once_and_is_left_out_then(
    start_server: Start, network: Network, names: Names, places: Callable[..., Place]
) -> None:
    names.serve(*two_places())
    silent, second = places(51, 0), places(52, 486)
    server = start_server(settings(names))
    alice = Agent(network.public_host("alice", 30), "alice")
    status, taken = call(alice)
    assert status == 486
    assert second.requests["INVITE"] >= 1
    assert 0.9 < taken < 3.0
    assert silent.requests["INVITE"] >= 1
    (entry,) = server.ask("blocklist", "list")
    assert (entry["ip"], entry["proto"], entry["reason"]) == (address(51), "udp", "did not answer")
    before = silent.requests["INVITE"]
    status, taken = call(alice)
    assert status == 486
    assert taken < 0.8
    assert silent.requests["INVITE"] == before
    server.verb("blocklist", "flush")
    silent.status = 404
    assert call(alice)[0] == 404, "it is tried again when it is no longer listed"


def test_a_closed_port_and_a_503_lead_to_the_next_at_once(
    start_server: Start, network: Network, names: Names, places: Callable[..., Place]
) -> None:
    names.serve(
        "srv _sip._udp.trunk.example one.trunk.example 5999 10 1",
        "srv _sip._udp.trunk.example one.trunk.example 5060 20 1",
        "srv _sip._udp.trunk.example two.trunk.example 5060 30 1",
        f"a one.trunk.example {address(51)}",
        f"a two.trunk.example {address(52)}",
    )
    busy, last = places(51, 503), places(52, 486)
    start_server(settings(names, tm__fr_timer="5000"))
    alice = Agent(network.public_host("alice", 30), "alice")
    status, taken = call(alice)
    assert status == 486
    assert busy.requests["INVITE"] >= 1
    assert last.requests["INVITE"] >= 1
    assert taken < 3.0


def test_a_thousand_requests_are_shared_by_weight(
    start_server: Start, network: Network, names: Names, places: Callable[..., Place]
) -> None:
    names.serve(
        *(f"srv _sip._udp.trunk.example p{n}.example 5060 10 {weight}" for n, weight in SHARES.items()),
        "srv _sip._udp.trunk.example spare.example 5060 20 1",
        f"a spare.example {address(64)}",
        *(f"a p{number}.example {address(number)}" for number in SHARES),
    )
    here = {number: places(number, 200) for number in (*SHARES, 64)}
    start_server(settings(names))
    alice = Agent(network.public_host("alice", 30), "alice")
    for _ in range(1000):
        assert message(alice) == 200
    counts = {number: place.requests["MESSAGE"] for number, place in here.items()}
    assert counts[64] == 0
    for number, weight in SHARES.items():
        assert abs(counts[number] - 10 * weight) <= 75, counts
    assert names.asked("_sip._udp.trunk.example", "SRV") == 1


@pytest.mark.long
def test_an_answer_is_used_for_its_ttl_and_asked_again_then(
    start_server: Start, network: Network, places: Callable[..., Place]
) -> None:
    names = Names(network, network.public_host("dns", 53), ttl=3)
    names.serve(f"a trunk.example {address(51)}")
    old, new = places(51, 200), places(52, 200)
    server = start_server(settings(names, upstream="sip:trunk.example:5060"))
    alice = Agent(network.public_host("alice", 30), "alice")
    server.verb("dns", "flush")
    begun = time.monotonic()
    assert message(alice) == 200
    names.serve(f"a trunk.example {address(52)}")
    while time.monotonic() - begun < 1.5:
        assert message(alice) == 200
    assert new.requests["MESSAGE"] == 0
    eventually(
        "the new address", lambda: message(alice) == 200 and new.requests["MESSAGE"] > 0, 6.0, step=0.2
    )
    assert 2.9 < new.arrivals[0] - begun < 6.0
    assert old.requests["MESSAGE"] > 1


def test_a_name_that_does_not_exist_is_asked_once_and_refused_at_once(
    start_server: Start, network: Network, names: Names
) -> None:
    names.serve("a other.example 203.0.113.51")
    server = start_server(settings(names))
    alice = Agent(network.public_host("alice", 30), "alice")
    assert [message(alice) for _ in range(3)] == [478] * 3
    assert names.asked("trunk.example", "A") == 1
    assert server.statistic("dns:failed_dns_request") == 0


@pytest.mark.long
def test_whoever_srv_names_calls_without_a_password(
    start_server: Start, network: Network, names: Names
) -> None:
    names.serve(*two_places())
    start_server(settings(names, auth__enabled="true"))
    trunk = Agent(network.public_host("trunk", 52), "5550000")
    stranger = Agent(network.public_host("stranger", 60), "5550000")
    assert message(trunk, "nobody") == 404
    assert message(stranger, "nobody") == 407


@pytest.mark.long
def test_an_upstream_may_be_inside(start_server: Start, network: Network, names: Names) -> None:
    """What the operator names may have a private address; what a stranger names may not (test_locate)."""
    names.serve("a inside.example 10.0.0.1")
    server = start_server(settings(names, upstream="sip:inside.example", tm__fr_timer="500"))
    alice = Agent(network.public_host("alice", 30), "alice")
    assert call(alice)[0] == 408
    assert "10.0.0.1" in {datagram.target[0] for datagram in server.capture.datagrams()}


REFUSE = """
import socket
def refuse(*_, **__):
    raise RuntimeError("somebody else resolves")
for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "getnameinfo"):
    setattr(socket, name, refuse)
"""


def test_nobody_but_the_resolver_resolves(
    start_server: Start,
    network: Network,
    names: Names,
    places: Callable[..., Place],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "sitecustomize.py").write_text(REFUSE)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    names.serve("naptr trunk.example 10 10 SIP+D2T _sip._tcp.trunk.example", *two_places("tcp"))
    places(51, 486, transport="tcp")
    server = start_server(settings(names))
    alice = Agent(network.public_host("alice", 30), "alice")
    assert call(alice)[0] == 486
    assert message(alice, "5550000") == 486
    assert server.process is not None
    assert "somebody else resolves" not in server.process.text()
    with pytest.raises(Verb) as refused:
        server.verb("dns", "lookup", "gone.example")
    assert refused.value.code == 3


@contextlib.contextmanager
def black_hole(network: Network) -> Iterator[str]:
    """The address of a DNS server that says nothing at all."""
    host = network.public_host("hole", 54)
    with contextlib.closing(host.namespace.udp(host.address, 53)):
        yield host.address


@pytest.mark.long
def test_a_dead_dns_server_delays_nobody_but_those_who_need_it(start_server: Start, network: Network) -> None:
    with black_hole(network) as hole:
        server = start_server({"upstream": "sip:trunk.example", "dns.servers": hole, **NO_AUTH})
        server.verb("dns", "flush")
        alice = Agent(network.public_host("alice", 30), "alice")
        bob = Agent(network.public_host("bob", 31), "bob")
        begun = time.monotonic()
        waiting = [alice.build("MESSAGE", f"sip:{NUMBER}{n}@{alice.domain}") for n in range(50)]
        for request in waiting:
            alice.send(request)
        delays = []
        while time.monotonic() - begun < 2.5:
            asked = time.monotonic()
            assert bob.ask(bob.build("OPTIONS", f"sip:{bob.domain}")).status == 200
            delays.append(time.monotonic() - asked)
        for request in waiting:
            answer = alice.expect_response(request, 200, 699, 6.0)
            assert answer.status == 503
        assert time.monotonic() - begun < 5.5
        assert statistics.quantiles(delays, n=20)[-1] < 0.1, delays
        assert len(delays) > 50
        assert message(alice) == 503, "and at once, while nobody is asked again"
        assert time.monotonic() - begun < 7.0
        assert server.statistic("dns:failed_dns_request") <= 20


@pytest.mark.long
def test_of_two_dns_servers_one_may_be_dead(
    start_server: Start, network: Network, names: Names, places: Callable[..., Place]
) -> None:
    names.serve(*two_places())
    place = places(51, 200)
    with black_hole(network) as hole:
        servers = f"{hole},{names.host.address}"
        server = start_server(settings(names, dns__servers=servers))
        alice = Agent(network.public_host("alice", 30), "alice")
        assert message(alice) == 200
        assert place.requests["MESSAGE"] >= 1
        server.verb("dns", "flush")
        begun = time.monotonic()
        assert message(alice) == 200
        assert time.monotonic() - begun < 0.9, "the one that answered is asked first from then on"
