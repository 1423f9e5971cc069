"""What a `request` or `in_dialog` script sees: one request, and what shall be done with it.

Each method is one line into the room that does it, under the name that Kamailio gives it. Reads answer at
once; what a script wants changed is recorded and applied to the copy that leaves. Nothing here sends.
"""

from __future__ import annotations

from edgesip.script import located
from edgesip.script.credentials import Identified
from edgesip.script.edited import field
from edgesip.script.events import dialog_value
from edgesip.script.heard import Stat
from edgesip.script.keeping import keepalive_socket, nat_keepalive
from edgesip.script.rooms import Rooms
from edgesip.script.transform import substitution
from edgesip.signal.decision import Decision, Reply
from edgesip.signal.location.usrloc import Binding
from edgesip.signal.nat.detect import (
    CONTACT_PRIVATE,
    NEXT_HOP,
    PORT,
    RECEIVED,
    VIA_PRIVATE,
    nat_uac_test,
)
from edgesip.signal.nat.repair import first_contact
from edgesip.signal.proxy.changes import ReceivedParam
from edgesip.signal.proxy.inbound import Inbound
from edgesip.signal.wire.grammar import ParseError
from edgesip.signal.wire.uri import Uri, parse_uri

OPTIONS_HEADERS = (
    ("Accept", "*/*"),
    ("Accept-Encoding", ""),
    ("Accept-Language", "en"),
    ("Supported", ""),
)


