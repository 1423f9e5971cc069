"""Conversations with a signalling core: `>>` goes in, `<<` must come out, `wait` jumps in time.

    talk = Talk()
    alice, bob = talk.phone("alice"), talk.phone("bob", nat=True)
    talk.register(alice, bob)
    invite = alice.invite("bob")
    talk >> invite << (alice, 100) << (bob, "INVITE")

The core, the profile's script, the locator and the bindings are the real ones; media, store and clock are
twins.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

from edgesip.address import Addr, Flow
from edgesip.cli.ladder import Style, drawn
from edgesip.control.ring import Ring
from edgesip.control.trace import told
from edgesip.script import (
    Call,
    FailureCall,
    Rooms,
    Script,
    UndoneCall,
    event_for,
    hook_for,
    hooks_of,
    load,
    refusal_for,
)
from edgesip.script.rooms import RtpproxyRules
from edgesip.signal.core import Arrived, CoreSettings, Event, SignalCore
from edgesip.signal.decision import Forward
from edgesip.signal.dialog.offer_answer import Media
from edgesip.signal.dialog.table import Dialogs, DialogSettings
from edgesip.signal.guard.digest import Digest
from edgesip.signal.guard.guard import Guard, GuardSettings
from edgesip.signal.location import registrar
from edgesip.signal.location.lookup import LookupSettings
from edgesip.signal.location.seals import seals_of
from edgesip.signal.location.usrloc import Usrloc
from edgesip.signal.nat.beat import Beats
from edgesip.signal.nat.beat import Settings as KeepaliveSettings
from edgesip.signal.nat.keepalive import Pinger
from edgesip.signal.nat.keepalive import Settings as PingSettings
from edgesip.signal.nat.traversal import Traversal
from edgesip.signal.proxy.asked import Asked, Failure
from edgesip.signal.proxy.blocklist import Blocklist, BlocklistSettings
from edgesip.signal.proxy.fork import Target
from edgesip.signal.proxy.inbound import Happened, Inbound, Note, Onward, Undone
from edgesip.signal.proxy.locate import Locator
from edgesip.signal.proxy.myself import Myself
from edgesip.signal.proxy.uac import Heard
from edgesip.signal.proxy.upstream import Upstream
from edgesip.signal.transaction.layer import Transactions
from edgesip.signal.transaction.settings import TmSettings
from edgesip.signal.wire.grammar import ParseError
from edgesip.signal.wire.headers import Headers
from edgesip.signal.wire.message import REASONS, Request, Response, parse
from edgesip.store.api import Credential, Write
from edgesip.wish import Wish

SERVER = Addr("203.0.113.1", 5060)
SERVER6 = Addr("2001:db8::1", 5060)
SECURE = Addr("203.0.113.1", 5061)
PROFILE = Path(__file__).parent.parent / "edgesip" / "profiles" / "nat_sbc.py"
SDP = (
    b"v=0\r\no=- 1 1 IN IP4 192.168.1.10\r\ns=-\r\nc=IN IP4 192.168.1.10\r\nt=0 0\r\n"
    b"m=audio 4000 RTP/AVP 0\r\n"
)
_serial = count(1)


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


@dataclass
class Packet:
    """Octets of one phone on their way in."""

    phone: Phone
    octets: bytes


@dataclass
class Phone:
    """A user agent: `at` is where its packets come from, `inside` what it believes its address to be."""

    name: str
    at: Addr
    inside: Addr
    password: str = "secret"
    transport: str = "udp"
    cseq: dict[str, int] = field(default_factory=dict)

    @property
    def contact(self) -> str:
        tail = "" if self.transport == "udp" else f";transport={self.transport}"
        return f"<sip:{self.name}@{self.inside}{tail}>"

    @property
    def flow(self) -> Flow:
        if self.transport == "tls":
            return Flow("tls", SECURE, self.at)
        return Flow(self.transport, SERVER if ":" not in self.at.host else SERVER6, self.at)

    def request(
        self,
        method: str,
        uri: str,
        *,
        call_id: str = "",
        from_: str = "",
        to: str = "",
        cseq: int = 0,
        branch: str = "",
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        contact: str | None = None,
    ) -> Packet:
        call_id = call_id or f"call-{next(_serial)}"
        number = cseq or self.cseq.get(call_id, 0) + 1
        self.cseq[call_id] = max(number, self.cseq.get(call_id, 0))
        branch = branch or f"z9hG4bK-{next(_serial)}"
        fields = [
            ("Via", f"SIP/2.0/{self.transport.upper()} {self.inside};rport;branch={branch}"),
            ("Max-Forwards", "70"),
            ("From", from_ or f"<sip:{self.name}@{SERVER.host}>;tag=from-{call_id}"),
            ("To", to or f"<{uri}>"),
            ("Call-ID", call_id),
            ("CSeq", f"{number} {method}"),
            ("Contact", self.contact if contact is None else contact),
            *headers,
        ]
        fields = [(name, value) for name, value in fields if value]
        if body:
            fields.append(("Content-Type", "application/sdp"))
        return Packet(self, bytes(Request(method, uri, Headers(tuple(fields)), body)))

    def invite(self, user: str, body: bytes = SDP, **more: object) -> Packet:
        uri = user if ":" in user else f"sip:{user}@{SERVER.host}"
        return self.request("INVITE", uri, body=body, **more)  # type: ignore[arg-type]

    def reply(
        self,
        request: Request,
        status: int,
        *,
        tag: str = "",
        body: bytes = b"",
        headers: Sequence[tuple[str, str]] = (),
        contact: str = "",
    ) -> Packet:
        """The answer to a request that this phone received."""
        kept = [
            (name, value)
            for name, value in request.headers.fields
            if name in ("Via", "From", "To", "Call-ID", "CSeq", "Record-Route")
        ]
        tag = tag or f"to-{self.name}"
        if status > 100 and not request.headers.to.tag:
            kept = [(name, f"{value};tag={tag}" if name == "To" else value) for name, value in kept]
        if request.method == "INVITE" and 100 < status < 300:
            kept.append(("Contact", contact or self.contact))
        kept += list(headers)
        if body:
            kept.append(("Content-Type", "application/sdp"))
        return Packet(self, bytes(Response(status, REASONS.get(status, ""), Headers(tuple(kept)), body)))

    def ack(self, invite: Packet, response: Response, body: bytes = b"") -> Packet:
        """The ACK of a 2xx, by the route set and target that it brought."""
        return self.within(invite, response, "ACK", cseq=response.headers.cseq.number, body=body)

    def within(
        self, invite: Packet, response: Response, method: str, *, cseq: int = 0, body: bytes = b""
    ) -> Packet:
        """A request of the caller inside the dialog that `response` to `invite` made."""
        sent = parse(invite.octets)
        routes = [("Route", str(route)) for route in reversed(response.headers.record_routes)]
        return self.request(
            method,
            str(response.headers.contacts[0].uri),
            call_id=sent.headers.call_id,
            from_=sent.headers.get("From") or "",
            to=response.headers.get("To") or "",
            cseq=cseq,
            headers=routes,
            body=body,
        )

    def back(self, received: Request, response: Packet, method: str, *, body: bytes = b"") -> Packet:
        """A request of the callee inside the dialog that its `response` to `received` made."""
        answer = parse(response.octets)
        routes = [("Route", str(route)) for route in received.headers.record_routes]
        return self.request(
            method,
            str(received.headers.contacts[0].uri),
            call_id=received.headers.call_id,
            from_=answer.headers.get("To") or "",
            to=received.headers.get("From") or "",
            headers=routes,
            body=body,
        )

    def with_credentials(self, packet: Packet, challenge: Response) -> Packet:
        """The same request again, one CSeq later, with what the challenge asked for."""
        name, value = next(
            (name, value)
            for name, value in challenge.headers.fields
            if name in ("WWW-Authenticate", "Proxy-Authenticate")
        )
        parts = dict(
            piece.strip().split("=", 1) for piece in value.removeprefix("Digest ").split(",") if "=" in piece
        )
        realm, nonce = parts["realm"].strip('"'), parts["nonce"].strip('"')
        request = parse(packet.octets)
        assert isinstance(request, Request)
        ha1 = md5(f"{self.name}:{realm}:{self.password}")
        ha2 = md5(f"{request.method}:{request.uri}")
        response = md5(f"{ha1}:{nonce}:00000001:abc:auth:{ha2}")
        header = "Authorization" if name == "WWW-Authenticate" else "Proxy-Authorization"
        credentials = (
            f'Digest username="{self.name}", realm="{realm}", nonce="{nonce}", uri="{request.uri}", '
            f'response="{response}", algorithm=MD5, qop=auth, nc=00000001, cnonce="abc"'
        )
        fields = []
        for field_name, text in request.headers.fields:
            if field_name == "CSeq":
                number = int(text.split()[0]) + 1
                self.cseq[request.headers.call_id] = number
                text = f"{number} {request.method}"
            elif field_name == "Via":
                text = text.partition(";branch=")[0] + f";branch=z9hG4bK-{next(_serial)}"
            fields.append((field_name, text))
        fields.append((header, credentials))
        return Packet(self, bytes(Request(request.method, request.uri, Headers(tuple(fields)), request.body)))


class DeskTwin:
    """What the relay would tell of each call."""

    def query(self, key: tuple[str, str], now: float) -> str:
        return f"60 1 2 3 0 of {key[1]}"

    def told(self, key: tuple[str, str]) -> str:
        return f"in words, of {key[1]}"

    def worst(self, key: tuple[str, str], figure: str) -> float | None:
        return {"mos": 4.1, "loss": 0.5}.get(figure)


class MediaTwin:
    """Stands in for the relay: writes down what it is asked, marks the bodies that it passed."""

    def __init__(self) -> None:
        self.log: list[tuple[str, str, str]] = []
        self.desk = DeskTwin()
        self.wishes: list[Wish | None] = []
        self.interfaces: frozenset[str] = frozenset()
        self.full = False
        self.open: set[tuple[tuple[str, str], str]] = set()
        self.refusal: object = None

    def has_room(self) -> bool:
        return not self.full

    def offer(
        self,
        key: tuple[str, str],
        branch: str,
        tag: str,
        side: str,
        body: bytes,
        source: Flow,
        toward: Flow,
        now: float,
        wish: Wish | None = None,
    ) -> bytes:
        self.wishes.append(wish)
        if self.refusal is not None:
            return self.refusal  # type: ignore[return-value]
        self.log.append(("offer", side, tag))
        self.open.add((key, branch))
        return body + b"a=offered-by:" + side.encode() + b"\r\n"

    def answer(
        self,
        key: tuple[str, str],
        branch: str,
        tag: str,
        side: str,
        body: bytes,
        source: Flow,
        toward: Flow,
        final: bool,
        now: float,
        wish: Wish | None = None,
    ) -> bytes:
        self.wishes.append(wish)
        self.log.append(("answer" if final else "preview", side, tag))
        return body + b"a=answered-by:" + side.encode() + b"\r\n"

    def reject(self, key: tuple[str, str], branch: str, side: str, now: float) -> None:
        self.log.append(("reject", "", ""))

    def close(self, key: tuple[str, str], branch: str, now: float) -> None:
        self.log.append(("close", "", ""))
        self.open.discard((key, branch))

    def play(self, key: tuple[str, str], branch: str, side: str, name: str, count: int, now: float) -> str:
        if (key, branch) not in self.open:
            return "there is no session"
        self.log.append((f"play {name} {count}", side, ""))
        return "" if count and name != "missing" else "no such prompt"

    def record(self, key: tuple[str, str], kind: str, now: float) -> None:
        self.log.append(("record", kind, key[1]))

    def end(self, key: tuple[str, str], now: float) -> None:
        for open_key, branch in sorted(self.open):
            if open_key == key:
                self.close(key, branch, now)


class Users:
    """Subscribers by name: everybody's password is `secret`."""

    def __init__(self, *names: str) -> None:
        self.names = set(names)

    def credential(self, username: str) -> Credential | None:
        if username not in self.names:
            return None
        return Credential(username, "edgesip", md5(f"{username}:edgesip:secret"), "")


