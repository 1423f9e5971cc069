"""The kernel program: loaded, at its interfaces, with the flows it carries and what it counted.

Holds the maps, the programs and the links as one thing. Refuses to know calls, routes and when a flow is due.
"""

from __future__ import annotations

import errno
import os
import struct
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np

from edgesip.address import Addr
from edgesip.relay.kernel import abi, attach, bpf, elf
from edgesip.relay.kernel.abi import KernelCounters, KernelFlow, Rows
from edgesip.relay.kernel.attach import AttachError, Link
from edgesip.relay.kernel.ring import Ring

OBJECT: Final = Path(__file__).with_name("relay.bpf.o")
COPIES: Final = 1 << 20
"""Octets of room for packets that userspace should read."""
INTERFACES: Final = 256


class KernelError(Exception):
    """The kernel program cannot be had; the sentence says why, and whose fault it is."""


class Program:
    """The kernel path's half in the kernel. Every method that asks the kernel may raise OSError."""

    def __init__(self, maps: dict[str, bpf.Map], codes: dict[str, elf.Code]) -> None:
        self._maps = maps
        self._codes = codes
        self._files: dict[str, int] = {}
        self._links: dict[int, Link] = {}

    @cached_property
    def _ring(self) -> Ring:
        return Ring(self._maps["copies"].fd, self._maps["copies"].kind.entries)

    @classmethod
    def load(cls, flows: int, pins: Path | None = None) -> Program:
        """Load it with room for that many flows of each family; raises KernelError."""
        try:
            codes = elf.read(OBJECT.read_bytes())
            abi.check(codes["layout"].text)
        except (OSError, ValueError, KeyError) as error:
            raise KernelError(f"edgesip's installation is broken: {OBJECT.name}: {error}") from error
        maps: dict[str, bpf.Map] = {}
        program = cls(maps, codes)
        try:
            for name, kind in _kinds(flows).items():
                maps[name] = bpf.Map.make(name, kind)
            program._program("tc")
        except bpf.BpfError as error:
            program.close()
            raise KernelError(sentence(error)) from error
        return program

    def _program(self, hook: str) -> int:
        if hook not in self._files:
            files = {name: one.fd for name, one in self._maps.items()}
            kind = bpf.SCHED_CLS if hook == "tc" else bpf.XDP
            self._files[hook] = bpf.load(f"edgesip_{hook}", kind, self._codes[hook].linked(files))
        return self._files[hook]

    # Interfaces.

    @property
    def attached(self) -> frozenset[int]:
        """The interfaces whose packets it sees."""
        return frozenset(self._links)

    def attach(self, ifindex: int, hook: str = "tc") -> None:
        """See the packets that come in by this interface; raises KernelError."""
        if ifindex in self._links:
            return
        try:
            self._links[ifindex] = attach.attach(self._program(hook), ifindex, hook)
        except AttachError as error:
            raise KernelError(str(error)) from error
        except bpf.BpfError as error:
            raise KernelError(sentence(error)) from error

    def detach(self, ifindex: int) -> None:
        """See this interface's packets no more."""
        link = self._links.pop(ifindex, None)
        if link is not None:
            os.close(link.fd)

    # Flows.

    def put(self, flow: KernelFlow) -> None:
        """Carry it from now on, counters at zero; one of the same two addresses is replaced.

        Raises KernelError when there is no room.
        """
        key, value = abi.entry(flow)
        try:
            self._flows(key).put(key, value)
        except bpf.BpfError as error:
            full = error.errno in (errno.E2BIG, errno.ENOSPC)
            raise KernelError("the kernel has no room for another flow" if full else str(error)) from error

    def drop(self, local: Addr, remote: Addr) -> KernelCounters | None:
        """Carry it no more; its last counters, None when it was not carried."""
        key = abi.key(local, remote)
        value = self._flows(key).take(key)
        return None if value is None else abi.counters(value)

    def read(self, local: Addr, remote: Addr) -> KernelCounters | None:
        """Its counters, None when it is not carried."""
        key = abi.key(local, remote)
        value = self._flows(key).get(key)
        return None if value is None else abi.counters(value)

    def keys(self) -> list[tuple[Addr, Addr]]:
        """The local and remote addresses of all flows."""
        found = []
        for family in ("flows4", "flows6"):
            keys, _ = self._maps[family].all()
            size = self._maps[family].kind.key
            found += [abi.ends(keys[at : at + size]) for at in range(0, len(keys), size)]
        return found

    def _flows(self, key: bytes) -> bpf.Map:
        return self._maps["flows4" if len(key) == abi.KEY4.itemsize else "flows6"]

    def read_all(self) -> Rows:
        """All flows as an array of `abi.ROW`, their keys, as of `abi.key`, filled up with zeros."""
        parts = []
        for family, key, value in (("flows4", abi.KEY4, abi.FLOW4), ("flows6", abi.KEY6, abi.FLOW6)):
            keys, values = self._maps[family].all()
            rows = np.zeros(len(keys) // key.itemsize, abi.ROW)
            rows["key"] = np.frombuffer(keys, f"V{key.itemsize}").astype("V36")
            rows["counters"] = np.frombuffer(values, value)["counters"]
            parts.append(rows)
        return np.concatenate(parts)

    @property
    def copies_fd(self) -> int:
        """Readable when `copies` has something."""
        return self._maps["copies"].fd

    def copies(self) -> list[tuple[Addr, bytes, float]]:
        """Packets that went on and that userspace should know of: where they arrived, RTCP or the first 16
        octets of a telephone-event, and when (monotonic seconds).
        """
        found = []
        for record in self._ring.take():
            at, local, port, length, family = abi.COPY.unpack_from(record)
            where = Addr(abi.name(local[:4] if family == 4 else local), int.from_bytes(port, "big"))
            found.append((where, record[abi.COPY.size : abi.COPY.size + length], at / 1e9))
        return found

    @property
    def totals(self) -> dict[str, int]:
        """How often each of `abi.WHY` was said of a packet."""
        found = {}
        for number, why in enumerate(abi.WHY):
            value = self._maps["totals"].get(struct.pack("=I", number)) or b""
            found[why] = sum(each[0] for each in struct.iter_unpack("=Q", value))
        return found

    # Trials.

    def run(self, frame: bytes, ifindex: int = 1, hook: str = "tc", repeat: int = 1) -> bpf.Run:
        """What it does with a frame that came by this interface; nothing is sent."""
        if hook == "tc":
            context = struct.pack("=40xI", ifindex)
        else:
            context = struct.pack("=IIIIII", 0, len(frame), 0, ifindex, 0, 0)
        return bpf.run(self._program(hook), frame, context, repeat)

    # The end.

    def close(self) -> None:
        """Let go of it here; what is pinned goes on."""
        for link in self._links.values():
            os.close(link.fd)
        for fd in self._files.values():
            os.close(fd)
        for one in self._maps.values():
            one.close()
        self._links.clear()
        self._files.clear()
        self._maps.clear()


def _kinds(flows: int) -> dict[str, bpf.Kind]:
    return {
        "flows4": bpf.Kind(bpf.HASH, abi.KEY4.itemsize, abi.FLOW4.itemsize, flows),
        "flows6": bpf.Kind(bpf.HASH, abi.KEY6.itemsize, abi.FLOW6.itemsize, flows),
        "copies": bpf.Kind(bpf.RINGBUF, 0, 0, COPIES),
        "totals": bpf.Kind(bpf.PERCPU_ARRAY, 4, 8, len(abi.WHY)),
        "egress": bpf.Kind(bpf.DEVMAP_HASH, 4, 4, INTERFACES),
    }


def sentence(error: bpf.BpfError) -> str:
    """Why the kernel refuses, in words for an operator."""
    if error.errno in (errno.EPERM, errno.EACCES) and not error.log:
        return "the kernel path needs CAP_BPF and CAP_NET_ADMIN, which this process does not have"
    if error.errno == errno.ENOSYS:
        return "this kernel has no bpf(2)"
    last = error.log.strip().splitlines()[-3:]
    return f"this kernel refuses {error.strerror}" + (f" ({' / '.join(last)})" if last else "")
