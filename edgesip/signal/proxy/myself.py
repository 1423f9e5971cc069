"""Who we are: which hosts and ports name this server, and which address a peer should be told.

Holds the listening and advertised addresses and the local domains; knows nothing of messages.
"""

from __future__ import annotations

from functools import lru_cache

from edgesip.address import Addr, is_loopback, parse_ip
from edgesip.signal.wire.uri import Uri


class Myself:
    """`listens` are concrete addresses (a wildcard is expanded before); `advertise` (host, port or None)."""

    def __init__(
        self,
        listens: tuple[tuple[str, Addr], ...],
        advertise: tuple[tuple[str, int | None], ...] = (),
        domains: frozenset[str] = frozenset(),
    ) -> None:
        self.listens = listens
        self.advertise = advertise
        self.domains = domains
        addresses = {addr.host for _, addr in listens} | {host for host, _ in advertise}
        self._addresses = frozenset(addresses)
        self._hosts = frozenset(_plain(host) for host in addresses | domains)
        self._ports = frozenset(addr.port for _, addr in listens) | frozenset(
            port for _, port in advertise if port
        )

    def address_for(self, local: Addr, transport: str = "tcp") -> Addr:
        """What Via, Record-Route and Contact say for a local address: the advertised one of its family.

        A loopback address is never behind the NAT that `advertise` describes, so it speaks for itself. A
        connection that we opened (port 0) is known by the port of its transport's listener. An advertised
        port is that of UDP and TCP: TLS has its own.
        """
        if not local.port:
            ports = [addr.port for kind, addr in self.listens if (kind, addr.host) == (transport, local.host)]
            local = Addr(local.host, ports[0] if ports else 5060)
        if self.advertise and not is_loopback(local.host):
            for host, port in self.advertise:
                if (":" in host) == (":" in local.host):
                    return Addr(host, local.port if transport == "tls" else port or local.port)
        return local

    def is_myself(self, uri: Uri) -> bool:
        """True when the URI's host is ours and its port is absent or one of ours (core's `uri == myself`)."""
        if uri.port is not None and uri.port not in self._ports:
            return False
        return _plain(uri.host) in self._hosts

    def is_our_address(self, addr: Addr) -> bool:
        """True when a packet to this address would come back to us."""
        return addr.host in self._addresses and addr.port in self._ports


@lru_cache(maxsize=1024)
def _plain(host: str) -> str:
    ip = parse_ip(host)
    return str(ip) if ip is not None else host.lower().rstrip(".")
