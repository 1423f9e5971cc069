"""What tests do with two phones or two agents again and again."""

from __future__ import annotations

import time
from dataclasses import dataclass

from lab.agent import Agent, Dialog
from lab.phone import Phone
from lab.sip import Message, media_address, token
from lab.stream import Stream, playing
from lab.tones import assert_heard


def connect(caller: Phone, callee: Phone) -> None:
    """From dialling to the answer, seen by both."""
    caller.dial(callee.user)
    callee.wait_ringing()
    callee.answer()
    caller.wait_established()
    callee.wait_established()


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


def open_call(alice: Agent, bob: Agent, says: Stream, hears: Stream) -> Call:
    """INVITE with an offer, 200 with the answer, ACK; media goes where the SDP said."""
    invite = alice.invite("bob", alice.offer(says))
    ring = bob.expect("INVITE")
    tag = token()
    bob.respond(ring, 200, tag, bob.offer(hears))
    answer = alice.expect_response(invite, 200, 299)
    outgoing = alice.caller_dialog(invite, answer)
    alice.acknowledge(outgoing)
    bob.expect("ACK")
    says.remote, hears.remote = media_address(answer.body), media_address(ring.body)
    return Call(alice, bob, says, hears, outgoing, bob.callee_dialog(ring, tag), ring, answer)
