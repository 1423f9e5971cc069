"""Presence and messages between phones behind NATs: SUBSCRIBE, NOTIFY, PUBLISH, MESSAGE, REFER, INFO."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest
from talk import SERVER, Packet, Phone, Talk

from edgesip.address import Addr
from edgesip.signal.dialog.subscriptions import LINGER, MOST_PACKAGES, PENDING, SubscriptionSettings
from edgesip.signal.proxy.upstream import Upstream
from edgesip.signal.wire.message import Request, Response, parse
from edgesip.signal.wire.uri import parse_uri

TRUNK = Addr("192.0.2.10", 5060)
PRESENCE = (("Event", "presence"), ("Expires", "600"))
Fields = Sequence[tuple[str, str]]


def pair(**more: object) -> tuple[Talk, Phone, Phone]:
    """Two registered phones, each behind its NAT."""
    talk = Talk(**more)  # type: ignore[arg-type]
    alice, bob = talk.phone("alice", nat=True), talk.phone("bob", nat=True)
    return talk.register(alice, bob), alice, bob


def ask(talk: Talk, phone: Phone, method: str, user: str, headers: Fields = PRESENCE, **more: str) -> Packet:
    """A request that opens something, with its password; who gets it is left to the test."""
    packet = phone.request(method, f"sip:{user}@{SERVER.host}", headers=headers, **more)  # type: ignore[arg-type]
    talk >> packet
    packet = phone.with_credentials(packet, talk.response(phone, 407))
    talk >> packet
    return packet


def accepted(phone: Phone, received: Request, expires: str = "600", tag: str = "") -> Packet:
    """The 2xx of a notifier, which says how long and where it is."""
    fields = [("Contact", phone.contact)] + ([("Expires", expires)] if expires else [])
    return phone.reply(received, 200 if expires else 202, headers=fields, tag=tag)


def notify(
    phone: Phone, received: Request, state: str = "active;expires=600", tag: str = "", event: str = ""
) -> Packet:
    """A NOTIFY of the phone that got the SUBSCRIBE, by that one's Record-Routes and Contact."""
    routes = [("Route", str(route)) for route in received.headers.record_routes]
    event = event or received.headers.get("Event") or "refer"
    return phone.request(
        "NOTIFY",
        str(received.headers.contacts[0].uri),
        call_id=received.headers.call_id,
        from_=f"{received.headers.get('To')};tag={tag or f'to-{phone.name}'}",
        to=received.headers.get("From") or "",
        headers=[*routes, ("Event", event), ("Subscription-State", state)],
    )


def told(talk: Talk, watcher: Phone, notifier: Phone, packet: Packet) -> Request:
    """A NOTIFY arrives at who subscribed, and its 200 comes back."""
    talk >> packet
    received = talk.request(watcher, "NOTIFY")
    talk >> watcher.reply(received, 200) << (notifier, 200)
    return received


def watching(talk: Talk, watcher: Phone, presentity: Phone) -> tuple[Packet, Request, Response]:
    """A subscription up to its first NOTIFY: the SUBSCRIBE sent and received, the 200."""
    sent = ask(talk, watcher, "SUBSCRIBE", presentity.name)
    received = talk.request(presentity, "SUBSCRIBE")
    talk >> accepted(presentity, received)
    answer = talk.response(watcher, 200)
    told(talk, watcher, presentity, notify(presentity, received))
    return sent, received, answer


def test_a_watcher_hears_of_his_friend_both_behind_nats() -> None:
    talk, alice, bob = pair()
    sent, received, answer = watching(talk, alice, bob)

    assert f";alias={alice.at.host}~{alice.at.port}~1" in str(received.headers.contacts[0].uri)
    assert f";alias={bob.at.host}~{bob.at.port}~1" in str(answer.headers.contacts[0].uri)
    assert len(received.headers.record_routes) == 1
    later = told(talk, alice, bob, notify(bob, received))
    assert f";alias={bob.at.host}~{bob.at.port}~1" in str(later.headers.contacts[0].uri)
    assert str(later.headers.to.tag) == parse(sent.octets).headers.from_.tag
    assert later.headers.routes == ()


