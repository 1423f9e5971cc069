"""Calls that outlive the server: killed while phones talk, started again, and both hear the other on."""

from __future__ import annotations

import time

import pytest
from lab.calls import connect, hang_up, phone_at
from lab.network import Network
from lab.process import eventually
from lab.server import Server

pytestmark = pytest.mark.wire
BEFORE, AFTER = 4.0, 6.0


def _counted(server: Server) -> list[int]:
    [session] = server.ask("rtp", "list")
    return [leg["packets"] for leg in session["legs"]]


@pytest.mark.parametrize(("how", "hangs_up"), [("kill -9", "caller"), ("stop", "callee")])
def test_a_call_goes_on_with_the_next_server_through_the_same_ports(
    server: Server, network: Network, how: str, hangs_up: str
) -> None:
    alice = phone_at(server, network, "alice", "port-restricted")
    bob = phone_at(server, network, "bob", "symmetric")
    connect(alice, bob)
    time.sleep(BEFORE)
    [before] = server.ask("rtp", "list")
    if how == "stop":
        server.verb("stop")
    else:
        server.crash()
    server.start()
    [after] = server.ask("rtp", "list")
    for name in ("call-id", "from_tag", "to_tag"):
        assert after[name] == before[name]
    for name in ("side", "local", "remote", "state", "rank", "carried_by"):
        assert [leg[name] for leg in after["legs"]] == [leg[name] for leg in before["legs"]]
    first = _counted(server)
    if how == "stop":
        assert all(now >= leg["packets"] for now, leg in zip(first, before["legs"], strict=True))
    time.sleep(AFTER)
    assert all(now - then > 0.8 * AFTER / 0.02 for then, now in zip(first, _counted(server), strict=True))
    [told] = server.ask("call", "why", before["call-id"])
    assert (told["state"], {leg["verdict"] for leg in told["legs"]}) == ("up", {"fine"})
    hang_up(*((alice, bob) if hangs_up == "caller" else (bob, alice)))
    server.assert_clean()
    alice.assert_heard(bob, BEFORE + AFTER)
    bob.assert_heard(alice, BEFORE + AFTER)


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
