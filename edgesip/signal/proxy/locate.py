"""From what a script wants to the hops that carry it there (RFC 3263, as far as it needs no DNS).

Takes bindings and URIs, gives `Target`s; a host that is a name comes back as `Unresolved` for the resolver.
Asks nobody anything itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgesip.address import Addr, Flow, is_loopback, is_sendable, parse_ip
from edgesip.signal.dialog.state import other
from edgesip.signal.location.usrloc import Binding
from edgesip.signal.proxy.fork import Target
from edgesip.signal.proxy.inbound import Inbound
from edgesip.signal.proxy.myself import Myself
from edgesip.signal.wire.grammar import ParseError
from edgesip.signal.wire.uri import parse_uri


@dataclass(frozen=True, slots=True)
class Unresolved:
    """A target whose next hop is a name (`port` None: SRV first); `uri` is what the copy will carry."""

    uri: str
    host: str
    port: int | None
    transport: str


@dataclass(frozen=True, slots=True)
class Locator:
    """Turns wants into hops. `route` tells the local address that the host uses towards a remote one.

    `binding` finds a binding by its ruid: a phone whose router forgot it in mid-call is where it registered
    last, not where the call began.
    """

    myself: Myself
    route: Callable[[str], str]
    binding: Callable[[str], Binding | None]

    def locate(self, inbound: Inbound, wanted: Sequence[object]) -> list[Target | Unresolved]:
        """Targets for a `Forward`; those that lead nowhere (threat 24) are left out."""
        found: list[Target | Unresolved] = []
        for one in wanted or (None,):
            if isinstance(one, Binding):
                found.append(Target(one.contact, (one.flow,), one.nated, one.ruid, one.q))
                continue
            target = self._by_uri(inbound, str(one) if one is not None else inbound.uri, one is None)
            if target is not None:
                found.append(target)
        return found

    def _by_uri(self, inbound: Inbound, uri: str, own: bool) -> Target | Unresolved | None:
        """`own` when it is the request's URI, for which a Route or a destination set by the script wins."""
        if own and inbound.dst is not None and not inbound.foreign:
            return self.at(inbound, uri, [inbound.dst], inbound.dst_transport, alias=True)
        try:
            hop = inbound.foreign[0].uri if own and inbound.foreign else parse_uri(uri)
        except ParseError:
            return None
        host = hop.param("maddr") or hop.host
        transport = (hop.param("transport") or "udp").lower()
        ip = parse_ip(host)
        if ip is None:
            return Unresolved(uri, host, hop.port, transport)
        return self.at(inbound, uri, [Addr(str(ip), hop.port or 5060)], transport)

    def at(
        self, inbound: Inbound, uri: str, addresses: Sequence[Addr], transport: str, alias: bool = False
    ) -> Target | None:
        """A target at these addresses, in this order; None when none of them may be sent to.

        An `alias` names a flow that was there: over TCP no new connection stands in for it.
        """
        flows = [
            flow for addr in addresses if (flow := self._flow(inbound, addr, transport, alias)) is not None
        ]
        return Target(uri, tuple(flows)) if flows else None

    def _flow(self, inbound: Inbound, remote: Addr, transport: str, alias: bool) -> Flow | None:
        if not is_sendable(remote.host, is_loopback(inbound.flow.remote.host)):
            return None
        if self.myself.is_our_address(remote):
            return None
        known = self._known(inbound)
        if known is not None and (known.remote, known.transport) == (remote, transport):
            return self._present(inbound) or known
        local = self._local(inbound.flow, remote, transport)
        if local is None:
            return None
        if transport != "udp" and not alias:
            local = Addr(local.host, 0)
        return Flow(transport, local, remote)

    def _known(self, inbound: Inbound) -> Flow | None:
        """The flow to the far side of the request's dialog, as the call began."""
        dialog = inbound.dialog
        if dialog is None:
            return None
        return dialog.leg(other(inbound.side)).flow

    def _present(self, inbound: Inbound) -> Flow | None:
        """Where the far side's binding is now."""
        assert inbound.dialog is not None
        binding = self.binding(inbound.dialog.leg(other(inbound.side)).ruid)
        return binding.flow if binding is not None else None

    def _local(self, here: Flow, remote: Addr, transport: str) -> Addr | None:
        """The listener to send from: the one where the request came in, if the way out is its address."""
        fit = [
            addr for kind, addr in self.myself.listens if kind == transport and addr.family == remote.family
        ]
        if len(fit) <= 1:
            return fit[0] if fit else None
        host = self.route(remote.host)
        fit = [addr for addr in fit if addr.host == host] or fit
        same = [addr for addr in fit if addr == here.local]
        same = same or [addr for addr in fit if addr.port == here.local.port]
        return (same or fit)[0]
