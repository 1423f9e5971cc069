"""svmap, svwar and svcrack, as everybody on the Internet runs them: they find nobody, and the owner registers
meanwhile. Once as the server is, and once with all that keeps scanners away switched off (threats 11, 12).
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from lab.agent import Agent
from lab.network import Network
from lab.process import Process
from lab.server import Server

pytest.importorskip("sipvicious")
pytestmark = pytest.mark.wire

TOOLS = Path(sys.executable).parent
USERS = ("100", "104", "120", "133", "149")
OPEN = {
    "ban.enabled": "false",
    "pike.reqs_density_per_unit": "100000",
    "ban.scanners": "no such scanner",
}


def started(network: Network, tool: str, *words: str, number: int) -> Process:
    name = f"{tool}{number}"
    host = network.public_host(name, number)
    command = (str(TOOLS / f"sipvicious_{tool}"), "-x", host.address, "-b", host.address, "-t", "0.002")
    home = {"HOME": str(network.directory)}
    return network.start(host, name, *command, *words, "203.0.113.1", environment=home)


def finished(tool: Process) -> str:
    """What it printed, when it has ended."""
    assert tool.wait(90) is not None
    return tool.text()


def found(text: str) -> list[str]:
    """The rows of its table of results."""
    return re.findall(r"^\s*[|│]\s*(\d{3,})\s*[|│].*$", text, re.MULTILINE)


@pytest.mark.parametrize("bare", [False, True])
def test_scanners_find_nobody_and_the_owner_registers_meanwhile(
    start_server: object, network: Network, bare: bool
) -> None:
    server: Server = start_server(OPEN if bare else {})  # type: ignore[operator]
    for user in USERS:
        server.verb("subscriber", "add", user, "--password", "900")
    owner = Agent(network.public_host("owner", 20), "100", "900")
    registered = 0
    wars = [
        started(network, "svwar", "-m", method, "-e", "100-160", "--force", number=30 + at)
        for at, method in enumerate(("REGISTER", "OPTIONS", "INVITE"))
    ]
    wars.append(started(network, "svmap", number=39))
    cracks = [
        started(network, "svcrack", "-u", user, "-r", "1-1000", number=40 + at)
        for at, user in enumerate(("100", "104"))
    ]
    for tool in (*wars, *cracks):
        assert owner.register().status == 200
        registered += 1
        text = finished(tool)
        assert found(text) == [], text
    assert owner.register().status == 200
    assert server.statistic("auth:verified") == registered + 1, "nobody else had a password right"
    assert server.statistic("auth:refused") <= 60, "for two who guess, and less than three minutes"


@pytest.mark.long
def test_they_do_get_in_where_nothing_holds_them_back(start_server: object, network: Network) -> None:
    """The proof of the proof: without the back-off a password of three digits is found in a moment."""
    server: Server = start_server({**OPEN, "auth.backoff_after": "0"})  # type: ignore[operator]
    server.verb("subscriber", "add", "100", "--password", "900")
    finished(started(network, "svcrack", "-u", "100", "-r", "1-1000", number=40))
    assert server.statistic("auth:verified") >= 1
    assert server.statistic("auth:refused") >= 500
