"""The kernel program: loaded, at its interfaces, with the flows it carries and what it counted.

Holds the maps, the programs and the links as one thing. Refuses to know calls, routes and when a flow is due.
"""

from __future__ import annotations

import errno
import os
import struct
from pathlib import Path
from typing import Final

import numpy as np

from edgesip.address import Addr
from edgesip.relay.kernel import abi, attach, bpf, elf
from edgesip.relay.kernel.abi import KernelCounters, KernelFlow, Rows
from edgesip.relay.kernel.attach import AttachError, Held
from edgesip.relay.kernel.pins import Pins
from edgesip.relay.kernel.ring import Ring

OBJECT: Final = Path(__file__).with_name("relay.bpf.o")
COPIES: Final = 1 << 20
"""Octets of room for packets that userspace should read."""
INTERFACES: Final = 256
FAMILIES: Final = ("flows4", "flows6")
_BPF, _ADMIN = 39, 21  # CAP_SYS_ADMIN is CAP_BPF too
_CAPABILITIES: Final = {"CAP_BPF": _BPF, "CAP_NET_ADMIN": 12}
_NUMBER: Final = struct.Struct("=I")
_SKB: Final = struct.Struct("=40xI132xI")  # of struct __sk_buff: ifindex, gso_size
_XDP: Final = struct.Struct("=4xI4xI8x")  # of struct xdp_md: data_end, ingress_ifindex


class KernelError(Exception):
    """The kernel program cannot be had; the sentence says why, and whose fault it is."""