class Talk:
    """One core and everybody who talks to it."""

    def __init__(
        self,
        *,
        users: Sequence[str] = ("alice", "bob", "carol"),
        script: Script | None = None,
        upstream: Upstream | None = None,
        relay: bool = True,
        durable: bool = False,
        auth: bool = True,
        tm: TmSettings | None = None,
        dialog: DialogSettings | None = None,
        ping: float = 0.0,
        keep: KeepaliveSettings | None = None,
        rules: registrar.Settings | None = None,
        lookup: LookupSettings | None = None,
        guard: GuardSettings | None = None,
        media: Media | None = None,
    ) -> None:
        self.now = 1000.0
        self.ring = Ring(True, 1 << 22, 5000)
        self.media = MediaTwin()
        self.notes: list[Note] = []
        self.writes: list[Write] = []
        self.happened: list[Happened] = []
        self.sent: list[tuple[Flow, bytes]] = []
        self.heard: list[Heard] = []
        self.hold_store = False
        serial = count(1)
        listens = (("udp", SERVER), ("tcp", SERVER), ("udp", SERVER6), ("tcp", SERVER6), ("tls", SECURE))
        myself = Myself(listens, domains=frozenset({"example.net"}))

        def entropy(size: int) -> bytes:
            return next(serial).to_bytes(size, "big")

        self.script = script or load(PROFILE)
        usrloc, digest = Usrloc(), Digest("edgesip", b"k" * 32)
        seals = seals_of(b"a secret", entropy)
        lookup = lookup or LookupSettings()
        keep = keep or KeepaliveSettings(interval=0.0)
        self.kept = Traversal(
            keep,
            Beats(keep, entropy, myself.address_for),
            lambda flow: ping > 0 and usrloc.one_by_flow(flow) is not None,
        )
        self.guard = Guard(guard or GuardSettings(), usrloc, upstream)
        self.rooms = Rooms(
            *(myself, usrloc, Users(*users), digest, self.guard, upstream, auth, self.kept, lookup, seals),
            media=(media or self.media) if relay else None,
            rtpproxy=RtpproxyRules(b"a=nortpproxy:yes", "$ci"),
        )
        self.blocklist = Blocklist(BlocklistSettings())
        self.locator = Locator(
            myself, lambda host: SERVER.host, usrloc.present, self.blocklist, lambda host: False
        )
        self.core = SignalCore(
            CoreSettings(rules or registrar.Settings(3600, 60, 7200, 10), durable, 0.0, seals=seals),
            myself,
            Transactions(tm or TmSettings(wt_timer=5.0)),
            usrloc,
            Dialogs(dialog or DialogSettings()),
            digest,
            Pinger(PingSettings(ping), entropy, myself.address_for),
            self.rooms.media,
            entropy,
            hooks_of(self.script, self.rooms, lambda: self.now),
            traversal=self.kept,
            guard=self.guard,
        )

    def phone(self, name: str, *, nat: bool = False, at: Addr | None = None, transport: str = "udp") -> Phone:
        number = next(_serial) % 200 + 20
        public = at or Addr(f"198.51.100.{number}", 40000 + number if nat else 5060)
        return Phone(name, public, Addr("192.168.1.10", 5060) if nat else public, transport=transport)

    # -- the operators -----------------------------------------------------------------------------

    def __rshift__(self, packet: Packet) -> Talk:
        if self.guard.unheard(packet.octets, packet.phone.flow, self.now, self.core.admission):
            return self
        self.ring.message(self.now, True, packet.phone.flow, packet.octets)
        self._step(self.core.receive(packet.octets, packet.phone.flow, self.now))
        return self

    def __lshift__(self, expected: tuple[Phone | Addr, object]) -> Talk:
        """The next message out must go to that phone and be that status or method."""
        self.take(*expected)
        return self

    def take(self, whom: Phone | Addr, what: object) -> Request | Response:
        """Like `<<`, and hands the message over."""
        at = whom.at if isinstance(whom, Phone) else whom
        assert self.sent, f"nothing was sent; expected {what} to {at}\n{self.ladder()}"
        flow, octets = self.sent.pop(0)
        message = parse(octets)
        shown = message.status if isinstance(message, Response) else message.method
        assert (flow.remote, shown) == (at, what), f"{shown} went to {flow.remote}, not {what} to {at}"
        return message

    def request(self, whom: Phone | Addr, method: str) -> Request:
        message = self.take(whom, method)
        assert isinstance(message, Request)
        return message

    def response(self, whom: Phone | Addr, status: int) -> Response:
        message = self.take(whom, status)
        assert isinstance(message, Response)
        return message

    def silent(self) -> Talk:
        assert not self.sent, self.ladder()
        return self

    def hang(self, phone: Phone) -> Talk:
        """The phone's connection is gone."""
        self._step(self.core.flow_closed(phone.flow, self.now))
        return self

    def wait(self, seconds: float) -> Talk:
        """Let time pass, doing everything that comes due at its moment."""
        end = self.now + seconds
        while True:
            due = self.core.deadline(self.now)
            if due is None or due > end:
                break
            self.now = max(self.now, due)
            self._step(self.core.tick(self.now))
        self.now = end
        return self

    def ladder(self) -> str:
        """All that was said so far, as `edgesip trace` shows it."""
        events = [told(number, entry, 0.0) for number, entry in self.ring.since(0)]
        return "\n".join(drawn(events, Style(100)))

    # -- the spine, without a loop -----------------------------------------------------------------

    def _step(self, events: Sequence[Event]) -> None:
        queue = list(events)
        for event in queue:
            if isinstance(event, Arrived):
                queue += self._serve(event.inbound)
            elif isinstance(event, Write):
                self.writes.append(event)
                if event.token is not None and not self.hold_store:
                    queue += self.core.stored(event.token, self.now)
            elif isinstance(event, Undone):
                hook = self.script.undone.get(event.hook)
                decision = hook(UndoneCall(event, self.rooms, self.now)) if hook else event.refusal
                queue += self.core.carry(event.inbound, decision, (), self.now)  # type: ignore[arg-type]
            elif isinstance(event, Onward):
                queue += self._carry(event.inbound, event.decision)
            elif isinstance(event, Happened):
                self.happened.append(event)
                if event.hook in self.script.events:
                    self.script.events[event.hook](event_for(event.about, self.rooms, self.now))
            elif isinstance(event, Asked):
                queue += self._failed(event.failure)
            elif isinstance(event, Heard):
                self.heard.append(event)
            else:
                self.notes.append(event)
                self.ring.note(self.now, event.level, event.event, event.call_id, event.fields)
        sends = self.core.take_sends()
        for flow, octets in sends:
            self.ring.message(self.now, False, flow, octets)
        self.sent += sends

    def _serve(self, inbound: Inbound) -> list[Event]:
        hook = self.script.in_dialog if inbound.inside else self.script.request
        try:
            decision = hook(Call(inbound, self.rooms, self.now)) if hook is not None else Forward()
        except ParseError as error:
            decision = refusal_for(error)
        return self._carry(inbound, decision)

    def _carry(self, inbound: Inbound, decision: object) -> list[Event]:
        self.ring.decided(self.now, inbound, decision)  # type: ignore[arg-type]
        targets: list[Target] = []
        if isinstance(decision, Forward):
            found = self.locator.locate(inbound, decision.targets, self.now)
            targets = [one for one in found if isinstance(one, Target)]
        return self.core.carry(inbound, decision, targets, self.now)  # type: ignore[arg-type]

    def _failed(self, failure: Failure) -> list[Event]:
        hook = hook_for(self.script, failure)
        decision = None
        if failure.hook == "redirected":
            decision = Forward(tuple(uri for uri, _ in failure.contacts))
        elif hook is not None:
            decision = hook(FailureCall(failure, self.rooms, self.now))  # type: ignore[assignment]
        targets: list[Target] = []
        if isinstance(decision, Forward):
            found = self.locator.locate(failure.inbound, decision.targets, self.now)
            targets = [one for one in found if isinstance(one, Target)]
        return self.core.resume(failure, decision, targets, self.now)

    # -- whole passages ----------------------------------------------------------------------------

    def register(self, *phones: Phone) -> Talk:
        for phone in phones:
            packet = phone.request("REGISTER", f"sip:{SERVER.host}", to=f"<sip:{phone.name}@{SERVER.host}>")
            self >> packet
            self >> phone.with_credentials(packet, self.response(phone, 401))
            self << (phone, 200)
        return self

    def call(self, caller: Phone, user: str, **more: object) -> Packet:
        """INVITE, its challenge, and the INVITE again; what then goes out is left to the test."""
        packet = caller.invite(user, **more)  # type: ignore[arg-type]
        self >> packet
        challenge = self.response(caller, 407)
        packet = caller.with_credentials(packet, challenge)
        self >> packet
        return packet

    def answered(
        self, caller: Phone, callee: Phone, body: bytes = SDP
    ) -> tuple[Packet, Response, Request, Packet]:
        """A call up to its ACK: the INVITE sent, the 200 and the INVITE received, the 200 sent."""
        invite = self.call(caller, callee.name)
        self << (caller, 100)
        received = self.request(callee, "INVITE")
        ok = callee.reply(received, 200, body=body)
        self >> ok
        answer = self.response(caller, 200)
        self >> caller.ack(invite, answer) << (callee, "ACK")
        return invite, answer, received, ok

    def quiet(self) -> None:
        """Nothing is left of anything: transactions, live dialogs, media."""
        self.wait(60)
        assert len(self.core.transactions) == 0
        assert not [dialog for dialog in self.core.dialogs if dialog.state < 5]
        assert not self.media.open


def moved(phone: Phone, at: Addr) -> Phone:
    """The same phone, seen from another address."""
    return replace(phone, at=at)
