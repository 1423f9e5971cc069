"""What follows a failure, on the wire: voicemail with its media, a port nobody has, a slow script's 100."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from lab.agent import Agent
from lab.network import SERVER, Network
from lab.server import Server
from lab.sip import media_address
from lab.stream import playing
from lab.tones import assert_heard

pytestmark = pytest.mark.wire
ALICE, BOX = 440.0, 1000.0
BOX_HOST = "203.0.113.40"
SCRIPT = f"""
import asyncio
from edgesip.script import Call, Decision, FailureCall, Forward, Reply, Save


async def request(call: Call) -> Decision:
    if call.method == "REGISTER":
        return call.www_authenticate() or Save()
    if call.ruri_user == "slow":
        await asyncio.sleep(1.0)
        return Reply(486)
    call.rtpproxy_manage()
    return Forward(call.lookup()) if call.lookup() else Reply(404)


def failure(call: FailureCall) -> Forward | None:
    if call.t_check_status("408|486"):
        return Forward(("sip:box@{BOX_HOST}:5060",))
    return None
"""


@pytest.fixture
def house(start_server: Callable[..., Server], tmp_path: Path) -> Server:
    script = tmp_path / "voicemail.py"
    script.write_text(SCRIPT)
    return start_server({"route": str(script), "auth.enabled": "true"})


def test_busy_leads_to_the_voice_mailbox_and_its_media_flows(house: Server, network: Network) -> None:
    bob = Agent(network.public_host("bob", 31), "bob", house.add_user("bob"))
    assert bob.register().status == 200
    alice = Agent(network.public_host("alice", 30), "alice")
    box = Agent(network.public_host("box", 40), "box")
    assert box.address == BOX_HOST
    says, greets = alice.stream(ALICE), box.stream(BOX)
    invite = alice.invite("bob", alice.offer(says))
    ring = bob.expect("INVITE")
    bob.respond(ring, 180, "b")
    alice.expect_response(invite, 180, 180)
    bob.respond(ring, 486, "b")
    bob.expect("ACK")
    there = box.expect("INVITE")
    greets.remote = media_address(there.body)
    assert greets.remote[0] == SERVER
    assert greets.remote != media_address(ring.body), "the mailbox has ports of its own"
    box.respond(there, 200, "v", box.offer(greets))
    answer = alice.expect_response(invite, 200, 299)
    says.remote = media_address(answer.body)
    call = alice.caller_dialog(invite, answer)
    alice.acknowledge(call)
    box.expect("ACK")
    with playing([says, greets]):
        time.sleep(2.5)
    assert_heard("alice from the mailbox", says.heard(), BOX, 1.8)
    assert_heard("the mailbox", greets.heard(), ALICE, 1.8)
    bye = alice.in_dialog(call, "BYE")
    alice.send(bye)
    box.respond(box.expect("BYE"), 200)
    assert alice.expect_response(bye, 200, 299).status == 200


def test_a_phone_whose_port_is_closed_leads_there_at_once(house: Server, network: Network) -> None:
    bob = Agent(network.public_host("bob", 31), "bob", house.add_user("bob"))
    assert bob.register().status == 200
    bob.close()
    alice = Agent(network.public_host("alice", 30), "alice")
    box = Agent(network.public_host("box", 40), "box")
    invite = alice.invite("bob", alice.offer(alice.stream(ALICE)))
    started = time.monotonic()
    there = box.expect("INVITE", 5.0)
    assert time.monotonic() - started < 2.0, "the ICMP error was not heard"
    box.respond(there, 603, "v")
    box.expect("ACK")
    alice.acknowledge_failure(invite, alice.expect_response(invite, 603, 603))


def test_a_slow_script_costs_nobody_else_and_its_caller_hears_100(house: Server, network: Network) -> None:
    alice = Agent(network.public_host("alice", 30), "alice")
    slow = alice.build("INVITE", f"sip:slow@{SERVER}")
    alice.send(slow)
    started = time.monotonic()
    assert alice.expect_response(slow, 100, 100).status == 100
    assert 0.1 < time.monotonic() - started < 0.9
    alice.acknowledge_failure(slow, alice.expect_response(slow, 486, 486))
