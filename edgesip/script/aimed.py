"""Where a request is going: its URI and destination, read and moved as Kamailio's core and siputils do it.

What is moved is what `Forward()` without targets follows; a `Forward` with targets names its own URIs.
"""

from __future__ import annotations

import re

from edgesip.address import Addr, parse_ip
from edgesip.script.message import compiled
from edgesip.script.relayed import Relayed
from edgesip.script.transform import name_addr, substitution
from edgesip.signal.location.binding import NAT_FLAG
from edgesip.signal.nat.masking import shown, unmasked
from edgesip.signal.nat.repair import handle_ruri_alias
from edgesip.signal.proxy.inbound import Inbound
from edgesip.signal.wire.grammar import ParseError
from edgesip.signal.wire.uri import Uri, parse_uri

_E164 = re.compile(r"\+[0-9]{2,15}").fullmatch
_NUMERIC = re.compile(r"[0-9]+").fullmatch
_TRANSPORTS = ("udp", "tcp", "tls", "ws", "wss")


class Aimed(Relayed):
    """A request, and where it shall go."""

    __slots__ = ("_inbound",)

    _inbound: Inbound

    def _is_relayed(self) -> bool:
        return self._inbound.dialog is not None and self._inbound.dialog.relayed

    # -- the request URI -----------------------------------------------------------------------------

    @property
    def ruri(self) -> Uri:
        """The request URI as it stands now, in parts."""
        return parse_uri(self._inbound.uri)

    @property
    def ruri_text(self) -> str:
        """`$ru`: the request URI as it stands now."""
        return self._inbound.uri

    @property
    def ruri_user(self) -> str:
        """`$rU`: the user of the request URI, unescaped; empty when it has none."""
        return self.ruri.username or ""

    @property
    def ruri_domain(self) -> str:
        """`$rd`: the host of the request URI."""
        return self.ruri.host

    @property
    def ruri_port(self) -> int:
        """`$rp`: the port of the request URI, 5060 when it has none (5061 for sips)."""
        return self.ruri.port or (5061 if self.ruri.scheme == "sips" else 5060)

    @property
    def ruri_transport(self) -> str:
        """`$rP`: the transport that the request URI names, udp when it names none (tls for sips)."""
        return (self.ruri.param("transport") or ("tls" if self.ruri.scheme == "sips" else "udp")).lower()

    @property
    def ruri_scheme(self) -> str:
        """`$rz`: sip, sips or tel."""
        return self.ruri.scheme

    @property
    def original_uri(self) -> str:
        """`$ou`: the request URI as it came."""
        return self._inbound.request.uri

    @property
    def original_user(self) -> str:
        """`$oU`: its user, unescaped."""
        return self._inbound.request.ruri.username or ""

    @property
    def dst_uri(self) -> str:
        """`$du`: where it goes whatever the request URI says; empty when the request URI says."""
        dst, transport = self._inbound.dst, self._inbound.dst_transport
        if dst is None:
            return ""
        return f"sip:{dst}" if transport == "udp" else f"sip:{dst};transport={transport}"

    @property
    def route_uri(self) -> str:
        """`$route_uri`: the Route of ours that brought it here; empty when none did."""
        return str(self._inbound.own[0]) if self._inbound.own else ""

    # -- moving it -----------------------------------------------------------------------------------

    def seturi(self, uri: str) -> None:
        """core: another request URI. Raises ParseError for a text that is none."""
        self._inbound.uri = str(parse_uri(uri))

    def rewriteuri(self, uri: str) -> None:
        """The old name of `seturi`."""
        self.seturi(uri)

    def setuser(self, user: str) -> None:
        """core: another user in the request URI, written as it has to stand there."""
        uri = self.ruri
        self.seturi(str(Uri(uri.scheme, user or None, None, uri.host, uri.port, uri.params, uri.headers)))

    def rewriteuser(self, user: str) -> None:
        """The old name of `setuser`."""
        self.setuser(user)

    def sethost(self, host: str) -> None:
        """core: another host in the request URI; its port stays."""
        self.seturi(str(self.ruri.with_host(host, self.ruri.port)))

    def rewritehost(self, host: str) -> None:
        """The old name of `sethost`."""
        self.sethost(host)

    def setport(self, port: int) -> None:
        """core: another port in the request URI."""
        self.seturi(str(self.ruri.with_host(self.ruri.host, port)))

    def rewriteport(self, port: int) -> None:
        """The old name of `setport`."""
        self.setport(port)

    def prefix(self, text: str) -> None:
        """core: this text before the user of the request URI."""
        self.setuser(text + (self.ruri.user or ""))

    def strip(self, count: int) -> None:
        """core: the user of the request URI without its first characters."""
        self.setuser((self.ruri.user or "")[count:])

    def strip_tail(self, count: int) -> None:
        """core: the user of the request URI without its last characters."""
        user = self.ruri.user or ""
        self.setuser(user[: max(0, len(user) - count)])

    def revert_uri(self) -> None:
        """core: the request URI as it came."""
        self._inbound.uri = self._inbound.request.uri

    def subst_uri(self, expression: str) -> bool:
        """textops: rewrite the request URI by `/pattern/replacement/flags`; True when it matches."""
        found = substitution(expression)
        if not found.pattern.search(self._inbound.uri):
            return False
        self.seturi(found.apply(self._inbound.uri))
        return True

    def subst_user(self, expression: str) -> bool:
        """textops: the same for the user of the request URI alone."""
        found, user = substitution(expression), self.ruri.user or ""
        if not found.pattern.search(user):
            return False
        self.setuser(found.apply(user))
        return True

    def add_uri_param(self, param: str) -> None:
        """siputils: one more parameter in the request URI, as in `add_uri_param("nat=yes")`."""
        name, equals, value = param.partition("=")
        self.seturi(str(self.ruri.with_param(name, value if equals else None)))

    def setdsturi(self, uri: str) -> None:
        """core: `$du`, where it goes whatever the request URI says: an IP literal, `sip:192.0.2.1:5060`."""
        where = parse_uri(uri)
        ip, transport = parse_ip(where.host), (where.param("transport") or "udp").lower()
        if ip is None or transport not in _TRANSPORTS:
            raise ValueError(f"setdsturi: {uri!r} is no sip:ADDRESS[:PORT][;transport=...]")
        self._inbound.dst, self._inbound.dst_transport = Addr(str(ip), where.port or 5060), transport

    def resetdsturi(self) -> None:
        """core: the request URI says where it goes."""
        self._inbound.dst = None

    def isdsturiset(self) -> bool:
        """core: `$du` is set."""
        return self._inbound.dst is not None

    def handle_ruri_alias(self, mode: int = 0) -> bool:
        """nathelper: an `;alias=` in the request URI (the first; the last when `mode` is 1) becomes `$du`.

        A Route ahead of us wins over it. True when there was one.
        """
        if self._inbound.foreign:
            return False
        found = handle_ruri_alias(self.ruri, last=bool(mode), name=self._rooms.nat.alias_name)
        if found is None:
            return False
        uri, self._inbound.dst, self._inbound.dst_transport = found
        self._inbound.uri = str(uri)
        return True

    # -- flags ---------------------------------------------------------------------------------------

    def setbflag(self, flag: int) -> None:
        """core: mark the contacts that `Save()` keeps, 0 to 31; 6 says that they are behind a NAT."""
        if not 0 <= flag < 32:
            raise ValueError(f"setbflag: {flag} is not between 0 and 31")
        self._inbound.bflags |= 1 << flag
        if 1 << flag == NAT_FLAG:
            self._inbound.nated = True

    def resetbflag(self, flag: int) -> None:
        """core: take a mark back."""
        self._inbound.bflags &= ~(1 << flag)
        if 1 << flag == NAT_FLAG:
            self._inbound.nated = False

    def isbflagset(self, flag: int) -> bool:
        """core: this mark was set; in `branch`, the contact that it goes to was saved with it."""
        return bool(self._inbound.bflags >> flag & 1) or (1 << flag == NAT_FLAG and self._inbound.nated)

    # -- rr ------------------------------------------------------------------------------------------

    def add_rr_param(self, param: str) -> None:
        """rr: this parameter in the Record-Route that we write, as in `add_rr_param(";nat=yes")`."""
        text = param if param.startswith(";") else f";{param}"
        if name_addr(f"<sip:a{text}>").uri.host != "a":
            raise ValueError(f"add_rr_param: {param!r} is no URI parameter")
        self._edits.rr += text

    def check_route_param(self, pattern: str) -> bool:
        """rr: a parameter of the Route of ours that brought it here matches: see `add_rr_param`."""
        params = ";".join(str(uri).partition(";")[2] for uri in self._inbound.own)
        return compiled(pattern).search(params) is not None

    def is_direction(self, direction: str) -> bool:
        """rr: `downstream` as the request that opened the dialog went, `upstream` against it."""
        if direction not in ("downstream", "upstream"):
            raise ValueError(f"is_direction: downstream or upstream, not {direction!r}")
        return (direction == "downstream") == self._is_downstream()

    def _is_downstream(self) -> bool:
        if self._inbound.inside:
            return self._inbound.side == "caller"
        ftag = next((found for uri in self._inbound.own if (found := uri.param("ftag"))), "")
        return not ftag or ftag == self.from_tag

    # -- what it looks like --------------------------------------------------------------------------

    def uri_param(self, name: str, value: str | None = None) -> bool:
        """siputils: the request URI has this parameter, with this value where one is given."""
        found = self.ruri.param(name)
        return found is not None and (value is None or found == value)

    def is_uri_user_e164(self, uri: str = "") -> bool:
        """siputils: the user of a URI (the request's) is `+` and 2 to 15 digits."""
        try:
            user = (parse_uri(uri) if uri else self.ruri).username
        except ParseError:
            return False
        return user is not None and _E164(user) is not None

    def is_numeric(self, text: str) -> bool:
        """siputils: nothing but digits."""
        return _NUMERIC(text) is not None

    def is_gruu(self, uri: str = "") -> int:
        """siputils: a URI (the request's) is a GRUU (RFC 5627): 1 a public one, 2 a temporary one, 0 none."""
        params = dict((parse_uri(uri) if uri else self.ruri).params)
        return 0 if "gr" not in params else 1 if params["gr"] else 2

    def decode_contact(self) -> bool:
        """siputils: a request URI that `encode_contact` made is again what it was; False for any other."""
        return self._unmask(unmasked(self.ruri))

    def contact_param_decode_ruri(self, nparam: str) -> bool:
        """siputils: a request URI with another in its parameter becomes that; False for any other."""
        return self._unmask(shown(self.ruri, nparam))

    def _unmask(self, uri: Uri | None) -> bool:
        if uri is not None:
            self._inbound.uri = str(uri)
        return uri is not None