def test_it_is_refreshed_and_ended_along_the_same_way() -> None:
    talk, alice, bob = pair()
    sent, received, answer = watching(talk, alice, bob)
    talk.wait(500)
    refresh = alice.within(sent, answer, "SUBSCRIBE")
    talk >> Packet(alice, refresh.octets.replace(b"Contact:", b"Expires: 600\r\nContact:"))
    again = talk.request(bob, "SUBSCRIBE")
    talk >> accepted(bob, again) << (alice, 200)
    talk.wait(500)
    told(talk, alice, bob, notify(bob, received))
    goodbye = alice.within(sent, answer, "SUBSCRIBE")
    talk >> Packet(alice, goodbye.octets.replace(b"Contact:", b"Expires: 0\r\nContact:"))
    talk >> accepted(bob, talk.request(bob, "SUBSCRIBE"), "0") << (alice, 200)
    told(talk, alice, bob, notify(bob, received, "terminated;reason=timeout"))
    assert len(talk.core.subscriptions) == 1
    talk.wait(LINGER + 1)
    assert len(talk.core.subscriptions) == 0
    talk >> notify(bob, received) << (bob, 481)


def test_two_packages_in_one_dialog_end_each_for_itself() -> None:
    talk, alice, bob = pair()
    sent, received, answer = watching(talk, alice, bob)
    another = alice.within(sent, answer, "SUBSCRIBE")
    talk >> Packet(alice, another.octets.replace(b"Contact:", b"Event: dialog\r\nExpires: 3000\r\nContact:"))
    talk >> accepted(bob, talk.request(bob, "SUBSCRIBE"), "3000") << (alice, 200)
    told(talk, alice, bob, notify(bob, received, "active;expires=3000", event="dialog"))
    told(talk, alice, bob, notify(bob, received, "terminated;reason=giveup", event="presence"))
    talk.wait(2900)
    told(talk, alice, bob, notify(bob, received, "active;expires=600", event="dialog;id=7"))
    talk.wait(500)
    told(talk, alice, bob, notify(bob, received, "terminated", event="dialog"))
    talk.wait(LINGER + 1)
    assert len(talk.core.subscriptions) == 0
    talk >> notify(bob, received, event="dialog") << (bob, 481)


def test_invented_packages_are_bounded() -> None:
    talk, alice, bob = pair()
    _sent, received, _ = watching(talk, alice, bob)
    for number in range(2 * MOST_PACKAGES):
        told(talk, alice, bob, notify(bob, received, event=f"p{number}"))
    (one,) = talk.core.subscriptions
    (end,) = one.ends.values()
    assert end.others is not None
    assert len(end.others) == MOST_PACKAGES


def test_what_nobody_refreshes_is_forgotten() -> None:
    talk, alice, bob = pair()
    sent, received, answer = watching(talk, alice, bob)
    talk.wait(600 + LINGER + 1)
    assert len(talk.core.subscriptions) == 0
    assert talk.core.subscriptions.counters["subscriptions:expired"] == 1
    talk >> notify(bob, received) << (bob, 481)
    talk >> alice.within(sent, answer, "SUBSCRIBE") << (alice, 481)


def test_the_notifier_says_how_long() -> None:
    talk, alice, bob = pair()
    _sent, received, _ = watching(talk, alice, bob)
    told(talk, alice, bob, notify(bob, received, "active;expires=60"))
    talk.wait(60 + LINGER - 1)
    told(talk, alice, bob, notify(bob, received, "active;expires=4000"))
    talk.wait(3900)
    told(talk, alice, bob, notify(bob, received, "active"))


def test_a_notify_may_overtake_the_2xx() -> None:
    talk, alice, bob = pair()
    ask(talk, alice, "SUBSCRIBE", "bob")
    received = talk.request(bob, "SUBSCRIBE")
    told(talk, alice, bob, notify(bob, received))
    talk >> accepted(bob, received) << (alice, 200)
    told(talk, alice, bob, notify(bob, received))


def forked(talk: Talk, *devices: Phone) -> dict[Addr, Request]:
    """What each device got of a request that went to all of them."""
    got: dict[Addr, Request] = {}
    for flow, octets in talk.sent:
        if any(flow.remote == device.at for device in devices):
            message = parse(octets)
            assert isinstance(message, Request)
            got[flow.remote] = message
    talk.sent.clear()
    return got


