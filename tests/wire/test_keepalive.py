"""A router that forgets an idle mapping after 10 s: only keepalive pings let an inbound call ring."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from lab.agent import Agent
from lab.network import Network
from lab.phone import Phone
from lab.server import Server

pytestmark = pytest.mark.wire


def _phone_and_caller(network: Network, server: Server, number: int) -> tuple[Phone, Agent]:
    """A phone behind a forgetful router, registered, and a public agent that may call it."""
    domain, user = server.host.address, f"bob{number}"
    place = network.nat_host(user, number, lifetime=10)
    phone = Phone(network, place, user, server.add_user(user), 440.0, domain=domain)
    phone.wait_registered()
    public = network.public_host(f"caller{number}", number + 100)
    return phone, Agent(public, "alice", server.add_user("alice"), server=domain)


@pytest.mark.long
def test_pings_hold_a_mapping_of_10_s_open_and_nothing_else_does(
    start_server: Callable[..., Server], network: Network
) -> None:
    pinging = start_server({"nathelper.natping_interval": "4"})
    silent = start_server(
        {"nathelper.natping_interval": "0", "tm.fr_timer": "3000"}, name="silent-server", number=2
    )
    kept, caller = _phone_and_caller(network, pinging, 10)
    lost, vain_caller = _phone_and_caller(network, silent, 20)
    time.sleep(40.0)
    call = caller.invite(kept.user, caller.offer(caller.stream(1000.0)))
    vain_call = vain_caller.invite(lost.user, vain_caller.offer(vain_caller.stream(1000.0)))
    kept.wait_ringing(3.0)
    kept.hangup()
    busy = caller.expect_response(call, 300, 699)
    caller.acknowledge_failure(call, busy)
    assert busy.status == 486
    timed_out = vain_caller.expect_response(vain_call, 300, 699, deadline=8.0)
    vain_caller.acknowledge_failure(vain_call, timed_out)
    assert timed_out.status == 408
    assert not lost.saw_event("CALL_INCOMING"), "the control rang: the mapping lived without pings"
