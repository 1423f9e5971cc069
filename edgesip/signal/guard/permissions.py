"""permissions: whose address is believed, in numbered groups, and who may pose as whom from where.

Holds the rows that a profile and its files name, read into tables that answer in one look-up for an address
and one look per size of network. Names of hosts are compared as text and never resolved. Reads no file: text
is given to `address_row` and `trusted_row`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import NamedTuple

from edgesip.address import parse_ip
from edgesip.signal.guard.allowing import Pair

TRUSTED_GROUP = 1
"""The group of `[permissions] trusted`, and of `allow_source_address()` without a number."""
PROTOCOLS = ("any", "udp", "tcp", "tls", "ws", "wss", "none")

Network = IPv4Network | IPv6Network
Key = IPv4Address | IPv6Address | str


class Address(NamedTuple):
    """One row: a group, an address, network or host name, a port (0: any), and what a script may read."""

    group: int
    network: Network | None
    host: str
    port: int
    tag: str


class Trusted(NamedTuple):
    """One row of `allow_trusted`: a source, its transport, what From and the request URI must look like."""

    source: str
    proto: str
    from_pattern: str
    ruri_pattern: str
    tag: str


@dataclass(frozen=True, slots=True)
class PermissionSettings:
    """0: the first network that fits counts, 1: the smallest; networks at most."""

    subnet_match_mode: int = 0
    max_subnets: int = 512


def address_row(text: str) -> Address:
    """`GROUP ADDRESS [MASK [PORT [TAG]]]`, as in Kamailio's address file. ValueError says what is wrong.

    ADDRESS may be a network in CIDR form; MASK is its length. PORT 0, or none, is any port.
    """
    words = text.split()
    if not 2 <= len(words) <= 5:
        raise ValueError(f"{text!r} is not GROUP ADDRESS [MASK [PORT [TAG]]]")
    group = _number(words[0], "group", 2**31 - 1)
    if not group:
        raise ValueError(f"{text!r}: groups begin at 1")
    host, _, mask = words[1].partition("/")
    if len(words) > 2 and not mask:
        mask = words[2]
    port = _number(words[3], "port", 65535) if len(words) > 3 else 0
    tag = words[4] if len(words) > 4 else ""
    ip = parse_ip(host)
    if ip is None:
        if mask not in ("", "0", "32"):
            raise ValueError(f"{text!r}: a host name has no mask")
        return Address(group, None, host.lower(), port, tag)
    length = _number(mask, "mask", ip.max_prefixlen) if mask else ip.max_prefixlen
    return Address(group, ip_network(f"{ip}/{length}", strict=False), "", port, tag)


def trusted_row(text: str) -> Trusted:
    """`SOURCE PROTO FROM_PATTERN RURI_PATTERN [TAG]`; `*` is any pattern. ValueError says what is wrong."""
    words = text.split()
    if not 4 <= len(words) <= 5:
        raise ValueError(f"{text!r} is not SOURCE PROTO FROM_PATTERN RURI_PATTERN [TAG]")
    source, proto, from_pattern, ruri_pattern = words[:4]
    ip = parse_ip(source)
    if proto.lower() not in PROTOCOLS:
        raise ValueError(f"{proto!r} is not one of {', '.join(PROTOCOLS)}")
    for pattern in (from_pattern, ruri_pattern):
        try:
            re.compile("" if pattern == "*" else pattern)
        except re.error as error:
            raise ValueError(f"{pattern!r} is not a regular expression: {error}") from None
    tag = words[4] if len(words) > 4 else ""
    return Trusted(source if ip is None else str(ip), proto.lower(), from_pattern, ruri_pattern, tag)


class Permissions:
    """The rows in force. `use` puts others in their place."""

    def __init__(self, settings: PermissionSettings = PermissionSettings()) -> None:
        self.settings = settings
        self.pairs: dict[str, Pair] = {}
        """The rules of `allow_uri` and its like, by the name of their files."""
        self._rows: tuple[Address, ...] = ()
        self._trusted: tuple[Trusted, ...] = ()
        self._hosts: dict[Key, list[Address]] = {}
        self._subnets: list[Address] = []

    def use(self, rows: Sequence[Address], trusted: Sequence[Trusted]) -> None:
        """Put these rows in force. Raises ValueError, and the old ones stay, for too many networks."""
        hosts: dict[Key, list[Address]] = {}
        subnets: list[Address] = []
        for row in rows:
            if row.network is None:
                hosts.setdefault(row.host, []).append(row)
            elif row.network.num_addresses == 1:
                hosts.setdefault(row.network.network_address, []).append(row)
            else:
                subnets.append(row)
        if len(subnets) > self.settings.max_subnets:
            raise ValueError(f"{len(subnets)} networks are more than max_subnets {self.settings.max_subnets}")
        if self.settings.subnet_match_mode:
            subnets.sort(key=_size)
        self._rows, self._trusted = tuple(rows), tuple(trusted)
        self._hosts, self._subnets = hosts, subnets

    # -- questions -------------------------------------------------------------------------------------

    def find(self, host: str, port: int, group: int = 0) -> Address | None:
        """The row that this address and port stand in, of this group where one is given; else None."""
        if not self._hosts and not self._subnets:
            return None
        ip = parse_ip(host)
        key: Key = host.lower() if ip is None else ip
        for row in self._hosts.get(key, ()):
            if _fits(row, port, group):
                return row
        if ip is not None:
            for row in self._subnets:
                if row.network is not None and _fits(row, port, group) and ip in row.network:
                    return row
        return None

    def trusts(self, host: str) -> bool:
        """True when this address is believed whatever port it uses: never banned, no password asked for."""
        return self.find(host, -1, TRUSTED_GROUP) is not None

    def allow_trusted(self, source: str, proto: str, from_uri: str, ruri: str) -> Trusted | None:
        """The first row that lets this source send this; None when none does."""
        for row in self._trusted:
            if row.source != source or row.proto not in ("any", proto):
                continue
            if _matches(row.from_pattern, from_uri) and _matches(row.ruri_pattern, ruri):
                return row
        return None

    def allows(self, name: str, first: str, second: str) -> bool:
        """What the files of this name say of two URIs. Raises ValueError when there are none."""
        pair = self.pairs.get(name)
        if pair is None:
            raise ValueError(f"{name} is not among permissions.rule_files")
        return pair.allows(first, second)

    def rows(self) -> tuple[Address, ...]:
        """Every row, as it was put in force."""
        return self._rows

    def hosts(self) -> list[Address]:
        """Every row for one address."""
        return [row for row in self._rows if row.network is not None and row.network.num_addresses == 1]

    def subnets(self) -> list[Address]:
        """Every row for a network, in the order in which they are looked at."""
        return list(self._subnets)

    def domains(self) -> list[Address]:
        """Every row for the name of a host."""
        return [row for row in self._rows if row.network is None]

    def trusted(self) -> tuple[Trusted, ...]:
        """Every row of `allow_trusted`."""
        return self._trusted


def _fits(row: Address, port: int, group: int) -> bool:
    return (not row.port or row.port == port) and (not group or row.group == group)


def _matches(pattern: str, text: str) -> bool:
    return pattern == "*" or re.search(pattern, text) is not None


def _size(row: Address) -> int:
    return row.network.num_addresses if row.network is not None else 1


def _number(text: str, name: str, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= most):
        raise ValueError(f"{name} {text!r} is not a number up to {most}")
    return int(text)
