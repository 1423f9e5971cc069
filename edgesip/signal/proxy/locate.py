"""From what a script wants to the hops that carry it there (RFC 3263, as far as it needs no DNS).

Takes bindings and URIs, gives `Target`s; a host that is a name comes back as `Unresolved` for the resolver.
Asks nobody anything itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgesip.address import Addr, Flow, is_loopback, is_sendable, parse_ip
from edgesip.signal.location.usrloc import Binding
from edgesip.signal.proxy.fork import Target
from edgesip.signal.proxy.inbound import Inbound
from edgesip.signal.proxy.myself import Myself
from edgesip.signal.wire.grammar import ParseError
from edgesip.signal.wire.uri import Uri, parse_uri


@dataclass(frozen=True, slots=True)
class Unresolved:
    """A target whose next hop is a name (`port` None: SRV first); `uri` is what the copy will carry."""

    uri: str
    host: str
    port: int | None


@dataclass(frozen=True, slots=True)
class Locator:
    """Turns wants into hops. `route` tells the local address that the host uses towards a remote one."""

    myself: Myself
    route: Callable[[str], str]

    def locate(self, inbound: Inbound, wanted: Sequence[object]) -> list[Target | Unresolved]:
        """Targets for a `Forward`; those that lead nowhere (threat 24) are left out."""
        found: list[Target | Unresolved] = []
        for one in wanted or (None,):
            if isinstance(one, Binding):
                found.append(Target(one.contact, (one.flow,), one.nated))
                continue
            target = self._by_uri(inbound, str(one) if one is not None else inbound.uri, one is None)
            if target is not None:
                found.append(target)
        return found

    def _by_uri(self, inbound: Inbound, uri: str, own: bool) -> Target | Unresolved | None:
        """`own` when it is the request's URI, for which a Route or a destination set by the script wins."""
        if own and inbound.dst is not None and not inbound.foreign:
            return self.at(inbound, uri, [inbound.dst])
        try:
            hop = inbound.foreign[0].uri if own and inbound.foreign else parse_uri(uri)
        except ParseError:
            return None
        host, port = _next(hop)
        if parse_ip(host) is None:
            return Unresolved(uri, host, port)
        return self.at(inbound, uri, [Addr(str(parse_ip(host)), port or 5060)])

    def at(self, inbound: Inbound, uri: str, addresses: Sequence[Addr]) -> Target | None:
        """A target at these addresses, in this order; None when none of them may be sent to."""
        flows = [flow for addr in addresses if (flow := self._flow(inbound, addr)) is not None]
        return Target(uri, tuple(flows)) if flows else None

    def _flow(self, inbound: Inbound, remote: Addr) -> Flow | None:
        if not is_sendable(remote.host, is_loopback(inbound.flow.remote.host)):
            return None
        if self.myself.is_our_address(remote):
            return None
        dialog = inbound.dialog
        if dialog is not None:
            known = (dialog.callee if inbound.side == "caller" else dialog.caller).flow
            if known is not None and known.remote == remote:
                return known
        local = self._local(inbound.flow.local, remote)
        return Flow("udp", local, remote) if local is not None else None

    def _local(self, here: Addr, remote: Addr) -> Addr | None:
        """The listener to send from: the one where the request came in, if the way out is its address."""
        fit = [
            addr
            for transport, addr in self.myself.listens
            if transport == "udp" and addr.family == remote.family
        ]
        if len(fit) <= 1:
            return fit[0] if fit else None
        host = self.route(remote.host)
        fit = [addr for addr in fit if addr.host == host] or fit
        same = [addr for addr in fit if addr == here] or [addr for addr in fit if addr.port == here.port]
        return (same or fit)[0]


def _next(uri: Uri) -> tuple[str, int | None]:
    maddr = uri.param("maddr")
    return (maddr or uri.host), uri.port
