"""Routers that reboot, lose packets, or are not alone: registration and media find their way again."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from lab.agent import Agent
from lab.calls import assert_call, connect, hang_up, open_call, phone_at
from lab.capture import Capture, audio
from lab.network import Network
from lab.process import eventually
from lab.server import Server
from lab.tones import assert_heard

pytestmark = pytest.mark.wire
Start = Callable[..., Server]


def _received(server: Server, user: str) -> str:
    [contact] = server.contacts(user)
    return str(contact["Received"])


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "public"), [("symmetric", ""), ("full-cone", ""), ("symmetric", "203.0.113.21")]
)
def test_after_a_reboot_the_next_registration_brings_the_calls_back(
    start_server: Start, network: Network, kind: str, public: str
) -> None:
    """`public` is the address the router comes back with, where it is another one."""
    server = start_server({"registrar.min_expires": "5"})
    router = network.router("bob", 20, kind)
    bob = phone_at(server, network, "bob", router.host("bob"), expires=10)
    alice = phone_at(server, network, "alice", "port-restricted")
    before = _received(server, "bob")
    router.reboot(public)
    if kind == "symmetric":
        eventually("bob at another address", lambda: _received(server, "bob") != before, 20.0, 0.3)
    else:
        time.sleep(12.0)
    assert_call(alice, bob, 3.0)


def test_a_reboot_between_challenge_and_answer_is_survived(server: Server, network: Network) -> None:
    """The nonce was another address's: a second, stale challenge; then it is registered, where it is now."""
    router = network.router("bob", 20, "symmetric")
    bob = Agent(router.host("bob"), "bob", server.add_user("bob"))
    request = bob.build("REGISTER", f"sip:{bob.domain}", to=f"<{bob.uri}>", extra=(("Expires", "600"),))
    challenge = bob.ask(request)
    assert challenge.status == 401
    router.reboot("203.0.113.21")
    again = bob.authorize(request, challenge)
    answer = bob.ask(again)
    if answer.status == 401:
        assert "stale=true" in answer.get("WWW-Authenticate").lower()
        answer = bob.ask(bob.authorize(again, answer))
    assert answer.status == 200
    assert _received(server, "bob").startswith("sip:203.0.113.21:")


@pytest.mark.parametrize("kind", ["symmetric", pytest.param("port-restricted", marks=pytest.mark.long)])
@pytest.mark.parametrize("ends", ["alice", pytest.param("bob", marks=pytest.mark.long)])
def test_media_heals_by_itself_when_a_router_reboots_in_a_call(
    start_server: Start, network: Network, kind: str, ends: str
) -> None:
    """New ports for everything, and nobody tells us: RTP follows; BYE goes where bob is by then."""
    server = start_server({"registrar.min_expires": "5"})
    router = network.router("bob", 20, kind)
    bob = phone_at(server, network, "bob", router.host("bob"), expires=10)
    alice = phone_at(server, network, "alice", "symmetric")
    wires = {phone.user: Capture(network, phone.host) for phone in (alice, bob)}
    connect(alice, bob)
    time.sleep(2.0)
    router.reboot()
    rebooted = time.time()
    time.sleep(14.0)
    end = time.time()
    for phone, other in ((alice, bob), (bob, alice)):
        heard = wires[phone.user].rtp(phone.host.address, rebooted + 4.0, end)
        assert_heard(phone.user, audio(heard), other.frequency, end - rebooted - 4.0)
    hang_up(*((alice, bob) if ends == "alice" else (bob, alice)))


@pytest.mark.long
def test_a_call_moves_to_another_public_address_with_its_next_offer_and_answer(
    start_server: Start, network: Network
) -> None:
    """RTP from an unknown address is a stranger's until signalling of the call has come from there."""
    server = start_server({"registrar.min_expires": "5"})
    router = network.router("bob", 20, "symmetric")
    bob = phone_at(server, network, "bob", router.host("bob"), expires=10)
    alice = phone_at(server, network, "alice", "port-restricted")
    wires = {phone.user: Capture(network, phone.host) for phone in (alice, bob)}
    connect(alice, bob)
    time.sleep(2.0)
    router.reboot("203.0.113.21")
    eventually("bob at the new address", lambda: "203.0.113.21" in _received(server, "bob"), 20.0, 0.3)
    alice.hold()
    time.sleep(2.0)
    alice.resume()
    healed = time.time() + 3.0
    time.sleep(8.0)
    end = time.time()
    for phone, other in ((alice, bob), (bob, alice)):
        heard = wires[phone.user].rtp(phone.host.address, healed, end)
        assert_heard(phone.user, audio(heard), other.frequency, end - healed)
    hang_up(alice, bob)


def test_a_request_in_a_call_goes_where_the_phone_is_registered_now(server: Server, network: Network) -> None:
    """alice's route to bob carries the alias of a flow that a reboot has killed."""
    router = network.router("bob", 20, "symmetric")
    bob = Agent(router.host("bob"), "bob", server.add_user("bob"))
    alice = Agent(network.nat_host("alice", 10), "alice", server.add_user("alice"))
    assert bob.register().status == 200
    call = open_call(alice, bob, alice.stream(450.0), bob.stream(1000.0))
    call.talk(2.0)
    before = _received(server, "bob")
    router.reboot()
    assert bob.register().status == 200
    assert _received(server, "bob") != before
    time.sleep(2.2)  # a new source is believed once the old one has been silent for two seconds
    call.talk(3.0)
    change = alice.in_dialog(call.outgoing, "INVITE", alice.offer(call.says, version=2))
    alice.send(change)
    bob.respond(bob.expect("INVITE"), 200, body=bob.offer(call.hears))
    alice.expect_response(change, 200, 299)
    alice.acknowledge(call.outgoing)
    bob.expect("ACK")
    call.talk(2.0)
    call.hang_up()


@pytest.mark.long
@pytest.mark.parametrize("lossy", ["caller", "callee"])
def test_calls_over_a_line_that_loses_a_tenth(server: Server, network: Network, lossy: str) -> None:
    """Signalling repeats itself; of the audio, nine tenths are left."""
    router = network.router("home", 10, "port-restricted")
    weak = phone_at(server, network, "alice", router.host("alice"))
    other = phone_at(server, network, "bob", "symmetric")
    router.lose(10)
    for _ in range(3):
        connect(*((weak, other) if lossy == "caller" else (other, weak)), patience=40.0)
        time.sleep(4.0)
        hang_up(weak, other, patience=40.0)
        for phone, peer in ((weak, other), (other, weak)):
            assert_heard(phone.user, phone.recording(), peer.frequency, 0.85 * 4.0)
        server.assert_clean(40.0)
