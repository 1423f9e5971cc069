"""The structs of relay.bpf.c as Python packs and numpy reads them.

Holds their layouts, and the sums that a flow's packets are changed by. Refuses to know bpf(2) and interfaces.
"""

from __future__ import annotations

import socket
import struct
import sys
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgesip.address import Addr

ABI: Final = 1
NEIGHBOUR, CACHED = 0, 1
NO_EVENTS: Final = 255
TICK_SHIFT: Final = 12
TICK: Final = (10**9) << TICK_SHIFT

WHY: Final = (
    "forwarded",
    "unknown",
    "offloaded",
    "fragment",
    "options",
    "length",
    "life",
    "large",
    "content",
    "checksum",
    "elsewhere",
    "uncopied",
)
"""What became of UDP that a program saw, as the totals have it."""

KEY4: Final = np.dtype([("remote", "V4"), ("local", "V4"), ("remote_port", ">u2"), ("local_port", ">u2")])
KEY6: Final = np.dtype([("remote", "V16"), ("local", "V16"), ("remote_port", ">u2"), ("local_port", ">u2")])
WAY: Final = np.dtype(
    [
        ("target_mac", "V6"),
        ("source_mac", "V6"),
        ("via_port", ">u2"),
        ("to_port", ">u2"),
        ("ifindex", "u4"),
        ("tick", "u4"),
        ("ip_sum", "u2"),
        ("host_sum", "u2"),
        ("port_sum", "u2"),
        ("whole_sum", "u2"),
        ("pseudo_sum", "u2"),
        ("mtu", "u2"),
        ("mode", "u1"),
        ("is_rtcp", "u1"),
        ("events", "u1"),
        ("reserved", "V1"),
        ("local_port", ">u2"),
        ("reserved2", "V6"),
    ]
)
COUNTERS: Final = np.dtype(
    [
        ("packets", "u8"),
        ("octets", "u8"),
        ("at", "u8"),
        ("media_at", "u8"),
        ("jitter", "u8"),
        ("window", "u8"),
        ("ssrc", ">u4"),
        ("highest", "u4"),
        ("timestamp", "u4"),
        ("payload_type", "u1"),
        ("started", "u1"),
        ("doubted", "u1"),
        ("reserved", "V1"),
        ("first_at", "u8"),
        ("gap", "u8"),
        ("gap_at", "u8"),
        ("lost", "u4"),
        ("reordered", "u4"),
        ("duplicates", "u4"),
        ("changes", "u4"),
        ("bad", "u4"),
        ("passed", "u4"),
        ("reserved2", "V16"),
    ]
)
FLOW4: Final = np.dtype(
    [("way", WAY), ("via", "V4"), ("to", "V4"), ("local", "V4"), ("next_hop", "V4"), ("counters", COUNTERS)]
)
FLOW6: Final = np.dtype(
    [
        ("way", WAY),
        ("via", "V16"),
        ("to", "V16"),
        ("local", "V16"),
        ("next_hop", "V16"),
        ("counters", COUNTERS),
    ]
)
ROW: Final = np.dtype([("key", "V36"), ("counters", COUNTERS)])
"""A flow of any family as it is read with all others."""
COPY: Final = struct.Struct("=Q16s2sHB3x")

_WAY: Final = struct.Struct("=6s6s4sIIHHHHHHBBBx2s6x")
_COUNTERS: Final = struct.Struct("=QQQ8xQ8x4sIIB3xQQQIIII4xI16x")
_ZERO: Final = bytes(COUNTERS.itemsize)
_PORTS: Final = struct.Struct("!HH")
_SIZES: Final = struct.Struct("<9I")


class AbiError(ValueError):
    """The object was not made of the structs that are described here."""


def check(layout: bytes) -> None:
    """Compare what the object says of its structs with what is described here; raises AbiError."""
    kinds = (KEY4, KEY6, WAY, COUNTERS, FLOW4, FLOW6)
    ours = (ABI, *(kind.itemsize for kind in kinds), COPY.size, len(WHY))
    if sys.byteorder != "little":
        raise AbiError("the kernel program is made for hosts that store the least octet first")
    if layout != _SIZES.pack(*ours):
        raise AbiError("the kernel program's structs are not those of this version: build it again")


