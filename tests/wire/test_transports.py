"""Phones over TCP, TLS and IPv6, and each of them with one that is none of these."""

from __future__ import annotations

import time

import pytest
from lab.calls import connect
from lab.network import SERVER, SERVER6, Network
from lab.phone import Phone
from lab.server import Server

pytestmark = pytest.mark.wire
TALK = 4.0

# name: NAT, transport, the server's address
PLACES = {
    "udp4": ("port-restricted", "udp", SERVER),
    "tcp4": ("symmetric", "tcp", SERVER),
    "tls4": ("symmetric", "tls", SERVER),
    "udp6": ("public", "udp", SERVER6),
    "tcp6": ("public", "tcp", SERVER6),
    "tls6": ("public", "tls", SERVER6),
}
_PAIRS = [(one, other) for one in PLACES for other in PLACES]
_QUICK = {
    ("udp4", "tcp4"),
    ("tcp4", "udp4"),
    ("udp4", "udp6"),
    ("tcp6", "tcp4"),
    ("tls4", "udp4"),
    ("udp4", "tls4"),
}


def _phone(server: Server, network: Network, user: str, number: int, frequency: float, place: str) -> Phone:
    kind, transport, domain = PLACES[place]
    host = network.public_host(user, number) if kind == "public" else network.nat_host(user, number, kind)
    password = server.add_user(user)
    phone = Phone(network, host, user, password, frequency, domain=domain, transport=transport)
    phone.wait_registered()
    return phone


@pytest.mark.parametrize(
    ("caller", "callee"),
    [
        pytest.param(*pair, marks=() if pair in _QUICK else pytest.mark.long, id="-".join(pair))
        for pair in _PAIRS
    ],
)
def test_both_hear_the_other(tls_server: Server, network: Network, caller: str, callee: str) -> None:
    server = tls_server
    alice = _phone(server, network, "alice", 10, 440.0, caller)
    bob = _phone(server, network, "bob", 20, 1000.0, callee)
    connect(alice, bob)
    time.sleep(TALK)
    assert server.leftovers().keys() == {"leased ports", "dialogs"}
    hangs_up = alice if caller < callee else bob
    hangs_up.hangup()
    alice.wait_closed()
    bob.wait_closed()
    alice.assert_heard(bob, TALK)
    bob.assert_heard(alice, TALK)
