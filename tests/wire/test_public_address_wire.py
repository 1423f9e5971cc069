"""`advertise = "auto"` behind a real NAT: STUN servers see the router, and without them nothing starts."""

from __future__ import annotations

import pytest
from conftest import Start
from lab.network import Network
from lab.server import EDGESIP

pytestmark = pytest.mark.wire


def test_the_router_is_found_by_two_stun_servers(start_server: Start, network: Network) -> None:
    start_server()
    start_server(name="second", number=2)
    host = network.nat_host("edge", 10, "port-restricted")
    given = ["--profile", "nat-sbc", "--state-dir", str(network.directory / "edge"), "--advertise", "auto"]
    given += ["--set", "upstream=sip:203.0.113.1"]
    both = ["--set", "stun.servers=203.0.113.1:5060,203.0.113.2:5060"]

    looked = network.start(host, "doctor", EDGESIP, "doctor", *given, *both)
    looked.wait_for(r"users: there are none", 30.0)
    text = looked.text()
    assert "ok    public address: 203.0.113.10: seen by 203.0.113.1:5060 and 203.0.113.2:5060\n" in text
    assert "ok    address: phones are told 203.0.113.10 in place of this host's own\n" in text

    edge = network.start(host, "edge", EDGESIP, "run", *given, *both)
    ready = edge.wait_for(r"ready .*", 30.0)[0]
    assert " advertise=203.0.113.10 " in ready
    assert " relay_advertise=203.0.113.10 " in ready
    assert edge.stop() == 0

    alone = network.start(host, "alone", EDGESIP, "run", *given)
    alone.wait_for(r"192\.168\.1\.10 is a private address, so there is a NAT", 30.0)
    assert alone.wait() == 78
