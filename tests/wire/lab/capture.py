"""Packets as they were on a host's wire: tcpdump writes, we read its pcap without further libraries.

Knows Ethernet, IPv4 and IPv6 without extensions, UDP, TCP segments and the fixed RTP header; SIP is the
ladder's.
"""

from __future__ import annotations

import signal
import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from lab.network import Host, Network
from lab.tones import Samples, decode

_UDP, _TCP = 17, 6
_FILTER = "(udp or tcp port 5060)"


class Datagram(NamedTuple):
    """One UDP datagram, or what one TCP segment carried (a first fragment counts as its datagram, cut)."""

    time: float
    source: tuple[str, int]
    target: tuple[str, int]
    payload: bytes


class Rtp(NamedTuple):
    """An RTP packet and the datagram it came in; `time` is the wall clock of the capture."""

    time: float
    source: tuple[str, int]
    target: tuple[str, int]
    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes


def read_pcap(data: bytes) -> Iterator[Datagram]:
    """The datagrams and segments of a little-endian Ethernet pcap; a record still being written ends it."""
    at = 24
    while at + 16 <= len(data):
        seconds, micros, length = struct.unpack_from("<III", data, at)
        frame = data[at + 16 : at + 16 + length]
        at += 16 + length
        if at > len(data):
            return
        found = _unpacked(frame)
        if found is not None:
            yield Datagram(seconds + micros / 1e6, *found)


def _unpacked(frame: bytes) -> tuple[tuple[str, int], tuple[str, int], bytes] | None:
    """Source, target and payload of a frame with UDP or TCP in it."""
    packet = frame[14:]
    if frame[12:14] == b"\x08\x00" and len(packet) >= 20:
        if struct.unpack_from("!H", packet, 6)[0] & 0x1FFF:
            return None
        protocol, header, addresses = packet[9], (packet[0] & 0x0F) * 4, packet[12:20]
        total = struct.unpack_from("!H", packet, 2)[0]
        family = socket.AF_INET
    elif frame[12:14] == b"\x86\xdd" and len(packet) >= 40:
        protocol, header, addresses = packet[6], 40, packet[8:40]
        total = 40 + struct.unpack_from("!H", packet, 4)[0]
        family = socket.AF_INET6
    else:
        return None
    if protocol not in (_UDP, _TCP):
        return None
    half = len(addresses) // 2
    source, target = (socket.inet_ntop(family, part) for part in (addresses[:half], addresses[half:]))
    source_port, target_port = struct.unpack_from("!HH", packet, header)
    begin = header + (8 if protocol == _UDP else (packet[header + 12] >> 4) * 4)
    return (source, source_port), (target, target_port), packet[begin:total]


def read_rtp(datagram: Datagram) -> Rtp | None:
    """The datagram as RTP, None when it is RTCP, SIP or anything else (RFC 5761 §4)."""
    data = datagram.payload
    if len(data) < 12 or data[0] >> 6 != 2 or 64 <= data[1] & 0x7F <= 95:
        return None
    sequence, timestamp, ssrc = struct.unpack_from("!HII", data, 2)
    start = 12 + 4 * (data[0] & 0x0F)
    return Rtp(
        datagram.time,
        datagram.source,
        datagram.target,
        data[1] & 0x7F,
        sequence,
        timestamp,
        ssrc,
        data[start:],
    )


class Capture:
    """tcpdump on one host's `eth0` until `stop`; packets of the address `ignore` are left out."""

    def __init__(self, network: Network, host: Host, ignore: str = "") -> None:
        self._file = network.directory / f"{host.name}.pcap"
        arguments = ["tcpdump", "-i", "eth0", "-n", "-U", "--immediate-mode", "-Z", "root", "-B", "8192"]
        self._process = network.start(
            host,
            f"tcpdump-{host.name}",
            *arguments,
            "-w",
            str(self._file),
            f"{_FILTER} and not host {ignore}" if ignore else _FILTER,
        )
        self._process.wait_for("listening on")

    def stop(self) -> None:
        self._process.stop(signal.SIGINT)

    def datagrams(self) -> list[Datagram]:
        return list(read_pcap(self._file.read_bytes()))

    def rtp(self, target: str, after: float = 0.0, before: float = float("inf")) -> list[Rtp]:
        """The RTP packets so far to `target` (an address), between two wall clock times."""
        found = (read_rtp(datagram) for datagram in self.datagrams())
        return [p for p in found if p is not None and p.target[0] == target and after < p.time < before]


def audio(packets: list[Rtp]) -> Samples:
    """What a phone would hear of these packets, G.711 decoded and put together as they came."""
    parts = [decode(p.payload_type, p.payload) for p in packets if p.payload_type in (0, 8)]
    return np.concatenate(parts) if parts else np.zeros(0, np.int16)
