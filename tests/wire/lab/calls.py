"""What tests do with two phones or two agents again and again."""

from __future__ import annotations

import time
from dataclasses import dataclass

from lab.agent import Agent, Dialog
from lab.network import Host, Network
from lab.phone import Phone
from lab.server import Server
from lab.sip import Message, media_address, token
from lab.stream import Stream, playing
from lab.tones import assert_heard

_WHO = {"alice": (10, 450.0), "bob": (20, 1000.0), "carol": (30, 1500.0), "dave": (40, 700.0)}


def frequency_of(user: str) -> float:
    """The tone (Hz) of a user; a whole number of waves in 20 ms, so that a lost packet breaks no wave."""
    return _WHO[user][1]


def phone_at(
    server: Server,
    network: Network,
    user: str,
    place: str | Host,
    *,
    calls: int = 4,
    expires: int = 3600,
    name: str = "",
) -> Phone:
    """alice, bob, carol or dave with their own tone, registered.

    At 203.0.113.10, .20 and so on: on a `public` host, or behind a router of their own of that kind; or on a
    host that is there already.
    """
    number, frequency = _WHO[user]
    if isinstance(place, Host):
        host = place
    elif place == "public":
        host = network.public_host(user, number)
    else:
        host = network.nat_host(user, number, place)
    password = server.add_user(user)
    phone = Phone(network, host, user, password, frequency, calls=calls, expires=expires, name=name)
    phone.wait_registered()
    return phone


def connect(caller: Phone, callee: Phone, patience: float = 10.0) -> None:
    """From dialling to the answer, seen by both."""
    caller.dial(callee.user)
    callee.wait_ringing(patience)
    callee.answer()
    caller.wait_established(patience)
    callee.wait_established(patience)


def hang_up(phone: Phone, other: Phone, patience: float = 10.0) -> None:
    """One ends the call, and both see its end."""
    phone.hangup()
    phone.wait_closed(patience)
    other.wait_closed(patience)


def assert_call(alice: Phone, bob: Phone, seconds: float) -> None:
    """A call from its beginning to its end, with the other's tone at both."""
    connect(alice, bob)
    time.sleep(seconds)
    hang_up(alice, bob)
    alice.assert_heard(bob, seconds)
    bob.assert_heard(alice, seconds)


@dataclass
class Call:
    """An answered call of two agents: each side's dialog and media, and the messages that made it."""

    alice: Agent
    bob: Agent
    says: Stream
    hears: Stream
    outgoing: Dialog
    incoming: Dialog
    ring: Message
    answer: Message

    def talk(self, seconds: float) -> None:
        """Play both ways; each must hear the other's tone, whatever was heard before."""
        sides = [(self.alice, self.says, self.hears), (self.bob, self.hears, self.says)]
        before = [len(own.heard()) for _, own, _ in sides]
        with playing([self.says, self.hears]):
            time.sleep(seconds)
        for (agent, own, other), mark in zip(sides, before, strict=True):
            assert_heard(agent.user, own.heard()[mark:], other.frequency, seconds - 0.2)

    def hang_up(self) -> None:
        """BYE from the caller."""
        bye = self.alice.in_dialog(self.outgoing, "BYE")
        self.alice.send(bye)
        self.bob.respond(self.bob.expect("BYE"), 200)
        self.alice.expect_response(bye, 200, 299)


def open_call(
    alice: Agent, bob: Agent, says: Stream, hears: Stream, extra: tuple[tuple[str, str], ...] = ()
) -> Call:
    """INVITE with an offer, 200 with the answer, ACK; media goes where the SDP said."""
    invite = alice.invite(bob.user, alice.offer(says), extra=extra)
    ring = bob.expect("INVITE")
    tag = token()
    bob.respond(ring, 200, tag, bob.offer(hears))
    answer = alice.expect_response(invite, 200, 299)
    outgoing = alice.caller_dialog(invite, answer)
    alice.acknowledge(outgoing)
    bob.expect("ACK")
    says.remote, hears.remote = media_address(answer.body), media_address(ring.body)
    return Call(alice, bob, says, hears, outgoing, bob.callee_dialog(ring, tag), ring, answer)
