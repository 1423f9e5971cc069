"""Route scripts tested without a server: a call is built, the function called, the decision compared.

    stage = Stage(rooms_for(["alice", "bob"], authenticated="alice"))
    phone = stage.register("bob", "sip:bob@192.168.1.7", source="udp:198.51.100.9:40000")
    call = stage.call("INVITE", "sip:bob@203.0.113.1", from_="sip:alice@203.0.113.1")
    assert route.request(call) == Forward((phone,))
    assert call.wanted() == ("rtpproxy_manage()",)

The rooms behind a call are the real ones, with values in place of clock, users and DNS. Nothing is sent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_network
from itertools import count
from typing import NamedTuple

from edgesip.address import Addr, Flow, parse_hostport, parse_ip
from edgesip.relay.core import RelayCore, Settings
from edgesip.relay.interface import Interface
from edgesip.relay.path import UserPath
from edgesip.script import Call, Rooms, Script, hooks_of
from edgesip.signal.core import Arrived, CoreSettings, Event, SignalCore
from edgesip.signal.decision import Decision, Forward
from edgesip.signal.dialog.offer_answer import Media
from edgesip.signal.dialog.table import Dialogs, DialogSettings
from edgesip.signal.guard.digest import Digest, Refused, Verified
from edgesip.signal.guard.guard import Guard, GuardSettings
from edgesip.signal.guard.permissions import TRUSTED_GROUP, Address
from edgesip.signal.location import registrar
from edgesip.signal.location.usrloc import Binding, Usrloc
from edgesip.signal.nat.beat import Beats
from edgesip.signal.nat.beat import Settings as KeepaliveSettings
from edgesip.signal.nat.keepalive import Pinger
from edgesip.signal.nat.keepalive import Settings as PingSettings
from edgesip.signal.nat.repair import source_uri
from edgesip.signal.nat.traversal import Traversal
from edgesip.signal.proxy.asked import Hooks
from edgesip.signal.proxy.blocklist import Blocklist, BlocklistSettings
from edgesip.signal.proxy.fork import Target
from edgesip.signal.proxy.hops import DEFAULT_PORTS, Hop
from edgesip.signal.proxy.inbound import Inbound, Note, Onward, Undone
from edgesip.signal.proxy.locate import Locator, Unresolved
from edgesip.signal.proxy.myself import Myself
from edgesip.signal.proxy.upstream import Upstream
from edgesip.signal.transaction.layer import Transactions
from edgesip.signal.transaction.settings import TmSettings
from edgesip.signal.wire.headers import Headers
from edgesip.signal.wire.message import Request, Response, parse
from edgesip.signal.wire.uri import parse_uri
from edgesip.store.api import Credential

NOW = 1000.0
SECRET = b"nothing is proven here"
REGISTRAR = registrar.Settings(3600, 60, 7200, 10)
KEPT = KeepaliveSettings()
LISTENS = ("udp:203.0.113.1:5060", "tcp:203.0.113.1:5060")


class NotAsked(Exception):
    """The script is not asked about this message; the text says why, `sent` is what was answered to it."""

    def __init__(self, why: str, sent: Sequence[Sent]) -> None:
        super().__init__(why)
        self.sent = tuple(sent)


class Sent(NamedTuple):
    """One message that would leave, and over which flow."""

    flow: Flow
    message: Request | Response


class Outcome(NamedTuple):
    """What a decision comes to: messages, names that DNS would be asked for with the addresses that stand in
    for them here, and lines for the log; `undone` when the script's `save_failed` has to decide again first.
    """

    sent: tuple[Sent, ...]
    names: tuple[tuple[str, Addr], ...]
    notes: tuple[Note, ...]
    undone: Undone | None = None


class Users:
    """Users by name alone; nobody has a password."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)

    def credential(self, username: str) -> Credential | None:
        """Whether there is such a user."""
        return Credential(username, "", "", "") if username in self._names else None


class Believing:
    """Authentication that takes one user's word for it, whatever the message says."""

    def __init__(self, realm: str, user: str) -> None:
        self._realm = realm
        self._user = user

    @property
    def realm(self) -> str:
        """The realm that it speaks for."""
        return self._realm

    def check(
        self,
        values: Sequence[str],
        request: Request,
        remote: Addr,
        credential: Callable[[str], Credential | None],
        now: float,
        realm: str = "",
        at_home: Callable[[str], bool] | None = None,
    ) -> Verified | Refused:
        """The user who is believed."""
        return Verified(self._user)


