"""The lab itself: its routers are real NATs, its phones really hear, and it leaves nothing behind."""

from __future__ import annotations

import os
import socket
import subprocess
import time

import pytest
from lab import netns
from lab.calls import connect
from lab.network import SERVER, Network
from lab.phone import Phone

pytestmark = pytest.mark.wire


def _ask(inner: socket.socket, outer: socket.socket) -> tuple[str, int]:
    """Where `outer` sees a datagram of `inner` come from."""
    inner.sendto(b"who am I", outer.getsockname())
    outer.settimeout(1.0)
    seen: tuple[str, int] = outer.recvfrom(100)[1]
    return seen


def _hears(inner: socket.socket, wait: float = 0.3) -> bool:
    inner.settimeout(wait)
    try:
        inner.recv(100)
    except TimeoutError:
        return False
    return True


def test_a_port_preserving_router_keeps_the_port_and_lets_no_stranger_in(network: Network) -> None:
    server = network.public_host("server", 1).namespace
    phone = network.nat_host("phone", 10).namespace.udp(port=5060)
    known, stranger = server.udp(SERVER, 5060), server.udp(SERVER, 5070)
    seen = _ask(phone, known)
    assert seen == ("203.0.113.10", 5060)
    stranger.sendto(b"hello", seen)
    assert not _hears(phone)
    known.sendto(b"hello", seen)
    assert _hears(phone)


def test_a_symmetric_router_shows_each_peer_another_port(network: Network) -> None:
    server = network.public_host("server", 1).namespace
    phone = network.nat_host("phone", 10, "symmetric").namespace.udp(port=5060)
    ports = {_ask(phone, server.udp(SERVER, port))[1] for port in (5060, 5070, 5080)}
    assert len(ports) == 3
    assert 5060 not in ports


def test_an_idle_mapping_dies_after_its_lifetime(network: Network) -> None:
    server = network.public_host("server", 1).namespace.udp(SERVER, 5060)
    phone = network.nat_host("phone", 10, lifetime=2).namespace.udp(port=5060)
    seen = _ask(phone, server)
    time.sleep(1.0)
    server.sendto(b"hello", seen)
    assert _hears(phone)
    time.sleep(3.0)
    server.sendto(b"hello", seen)
    assert not _hears(phone)


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
