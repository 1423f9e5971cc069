"""A phone of another family: linphonec beside baresip, each way, behind NAT, and over TLS."""

from __future__ import annotations

import time

import pytest
from authority import Authority
from lab.linphone import Linphone
from lab.network import Network
from lab.phone import Phone
from lab.process import eventually
from lab.server import Server

pytestmark = [pytest.mark.wire, pytest.mark.long]
ALICE, CAROL = 440.0, 1000.0
TALK = 4.0


@pytest.mark.parametrize("kind", ["port-restricted", "symmetric", "cgnat"])
@pytest.mark.parametrize("calls", ["baresip", "linphone"])
@pytest.mark.parametrize("ends", ["baresip", "linphone"])
def test_linphone_and_baresip_hear_each_other(
    server: Server, network: Network, kind: str, calls: str, ends: str
) -> None:
    alice = Phone(network, network.nat_host("alice", 10), "alice", server.add_user("alice"), ALICE)
    carol = Linphone(network, network.nat_host("carol", 20, kind), "carol", server.add_user("carol"), CAROL)
    alice.wait_registered()
    eventually("carol is registered", lambda: server.contacts("carol"), 20.0)
    if calls == "baresip":
        alice.dial("carol")
        carol.wait_ringing()
        carol.answer()
    else:
        carol.dial("alice")
        alice.wait_ringing()
        alice.answer()
    alice.wait_established()
    carol.wait_established()
    time.sleep(TALK)
    (alice if ends == "baresip" else carol).hangup()
    alice.wait_closed()
    carol.wait_closed()
    alice.assert_tone(CAROL, TALK)
    carol.assert_tone(ALICE, TALK)


@pytest.mark.parametrize("other", ["udp", "tls"])
@pytest.mark.parametrize("calls", ["baresip", "linphone"])
def test_linphone_over_tls(
    tls_server: Server, network: Network, authority: Authority, calls: str, other: str
) -> None:
    """It checks our certificate, and the address in it."""
    password = tls_server.add_user("alice")
    alice = Phone(network, network.nat_host("alice", 10), "alice", password, ALICE, transport=other)
    carol = Linphone(
        network,
        network.nat_host("carol", 20, "symmetric"),
        "carol",
        tls_server.add_user("carol"),
        CAROL,
        transport="tls",
        root_ca=str(authority.ca),
    )
    alice.wait_registered()
    eventually("carol is registered", lambda: tls_server.contacts("carol"), 20.0)
    assert tls_server.contacts("carol")[0]["Socket"].startswith("tls:")
    if calls == "baresip":
        alice.dial("carol")
        carol.wait_ringing()
        carol.answer()
    else:
        carol.dial("alice")
        alice.wait_ringing()
        alice.answer()
    alice.wait_established()
    carol.wait_established()
    time.sleep(TALK)
    alice.hangup()
    alice.wait_closed()
    carol.wait_closed()
    alice.assert_tone(CAROL, TALK)
    carol.assert_tone(ALICE, TALK)
