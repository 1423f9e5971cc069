"""A working day of keepalives in small: routers with a memory of seconds, phones that are called all day.

What is a day of 25 s pings against 30 s routers takes four minutes here; a phone that nobody keeps is lost in
the first of them.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest
from lab.agent import Agent
from lab.network import Network, Router
from lab.phone import Phone
from lab.process import eventually
from lab.server import Server

pytestmark = [pytest.mark.wire, pytest.mark.long]

# The profile's own script, but for what keeps a phone.
ROUTE = """
from edgesip.script import Call, Decision, Forward, Reply, Save

def request(call: Call) -> Decision:
    if call.method == "REGISTER":
        if refusal := call.www_authenticate():
            return refusal
        if call.nat_uac_test(19):
            call.fix_nated_register()
        call.nat_keepalive()
        return Save()
    if phones := call.lookup():
        return Forward(phones)
    return Reply(404)

def in_dialog(call: Call) -> Decision:
    call.handle_ruri_alias()
    return Forward()
"""
MUTE = {"nathelper.natping_interval": "0"}


def home(
    network: Network, server: Server, user: str, number: int, lifetime: int, expires: int = 3600
) -> tuple[Phone, Router]:
    """A phone behind a router of its own that forgets after `lifetime` seconds."""
    router = network.router(user, number, lifetime=lifetime)
    host, domain = router.host(user), server.host.address
    phone = Phone(network, host, user, server.add_user(user), 440.0, domain=domain, expires=expires)
    phone.wait_registered()
    return phone, router


def mapping(router: Router, server: Server) -> str:
    """The kernel's number of the mapping towards a server; empty when it has forgotten it."""
    found = router.namespace.run("conntrack", "-L", "-p", "udp", "-d", server.host.address, "-o", "id")
    return ",".join(sorted(re.findall(r"dport=5060 .*id=(\d+)", found)))


def rings(caller: Agent, phone: Phone) -> None:
    """A call reaches the phone, which declines."""
    call = caller.invite(phone.user, caller.offer(caller.stream(1000.0)))
    phone.wait_ringing(8.0)
    phone.hangup()
    answer = caller.expect_response(call, 300, 699)
    caller.acknowledge_failure(call, answer)
    assert answer.status == 486
    phone.events.clear()


def test_phones_are_reachable_all_day_and_without_keepalive_they_are_not(
    start_server: Callable[..., Server], network: Network
) -> None:
    route = network.directory / "route.py"
    route.write_text(ROUTE)
    servers = {
        "pinged": start_server(
            {"nathelper.natping_interval": "2", "nat_traversal.adaptive": "false"}, name="pinger", number=1
        ),
        "kept": start_server(
            {**MUTE, "route": str(route), "nat_traversal.keepalive_interval": "10"}, name="keeper", number=2
        ),
        "lost": start_server({**MUTE, "tm.fr_timer": "3000"}, name="mute", number=3),
    }
    lifetimes = {"pinged": 6, "kept": 15, "lost": 6}
    phones, routers, callers = {}, {}, {}
    for place, (name, server) in enumerate(servers.items()):
        phones[name], routers[name] = home(network, server, name, 20 + 10 * place, lifetimes[name])
        host = network.public_host(f"caller-{name}", 100 + place)
        callers[name] = Agent(host, "alice", server.add_user("alice"), server=server.host.address)
    first = {name: mapping(routers[name], servers[name]) for name in servers}
    assert all(first.values())
    end = time.monotonic() + 240.0
    while time.monotonic() < end:
        for name in ("pinged", "kept"):
            rings(callers[name], phones[name])
        quiet = time.monotonic() + 25.0
        while time.monotonic() < quiet:
            for name in ("pinged", "kept"):
                now = mapping(routers[name], servers[name])
                assert now == first[name], f"{name}: another mapping"
            time.sleep(1.0)
    assert mapping(routers["lost"], servers["lost"]) == ""
    vain = callers["lost"].invite("lost", callers["lost"].offer(callers["lost"].stream(1000.0)))
    answer = callers["lost"].expect_response(vain, 300, 699, deadline=8.0)
    callers["lost"].acknowledge_failure(vain, answer)
    assert answer.status == 408
    keeper = servers["kept"]
    assert keeper.statistic("nat_traversal:registered_endpoints") == 1
    assert servers["pinged"].statistic("nat_traversal:keepalive_endpoints") == 0
    assert int(servers["pinged"].contacts("pinged")[0]["KA-Roundtrip"]) > 0


def test_endpoints_are_kept_through_a_restart(start_server: Callable[..., Server], network: Network) -> None:
    """An orderly end, ten seconds of nobody, a start: the phone has not noticed, and is kept on."""
    route = network.directory / "route.py"
    route.write_text(ROUTE)
    server = start_server({**MUTE, "route": str(route), "nat_traversal.keepalive_interval": "10"})
    phone, router = home(network, server, "bob", 20, 30)
    before = mapping(router, server)
    assert server.process is not None
    server.process.stop(patience=10.0)
    assert "bob" not in (server.state / "keepalive_state").read_text()
    time.sleep(5.0)
    server.start()
    assert server.statistic("nat_traversal:registered_endpoints") == 1
    time.sleep(60.0)
    assert mapping(router, server) == before
    host = network.public_host("caller", 100)
    rings(Agent(host, "alice", server.add_user("alice")), phone)


def test_a_patient_router_is_found_out_and_no_call_is_missed(
    start_server: Callable[..., Server], network: Network
) -> None:
    """Pings every 4 s at first, 10 at most, a router of 25 s: the mapping lives on while they get rarer."""
    server = start_server(
        {
            "nathelper.natping_interval": "4",
            "nat_traversal.adaptive_max_interval": "10",
            "registrar.min_expires": "5",
        }
    )
    phone, router = home(network, server, "bob", 20, 25, expires=30)
    caller = Agent(network.public_host("caller", 100), "alice", server.add_user("alice"))
    before = mapping(router, server)

    def every() -> float:
        return float(server.contacts("bob")[0]["KA-Interval"])

    assert every() == 4.0
    eventually("rarer pings", lambda: every() >= 7.0, 600.0, 1.0)
    assert mapping(router, server) == before
    rings(caller, phone)