def test_each_device_of_a_forked_subscribe_notifies() -> None:
    talk, alice, bob = pair()
    desk = talk.phone("bob", nat=True)
    talk.register(desk)
    sent = ask(talk, alice, "SUBSCRIBE", "bob")
    got = forked(talk, bob, desk)
    talk >> accepted(bob, got[bob.at], tag="mobile") << (alice, 200)
    talk >> accepted(desk, got[desk.at], tag="desk")
    talk.silent()  # one 2xx is all that a request other than INVITE has
    told(talk, alice, bob, notify(bob, got[bob.at], tag="mobile"))
    second = told(talk, alice, desk, notify(desk, got[desk.at], tag="desk"))
    routes = [("Route", str(route)) for route in second.headers.record_routes]
    assert len(routes) == 1  # RFC 6665 §4.3: a NOTIFY opens a dialog too
    refresh = alice.request(
        "SUBSCRIBE",
        str(second.headers.contacts[0].uri),
        call_id=second.headers.call_id,
        from_=parse(sent.octets).headers.get("From") or "",
        to=f"<sip:bob@{SERVER.host}>;tag=desk",
        headers=[*routes, *PRESENCE],
    )
    talk >> refresh << (desk, "SUBSCRIBE")


def test_one_device_says_no_and_the_other_goes_on() -> None:
    talk, alice, bob = pair()
    desk = talk.phone("bob", nat=True)
    talk.register(desk)
    ask(talk, alice, "SUBSCRIBE", "bob")
    got = forked(talk, bob, desk)
    talk >> bob.reply(got[bob.at], 489)
    told(talk, alice, desk, notify(desk, got[desk.at], tag="desk"))
    talk >> accepted(desk, got[desk.at], tag="desk") << (alice, 200)


def test_what_nobody_accepts_is_soon_forgotten() -> None:
    talk, alice, bob = pair()
    ask(talk, alice, "SUBSCRIBE", "bob")
    talk >> bob.reply(talk.request(bob, "SUBSCRIBE"), 489) << (alice, 489)
    talk.wait(LINGER + 1)
    assert len(talk.core.subscriptions) == 0
    assert talk.core.subscriptions.counters["subscriptions:expired"] == 0


def test_a_silent_phone_leaves_nothing() -> None:
    talk, alice, _bob = pair()
    ask(talk, alice, "SUBSCRIBE", "bob")
    talk.wait(PENDING + 1)
    assert len(talk.core.subscriptions) == 0


# -- strangers (threat 19) ---------------------------------------------------------------------------


MALLORY = Addr("198.51.100.240", 5060)
VICTIM = "sip:victim@192.0.2.99"


@pytest.mark.parametrize("method", ["SUBSCRIBE", "NOTIFY", "REFER", "MESSAGE", "INFO", "OPTIONS", "PUBLISH"])
def test_invented_tags_and_routes_open_nothing(method: str) -> None:
    talk, _alice, _bob = pair()
    mallory = talk.phone("mallory", at=MALLORY)
    for routes in ((), (("Route", f"<sip:{SERVER};lr>"), ("Route", "<sip:192.0.2.99;lr>"))):
        talk >> mallory.request(method, VICTIM, to="<sip:bob@203.0.113.1>;tag=made-up", headers=routes)
        talk << (mallory, 481)


@pytest.mark.parametrize("method", ["SUBSCRIBE", "REFER", "MESSAGE", "INFO", "OPTIONS"])
def test_half_a_secret_opens_nothing_but_a_notify(method: str) -> None:
    talk, alice, bob = pair()
    sent, _, _ = watching(talk, alice, bob)
    headers = parse(sent.octets).headers
    mallory = talk.phone("mallory", at=MALLORY)
    for from_, to in (("x", headers.from_.tag), (headers.from_.tag, "x"), ("to-bob", "x"), ("x", "to-bob")):
        talk >> mallory.request(
            method,
            VICTIM,
            call_id=headers.call_id,
            from_=f"<sip:bob@203.0.113.1>;tag={from_}",
            to=f"<sip:alice@203.0.113.1>;tag={to}",
        )
        talk << (mallory, 481)


def test_a_notify_from_elsewhere_reaches_who_subscribed_and_nobody_else() -> None:
    talk, alice, bob = pair()
    _sent, received, _ = watching(talk, alice, bob)
    mallory = talk.phone("mallory", at=MALLORY)
    packet = notify(mallory, received, tag="other")
    octets = re.sub(rb"NOTIFY \S+", b"NOTIFY sip:victim@192.0.2.99", packet.octets)
    octets = octets.replace(b"Event:", b"Route: <sip:192.0.2.99;lr>\r\nEvent:")
    talk >> Packet(mallory, octets)
    seen = talk.request(alice, "NOTIFY")
    talk >> alice.reply(seen, 200) << (mallory, 200)
    # even with what was answered there he reaches nobody else, in either direction
    talk >> Packet(mallory, octets.replace(b"branch=z9hG4bK-", b"branch=z9hG4bK-2-"))
    talk << (alice, "NOTIFY")
    forged = mallory.request(
        "SUBSCRIBE",
        VICTIM,
        call_id=received.headers.call_id,
        from_=received.headers.get("From") or "",
        to=f"<sip:bob@{SERVER.host}>;tag=other",
    )
    talk >> forged << (mallory, "SUBSCRIBE")


