"""What of the kernel's path outlives the server, and what is gone with it: bpftool is the witness."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest
from conftest import Start
from lab.agent import Agent
from lab.calls import Call, connect, hang_up, open_call, phone_at
from lab.carried import wait_carried
from lab.network import SERVER, Network
from lab.process import eventually
from lab.server import EDGESIP, NOBODY, Server
from lab.stream import playing
from test_kernel_calls import TALK, talk

from edgesip.places import calls_db

pytestmark = pytest.mark.wire
KERNEL = {"relay.path": "kernel"}
WRITTEN = 1.5
"""Seconds after which a call is in the store."""
Things = set[tuple[str, int]]


def pins(server: Server) -> Path:
    """The folder of this server in its bpffs."""
    return server.state / "bpf" / "edgesip"


def in_kernel(server: Server) -> Things:
    """The maps, links and programs of a server, by their kinds and numbers."""
    if shutil.which("bpftool") is None:
        pytest.skip("looking at what is in the kernel takes the Debian package bpftool")
    found: Things = set()
    for path in pins(server).iterdir():
        kind = "link" if path.name.startswith(("tc-", "xdp-")) else "map"
        told = json.loads(_bpftool("-j", kind, "show", "pinned", str(path)).stdout)
        found.add((kind, told["id"]))
        if kind == "link":
            found.add(("prog", told["prog_id"]))
    return found


def _bpftool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bpftool", *arguments], capture_output=True, text=True, timeout=20)


def still(things: Things) -> Things:
    """Which of them there are now."""
    return {one for one in things if _bpftool(one[0], "show", "id", str(one[1])).returncode == 0}


@pytest.mark.long
def test_stop_leaves_nothing_in_the_kernel_and_kill_everything(start_server: Start, network: Network) -> None:
    server = start_server(KERNEL)
    alice = phone_at(server, network, "alice", "public")
    bob = phone_at(server, network, "bob", "port-restricted")
    connect(alice, bob)
    wait_carried(server)
    things = in_kernel(server)
    assert {kind for kind, _ in things} == {"map", "link", "prog"}
    time.sleep(WRITTEN)
    server.crash()
    assert still(things) == things
    server.start()
    kept = in_kernel(server)
    assert {one for one in kept if one[0] != "prog"} == {one for one in things if one[0] != "prog"}
    things |= kept
    talk(server, 2.0)
    hang_up(alice, bob)
    server.verb("stop")
    eventually("nothing of it in the kernel", lambda: not still(things), 10.0)
    assert not pins(server).exists()
    assert "clsact" not in server.host.namespace.run("tc", "qdisc", "show")
    server.start()


def call_of(network: Network, server: Server, name: str, number: int) -> Call:
    """A call between two scripted phones that stand for themselves."""
    agents = []
    for user, place in ((f"{name}1", number), (f"{name}2", number + 1)):
        agents.append(Agent(network.public_host(user, place), user, server.add_user(user)))
        assert agents[-1].register().status == 200
    alice, bob = agents
    return open_call(alice, bob, alice.stream(440.0), bob.stream(1000.0))


@pytest.mark.long
def test_the_next_server_takes_over_its_calls_and_deletes_the_flows_of_others(
    start_server: Start, network: Network
) -> None:
    """One of two calls is taken out of the store while no server runs."""
    server = start_server(KERNEL)
    kept, lost = call_of(network, server, "kept", 30), call_of(network, server, "lost", 40)
    with playing([kept.says, kept.hears, lost.says, lost.hears]):

        def carried() -> bool:
            found = [leg["carried_by"] for session in server.ask("rtp", "list") for leg in session["legs"]]
            return found == ["kernel"] * 4

        eventually("both calls in the kernel", carried)
        time.sleep(WRITTEN)
        server.crash()
        time.sleep(0.5)
        gone = lost.outgoing.call_id
        with closing(sqlite3.connect(calls_db(server.state))) as store, store:
            tables = store.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            for (table,) in tables:
                [(key,)] = store.execute(f"SELECT name FROM pragma_table_info('{table}') WHERE pk = 1")
                for row in store.execute(f"SELECT {key}, * FROM {table}").fetchall():
                    if any(gone in str(field) for field in row):
                        store.execute(f"DELETE FROM {table} WHERE {key} = ?", row[:1])
        flowing = len(kept.hears.received), len(lost.hears.received)
        time.sleep(1.0)
        assert len(kept.hears.received) - flowing[0] >= 45
        assert len(lost.hears.received) - flowing[1] >= 45, "nobody has said yet that it is over"
        server.start()
        assert server.process is not None
        server.process.wait_for(r"event='kernel flows forgotten' flows=2")
        time.sleep(0.5)
        flowing = len(kept.hears.received), len(lost.hears.received)
        time.sleep(2.0)
        assert len(kept.hears.received) - flowing[0] >= 90
        assert len(lost.hears.received) == flowing[1]
    wait_carried(server)
    first = kept.hears.numbers(kept.says)
    assert first == list(range(first[0], first[0] + len(first))), "and not one packet is missing"
    kept.hang_up()


def test_a_user_with_two_capabilities_has_the_kernel_carry(start_server: Start, network: Network) -> None:
    asked = subprocess.run(
        ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", EDGESIP, "--version"],
        capture_output=True,
    )
    if asked.returncode != 0:
        pytest.skip("the user nobody may not read this installation")
    server = start_server(KERNEL, only="+bpf,+net_admin")
    assert server.process is not None
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    assert f"CapEff:\t{1 << 39 | 1 << 12:016x}" in status
    assert f"Uid:\t{NOBODY}\t" in status
    alice = phone_at(server, network, "alice", "public")
    bob = phone_at(server, network, "bob", "symmetric")
    connect(alice, bob)
    talk(server)
    hang_up(alice, bob)
    alice.assert_heard(bob, TALK)
    bob.assert_heard(alice, TALK)


@pytest.mark.long
@pytest.mark.parametrize(("missing", "only"), [("bpf", "+net_admin"), ("net_admin", "+bpf")])
def test_with_one_capability_calls_go_on_by_python_and_the_reason_is_told(
    start_server: Start, network: Network, missing: str, only: str
) -> None:
    server = start_server(only=only)
    assert " path=user " in server.ready_line
    why = f"this process has no CAP_{missing.upper()}"
    assert server.process is not None
    assert why in server.process.text()
    alice = phone_at(server, network, "alice", "public")
    bob = phone_at(server, network, "bob", "symmetric")
    connect(alice, bob)
    wait_carried(server, "user")
    time.sleep(TALK)
    [session] = server.ask("rtp", "list")
    assert {leg["because"] for leg in session["legs"]} == {why}
    hang_up(alice, bob)
    alice.assert_heard(bob, TALK)
    bob.assert_heard(alice, TALK)
    assert session["legs"][0]["local"].startswith(SERVER)
