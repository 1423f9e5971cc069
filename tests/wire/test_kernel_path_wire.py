"""A server with `[relay] path`: who carries its calls, what reaches Python of them, and what becomes of both
when routes change. The witness is the kernel: datagrams that it gave to sockets.
"""

from __future__ import annotations

import json
import re
import time

import pytest
from conftest import Start
from lab.agent import Agent
from lab.calls import Call, open_call
from lab.network import SERVER, SERVER6, Network
from lab.process import eventually
from lab.server import EDGESIP, Server
from lab.stream import playing

pytestmark = pytest.mark.wire

NOT_OURS = "203.0.113.30"


def call_of(server: Server, network: Network, address: str = SERVER) -> Call:
    """alice on a public address, bob behind a symmetric NAT; over IPv6 on a public one, too."""
    bob_host = network.public_host("bob", 20) if ":" in address else network.nat_host("bob", 20, "symmetric")
    alice_host = network.public_host("alice", 30)
    alice, bob = (
        Agent(host, name, server.add_user(name), server=address)
        for host, name in ((alice_host, "alice"), (bob_host, "bob"))
    )
    assert alice.register().status == 200
    assert bob.register().status == 200
    return open_call(alice, bob, alice.stream(440.0), bob.stream(1000.0))


def settle(call: Call, server: Server, carrier: str = "kernel") -> None:
    """Play until both ways are carried."""
    with playing([call.says, call.hears]):
        eventually(carrier, lambda: carried_by(server) == {carrier}, 10.0, step=0.3)
        time.sleep(0.1)


def legs(server: Server) -> list[dict[str, str]]:
    [session] = server.ask("rtp", "list")
    found = session["legs"]
    assert isinstance(found, list)
    return found


def carried_by(server: Server) -> set[str]:
    return {leg["carried_by"] for leg in legs(server)}


def to_sockets(server: Server) -> int:
    """UDP datagrams that the kernel of this host has handed to a socket, of both families."""
    read = server.host.namespace.run
    found = re.search(r"^Udp: (\d+)", read("cat", "/proc/net/snmp"), re.MULTILINE)
    six = re.search(r"^Udp6InDatagrams\s+(\d+)", read("cat", "/proc/net/snmp6"), re.MULTILINE)
    assert found is not None
    assert six is not None
    return int(found[1]) + int(six[1])


def arrived(server: Server, device: str) -> int:
    """Packets that came in by an interface of the server's host."""
    [link] = json.loads(server.host.namespace.run("ip", "-s", "-j", "link", "show", "dev", device))
    return int(link["stats64"]["rx"]["packets"])


def mounts(network: Network) -> list[str]:
    with open("/proc/self/mountinfo") as lines:
        return [line for line in lines if str(network.directory) in line]


@pytest.mark.parametrize(
    ("address", "settings"),
    [(SERVER, {}), (SERVER, {"relay.kernel_next_hop": "mac"}), (SERVER6, {})],
    ids=["IPv4", "MAC addresses written down", "IPv6"],
)
def test_the_kernel_carries_a_call_and_python_sees_less_than_a_hundredth_of_it(
    start_server: Start, network: Network, address: str, settings: dict[str, str]
) -> None:
    server = start_server({"relay.path": "kernel", **settings})
    assert " path=kernel " in server.ready_line
    call = call_of(server, network, address)
    settle(call, server)
    before, heard = to_sockets(server), [len(call.says.received), len(call.hears.received)]
    call.talk(6.0)
    went = len(call.says.received) + len(call.hears.received) - sum(heard)
    assert went >= 590
    assert (to_sockets(server) - before) * 100 < went
    eventually(
        "all counted", lambda: sum(int(leg["packets"]) for leg in legs(server)) >= went + sum(heard), 5.0
    )
    call.hang_up()
    eventually("the end", lambda: not server.ask("rtp", "list"), 5.0)
    assert server.process is not None
    ended = server.process.wait_for(r"event='media ended'.* caller_packets=(\d+) caller_loss=0.0 .*")
    assert int(ended[1]) >= went // 2


def test_the_user_path_is_as_before(start_server: Start, network: Network) -> None:
    server = start_server({"relay.path": "user"})
    assert " path=user " in server.ready_line
    call = call_of(server, network)
    settle(call, server, "user")
    before, heard = to_sockets(server), len(call.says.received) + len(call.hears.received)
    call.talk(2.0)
    assert to_sockets(server) - before >= len(call.says.received) + len(call.hears.received) - heard
    call.hang_up()