def test_calls_do_not_pass_inside_a_subscription() -> None:
    talk, alice, bob = pair()
    sent, _, answer = watching(talk, alice, bob)
    talk >> alice.within(sent, answer, "INVITE") << (alice, 481)


# -- bounds ------------------------------------------------------------------------------------------


def test_one_user_cannot_have_them_all() -> None:
    talk, alice, bob = pair()
    talk.core.subscriptions.settings = SubscriptionSettings(max_subscriptions=5, max_user_subscriptions=2)
    for _ in range(2):
        ask(talk, alice, "SUBSCRIBE", "bob")
        talk << (bob, "SUBSCRIBE")
    ask(talk, alice, "SUBSCRIBE", "bob")
    refusal = talk.response(alice, 503)
    assert refusal.headers.get("Retry-After") == "60"
    ask(talk, bob, "SUBSCRIBE", "alice")
    talk << (alice, "SUBSCRIBE")
    assert talk.core.subscriptions.counters["subscriptions:refused"] == 1
    talk.wait(PENDING + 1)
    talk.sent.clear()
    ask(talk, alice, "SUBSCRIBE", "bob")
    talk << (bob, "SUBSCRIBE")


# -- the upstream ------------------------------------------------------------------------------------


def trunked() -> tuple[Talk, Phone, Phone]:
    upstream = Upstream(parse_uri("sip:192.0.2.10"), re.compile(r"\+?[0-9]+"), frozenset({TRUNK.host}))
    talk = Talk(upstream=upstream)
    alice = talk.phone("alice", nat=True)
    return talk.register(alice), alice, Phone("trunk", TRUNK, TRUNK)


def test_the_upstream_tells_of_waiting_messages_unasked() -> None:
    talk, alice, trunk = trunked()
    headers = [("Event", "message-summary"), ("Subscription-State", "terminated;reason=noresource")]
    talk >> trunk.request("NOTIFY", f"sip:alice@{SERVER.host}", headers=headers)
    talk >> alice.reply(talk.request(alice, "NOTIFY"), 200) << (trunk, 200)
    assert len(talk.core.subscriptions) == 0


def test_a_phone_asks_the_upstream_for_its_waiting_messages() -> None:
    talk, alice, trunk = trunked()
    ask(talk, alice, "SUBSCRIBE", "alice", (("Event", "message-summary"), ("Expires", "3600")))
    received = talk.request(trunk, "SUBSCRIBE")
    assert received.uri == "sip:alice@192.0.2.10"
    talk >> accepted(trunk, received, "3600") << (alice, 200)
    told(talk, alice, trunk, notify(trunk, received, "active;expires=3600"))
    # an application server behind the trunk speaks for itself
    behind = Phone("as", Addr("192.0.2.11", 5060), Addr("192.0.2.11", 5060))
    told(talk, alice, behind, notify(behind, received, tag="to-trunk"))


def test_the_upstream_watches_a_phone() -> None:
    talk, alice, trunk = trunked()
    talk >> trunk.request("SUBSCRIBE", f"sip:alice@{SERVER.host}", headers=PRESENCE)
    received = talk.request(alice, "SUBSCRIBE")
    talk >> accepted(alice, received) << (trunk, 200)
    told(talk, trunk, alice, notify(alice, received))


def test_what_needs_a_server_of_its_own_goes_to_the_upstream() -> None:
    talk, alice, trunk = trunked()
    ask(talk, alice, "PUBLISH", "alice")
    received = talk.request(trunk, "PUBLISH")
    talk >> trunk.reply(received, 200, headers=[("SIP-ETag", "x1")])
    assert talk.response(alice, 200).headers.get("SIP-ETag") == "x1"


def test_without_an_upstream_nobody_keeps_it() -> None:
    talk, alice, _bob = pair()
    ask(talk, alice, "PUBLISH", "alice")
    talk << (alice, 404)
    ask(talk, alice, "SUBSCRIBE", "alice", (("Event", "message-summary"),))
    talk << (alice, 404)


