"""A scripted user agent over one socket or connection: says what a test tells it, in the order it is told.

It answers nothing by itself. Knows transactions only so far that it repeats a lost request.
"""

from __future__ import annotations

import contextlib
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from lab.link import Link, TcpLink, TlsLink, UdpLink
from lab.network import SERVER, Host
from lab.sip import Message, bracketed, credentials, decode, sdp, token
from lab.stream import Stream


@dataclass
class Dialog:
    """One side's view of a call: enough to send requests in it."""

    call_id: str
    local: str
    remote: str
    target: str
    routes: list[str]
    cseq: int = 1
    invite: Message = field(default_factory=lambda: Message(""))


class Agent:
    """`user` on `host`, served by `server` over `transport`; socket and media belong to the namespace.

    Over TCP and TLS its one connection carries everything, and `port` is what the connection has; over TLS
    `context` is what it believes and shows.
    """

    def __init__(
        self,
        host: Host,
        user: str,
        password: str = "",
        *,
        port: int = 5060,
        server: str = SERVER,
        transport: str = "udp",
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.host = host
        self._context = context
        self.user = user
        self.password = password
        self.server = (server, 5061 if transport == "tls" else 5060)
        self.family = 6 if ":" in server else 4
        self.address = host.own(self.family)
        self.link: Link = UdpLink(host, port, self.family) if transport == "udp" else self._connected()
        self.inbox: list[Message] = []
        self.uri = f"sip:{user}@{bracketed(server)}"
        self.domain = bracketed(server)
        mark = "" if transport == "udp" else f";transport={transport}"
        # unique, as of most phones
        self.contact = f"<sip:{user}-{token(3)}@{bracketed(self.address)}:{self.link.port}{mark}>"

    def _connected(self) -> TcpLink:
        if self.server[1] == 5061:
            return TlsLink(self.host, self.server, self.family, self._context)
        return TcpLink(self.host, self.server, self.family)

    def reconnect(self) -> None:
        """Another connection in place of the one there was."""
        self.link = self._connected()

    @property
    def port(self) -> int:
        return self.link.port

    def close(self) -> None:
        self.link.close()

    def stream(self, frequency: float, port: int = 0, family: int = 0) -> Stream:
        """Media of this agent, from a socket of its host; of its SIP's family, or of another one."""
        address = self.host.own(family) if family else self.address
        return Stream(self.host.namespace.udp(address, port), frequency)

    def via(self) -> str:
        """A Via of its own with a fresh branch."""
        own = f"{bracketed(self.address)}:{self.port}"
        return f"SIP/2.0/{self.link.name} {own};rport;branch=z9hG4bK{token()}"

    def send(self, message: Message | bytes, to: tuple[str, int] | None = None) -> None:
        self.link.send(message if isinstance(message, bytes) else message.encode(), to or self.server)

    def receive(self, wanted: Callable[[Message], bool], deadline: float = 5.0) -> Message | None:
        """The first message that fits, kept or new; others are kept for later."""
        end = time.monotonic() + deadline
        while True:
            for index, message in enumerate(self.inbox):
                if wanted(message):
                    return self.inbox.pop(index)
            try:
                data, source = self.link.receive(end - time.monotonic())
            except TimeoutError:
                return None
            if data.strip():
                self.inbox.append(decode(data, source))

    def expect(self, method: str, deadline: float = 5.0) -> Message:
        """The next request of that method."""
        found = self.receive(lambda message: not message.status and message.method == method, deadline)
        assert found is not None, f"{self.user} waited {deadline:g} s for {method}; has {self._starts()}"
        return found

    def expect_response(self, request: Message, low: int, high: int, deadline: float = 5.0) -> Message:
        """The next response to `request` (by Call-ID and CSeq) with low <= status <= high."""
        found = self.receive(
            lambda message: message.answers(request) and low <= message.status <= high, deadline
        )
        assert found is not None, f"{self.user} waited {deadline:g} s for {low}..{high}; has {self._starts()}"
        return found

    def _starts(self) -> list[str]:
        return [message.start for message in self.inbox]

    def build(
        self,
        method: str,
        uri: str,
        *,
        to: str = "",
        call_id: str = "",
        cseq: int = 1,
        sender: str = "",
        extra: tuple[tuple[str, str], ...] = (),
        body: bytes = b"",
    ) -> Message:
        """A request with a Via, From, To, Call-ID, CSeq and Contact of this agent."""
        headers = [
            ("Via", self.via()),
            ("Max-Forwards", "70"),
            ("From", sender or f"<{self.uri}>;tag={token()}"),
            ("To", to or f"<{uri}>"),
            ("Call-ID", call_id or token(10)),
            ("CSeq", f"{cseq} {method}"),
            ("Contact", self.contact),
            *extra,
        ]
        if body:
            headers.append(("Content-Type", "application/sdp"))
        return Message(f"{method} {uri} SIP/2.0", headers, body)

    def ask(self, request: Message, deadline: float = 8.0) -> Message:
        """Send, repeat over UDP each half second until something answers, and give the final response."""
        end = time.monotonic() + deadline
        answer: Message | None = None
        sent = False
        while time.monotonic() < end:
            if answer is None and (not sent or self.link.name == "UDP"):
                self.send(request)
                sent = True
            answer = self.receive(lambda message: message.answers(request), 0.1 if answer else 0.5) or answer
            if answer is not None and answer.status >= 200:
                return answer
        raise AssertionError(f"{self.user}: no final answer to {request.start} in {deadline:g} s")

    def authorize(self, request: Message, challenge: Message) -> Message:
        """The same request again, next CSeq, with credentials for the challenge."""
        proxy = challenge.status == 407
        value = challenge.get("Proxy-Authenticate" if proxy else "WWW-Authenticate")
        name = "Proxy-Authorization" if proxy else "Authorization"
        number, method = request.get("CSeq").split()
        fresh = {"Via": self.via()}
        fresh["CSeq"] = f"{int(number) + 1} {method}"
        headers = [(key, fresh.get(key, old)) for key, old in request.headers if key != name]
        headers.append((name, credentials(value, self.user, self.password, method, request.uri)))
        return Message(request.start, headers, request.body)

    def register(self, expires: int = 600, contact: str = "", deadline: float = 8.0) -> Message:
        """REGISTER, answering one challenge; the final response, whatever it is."""
        value = f"{contact or self.contact};expires={expires}"
        request = self.build("REGISTER", f"sip:{self.domain}", to=f"<{self.uri}>")
        request.headers = [(key, value if key == "Contact" else old) for key, old in request.headers]
        answer = self.ask(request, deadline)
        if answer.status == 401 and self.password:
            return self.ask(self.authorize(request, answer), deadline)
        return answer

    def invite(self, user: str, body: bytes, *, extra: tuple[tuple[str, str], ...] = ()) -> Message:
        """Send an INVITE, answer a 407; the INVITE that is under way."""
        request = self.build("INVITE", f"sip:{user}@{self.domain}", extra=extra, body=body)
        self.send(request)
        first = self.expect_response(request, 100, 699)
        if first.status == 100 and self.password:
            with contextlib.suppress(AssertionError):
                first = self.expect_response(request, 407, 407, 0.3)
        if first.status != 407:
            self.inbox.insert(0, first)
            return request
        self.acknowledge_failure(request, first)
        request = self.authorize(request, first)
        self.send(request)
        return request

    def acknowledge_failure(self, invite: Message, answer: Message) -> None:
        """The ACK of a non-2xx: same branch as the INVITE (RFC 3261 §17.1.1.3)."""
        number = invite.get("CSeq").split()[0]
        keep = ("Via", "Max-Forwards", "From", "Call-ID")
        headers = [
            *(pair for pair in invite.headers if pair[0] in keep),
            ("To", answer.get("To")),
            ("CSeq", f"{number} ACK"),
        ]
        self.send(Message(f"ACK {invite.uri} SIP/2.0", headers))

    def caller_dialog(self, invite: Message, answer: Message) -> Dialog:
        """The dialog an answer to our INVITE makes."""
        return Dialog(
            call_id=invite.get("Call-ID"),
            local=invite.get("From"),
            remote=answer.get("To"),
            target=answer.contact_uri(),
            routes=answer.values("Record-Route")[::-1],
            cseq=int(invite.get("CSeq").split()[0]),
            invite=invite,
        )

    def callee_dialog(self, invite: Message, tag: str) -> Dialog:
        """The dialog of an INVITE that we answered under `tag`."""
        return Dialog(
            call_id=invite.get("Call-ID"),
            local=f"{invite.get('To')};tag={tag}",
            remote=invite.get("From"),
            target=invite.contact_uri(),
            routes=invite.values("Record-Route"),
            invite=invite,
        )

    def in_dialog(self, dialog: Dialog, method: str, body: bytes = b"") -> Message:
        """A request of this dialog, along its route set; ACK keeps the INVITE's number."""
        if method != "ACK":
            dialog.cseq += 1
        return self.build(
            method,
            dialog.target,
            to=dialog.remote,
            call_id=dialog.call_id,
            cseq=dialog.cseq,
            sender=dialog.local,
            extra=tuple(("Route", route) for route in dialog.routes),
            body=body,
        )

    def acknowledge(self, dialog: Dialog) -> None:
        """The ACK of a 2xx, end to end."""
        self.send(self.in_dialog(dialog, "ACK"))

    def cancel(self, invite: Message) -> None:
        keep = ("Via", "Max-Forwards", "From", "To", "Call-ID")
        headers = [(key, value) for key, value in invite.headers if key in keep]
        number = invite.get("CSeq").split()[0]
        self.send(Message(f"CANCEL {invite.uri} SIP/2.0", [*headers, ("CSeq", f"{number} CANCEL")]))

    def respond(
        self,
        request: Message,
        status: int,
        tag: str = "",
        body: bytes = b"",
        extra: tuple[tuple[str, str], ...] = (),
    ) -> None:
        """A response to where the request came from."""
        keep = ("via", "from", "call-id", "cseq", "record-route")
        copied = [pair for pair in request.headers if pair[0].lower() in keep]
        to = request.get("To")
        if tag and not request.tag("To"):
            to += f";tag={tag}"
        headers = [*copied, ("To", to), ("Contact", self.contact), *extra]
        if body:
            headers.append(("Content-Type", "application/sdp"))
        self.send(Message(f"SIP/2.0 {status} Lab", headers, body), request.source)

    def offer(self, stream: Stream, direction: str = "sendrecv", version: int = 1) -> bytes:
        """A session description that names the stream's own (perhaps private) address."""
        return sdp(stream.host, stream.port, direction, version)