def test_a_route_that_goes_takes_the_stream_to_python_and_one_that_comes_back(
    start_server: Start, network: Network
) -> None:
    server = start_server()
    call = call_of(server, network)
    settle(call, server)
    server.host.namespace.run("ip", "route", "add", "blackhole", f"{NOT_OURS}/32")
    eventually("the slow path", lambda: carried_by(server) == {"user"}, 5.0)
    assert {f"no route from {SERVER} to {NOT_OURS}" in leg["because"] for leg in legs(server)} == {True}
    server.host.namespace.run("ip", "route", "del", "blackhole", f"{NOT_OURS}/32")
    eventually("the kernel", lambda: carried_by(server) == {"kernel"}, 5.0)
    call.talk(2.0)
    call.hang_up()


def test_media_follows_a_route_to_another_interface(start_server: Start, network: Network) -> None:
    """For a while bob's router is said to be in another network: what is for him leaves by `other` then."""
    server = start_server()
    call = call_of(server, network)
    settle(call, server)
    here = server.host.namespace
    here.run("ip", "link", "add", "other", "type", "veth", "peer", "name", "beyond")
    for command in ("link set other up", "link set beyond up", "addr add 192.0.2.1/24 dev other"):
        here.run("ip", *command.split())
    here.run("ip", "neigh", "add", "192.0.2.9", "lladdr", "02:00:00:00:00:09", "dev", "other")
    here.run("ip", "route", "add", "203.0.113.20/32", "via", "192.0.2.9")
    time.sleep(0.5)
    before, python = arrived(server, "beyond"), to_sockets(server)
    with playing([call.says, call.hears]):
        time.sleep(2.0)
    assert arrived(server, "beyond") - before >= 95
    assert to_sockets(server) - python <= 4
    assert carried_by(server) == {"kernel"}
    here.run("ip", "route", "del", "203.0.113.20/32")
    time.sleep(0.5)
    call.talk(2.0)
    assert carried_by(server) == {"kernel"}
    call.hang_up()


def test_nothing_is_left_when_the_server_ends(start_server: Start, network: Network) -> None:
    server = start_server({"relay.path": "kernel"})
    call = call_of(server, network)
    settle(call, server)
    assert len(mounts(network)) <= 1
    assert server.process is not None
    server.process.stop()
    assert mounts(network) == []
    assert not (server.state / "bpf").exists()
    server.start()
    assert " path=kernel " in server.ready_line
    settle(call, server)
    call.hang_up()


def test_media_goes_on_without_the_server_and_the_next_one_takes_it_over(
    start_server: Start, network: Network
) -> None:
    server = start_server({"relay.path": "kernel"})
    call = call_of(server, network)
    settle(call, server)
    time.sleep(1.5)  # the call is written down
    counted = sum(int(leg["packets"]) for leg in legs(server))
    server.crash()
    call.talk(3.0)
    server.start()
    assert server.process is not None
    server.process.wait_for(r"event='calls taken up again' calls=1 media=1")
    settle(call, server)
    assert sum(int(leg["packets"]) for leg in legs(server)) >= counted + 290
    call.talk(1.0)
    call.hang_up()


def test_a_server_that_does_not_use_it_takes_away_what_a_crashed_one_has_left(
    start_server: Start, network: Network
) -> None:
    server = start_server({"relay.path": "kernel"})
    call = call_of(server, network)
    settle(call, server)
    time.sleep(1.5)  # the call is written down
    server.crash()
    assert len(mounts(network)) == 1
    server.settings["relay.path"] = "user"
    server.start()
    assert mounts(network) == []
    settle(call, server, "user")
    call.hang_up()


def unprivileged(network: Network, server: Server, path: str) -> list[str]:
    """The command line of another server on the same host, without any capability."""
    state = network.directory / f"state-{path}"
    state.mkdir()
    return [
        *("setpriv", "--inh-caps=-all", "--bounding-set=-all", EDGESIP, "run", "--profile", "nat-sbc"),
        *("--listen", f"udp:{SERVER}:5070", "--state-dir", str(state), "--set", f"relay.path={path}"),
    ]


def test_without_capabilities_auto_says_why_not_and_kernel_does_not_start(
    start_server: Start, network: Network
) -> None:
    server = start_server({"relay.path": "user"})
    auto = network.start(server.host, "edgesip-auto", *unprivileged(network, server, "auto"))
    ready = auto.wait_for(r"^ready.*$", deadline=20.0)[0]
    assert " path=user " in ready
    assert "CAP_BPF" in auto.text()
    refused = network.start(server.host, "edgesip-kernel", *unprivileged(network, server, "kernel"))
    eventually("its end", lambda: not refused.is_running, 20.0)
    assert re.search(r"relay\.path: .*CAP_BPF", refused.text())
    assert "Traceback" not in refused.text()
