"""The lab itself: its routers are real NATs, its phones really hear, and it leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time

import pytest
from lab import netns
from lab.agent import Agent
from lab.calls import connect
from lab.network import LAN_PHONE, SERVER, Network
from lab.phone import Phone

pytestmark = pytest.mark.wire
SILENT = 0.3


def _ask(inner: socket.socket, outer: socket.socket) -> tuple[str, int]:
    """Where `outer` sees a datagram of `inner` come from."""
    inner.sendto(b"who am I", outer.getsockname())
    outer.settimeout(5.0)
    seen: tuple[str, int] = outer.recvfrom(100)[1]
    return seen


def _hears(inner: socket.socket, wait: float = 3.0) -> bool:
    inner.settimeout(wait)
    try:
        inner.recv(100)
    except TimeoutError:
        return False
    return True


@pytest.mark.parametrize(
    ("kind", "same_address", "anybody"),
    [
        ("full-cone", True, True),
        ("address-restricted", True, False),
        ("port-restricted", False, False),
        ("symmetric", False, False),
    ],
)
def test_whom_a_router_lets_in(network: Network, kind: str, same_address: bool, anybody: bool) -> None:
    server = network.public_host("server", 1).namespace
    stranger = network.public_host("stranger", 2)
    phone = network.nat_host("phone", 10, kind).namespace.udp(port=5060)
    known, near = server.udp(SERVER, 5060), server.udp(SERVER, 5070)
    far = stranger.namespace.udp(stranger.address, 5060)
    seen = _ask(phone, known)
    assert seen[0] == "203.0.113.10"
    assert (seen[1] == 5060) is (kind != "symmetric")
    for sender, heard in ((known, True), (near, same_address), (far, anybody)):
        sender.sendto(b"hello", seen)
        assert _hears(phone, 3.0 if heard else SILENT) is heard, sender.getsockname()
    near.sendto(b"hello", (seen[0], 7000))
    assert not _hears(phone, SILENT), "nothing was sent from that port"


def test_a_symmetric_router_shows_each_peer_another_port(network: Network) -> None:
    server = network.public_host("server", 1).namespace
    phone = network.nat_host("phone", 10, "symmetric").namespace.udp(port=5060)
    ports = {_ask(phone, server.udp(SERVER, port))[1] for port in (5060, 5070, 5080)}
    assert len(ports) == 3
    assert 5060 not in ports


def test_two_customers_of_a_carrier_share_its_address(network: Network) -> None:
    server = network.public_host("server", 1).namespace.udp(SERVER, 5060)
    carrier = network.router("carrier", 10, "symmetric", lan="100.64.0")
    homes = [network.router(f"home{number}", number, carrier=carrier) for number in (11, 12)]
    phones = [home.host(f"phone{n}").namespace.udp(LAN_PHONE, 5060) for n, home in enumerate(homes)]
    seen = [_ask(phone, server) for phone in phones]
    assert {host for host, _ in seen} == {"203.0.113.10"}
    assert seen[0] != seen[1]
    for phone, address in zip(phones, seen, strict=True):
        server.sendto(b"hello", address)
        assert _hears(phone)


@pytest.mark.parametrize("kind", ["full-cone", "symmetric"])
def test_a_rebooted_router_has_forgotten_its_mappings(network: Network, kind: str) -> None:
    server = network.public_host("server", 1).namespace.udp(SERVER, 5060)
    router = network.router("home", 10, kind)
    phone = router.host("phone").namespace.udp(port=5060)
    seen = _ask(phone, server)
    router.reboot()
    server.sendto(b"hello", seen)
    assert not _hears(phone, SILENT)
    again = _ask(phone, server)
    assert (again == seen) is (kind != "symmetric")
    router.reboot("203.0.113.11")
    assert _ask(phone, server)[0] == "203.0.113.11"


def test_the_alg_rewrites_via_and_contact(network: Network) -> None:
    server = network.public_host("server", 1).namespace.udp(SERVER, 5060)
    server.settimeout(2.0)
    host = network.nat_host("phone", 10, "alg")
    phone = Agent(host, "alice")
    phone.send(phone.build("OPTIONS", f"sip:{SERVER}"))
    text = server.recv(4096).decode()
    assert f"SIP/2.0/UDP {host.public}:5060" in text
    assert f"@{host.public}:5060" in text
    assert LAN_PHONE not in text


def test_a_tenth_of_the_datagrams_is_lost_each_way(network: Network) -> None:
    server = network.public_host("server", 1).namespace.udp(SERVER, 5060)
    router = network.router("home", 10)
    phone = router.host("phone").namespace.udp(port=5060)
    seen = _ask(phone, server)
    router.lose(10)
    for sender, receiver, target in ((phone, server, (SERVER, 5060)), (server, phone, seen)):
        receiver.settimeout(0.2)
        count = 0
        for _ in range(20):
            for _ in range(50):
                sender.sendto(b"hello", target)
            with contextlib.suppress(TimeoutError):
                while receiver.recv(100):
                    count += 1
        assert 850 < count < 950


def test_an_idle_mapping_dies_after_its_lifetime(network: Network) -> None:
    server = network.public_host("server", 1).namespace.udp(SERVER, 5060)
    phone = network.nat_host("phone", 10, lifetime=2).namespace.udp(port=5060)
    seen = _ask(phone, server)
    time.sleep(1.0)
    server.sendto(b"hello", seen)
    assert _hears(phone)
    time.sleep(3.0)
    server.sendto(b"hello", seen)
    assert not _hears(phone, SILENT)


def test_two_phones_without_a_server_hear_each_other(network: Network) -> None:
    first, second = network.public_host("first", 30), network.public_host("second", 31)
    alice = Phone(network, first, "alice", "", 440.0, domain=second.address)
    bob = Phone(network, second, "bob", "", 1000.0, domain=second.address)
    connect(alice, bob)
    time.sleep(2.0)
    alice.hangup()
    bob.wait_closed()
    alice.wait_closed()
    alice.assert_heard(bob, 2.0)
    bob.assert_heard(alice, 2.0)
    with pytest.raises(AssertionError, match="1000 Hz"):
        bob.assert_heard(bob, 2.0)


def test_what_a_crashed_run_left_is_removed(network: Network) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    orphan = f"{netns.PREFIX}-{dead.pid}-1-1-router"
    netns.run(["ip", "netns", "add", orphan])
    assert orphan in netns.remove_orphans()
    names = os.listdir(netns.RUN_NETNS)
    assert orphan not in names
    assert any(name.startswith(netns.owner_mark()) for name in names), "it took our own"
