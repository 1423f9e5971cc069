"""Calls that outlive the server: killed while phones talk, started again, and both hear the other on."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from conftest import Start
from lab.agent import Agent
from lab.calls import connect, hang_up, open_call, phone_at
from lab.network import Network
from lab.process import eventually
from lab.server import Server, Verb
from lab.stream import Stream

pytestmark = pytest.mark.wire
BEFORE, AWAY, AFTER = 4.0, 4.0, 6.0
CALLS, ROUNDS = 100, 50


def _counted(server: Server) -> list[int]:
    [session] = server.ask("rtp", "list")
    return [leg["packets"] for leg in session["legs"]]


@pytest.mark.parametrize(
    ("how", "path", "hangs_up"),
    [("kill -9", "user", "caller"), ("kill -9", "kernel", "callee"), ("stop", "user", "callee")],
)
def test_a_call_goes_on_with_the_next_server_through_the_same_ports(
    start_server: Start, network: Network, how: str, path: str, hangs_up: str
) -> None:
    """What the kernel carries is heard while no server is there, too."""
    server = start_server({"relay.path": path})
    alice = phone_at(server, network, "alice", "port-restricted")
    bob = phone_at(server, network, "bob", "symmetric")
    connect(alice, bob)
    time.sleep(BEFORE)
    [before] = server.ask("rtp", "list")
    if how == "stop":
        server.verb("stop")
    else:
        server.crash()
    away = AWAY if path == "kernel" else 0.0
    time.sleep(away)
    server.start()
    [after] = server.ask("rtp", "list")
    for name in ("call-id", "from_tag", "to_tag"):
        assert after[name] == before[name]
    for name in ("side", "local", "remote", "state", "rank"):
        assert [leg[name] for leg in after["legs"]] == [leg[name] for leg in before["legs"]]
    assert [leg["carried_by"] for leg in before["legs"] + after["legs"]] == [path] * 4
    first = _counted(server)
    if how == "stop":
        assert all(now >= leg["packets"] for now, leg in zip(first, before["legs"], strict=True))
    time.sleep(AFTER)
    assert all(now - then > 0.8 * AFTER / 0.02 for then, now in zip(first, _counted(server), strict=True))
    [told] = server.ask("call", "why", before["call-id"])
    assert (told["state"], {leg["verdict"] for leg in told["legs"]}) == ("up", {"fine"})
    hang_up(*((alice, bob) if hangs_up == "caller" else (bob, alice)))
    server.assert_clean()
    alice.assert_heard(bob, BEFORE + away + AFTER)
    bob.assert_heard(alice, BEFORE + away + AFTER)


def test_a_phone_that_is_gone_meanwhile_costs_its_call_only_its_silence(
    server: Server, network: Network
) -> None:
    server.settings["relay.timeout"] = "3"
    alice = phone_at(server, network, "alice", "public")
    bob = phone_at(server, network, "bob", "port-restricted")
    connect(alice, bob)
    time.sleep(BEFORE)
    server.crash()
    alice.process.kill()
    bob.process.kill()
    server.start()
    assert len(server.ask("rtp", "list")) == 1
    eventually("the end of the call", lambda: not server.ask("rtp", "list"), 10.0)


def _round(streams: list[Stream]) -> None:
    """Each stream says one packet, and hears what there is."""
    for stream in streams:
        stream.send_packet()
    for stream in streams:
        stream.drain()


def test_a_hundred_calls_lose_nothing_while_no_server_is_there(start_server: Start, network: Network) -> None:
    """One round of all streams takes some 0.05 s: it is their number that matters here, not their pace."""
    server = start_server({"relay.path": "kernel"})
    alice, bob = (
        Agent(network.public_host(name, number), name, server.add_user(name))
        for name, number in (("alice", 30), ("bob", 20))
    )
    assert alice.register().status == bob.register().status == 200
    calls = [open_call(alice, bob, alice.stream(440.0), bob.stream(1000.0)) for _ in range(CALLS)]
    streams = [stream for call in calls for stream in (call.says, call.hears)]

    def carried() -> bool:
        _round(streams)
        found = [leg["carried_by"] for session in server.ask("rtp", "list") for leg in session["legs"]]
        return found == ["kernel"] * len(streams)

    eventually("the kernel carries all of them", carried, 20.0)
    time.sleep(1.5)  # they are written down
    server.crash()
    first = [call.says.number for call in calls], [call.hears.number for call in calls]
    for _ in range(ROUNDS):
        _round(streams)
    server.start()
    for _ in range(ROUNDS):
        _round(streams)
    time.sleep(0.2)
    _round(streams)
    for call, says, hears in zip(calls, *first, strict=True):
        for sender, listener, begin in ((call.says, call.hears, says), (call.hears, call.says, hears)):
            wanted = [number & 0xFFFF for number in range(begin, begin + 2 * ROUNDS)]
            assert [number for number in listener.numbers(sender) if number in wanted] == wanted
    found = server.ask("rtp", "list")
    assert {leg["carried_by"] for session in found for leg in session["legs"]} == {"kernel"}
    sent = sum(len(stream.received) for stream in streams)
    eventually("all are counted", lambda: _all_packets(server) >= sent, 5.0)
    for call in calls:
        call.hang_up()
    server.assert_clean()


def _all_packets(server: Server) -> int:
    return sum(leg["packets"] for session in server.ask("rtp", "list") for leg in session["legs"])


def test_stop_takes_away_what_a_killed_server_has_left_in_the_kernel(
    start_server: Start, network: Network
) -> None:
    server = start_server({"relay.path": "kernel"})
    server.crash()
    [pinned] = [
        line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(server.state) in line
    ]
    assert " bpf " in pinned
    told = server.ask("stop")
    assert (told["pid"], told["taken_away"]) == (None, str(server.state / "bpf" / "edgesip"))
    assert str(server.state) not in Path("/proc/self/mountinfo").read_text()
    with pytest.raises(Verb, match="no server runs"):
        server.verb("stop")
    server.start()  # for the fixture, that wants to see it clean
