"""The kernel path: rules of the relay as flows of the kernel program, and what these have counted.

Finds each rule its way out, sees to it that the program is where its packets come in, and says which rules
are to be put anew when a way has changed. Refuses to know bpf(2), netlink and calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from edgesip.address import Addr, is_loopback
from edgesip.relay.kernel import abi
from edgesip.relay.kernel.abi import CACHED, NEIGHBOUR, KernelCounters, KernelFlow
from edgesip.relay.kernel.program import KernelError
from edgesip.relay.kernel.routes import Interface, Way
from edgesip.relay.path import Figures
from edgesip.relay.rule import Rule
from edgesip.relay.track import Heads

KERNEL: Final = "kernel"
"""What operators read where the kernel carries."""
SLICE: Final = 200
"""Questions about routes in one go: some 6 ms."""
LARGEST: Final = 65535
"""Octets of the largest IP packet; the MTU of loopback is above."""
TC, XDP = "tc", "xdp"
_KEY: Final = abi.ROW["key"].itemsize


class Kernel(Protocol):
    """What is needed of `program.Program`."""

    @property
    def copies_fd(self) -> int:
        """Readable while `copies` has something."""
        ...

    def attach(self, ifindex: int, hook: str = TC) -> str:
        """See what comes in by this interface; why not as early as that is wished. Raises `KernelError`."""
        ...

    def detach(self, ifindex: int) -> None:
        """See it no more."""
        ...

    def put(self, flow: KernelFlow) -> None:
        """Carry it from now on; what a former process has left goes on counting. Raises `KernelError`."""
        ...

    def disown(self) -> int:
        """Forget what a former process has left and nobody has put again."""
        ...

    def drop(self, local: Addr, remote: Addr) -> KernelCounters | None:
        """Carry it no more; what it has counted."""
        ...

    def read(self, local: Addr, remote: Addr) -> KernelCounters | None:
        """What it has counted."""
        ...

    def read_all(self) -> abi.Rows:
        """What all flows have counted: rows of `abi.ROW`."""
        ...

    def copies(self) -> list[tuple[Addr, bytes]]:
        """Packets that userspace should know of."""
        ...

    def remove(self) -> None:
        """Leave nothing in the kernel."""
        ...


class Ways(Protocol):
    """What is needed of `routes.Routes`."""

    asked: int

    def way(self, source: str, target: str) -> Way:
        """How a packet leaves."""
        ...

    def knows(self, source: str, target: str) -> bool:
        """Whether the last answer still holds."""
        ...

    def holder(self, host: str) -> int:
        """Which interface has this address."""
        ...

    def interface(self, index: int) -> Interface | None:
        """The link with this index."""
        ...

    def changed(self) -> bool:
        """Take in notices; True when some pair has to be asked again."""
        ...

    def fileno(self) -> int:
        """A file that is readable when `changed` may have something."""
        ...

    def close(self) -> None:
        """It is not asked any more."""
        ...


class _Carried(NamedTuple):
    """A rule that the program has, and the flow that was made of it."""

    rule: Rule
    flow: KernelFlow


class KernelPath:
    """Carries by the kernel program. With `xdp` its packets are taken by XDP where an interface has that.

    With `cached` the next hop's MAC address is written into each packet, else the kernel looks for it. What a
    former process has left in the program goes on until `forget_others`.
    """

    def __init__(self, program: Kernel, routes: Ways, *, xdp: bool = False, cached: bool = False) -> None:
        self._program = program
        self._routes = routes
        self._xdp = xdp
        self._cached = cached or xdp
        self._carried: dict[Addr, _Carried] = {}
        self._refused: dict[Addr, tuple[Rule, str]] = {}
        self._doubted: dict[Addr, None] = {}
        self._unfit: dict[int, str] = {}
        self._hooks: dict[int, str] = {}
        self._fresh: set[Addr] = set()
        self._swept: dict[bytes, int] = {}
        self._columns: tuple[NDArray[Any], ...] = ()
        self._sum = (0, 0)

    def prepare(self, host: str) -> str:
        """Be where packets to this address come in; "" or why that cannot be, as a sentence."""
        holder = self._holder(host)
        return self._at(holder) if holder else f"{host} is no address of this host"

    @property
    def notices(self) -> int:
        """A file that is readable when `stale` may have something."""
        return self._routes.fileno()

    def fileno(self) -> int:
        """A file that is readable while `copies` has something."""
        return self._program.copies_fd

    def copies(self) -> Sequence[tuple[Addr, bytes]]:
        """Packets that were forwarded and that the core has to know of, and where they came to."""
        return self._program.copies()

    @property
    def hooks(self) -> dict[str, str]:
        """By the names of the interfaces: where the program sees their packets, "tc" or "xdp"."""
        found = {self._routes.interface(index): hook for index, hook in self._hooks.items()}
        return {link.name: hook for link, hook in found.items() if link is not None}

    # Rules.

    def put(self, rule: Rule) -> bool:
        """Carry it, if it has a way in and a way out that this path can go; `because` says what is wrong."""
        local = rule.local
        self._doubted.pop(local, None)
        self._refused.pop(local, None)
        before = self._carried.pop(local, None)
        flow = self._flow(rule)
        if before is not None and (isinstance(flow, str) or before.rule.remote != rule.remote):
            self._program.drop(local, before.rule.remote)
        if not isinstance(flow, str):
            try:
                self._program.put(flow)
            except KernelError as error:
                flow = str(error)
        if isinstance(flow, str):
            self._refused[local] = rule, flow
            return False
        self._carried[local] = _Carried(rule, flow)
        self._fresh.add(local)
        return True

    def forget_others(self) -> int:
        """Drop what a former process has left and nobody has put again since: how many flows that were."""
        return self._program.disown()

    def drop(self, local: Addr) -> Figures | None:
        """Carry it no more, and forget that it was refused."""
        self._doubted.pop(local, None)
        self._refused.pop(local, None)
        carried = self._carried.pop(local, None)
        if carried is None:
            return None
        swept = self._swept.pop(_row(local, carried.rule.remote), None)
        if swept is not None and not carried.rule.is_rtcp:  # whoever drops it counts that from now on
            packets, octets, *_ = self._columns
            self._sum = self._sum[0] - packets.item(swept), self._sum[1] - octets.item(swept)
        last = self._program.drop(local, carried.rule.remote)
        return None if last is None else figures_of(last)

    def counters(self, local: Addr) -> Figures | None:
        """What it has carried by now."""
        carried = self._carried.get(local)
        last = None if carried is None else self._program.read(local, carried.rule.remote)
        return None if last is None else figures_of(last)

    def heads(self, local: Addr) -> Heads | None:
        """None: no packet is shown."""
        return None

    def carrier(self, local: Addr) -> str:
        """The kernel, where it carries."""
        return KERNEL if local in self._carried else ""

    def because(self, local: Addr) -> str:
        """Why the rule of this port was refused."""
        refused = self._refused.get(local)
        return "" if refused is None else refused[1]

    def sweep(self) -> None:
        """Read all flows at once."""
        rows = self._program.read_all()
        self._fresh.clear()
        counters = rows["counters"]
        seconds = [counters[name] * 1e-9 for name in ("at", "first_at", "gap", "gap_at")]
        at, first_at, gap, gap_at = seconds
        self._columns = (
            counters["packets"],
            counters["octets"],
            at,
            counters["ssrc"],
            counters["highest"] & 0xFFFF,
            first_at,
            counters["timestamp"],
            np.where(counters["payload_type"] == abi.NO_EVENTS, -1, counters["payload_type"].astype("i2")),
            counters["lost"],
            counters["reordered"],
            counters["jitter"] * (1e-9 / 16),
            counters["changes"],
            gap,
            gap_at + gap,
            counters["duplicates"],
        )
        self._swept = dict(zip(rows["key"].tolist(), range(len(rows)), strict=True))
        rtp = counters[counters["started"] != 0]  # of RTCP nothing ever begins
        self._sum = int(rtp["packets"].sum()), int(rtp["octets"].sum())

    def figures(self, local: Addr) -> Figures | None:
        """What the rule of this port had carried at the last sweep."""
        carried = None if local in self._fresh else self._carried.get(local)
        if carried is None:
            return None
        found = self._swept.get(_row(local, carried.rule.remote))
        return None if found is None else Figures._make([column.item(found) for column in self._columns])

    def totals(self) -> tuple[int, int]:
        """Packets and octets of all RTP, as of the last sweep."""
        return self._sum

    # Ways.

    @property
    def pending(self) -> bool:
        """True while there are rules whose ways have to be asked again: `stale` asks for some at a time."""
        return bool(self._doubted)

    def stale(self) -> Sequence[Addr]:
        """Ports whose rules have another way than they had, or have one at last; a part of them at a time."""
        if self._routes.changed():
            self._doubt()
        found: list[Addr] = []
        until = self._routes.asked + SLICE
        while self._doubted and self._routes.asked < until:
            local = next(iter(self._doubted))
            del self._doubted[local]
            carried, refused = self._carried.get(local), self._refused.get(local)
            moved = carried is not None and self._flow(carried.rule) != carried.flow
            if moved or (refused is not None and not isinstance(self._flow(refused[0]), str)):
                found.append(local)
        return found

    def _doubt(self) -> None:
        """Remember which rules depend on a way that may be another now."""
        for index in [index for index in self._hooks if self._routes.interface(index) is None]:
            del self._hooks[index]
            self._program.detach(index)
        self._unfit.clear()
        knows = self._routes.knows
        rules = [one.rule for one in self._carried.values()] + [one[0] for one in self._refused.values()]
        for local, remote, via, to, *_ in rules:
            if not (knows(via.host, to.host) and knows(local.host, remote.host)):
                self._doubted[local] = None

    def close(self) -> None:
        """Carry nothing any more, and leave nothing in the kernel."""
        self._carried.clear()
        self._refused.clear()
        self._doubted.clear()
        self._hooks.clear()
        self._program.remove()
        self._routes.close()

    def _flow(self, rule: Rule) -> KernelFlow | str:
        """The flow of a rule, or why there is none."""
        local, remote, via, to, is_rtcp, rate, events = rule
        if (":" in local.host) != (":" in via.host):
            return "its two ends speak IPv4 and IPv6, which the kernel does not make of each other"
        back = self._routes.way(local.host, remote.host)
        if isinstance(back, str):
            return back
        why = self._at(back.ifindex)
        holder = self._holder(local.host)
        if why or not holder:
            return why or f"{local.host} is no address of this host"
        if holder != back.ifindex:
            self._at(holder)
        hop = self._routes.way(via.host, to.host)
        if isinstance(hop, str):
            return hop
        mode, source, target, next_hop = NEIGHBOUR, bytes(6), bytes(6), ""
        if self._cached and hop.target_mac:
            mode, source, target = CACHED, hop.source_mac, hop.target_mac
        elif (":" in hop.neighbour) == (":" in to.host):
            next_hop = hop.neighbour
        return KernelFlow(
            local,
            remote,
            via,
            to,
            hop.ifindex,
            mode,
            source,
            target,
            min(hop.mtu, LARGEST),
            rate,
            events,
            is_rtcp,
            next_hop,
        )

    def _holder(self, host: str) -> int:
        """The interface with this address. Of 127.0.0.0/8 the kernel lists the first alone."""
        return self._routes.holder(host) or (self._routes.holder("127.0.0.1") if is_loopback(host) else 0)

    def _at(self, ifindex: int) -> str:
        """Be at an interface; "" or why that cannot be."""
        if ifindex in self._hooks:
            return ""
        why = self._unfit.get(ifindex)
        if why is not None:
            return why
        try:
            slower = self._program.attach(ifindex, XDP if self._xdp else TC)
        except KernelError as error:
            why = self._unfit[ifindex] = str(error)
            return why
        self._hooks[ifindex] = XDP if self._xdp and not slower else TC
        return ""


def _row(local: Addr, remote: Addr) -> bytes:
    """By what a sweep knows this flow."""
    return abi.key(local, remote).ljust(_KEY, b"\0")


def figures_of(counters: KernelCounters) -> Figures:
    """What the program counted, as the relay has it."""
    return Figures(
        counters.packets,
        counters.octets,
        counters.at,
        counters.ssrc,
        counters.sequence & 0xFFFF,
        counters.first_at,
        counters.timestamp,
        -1 if counters.payload_type == abi.NO_EVENTS else counters.payload_type,
        counters.lost,
        counters.reordered,
        counters.jitter,
        counters.changes,
        counters.gap,
        counters.gap_at + counters.gap,
        counters.duplicates,
    )