class Call(Identified):
    """One request, read-only, and what the script wants done with it."""

    __slots__ = ()

    def __init__(self, inbound: Inbound, rooms: Rooms, now: float) -> None:
        self._message = inbound.request
        self._flow = inbound.flow
        self._edits = inbound.edits
        self._inbound = inbound
        self._rooms = rooms
        self._now = now
        self._peer_tag = ""

    # -- where it is for ---------------------------------------------------------------------------

    def is_myself(self, uri: str = "") -> bool:
        """`uri == myself`: the host and port of a URI (the request's) are ours."""
        try:
            return self._rooms.myself.is_myself(parse_uri(uri) if uri else self.ruri)
        except ParseError:
            if uri:
                return False
            raise

    def is_foreign(self) -> bool:
        """True when it is for another domain, so not ours to route (REGISTER: the To domain counts too)."""
        if not self.is_myself():
            return True
        return self.method == "REGISTER" and not self._rooms.myself.is_myself(self.headers.to.uri)

    def is_uri_host_local(self) -> bool:
        """domain's name of `is_myself()`."""
        return self.is_myself()

    def is_from_local(self) -> bool:
        """domain's function: the host of From is ours."""
        return self._rooms.myself.is_myself(self.headers.from_.uri)

    def lookup(self, uri: str = "", rlf_bflags: int = 0) -> tuple[Binding, ...]:
        """registrar's `lookup("location")`: the living bindings of the request URI's user, best q first.

        With a URI, or a user's name, it is that one's; of a GRUU (`gr`) the one phone that it names. By the
        rules of `[registrar]`: `method_filtering`, `append_branches`, `use_expired_contacts`,
        `lookup_filter_mode`; with bit 1 of that, `rlf_bflags` are branch flags, of which a contact has one:
        `1 << 7`.
        """
        return located.lookup(self._rooms, self._inbound, uri, self._now, rlf_bflags)

    def lookup_to_dset(self, uri: str = "", rlf_bflags: int = 0) -> tuple[Binding, ...]:
        """registrar: the same, by its other name: what it finds is for `Forward`, the request URI stays."""
        return self.lookup(uri, rlf_bflags)

    def lookup_branches(self, *uris: str, rlf_bflags: int = 0) -> tuple[object, ...]:
        """registrar: these URIs, each of ours as its living bindings, for `Forward`."""
        return located.lookup_branches(self._rooms, self._inbound, uris, self._now, rlf_bflags)

    def reg_fetch_contacts(self, uri: str = "") -> tuple[Binding, ...]:
        """registrar: every living binding, whatever it takes: to be read."""
        return tuple(located.contacts(self._rooms, self._inbound, uri, self._now))

    def registered(
        self,
        uri: str = "",
        match: int = 0,
        match_callid: str = "",
        match_received: str = "",
        match_contact: str = "",
    ) -> bool:
        """registrar's `registered("location")`: there is a living binding of the request URI's user.

        `match`, a sum, wants one with the same 1 Call-ID, 2 source URI, 4 Contact URI as given, or as the
        request has.
        """
        words = (match_callid, match_received, match_contact)
        return located.registered(self._rooms, self._inbound, uri, match, *words, self._now)

    def reg_from_user(self, uri: str = "", mode: int = 0) -> bool:
        """registrar: From's user is registered from where this came from; sum of 1 port too, 2 transport."""
        return located.reg_from_user(self._rooms, self._inbound, uri, mode, self._now)

    def unregister(self, uri: str = "", ruid: str = "") -> bool:
        """registrar: the bindings of a URI, To's without one, or that of a ruid, shall go; False for none."""
        return located.unregister(self._rooms, self._inbound, uri, ruid, self._now)

    def add_sock_hdr(self, name: str) -> None:
        """registrar: add a header field with the socket that this came to, for `sock_hdr_name`."""
        self.append_hf(name, f"{self._flow.transport}:{self._flow.local}")

    def add_path(self, user: str = "", params: str = "") -> bool:
        """path: the REGISTER that goes on says that calls come back by us, over the flow it came by."""
        return located.add_path(self._rooms, self._inbound, user, params, False)

    def add_path_received(self, user: str = "", params: str = "") -> bool:
        """path: the same, with the address that this came from."""
        return located.add_path(self._rooms, self._inbound, user, params, True)

    def add_path_advertised_address(self, address: str, user: str = "", params: str = "") -> bool:
        """path: `add_path` with another address of ours, HOST or HOST:PORT."""
        return located.add_path(self._rooms, self._inbound, user, params, False, address)

    def add_path_received_advertised_address(self, address: str, user: str = "", params: str = "") -> bool:
        """path: `add_path_received` with another address of ours, HOST or HOST:PORT."""
        return located.add_path(self._rooms, self._inbound, user, params, True, address)

    def check_flow_token(self) -> int:
        """outbound: 1 a Route of ours led it here with a flow that `Forward()` takes; -3 without one, -2 the
        Route is another's, -1 there is no Route.
        """
        return located.check_flow_token(self._inbound)

    def upstream(self, anybody: bool = False) -> tuple[str, ...]:
        """The URI of this user at the upstream; none without an upstream, or for a user it does not serve.

        `anybody` asks for our own users too: for what a server keeps for them, presence and voicemail.
        """
        upstream = self._rooms.upstream
        if upstream is None or self.from_upstream() or not (anybody or upstream.serves(self.ruri_user)):
            return ()
        return (upstream.uri_for(self.ruri.user or ""),)

    # -- who sent it -------------------------------------------------------------------------------

    # -- tm ------------------------------------------------------------------------------------------

    def t_set_fr(self, fr_inv_timer: int, fr_timer: int = 0) -> None:
        """tm: milliseconds that it may ring, and may be without any answer; 0 for what `[tm]` says."""
        self._own_timers(("fr_inv_timer", fr_inv_timer), ("fr_timer", fr_timer))

    def t_set_max_lifetime(self, inv: int, noninv: int = 0) -> None:
        """tm: milliseconds that this request may take, as an INVITE or otherwise; 0 for what `[tm]` says."""
        self._own_timers(("max_inv_lifetime", inv), ("max_noninv_lifetime", noninv))

    def t_set_retr(self, retr_timer1: int, retr_timer2: int = 0) -> None:
        """tm: milliseconds until it is repeated over UDP, at first and at most; 0 for what `[tm]` says."""
        self._own_timers(("retr_timer1", retr_timer1), ("retr_timer2", retr_timer2))

    def t_set_auto_inv_100(self, wanted: bool) -> None:
        """tm: whether this INVITE hears a 100 of ours when it is forwarded."""
        self._inbound.tm += (("auto_inv_100", wanted),)

    def t_set_disable_6xx(self, wanted: bool) -> None:
        """tm: a 6xx of one branch of this request ends no other."""
        self._inbound.tm += (("disable_6xx_block", wanted),)

    def _own_timers(self, *timers: tuple[str, int]) -> None:
        for name, milliseconds in timers:
            if not 0 <= milliseconds <= 36_000_000:
                raise ValueError(f"{name}: {milliseconds} milliseconds are too few or too many")
            if milliseconds:
                self._inbound.tm += ((name, milliseconds / 1000),)

    # -- NAT and media -----------------------------------------------------------------------------

    def nat_uac_test(self, flags: int) -> bool:
        """nathelper's test: True when any of the selected signs of a NAT is there."""
        signs = self.nat_signs(flags)
        self._inbound.nat |= signs
        return signs != 0

    def nat_signs(self, flags: int) -> int:
        """Which of the selected signs of a NAT are there: the bits that make `nat_uac_test` true."""
        request, flow, private = self._inbound.request, self._flow, self._rooms.nat.test()
        if not flags & NEXT_HOP:
            return nat_uac_test(flags, request, flow, private=private)
        return nat_uac_test(
            flags, request, flow, next_hop=self._next_hop(), target=self.ruri, private=private
        )

    def _next_hop(self) -> Uri | None:
        """`$du` as a URI: the Route ahead of us, or what the script or an alias said."""
        if self._inbound.foreign:
            return self._inbound.foreign[0].uri
        return parse_uri(self.dst_uri) if self._inbound.dst is not None else None

    def client_nat_test(self, flags: int) -> bool:
        """nat_traversal's test: 1 private Contact, 2 Via is not the source, port included, 4 private Via."""
        bits = CONTACT_PRIVATE if flags & 1 else 0
        bits |= RECEIVED | PORT if flags & 2 else 0
        bits |= VIA_PRIVATE if flags & 4 else 0
        return self.nat_uac_test(bits)

    def fix_nated_register(self) -> None:
        """nathelper: the binding is behind a NAT; it is reached at, and pinged at, where this came from."""
        self._inbound.nated = True

    def add_rcv_param(self, flag: int = 0) -> bool:
        """nathelper: each Contact tells the address this came from: `;received="sip:ip:port"` behind it.

        `flag` 1: in its URI, over UDP only: else False. False without a Contact and for `*` as well.
        """
        if (flag and self._flow.transport != "udp") or first_contact(self.headers) is None:
            return False
        self._change(ReceivedParam(bool(flag)))
        return True

    def set_contact_alias(self, trim: int = 0) -> bool:
        """nathelper: the first Contact gets `;alias=` with the address this came from, at the end of its URI.

        `trim` 1 takes old ones off. False without a Contact, for `*`, and the second time.
        """
        self._inbound.nated = True
        return super().set_contact_alias(trim)

    def nat_keepalive(self) -> bool:
        """nat_traversal: once this is answered well, its sender is kept reachable: registered, subscribed, or
        as long as the call lasts. False when that is turned off, not UDP, or another method.
        """
        return nat_keepalive(self._rooms, self._edits, self.method, self._flow)

    def keepalive_socket(self, uri: str) -> str:
        """`$keepalive.socket(uri)`: our address for the pings to an endpoint or a phone, or empty."""
        return keepalive_socket(self._rooms, uri)

    # -- body and answer ---------------------------------------------------------------------------

    def set_body(self, body: bytes | str, content_type: str) -> None:
        """textops: another body of this media type; an empty one takes body and Content-Type away."""
        octets = body.encode("utf-8", "surrogateescape") if isinstance(body, str) else body
        self._edits.body = (octets, field("Content-Type", content_type)[1])

    def subst_body(self, expression: str) -> bool:
        """textops: rewrite the body by `/pattern/replacement/flags`; True when it matches."""
        found = substitution(expression)
        octets, kind = self._edits.body or (self._message.body, self.hdr("Content-Type"))
        text = octets.decode("utf-8", "surrogateescape")
        if not found.pattern.search(text):
            return False
        self.set_body(found.apply(text), kind)
        return True

    def append_to_reply(self, name: str, value: str | None = None) -> None:
        """textops: a header field of the answer, should we answer this request ourselves."""
        self._edits.answer += (field(name, value),)

    def options_reply(self) -> Decision:
        """siputils: what OPTIONS to us is told; with a user in the request URI it is not for us: 404."""
        if self.ruri_user:
            return Reply(404)
        return Reply(200, "", OPTIONS_HEADERS)

    # -- the call that it stands in ----------------------------------------------------------------

    def is_known_dlg(self) -> bool:
        """dialog: it stands inside a call that we know."""
        return self._inbound.dialog is not None

    @property
    def dlg_status(self) -> str:
        """`$DLG_status`: the state of that call, 1 to 5; empty outside of one."""
        dialog = self._inbound.dialog
        return str(int(dialog.state)) if dialog is not None else ""

    @property
    def dlg_lifetime(self) -> str:
        """`$DLG_lifetime`: whole seconds since its answer; empty outside of a call."""
        dialog = self._inbound.dialog
        return str(int(self._now - dialog.start) if dialog.start else 0) if dialog is not None else ""

    def _stat(self) -> Stat:
        dialog = self._inbound.dialog
        return Stat(self._rooms.media, None if dialog is None else dialog.media_key, self._now)

    def dlg_set_var(self, name: str, value: str) -> None:
        """dialog's `$dlg_var(name) = "value"`: kept with the call; events read it, for CDRs say."""
        dialog = self._inbound.dialog
        if dialog is not None:
            dialog.variables[name] = value
        else:
            self._inbound.variables = {**(self._inbound.variables or {}), name: value}

    def dlg_var(self, name: str) -> str:
        """`$dlg_var(name)`: what was kept with the call under this name; empty for nothing."""
        dialog = self._inbound.dialog
        kept = dialog.variables if dialog is not None else self._inbound.variables
        return kept.get(name, "") if kept else ""

    def dlg_set_timeout(self, seconds: int) -> None:
        """dialog: how long the call may last from its answer, or from its last request, on."""
        if seconds <= 0:
            raise ValueError(f"dlg_set_timeout: {seconds} s is no time")
        if self._inbound.dialog is not None:
            self._inbound.dialog.lifetime = float(seconds)
        else:
            self._inbound.lifetime = float(seconds)

    def dlg(self, name: str) -> str:
        """`$dlg(name)`: what the dialog module calls it: callid, from_uri, to_contact...; empty outside."""
        dialog = self._inbound.dialog
        return dialog_value(dialog, name, self._now) if dialog is not None else ""
