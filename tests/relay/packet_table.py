"""One table of what may arrive at a settled stream's port: frame, its worth, and what leaves.

Of each row `verdict` is what `rule.carry` says of the datagram in the frame (None: it holds none), and `why`
the kernel program's word: "forwarded", or why it leaves to the host's stack what `carry` may well forward.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from frames import ETHERNET, IPV4, PLAIN, UDP, Given, frame, octets, summed
from relay_talk import rtcp, rtp

from edgesip.address import Addr
from edgesip.relay.rule import Packet, Rule, Verdict

FORWARD, ASK = Verdict.FORWARD, Verdict.ASK
MTU = 1500

RTP4 = Rule(
    Addr("192.0.2.1", 20000),
    Addr("198.51.100.10", 4000),
    Addr("192.0.2.2", 20002),
    Addr("203.0.113.20", 4200),
)
RTP6 = Rule(
    Addr("2001:db8::1", 20000),
    Addr("2001:db8:1::10", 4000),
    Addr("2001:db8::2", 20002),
    Addr("2001:db8:2::20", 4200),
)
RTCP4, RTCP6 = (rule._replace(is_rtcp=True) for rule in (RTP4, RTP6))


class Row(NamedTuple):
    """One frame: what it is, for which rule, and what becomes of it. `out` is None where nothing leaves."""

    description: str
    rule: Rule
    frame: bytes
    verdict: Verdict | None
    why: str
    out: bytes | None
    gso: int = 0


class Datagram(NamedTuple):
    """What a host makes of a frame: `packet` octets of IP, and behind them `spare` ones that are nothing."""

    source: Addr
    target: Addr
    data: bytes
    hops: int
    packet: int
    spare: int
    check: int


def name(host: bytes) -> str:
    """An address as this table writes it."""
    known = (*RTP4[:4], *RTP6[:4])
    return next((addr.host for addr in known if octets(addr.host) == host), host.hex())


def datagram(came: bytes) -> Datagram | None:
    """The datagram of a frame that holds a whole one with nothing special about it, read by hand."""
    kind, ip = came[12:ETHERNET], came[ETHERNET:]
    if kind == b"\x08\x00" and len(ip) >= IPV4 and ip[0] == 0x45:
        length, fragment, protocol, hops = *struct.unpack_from("!H2xH", ip, 2), ip[9], ip[8]
        hosts, header = ip[12:20], IPV4
        if fragment & ~0x4000:
            return None
    elif kind == b"\x86\xdd" and len(ip) >= 40 and ip[0] >> 4 == 6:
        length, protocol, hops = 40 + struct.unpack_from("!H", ip, 4)[0], ip[6], ip[7]
        hosts, header = ip[8:40], 40
    else:
        return None
    if protocol != 17 or len(ip) < length or length < header + UDP:
        return None
    source, target, size, check = struct.unpack_from("!HHHH", ip, header)
    if size != length - header:
        return None
    ends = [name(part) for part in (hosts[: len(hosts) // 2], hosts[len(hosts) // 2 :])]
    data = ip[header + UDP : length]
    return Datagram(Addr(ends[0], source), Addr(ends[1], target), data, hops, length, len(ip) - length, check)


def sums(came: bytes) -> tuple[int, int]:
    """What the checksums of IP and UDP leave over: 0 and 0 where they are right, -1 where there is none."""
    ip = came[ETHERNET:]
    if ip[0] >> 4 == 4:
        hosts, header, over = ip[12:20], IPV4, summed(ip[:IPV4])
        size = struct.unpack_from("!H", ip, 2)[0] - IPV4
        pseudo = hosts + struct.pack("!HH", 17, size)
    else:
        hosts, header, over = ip[8:40], 40, 0
        size = struct.unpack_from("!H", ip, 4)[0]
        pseudo = hosts + struct.pack("!II", size, 17)
    if ip[header + 6 : header + 8] == b"\0\0":
        return over, -1
    return over, summed(pseudo + ip[header : header + size])


PAYLOADS: dict[str, tuple[bytes, Verdict, Verdict]] = {
    "G.711": (rtp(1), FORWARD, ASK),
    "a header alone": (rtp(1, size=12), FORWARD, ASK),
    "with the marker": (rtp(1, payload_type=0x80), FORWARD, ASK),
    "payload type 63 with the marker": (rtp(1, payload_type=191), FORWARD, ASK),
    "payload type 96 with the marker": (rtp(1, payload_type=224), FORWARD, ASK),
    "with padding, extension and sources": (b"\xbf" + rtp(1)[1:], FORWARD, ASK),
    "of an odd size": (rtp(1, size=171), FORWARD, ASK),
    "eleven octets": (rtp(1)[:11], ASK, ASK),
    "nothing": (b"", ASK, ASK),
    "version 1": (b"\x40" + rtp(1)[1:], ASK, ASK),
    "version 3": (b"\xc0" + rtp(1)[1:], ASK, ASK),
    "STUN": (b"\0\1\0\0\x21\x12\xa4\x42" + bytes(12), ASK, ASK),
    "DTLS": (b"\x16\xfe\xfd" + bytes(20), ASK, ASK),
    "RTCP": (rtcp(), ASK, FORWARD),
    "the shortest RTCP": (struct.pack("!BBHI", 0x80, 201, 1, 7), ASK, FORWARD),
    "RTCP cut off": (struct.pack("!BBHI", 0x80, 201, 1, 7)[:7], ASK, ASK),
    "RTCP of version 1": (struct.pack("!BBHI", 0x40, 201, 1, 7), ASK, ASK),
    "an extended report": (struct.pack("!BBHI", 0x80, 207, 1, 7), ASK, FORWARD),
    "the lowest RTCP type": (rtp(1, payload_type=192), ASK, ASK),
    "the type before reports": (rtp(1, payload_type=199), ASK, ASK),
    "the type behind reports": (rtp(1, payload_type=208), ASK, ASK),
    "the highest RTCP type": (rtp(1, payload_type=223), ASK, ASK),
}
"""Payloads, and their worth to a rule of RTP and to one of RTCP."""

FRAMES: dict[str, tuple[Given, str]] = {
    "the last hop but one": (PLAIN._replace(ttl=2), "forwarded"),
    "the last hop": (PLAIN._replace(ttl=1), "life"),
    "no hop left": (PLAIN._replace(ttl=0), "life"),
    "no class of traffic": (PLAIN._replace(tos=0), "forwarded"),
    "all of DSCP and ECN": (PLAIN._replace(tos=0xFF), "forwarded"),
    "a wrong UDP checksum": (PLAIN._replace(check=0x1234), "forwarded"),
    "a UDP length one too long": (PLAIN._replace(udp_length=181), "length"),
    "a UDP length one too short": (PLAIN._replace(udp_length=179), "length"),
    "a UDP length of nothing": (PLAIN._replace(udp_length=0), "length"),
    "octets behind the packet": (PLAIN._replace(trailer=b"x"), "length"),
    "a tag for a VLAN": (PLAIN._replace(tag=b"\x81\x00\x00\x07"), ""),
    "TCP": (PLAIN._replace(protocol=6), ""),
}
"""Frames of G.711, and the kernel's word for them; "" is none: the program looks for UDP alone."""

