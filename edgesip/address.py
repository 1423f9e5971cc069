"""Addresses: the only types that say where octets come from and go to.

Holds `Addr` (IP and port), `Flow` (transport and both ends) and what an IP literal is worth (private,
special, unusable as a target). Knows nothing of SIP, sockets or DNS: a host here is always an IP literal.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import Final, NamedTuple

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_PRIVATE: Final = tuple(
    ipaddress.IPv4Network(net)
    for net in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "192.0.0.0/24")
)
_INSIDE: Final[tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]] = (
    *_PRIVATE,
    *(ipaddress.IPv4Network(net) for net in ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "198.18.0.0/15")),
    *(ipaddress.IPv6Network(net) for net in ("::/127", "fc00::/7", "fe80::/10", "fec0::/10")),
)
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_NAT64_LOCAL: Final = ipaddress.IPv6Network("64:ff9b:1::/48")
_SIX_TO_FOUR: Final = ipaddress.IPv6Network("2002::/16")
_BROADCAST: Final = ipaddress.IPv4Address("255.255.255.255")


class Addr(NamedTuple):
    """An IP literal (canonical, no brackets) and a port; usable as a socket address for IPv4."""

    host: str
    port: int

    @property
    def family(self) -> int:
        """4 or 6."""
        return 6 if ":" in self.host else 4

    def __str__(self) -> str:
        return f"{bracketed(self.host)}:{self.port}"


class Flow(NamedTuple):
    """One path between us and a peer: transport name in lower case, our end, their end (RFC 5626 §2).

    `peer` is the name that their end has to prove, over TLS that we open (RFC 5922).
    """

    transport: str
    local: Addr
    remote: Addr
    peer: str = ""

    def __str__(self) -> str:
        return f"{self.transport}:{self.local}<->{self.remote}"


@lru_cache(maxsize=8192)
def parse_ip(text: str) -> IPAddress | None:
    """The address an IP literal names, brackets allowed, or None for anything else.

    IPv4-mapped and NAT64 addresses come out as the IPv4 address inside them, so that no spelling of
    an address passes a check that another spelling would fail (threat 24).
    """
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
        if ":" not in text:
            return None
    if not text.isascii():
        return None
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.scope_id is not None:
            return None
        if ip.ipv4_mapped is not None:
            return ip.ipv4_mapped
        if ip in _NAT64:
            return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip


def is_ip(text: str) -> bool:
    """True when `text` is an IP literal, with or without IPv6 brackets."""
    return parse_ip(text) is not None


def bracketed(host: str) -> str:
    """The host as it stands in a URI or Via: IPv6 literals in brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def source_of(host: str) -> str:
    """Whoever is behind an IP literal: IPv4 as it is; of IPv6 the /64, which is one owner's."""
    return host if ":" not in host else _prefix(host)


@lru_cache(maxsize=8192)
def _prefix(host: str) -> str:
    ip = parse_ip(host)
    if not isinstance(ip, ipaddress.IPv6Address):
        return host if ip is None else str(ip)
    return f"{ipaddress.IPv6Address(int(ip) >> 64 << 64)}/64"


def same_host(one: str, other: str) -> bool:
    """True when both name the same IP address, or are the same name ignoring case."""
    if one == other:
        return True
    first, second = parse_ip(one), parse_ip(other)
    if first is not None or second is not None:
        return first == second
    return one.lower() == other.lower()


@lru_cache(maxsize=8192)
def is_private(host: str) -> bool:
    """True for nathelper's private ranges (spec: RFC 1918, 6598, 6890); names and IPv6 are never private."""
    ip = parse_ip(host)
    return isinstance(ip, ipaddress.IPv4Address) and any(ip in net for net in _PRIVATE)


@lru_cache(maxsize=8192)
def is_loopback(host: str) -> bool:
    """True for 127/8 and ::1."""
    ip = parse_ip(host)
    return ip is not None and ip.is_loopback


@lru_cache(maxsize=8192)
def is_internal(host: str) -> bool:
    """True for what only its own network or host can reach: private, link-local, loopback (threat 24)."""
    ip = _mapped_out(parse_ip(host))
    return ip is not None and any(ip in net for net in _INSIDE)


def _mapped_out(ip: IPAddress | None) -> IPAddress | None:
    """The IPv4 address that an IPv6 address is only another way to: NAT64, 6to4 or "IPv4-compatible"."""
    if not isinstance(ip, ipaddress.IPv6Address):
        return ip
    number = int(ip)
    if ip in _NAT64_LOCAL or (1 < number < 1 << 32):
        return ipaddress.IPv4Address(number & 0xFFFFFFFF)
    if ip in _SIX_TO_FOUR:
        return ipaddress.IPv4Address(number >> 80 & 0xFFFFFFFF)
    return ip


def is_unspecified(host: str) -> bool:
    """True for 0.0.0.0 and ::, the addresses that mean "nowhere" (hold) or "everywhere" (listen)."""
    ip = parse_ip(host)
    return ip is not None and ip.is_unspecified


@lru_cache(maxsize=8192)
def is_sendable(host: str, loopback: bool = False) -> bool:
    """True when a packet may be sent to this literal at all (threat 24, media-relay.md §2.2 rule 8).

    Unspecified, multicast, broadcast, reserved and IPv6 link-local addresses are not; loopback only
    where the caller allows it.
    """
    ip = _mapped_out(parse_ip(host))
    if ip is None or ip.is_unspecified or ip.is_multicast or ip == _BROADCAST:
        return False
    if isinstance(ip, ipaddress.IPv4Address):
        if int(ip) >> 24 == 0 or ip.is_reserved:
            return False
    elif ip.is_link_local:
        return False
    return loopback or not ip.is_loopback


def parse_hostport(text: str) -> tuple[str, int | None] | None:
    """Split `host[:port]` with optional IPv6 brackets; None when it is not of that form (port 1-65535)."""
    if text.startswith("["):
        host, close, rest = text[1:].partition("]")
        if not close or not is_ip(host):
            return None
    else:
        host, colon, port = text.partition(":")
        rest = colon + port
    if not host:
        return None
    if not rest:
        return host, None
    digits = rest[1:]
    if rest[0] != ":" or not (digits.isascii() and digits.isdigit() and len(digits) <= 5):
        return None
    number = int(digits)
    return (host, number) if 0 < number < 65536 else None
