"""Presence and messages over the wire: telephones behind NATs that watch each other, forks, strangers."""

from __future__ import annotations

import pytest
from lab.agent import Agent
from lab.network import Network
from lab.phone import Phone
from lab.server import Server
from lab.sip import Message

pytestmark = pytest.mark.wire


def test_two_telephones_behind_nats_watch_each_other(server: Server, network: Network) -> None:
    behind = network.nat_host("alice", 10, "port-restricted"), network.nat_host("bob", 20, "symmetric")
    alice = Phone(network, behind[0], "alice", server.add_user("alice"), 440.0, watches="bob")
    alice.wait_registered()
    bob = Phone(network, behind[1], "bob", server.add_user("bob"), 660.0, watches="alice")
    bob.wait_registered()
    alice.be_present(True)
    bob.wait_seen("open")
    alice.be_present(False)
    bob.wait_seen("closed")
    [one] = [one for one in server.ask("dlg", "subscriptions") if one["from_uri"] == "sip:bob@203.0.113.1"]
    assert (one["ruri"], one["event"]) == ("sip:alice@203.0.113.1", "presence")
    assert one["subscriber"]["nat"] is True
    assert [end["address"] for end in one["notifiers"]] == ["udp:203.0.113.10:5060"]
    bob.close()
    alice.close()


def _agent(server: Server, network: Network, user: str, number: int, kind: str, port: int = 5060) -> Agent:
    host = network.public_host(user, number) if kind == "public" else network.nat_host(user, number, kind)
    agent = Agent(host, user, server.add_user(user), port=port)
    assert agent.register().status == 200
    return agent


def _asked(agent: Agent, method: str, user: str, *extra: tuple[str, str]) -> Message:
    """The request that is under way, with its password."""
    request = agent.build(method, f"sip:{user}@{agent.domain}", extra=extra)
    agent.send(request)
    request = agent.authorize(request, agent.expect_response(request, 407, 407))
    agent.send(request)
    return request


def _notify(agent: Agent, received: Message, tag: str, state: str) -> Message:
    """A NOTIFY of who got this SUBSCRIBE or REFER."""
    routes = [("Route", value) for value in received.values("Record-Route")]
    return agent.build(
        "NOTIFY",
        received.contact_uri(),
        call_id=received.get("Call-ID"),
        sender=f"{received.get('To')};tag={tag}",
        to=received.get("From"),
        extra=(*routes, ("Event", "dialog"), ("Subscription-State", state)),
    )


def _told(watcher: Agent, notifier: Agent, notify: Message) -> Message:
    notifier.send(notify)
    seen = watcher.expect("NOTIFY")
    watcher.respond(seen, 200)
    notifier.expect_response(notify, 200, 200)
    return seen


def test_two_devices_notify_one_watcher_and_one_is_early(server: Server, network: Network) -> None:
    alice = _agent(server, network, "alice", 10, "symmetric")
    mobile = _agent(server, network, "bob", 20, "port-restricted")
    desk = Agent(mobile.host, "bob", mobile.password, port=5062)
    assert desk.register().status == 200
    asked = _asked(alice, "SUBSCRIBE", "bob", ("Event", "dialog"), ("Expires", "600"))
    got, other = mobile.expect("SUBSCRIBE"), desk.expect("SUBSCRIBE")
    early = _told(alice, mobile, _notify(mobile, got, "mobile", "active;expires=600"))  # before its 200
    mobile.respond(got, 200, tag="mobile", extra=(("Expires", "600"),))
    alice.expect_response(asked, 200, 200)
    desk.respond(other, 200, tag="desk", extra=(("Expires", "600"),))
    late = _told(alice, desk, _notify(desk, other, "desk", "active;expires=600"))
    assert (early.tag("From"), late.tag("From")) == ("mobile", "desk")
    routes = tuple(("Route", value) for value in late.values("Record-Route"))
    refresh = alice.build(
        "SUBSCRIBE",
        late.contact_uri(),
        call_id=late.get("Call-ID"),
        cseq=9,
        sender=late.get("To"),
        to=late.get("From"),
        extra=(*routes, ("Event", "dialog"), ("Expires", "0")),
    )
    alice.send(refresh)
    desk.respond(desk.expect("SUBSCRIBE"), 200, extra=(("Expires", "0"),))
    alice.expect_response(refresh, 200, 200)
    [known] = server.ask("dlg", "subscriptions")
    assert {end["tag"] for end in known["notifiers"]} == {"mobile", "desk"}


def test_a_stranger_does_not_get_through_a_subscription(server: Server, network: Network) -> None:
    alice = _agent(server, network, "alice", 10, "port-restricted")
    bob = _agent(server, network, "bob", 20, "port-restricted")
    _asked(alice, "SUBSCRIBE", "bob", ("Event", "dialog"), ("Expires", "600"))
    got = bob.expect("SUBSCRIBE")
    bob.respond(got, 200, tag="bob", extra=(("Expires", "600"),))
    victim = Agent(network.public_host("victim", 40), "victim")
    mallory = Agent(network.public_host("mallory", 50), "mallory")
    own = victim.contact.strip("<>")
    for method, sender, to in (
        ("MESSAGE", "<sip:a@b>;tag=x", "<sip:c@d>;tag=y"),
        ("MESSAGE", "<sip:a@b>;tag=x", got.get("From")),
        ("SUBSCRIBE", got.get("From"), "<sip:c@d>;tag=y"),
        ("REFER", "<sip:a@b>;tag=bob", "<sip:c@d>;tag=bob"),
    ):
        route = ("Route", f"<sip:{victim.address};lr>")
        request = mallory.build(method, own, call_id=got.get("Call-ID"), sender=sender, to=to, extra=(route,))
        assert mallory.ask(request).status == 481
    forged = _notify(mallory, got, "z", "active")
    forged.start = f"NOTIFY {own} SIP/2.0"
    mallory.send(forged)
    alice.respond(alice.expect("NOTIFY"), 481)  # nobody else than who subscribed
    mallory.expect_response(forged, 481, 481)
    assert victim.receive(lambda message: True, 1.0) is None


def test_a_message_and_a_published_state(server: Server, network: Network) -> None:
    alice = _agent(server, network, "alice", 10, "symmetric")
    bob = _agent(server, network, "bob", 20, "symmetric")
    for sender, receiver in ((alice, bob), (bob, alice)):
        asked = _asked(sender, "MESSAGE", receiver.user)
        receiver.respond(receiver.expect("MESSAGE"), 202)
        sender.expect_response(asked, 202, 202)
    published = _asked(alice, "PUBLISH", "alice", ("Event", "presence"))
    alice.expect_response(published, 404, 404)  # there is no upstream to keep it
