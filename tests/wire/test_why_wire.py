"""`edgesip call why`: a verdict for each side of calls with something wrong, while they last and after."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from lab.agent import Agent
from lab.calls import Call, open_call
from lab.network import Network
from lab.process import eventually
from lab.server import Server, Verb
from lab.stream import playing

pytestmark = pytest.mark.wire
PATIENCE = 40.0


def _call(server: Server, network: Network, *, bob_at: str = "public") -> Call:
    """alice on a public address calls bob, who is public as well or behind a NAT of that kind."""
    host = network.public_host("bob", 20) if bob_at == "public" else network.nat_host("bob", 20, bob_at)
    bob = Agent(host, "bob", server.add_user("bob"))
    alice = Agent(network.public_host("alice", 30), "alice", server.add_user("alice"))
    assert bob.register().status == 200
    return open_call(alice, bob, alice.stream(440.0), bob.stream(1000.0))


def _leg(server: Server, call: Call, side: str) -> dict[str, Any]:
    """What is said of a side."""
    [told] = server.ask("call", "why", call.outgoing.call_id)
    [leg] = [leg for leg in told["legs"] if leg["side"] == side]
    found: dict[str, Any] = leg
    return found


def _told(server: Server, call: Call, side: str, verdict: str) -> dict[str, Any]:
    """The same, as soon as this is the verdict."""
    eventually(
        f"{verdict} of the {side}",
        lambda: _leg(server, call, side)["verdict"] == verdict,
        PATIENCE,
        step=0.5,
    )
    return _leg(server, call, side)


def test_one_way_is_told_with_its_time_and_after_the_end(server: Server, network: Network) -> None:
    call = _call(server, network)
    call.talk(2.0)
    assert _leg(server, call, "caller")["verdict"] == "fine"
    stopped = time.strftime("%H:%M", time.localtime())
    with playing([call.says]):
        leg = _told(server, call, "callee", "one-way")
        assert _leg(server, call, "caller")["verdict"] == "fine"
        hour = re.match(r"one way since (\d\d:\d\d):\d\d: ", leg["text"])
        assert hour is not None
        assert hour[1] in (stopped, time.strftime("%H:%M", time.localtime()))
        assert leg["text"].endswith(f"at 203.0.113.20:{call.hears.port}, while the caller goes on")
        call.hang_up()

    def ended() -> bool:
        [told] = server.ask("call", "why", call.outgoing.call_id[:12])
        return bool(told["state"] == "ended" and told["legs"])

    eventually("the call is over for why", ended, PATIENCE)
    assert _leg(server, call, "callee")["verdict"] == "one-way"
    quality = _leg(server, call, "caller")["quality"]
    assert (quality["codec"], quality["lost"], quality["duplicates"]) == ("pcmu", 0, 0)
    assert quality["mos"] > 4.0
    text = server.verb("call", "why", call.outgoing.call_id)
    assert "callee audio: one way since " in text
    assert "    -> " in text
    assert server.process is not None
    [line] = [line for line in server.process.text().splitlines() if "media ended" in line]
    assert "callee_why='one-way'" in line
    assert re.search(r"caller_packets=\d{3,} caller_loss=0\.0 .*caller_mos=4\.\d", line)
    assert server.statistic("rtp:rtp_mos_samples_total") > 2


def test_nothing_ever_came_and_then_it_came_from_a_stranger(server: Server, network: Network) -> None:
    call = _call(server, network)
    with playing([call.says]):
        leg = _told(server, call, "callee", "never")
        relay = f"{call.hears.remote[0]}:{call.hears.remote[1]}" if call.hears.remote else ""
        assert leg["text"] == f"no packet ever came from the callee to {relay}"
        stranger = Agent(network.public_host("stranger", 66), "eve").stream(2000.0)
        stranger.remote = call.hears.remote
        with playing([stranger]):
            leg = _told(server, call, "callee", "stranger")
        assert f"come from 203.0.113.66:{stranger.port}, which is not believed" in leg["text"]
    call.hang_up()


def test_media_for_a_phone_that_says_a_private_address_and_nothing_else(
    server: Server, network: Network
) -> None:
    call = _call(server, network, bob_at="symmetric")
    with playing([call.says]):
        leg = _told(server, call, "callee", "private")
    assert f"its SDP says 192.168.1.10:{call.hears.port}, a private address" in leg["text"]
    assert f"goes to 203.0.113.20:{call.hears.port} on good luck" in leg["text"]
    call.hang_up()


def test_two_that_claim_to_be_one_phone(server: Server, network: Network) -> None:
    """Both send from behind bob's NAT, from the first moment on."""
    call = _call(server, network, bob_at="symmetric")
    rival = call.bob.stream(700.0)
    rival.remote = call.hears.remote
    with playing([call.says, call.hears, rival]):
        leg = _told(server, call, "callee", "contested")
    assert leg["text"].startswith("contested: two senders at once claimed to be the callee; 203.0.113.20:")
    call.hang_up()


