"""The kernel program between real interfaces: what arrives, and that nothing of it needs our process."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import kernel_here
import pytest
from frames import PLAIN, frame
from lab import kernel_flow
from lab.netns import Namespace, run
from lab.network import Host, Network

from edgesip.address import Addr
from edgesip.relay.kernel import attach
from edgesip.relay.kernel.abi import CACHED, NEIGHBOUR, KernelFlow
from edgesip.relay.kernel.pins import Pins
from edgesip.relay.kernel.program import Program

pytestmark = pytest.mark.wire
TX_CHECKSUMS, GRO = 0x17, 0x2C  # ETHTOOL_STXCSUM, ETHTOOL_SGRO


def rtp(number: int, size: int = 172) -> bytes:
    return struct.pack("!BBHII", 0x80, 0, number & 0xFFFF, number * 160, 7) + bytes(size - 12)


class Street(NamedTuple):
    """Two phones and the relay between them, one interface each, all at one switch."""

    network: Network
    relay: Host
    alice: Host
    bob: Host

    @property
    def ifindex(self) -> int:
        with self.relay.namespace.inside():
            return socket.if_nametoindex("eth0")

    def flow(self, family: int = 4, mode: int = NEIGHBOUR) -> KernelFlow:
        """What alice sends to the relay's port goes to bob."""
        own = self.relay.own(family)
        ends = Addr(own, 20000), Addr(self.alice.own(family), 4000), Addr(own, 20002)
        macs = (mac(self.relay), mac(self.bob)) if mode == CACHED else (bytes(6), bytes(6))
        return KernelFlow(*ends, Addr(self.bob.own(family), 4200), self.ifindex, mode, *macs, rate=8000)


def mac(host: Host) -> bytes:
    with host.namespace.inside():
        return bytes.fromhex(
            host.namespace.run("ip", "-br", "link", "show", "eth0").split()[2].replace(":", "")
        )


def switch(namespace: Namespace, device: str, what: int, on: bool) -> None:
    """Let an interface do something itself or not, as ethtool does (SIOCETHTOOL)."""
    order = ctypes.create_string_buffer(struct.pack("=II", what, on))
    with namespace.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, 0x8946, struct.pack("=16sQ16x", device.encode(), ctypes.addressof(order)))


def take_xdp(network: Network) -> None:
    """Let the switch's ports receive what XDP sends: a veth without GRO takes nothing of it."""
    where, ports = network.ports
    for port in ports:
        switch(where, port, GRO, True)


@pytest.fixture
def street(network: Network) -> Street:
    hosts = [network.public_host(name, number) for number, name in enumerate(("relay", "alice", "bob"), 1)]
    return Street(network, *hosts)


