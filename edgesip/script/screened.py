"""Who sent a request, and whether to listen: permissions, pike, bans and sanity as a script asks for them.

Each method is one line into the room that does it, under the name that Kamailio gives it. Nothing here sends.
"""

from __future__ import annotations

from ipaddress import ip_network

from edgesip.address import parse_ip
from edgesip.script.aimed import Aimed
from edgesip.script.sanity import sanity_fault
from edgesip.signal.decision import Reply
from edgesip.signal.guard.permissions import TRUSTED_GROUP
from edgesip.signal.guard.pike import ALLOWED


class Screened(Aimed):
    """A request, and what is known of its sender before any password."""

    __slots__ = ("_now", "_peer_tag")

    _now: float
    _peer_tag: str

    # -- permissions ---------------------------------------------------------------------------------

    def allow_source_address(self, group: int = TRUSTED_GROUP) -> bool:
        """permissions: the source stands in this group; group 1 holds `[permissions] trusted` as well."""
        return self.allow_address(group, self.source_ip, self.source_port)

    def allow_address(self, group: int, host: str, port: int = 0) -> bool:
        """permissions: this address, or name of a host, and port stand in this group."""
        row = self._rooms.guard.permissions.find(host, port, group)
        if row is not None:
            self._peer_tag = row.tag
        return row is not None

    def allow_source_address_group(self) -> int:
        """permissions: the first group that the source stands in; -1 for none."""
        return self.allow_address_group(self.source_ip, self.source_port)

    def allow_address_group(self, host: str, port: int = 0) -> int:
        """permissions: the first group that this address and port stand in; -1 for none."""
        row = self._rooms.guard.permissions.find(host, port)
        if row is None:
            return -1
        self._peer_tag = row.tag
        return row.group

    def allow_trusted(self, source: str = "", proto: str = "") -> bool:
        """permissions: a row of `trusted_file` lets this source send this From and request URI."""
        permissions = self._rooms.guard.permissions
        source, proto = source or self.source_ip, proto or self.transport
        row = permissions.allow_trusted(source, proto, self.from_uri, self.ruri_text)
        if row is not None:
            self._peer_tag = row.tag
        return row is not None

    def allow_routing(self, name: str = "permissions") -> bool:
        """permissions: NAME.allow and NAME.deny (`rule_files`) let this From call this request URI."""
        return self.allow_uri(name, self.ruri_text)

    def allow_register(self, name: str = "permissions") -> bool:
        """permissions: they let this To register each of these Contacts."""
        headers, allows = self.headers, self._rooms.guard.permissions.allows
        to = str(headers.to.uri)
        if headers.star:
            return allows(name, to, "*")
        return all(allows(name, to, str(one.uri)) for one in headers.contacts)

    def allow_uri(self, name: str, uri: str) -> bool:
        """permissions: they let this From have to do with this URI: `call.allow_uri("calls", target)`."""
        return self._rooms.guard.permissions.allows(name, self.from_uri, uri)

    @property
    def peer_tag(self) -> str:
        """permissions' `peer_tag_avp`: the tag of the row that last allowed something; empty for none."""
        return self._peer_tag

    def is_in_subnet(self, network: str) -> bool:
        """ipops' function, of the source: `call.is_in_subnet("192.0.2.0/24")`."""
        source = parse_ip(self.source_ip)
        return source is not None and source in ip_network(network, strict=False)

    def from_upstream(self) -> bool:
        """True when the source is one of the upstream's addresses, or trusted."""
        upstream = self._rooms.upstream
        known = upstream is not None and self.source_ip in upstream.hosts
        return known or self.allow_source_address()

    # -- strangers -----------------------------------------------------------------------------------

    def from_registered(self) -> bool:
        """True when a phone is registered over the flow that it came by: it has proven its password there."""
        return self._rooms.usrloc.occupied(self._flow)

    def pike_check_req(self) -> bool:
        """pike: count this request of its source; False when it makes too many."""
        return self.pike_check_ip(self.source_ip)

    def pike_check_ip(self, host: str) -> bool:
        """pike: count one request of this address; False when there are too many."""
        return self._rooms.guard.pike.check(host, self._now) == ALLOWED

    def is_flooding(self) -> bool:
        """A stranger from where more requests come than `[pike]` allows: who is to blame for it is banned
        (`[ban]`). Who is registered, trusted or the upstream is no stranger, and is not counted.
        """
        if self.from_registered() or self.from_upstream():
            return False
        return self._rooms.guard.floods(self._flow, self.from_user, self._now, self.call_id)

    def is_scanner(self) -> bool:
        """A stranger whose User-Agent is that of a scanner (`[ban] scanners`): it counts against him."""
        agent = self.user_agent
        if not agent or not self._rooms.guard.is_scanner(agent) or self.from_upstream():
            return False
        self.ban("scanner")
        return True

    def ban(self, why: str = "refused") -> None:
        """Something counts against the source, as `[ban]` says: "refused", "not found", "malformed" one
        point, "scanner" five, "flood" a ban at once.
        """
        self._rooms.guard.bans.score(self._flow, self.from_user, why, self._now, self.call_id)

    def sanity_check(self, msg_checks: int = 3047, uri_checks: int = 7) -> Reply | None:
        """sanity: None when the request is sound, else its answer. The bits are those of Kamailio."""
        fault = sanity_fault(self._inbound.request, msg_checks, uri_checks)
        return None if fault is None else Reply(fault.status, fault.reason, fault.headers)
