"""What a `request` or `in_dialog` script sees: one request, and what shall be done with it.

Each method is one line into the room that does it, under the name that Kamailio gives it. Reads answer at
once; what a script wants changed is recorded and applied to the copy that leaves. Nothing here sends.
"""

from __future__ import annotations

from edgesip.address import is_private, parse_ip
from edgesip.script.rooms import Rooms
from edgesip.signal.decision import Challenge, Decision, Reply
from edgesip.signal.guard.digest import Verified
from edgesip.signal.location.usrloc import Binding
from edgesip.signal.nat.detect import nat_uac_test
from edgesip.signal.nat.repair import handle_ruri_alias
from edgesip.signal.proxy.inbound import Inbound
from edgesip.signal.wire.headers import Headers
from edgesip.signal.wire.uri import Uri, parse_uri

OPTIONS_HEADERS = (
    ("Accept", "*/*"),
    ("Accept-Encoding", ""),
    ("Accept-Language", "en"),
    ("Supported", ""),
)


class Call:
    """One request, read-only, and what the script wants done with it."""

    __slots__ = ("_inbound", "_now", "_rooms")

    def __init__(self, inbound: Inbound, rooms: Rooms, now: float) -> None:
        self._inbound = inbound
        self._rooms = rooms
        self._now = now

    # -- what came ---------------------------------------------------------------------------------

    @property
    def method(self) -> str:
        """`$rm`: the request method."""
        return self._inbound.request.method

    @property
    def ruri(self) -> Uri:
        """`$ru`: the request URI as it stands now."""
        return parse_uri(self._inbound.uri)

    @property
    def ruri_user(self) -> str:
        """`$rU`: the user of the request URI, unescaped; empty when it has none."""
        return self.ruri.username or ""

    @property
    def from_user(self) -> str:
        """`$fU`: the user of From, unescaped."""
        return self.headers.from_.uri.username or ""

    @property
    def to_user(self) -> str:
        """`$tU`: the user of To, unescaped."""
        return self.headers.to.uri.username or ""

    @property
    def call_id(self) -> str:
        """`$ci`: the Call-ID."""
        return self.headers.call_id

    @property
    def source_ip(self) -> str:
        """`$si`: the address that the request came from."""
        return self._inbound.flow.remote.host

    @property
    def source_port(self) -> int:
        """`$sp`: the port that the request came from."""
        return self._inbound.flow.remote.port

    @property
    def headers(self) -> Headers:
        """The header fields as they came."""
        return self._inbound.request.headers

    # -- where it is for ---------------------------------------------------------------------------

    def is_myself(self) -> bool:
        """`uri == myself`: the request URI's host and port are ours."""
        return self._rooms.myself.is_myself(self.ruri)

    def is_foreign(self) -> bool:
        """True when it is for another domain, so not ours to route (REGISTER: the To domain counts too)."""
        if not self.is_myself():
            return True
        return self.method == "REGISTER" and not self._rooms.myself.is_myself(self.headers.to.uri)

    def lookup(self) -> tuple[Binding, ...]:
        """registrar's `lookup("location")`: the living bindings of the request URI's user, best q first."""
        return tuple(self._rooms.usrloc.lookup(self.ruri_user.lower(), self._now))

    def is_subscriber(self) -> bool:
        """auth_db's `is_subscriber("$ru")`: the request URI names a user who has a password here."""
        known, user = self._rooms.subscribers.credential, self.ruri_user
        return (known(user) or known(user.lower())) is not None

    def upstream(self) -> tuple[str, ...]:
        """The URI of this user at the upstream; none without an upstream, or for a user it does not serve."""
        upstream = self._rooms.upstream
        if upstream is None or not upstream.serves(self.ruri_user) or self.from_upstream():
            return ()
        return (upstream.uri_for(self.ruri.user or ""),)

    # -- who sent it -------------------------------------------------------------------------------

    def allow_source_address(self) -> bool:
        """permissions' `allow_source_address()`: the source is in `[permissions] trusted`."""
        source = parse_ip(self.source_ip)
        return source is not None and any(source in network for network in self._rooms.trusted)

    def from_upstream(self) -> bool:
        """True when the source is one of the upstream's addresses, or trusted."""
        upstream = self._rooms.upstream
        known = upstream is not None and self.source_ip in upstream.hosts
        return known or self.allow_source_address()

    def www_authenticate(self) -> Decision | None:
        """auth_db, for REGISTER: None when the credentials are right and To's, else the answer."""
        return self._authenticate("Authorization", 401, self.to_user)

    def proxy_authenticate(self) -> Decision | None:
        """auth_db, for all else: None when the credentials are right and From's, else the answer."""
        return self._authenticate("Proxy-Authorization", 407, self.from_user)

    def _authenticate(self, header: str, status: int, owner: str) -> Decision | None:
        if not self._rooms.auth_enabled:
            return None
        request = self._inbound.request
        values = self.headers.all(header)
        verified = self._rooms.digest.check(
            values,
            self.method,
            request.uri,
            self._rooms.subscribers.credential,
            self._now,
            peer=self.source_ip,
        )
        if not isinstance(verified, Verified):
            self._inbound.user = owner
            self._inbound.why = verified.why if values and not verified.stale else ""
            return Challenge(status, verified.stale)
        if verified.username.partition("@")[0].lower() != owner.lower():
            return Reply(403, "Authentication user does not match")
        if header == "Proxy-Authorization":
            self._inbound.edits.remove.append(header)
        return None

    def consume_credentials(self) -> None:
        """auth's function: credentials for our realm stay here; those for another go on."""
        mine = f'realm="{self._rooms.digest.realm}"'
        if any(mine in value for value in self.headers.all("Proxy-Authorization")):
            self._inbound.edits.remove.append("Proxy-Authorization")

    # -- NAT and media -----------------------------------------------------------------------------

    def nat_uac_test(self, flags: int) -> bool:
        """nathelper's test: True when any of the selected signs of a NAT is there."""
        signs = nat_uac_test(flags, self._inbound.request, self._inbound.flow)
        self._inbound.nat |= signs
        return signs != 0

    def is_rfc1918(self, host: str) -> bool:
        """nathelper's `is_rfc1918()`: a private address."""
        return is_private(host)

    def fix_nated_register(self) -> None:
        """nathelper: the binding is behind a NAT; it is reached at, and pinged at, where this came from."""
        self._inbound.nated = True

    def set_contact_alias(self) -> None:
        """nathelper: the Contact that goes on carries `;alias=` with the address this came from."""
        self._inbound.nated = True
        self._inbound.edits.alias = True

    def handle_ruri_alias(self) -> bool:
        """nathelper: an `;alias=` in the request URI becomes the destination; a Route ahead of us wins."""
        if self._inbound.foreign:
            return False
        found = handle_ruri_alias(self.ruri)
        if found is None:
            return False
        uri, self._inbound.dst, self._inbound.dst_transport = found
        self._inbound.uri = str(uri)
        return True

    def rtpproxy_manage(self) -> None:
        """rtpproxy: the media of this call goes through our relay, from this request to its end."""
        self._inbound.edits.relay = True

    def options_reply(self) -> Decision:
        """siputils: what OPTIONS to us is told; with a user in the request URI it is not for us: 404."""
        if self.ruri_user:
            return Reply(404)
        return Reply(200, "", OPTIONS_HEADERS)

    # -- header fields -----------------------------------------------------------------------------

    def append_hf(self, name: str, value: str) -> None:
        """textops: add a header field to the copy that leaves."""
        if not name or any(mark in name + value for mark in "\r\n\0"):
            raise ValueError("a header field is one line: no CR, LF or NUL")
        self._inbound.edits.append.append((name, value))

    def remove_hf(self, name: str) -> None:
        """textops: leave every header field of this name out of the copy."""
        self._inbound.edits.remove.append(name)
