"""Phones that do anything at any time, to a whole server: its core, its script and its relay.

A `Crowd` plays one story, given by its seed. Most of what is sent is sound by itself, though nobody asked for
it; some of it has been bitten. Nothing may raise, and at the end nothing may be left.
"""

from __future__ import annotations

import random
from itertools import count

import talk
from endings import House
from fuzz_seeds import WORDS
from talk import Packet, Phone
from verdicts import MESSAGES

from edgesip.signal.dialog.table import DialogSettings
from edgesip.signal.wire.framer import Framer
from edgesip.signal.wire.grammar import ParseError
from edgesip.signal.wire.message import Request, Response, parse

DIALOG_TIMEOUT = 200.0
PORTS = 4000
STATUSES = (100, 180, 183, 200, 200, 200, 202, 302, 401, 404, 407, 408, 481, 486, 487, 488, 491, 503, 603)
METHODS = ("BYE", "INVITE", "UPDATE", "PRACK", "INFO", "ACK", "ACK", "REFER", "NOTIFY")


class Crowd:
    """One story; `told` is what happened in it, for whom it fails."""

    def __init__(self, house: House, seed: int) -> None:
        talk._serial = count(seed * 10_000)  # the same story whatever was told before
        self.house = house
        self.dice = random.Random(seed)
        self.told: list[str] = [f"seed {seed}"]
        self.alice = house.phone("alice", nat=True, transport=self._transport())
        self.phones = [self.alice]
        for _ in range(self.dice.choice((1, 1, 2, 3))):
            self.phones.append(house.phone("bob", nat=self.dice.random() < 0.5, transport=self._transport()))
        self.requests: list[tuple[Phone, Request]] = []
        self.responses: list[tuple[Phone, Response]] = []
        self.packets: list[Packet] = []
        self.invites: list[Packet] = []

    def _transport(self) -> str:
        return self.dice.choice(("udp", "udp", "tcp"))

    def play(self, steps: int) -> None:
        """Phones register, alice calls, and then anything happens."""
        self.house.register(*self.phones)
        self._call()
        usual = (self._answer, self._repeat, self._cancel, self._caller_goes_on, self._callee_goes_on)
        odd = (self._wait, self._wait, self._hang, self._bite, self._bite, self._torture, self._call)
        for _ in range(steps):
            happens = self.dice.choices(usual, (40, 8, 5, 14, 7))[0]
            (happens if self.dice.random() < 0.7 else self.dice.choice(odd))()

    def _put(self, packet: Packet, what: str) -> None:
        self.told.append(f"{packet.phone.name} {what}")
        self.packets.append(packet)
        self.house >> packet
        self._collect()

    def _collect(self) -> None:
        """Phones take in what was sent to them: each message is one that a strict peer could read."""
        for flow, octets in self.house.sent:
            phone = next((one for one in self.phones if one.at == flow.remote), None)
            if phone is None:
                continue
            try:
                message = parse(octets)
            except ParseError:
                assert octets[:9] in (b"SIP/2.0 4", b"SIP/2.0 5"), octets  # it copies what was bitten
                continue
            if isinstance(message, Request):
                self.requests.append((phone, message))
            else:
                self.responses.append((phone, message))
        self.house.sent.clear()
        del self.requests[:-12], self.responses[:-12], self.packets[:-40]

    def _body(self, phone: Phone) -> bytes:
        host = phone.inside.host.encode()
        head = b"v=0\r\no=- 1 1 IN IP4 " + host + b"\r\ns=-\r\nc=IN IP4 " + host + b"\r\nt=0 0\r\n"
        audio = b"m=audio %d RTP/AVP 0\r\n" % self.dice.choice((4000, 4000, 4002, 0))
        video = b"m=video 4100 RTP/AVP 96\r\n"
        whole = head + audio + self.dice.choice((b"", b"", video, b"a=sendonly\r\n", b"a=rtcp:4001\r\n"))
        return self.dice.choice((whole, whole, whole, b"", self._bitten(whole)))

    def _bitten(self, octets: bytes) -> bytes:
        for _ in range(self.dice.randint(1, 3)):
            at = self.dice.randrange(len(octets) + 1)
            new = self.dice.choice((*WORDS, self.dice.randbytes(2), octets[at : at + 30] * 2))
            octets = octets[:at] + new + octets[at + self.dice.choice((0, 0, 1, 5, 40)) :]
        return octets

    # -- what may happen ---------------------------------------------------------------------------

    def _call(self) -> None:
        invite = self.house.call(self.alice, "bob", body=self._body(self.alice))
        self.invites.append(invite)
        self.packets.append(invite)
        self._collect()
        self.told.append("alice INVITE")

    def _answer(self) -> None:
        asked = [one for one in self.requests if one[1].method != "ACK"]
        if not asked:
            return
        phone, request = self.dice.choice(asked)
        status = 200 if request.method == "CANCEL" else self.dice.choice(STATUSES)
        tag = f"to-{phone.at.port}{self.dice.choice(('', '', '', 'x', 'y'))}"
        reliable = status == 183 and self.dice.random() < 0.5
        headers = [("Require", "100rel"), ("RSeq", str(self.dice.randint(1, 3)))] if reliable else []
        spoken = 100 < status < 300 and request.method in ("INVITE", "UPDATE", "PRACK")
        body = self._body(phone) if spoken else b""
        self._put(
            phone.reply(request, status, tag=tag, body=body, headers=headers), f"{status} {request.method}"
        )

    def _repeat(self) -> None:
        self._put(self.dice.choice(self.packets), "repeats")

    def _cancel(self) -> None:
        invite = self.dice.choice(self.invites[-2:])
        self._put(Packet(invite.phone, invite.octets.replace(b"INVITE", b"CANCEL")), "CANCEL")

    def _caller_goes_on(self) -> None:
        heard = [
            one
            for phone, one in self.responses
            if phone is self.alice and one.headers.cseq.method == "INVITE" and one.headers.contacts
        ]
        if not heard:
            return
        response, method = self.dice.choice(heard), self.dice.choice(METHODS)
        call_id = response.headers.call_id
        invite = next((one for one in self.invites if parse(one.octets).headers.call_id == call_id), None)
        if invite is None:
            return
        cseq = response.headers.cseq.number if method == "ACK" else 0
        body = b"" if method == "BYE" else self._body(self.alice)
        self._put(self.alice.within(invite, response, method, cseq=cseq, body=body), method)

    def _callee_goes_on(self) -> None:
        asked = [one for one in self.requests if one[1].method == "INVITE" and one[1].headers.contacts]
        asked = [one for one in asked if one[0] is not self.alice]
        if not asked:
            return
        phone, request = self.dice.choice(asked)
        method = self.dice.choice(METHODS)
        ok = phone.reply(request, 200, tag=f"to-{phone.at.port}")
        body = b"" if method == "BYE" else self._body(phone)
        self._put(phone.back(request, ok, method, body=body), f"{method} back")

    def _wait(self) -> None:
        seconds = self.dice.choice((0.1, 0.5, 1.0, 4.0, 10.0, 31.0, 70.0))
        self.told.append(f"{seconds} s pass")
        pass_time(self.house, seconds)
        self._collect()

    def _hang(self) -> None:
        phone = self.dice.choice(self.phones)
        if phone.transport != "udp":
            self.told.append(f"{phone.name} hangs")
            self.house.hang(phone)
            self._collect()

    def _bite(self) -> None:
        packet = self.dice.choice(self.packets)
        self._octets(packet.phone, self._bitten(packet.octets), "bitten")

    def _torture(self) -> None:
        message = self.dice.choice(MESSAGES)
        self._octets(self.dice.choice(self.phones), message.octets, message.name)

    def _octets(self, phone: Phone, octets: bytes, what: str) -> None:
        """Any octets, in whatever form they come to this phone's end of the server."""
        if phone.transport == "udp":
            self._put(Packet(phone, octets), f"{what} {octets!r}")
            return
        framer = Framer()
        for message in framer.feed(octets):
            self._put(Packet(phone, message), f"{what} {message!r}")
        if framer.fault is not None:
            self.house._step(self.house.core.malformed(framer.rest, framer.fault, phone.flow))
            self._collect()


def pass_time(house: House, seconds: float) -> None:
    """Time passes for the core and for the relay, which says which calls have fallen silent."""
    end = house.now + seconds
    while house.now < end:
        house.wait(min(5.0, end - house.now))
        for event in house.relay.tick(house.now):
            branch = getattr(event, "branch", None)
            if branch is not None:
                house._step(house.core.media_timeout(event.key, branch, house.now))


def story(house: House, seed: int, steps: int = 60) -> None:
    """One story, to its end: afterwards every table is empty."""
    crowd = Crowd(house, seed)
    try:
        crowd.play(steps)
        pass_time(house, 2 * DIALOG_TIMEOUT + 400)
        house.sent.clear()
        house.clean()
    except BaseException:
        print("\n".join(crowd.told))
        raise
    house.notes.clear()
    house.writes.clear()


def new_house() -> House:
    """A server whose calls end by themselves after a while."""
    return House(ports=PORTS, dialog=DialogSettings(default_timeout=DIALOG_TIMEOUT))
