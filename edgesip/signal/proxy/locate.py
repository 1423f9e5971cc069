"""From what a script wants to the hops that carry it there (RFC 3263, as far as it needs no DNS).

Takes bindings and URIs, gives `Target`s; a host that is a name comes back as `Unresolved` for the resolver.
Keeps away from where nobody may be sent, and from where nobody has answered lately. Asks nobody anything
itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from edgesip.address import Addr, Flow, is_internal, is_loopback, is_sendable, parse_ip
from edgesip.signal.dialog.state import Leg, other
from edgesip.signal.dialog.subscriptions import End
from edgesip.signal.location.usrloc import Binding
from edgesip.signal.proxy.blocklist import Blocklist
from edgesip.signal.proxy.fork import Target
from edgesip.signal.proxy.hops import DEFAULT_PORTS, Found, Hop, Name, name_of
from edgesip.signal.proxy.inbound import Inbound
from edgesip.signal.proxy.myself import Myself
from edgesip.signal.wire.grammar import ParseError, split_list
from edgesip.signal.wire.uri import parse_uri
from edgesip.signal.wire.values import parse_name_addr

UNBLOCKED: Final = frozenset({"ACK", "BYE", "CANCEL"})
"""What ends something is sent in any case (`blst_methods_lookup` of Kamailio; it leaves out BYE alone)."""
SECURE: Final = frozenset({"tls", "wss"})


@dataclass(frozen=True, slots=True)
class Unresolved:
    """A target whose next hop is a name; `uri` is what the copy will carry, `target` what else is known."""

    uri: str
    name: Name
    target: Target | None = None


@dataclass(frozen=True, slots=True)
class Locator:
    """Turns wants into hops. `route` tells the local address that the host uses towards a remote one.

    `binding` finds a binding by its ruid: a phone whose router forgot it in mid-call is where it registered
    last, not where the call began. `trusts` tells the private addresses that a name may lead to whoever asks;
    without `failover` one hop of a target is enough.
    """

    myself: Myself
    route: Callable[[str], str]
    binding: Callable[[str], Binding | None]
    blocklist: Blocklist
    trusts: Callable[[str], bool]
    failover: bool = True

    def locate(self, inbound: Inbound, wanted: Sequence[object], now: float) -> list[Target | Unresolved]:
        """Targets for a `Forward`; those that lead nowhere (threat 24) are left out."""
        found: list[Target | Unresolved] = []
        if inbound.within is not None and inbound.dialog is None and not wanted:
            only = inbound.within.only(inbound.flow)
            if only is not None:
                flows = _secured(inbound, inbound.uri, [self._present(inbound) or only.flow])
                return [Target(inbound.uri, (flow,), only.nated) for flow in flows if flow is not None]
        for one in wanted or (None,):
            if isinstance(one, Binding):
                phone = f"{one.aor} {one.instance}" if one.reg_id and one.instance else ""
                if one.path:
                    found += self._by_path(inbound, one, phone, now)
                elif self._usable(inbound, _secured(inbound, one.contact, [one.flow]), now):
                    found.append(Target(one.contact, (one.flow,), one.nated, one.ruid, one.q, (), phone))
                continue
            target = self._by_uri(inbound, str(one) if one is not None else inbound.uri, one is None, now)
            if target is not None:
                found.append(target)
        return found

    def _by_path(
        self, inbound: Inbound, binding: Binding, phone: str, now: float
    ) -> list[Target | Unresolved]:
        """The target of a binding that is behind other proxies (RFC 3327 §5.3): to the first, by them all.

        The first one is where its REGISTER came from, or leads inside only when that is so or is trusted.
        """
        routes = tuple(split_list(binding.path))
        target = Target(binding.contact, (), False, binding.ruid, binding.q, routes, phone)
        try:
            name = name_of(parse_name_addr(routes[0]).uri)
        except ParseError:
            return []
        ip = parse_ip(name.host)
        if ip is None:
            return [Unresolved(binding.contact, name, target)]
        hop = _literal(name, str(ip))
        known = binding.flow
        if (hop.transport, hop.addr) == (known.transport, known.remote):
            flow: Flow | None = known
        elif hop.addr.host == known.remote.host or self._may_enter(inbound, hop.addr.host):
            flow = self._flow(inbound, hop, str(ip), False)
        else:
            flow = None
        hops = self._usable(inbound, _secured(inbound, binding.contact, [flow]), now)
        return [replace(target, hops=tuple(hops))] if hops else []

    def _may_enter(self, inbound: Inbound, host: str) -> bool:
        """Whether a request may be led to this address: one inside only from inside, or a trusted one."""
        return not is_internal(host) or is_internal(inbound.flow.remote.host) or self.trusts(host)

    def _by_uri(self, inbound: Inbound, uri: str, own: bool, now: float) -> Target | Unresolved | None:
        """`own` when it is the request's URI, for which a Route or a destination set by the script wins."""
        if own and inbound.token is not None and not inbound.foreign:
            return Target(uri, (self._present(inbound) or inbound.token,), token=True)
        if own and inbound.dst is not None and not inbound.foreign:
            hop = Hop(inbound.dst_transport, inbound.dst)
            return self._target(inbound, uri, [self._flow(inbound, hop, "", True)], now)
        try:
            name = name_of(inbound.foreign[0].uri if own and inbound.foreign else parse_uri(uri))
        except ParseError:
            return None
        ip = parse_ip(name.host)
        if ip is None:
            return Unresolved(uri, name)
        hop = _literal(name, str(ip))
        return self._target(inbound, uri, [self._flow(inbound, hop, str(ip), False)], now)

    def at(self, inbound: Inbound, wanted: Unresolved, hops: Sequence[Hop], now: float) -> Target | None:
        """The target at the hops that DNS gave, in this order; None when none of them may be sent to."""
        known = self._known(inbound)
        flows = [
            self._flow(inbound, hop, wanted.name.host, False)
            for hop in hops
            if self._may_enter(inbound, hop.addr.host) or (known is not None and known.remote == hop.addr)
        ]
        target = self._target(inbound, wanted.uri, flows, now)
        if target is None or wanted.target is None:
            return target
        return replace(wanted.target, hops=target.hops)

    def settle(
        self,
        inbound: Inbound,
        found: Sequence[Target | Unresolved],
        known: Mapping[Name, Found],
        now: float,
    ) -> tuple[list[Target], bool]:
        """The targets with every name replaced by where it leads, and whether DNS was silent about any."""
        targets: list[Target] = []
        silent = False
        for one in found:
            if isinstance(one, Target):
                targets.append(one)
                continue
            answer = known[one.name]
            silent = silent or answer.failed
            target = self.at(inbound, one, answer.hops, now)
            if target is not None:
                targets.append(target)
        return targets, silent

    def _target(self, inbound: Inbound, uri: str, flows: Sequence[Flow | None], now: float) -> Target | None:
        usable = self._usable(inbound, _secured(inbound, uri, flows), now)
        hops = tuple(usable if self.failover else usable[:1])
        return Target(uri, hops) if hops else None

    def _usable(self, inbound: Inbound, flows: Sequence[Flow | None], now: float) -> list[Flow]:
        """Those that are not known to be dead; if all are, the one whose time is over first.

        What an operator has put into the blocklist is not tried at all.
        """
        there = [flow for flow in flows if flow is not None]
        if not len(self.blocklist) or inbound.request.method in UNBLOCKED:
            return there
        living: list[Flow] = []
        dead: list[tuple[float, Flow]] = []
        for flow in there:
            entry = self.blocklist.find(flow.transport, flow.remote, now)
            if entry is None:
                living.append(flow)
            elif not entry.ordered:
                dead.append((entry.expires, flow))
        return living or [flow for _, flow in sorted(dead, key=lambda one: one[0])[:1]]

    def _flow(self, inbound: Inbound, hop: Hop, host: str, alias: bool) -> Flow | None:
        """The way to a hop; None when nobody may be sent there, or there is no listener to send from.

        `host` is the name that a TLS peer has to prove (RFC 5922). An `alias` names a flow that was there:
        over TCP no new connection stands in for it.
        """
        transport, remote = hop
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
        return Flow(transport, local, remote, host if transport == "tls" and not alias else "")

    def _known(self, inbound: Inbound) -> Flow | None:
        """The flow to the far side of the request's dialog, as it began."""
        far = _far(inbound)
        return far.flow if far is not None else None

    def _present(self, inbound: Inbound) -> Flow | None:
        """Where the far side's binding is now."""
        far = _far(inbound)
        binding = self.binding(far.ruid) if far is not None else None
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


def _literal(name: Name, ip: str) -> Hop:
    """The hop of a name that is an IP literal."""
    transport = name.transport or "udp"
    if name.secure and transport in ("udp", "tcp"):
        transport = "tls"
    return Hop(transport, Addr(ip, name.port or DEFAULT_PORTS.get(transport, 5060)))


def _secured(inbound: Inbound, uri: str, flows: Sequence[Flow | None]) -> Sequence[Flow | None]:
    """A sips: URI, of the request or of its target, is followed over TLS only (RFC 3261 §26.2.2)."""
    if not any(one[:5].lower() == "sips:" for one in (inbound.request.uri, uri)):
        return flows
    return [flow for flow in flows if flow is not None and flow.transport in SECURE]


def _far(inbound: Inbound) -> Leg | End | None:
    """The far end of the call, or of the subscription, that the request stands in."""
    if inbound.dialog is not None:
        return inbound.dialog.leg(other(inbound.side))
    return inbound.within.far if inbound.within is not None else None
