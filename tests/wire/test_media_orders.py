"""What an operator does to media, and what becomes of calls without it: by tones and counted packets."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from lab.agent import Agent
from lab.calls import Call, open_call
from lab.network import Network
from lab.process import eventually
from lab.server import Server, Verb
from lab.sip import media_address
from lab.stream import Stream, playing
from lab.tones import assert_heard

pytestmark = pytest.mark.wire
Start = Callable[..., Server]


def _agents(server: Server, network: Network) -> tuple[Agent, Agent]:
    """alice on a public address, bob behind a symmetric NAT and registered."""
    bob = Agent(network.nat_host("bob", 20, "symmetric"), "bob", server.add_user("bob"))
    alice = Agent(network.public_host("alice", 30), "alice", server.add_user("alice"))
    assert bob.register().status == 200
    return alice, bob


def _call(server: Server, network: Network) -> Call:
    alice, bob = _agents(server, network)
    return open_call(alice, bob, alice.stream(440.0), bob.stream(1000.0))


def _heard(call: Call, seconds: float) -> tuple[int, int]:
    """How many packets alice and bob get while both speak for so long; what is under way is let pass."""
    with playing([call.says, call.hears]):
        time.sleep(0.3)
        before = len(call.says.received), len(call.hears.received)
        time.sleep(seconds)
        return len(call.says.received) - before[0], len(call.hears.received) - before[1]


def _speaks(call: Call, stream: Stream, other: Stream, seconds: float) -> None:
    """One side alone speaks, and is heard."""
    mark = len(other.heard())
    with playing([stream]):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(0.05)
            other.drain()
    assert_heard("the other side", other.heard()[mark:], stream.frequency, seconds - 0.2)


def _closed(server: Server, reason: str) -> int:
    return int(server.ask("rtp", "stats")["closed_sessions"][reason])


def _log(server: Server) -> str:
    assert server.process is not None
    return server.process.text()


# ---- silence


def test_one_silent_side_is_enough_where_that_is_wanted(start_server: Start, network: Network) -> None:
    """alice speaks on and on; bob has gone: BYE to both."""
    server = start_server({"relay.timeout": "3", "rtpproxy.timeout_either": "true"})
    call = _call(server, network)
    call.talk(1.0)
    with playing([call.says]):
        for agent in (call.alice, call.bob):
            agent.respond(agent.expect("BYE", 15.0), 200)
    server.assert_clean()
    assert _closed(server, "timeout") == 1
    assert "silent='callee'" in _log(server)
    assert server.ask("rtp", "show", call.outgoing.call_id)[0]["ended_by"] == "timeout"


def test_otherwise_one_side_keeps_the_call(start_server: Start, network: Network) -> None:
    server = start_server({"relay.timeout": "2"})
    call = _call(server, network)
    call.talk(1.0)
    _speaks(call, call.says, call.hears, 6.0)
    call.talk(1.0)
    call.hang_up()
    assert (_closed(server, "terminated"), _closed(server, "timeout")) == (1, 0)


def test_a_silent_call_goes_on_where_only_the_log_is_told(start_server: Start, network: Network) -> None:
    server = start_server({"relay.timeout": "1", "rtpproxy.timeout_action": "log"})
    call = _call(server, network)
    call.talk(1.0)
    eventually("two lines", lambda: _log(server).count("media timeout") >= 2, 15.0, 0.2)
    call.talk(1.0)
    call.hang_up()
    server.assert_clean()
    assert _closed(server, "terminated") == 1


def test_a_script_is_told_which_side_is_silent_and_when_it_is_over(
    start_server: Start, network: Network, tmp_path: Path
) -> None:
    told, route = tmp_path / "told", tmp_path / "route.py"
    route.write_text(
        "from edgesip.script import *\n\n"
        "def tell(text):\n"
        f"    with open({str(told)!r}, 'a') as file:\n"
        "        print(text, file=file)\n\n"
        "def request(call):\n"
        "    if call.method == 'REGISTER':\n"
        "        call.fix_nated_register()\n"
        "        return call.www_authenticate() or Save()\n"
        "    call.rtpproxy_manage()\n"
        "    return Forward(call.lookup())\n\n"
        "def rtp_timeout(event):\n"
        "    tell(event.fmt('silent: $dlg_var(rtp_timeout)'))\n\n"
        "def dialog_end(event):\n"
        "    tell(event.fmt('over: $rtpstat'))\n"
    )
    settings = {"relay.timeout": "1", "rtpproxy.timeout_action": "event", "rtpproxy.timeout_either": "true"}
    server = start_server({**settings, "route": str(route)})
    bob = Agent(network.public_host("bob", 20), "bob", server.add_user("bob"))
    alice = Agent(network.public_host("alice", 30), "alice", server.add_user("alice"))
    assert bob.register().status == 200
    call = open_call(alice, bob, alice.stream(440.0), bob.stream(1000.0))
    call.talk(1.0)
    with playing([call.hears]):
        eventually("the hook", lambda: told.exists() and "silent: caller\n" in told.read_text(), 15.0, 0.2)
    call.talk(1.0)
    call.hang_up()
    eventually("the end", lambda: "over: " in told.read_text(), 5.0, 0.1)
    ttl, answered, called, relayed, dropped = map(int, told.read_text().split("over: ")[1].split())
    assert ttl == 0
    assert answered > called > 60
    assert 0 <= answered + called - relayed <= dropped < 10


# ---- orders


def test_destroyed_media_is_silent_and_a_new_offer_brings_it_back(server: Server, network: Network) -> None:
    call = _call(server, network)
    call.talk(1.0)
    server.verb("rtp", "destroy", call.outgoing.call_id)
    assert server.ask("rtp", "ports")["leased"] == 0
    assert _heard(call, 1.0) == (0, 0)
    change = call.alice.in_dialog(call.outgoing, "INVITE", call.alice.offer(call.says, version=2))
    call.alice.send(change)
    asked = call.bob.expect("INVITE")
    call.bob.respond(asked, 200, body=call.bob.offer(call.hears, version=2))
    answer = call.alice.expect_response(change, 200, 299)
    call.alice.acknowledge(call.outgoing)
    call.bob.expect("ACK")
    call.says.remote, call.hears.remote = media_address(answer.body), media_address(asked.body)
    call.talk(1.5)
    call.hang_up()
    server.assert_clean()
    assert (_closed(server, "force_terminated"), _closed(server, "terminated")) == (1, 1)


@pytest.mark.parametrize("side", ["caller", "callee"])
def test_a_blocked_side_is_not_heard_and_hears_on(server: Server, network: Network, side: str) -> None:
    call = _call(server, network)
    call.talk(1.0)
    server.verb("rtp", "block", call.outgoing.call_id, side)
    alice, bob = _heard(call, 1.0)
    assert (alice == 0) == (side == "callee")
    assert (bob == 0) == (side == "caller")
    assert alice + bob > 40
    server.verb("rtp", "block", call.outgoing.call_id)
    assert _heard(call, 0.5) == (0, 0)
    assert server.statistic("rtp:rtp_blocked") > 60
    assert f"blocked: {' and '.join(('callee', 'caller'))}" in _shown(server, call)
    server.verb("rtp", "unblock", call.outgoing.call_id)
    call.talk(1.0)
    call.hang_up()


def _shown(server: Server, call: Call) -> str:
    """What `rtp show` says of the sides that are blocked, in the words of its sentence."""
    [session] = server.ask("rtp", "show", call.outgoing.call_id)
    return "blocked: " + " and ".join(session["blocked"])


def test_a_drained_relay_refuses_new_calls_and_keeps_the_others(server: Server, network: Network) -> None:
    alice, bob = _agents(server, network)
    call = open_call(alice, bob, alice.stream(440.0), bob.stream(1000.0))
    server.verb("rtp", "disable")
    assert server.ask("rtp", "interfaces")[0]["disabled"] == 1
    eve = Agent(network.public_host("eve", 50), "eve", server.add_user("eve"))
    invite = eve.invite("bob", eve.offer(eve.stream(700.0)))
    refused = eve.expect_response(invite, 300, 699)
    eve.acknowledge_failure(invite, refused)
    assert refused.status == 503
    assert int(refused.get("Retry-After")) > 0
    call.talk(1.5)
    server.verb("rtp", "enable")
    second = open_call(eve, bob, eve.stream(700.0), bob.stream(1500.0))
    second.talk(1.0)
    second.hang_up()
    call.hang_up()
    with pytest.raises(Verb):
        server.verb("rtp", "disable", "nowhere")