def rooms_for(
    users: Iterable[str] = (),
    *,
    authenticated: str = "",
    domains: Iterable[str] = (),
    listens: Sequence[str] = LISTENS,
    trusted: Sequence[str] = (),
    upstream: str = "",
    upstream_users: str = r"\+?[0-9*#]+",
    auth: bool = True,
    interfaces: Iterable[str] = (),
) -> Rooms:
    """What a call may ask here: `users` exist, `authenticated` is believed without a password.

    There is a relay with room for calls, whose named `interfaces` are these. `listens` are written
    `TRANSPORT:ADDRESS:PORT`, networks in `trusted` as CIDR, `upstream` is a URI.
    """
    myself = Myself(tuple(flow_of(one) for one in listens), domains=frozenset(domains))
    outside = Upstream(parse_uri(upstream), re.compile(upstream_users)) if upstream else None
    digest = Believing("edgesip", authenticated) if authenticated else Digest("edgesip", SECRET)
    networks = tuple(ip_network(one) for one in trusted)
    kept = Traversal(KEPT, Beats(KEPT, bytes, myself.address_for), lambda flow: False)
    usrloc = Usrloc()
    guard = Guard(GuardSettings(), usrloc, outside)
    guard.permissions.use([Address(TRUSTED_GROUP, network, "", 0, "") for network in networks], ())
    media = relay_for(interfaces)
    return Rooms(myself, usrloc, Users(users), digest, guard, outside, auth, kept, media=media)


def relay_for(interfaces: Iterable[str] = ()) -> RelayCore:
    """A relay without sockets, at the address of the server: also for `Stage(media=...)`."""
    serial, host = count(1), ("203.0.113.1",)
    named = tuple(Interface(name, host, (), 16384, 32767) for name in interfaces)
    return RelayCore(
        Settings(True, host, (), 16384, 32767, 60.0, 1000, interfaces=named),
        bind=lambda pair: True,
        unbind=lambda pair: None,
        path=UserPath(),
        entropy=lambda size: next(serial).to_bytes(size, "big"),
    )


