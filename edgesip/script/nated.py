"""What a script may have changed for NAT in a message that goes on: nathelper, siputils' masks of Contacts.

A method notes what is wanted and answers whether there is anything to do it to: Kamailio's result above 0 is
True. The copy that leaves has it; what came stays as it came, so a later question sees the old message.
"""

from __future__ import annotations

from edgesip.address import Addr, parse_ip
from edgesip.script.prompted import Prompted
from edgesip.script.rooms import Rooms
from edgesip.signal.nat.masking import Decode, Encode, ParamDecode, ParamEncode, ParamRemove, shown, unmasked
from edgesip.signal.nat.repair import alias_uri, alias_value, first_contact, rewritten_contact
from edgesip.signal.nat.sdp_fix import fix_nated_sdp
from edgesip.signal.nat.sdp_seen import place_of_sdp
from edgesip.signal.proxy.changes import ContactAlias, SourceContact
from edgesip.signal.wire.grammar import is_token
from edgesip.signal.wire.message import Request
from edgesip.signal.wire.uri import parse_uri


class Nated(Prompted):
    """A message that goes on, perhaps from behind a NAT."""

    __slots__ = ("_rooms",)

    _rooms: Rooms

    # -- nathelper -----------------------------------------------------------------------------------

    def is_rfc1918(self, host: str) -> bool:
        """nathelper: a private address. ValueError for a text that is no IPv4 or IPv6 address."""
        if parse_ip(host) is None:
            raise ValueError(f"is_rfc1918: {host!r} is no address")
        private = self._rooms.nat.test()
        return private(host)

    def set_contact_alias(self, trim: int = 0) -> bool:
        """nathelper: the first Contact gets `;alias=` with the address this came from, at the end of its URI.

        `trim` 1 takes old ones off. False without a Contact, for `*`, and the second time.
        """
        if self._edits.alias or self._has_alias(False) or first_contact(self._message.headers) is None:
            return False
        name = self._rooms.nat.alias_name
        if trim:
            self._change(ContactAlias(add=False, name=name))
        else:
            self._edits.alias = name
        return True

    def add_contact_alias(self, ip: str = "", port: int = 0, transport: str = "") -> bool:
        """nathelper: the older form: before the other parameters; only where Contact is not the source.

        With an address it is that one's, in any case. False the second time, and with an address without a
        Contact or for `*`. ValueError for an address, port or transport that is none.
        """
        name, where = self._rooms.nat.alias_name, None
        if ip or port or transport:
            address = parse_ip(ip)
            if address is None or not 0 < port < 65536:
                raise ValueError(f"add_contact_alias: {ip}:{port} is no address and port")
            where = Addr(str(address), port)
            alias_value(where, transport)
        if self._has_alias(True):
            return False
        if first_contact(self._message.headers) is None:
            return where is None
        self._change(ContactAlias(True, where, transport.lower() or "udp", name))
        return True

    def fix_nated_contact(self) -> bool:
        """nathelper: host and port of the first Contact become those this came from. An alias is better.

        False without a Contact, for `*`, and the second time.
        """
        if any(isinstance(change, SourceContact) for change in self._edits.changes):
            return False
        if first_contact(self._message.headers) is None:
            return False
        self._change(SourceContact())
        return True

    def fix_contact(self) -> bool:
        """nat_traversal's name of `fix_nated_contact`: True the second time as well."""
        return self.fix_nated_contact() or first_contact(self._message.headers) is not None

    def fix_nated_sdp(self, flags: int, ip: str = "") -> bool:
        """nathelper: SDP for phones whose media does not go through us; `flags` are a sum:

        1 adds `a=direction:active`, 2 makes c= where this came from (or `ip`), 4 adds the mark "relayed
        already", 8 is 2 for o=. False without SDP, and when its addresses are of the other family. In a
        relayed call the relay has the last word.
        """
        address = parse_ip(ip or self._flow.remote.host)
        if address is None or not 0 < flags < 16:
            raise ValueError(f"fix_nated_sdp: {flags} are no flags, or {ip!r} is no address")
        body, kind = self._edits.body or (self._message.body, self.hdr("Content-Type"))
        place = place_of_sdp(body, kind)
        if place is None:
            return False
        rules = self._rooms.nat
        old = body[place[0] : place[1]]
        new = fix_nated_sdp(old, flags, str(address), rules.nortpproxy_str, rules.append_sdp_oldmediaip)
        if new is None:
            return False
        if new is not old:
            self._edits.body = (body[: place[0]] + new + body[place[1] :], kind)
        return True

    def set_alias_to_pv(self) -> str:
        """nathelper: where the alias in the only Contact leads, `sip:ip:port;transport=x`; empty for none."""
        return alias_uri(self._message.headers, self._rooms.nat.alias_name)

    def rewrite_contact(self, number: int = 1) -> str:
        """`@nathelper.rewrite_contact[n]`: the n-th Contact, with the address this came from."""
        return rewritten_contact(self._message.headers, number, self._flow.remote)

    def _has_alias(self, added: bool) -> bool:
        return any(isinstance(one, ContactAlias) and one.add == added for one in self._edits.changes)

    # -- siputils ------------------------------------------------------------------------------------

    def is_first_hop(self, mode: int = 0) -> bool:
        """siputils: it came straight from a phone: a request that has no second Via.

        A reply: there is no Record-Route, or the top one is ours and not of the address that it came from.
        One with a host name is not believed; `mode` 1 believes it, and looks no further.
        """
        if isinstance(self._message, Request):
            return len(self._message.headers.vias) == 1
        routes = self._message.headers.record_routes
        if not routes:
            return True
        top = routes[0].uri
        if not self._rooms.myself.is_myself(top):
            return False
        if mode:
            return True
        ip, source = parse_ip(top.host), self._flow.remote
        transport = (top.param("transport") or "udp").lower()
        same = (str(ip), top.port or 5060, transport) == (source.host, source.port, self._flow.transport)
        return ip is not None and not same

    def encode_contact(self, prefix: str, host: str) -> bool:
        """siputils: each Contact becomes `sip:prefix*user*password*ip*port*proto@host`; False for none."""
        parse_uri(f"sip:{prefix}@{host}")
        if "*" in prefix:
            raise ValueError(f"encode_contact: {prefix!r} has the mark that separates the parts")
        return self._mask(Encode(prefix, host))

    def decode_contact_header(self) -> bool:
        """siputils: Contacts that `encode_contact` made are again what they were; False when none is."""
        contacts = self._message.headers.contacts
        return any(unmasked(one.uri) is not None for one in contacts) and self._mask(Decode())

    def contact_param_encode(self, nparam: str, server: str) -> bool:
        """siputils: each Contact becomes `server` (a SIP URI) with the old one in its parameter `nparam`."""
        uri = parse_uri(server if server[:4].lower() in ("sip:", "sips") else f"sip:{server}")
        if not is_token(nparam):
            raise ValueError(f"contact_param_encode: {nparam!r} is no name of a parameter")
        return self._mask(ParamEncode(nparam, str(uri)))

    def contact_param_encode_alias(self, nparam: str, alias: str) -> bool:
        """siputils: the same with a name of ours; ValueError for one that is not ours."""
        if not self._rooms.myself.is_myself(parse_uri(f"sip:{alias}")):
            raise ValueError(f"contact_param_encode_alias: {alias} is not ours")
        return self.contact_param_encode(nparam, alias)

    def contact_param_decode(self, nparam: str) -> bool:
        """siputils: Contacts with another in their parameter become that; False when none has one."""
        contacts = self._message.headers.contacts
        return any(shown(one.uri, nparam) is not None for one in contacts) and self._mask(ParamDecode(nparam))

    def contact_param_check(self, nparam: str) -> bool:
        """siputils: a Contact's URI has this parameter."""
        return any(one.uri.param(nparam) is not None for one in self._message.headers.contacts)

    def contact_param_rm(self, nparam: str) -> bool:
        """siputils: this parameter off the URIs of Contacts; False when none has it."""
        return self.contact_param_check(nparam) and self._mask(ParamRemove(nparam))

    def _mask(self, change: Encode | Decode | ParamEncode | ParamDecode | ParamRemove) -> bool:
        if first_contact(self._message.headers) is None:
            return False
        self._change(change)
        return True
