"""Who carries the media of calls on a server, and what of it its processes see.

Asks as an operator does; the witness is the kernel's count of datagrams that it gave to sockets.
"""

from __future__ import annotations

import re
from typing import Any

from lab.process import eventually
from lab.server import Server


def legs(server: Server) -> list[dict[str, Any]]:
    """The two sides of the one call."""
    [session] = server.ask("rtp", "list")
    found = session["legs"]
    assert isinstance(found, list)
    return found


def carried_by(server: Server) -> set[str]:
    """Who carries the one call."""
    return {leg["carried_by"] for leg in legs(server)}


def wait_carried(server: Server, carrier: str = "kernel", deadline: float = 10.0) -> None:
    """Wait until `carrier` carries both ways of the one call."""
    eventually(f"media by {carrier}", lambda: carried_by(server) == {carrier}, deadline, step=0.3)


def packets(server: Server) -> int:
    """RTP of the one call that came to the relay, whoever carried it."""
    return sum(int(leg["packets"]) for leg in legs(server))


def to_sockets(server: Server) -> int:
    """UDP datagrams that the kernel of this host has handed to a socket, of both families."""
    read = server.host.namespace.run
    found = re.search(r"^Udp: (\d+)", read("cat", "/proc/net/snmp"), re.MULTILINE)
    six = re.search(r"^Udp6InDatagrams\s+(\d+)", read("cat", "/proc/net/snmp6"), re.MULTILINE)
    assert found is not None
    assert six is not None
    return int(found[1]) + int(six[1])


class Span:
    """A piece of the one call: what arrived in it, and how much of that a socket got."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._begin = packets(server), to_sockets(server)

    def is_counted(self, seconds: float) -> bool:
        """Whether two streams of `seconds` are in the figures, which are of the last whole second."""
        return packets(self._server) - self._begin[0] >= 0.95 * 2 * seconds / 0.02

    def assert_kernel(self, seconds: float) -> None:
        """Two streams of G.711 ran for `seconds`, and not one packet in a hundred came up, SIP included."""
        came, up = packets(self._server) - self._begin[0], to_sockets(self._server) - self._begin[1]
        assert came >= 0.9 * 2 * seconds / 0.02, f"{came} packets in {seconds:g} s"
        assert up * 100 < came, f"{up} of {came} packets came to a socket"
        assert carried_by(self._server) == {"kernel"}