class Program:
    """The kernel path's half in the kernel. Every method that asks the kernel may raise OSError."""

    def __init__(self, maps: dict[str, bpf.Map], codes: dict[str, elf.Code], pins: Pins | None) -> None:
        self._maps = maps
        self._codes = codes
        self._pins = pins
        self._files: dict[str, int] = {}
        self._held: list[Held] = []
        self._left: set[bytes] = set()
        self._ring: Ring | None = None

    @classmethod
    def load(cls, flows: int, pins: Path | None = None) -> Program:
        """Load it with room for that many flows of each family; raises KernelError.

        `pins` is a folder in a bpffs, made when it is not there. What lies there goes on when the process
        ends, and the next load takes it over: maps of the same ABI with flows and counters, and the places
        at interfaces, where the new program follows the old one with no packet between.
        """
        try:
            codes = elf.read(OBJECT.read_bytes())
            abi.check(codes["layout"].text)
        except (OSError, ValueError, KeyError) as error:
            raise KernelError(f"edgesip's installation is broken: {OBJECT.name}: {error}") from error
        program = cls({}, codes, None if pins is None else Pins(pins))
        try:
            program._begin(flows)
        except bpf.BpfError as error:
            program.close()
            raise KernelError(sentence(error)) from error
        except (OSError, AttachError) as error:
            program.close()
            raise KernelError(f"the kernel program cannot be kept in {pins}: {error}") from error
        return program

    def _begin(self, flows: int) -> None:
        if self._pins is not None:
            self._pins.make()
        for name, kind in _kinds(flows).items():
            self._maps[name] = self._map(name, kind)
        self._maps["flows4"].take(bytes(abi.KEY4.itemsize))  # old kernels do not know how: they say so now
        self.file("tc")
        if self._pins is not None:
            for held in self._pins.held():
                self._held.append(held)
                attach.swap(held, self.file(held.hook))
                if held.hook == "xdp":
                    self.open(held.ifindex)
            self._left = {abi.key(*ends) for ends in self.keys()}

    def _map(self, name: str, kind: bpf.Kind) -> bpf.Map:
        """The pinned map if it is of that kind; else a new one, with the flows of the pinned one."""
        title = f"edgesip{abi.ABI}_{name}"
        old = None if self._pins is None else self._pins.map(name)
        if old is not None and (old.kind, old.name) == (kind, title[: bpf.NAME]):
            return old
        made = bpf.Map.make(title, kind)
        if old is not None:
            if name in FAMILIES and (old.kind._replace(entries=0), old.name) == (
                kind._replace(entries=0),
                made.name,
            ):
                _carry_over(old, made)
            old.close()
        if self._pins is not None:
            self._pins.keep(name, made.fd)
        return made

    def file(self, hook: str) -> int:
        """The loaded program of a hook, "tc" or "xdp"; raises BpfError."""
        if hook not in self._files:
            files = {name: one.fd for name, one in self._maps.items()}
            kind = bpf.SCHED_CLS if hook == "tc" else bpf.XDP
            self._files[hook] = bpf.load(f"edgesip_{hook}", kind, self._codes[hook].linked(files))
        return self._files[hook]

    # Interfaces.

    @property
    def attached(self) -> frozenset[int]:
        """The interfaces whose packets it sees."""
        return frozenset(held.ifindex for held in self._held)

    def attach(self, ifindex: int, hook: str = "tc") -> str:
        """See the packets that come in by this interface; raises KernelError.

        With the hook "xdp" the driver is asked to show them earlier; what cannot go on from there is still
        seen at tc. Returns "" or, as a sentence, why XDP is not there; then tc sees everything.
        """
        there = {held.hook for held in self._held if held.ifindex == ifindex}
        refusal = ""
        try:
            if "tc" not in there:
                self._hold(attach.by_tc(self.file("tc"), ifindex))
            if hook == "xdp" and "xdp" not in there:
                try:
                    self._hold(attach.by_xdp(self.file("xdp"), ifindex))
                    self.open(ifindex)
                except AttachError as error:
                    refusal = str(error)
            if hook == "tc" and "xdp" in there:
                self._let_go([held for held in self._held if (held.ifindex, held.way) == (ifindex, "xdp")])
        except AttachError as error:
            raise KernelError(str(error)) from error
        except bpf.BpfError as error:
            raise KernelError(sentence(error)) from error
        return refusal

    def detach(self, ifindex: int) -> None:
        """See this interface's packets no more; its flows stay."""
        self._let_go([held for held in self._held if held.ifindex == ifindex])

    def open(self, ifindex: int) -> None:
        """Let XDP send by this interface. What its driver cannot send is lost."""
        self._maps["egress"].put(_NUMBER.pack(ifindex), _NUMBER.pack(ifindex))

    def _hold(self, held: Held) -> None:
        self._held.append(held)
        if self._pins is not None:
            self._pins.hold(held, self.file(held.hook))

    def _let_go(self, places: list[Held]) -> None:
        for held in places:
            self._held.remove(held)
            if held.way == "xdp":
                self._maps["egress"].delete(_NUMBER.pack(held.ifindex))
            if self._pins is not None:
                self._pins.forget(held)
            attach.release(held)

    # Flows.

    def put(self, flow: KernelFlow) -> None:
        """Carry it from now on, counters at zero; one of the same two addresses is replaced.

        One that a process before us has left goes on with its counters the first time. Raises KernelError
        when there is no room.
        """
        key, value = abi.entry(flow)
        if key in self._left:
            self._left.discard(key)
            before = self._flows(key).get(key) or value
            if before[: -abi.COUNTERS.itemsize] == value[: -abi.COUNTERS.itemsize]:
                return
            value = value[: -abi.COUNTERS.itemsize] + before[-abi.COUNTERS.itemsize :]
        try:
            self._flows(key).put(key, value)
        except bpf.BpfError as error:
            full = error.errno in (errno.E2BIG, errno.ENOSPC)
            raise KernelError("the kernel has no room for another flow" if full else str(error)) from error

    def drop(self, local: Addr, remote: Addr) -> KernelCounters | None:
        """Carry it no more; its last counters, None when it was not carried."""
        key = abi.key(local, remote)
        self._left.discard(key)
        value = self._flows(key).take(key)
        return None if value is None else abi.counters(value)

    def disown(self) -> int:
        """Forget the flows of a process before us that nobody has put again: how many."""
        left, self._left = self._left, set()
        return sum(self._flows(key).take(key) is not None for key in left)

    def read(self, local: Addr, remote: Addr) -> KernelCounters | None:
        """Its counters, None when it is not carried."""
        key = abi.key(local, remote)
        value = self._flows(key).get(key)
        return None if value is None else abi.counters(value)

    def keys(self) -> list[tuple[Addr, Addr]]:
        """The local and remote addresses of all flows."""
        found = []
        for family in FAMILIES:
            keys = bytes(self._maps[family].all()[0])
            size = self._maps[family].kind.key
            found += [abi.ends(keys[at : at + size]) for at in range(0, len(keys), size)]
        return found

    def _flows(self, key: bytes) -> bpf.Map:
        return self._maps["flows4" if len(key) == abi.KEY4.itemsize else "flows6"]

    def read_all(self) -> Rows:
        """All flows as an array of `abi.ROW`, their keys, as of `abi.key`, filled up with zeros."""
        parts = []
        for family in ("flows4", "flows6"):
            keys, values = (np.asarray(part) for part in self._maps[family].all())
            rows = np.zeros(
                (len(keys), abi.ROW.itemsize), np.uint8
            )  # octets: field by field takes ten times as long
            rows[:, : keys.shape[1]] = keys
            rows[:, -abi.COUNTERS.itemsize :] = values[:, -abi.COUNTERS.itemsize :]
            parts.append(rows)
        return np.concatenate(parts).view(abi.ROW)[:, 0]

    @property
    def copies_fd(self) -> int:
        """Readable when `copies` has something."""
        return self._maps["copies"].fd

    def copies(self) -> list[tuple[Addr, bytes]]:
        """Packets that went on and that userspace should know of, with where they arrived: RTCP, and of
        RFC 4733's events the first 16 octets.
        """
        if self._ring is None:
            self._ring = Ring(self._maps["copies"].fd, self._maps["copies"].kind.entries)
        found = []
        for record in self._ring.take():
            _, local, port, length, family = abi.COPY.unpack_from(record)
            where = Addr(abi.name(local[:4] if family == 4 else local), int.from_bytes(port, "big"))
            found.append((where, record[abi.COPY.size : abi.COPY.size + length]))
        return found

    @property
    def totals(self) -> dict[str, int]:
        """How often each of `abi.WHY` was said of a packet."""
        found = {}
        for number, why in enumerate(abi.WHY):
            value = self._maps["totals"].get(_NUMBER.pack(number)) or b""
            found[why] = sum(each[0] for each in struct.iter_unpack("=Q", value))
        return found

    # Trials.

    def run(self, frame: bytes, ifindex: int = 1, hook: str = "tc", repeat: int = 1, gso: int = 0) -> bpf.Run:
        """What it does with a frame that came by this interface; nothing is sent, flows count it.

        Of `gso` above 0 the frame is one that a card put together of several, of so many octets each.
        """
        context = _SKB.pack(ifindex, gso) if hook == "tc" else _XDP.pack(len(frame), ifindex)
        return bpf.run(self.file(hook), frame, context, repeat)

    # The end.

    def close(self) -> None:
        """Let go of it here; what is pinned goes on, all else ends."""
        for held in self._held:
            if self._pins is None:
                attach.release(held)
            elif held.link >= 0:
                os.close(held.link)
        if self._ring is not None:
            self._ring.close()
            self._ring = None
        for fd in self._files.values():
            os.close(fd)
        for one in self._maps.values():
            one.close()
        self._held.clear()
        self._files.clear()
        self._maps.clear()

    def remove(self) -> None:
        """Take it off every interface, forget all flows, leave nothing pinned; it is closed then."""
        self._let_go(list(self._held))
        self.close()
        if self._pins is not None:
            self._pins.remove()


