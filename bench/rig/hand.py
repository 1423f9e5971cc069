"""A hand of the bench: it makes a network namespace for itself, and does there what it is told.

    python hand.py CORE

Orders come as lines of JSON, {"order": NAME, ...}, each is answered by one line. Ends with its stdin. Holds
the orders: interfaces, the kernel program with its flows, frames made in the kernel, and their end. Refuses
to know what is measured with it.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from edgesip.address import Addr
from edgesip.relay.kernel import bpf, elf
from edgesip.relay.kernel.abi import CACHED, NEIGHBOUR, KernelFlow
from edgesip.relay.kernel.path import KernelPath
from edgesip.relay.kernel.program import Program
from edgesip.relay.kernel.routes import Routes
from edgesip.relay.rule import Rule

NEWNET, NEWNS = 0x40000000, 0x00020000
PRIVATE = 0x44000  # MS_REC | MS_PRIVATE
SIOCETHTOOL, SGRO, STSO = 0x8946, 0x2C, 0x1F
BPF_NUMBERS = {"x86_64": 321, "aarch64": 280}
LIVE_FRAMES = 2  # BPF_F_TEST_XDP_LIVE_FRAMES
PLAN = struct.Struct("=II4x4s4sIQ12s4x")
FRAME = bytes(54) + b"\x55" * 160
MODERATION = 20_000
FOREVER = 0x7FFFFFFF
BATCH = 64
HOPS = 255
OUT = 20000
"""From the port where a flow comes in to the one that it leaves by."""

Item = TypeVar("Item")
_libc = ctypes.CDLL(None, use_errno=True)


def enter() -> None:
    """A network namespace of one's own, with its /sys."""
    if _libc.unshare(NEWNET | NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    if _libc.mount(b"none", b"/", None, PRIVATE, None) != 0:
        raise OSError(ctypes.get_errno(), "mount")
    if _libc.mount(b"sysfs", b"/sys", b"sysfs", 0, None) != 0:
        raise OSError(ctypes.get_errno(), "mount /sys")


def ip(arguments: str) -> None:
    """One command of iproute2."""
    subprocess.run(["ip", *arguments.split()], check=True, capture_output=True, text=True, timeout=10)


def offload(name: str, **switches: bool) -> None:
    """Switch generic receive offload (gro) or TCP segmentation (tso) of an interface."""
    for switch, value in switches.items():
        command = SGRO if switch == "gro" else STSO
        told = ctypes.create_string_buffer(struct.pack("=II", command, value))
        request = struct.pack("=16sQ16x", name.encode(), ctypes.addressof(told))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            fcntl.ioctl(sock, SIOCETHTOOL, request)


def threaded(name: str) -> None:
    """Have the NAPI of an interface run in a thread, which looks again before it is woken again.

    A card waits like that before it interrupts; each waking of another core is dear in a virtual machine.
    """
    about = Path("/sys/class/net", name)
    (about / "threaded").write_text("1\n")
    (about / "gro_flush_timeout").write_text(f"{MODERATION}\n")
    (about / "napi_defer_hard_irqs").write_text("2\n")


def pieces(items: Sequence[Item], do: Callable[[Item], object]) -> list[float]:
    """Microseconds that something takes for each of them, on average of each hundredth of them."""
    step = max(1, len(items) // 100)
    took = []
    for start in range(0, len(items), step):
        part = items[start : start + step]
        begin = time.perf_counter()
        for one in part:
            do(one)
        took.append((time.perf_counter() - begin) / len(part) * 1e6)
    return took


class Hand:
    """What is held between orders."""

    def __init__(self) -> None:
        self._program: Program | None = None
        self._flows: list[KernelFlow] = []
        self._held: list[int] = []
        self._maker = -1

    def ip(self, commands: list[str]) -> None:
        """Commands of iproute2."""
        for command in commands:
            ip(command)

    def mac(self, name: str) -> str:
        """The address of an interface."""
        return Path("/sys/class/net", name, "address").read_text().strip()

    def send(self, name: str, threads: bool) -> None:
        """Have the other end receive in its thread, or in an interrupt of the core that it gives.

        A veth goes through its peer's NAPI when it sends no large TCP segments.
        """
        offload(name, tso=not threads)

    def receive(self, name: str, core: int) -> None:
        """Receive by NAPI in a thread; else on this core (RPS). The peer chooses (`send`)."""
        offload(name, gro=True)
        threaded(name)
        Path("/sys/class/net", name, "queues/rx-0/rps_cpus").write_text(f"{1 << core:x}\n")

    # The relay.

    def load(self, flows: int) -> None:
        """The kernel program, with room for so many flows."""
        self._program = Program.load(flows)

    def attach(self, name: str, hook: str, others: list[str]) -> None:
        """Have the program at an interface; XDP can send by those only where it is, too."""
        for one in [name, *others] if hook == "xdp" else [name]:
            if why := self._kernel.attach(socket.if_nametoindex(one), hook):
                raise ValueError(why)

    @property
    def _kernel(self) -> Program:
        if self._program is None:
            raise ValueError("no program is loaded")
        return self._program

    def put(self, plan: dict[str, Any]) -> list[float]:
        """Put flows; microseconds of each hundredth of them."""
        cached = plan["mode"] == "mac"
        self._flows = [
            KernelFlow(
                local=Addr(plan["relay"], local),
                remote=Addr(plan["source"], remote),
                via=Addr(plan["relay"], local + OUT),
                to=Addr(plan["target"], to),
                ifindex=socket.if_nametoindex(plan["out"]),
                mode=CACHED if cached else NEIGHBOUR,
                source_mac=bytes.fromhex(plan["source_mac"].replace(":", "")) if cached else bytes(6),
                target_mac=bytes.fromhex(plan["target_mac"].replace(":", "")) if cached else bytes(6),
                rate=8000,
                events=101,
            )
            for remote, local, to in plan["ports"]
        ]
        return self._each(self._kernel.put)

    def drop(self) -> list[float]:
        """Drop the flows again; microseconds of each hundredth of them."""
        took = self._each(lambda flow: self._kernel.drop(flow.local, flow.remote))
        self._flows = []
        return took

    def _each(self, do: Callable[[KernelFlow], object]) -> list[float]:
        return pieces(self._flows, do)

    def sweep(self, times: int) -> list[float]:
        """Read all flows; milliseconds."""
        took = []
        for _ in range(times):
            begin = time.perf_counter()
            rows = self._kernel.read_all()
            took.append((time.perf_counter() - begin) * 1e3)
            if len(rows) != len(self._flows):
                raise ValueError(f"{len(rows)} flows of {len(self._flows)}")
        return took

    def carry(self, plan: dict[str, Any], times: int) -> dict[str, list[float]]:
        """The same as the relay has it, by a KernelPath with routes: put and drop in us, sweeps in ms."""
        path = KernelPath(self._kernel, Routes(macs=False))
        if refusal := path.prepare(plan["relay"]):
            raise ValueError(refusal)
        rules = [
            Rule(
                Addr(plan["relay"], local),
                Addr(plan["source"], remote),
                Addr(plan["relay"], local + OUT),
                Addr(plan["target"], to),
                rate=8000,
                events=101,
            )
            for remote, local, to in plan["ports"]
        ]
        put = pieces(rules, path.put)
        if reasons := {path.because(rule.local) for rule in rules} - {""}:
            raise ValueError("; ".join(reasons))
        sweeps = []
        for _ in range(times):
            begin = time.perf_counter()
            path.sweep()
            sweeps.append((time.perf_counter() - begin) * 1e3)
        return {"put": put, "sweep": sweeps, "drop": pieces(rules, lambda rule: path.drop(rule.local))}

    def counted(self) -> dict[str, int]:
        """What the flows have counted in all, and how many of them have anything."""
        counters = self._kernel.read_all()["counters"]
        names = ("packets", "lost", "reordered", "changes", "passed")
        found = {name: int(counters[name].sum()) for name in names}
        return {**found, "flows": int((counters["packets"] > 0).sum())}

    def trial(self, name: str, relay: str, source: str, rounds: int) -> dict[str, int]:
        """Nanoseconds of the program for one packet, by either hook (BPF_PROG_TEST_RUN).

        The packet of this flow leaves as it came but for its hop limit, so that it can be the next one. XDP
        sends only by an interface where it is.
        """
        local, remote = Addr(relay, 16000), Addr(source, 1000)
        index, mac = socket.if_nametoindex(name), bytes.fromhex(self.mac(name).replace(":", ""))
        self._kernel.attach(index, "xdp")
        one = KernelFlow(local, remote, remote, local, index, CACHED, mac, mac, rate=8000, events=101)
        self._kernel.put(one)
        frame = whole(mac, remote, local)
        took = {}
        for hook in ("tc", "xdp"):
            runs = [self._kernel.run(frame, index, hook, HOPS - 2).took for _ in range(rounds)]
            took[hook] = sorted(runs)[len(runs) // 2]
        counted = self._kernel.drop(local, remote)
        if counted is None or counted.packets != 2 * rounds * (HOPS - 2):
            raise ValueError(f"the trial's packets were not forwarded: {self._kernel.totals}")
        return took

    def files(self) -> int:
        """How many files the server could have open here: it raises its limit to the hard one."""
        return resource.getrlimit(resource.RLIMIT_NOFILE)[1]

    def unload(self) -> None:
        """Nothing is left of the program."""
        self._kernel.close()
        self._program = None

    # Both ends of the load.

    def make(self, object: str, name: str, plan: dict[str, Any]) -> None:
        """Get ready to make frames that leave by an interface."""
        codes = elf.read(Path(object).read_bytes())
        source, target = (socket.inet_aton(plan[end]) for end in ("source", "relay"))
        macs = bytes.fromhex((plan["target_mac"] + plan["source_mac"]).replace(":", ""))
        fixed = [source, target, struct.pack("!HHHH", 17, 180, 180, 0x8000), FRAME[54:]]
        told = PLAN.pack(len(plan["ports"]), 0, source, target, added(b"".join(fixed)), 0, macs)
        about = bpf.Map.make("plan", bpf.Kind(bpf.ARRAY, 4, PLAN.size, 1))
        about.put(bytes(4), told)
        pairs = bpf.Map.make("ports", bpf.Kind(bpf.ARRAY, 4, 4, len(plan["ports"])))
        for number, (from_port, to_port, _) in enumerate(plan["ports"]):
            pairs.put(struct.pack("=I", number), struct.pack("!HH", from_port, to_port))
        maps = {"plan": about.fd, "ports": pairs.fd}
        self._maker = bpf.load("frames", bpf.XDP, codes["frames"].linked(maps))
        self._plan, self._index = (about, told), socket.if_nametoindex(name)
        self._held += [about.fd, pairs.fd, self._maker]

    def blast(self, seconds: float) -> int:
        """Make frames for so long, as many as can be; how many."""
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        (about, told), index = self._plan, self._index
        about.put(bytes(4), told)
        context = ctypes.create_string_buffer(struct.pack("=IIIIII", 0, len(FRAME), 0, index, 0, 0))
        data = ctypes.create_string_buffer(FRAME, len(FRAME))
        asked = ctypes.create_string_buffer(
            struct.pack(
                "=IIIIQQIIIIQQIII4x",
                *(self._maker, 0, len(FRAME), 0, ctypes.addressof(data), 0, FOREVER),
                *(0, 24, 0, ctypes.addressof(context), 0, LIVE_FRAMES, 0, BATCH),
            )
        )
        signal.setitimer(signal.ITIMER_REAL, seconds)  # ends the call
        _libc.syscall(BPF_NUMBERS[os.uname().machine], 10, asked, len(asked) - 1)
        if (error := ctypes.get_errno()) != errno.EINTR:
            raise OSError(error, "live frames")
        made: int = struct.unpack_from("=Q", about.get(bytes(4)) or b"", 24)[0]
        return made

    def take(self, object: str, name: str, hook: str) -> None:
        """Take what arrives at an interface, and forget it."""
        codes = elf.read(Path(object).read_bytes())
        index = socket.if_nametoindex(name)
        if hook == "xdp":
            program = bpf.load("xdp_end", bpf.XDP, codes["xdp_end"].text)
            self._held += [bpf.link(program, index, bpf.AT_XDP, bpf.XDP_NATIVE), program]
            threaded(name)
        else:
            program = bpf.load("tc_end", bpf.SCHED_CLS, codes["tc_end"].text)
            self._held += [bpf.link(program, index, bpf.TCX_INGRESS), program]

    def release(self) -> None:
        """Take nothing any more, and make nothing."""
        for fd in self._held:
            os.close(fd)
        self._held = []


def added(octets: bytes) -> int:
    """The sum of 16-bit numbers as they stand there, folded a little."""
    return sum(struct.unpack(f"={len(octets) // 2}H", octets)) % 0xFFFF


def whole(mac: bytes, source: Addr, target: Addr) -> bytes:
    """A frame of RTP that goes from one address to the other, and from an interface to itself."""
    hosts = socket.inet_aton(source.host) + socket.inet_aton(target.host)
    rtp = struct.pack("!BBHII", 0x80, 0, 1, 160, 0x10000) + FRAME[54:]
    ports = struct.pack("!HHH", source.port, target.port, 8 + len(rtp))
    check = ~added(hosts + struct.pack("!HH", 17, 8 + len(rtp)) + ports + rtp) & 0xFFFF
    header = struct.pack("!BBHHHBBH", 0x45, 0xB8, 28 + len(rtp), 0, 0x4000, HOPS, 17, 0)
    mark = struct.pack("=H", ~added(header + hosts) & 0xFFFF)
    return mac + mac + b"\x08\0" + header[:10] + mark + hosts + ports + struct.pack("=H", check) + rtp


def main() -> None:
    """Serve."""
    enter()
    os.sched_setaffinity(0, {int(sys.argv[1])})
    signal.signal(signal.SIGALRM, lambda *_: None)
    hand = Hand()
    print("{}", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer = {"done": getattr(hand, asked.pop("order"))(**asked)}
        except subprocess.CalledProcessError as error:
            answer = {"failed": f"{error}: {error.stderr}"}
        except Exception as error:  # whatever it is, the bench shall read it
            answer = {"failed": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