# -- the others --------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["MESSAGE", "INFO"])
def test_a_message_reaches_every_device_and_its_answer_returns(method: str) -> None:
    talk, alice, bob = pair()
    ask(talk, alice, method, "bob", (("Content-Type", "text/plain"),))
    received = talk.request(bob, method)
    assert received.headers.record_routes == ()
    assert "Proxy-Authorization" not in received.headers
    talk >> bob.reply(received, 200) << (alice, 200)
    ask(talk, bob, method, "alice")
    talk >> alice.reply(talk.request(alice, method), 200) << (bob, 200)


def test_a_message_to_a_phone_that_is_off() -> None:
    talk, alice, _ = pair()
    ask(talk, alice, "MESSAGE", "carol")
    talk << (alice, 480)


def test_a_refer_outside_of_a_call_and_what_becomes_of_it() -> None:
    talk, alice, bob = pair()
    ask(talk, alice, "REFER", "bob", (("Refer-To", f"<sip:carol@{SERVER.host}>"),))
    received = talk.request(bob, "REFER")
    talk >> accepted(bob, received, "") << (alice, 202)
    told(talk, alice, bob, notify(bob, received, "active;expires=60", event="refer;id=2"))
    told(talk, alice, bob, notify(bob, received, "terminated;reason=noresource", event="refer;id=2"))
    talk.wait(LINGER + 1)
    assert len(talk.core.subscriptions) == 0


def test_a_refer_without_notifications_is_soon_forgotten() -> None:
    talk, alice, bob = pair()
    ask(talk, alice, "REFER", "bob", (("Refer-To", f"<sip:carol@{SERVER.host}>"), ("Refer-Sub", "false")))
    received = talk.request(bob, "REFER")
    (
        talk
        >> bob.reply(received, 200, headers=[("Contact", bob.contact), ("Refer-Sub", "false")])
        << (alice, 200)
    )
    talk.wait(LINGER + 1)
    assert len(talk.core.subscriptions) == 0


def test_a_transfer_reports_after_the_call_has_ended() -> None:
    talk, alice, bob = pair()
    invite, answer, received, ok = talk.answered(alice, bob)
    refer = alice.within(invite, answer, "REFER")
    talk >> Packet(alice, refer.octets.replace(b"Contact:", b"Refer-To: <sip:carol@203.0.113.1>\r\nContact:"))
    talk >> bob.reply(talk.request(bob, "REFER"), 202) << (alice, 202)
    talk >> bob.back(received, ok, "NOTIFY")
    talk >> alice.reply(talk.request(alice, "NOTIFY"), 200) << (bob, 200)
    talk >> alice.within(invite, answer, "BYE")
    talk >> bob.reply(talk.request(bob, "BYE"), 200) << (alice, 200)
    talk >> bob.back(received, ok, "NOTIFY")
    talk >> alice.reply(talk.request(alice, "NOTIFY"), 200) << (bob, 200)
    talk >> bob.back(received, ok, "INFO")
    talk.request(alice, "INFO")
    talk.wait(400)
    talk.sent.clear()
    talk >> bob.back(received, ok, "NOTIFY") << (bob, 481)


def test_a_subscription_inside_a_call_outlives_it() -> None:
    talk, alice, bob = pair()
    invite, answer, received, ok = talk.answered(alice, bob)
    subscribe = bob.back(received, ok, "SUBSCRIBE")
    talk >> Packet(bob, subscribe.octets.replace(b"Contact:", b"Event: dialog\r\nExpires: 90\r\nContact:"))
    talk >> alice.reply(talk.request(alice, "SUBSCRIBE"), 200, headers=[("Expires", "90")]) << (bob, 200)
    talk >> alice.within(invite, answer, "BYE")
    talk >> bob.reply(talk.request(bob, "BYE"), 200) << (alice, 200)
    talk >> alice.within(invite, answer, "NOTIFY")
    talk >> bob.reply(talk.request(bob, "NOTIFY"), 200) << (alice, 200)


def test_a_phone_that_moved_is_told_where_it_is_now() -> None:
    talk, alice, bob = pair()
    _sent, received, _ = watching(talk, alice, bob)
    alice.at = Addr("198.51.100.250", 41000)
    call_id = min(alice.cseq, key=lambda one: int(one.removeprefix("call-")))
    again = alice.request("REGISTER", f"sip:{SERVER.host}", to=f"<sip:alice@{SERVER.host}>", call_id=call_id)
    talk >> again
    talk >> alice.with_credentials(again, talk.response(alice, 401))
    talk << (alice, 200)
    told(talk, alice, bob, notify(bob, received))
