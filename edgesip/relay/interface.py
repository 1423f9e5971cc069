"""Where a leg's media ports may be: the usual interface, those with a name, and the pool of ports of each.

Says which address of ours a side of a call gets, and what stands in SDP for it. Refuses to know calls, and
sockets: it is given what binds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from edgesip.address import is_loopback, parse_ip
from edgesip.relay.latch import Reach
from edgesip.relay.ports import Counts, Pair, Ports


class Interface(NamedTuple):
    """Addresses of ours for media, at most one a family: where ports are bound, and what SDP says instead.

    `low`-`high` is the range of its ports. The usual one has no name, and may have no address.
    """

    name: str
    address: tuple[str, ...]
    advertise: tuple[str, ...]
    low: int
    high: int


class Seat(NamedTuple):
    """Where one side of a call gets its ports: our address, what SDP says for it, the interface's name."""

    host: str
    written: str
    interface: str


class Interfaces:
    """All of them; those with one range of ports share its pool.

    `hosts` are the addresses that SIP is listened for on: the usual interface's, where it has none of its
    own. `bind`, `unbind` and `entropy` are what `Ports` needs.
    """

    def __init__(
        self,
        usual: Interface,
        named: Sequence[Interface],
        hosts: Sequence[str],
        entropy: Callable[[int], bytes],
        bind: Callable[[Pair], bool],
        unbind: Callable[[Pair], None],
    ) -> None:
        self._usual = usual
        self._named = {one.name: one for one in named}
        self._hosts = tuple(hosts)
        every = (usual, *named)
        ranges = {(one.low, one.high) for one in every}
        self._pools = {each: Ports(*each, entropy, bind, unbind) for each in ranges}
        self._ports = {one.name: self._pools[one.low, one.high] for one in every}
        self._own = frozenset(host for one in every for host in (*one.address, *one.advertise))
        self.low, self.high = min(one.low for one in every), max(one.high for one in every)
        self._seats: dict[tuple[str, bool, str], Seat | None] = {}
        self._reaches: dict[tuple[Seat, str], Reach] = {}

    @property
    def names(self) -> frozenset[str]:
        """The names that a script may give."""
        return frozenset(self._named)

    def seat(self, name: str, like: str, sip: str) -> Seat | None:
        """Ports for a side whose address family is that of `like`; `sip` is where its SIP reaches us.

        None when the interface has no address of this family. The usual one, which has no name, borrows
        from where SIP is heard, and in the end from the interfaces with a name.
        """
        key = (name, ":" in like, sip)  # as many as addresses of ours
        if key not in self._seats:
            self._seats[key] = self._found(name, like, sip)
        return self._seats[key]

    def reach(self, seat: Seat, sip: str) -> Reach:
        """Which addresses a side with these ports may deal with; `sip` is where its SIP reaches us."""
        found = self._reaches.get((seat, sip))
        if found is None:
            own = self._own | {seat.host, seat.written, sip, *self._hosts}
            found = Reach(is_loopback(seat.host), own, self.low, self.high)
            self._reaches[seat, sip] = found
        return found

    def _found(self, name: str, like: str, sip: str) -> Seat | None:
        if name:
            return self._at(self._named[name], like) if name in self._named else None
        found = self._at(self._usual, like)
        if found is None:
            host = sip if _same_family(sip, like) else _of_family(self._hosts, like)
            if host is not None:
                return _seat(host, self._usual)
            found = next((seat for one in self._named.values() if (seat := self._at(one, like))), None)
        return found

    def seat_on(self, host: str) -> Seat | None:
        """Ports at this very address; None when no interface has it, unless the usual one has none at all."""
        for one in (self._usual, *self._named.values()):
            if host in one.address:
                return _seat(host, one)
        return None if self._usual.address else _seat(host, self._usual)

    def lease(self, interface: str, host: str, now: float) -> Pair | None:
        """A bound pair of ports; None when there is none."""
        return self._ports[interface].lease(host, now)

    def claim(self, interface: str, pair: Pair) -> bool:
        """This very pair, bound; False when it cannot be had, or there is no such interface any more."""
        ports = self._ports.get(interface)
        return ports is not None and ports.claim(pair)

    def release(self, pair: Pair, now: float) -> None:
        """Unbind a pair and let it rest."""
        for ports in self._pools.values():
            ports.release(pair, now)

    def counts(self, now: float) -> Counts:
        """The ports of all interfaces together."""
        counts = [ports.counts(now) for ports in self._pools.values()]
        return Counts(*(sum(column) for column in zip(*counts, strict=True)))

    @staticmethod
    def _at(interface: Interface, like: str) -> Seat | None:
        host = _of_family(interface.address, like)
        return None if host is None else _seat(host, interface)


def _seat(host: str, interface: Interface) -> Seat:
    written = host if is_loopback(host) else _of_family(interface.advertise, host) or host
    return Seat(host, written, interface.name)


def _same_family(one: str, other: str) -> bool:
    return (":" in one) == (":" in other)


def _of_family(addresses: Sequence[str], like: str) -> str | None:
    """The address of the same family as `like`."""
    for address in addresses:
        if _same_family(address, like):
            ip = parse_ip(address)
            return address if ip is None else str(ip)
    return None
