"""Edges in front of a registrar: Path and the flows that phones keep to them, over the wire."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from lab.calls import frequency_of, hang_up
from lab.network import SERVER, Network
from lab.phone import Phone
from lab.process import eventually
from lab.server import Server

pytestmark = [pytest.mark.wire, pytest.mark.long]
Start = Callable[..., Server]
EDGES = ("203.0.113.2", "203.0.113.3")
ROUTE = '''"""An edge: registrations go on with a Path, and what comes back by it goes to the phone."""

from edgesip.script import Call, Decision, Forward, Reply


def request(call: Call) -> Decision:
    if call.method == "REGISTER":
        call.add_path()
        return Forward()
    if call.check_flow_token() == 1 or call.ruri.host == "203.0.113.1":
        call.rtpproxy_manage("f")
        return Forward()
    return Reply(403)
'''


def profile(directory: Path) -> str:
    """An edge's profile beside its script."""
    (directory / "edge.py").write_text(ROUTE)
    (directory / "edge.toml").write_text('route = "edge.py"\n[nathelper]\nnatping_interval = 0\n')
    return str(directory / "edge.toml")


@pytest.fixture
def house(start_server: Start, network: Network, tmp_path: Path) -> tuple[Server, list[Server]]:
    """The registrar and two edges before it."""
    registrar = start_server({"registrar.use_path": "true"})
    edges = [
        start_server(name=f"edge{number}", number=number, profile=profile(tmp_path)) for number in (2, 3)
    ]
    return registrar, edges


def outbound_phone(
    registrar: Server, network: Network, user: str, number: int, kind: str, *proxies: str
) -> Phone:
    host = network.nat_host(user, number, kind)
    phone = Phone(network, host, user, registrar.add_user(user), frequency_of(user), proxies=proxies)
    phone.wait_registered()
    return phone


def connect(caller: Phone, callee: Phone) -> None:
    caller.dial(callee.user)
    callee.wait_ringing(40.0)
    callee.answer()
    caller.wait_established()
    callee.wait_established()


def test_a_phone_behind_an_edge_is_called_by_its_path(
    house: tuple[Server, list[Server]], network: Network
) -> None:
    registrar, _ = house
    alice = outbound_phone(registrar, network, "alice", 10, "port-restricted", EDGES[0])
    bob = outbound_phone(registrar, network, "bob", 20, "symmetric", EDGES[0])
    (contact,) = registrar.contacts("bob")
    assert contact["Path"].startswith("<sip:")
    assert f"@{EDGES[0]}:5060;lr;ob>" in contact["Path"]
    assert contact["Reg-Id"] == 1
    assert contact["Received"] == f"sip:{EDGES[0]}:5060"
    connect(alice, bob)
    time.sleep(2.0)
    hang_up(alice, bob)
    alice.assert_heard(bob, 2.0)
    bob.assert_heard(alice, 2.0)


def test_a_phone_with_two_flows_rings_by_the_other_when_one_edge_is_gone(
    house: tuple[Server, list[Server]], network: Network
) -> None:
    registrar, edges = house
    bob = outbound_phone(registrar, network, "bob", 20, "port-restricted", *EDGES)
    eventually("two flows", lambda: len(registrar.contacts("bob")) == 2)
    assert sorted(one["Reg-Id"] for one in registrar.contacts("bob")) == [1, 2]
    host = network.public_host("alice", 10)
    alice = Phone(network, host, "alice", registrar.add_user("alice"), frequency_of("alice"), domain=SERVER)
    alice.wait_registered()
    first = min(registrar.contacts("bob"), key=lambda one: int(one["Reg-Id"]))
    gone = next(edge for edge in edges if edge.host.address in first["Path"])
    gone.crash()
    try:
        connect(alice, bob)
        time.sleep(1.0)
        hang_up(alice, bob)
    finally:
        gone.start()
