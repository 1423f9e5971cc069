"""The kernel as a dict: what `KernelPath` needs of the program and of routes, with no kernel behind it."""

from __future__ import annotations

import numpy as np

from edgesip.address import Addr
from edgesip.relay.kernel import abi
from edgesip.relay.kernel.abi import KernelCounters, KernelFlow
from edgesip.relay.kernel.program import KernelError
from edgesip.relay.kernel.routes import Hop, Interface, Way

MINE = bytes.fromhex("020000000001")
THEIRS = bytes.fromhex("020000000002")
NONE = KernelCounters(0, 0, 0, 0.0, 0.0, 0, 0, 0, abi.NO_EVENTS, 0, 0, 0, 0.0, 0, 0.0, 0.0)

LO = Interface(1, "lo", 772, bytes(6), 65536, True)
ETH0 = Interface(2, "eth0", 1, MINE, 1500, True)
ETH1 = Interface(3, "eth1", 1, MINE, 1500, True)


def hop(link: Interface = ETH0, neighbour: str = "203.0.113.254", mac: bytes = b"") -> Hop:
    return Hop(link.number, link.name, neighbour, link.mtu, link.mac, mac)


class TwinProgram:
    """Flows and what they counted; `unfit` says of (interface, hook) why it cannot be there."""

    def __init__(self, unfit: dict[tuple[int, str], str] | None = None, room: int = 100) -> None:
        self.unfit = unfit or {}
        self.room = room
        self.flows: dict[tuple[Addr, Addr], KernelFlow] = {}
        self.counted: dict[tuple[Addr, Addr], KernelCounters] = {}
        self.left: set[tuple[Addr, Addr]] = set()
        self.hooks: dict[int, str] = {}
        self.told: list[tuple[Addr, bytes]] = []
        self.puts = 0
        self.removed = False
        self.copies_fd = -1

    def attach(self, ifindex: int, hook: str = "tc") -> str:
        if (ifindex, "tc") in self.unfit:
            raise KernelError(self.unfit[ifindex, "tc"])
        self.hooks[ifindex] = hook
        return self.unfit.get((ifindex, hook), "")

    def detach(self, ifindex: int) -> None:
        del self.hooks[ifindex]

    def put(self, flow: KernelFlow) -> None:
        if len(self.flows) >= self.room:
            raise KernelError("the kernel has no room for another flow")
        self.puts += 1
        ends = flow.local, flow.remote
        self.flows[ends] = flow
        if ends not in self.left:
            self.counted[ends] = NONE
        self.left.discard(ends)

    def crash(self) -> None:
        """The process is gone; the next one finds the flows."""
        self.left = set(self.flows)

    def disown(self) -> int:
        left, self.left = self.left, set()
        for ends in left:
            self.drop(*ends)
        return len(left)

    def drop(self, local: Addr, remote: Addr) -> KernelCounters | None:
        self.left.discard((local, remote))
        self.flows.pop((local, remote), None)
        return self.counted.pop((local, remote), None)

    def read(self, local: Addr, remote: Addr) -> KernelCounters | None:
        return self.counted.get((local, remote))

    def read_all(self) -> abi.Rows:
        rows = np.zeros(len(self.counted), abi.ROW)
        for row, (ends, one) in zip(rows, self.counted.items(), strict=True):
            row["key"] = abi.key(*ends).ljust(36, b"\0")
            counters = row["counters"]
            counters["started"] = one.payload_type != abi.NO_EVENTS
            counters["highest"] = one.sequence
            counters["jitter"] = one.jitter * 16e9
            for name in ("at", "first_at", "gap", "gap_at"):
                counters[name] = getattr(one, name) * 1e9
            for name in ("packets", "octets", "ssrc", "timestamp", "payload_type", "lost", "reordered"):
                counters[name] = getattr(one, name)
            counters["changes"], counters["duplicates"] = one.changes, one.duplicates
        return rows

    def copies(self) -> list[tuple[Addr, bytes]]:
        told, self.told = self.told, []
        return told

    def remove(self) -> None:
        self.removed = True


class TwinWays:
    """Routes as the test says: everything leaves by eth0, but for what is in `ways`."""

    def __init__(self) -> None:
        self.links = {link.number: link for link in (LO, ETH0, ETH1)}
        self.hosts = {"127.0.0.1": 1, "::1": 1, "203.0.113.1": 2, "2001:db8::1": 2, "192.0.2.1": 3}
        self.ways: dict[str, Way] = {}
        self.given: dict[tuple[str, str], Way] = {}
        self.news = False
        self.asked = 0
        self.closed = False

    def way(self, source: str, target: str) -> Way:
        if (source, target) not in self.given:
            self.asked += 1
            self.given[source, target] = self.ways.get(target, hop())
        return self.given[source, target]

    def knows(self, source: str, target: str) -> bool:
        return (source, target) in self.given

    def holder(self, host: str) -> int:
        return self.hosts.get(host, 0)

    def interface(self, index: int) -> Interface | None:
        return self.links.get(index)

    def change(self, **ways: Way) -> None:
        """From now on these are the ways, and whoever asked has to ask again."""
        self.ways |= {target.replace("_", "."): way for target, way in ways.items()}
        self.given.clear()
        self.news = True

    def changed(self) -> bool:
        news, self.news = self.news, False
        return news

    def fileno(self) -> int:
        return -1

    def close(self) -> None:
        self.closed = True
