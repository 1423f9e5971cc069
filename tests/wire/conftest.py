"""Fixtures of the wire tests, and the story a failed one tells: ladder of SIP messages, logs."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from authority import Authority
from lab.needs import missing
from lab.network import Network
from lab.server import Server
from lab.trunk import tls_settings

os.environ["PATH"] = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in the background of a shell; children inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)
_LOG_TAIL = 12000  # characters of each log shown for a failure

Start = Callable[..., Server]
_failed = pytest.StashKey[bool]()
_story = pytest.StashKey[Callable[[], list[tuple[str, str]]]]()


@pytest.fixture
def network(request: pytest.FixtureRequest) -> Iterator[Network]:
    """An empty public segment; hosts are added by the test."""
    reason = missing()
    if reason:
        pytest.skip(reason)
    lab = Network()
    request.node.stash[_story] = lambda: [
        (f"log of {process.name}", process.text()[-_LOG_TAIL:])
        for process in lab.processes
        if not process.name.startswith("tcpdump")
    ]
    try:
        yield lab
    finally:
        lab.close()


@pytest.fixture
def start_server(request: pytest.FixtureRequest, network: Network) -> Iterator[Start]:
    """Start servers with the settings of the test; each must be clean at its end."""
    servers: list[Server] = []

    def start(
        settings: dict[str, str] | None = None,
        *,
        name: str = "server",
        number: int = 1,
        ignore: str = "",
        descriptors: int = 0,
        profile: str = "nat-sbc",
        sip: bool = True,
        lan: str = "",
        without: str = "",
        only: str = "",
    ) -> Server:
        host = network.public_host(name, number)
        server = Server(network, host, settings, ignore, descriptors, profile, sip, without, only)
        server.lan = network.own_lan(host, lan) if lan else None
        servers.append(server)
        server.start()
        return server

    logs = request.node.stash[_story]
    request.node.stash[_story] = lambda: [
        *((f"ladder of {server.host.name}", server.story()) for server in servers),
        *logs(),
    ]
    yield start
    if request.node.stash.get(_failed, False):
        return
    try:
        for server in servers:
            server.assert_clean()
    except AssertionError:
        told = request.node.stash[_story]()
        request.node.stash[_story] = lambda: told
        raise


@pytest.fixture
def authority(network: Network) -> Authority:
    """An issuer of certificates; its files go with the network."""
    return Authority(network.directory)


@pytest.fixture
def tls_server(start_server: Start, authority: Authority) -> Server:
    """The server at 203.0.113.1, which listens for TLS too and proves its addresses."""
    return start_server(tls_settings(authority))


@pytest.fixture
def server(start_server: Start) -> Server:
    """The server at 203.0.113.1 with the settings every test wants."""
    return start_server()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    outcome: Any = yield
    report: pytest.TestReport = outcome.get_result()
    if report.failed:
        item.stash[_failed] = True
        tell = item.stash.get(_story, None)
        if tell is not None:
            report.sections.extend(tell())
