"""Four octets in the name of the proxy that a phone knows reach it through a NAT that lets in nobody else."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import pytest
from lab.agent import Agent
from lab.network import Network
from lab.process import eventually
from lab.server import EDGESIP, Server

pytestmark = pytest.mark.wire
FOUR = {
    "nathelper.natping_interval": "2",
    "nathelper.sipping_bflag": "-1",
    "nat_traversal.adaptive": "false",
    "registrar.use_path": "true",
    "registrar.path_use_received": "true",
}
BY_PATH = {**FOUR, "nathelper.udpping_from_path": "true"}
PROXY = "203.0.113.60"
Home = tuple[socket.socket, Agent]


def at_home(network: Network, server: Server) -> Home:
    """A phone behind a NAT that lets in whom it has spoken to, and the proxy that it registers through."""
    phone = network.nat_host("bob", 10, "port-restricted").namespace.udp("192.168.1.10", 5062)
    proxy = Agent(network.public_host("proxy", 60), "bob", server.add_user("bob"))
    phone.sendto(b"here I am", (PROXY, 5060))
    _, (host, port) = proxy.link.receive(5.0)
    fields = (("Path", f"<sip:{PROXY};lr;received=sip:{host}:{port}>"), ("Supported", "path"))
    request = proxy.build("REGISTER", f"sip:{proxy.domain}", to=f"<{proxy.uri}>", extra=fields)
    challenge = proxy.ask(request)
    assert proxy.ask(proxy.authorize(request, challenge)).status == 200
    return phone, proxy


def heard(phone: socket.socket, seconds: float) -> list[tuple[bytes, str]]:
    """What comes to the phone within this time, and from whom."""
    found, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        phone.settimeout(max(end - time.monotonic(), 0.001))
        try:
            data, source = phone.recvfrom(2048)
        except TimeoutError:
            break
        found.append((data, source[0]))
    return found


def test_a_ping_in_the_name_of_the_proxy_passes_the_nat(
    start_server: Callable[..., Server], network: Network
) -> None:
    server = start_server(BY_PATH)
    assert server.process is not None
    server.process.wait_for("raw pings.*udpping_from_path")
    phone, proxy = at_home(network, server)
    found = heard(phone, 7.0)
    assert 2 <= len(found) <= 5
    assert set(found) == {(bytes(4), PROXY)}
    assert server.statistic("nathelper:raw_pings") >= 2
    phone.close()
    proxy.close()


def test_a_ping_in_the_name_of_one_address_says_so(
    start_server: Callable[..., Server], network: Network
) -> None:
    server = start_server({**FOUR, "nathelper.natping_socket": f"{PROXY}:5060"})
    phone = Agent(network.public_host("bob", 20), "bob", server.add_user("bob"))
    assert phone.register().status == 200
    data, source = phone.link.receive(5.0)
    assert (data, source) == (bytes(4), (PROXY, 5060))
    phone.close()


def test_without_the_capability_the_start_and_the_doctor_say_so_and_pings_are_our_own(
    start_server: Callable[..., Server], network: Network
) -> None:
    server = start_server(BY_PATH, without="net_raw")
    assert server.process is not None
    server.process.wait_for("raw pings refused.*udpping_from_path.*not permitted")
    phone, proxy = at_home(network, server)
    data, source = proxy.link.receive(5.0)
    assert (data, source) == (bytes(4), ("203.0.113.1", 5060))
    assert heard(phone, 2.5) == []
    assert server.statistic("nathelper:raw_pings") == 0
    eventually("pings", lambda: server.statistic("nathelper:udp_pings") >= 2, 10.0)
    doctor = network.start(server.host, "doctor", EDGESIP, "doctor", "--state-dir", str(server.state))
    doctor.wait_for("raw pings.*CAP_NET_RAW is not granted")
    phone.close()
    proxy.close()