FRAMES4: dict[str, tuple[Given, str]] = {
    "no UDP checksum": (PLAIN._replace(check=0), "forwarded"),
    "may be fragmented": (PLAIN._replace(fragment=0), "forwarded"),
    "a first fragment": (PLAIN._replace(fragment=0x2000), "fragment"),
    "a later fragment": (PLAIN._replace(fragment=0x0007), "fragment"),
    "a bit that must be zero": (PLAIN._replace(fragment=0x8000), "fragment"),
    "an IP option": (PLAIN._replace(options=b"\x94\x04\0\0"), "options"),
    "an IP length beyond the frame": (PLAIN._replace(length=201), "length"),
    "an IP length before the end": (PLAIN._replace(length=199), "length"),
    "an IP length of nothing": (PLAIN._replace(length=0), "length"),
}
FRAMES6: dict[str, tuple[Given, str]] = {
    "no UDP checksum": (PLAIN._replace(check=0), "checksum"),
    "a fragment header": (PLAIN._replace(protocol=44, options=b"\x11\0\0\1\0\0\0\7"), ""),
    "a hop-by-hop header": (PLAIN._replace(protocol=0, options=b"\x11\0\1\4\0\0\0\0"), ""),
    "an IP length beyond the frame": (PLAIN._replace(length=181), "length"),
    "an IP length of nothing": (PLAIN._replace(length=0), "length"),
}


