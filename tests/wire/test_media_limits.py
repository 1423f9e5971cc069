"""Ports on the wire: they run out (R11), every way to end a call gives them back, and nobody is hammered."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest
from lab.agent import Agent, Dialog
from lab.calls import open_call
from lab.capture import Capture
from lab.network import SERVER, Network
from lab.process import eventually
from lab.server import Server
from lab.sip import Message, media_address, sdp
from lab.stream import Stream, playing

pytestmark = pytest.mark.wire
Start = Callable[..., Server]


def two(server: Server, network: Network, bobs: int = 1) -> tuple[Agent, list[Agent]]:
    """alice, and bob's phones, all in public."""
    alice = Agent(network.public_host("alice", 10), "alice", server.add_user("alice"))
    found = [
        Agent(network.public_host(f"bob{n}", 20 + n), "bob", server.add_user("bob")) for n in range(bobs)
    ]
    for bob in found:
        assert bob.register().status == 200
    return alice, found


@pytest.mark.long
def test_ports_run_out(start_server: Start, network: Network) -> None:
    """503 with Retry-After at once; calls go on, and ports come back after their rest."""
    server = start_server({"relay.ports": "20000-20007"})
    alice, (bob,) = two(server, network)
    calls = [open_call(alice, bob, alice.stream(440.0), bob.stream(1000.0)) for _ in range(2)]
    streams = [stream for call in calls for stream in (call.says, call.hears)]
    taken = []
    with playing(streams):
        for _ in range(8):
            challenged = alice.build("INVITE", f"sip:bob@{SERVER}", body=alice.offer(alice.stream(700.0)))
            alice.send(challenged)
            challenge = alice.expect_response(challenged, 407, 407)
            alice.acknowledge_failure(challenged, challenge)
            invite = alice.authorize(challenged, challenge)
            begin = time.monotonic()
            alice.send(invite)
            refused = alice.expect_response(invite, 300, 699)
            taken.append(time.monotonic() - begin)
            alice.acknowledge_failure(invite, refused)
            assert refused.status == 503
            assert 1 <= int(refused.get("Retry-After")) <= 10
    print(f"refused after {1000 * min(taken):.1f} ms at best, {1000 * max(taken):.1f} ms at worst")
    assert min(taken) <= 0.05
    for call in calls:
        call.talk(2.0)
    assert bob.receive(lambda message: message.method == "INVITE", 0.2) is None
    for call in calls:
        call.hang_up()
    over = time.monotonic()
    assert server.ask("rtp", "ports") == {"total": 8, "leased": 0, "resting": 8, "free": 0}
    eventually("a whole pool", lambda: server.ask("rtp", "ports")["free"] == 8, 60.0, 0.5)
    rested = time.monotonic() - over
    print(f"whole again after {rested:.1f} s")
    assert rested > 28.0
    call = open_call(alice, bob, alice.stream(440.0), bob.stream(1000.0))
    call.talk(1.0)
    call.hang_up()


class Ending:
    """One call on its way to one of its ends: alice calls, and who of bob's phones rings."""

    def __init__(self, alice: Agent, bobs: list[Agent], user: str = "bob") -> None:
        self.alice, self.bobs = alice, bobs
        self.says = alice.stream(440.0)
        self.invite = alice.invite(user, alice.offer(self.says))

    def rings(self, number: int = 0) -> Message:
        """The INVITE as that phone got it, answered 180."""
        bob = self.bobs[number]
        ring = self.of(bob, "INVITE")
        bob.respond(ring, 180, f"t{number}")
        return ring

    def of(self, agent: Agent, method: str) -> Message:
        """The next request of this call."""
        call_id = self.invite.get("Call-ID")
        found = agent.receive(
            lambda message: (
                (not message.status, message.method, message.get("Call-ID")) == (True, method, call_id)
            ),
            8.0,
        )
        assert found is not None, f"no {method}"
        return found

    def up(self, acknowledge: bool = True) -> tuple[Dialog, Dialog]:
        """Answered by the first phone: alice's side and bob's."""
        bob, ring = self.bobs[0], self.rings()
        bob.respond(ring, 200, "t0", bob.offer(bob.stream(1000.0)))
        outgoing = self.alice.caller_dialog(self.invite, self.alice.expect_response(self.invite, 200, 299))
        if acknowledge:
            self.alice.acknowledge(outgoing)
            self.of(bob, "ACK")
        return outgoing, bob.callee_dialog(ring, "t0")

    def bye(self, dialog: Dialog, by: Agent, to: Agent) -> None:
        request = by.in_dialog(dialog, "BYE")
        by.send(request)
        to.respond(self.of(to, "BYE"), 200)
        by.expect_response(request, 200, 299)

    def failed(self, status: int, patience: float = 8.0) -> None:
        """alice hears this, and acknowledges it."""
        answer = self.alice.expect_response(self.invite, 300, 699, patience)
        assert answer.status == status
        self.alice.acknowledge_failure(self.invite, answer)

    def refuse(self, status: int, number: int = 0, extra: tuple[tuple[str, str], ...] = ()) -> None:
        self.bobs[number].respond(self.rings(number), status, f"t{number}", extra=extra)
        self.of(self.bobs[number], "ACK")