def test_silence_on_hold_is_no_fault_and_silence_after_it_is_one(server: Server, network: Network) -> None:
    call = _call(server, network)
    call.talk(2.0)
    _change(call, "sendonly", "recvonly", 2)
    leg = _told(server, call, "callee", "hold")
    assert re.match(
        r"silent since \d\d:\d\d:\d\d, because the caller holds the call since \d\d:\d\d:\d\d$", leg["text"]
    )
    _change(call, "sendrecv", "sendrecv", 3)
    with playing([call.says]):
        leg = _told(server, call, "callee", "after-hold")
    assert "silent since the hold: " in leg["text"]
    call.hang_up()


def _change(call: Call, offered: str, answered: str, version: int) -> None:
    """A re-INVITE of alice with one direction, answered with the other."""
    offer = call.alice.offer(call.says, offered, version=version)
    change = call.alice.in_dialog(call.outgoing, "INVITE", offer)
    call.alice.send(change)
    call.bob.respond(
        call.bob.expect("INVITE"), 200, body=call.bob.offer(call.hears, answered, version=version)
    )
    call.alice.expect_response(change, 200, 299)
    call.alice.acknowledge(call.outgoing)
    call.bob.expect("ACK")


def test_a_router_that_changes_the_sdp_and_forgets_the_rest_is_noticed(
    server: Server, network: Network
) -> None:
    """As a SIP ALG does: the body has the public address, Contact has not, and the length is the old one."""
    host = network.nat_host("bob", 20, "port-restricted")
    bob = Agent(host, "bob", server.add_user("bob"))
    alice = Agent(network.public_host("alice", 30), "alice", server.add_user("alice"))
    assert bob.register().status == 200
    says, hears = alice.stream(440.0), bob.stream(1000.0)
    invite = alice.invite("bob", alice.offer(says))
    ring = bob.expect("INVITE")
    body = bob.offer(hears)
    changed = body.replace(b"192.168.1.10", b"203.0.113.20")
    bob.respond(ring, 200, "alg", changed, extra=(("Content-Length", str(len(changed))),))
    answer = alice.expect_response(invite, 200, 299)
    outgoing = alice.caller_dialog(invite, answer)
    alice.acknowledge(outgoing)
    bob.expect("ACK")
    call = Call(alice, bob, says, hears, outgoing, bob.callee_dialog(ring, "alg"), ring, answer)
    told = _leg(server, call, "callee")["also"]
    [sign] = [one["text"] for one in told if one["verdict"] == "alg"]
    assert sign.startswith("its SDP names 203.0.113.20, a public address, but its Contact 192.168.1.10")
    call.hang_up()


def test_a_call_that_nobody_knows_is_not_found(server: Server, network: Network) -> None:
    with pytest.raises(Verb, match="exit 3"):
        server.verb("call", "why", "nobody-knows-it")
