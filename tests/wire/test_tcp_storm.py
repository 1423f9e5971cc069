"""Many TCP clients at once that go away in the middle, or never read: what they took comes back."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from lab.agent import Agent
from lab.link import TcpLink
from lab.network import SERVER, Host, Network
from lab.process import eventually
from lab.server import Server, Verb

pytestmark = [pytest.mark.wire, pytest.mark.long]
PLACE = (SERVER, 5060)
PER_HOST = 50
INVITES = 40
NOBODY = "203.0.113.253"
SCRIPT = f"""
from edgesip.script import Call, Decision, Forward

def request(call: Call) -> Decision:
    if call.method == "OPTIONS":
        return call.options_reply()
    return Forward(("sip:{NOBODY}:5060",))
"""


@pytest.fixture
def forwarding(start_server: Callable[..., Server], tmp_path: Path) -> Server:
    """A server that sends every INVITE to where nobody is."""
    script = tmp_path / "nowhere.py"
    script.write_text(SCRIPT)
    settings = {"route": str(script), "tm.fr_timer": "3000", "siptrace.trace_on": "false"}
    return start_server(settings)


def memory(server: Server) -> int:
    """Resident KiB."""
    assert server.process is not None
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def open_connections(server: Server) -> int:
    return server.statistic("tcp:current_opened_connections")


def is_over(server: Server) -> bool:
    """True when two connections are left, and nothing else; a server too busy to say has not ended."""
    try:
        return open_connections(server) == 2 and not server.leftovers()
    except (Verb, subprocess.TimeoutExpired):
        return False


def crowd(network: Network, count: int, first: int) -> list[Host]:
    return [network.public_host(f"crowd{first + number}", first + number) for number in range(count)]


def test_a_hundred_connections_of_invites_that_are_reset_leave_nothing(
    forwarding: Server, network: Network
) -> None:
    """Three rounds, each cut off by RST; what memory the records of ended calls take goes minutes later."""
    hosts = crowd(network, 2, 60)
    agents = [Agent(host, "eve", transport="tcp") for host in hosts]
    taken: list[int] = []
    for _ in range(3):
        links = [TcpLink(host, PLACE) for host in hosts for _ in range(PER_HOST)]
        for number, link in enumerate(links):
            agent = agents[number // PER_HOST]
            invites = [agent.build("INVITE", f"sip:bob@{SERVER}").encode() for _ in range(INVITES)]
            with contextlib.suppress(OSError):
                link.socket.settimeout(20.0)
                link.socket.sendall(b"".join(sized(octets) for octets in invites))
        for link in links:
            link.reset()
        eventually("an end", lambda: is_over(forwarding), deadline=150.0, step=1.0)
        taken.append(memory(forwarding))
    assert taken[2] - taken[1] < 24 * 1024, taken
    for agent in agents:
        assert agent.ask(agent.build("OPTIONS", f"sip:{SERVER}")).status == 200


def sized(octets: bytes) -> bytes:
    """With the Content-Length that a stream needs."""
    return octets if b"Content-Length" in octets else octets.replace(b"\r\n\r\n", b"\r\nl: 0\r\n\r\n")


def test_two_hundred_who_never_read_take_a_bounded_part_of_memory(
    forwarding: Server, network: Network
) -> None:
    hosts = crowd(network, 4, 60)
    other = Agent(network.public_host("other", 70), "other", transport="tcp")
    before = memory(forwarding)
    links = [TcpLink(host, PLACE) for host in hosts for _ in range(PER_HOST)]
    asks = b"".join(other.build("OPTIONS", f"sip:{SERVER}").encode() for _ in range(100))
    most = 0
    for _ in range(30):
        for link in links:
            link.socket.settimeout(0.01)
            with contextlib.suppress(OSError):
                link.socket.sendall(asks)
        most = max(most, memory(forwarding))
        answer = other.ask(other.build("OPTIONS", f"sip:{SERVER}"))
        assert answer.status in (200, 503), "answered, if only that there is too much to do"
    assert most - before < 200 * 512, "half a megabyte for each, at most"
    begun = time.monotonic()
    eventually("they are closed", lambda: open_connections(forwarding) == 1, deadline=150.0, step=1.0)
    assert time.monotonic() - begun < 145.0

    def is_served() -> bool:
        return other.ask(other.build("OPTIONS", f"sip:{SERVER}")).status == 200

    eventually("who comes again is let in", is_served, deadline=60.0, step=2.0)
    for link in links:
        link.close()