def row(
    description: str,
    rule: Rule,
    data: bytes,
    given: Given,
    why: str,
    verdict: Verdict = FORWARD,
    gso: int = 0,
) -> Row:
    """A row whose frame goes from the rule's remote to its port."""
    came = frame(rule.remote, rule.local, data, given)
    out = None
    if why == "forwarded":
        out = frame(rule.via, rule.to, data, given._replace(ttl=given.ttl - 1))
        if given.check:  # as wrong as it was
            out = adjusted(came, out)
    return Row(description, rule, came, None if datagram(came) is None else verdict, why, out, gso)


def adjusted(came: bytes, out: bytes) -> bytes:
    """A frame out with the UDP checksum of the frame in, moved by how the addresses differ (RFC 1624)."""
    at = ETHERNET + (IPV4 if came[14] >> 4 == 4 else 40)
    first = ETHERNET + (12 if came[14] >> 4 == 4 else 8)

    def words(data: bytes) -> int:
        return sum(struct.unpack(f"!{(at + 4 - first) // 2}H", data[first : at + 4]))

    check = (0xFFFF - struct.unpack_from("!H", came, at + 6)[0] + words(out) - words(came)) % 0xFFFF
    return out[: at + 6] + struct.pack("!H", ~check & 0xFFFF) + out[at + 8 :]


def rows() -> Iterator[Row]:
    """The table."""
    for family, rules in (("IPv4", (RTP4, RTCP4)), ("IPv6", (RTP6, RTCP6))):
        for rule in rules:
            kind = f"{family}, {'RTCP' if rule.is_rtcp else 'RTP'}: "
            for description, (data, *worth) in PAYLOADS.items():
                why = "forwarded" if worth[rule.is_rtcp] is FORWARD else "content"
                shortest = why == "content" and len(data) < 8  # too short to be looked at
                yield row(kind + description, rule, data, PLAIN, "" if shortest else why, worth[rule.is_rtcp])
            for port, host in ((1, 0), (0, 1)):
                remote = Addr(rule.remote.host[: len(rule.remote.host) - host] + "1" * host, 4000 + port)
                data = rtcp() if rule.is_rtcp else rtp(1)
                came = frame(remote, rule.local, data)
                yield Row(f"{kind}from {remote}", rule, came, ASK, "unknown", None)
        more = FRAMES4 if family == "IPv4" else FRAMES6
        for description, (given, why) in (*FRAMES.items(), *more.items()):
            yield row(f"{family}: {description}", rules[0], rtp(1), given, why)
        yield row(f"{family}: segments in one", rules[0], rtp(1), PLAIN, "offloaded", gso=100)
        room = MTU - (28 if family == "IPv4" else 48)
        for size, why in ((room, "forwarded"), (room + 1, "large")):
            yield row(f"{family}: {size} octets", rules[0], rtp(1, size=size), PLAIN, why)
    short = PLAIN._replace(trailer=bytes(10))
    yield row("IPv4: made longer for Ethernet", RTCP4, PAYLOADS["the shortest RTCP"][0], short, "forwarded")


TABLE = {one.description: one for one in rows()}


def packet(one: Row) -> Packet | None:
    """The row's datagram as a socket has it."""
    known = datagram(one.frame)
    return None if known is None else Packet(known.source, known.data)