def bye_of_the_caller(one: Ending) -> None:
    one.bye(one.up()[0], one.alice, one.bobs[0])


def bye_of_the_callee(one: Ending) -> None:
    one.bye(one.up()[1], one.bobs[0], one.alice)


def bye_without_ack(one: Ending) -> None:
    one.bye(one.up(acknowledge=False)[0], one.alice, one.bobs[0])


def ack_lost(one: Ending) -> None:
    """The callee gives up."""
    one.bye(one.up(acknowledge=False)[1], one.bobs[0], one.alice)


def bye_that_nobody_answers(one: Ending) -> None:
    outgoing, _ = one.up()
    one.alice.send(one.alice.in_dialog(outgoing, "BYE"))
    one.of(one.bobs[0], "BYE")


def cancelled(one: Ending) -> None:
    ring = one.rings()
    one.alice.cancel(one.invite)
    bob = one.bobs[0]
    bob.respond(one.of(bob, "CANCEL"), 200)
    bob.respond(ring, 487, "t0")
    one.failed(487)


def cancelled_and_answered(one: Ending) -> None:
    ring = one.rings()
    one.alice.cancel(one.invite)
    bob = one.bobs[0]
    one.of(bob, "CANCEL")
    bob.respond(ring, 200, "t0", bob.offer(bob.stream(1000.0)))
    outgoing = one.alice.caller_dialog(one.invite, one.alice.expect_response(one.invite, 200, 299))
    one.alice.acknowledge(outgoing)
    one.bye(outgoing, one.alice, bob)


def busy(one: Ending) -> None:
    one.refuse(486)
    one.failed(486)


def declined(one: Ending) -> None:
    one.refuse(603)
    one.failed(603)


def redirected(one: Ending) -> None:
    one.refuse(302, extra=(("Contact", "<sip:x@203.0.113.99>"),))
    one.failed(302)


def nobody_answers(one: Ending) -> None:
    one.rings()
    one.failed(408, 12.0)


def nobody_hears(one: Ending) -> None:
    one.failed(408, 12.0)


def unknown(one: Ending) -> None:
    one.failed(404)


def refused_reinvite(one: Ending) -> None:
    outgoing, _ = one.up()
    change = one.alice.in_dialog(outgoing, "INVITE", one.alice.offer(one.alice.stream(700.0), version=2))
    one.alice.send(change)
    bob = one.bobs[0]
    asked = one.of(bob, "INVITE")
    bob.respond(asked, 488)
    refused = one.alice.expect_response(change, 300, 699)
    one.alice.acknowledge_failure(change, refused)
    one.of(bob, "ACK")
    one.bye(outgoing, one.alice, bob)


def bye_within_a_reinvite(one: Ending) -> None:
    outgoing, incoming = one.up()
    change = one.alice.in_dialog(outgoing, "INVITE", one.alice.offer(one.says, "sendonly", version=2))
    one.alice.send(change)
    bob = one.bobs[0]
    asked = one.of(bob, "INVITE")
    one.bye(incoming, bob, one.alice)
    bob.respond(asked, 487)
    one.alice.acknowledge_failure(change, one.alice.expect_response(change, 300, 699))


def silence(one: Ending) -> None:
    """Neither speaks: both get a BYE."""
    one.up()
    for agent in (one.alice, one.bobs[0]):
        agent.respond(one.of(agent, "BYE"), 200)


def bad_offer(one: Ending) -> None:
    one.failed(488)


def one_of_two(one: Ending) -> None:
    winner, loser = one.bobs
    lost = one.rings(1)
    outgoing, _ = one.up()
    loser.respond(one.of(loser, "CANCEL"), 200)
    loser.respond(lost, 487, "t1")
    one.of(loser, "ACK")
    one.bye(outgoing, one.alice, winner)