class KernelFlow(NamedTuple):
    """One direction of a settled stream as the kernel carries it.

    What arrives on `local` from exactly `remote` leaves from `via` to `to` by the interface `ifindex`: with
    mode NEIGHBOUR the kernel finds the next hop's MAC, with CACHED `source_mac` and `target_mac` are written.
    `mtu` is the largest IP packet that goes; `rate` the audio's clock in Hz, 0 unknown; `events` the payload
    type of telephone-event, -1 none. `next_hop` spares NEIGHBOUR the route: an address, "" to ask for it.
    """

    local: Addr
    remote: Addr
    via: Addr
    to: Addr
    ifindex: int
    mode: int = NEIGHBOUR
    source_mac: bytes = bytes(6)
    target_mac: bytes = bytes(6)
    mtu: int = 1500
    rate: int = 0
    events: int = -1
    is_rtcp: bool = False
    next_hop: str = ""


class KernelCounters(NamedTuple):
    """What a flow counted since it was put.

    `packets` went on, with `octets` of UDP payload; `passed` went up the stack. Times are monotonic seconds,
    0.0 for none; `jitter` and `gap` seconds. They mean what relay/track.py means, `jitter`, `timestamp` and
    `sequence` (extended) of the SSRC that speaks; `payload_type` is 255 before there was audio.
    """

    packets: int
    octets: int
    passed: int
    first_at: float
    at: float
    ssrc: int
    sequence: int
    timestamp: int
    payload_type: int
    lost: int
    reordered: int
    duplicates: int
    jitter: float
    changes: int
    gap: float
    gap_at: float


@lru_cache(maxsize=1 << 15)
def host(text: str) -> bytes:
    """The octets of an IP address; raises OSError when it is none."""
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


def name(octets: bytes) -> str:
    """An IP address in words."""
    return socket.inet_ntop(socket.AF_INET6 if len(octets) == 16 else socket.AF_INET, octets)


def key(local: Addr, remote: Addr) -> bytes:
    """What a packet from `remote` to `local` is looked up by."""
    return host(remote.host) + host(local.host) + _PORTS.pack(remote.port, local.port)


def ends(key: bytes) -> tuple[Addr, Addr]:
    """The local and the remote address of a key."""
    size = (len(key) - _PORTS.size) // 2
    remote_port, local_port = _PORTS.unpack_from(key, 2 * size)
    return Addr(name(key[size : 2 * size]), local_port), Addr(name(key[:size]), remote_port)


def _sum(octets: bytes) -> int:
    return int.from_bytes(octets, "little") % 0xFFFF


def entry(flow: KernelFlow) -> tuple[bytes, bytes]:
    """The key and the value of a flow, its counters at zero; raises OSError for what is no IP address."""
    came = key(flow.local, flow.remote)
    size = (len(came) - _PORTS.size) // 2
    goes = host(flow.via.host) + host(flow.to.host)
    ports = _PORTS.pack(flow.via.port, flow.to.port)
    before, after = _sum(came[: 2 * size]), _sum(goes)
    hosts = (after - before) % 0xFFFF
    way = _WAY.pack(
        flow.target_mac,
        flow.source_mac,
        ports,
        flow.ifindex,
        TICK // flow.rate if flow.rate >= 1000 else 0,
        (hosts - 1) % 0xFFFF,
        hosts,
        (_sum(ports) - _sum(came[2 * size :])) % 0xFFFF,
        (hosts - 0x100) % 0xFFFF,
        (before + 0x1100) % 0xFFFF,
        flow.mtu,
        flow.mode,
        flow.is_rtcp,
        flow.events if flow.events >= 0 else NO_EVENTS,
        came[-2:],
    )
    hop = host(flow.next_hop) if flow.next_hop else bytes(size)
    return came, b"".join((way, goes, came[size : 2 * size], hop, _ZERO))


def counters(value: bytes) -> KernelCounters:
    """The counters of a flow's value."""
    packets, octets, at, jitter, ssrc, highest, timestamp, kind, first_at, gap, gap_at, *rest = (
        _COUNTERS.unpack_from(value, len(value) - _COUNTERS.size)
    )
    lost, reordered, duplicates, changes, passed = rest
    return KernelCounters(
        packets,
        octets,
        passed,
        first_at / 1e9,
        at / 1e9,
        int.from_bytes(ssrc, "big"),
        highest,
        timestamp,
        kind,
        lost,
        reordered,
        duplicates,
        jitter / 16e9,
        changes,
        gap / 1e9,
        gap_at / 1e9,
    )


Rows = NDArray[Any]
"""Many flows, an array of `ROW`."""
