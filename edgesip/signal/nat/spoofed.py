"""Pings that say they come from an address that is not ours: their packets, and whose addresses they bear.

nathelper's `natping_socket` and `udpping_from_path`, for phones whose NAT lets in another server alone.
Packets are octets here; how they leave, and whether we may, is another room's. IPv4 only, as in Kamailio.
"""

from __future__ import annotations

import ipaddress
import struct

from edgesip.address import Addr, Flow, is_internal, is_sendable, parse_ip
from edgesip.signal.location.binding import Binding
from edgesip.signal.wire.grammar import ParseError, split_list
from edgesip.signal.wire.uri import Uri, parse_uri
from edgesip.signal.wire.values import parse_name_addr

RAW = "raw"
"""The transport of such a flow; its local end is who is said to have sent it."""
_IPV4 = struct.Struct("!BBHHHBBH4s4s")
_UDP = struct.Struct("!HHHH")
_PSEUDO = struct.Struct("!4s4sBBH")
_VERSION_AND_LENGTH = 0x45
_DONT_FRAGMENT = 0x4000
_TTL = 64
_PROTOCOL = 17


def datagram(source: Addr, target: Addr, data: bytes) -> bytes:
    """A UDP datagram with its IPv4 header (RFC 791 §3.1, RFC 768), as a raw socket takes it.

    Its identification is 0: it is never cut (RFC 6864 §4.1). ValueError for IPv6, or for too much data.
    """
    here, there = (ipaddress.IPv4Address(one.host).packed for one in (source, target))
    length = _UDP.size + len(data)
    if _IPV4.size + length > 0xFFFF:
        raise ValueError(f"{len(data)} octets do not fit into a datagram")
    head = _IPV4.pack(
        _VERSION_AND_LENGTH, 0, _IPV4.size + length, 0, _DONT_FRAGMENT, _TTL, _PROTOCOL, 0, here, there
    )
    head = head[:10] + checksum(head).to_bytes(2, "big") + head[12:]
    body = _UDP.pack(source.port, target.port, length, 0) + data
    found = checksum(_PSEUDO.pack(here, there, 0, _PROTOCOL, length) + body) or 0xFFFF  # 0: there is none
    return head + body[:6] + found.to_bytes(2, "big") + body[8:]


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071 §1): 0 over data that carries its own."""
    if len(data) % 2:
        data += b"\0"
    words: tuple[int, ...] = struct.unpack(f"!{len(data) // 2}H", data)
    total = sum(words)
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def along_path(binding: Binding) -> Flow | None:
    """From the last hop of a contact's Path, the proxy that its phone knows, straight to the phone.

    The phone is where that proxy saw it (`received`, when its REGISTER said so), else where its Contact says.
    None where one of them is no IPv4 address over UDP, or somebody outside would send us inside.
    """
    hop, phone = _last_hop(binding.path), _seen_at(binding)
    if hop is None or phone is None or not (is_sendable(hop.host) and is_sendable(phone.host)):
        return None
    if is_internal(phone.host) and not is_internal(hop.host):
        return None
    return Flow(RAW, hop, phone)


def _last_hop(path: str) -> Addr | None:
    hops = split_list(path)
    try:
        return _udp4(parse_name_addr(hops[-1].strip()).uri) if hops else None
    except ParseError:
        return None


def _seen_at(binding: Binding) -> Addr | None:
    """`received` that is only where the REGISTER came to us from is that of a proxy."""
    for text in (binding.received, binding.contact):
        try:
            found = _udp4(parse_uri(text)) if text else None
        except ParseError:
            continue
        if found is not None and found != binding.flow.remote:
            return found
    return None


def _udp4(uri: Uri) -> Addr | None:
    ip = parse_ip(uri.host)
    if not isinstance(ip, ipaddress.IPv4Address) or (uri.param("transport") or "udp").lower() != "udp":
        return None
    return Addr(str(ip), uri.port or 5060)