def _carry_over(old: bpf.Map, new: bpf.Map) -> None:
    """Give a map the flows of another, as many as there is room for."""
    keys, values = (bytes(part) for part in old.all())
    width, size = new.kind.key, new.kind.value
    for number in range(min(len(keys) // width, new.kind.entries)):
        new.put(keys[number * width :][:width], values[number * size :][:size])


def _kinds(flows: int) -> dict[str, bpf.Kind]:
    return {
        "flows4": bpf.Kind(bpf.HASH, abi.KEY4.itemsize, abi.FLOW4.itemsize, flows),
        "flows6": bpf.Kind(bpf.HASH, abi.KEY6.itemsize, abi.FLOW6.itemsize, flows),
        "copies": bpf.Kind(bpf.RINGBUF, 0, 0, COPIES),
        "totals": bpf.Kind(bpf.PERCPU_ARRAY, 4, 8, len(abi.WHY)),
        "egress": bpf.Kind(bpf.DEVMAP_HASH, 4, 4, INTERFACES),
    }


def _capable() -> int:
    """This process's effective capabilities, a bit each."""
    found = 0
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "CapEff":
            found = int(value, 16)
    return found | (1 << _BPF if found >> _ADMIN & 1 else 0)


def sentence(error: bpf.BpfError) -> str:
    """Why the kernel refuses, in words for an operator."""
    if error.errno == errno.EPERM and not error.log:
        missing = [name for name, bit in _CAPABILITIES.items() if not _capable() >> bit & 1]
        if missing:
            return f"this process has no {' and no '.join(missing)}"
        return "something around this process forbids bpf(2): a user namespace, seccomp, or kernel lockdown"
    if error.errno == errno.ENOSYS:
        return "this kernel has no bpf(2)"
    last = error.log.strip().splitlines()[-3:]
    return f"this kernel refuses {error.strerror}" + (f" ({' / '.join(last)})" if last else "")