@pytest.fixture
def pins(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "bpf"
    folder.mkdir()
    run(["mount", "-t", "bpf", "none", str(folder)])
    yield folder / "edgesip"
    run(["umount", str(folder)])


@pytest.fixture
def program(street: Street) -> Iterator[Program]:
    loaded = kernel_here.load(1000)
    with street.relay.namespace.inside():
        yield loaded
        loaded.close()


def sent(
    sender: socket.socket, hearer: socket.socket, to: Addr, numbers: range, patience: float = 2.0
) -> list[int]:
    """Send these, one each millisecond; the numbers that were heard."""
    heard: list[int] = []
    hearer.setblocking(False)
    for number in numbers:
        sender.sendto(rtp(number), (to.host, to.port))
        time.sleep(0.001)
        with contextlib.suppress(BlockingIOError):
            heard.append(struct.unpack_from("!H", hearer.recv(2000), 2)[0])
    hearer.settimeout(patience)
    with contextlib.suppress(TimeoutError):
        while len(heard) < len(numbers):
            heard.append(struct.unpack_from("!H", hearer.recv(2000), 2)[0])
    return heard


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("offloads", [True, False])
@pytest.mark.parametrize(
    ("hook", "mode"), [("tc", NEIGHBOUR), ("tc", CACHED), ("xdp", CACHED), ("xdp", NEIGHBOUR)]
)
def test_packets_reach_the_other_phone(
    street: Street, program: Program, family: int, offloads: bool, hook: str, mode: int
) -> None:
    """With the checksum left to a card that there is not, and with one that whoever receives it verifies."""
    switch(street.alice.namespace, "eth0", TX_CHECKSUMS, offloads)
    if hook == "xdp":
        take_xdp(street.network)
    assert program.attach(street.ifindex, hook) == ""
    flow = street.flow(family, mode)
    program.put(flow)
    alice = street.alice.namespace.udp(*flow.remote)
    bob = street.bob.namespace.udp(*flow.to)
    assert sent(alice, bob, flow.local, range(50)) == list(range(50))
    counted = program.read(flow.local, flow.remote)
    assert counted is not None
    assert (counted.packets, counted.lost, counted.passed) == (50, 0, 0)
    assert program.totals["forwarded"] == 50
    assert (program.totals["checksum"] + program.totals["elsewhere"] == 0) is (
        hook == "tc" or (mode == CACHED and not offloads)
    )


@pytest.mark.parametrize(("family", "far"), [(4, "198.51.100.77"), (6, "2001:db8:77::7")])
def test_a_next_hop_that_is_named_spares_the_route(
    street: Street, program: Program, family: int, far: str
) -> None:
    """By the relay's routes this address is behind the gateway, which forwards nothing; bob has it."""
    bob = street.bob.namespace
    bob.run("ip", "addr", "add", far, "dev", "lo", *(["nodad"] if family == 6 else []))
    flow = street.flow(family)._replace(to=Addr(far, 4200), next_hop=street.bob.own(family))
    program.attach(street.ifindex)
    program.put(flow)
    alice = street.alice.namespace.udp(*flow.remote)
    assert sent(alice, bob.udp(*flow.to), flow.local, range(20)) == list(range(20))


def test_who_is_not_expected_is_heard_by_the_socket(street: Street, program: Program) -> None:
    flow = street.flow()
    program.attach(street.ifindex)
    program.put(flow)
    socket_of_the_relay = street.relay.namespace.udp(*flow.local)
    bob = street.bob.namespace.udp(*flow.to)
    stranger = street.alice.namespace.udp(flow.remote.host, flow.remote.port + 1)
    assert sent(stranger, socket_of_the_relay, flow.local, range(3)) == [0, 1, 2]
    alice = street.alice.namespace.udp(*flow.remote)
    alice.sendto(b"\0\1\0\0\x21\x12\xa4\x42" + bytes(12), (flow.local.host, flow.local.port))
    assert socket_of_the_relay.recv(2000)[:2] == b"\0\1"
    alice.sendto(rtp(9, 1700), (flow.local.host, flow.local.port))  # in fragments
    assert len(socket_of_the_relay.recv(2000)) == 1700
    bob.setblocking(False)
    with pytest.raises(BlockingIOError):
        bob.recv(2000)
    assert program.totals["content"] == 1
    assert program.totals["fragment"] == 2


def test_a_tagged_frame_belongs_to_another_interface(street: Street, program: Program) -> None:
    flow = street.flow()
    program.put(flow)
    program.attach(street.ifindex)
    plain = frame(flow.remote, flow.local, rtp(1), PLAIN._replace(macs=mac(street.relay) + mac(street.alice)))
    with street.alice.namespace.inside():
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    street.alice.namespace.keep(wire)
    wire.bind(("eth0", 0))
    bob = street.bob.namespace.udp(*flow.to)
    bob.settimeout(2.0)
    wire.send(plain[:12] + b"\x81\x00\x00\x07" + plain[12:])
    wire.send(plain)
    assert bob.recv(2000) == rtp(1)
    assert program.totals["offloaded"] == 1
    counted = program.read(flow.local, flow.remote)
    assert counted is not None
    assert (counted.packets, counted.duplicates) == (1, 0)


def test_a_host_calls_itself(street: Street, program: Program) -> None:
    with street.relay.namespace.inside():
        program.attach(socket.if_nametoindex("lo"))
    for host in ("127.0.0.1", "::1"):
        local, remote, via, to = (Addr(host, port) for port in (20000, 4000, 20002, 4200))
        alice, bob = street.relay.namespace.udp(*remote), street.relay.namespace.udp(*to)
        for mode in (NEIGHBOUR, CACHED):
            program.put(KernelFlow(local, remote, via, to, 1, mode, mtu=65535))
            assert sent(alice, bob, local, range(20)) == list(range(20))
            counted = program.read(local, remote)
            assert counted is not None
            assert counted.packets == 20


def test_the_process_is_killed_and_the_call_goes_on(street: Street, pins: Path) -> None:
    flow = street.flow()
    gone = flow._replace(local=Addr(flow.local.host, 20010))
    ends = json.dumps([flow[:4], gone[:4]])
    with street.relay.namespace.inside():
        child = subprocess.Popen(
            [sys.executable, kernel_flow.__file__, str(pins), str(street.ifindex), ends],
            stdout=subprocess.PIPE,
            text=True,
        )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    alice, bob = street.alice.namespace.udp(*flow.remote), street.bob.namespace.udp(*flow.to)
    assert sent(alice, bob, flow.local, range(50)) == list(range(50))
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert sent(alice, bob, flow.local, range(50, 550)) == list(range(50, 550))
    with street.relay.namespace.inside():
        program = Program.load(100, pins)  # alice goes on meanwhile
        assert program.attached == {street.ifindex}
        assert set(program.keys()) == {(flow.local, flow.remote), (gone.local, gone.remote)}
        program.put(flow)  # it is known again, with another clock than before
        assert program.disown() == 1
        assert program.keys() == [(flow.local, flow.remote)]
        assert sent(alice, bob, flow.local, range(550, 600)) == list(range(550, 600))
        counted = program.read(flow.local, flow.remote)
        assert counted is not None
        assert (counted.packets, counted.lost, counted.changes) == (600, 0, 0)
        program.close()
        larger = Program.load(200, pins)
        larger.put(flow)
        assert larger.disown() == 0
        assert larger.keys() == [(flow.local, flow.remote)]
        assert sent(alice, bob, flow.local, range(600, 650)) == list(range(600, 650))
        counted = larger.drop(flow.local, flow.remote)
        assert counted is not None
        assert (counted.packets, counted.lost) == (650, 0)
        larger.put(flow)
        counted = larger.read(flow.local, flow.remote)
        assert counted is not None
        assert counted.packets == 0
        larger.remove()
    assert not pins.exists()
    relay = street.relay.namespace.udp(*flow.local)
    assert sent(alice, relay, flow.local, range(3)) == [0, 1, 2]


def test_a_kernel_without_tcx_has_filters(street: Street, program: Program) -> None:
    """What `attach` does where there is no tcx, done by hand; a qdisc that is not ours stays."""
    flow, relay = street.flow(), street.relay.namespace
    program.put(flow)
    alice, bob = street.alice.namespace.udp(*flow.remote), street.bob.namespace.udp(*flow.to)
    for way in ("qdisc", "filter"):
        if way == "filter":
            relay.run("tc", "qdisc", "add", "dev", "eth0", "clsact")
        held = attach.by_filter(program.file("tc"), street.ifindex)
        assert held == (way, street.ifindex, -1)
        attach.swap(held, program.file("tc"))
        assert sent(alice, bob, flow.local, range(20)) == list(range(20))
        assert relay.run("tc", "filter", "show", "dev", "eth0", "ingress").count("handle 0x1 edgesip") == 1
        attach.release(held)
        assert relay.run("tc", "filter", "show", "dev", "eth0", "ingress") == ""
        assert ("clsact" in relay.run("tc", "qdisc", "show", "dev", "eth0")) is (way == "filter")


@pytest.mark.parametrize("way", ["xdp", "filter"])
def test_a_place_of_any_kind_is_taken_over_and_left(street: Street, pins: Path, way: str) -> None:
    switch(street.alice.namespace, "eth0", TX_CHECKSUMS, False)
    take_xdp(street.network)
    flow, relay = street.flow(mode=CACHED), street.relay.namespace
    alice, bob = street.alice.namespace.udp(*flow.remote), street.bob.namespace.udp(*flow.to)
    with relay.inside():
        first = Program.load(100, pins)
        first.put(flow)
        if way == "xdp":
            assert first.attach(street.ifindex, "xdp") == ""
        else:
            Pins(pins).hold(attach.by_filter(first.file("tc"), street.ifindex), first.file("tc"))
        first.close()
        assert sent(alice, bob, flow.local, range(20)) == list(range(20))
        second = Program.load(100, pins)
        assert second.attached == {street.ifindex}
        assert sent(alice, bob, flow.local, range(20, 40)) == list(range(20, 40))
        assert second.totals["forwarded"] == 40
        assert second.totals["elsewhere"] + second.totals["checksum"] == 0
        second.remove()
    assert not pins.exists()
    shown = relay.run("ip", "-d", "link", "show", "eth0") + relay.run("tc", "qdisc", "show", "dev", "eth0")
    assert "xdp" not in shown
    assert "clsact" not in shown
    hearer = relay.udp(*flow.local)
    assert sent(alice, hearer, flow.local, range(3)) == [0, 1, 2]


@pytest.mark.parametrize(
    ("capabilities", "says"),
    [
        ("+bpf,+net_admin", "ready"),
        ("+bpf", "this process has no CAP_NET_ADMIN"),
        ("+net_admin", "this process has no CAP_BPF"),
    ],
)
def test_two_capabilities_suffice(street: Street, program: Program, capabilities: str, says: str) -> None:
    with street.relay.namespace.inside():
        done = subprocess.run(
            ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
            + [f"--{which}-caps=-all,{capabilities}" for which in ("inh", "ambient")]
            + [sys.executable, kernel_flow.__file__, "-", str(street.ifindex), "[]"],
            capture_output=True,
            text=True,
            timeout=30,
            env=os.environ,
        )
    assert done.stdout.strip() == says, done.stderr


def test_xdp_that_would_lose_everything_is_refused(street: Street, program: Program) -> None:
    """The other end of this veth takes nothing from XDP; tc carries the flow."""
    refusal = program.attach(street.ifindex, "xdp")
    assert refusal.startswith("eth0 cannot send what XDP gives it")
    assert "xdp" not in street.relay.namespace.run("ip", "link", "show", "eth0")
    flow = street.flow(mode=CACHED)
    program.put(flow)
    alice, bob = street.alice.namespace.udp(*flow.remote), street.bob.namespace.udp(*flow.to)
    assert sent(alice, bob, flow.local, range(5)) == list(range(5))
    take_xdp(street.network)
    assert program.attach(street.ifindex, "xdp") == ""
    assert "xdp" in street.relay.namespace.run("ip", "link", "show", "eth0")
    assert program.attach(street.ifindex, "tc") == ""
    assert "xdp" not in street.relay.namespace.run("ip", "link", "show", "eth0")
    assert sent(alice, bob, flow.local, range(5, 10)) == list(range(5, 10))
