"""What `kill -9` and a new start do not end: a ban, and the way of a NOTIFY to who subscribed."""

from __future__ import annotations

import time

import pytest
from lab.agent import Agent
from lab.network import Network
from lab.server import Server
from lab.sip import Message

pytestmark = pytest.mark.wire


def notify(agent: Agent, received: Message, state: str) -> Message:
    """A NOTIFY of who got this SUBSCRIBE."""
    routes = [("Route", value) for value in received.values("Record-Route")]
    return agent.build(
        "NOTIFY",
        received.contact_uri(),
        call_id=received.get("Call-ID"),
        sender=f"{received.get('To')};tag=bob",
        to=received.get("From"),
        extra=(*routes, ("Event", "dialog"), ("Subscription-State", state)),
    )


def ladder(watcher: Agent, notifier: Agent, message: Message) -> None:
    notifier.send(message)
    watcher.respond(watcher.expect("NOTIFY"), 200)
    notifier.expect_response(message, 200, 200)


def test_bans_and_subscriptions_outlive_a_crash(server: Server, network: Network) -> None:
    alice = Agent(network.nat_host("alice", 10, "symmetric"), "alice", server.add_user("alice"))
    bob = Agent(network.nat_host("bob", 20, "port-restricted"), "bob", server.add_user("bob"))
    stranger = Agent(network.public_host("stranger", 50), "stranger")
    assert alice.register().status == bob.register().status == 200
    asked = alice.build(
        "SUBSCRIBE", f"sip:bob@{alice.domain}", extra=(("Event", "dialog"), ("Expires", "600"))
    )
    alice.send(asked)
    asked = alice.authorize(asked, alice.expect_response(asked, 407, 407))
    alice.send(asked)
    received = bob.expect("SUBSCRIBE")
    bob.respond(received, 200, tag="bob", extra=(("Expires", "600"),))
    alice.expect_response(asked, 200, 200)
    ladder(alice, bob, notify(bob, received, "active;expires=600"))

    greeting = stranger.build("OPTIONS", f"sip:{alice.domain}")
    stranger.send(greeting)
    stranger.expect_response(greeting, 200, 499)
    server.verb("ban", "add", stranger.host.address, "--for", "600")
    before = server.ask("dlg", "subscriptions")
    time.sleep(1.5)  # twice a second what has changed is written
    server.crash()
    server.start()

    [ban] = server.ask("ban", "list")
    assert ban["source"] == stranger.host.address
    assert ban["expires"] > 500
    stranger.send(stranger.build("OPTIONS", f"sip:{alice.domain}"))
    assert stranger.receive(lambda message: True, 1.0) is None
    [known] = server.ask("dlg", "subscriptions")
    assert [known[name] for name in ("call-id", "subscriber", "notifiers")] == [
        before[0][name] for name in ("call-id", "subscriber", "notifiers")
    ]
    ladder(alice, bob, notify(bob, received, "active;expires=500"))
    ladder(alice, bob, notify(bob, received, "terminated;reason=timeout"))
