"""Ways out of this host: by which interface, and to which next hop, a packet leaves for an address.

Asks the kernel once for each pair of addresses and remembers the answer until a notice says that it may be
another. Also knows which interface has which address. Refuses to know flows, programs and media.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Callable
from typing import Final, NamedTuple

from edgesip.relay.kernel import netlink
from edgesip.relay.kernel.netlink import Message, attribute, attributes

MOST: Final = 1 << 16
"""Pairs of addresses that are remembered; with one more all are asked anew."""
MANY: Final = 64
"""Changed routes at one time that are looked at one by one; with more everything is asked anew."""

ETHERNET, LOOPBACK = 1, 772  # ARPHRD_*
_IFF_UP: Final = 1
_UNICAST, _LOCAL = 1, 2
_TYPES: Final = {3: "broadcast", 5: "multicast", 6: "blackhole", 7: "unreachable", 8: "prohibit"}
_LINK: Final = struct.Struct("=BxHiII")
_ADDRESS: Final = struct.Struct("=BBBBi")
_WAY: Final = struct.Struct("=BBBBBBBBI")
_NEIGHBOUR: Final = struct.Struct("=BxxxiHBB")
_INDEX: Final = struct.Struct("=i")
_NUMBER: Final = struct.Struct("=I")
_USABLE: Final = 0x02 | 0x04 | 0x08 | 0x10 | 0x40 | 0x80  # NUD_: all but incomplete, failed, none
_FAMILIES: Final[dict[int, int]] = {socket.AF_INET: 4, socket.AF_INET6: 16}


class Interface(NamedTuple):
    """A link: `number` is its index, `kind` its ARPHRD type, `mtu` in octets; `mac` may be empty."""

    number: int
    name: str
    kind: int
    mac: bytes
    mtu: int
    is_up: bool


class Hop(NamedTuple):
    """How packets leave: interface, the neighbour they are handed to, and both MAC addresses.

    Towards this host itself there is no neighbour. `target_mac` is empty while it is not known; `mtu` in
    octets of IP.
    """

    ifindex: int
    interface: str
    neighbour: str
    mtu: int
    source_mac: bytes
    target_mac: bytes


Way = Hop | str
"""A hop, or why there is none, as a sentence."""


class Routes:
    """What this host's routes, addresses, links and neighbours are now, as far as somebody asked.

    Without `macs` nobody asks for neighbours: `target_mac` is always empty.
    """

    def __init__(self, macs: bool) -> None:
        self._asks_macs = macs
        groups = netlink.GROUPS if macs else tuple(set(netlink.GROUPS) - {netlink.NEIGHBOURS})
        self._notices = netlink.Notices(groups)  # first: what changes while we look is heard afterwards
        self._questions = netlink.Questions()
        self._links: dict[int, Interface] = {}
        self._hosts: dict[str, int] = {}
        self._ways: dict[tuple[str, str], Way] = {}
        self._macs: dict[tuple[int, str], bytes] = {}
        self.asked = 0
        self._look()

    def fileno(self) -> int:
        """The file to watch; `changed` is to be called when it has something."""
        return self._notices.fileno()

    def holder(self, host: str) -> int:
        """The index of the interface that has this address; 0 for none."""
        return self._hosts.get(host, 0)

    def interface(self, index: int) -> Interface | None:
        """The link with this index."""
        return self._links.get(index)

    def way(self, source: str, target: str) -> Way:
        """How a packet from one of our addresses to `target` leaves."""
        found = self._ways.get((source, target))
        if found is None:
            if len(self._ways) >= MOST:
                self._ways.clear()
            found = self._ways[source, target] = self._ask(source, target)
        return found

    def knows(self, source: str, target: str) -> bool:
        """False when the answer that was given before may not hold any more."""
        return (source, target) in self._ways

    def changed(self) -> bool:
        """Take in what has changed; True when some pair has to be asked again."""
        notices = self._notices.take()
        known = len(self._ways)
        if notices is None or sum(one.kind in _ROUTES for one in notices) > MANY:
            self._look()
        else:
            for one in notices:
                _HEARD.get(one.kind, _anything)(self, one)
        return len(self._ways) < known

    def close(self) -> None:
        """Close both sockets."""
        self._notices.close()
        self._questions.close()

    # Questions.

    def _look(self) -> None:
        """Everything anew."""
        self._ways.clear()
        self._macs.clear()
        self._links.clear()
        self._hosts.clear()
        for one in self._questions.all(netlink.GETLINK, _LINK.pack(0, 0, 0, 0, 0)):
            found = _interface(one)
            self._links[found.number] = found
        for one in self._questions.all(netlink.GETADDR, _ADDRESS.pack(0, 0, 0, 0, 0)):
            host, index = _address(one)
            self._hosts[host] = index

    def _ask(self, source: str, target: str) -> Way:
        self.asked += 1
        family = socket.AF_INET6 if ":" in target else socket.AF_INET
        try:
            near, far = socket.inet_pton(family, source), socket.inet_pton(family, target)
            body = _WAY.pack(family, len(far) * 8, len(near) * 8, 0, 0, 0, 0, 0, 0)
            answer = self._questions.one(netlink.GETROUTE, body + attribute(1, far) + attribute(2, near))
        except OSError as error:
            return f"no route from {source} to {target}: {error.strerror or error}"
        kind, found = answer.body[7], attributes(answer.body, _WAY.size)
        if kind not in (_UNICAST, _LOCAL) or 4 not in found:
            return f"no route to {target}: {_TYPES.get(kind, f'type {kind}')}"
        link = self._links.get(_INDEX.unpack(found[4])[0])
        if link is None:
            return f"the interface towards {target} is not known yet"
        if link.kind not in (ETHERNET, LOOPBACK):
            return f"{link.name}, the interface towards {target}, is no Ethernet"
        if 21 in found or 22 in found:
            return f"packets to {target} leave encapsulated"
        metrics = attributes(found.get(8, b""), 0)
        mtu = min(link.mtu, _NUMBER.unpack(metrics[2])[0]) if 2 in metrics else link.mtu
        if kind == _LOCAL or link.kind == LOOPBACK:
            return Hop(link.number, link.name, "", mtu, b"", b"")
        gateway = found.get(5, b"")
        if 18 in found:  # RTA_VIA: a gateway of the other family
            gateway = found[18][2:]
        neighbour = _text(gateway) if gateway else target
        mac = self._mac(link.number, neighbour) if self._asks_macs else b""
        return Hop(link.number, link.name, neighbour, mtu, link.mac, mac)

    def _mac(self, index: int, host: str) -> bytes:
        mac = self._macs.get((index, host))
        if mac is None:
            mac = self._macs[index, host] = self._neighbour(index, host)
        return mac

    def _neighbour(self, index: int, host: str) -> bytes:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        body = _NEIGHBOUR.pack(family, index, 0, 0, 0)
        try:
            answer = self._questions.one(
                netlink.GETNEIGH, body + attribute(1, socket.inet_pton(family, host))
            )
        except OSError:  # it has not been asked for yet
            return b""
        return _lladdr(answer)[2]

    # Notices.

    def _link(self, notice: Message) -> None:
        found = _interface(notice)
        before = self._links.get(found.number)
        if notice.kind == netlink.DELLINK:
            if notice.body[0] != socket.AF_UNSPEC:  # of the bridge that it was a port of
                return
            self._links.pop(found.number, None)
        elif before == found:
            return
        elif notice.body[0] == socket.AF_UNSPEC:
            self._links[found.number] = found
        self._forget(lambda pair, way: isinstance(way, str) or way.ifindex == found.number)

    def _holds(self, notice: Message) -> None:
        host, index = _address(notice)
        if notice.kind == netlink.NEWADDR:
            if self._hosts.get(host) == index:  # its lifetime was renewed
                return
            self._hosts[host] = index
        elif self._hosts.get(host) == index:
            del self._hosts[host]
        self._forget(lambda pair, way: host in pair or isinstance(way, str))

    def _route(self, notice: Message) -> None:
        family, length = notice.body[0], notice.body[1]
        found = attributes(notice.body, _WAY.size)
        octets = _FAMILIES.get(family)
        if octets is None:  # multicast and bridges have routes of their own
            return
        shift = octets * 8 - length
        prefix = int.from_bytes(found.get(1, bytes(octets)), "big") >> shift
        version = 6 if octets == 16 else 4

        def inside(pair: tuple[str, str], way: Way) -> bool:
            target = ipaddress.ip_address(pair[1])
            return target.version == version and int(target) >> shift == prefix

        self._forget(inside)

    def _met(self, notice: Message) -> None:
        index, host, mac = _lladdr(notice)
        before = self._macs.get((index, host))
        if before is None:
            return
        if notice.kind == netlink.DELNEIGH:
            mac = b""
        if mac == before:
            return
        self._macs[index, host] = mac
        self._forget(
            lambda pair, way: not isinstance(way, str) and (way.ifindex, way.neighbour) == (index, host)
        )

    def _forget(self, doubtful: Callable[[tuple[str, str], Way], bool]) -> None:
        for pair in [pair for pair, way in self._ways.items() if doubtful(pair, way)]:
            del self._ways[pair]


_ROUTES: Final = frozenset((netlink.NEWROUTE, netlink.DELROUTE))
_HEARD: Final[dict[int, Callable[[Routes, Message], None]]] = {
    netlink.NEWLINK: Routes._link,
    netlink.DELLINK: Routes._link,
    netlink.NEWADDR: Routes._holds,
    netlink.DELADDR: Routes._holds,
    netlink.NEWROUTE: Routes._route,
    netlink.DELROUTE: Routes._route,
    netlink.NEWNEIGH: Routes._met,
    netlink.DELNEIGH: Routes._met,
}


def _anything(routes: Routes, notice: Message) -> None:
    """Rules and next hops: any route may be another now."""
    routes._ways.clear()


def _interface(message: Message) -> Interface:
    _, kind, index, flags, _ = _LINK.unpack_from(message.body)
    found = attributes(message.body, _LINK.size)
    name = found.get(3, b"").rstrip(b"\0").decode("utf-8", "replace")
    mtu = _NUMBER.unpack(found[4])[0] if 4 in found else 0
    return Interface(index, name, kind, found.get(1, b""), mtu, bool(flags & _IFF_UP))


def _address(message: Message) -> tuple[str, int]:
    index = _ADDRESS.unpack_from(message.body)[4]
    found = attributes(message.body, _ADDRESS.size)
    return _text(found.get(2) or found.get(1, b"")), index


def _lladdr(message: Message) -> tuple[int, str, bytes]:
    """Interface, neighbour, and its MAC as long as it is good for anything."""
    _, index, state, _, _ = _NEIGHBOUR.unpack_from(message.body)
    found = attributes(message.body, _NEIGHBOUR.size)
    mac = found.get(2, b"") if state & _USABLE else b""
    return index, _text(found.get(1, b"")), mac if len(mac) == 6 else b""


def _text(octets: bytes) -> str:
    """An address as text; empty when it is none."""
    family = {4: socket.AF_INET, 16: socket.AF_INET6}.get(len(octets))
    return "" if family is None else socket.inet_ntop(family, octets)