def two_of_two(one: Ending) -> None:
    """Both answer at once: alice hangs up on the second."""
    _, second = one.bobs
    other = one.rings(1)
    outgoing, _ = one.up()
    one.of(second, "CANCEL")
    second.respond(other, 200, "t1", second.offer(second.stream(1500.0)))
    late = one.alice.caller_dialog(one.invite, one.alice.expect_response(one.invite, 200, 299))
    one.alice.acknowledge(late)
    one.of(second, "ACK")
    one.bye(late, one.alice, second)
    one.bye(outgoing, one.alice, one.bobs[0])


def none_of_two(one: Ending) -> None:
    one.refuse(486, 0)
    one.refuse(480, 1)
    one.failed(480)


ENDS: tuple[Callable[[Ending], None], ...] = (
    bye_of_the_caller,
    bye_of_the_callee,
    bye_without_ack,
    ack_lost,
    bye_that_nobody_answers,
    cancelled,
    cancelled_and_answered,
    busy,
    declined,
    redirected,
    nobody_answers,
    nobody_hears,
    unknown,
    refused_reinvite,
    bye_within_a_reinvite,
    silence,
    bad_offer,
    one_of_two,
    two_of_two,
    none_of_two,
)
FORKED = (one_of_two, two_of_two, none_of_two)
QUICK = (bye_of_the_caller, cancelled, busy, refused_reinvite, one_of_two)


def descriptors(server: Server) -> int:
    assert server.process is not None
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


@pytest.mark.parametrize(
    ("ends", "rounds"), [(QUICK, 1), pytest.param(ENDS, 3, marks=pytest.mark.long)], ids=["quick", "all"]
)
def test_ports_files_and_sessions_are_balanced(
    start_server: Start, network: Network, ends: tuple[Callable[[Ending], None], ...], rounds: int
) -> None:
    server = start_server({"tm.fr_timer": "1500", "tm.fr_inv_timer": "2000", "relay.timeout": "3"})
    alice = Agent(network.public_host("alice", 10), "alice", server.add_user("alice"))
    hosts = [network.public_host(f"bob{n}", 20 + n) for n in range(2)]
    password = server.add_user("bob")
    before, total = descriptors(server), server.ask("rtp", "ports")["total"]
    for _ in range(rounds):
        for way in ends:
            alice.inbox.clear()
            bobs = [Agent(host, "bob", password, port=0) for host in hosts[: 1 + (way in FORKED)]]
            for bob in bobs:
                assert bob.register().status == 200
            user = "nobody-at-all" if way is unknown else "bob"
            one = Ending(alice, bobs, user) if way is not bad_offer else Broken(alice, bobs)
            way(one)
            for bob in bobs:
                bob.inbox.clear()
                assert bob.register(expires=0).status == 200
                bob.close()
    server.assert_clean(30.0)
    assert server.ask("rtp", "list") == []
    assert descriptors(server) == before
    if rounds > 1:
        eventually("a whole pool", lambda: server.ask("rtp", "ports")["free"] == total, 60.0, 0.5)


class Broken(Ending):
    """A call whose offer cannot be read."""

    def __init__(self, alice: Agent, bobs: list[Agent]) -> None:
        self.alice, self.bobs = alice, bobs
        self.invite = alice.invite("bob", b"v=0\r\nthis is not SDP\r\n")


def test_nobody_is_hammered(server: Server, network: Network) -> None:
    """Row 43: whoever offers and answers with somebody else's address, he gets three packets and no more."""
    victim = network.public_host("victim", 77)
    alice, (bob,) = two(server, network)
    watch = Capture(network, victim)
    streams: list[Stream] = []
    for crooked, honest in ((alice, bob), (bob, alice)):
        speaks = honest.stream(440.0)
        lie = sdp(victim.address, 9000 + 2 * len(streams))
        invite = alice.invite("bob", lie if crooked is alice else alice.offer(speaks))
        ring = bob.expect("INVITE")
        bob.respond(ring, 200, "b", lie if crooked is bob else bob.offer(speaks))
        answer = alice.expect_response(invite, 200, 299)
        outgoing = alice.caller_dialog(invite, answer)
        alice.acknowledge(outgoing)
        bob.expect("ACK")
        speaks.remote = media_address(answer.body if honest is alice else ring.body)
        with playing([speaks]):
            time.sleep(3.0)
        streams.append(speaks)
        bye = alice.in_dialog(outgoing, "BYE")
        alice.send(bye)
        bob.respond(bob.expect("BYE"), 200)
        alice.expect_response(bye, 200, 299)
    watch.stop()
    got = [packet for packet in watch.datagrams() if packet.target[0] == victim.address]
    print(f"the victim of two calls got {len(got)} packets")
    assert 0 < len(got) <= 6
    assert server.statistic("rtp:rtp_unproven") > 200