class Stage:
    """Where a script is tried: a core with these rooms, without a store, a clock or sockets.

    With a `script` its `branch` hook changes what leaves; with `media` SDP is re-addressed.
    """

    def __init__(
        self,
        rooms: Rooms,
        script: Script | None = None,
        media: Media | None = None,
        settings: registrar.Settings = REGISTRAR,
    ) -> None:
        self.rooms = rooms
        self._inbound: Inbound | None = None
        self._serial = count(1)
        self._asked = frozenset(script.undone) if script is not None else frozenset()
        myself, usrloc = rooms.myself, rooms.usrloc
        blocklist = Blocklist(BlocklistSettings())
        self._locator = Locator(myself, self._route, usrloc.get, blocklist, lambda host: True)
        self._core = SignalCore(
            CoreSettings(settings, False, 0.0),
            myself,
            Transactions(TmSettings()),
            usrloc,
            Dialogs(DialogSettings()),
            rooms.digest if isinstance(rooms.digest, Digest) else Digest(rooms.digest.realm, SECRET),
            Pinger(PingSettings(0.0), self._entropy, myself.address_for),
            media,
            self._entropy,
            hooks_of(script, rooms, lambda: NOW) if script is not None else Hooks(),
            traversal=rooms.traversal,
        )

    # -- who is there ------------------------------------------------------------------------------

    def register(
        self, user: str, contact: str, *, source: str = "", nated: bool = False, q: float = -1.0
    ) -> Binding:
        """A phone of this user, as if it had registered from `source`; without one, from its contact."""
        if not source:
            uri = parse_uri(contact)
            source = f"{(uri.param('transport') or 'udp').lower()}:{uri.host}:{uri.port or 5060}"
        transport, remote = flow_of(source)
        flow = Flow(transport, self._listener(transport, remote), remote)
        ruid = f"stage-{next(self._serial)}"
        aor = self.rooms.usrloc.key_of(user)
        binding = Binding(
            aor, contact, NOW + 3600, q, ruid, 1, source_uri(flow), flow, "", nated, "", 0, ruid
        )
        self.rooms.usrloc.put(binding)
        return binding

    # -- what comes --------------------------------------------------------------------------------

    def call(
        self,
        method: str = "INVITE",
        uri: str = "sip:bob@203.0.113.1",
        *,
        from_: str = "sip:alice@203.0.113.1",
        to: str = "",
        contact: str = "",
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        source: str = "udp:198.51.100.8:5060",
    ) -> Call:
        """A request that opens something, as a script gets it."""
        number = next(self._serial)
        transport, remote = flow_of(source)
        fields = [
            ("Via", f"SIP/2.0/{transport.upper()} {remote};branch=z9hG4bK-stage-{number}"),
            ("Max-Forwards", "70"),
            ("From", f"<{from_}>;tag=stage"),
            ("To", f"<{to or uri}>"),
            ("Call-ID", f"stage-{number}"),
            ("CSeq", f"1 {method}"),
            ("Contact", contact or f"<sip:{parse_uri(from_).user or 'phone'}@{remote}>"),
            *headers,
        ]
        return self.arrive(bytes(Request(method, uri, Headers(fields), body)), source)

    def arrive(self, octets: bytes, source: str) -> Call:
        """These octets, as a script gets them. Raises `NotAsked`, and ParseError for what is no request."""
        message = parse(octets)
        transport, remote = flow_of(source)
        flow = Flow(transport, self._listener(transport, remote), remote)
        events = self._core.receive(octets, flow, NOW)
        for event in events:
            if isinstance(event, Arrived):
                self._inbound = event.inbound
                return Call(event.inbound, self.rooms, NOW)
        kind = "response" if isinstance(message, Response) else message.method
        raise NotAsked(f"no script is asked about this {kind}", self._sends())

    # -- what becomes of it ------------------------------------------------------------------------

    def carry(self, decision: Decision) -> Outcome:
        """What would leave if the last call were decided so."""
        inbound = self._inbound
        assert inbound is not None, "there is no call yet"
        names: list[tuple[str, Addr]] = []
        targets: list[Target] = []
        if isinstance(decision, Forward):
            for one in self._locator.locate(inbound, decision.targets, NOW):
                found = self._stand_in(inbound, one, names) if isinstance(one, Unresolved) else one
                if found is not None:
                    targets.append(found)
        events = self._core.carry(inbound, decision, targets, NOW)
        for event in list(events):
            if isinstance(event, Undone):
                if event.hook in self._asked:
                    return Outcome((), (), _notes(events), event)
                events += self._core.carry(inbound, event.refusal, (), NOW)
            elif isinstance(event, Onward):
                return self.carry(event.decision)
        return Outcome(tuple(self._sends()), tuple(names), _notes(events))

    def _stand_in(self, inbound: Inbound, wanted: Unresolved, names: list[tuple[str, Addr]]) -> Target | None:
        """A name's target at an address of documentation: what DNS would say is not known here."""
        name = wanted.name
        transport = name.transport or ("tls" if name.secure else "udp")
        addr = Addr(f"192.0.2.{len(names) + 1}", name.port or DEFAULT_PORTS.get(transport, 5060))
        names.append((name.host, addr))
        return self._locator.at(inbound, wanted, [Hop(transport, addr)], NOW)

    def _sends(self) -> list[Sent]:
        return [Sent(flow, parse(octets)) for flow, octets in self._core.take_sends()]

    def _listener(self, transport: str, remote: Addr) -> Addr:
        for kind, addr in self.rooms.myself.listens:
            if kind == transport and addr.family == remote.family:
                return addr
        raise ValueError(f"nothing listens for {transport} over IPv{remote.family}")

    def _route(self, remote: str) -> str:
        family = 6 if ":" in remote else 4
        return next((addr.host for _, addr in self.rooms.myself.listens if addr.family == family), "")

    def _entropy(self, size: int) -> bytes:
        return next(self._serial).to_bytes(size, "big")


def flow_of(text: str) -> tuple[str, Addr]:
    """Transport and address of `udp:198.51.100.8:5060`; the port may be left out. Raises ValueError."""
    transport, _, where = text.partition(":")
    found = parse_hostport(where)
    if transport not in DEFAULT_PORTS or found is None:
        raise ValueError(f"{text!r} is not TRANSPORT:ADDRESS[:PORT], as udp:198.51.100.8:5060")
    ip = parse_ip(found[0])
    if ip is None:
        raise ValueError(f"{text!r} has no IP address")
    addr = Addr(str(ip), found[1] or DEFAULT_PORTS[transport])
    return transport, addr


def _notes(events: Sequence[Event]) -> tuple[Note, ...]:
    return tuple(event for event in events if isinstance(event, Note))
