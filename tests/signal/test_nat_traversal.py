"""nat_keepalive(): what starts, extends and ends it, and what is sent to whom."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from desks import house, scripted
from talk import SERVER, Packet, Phone, Talk, moved

from edgesip.address import Addr, Flow
from edgesip.signal.nat import traversal
from edgesip.signal.nat.beat import Beats, Settings
from edgesip.signal.nat.traversal import Row, Traversal
from edgesip.signal.wire.message import Request, Response, parse

KEEP = Settings(interval=25.0)
OURS = "def request(call):\n    call.nat_keepalive()\n    return Save()\n"
BEHIND = "def request(call):\n    call.nat_keepalive()\n    return Forward(('sip:r@192.0.2.1',))\n"


def talk_of(tmp_path: Path, text: str, **more: object) -> Talk:
    return Talk(script=scripted(tmp_path, text), keep=KEEP, auth=False, **more)  # type: ignore[arg-type]


def register(phone: Phone, expires: int = 600, contact: str = "", call_id: str = "reg") -> Packet:
    value = contact or f"{phone.contact};expires={expires}"
    uri = f"sip:{SERVER.host}"
    return phone.request(
        "REGISTER", uri, to=f"<sip:{phone.name}@{SERVER.host}>", contact=value, call_id=call_id
    )


def beats(talk: Talk, seconds: float) -> list[tuple[Addr, Request]]:
    """What is sent by itself while time passes."""
    talk.sent.clear()
    talk.wait(seconds)
    found = []
    for flow, octets in talk.sent:
        message = parse(octets)
        assert isinstance(message, Request)
        found.append((flow.remote, message))
    talk.sent.clear()
    return found


def kept(talk: Talk) -> tuple[int, int, int, int]:
    gauges = talk.kept.gauges(talk.now)
    names = ("keepalive", "registered", "subscribed", "dialog")
    counts = [gauges[f"nat_traversal:{name}_endpoints"] for name in names]
    return counts[0], counts[1], counts[2], counts[3]


# -- registrations -----------------------------------------------------------------------------------


def test_a_registration_here_is_kept_until_it_is_over(tmp_path: Path) -> None:
    talk = talk_of(tmp_path, OURS)
    bob = talk.phone("bob", nat=True)
    talk >> register(bob, 300) << (bob, 200)
    assert kept(talk) == (1, 1, 0, 0)
    sent = beats(talk, 300.0)
    assert {at for at, _ in sent} == {bob.at}
    assert len(sent) in (11, 12)
    assert beats(talk, 120.0) == []
    assert kept(talk) == (0, 0, 0, 0)


def test_un_register_stops_nothing_and_a_refresh_extends(tmp_path: Path) -> None:
    talk = talk_of(tmp_path, OURS)
    bob = talk.phone("bob", nat=True)
    talk >> register(bob, 300) << (bob, 200)
    talk >> register(bob, 0) << (bob, 200)
    assert kept(talk)[1] == 1
    talk.wait(200.0)
    talk >> register(bob, 300)
    assert len(beats(talk, 301.0)) > 9
    assert beats(talk, 90.0) == []


def test_only_a_2xx_counts_and_only_the_own_contacts_of_it(tmp_path: Path) -> None:
    talk, bob, (registrar, *_) = house(tmp_path, BEHIND, keep=KEEP)
    for status, contact, starts in (
        (401, f"{bob.contact};expires=300", False),
        (200, "<sip:somebody@192.0.2.99>;expires=300", False),
        (200, bob.contact, False),  # Expires header alone says nothing
        (200, f"<sip:else@192.0.2.9>;expires=3000, {bob.contact};expires=300", True),
    ):
        talk >> register(bob, 600)
        request = talk.request(registrar, "REGISTER")
        fields = (("Contact", contact), ("Expires", "900"))
        talk >> registrar.reply(request, status, headers=fields) << (bob, status)
        assert kept(talk) == ((1, 1, 0, 0) if starts else (0, 0, 0, 0))
    assert 11 <= len(beats(talk, 300.0)) <= 12
    assert beats(talk, 120.0) == []


def test_the_longest_of_several_own_contacts_counts(tmp_path: Path) -> None:
    talk, bob, (registrar, *_) = house(tmp_path, BEHIND, keep=KEEP)
    talk >> register(bob, contact=f"{bob.contact}, <sip:second@{bob.inside}>")
    request = talk.request(registrar, "REGISTER")
    granted = f"{bob.contact};expires=60, <sip:second@{bob.inside}>;expires=200"
    talk >> registrar.reply(request, 200, headers=(("Contact", granted),))
    talk.sent.clear()
    talk.wait(190.0)
    assert kept(talk)[1] == 1


def test_a_star_adds_nothing(tmp_path: Path) -> None:
    talk = talk_of(tmp_path, OURS)
    bob = talk.phone("bob")
    packet = bob.request(
        "REGISTER",
        f"sip:{SERVER.host}",
        to=f"<sip:bob@{SERVER.host}>",
        contact="*",
        headers=(("Expires", "0"),),
    )
    talk >> packet << (bob, 200)
    assert kept(talk) == (0, 0, 0, 0)


@pytest.mark.parametrize(("match", "found"), [(0, False), (1, True)])
def test_contact_match_compares_as_text_or_by_parts(tmp_path: Path, match: int, found: bool) -> None:
    keep = Settings(interval=25.0, contact_match=match)
    talk, bob, (registrar, *_) = house(tmp_path, BEHIND, keep=keep)
    talk >> register(bob)
    request = talk.request(registrar, "REGISTER")
    same = f"<sip:{bob.name}@{bob.inside};transport=UDP;x=1>;expires=300"
    talk >> registrar.reply(request, 200, headers=(("Contact", same),))
    assert kept(talk)[1] == int(found)


def test_a_contact_that_we_rewrote_on_its_way_is_still_the_own_one(tmp_path: Path) -> None:
    text = "def request(call):\n    call.nat_keepalive()\n    call.fix_contact()\n"
    text += "    return Forward(('sip:r@192.0.2.1',))\n"
    talk, bob, (registrar, *_) = house(tmp_path, text, keep=KEEP)
    bob = moved(bob, Addr("198.51.100.77", 41000))
    talk >> register(bob)
    request = talk.request(registrar, "REGISTER")
    assert "198.51.100.77:41000" in (request.headers.get("Contact") or "")
    granted = f"<{request.headers.contacts[0].uri}>;expires=300"
    talk >> registrar.reply(request, 200, headers=(("Contact", granted),))
    assert kept(talk)[1] == 1


def test_nobody_is_kept_unless_the_script_says_so_over_udp_and_by_three_methods(tmp_path: Path) -> None:
    text = "seen = []\ndef request(call):\n    seen.append(call.nat_keepalive())\n    return Save()\n"
    text = text.replace("return Save()", "return Save() if call.method == 'REGISTER' else Reply(200)")
    script = scripted(tmp_path, text)
    talk = Talk(script=script, keep=KEEP, auth=False)
    udp, tcp = talk.phone("bob"), talk.phone("carol", transport="tcp")
    for phone, method, said in (
        (udp, "REGISTER", True),
        (tcp, "REGISTER", False),
        (udp, "SUBSCRIBE", True),
        (udp, "MESSAGE", False),
        (udp, "OPTIONS", False),
    ):
        uri = f"sip:{SERVER.host}" if method == "REGISTER" else f"sip:x@{SERVER.host}"
        talk >> phone.request(method, uri, to=f"<sip:{phone.name}@{SERVER.host}>")
        assert script.request.__globals__["seen"].pop() is said
    assert kept(talk)[0] == 1
    off = Talk(script=script, keep=Settings(interval=0.0), auth=False)
    off >> udp.request("REGISTER", f"sip:{SERVER.host}", to=f"<sip:bob@{SERVER.host}>")
    assert script.request.__globals__["seen"].pop() is False
    assert kept(off)[0] == 0
    assert off.kept.deadline(off.now) is None


# -- subscriptions -----------------------------------------------------------------------------------


def test_a_subscription_is_kept_as_long_as_its_answer_says(tmp_path: Path) -> None:
    talk, alice, (server, *_) = house(tmp_path, BEHIND, keep=KEEP)
    talk >> alice.request("SUBSCRIBE", f"sip:mwi@{SERVER.host}", headers=(("Expires", "9000"),))
    request = talk.request(server, "SUBSCRIBE")
    talk >> server.reply(request, 202, headers=(("Expires", "100"),)) << (alice, 202)
    assert kept(talk) == (1, 0, 1, 0)
    assert len(beats(talk, 99.0)) in (3, 4)
    assert beats(talk, 60.0) == []


def test_a_forked_subscription_is_kept_by_the_one_answer_that_goes_back(tmp_path: Path) -> None:
    both = BEHIND.replace("'sip:r@192.0.2.1',", "'sip:r@192.0.2.1', 'sip:r@192.0.2.2'")
    talk, alice, (one, two, _) = house(tmp_path, both, keep=KEEP)
    talk >> alice.request("SUBSCRIBE", f"sip:mwi@{SERVER.host}")
    first, second = talk.request(one, "SUBSCRIBE"), talk.request(two, "SUBSCRIBE")
    talk >> one.reply(first, 200, headers=(("Expires", "100"),)) << (alice, 200)
    talk >> two.reply(second, 200, tag="other", headers=(("Expires", "5000"),))
    talk.wait(150.0)
    assert kept(talk) == (0, 0, 0, 0)


def test_a_subscription_is_extended_inside_its_dialog_and_ended_by_no_unsubscribe(tmp_path: Path) -> None:
    text = BEHIND + "def in_dialog(call):\n    call.nat_keepalive()\n    return Forward()\n"
    talk, alice, (server, *_) = house(tmp_path, text, keep=KEEP)
    event = ("Event", "message-summary")
    subscribe = alice.request("SUBSCRIBE", f"sip:mwi@{SERVER.host}", headers=(event, ("Expires", "100")))
    talk >> subscribe
    request = talk.request(server, "SUBSCRIBE")
    fields = (("Contact", server.contact), ("Expires", "100"))
    talk >> server.reply(request, 200, headers=fields)
    answer = talk.response(alice, 200)
    talk.wait(90.0)
    talk.sent.clear()
    for expires in ("100", "0"):
        again = alice.within(subscribe, answer, "SUBSCRIBE")
        octets = again.octets.replace(
            b"\r\n\r\n", f"\r\nEvent: {event[1]}\r\nExpires: {expires}\r\n\r\n".encode()
        )
        talk >> Packet(alice, octets)
        request = talk.request(server, "SUBSCRIBE")
        fields = (("Contact", server.contact), ("Expires", expires))
        talk >> server.reply(request, 200, headers=fields) << (alice, 200)
    talk.wait(99.0)
    assert kept(talk) == (1, 0, 1, 0)
    talk.wait(30.0)
    assert kept(talk) == (0, 0, 0, 0)


def test_a_subscription_that_we_answer_ourselves_counts_too(tmp_path: Path) -> None:
    text = "def request(call):\n    call.nat_keepalive()\n    return Reply(200, '', (('Expires', '60'),))\n"
    talk = talk_of(tmp_path, text)
    alice = talk.phone("alice")
    talk >> alice.request("SUBSCRIBE", f"sip:mwi@{SERVER.host}") << (alice, 200)
    assert kept(talk) == (1, 0, 1, 0)


# -- calls -------------------------------------------------------------------------------------------

CALLS = (
    "def request(call):\n    if call.nat_keepalive() and call.method == 'REGISTER':\n        return Save()\n"
)
CALLS += "    return Forward(call.lookup())\n"


def a_call(tmp_path: Path, phones: int = 1) -> tuple[Talk, Phone, list[Phone], Packet]:
    """alice calls bob, who has so many phones."""
    talk = talk_of(tmp_path, CALLS)
    alice, bobs = talk.phone("alice"), [talk.phone("bob") for _ in range(phones)]
    for number, phone in enumerate(bobs):
        contact = f"<sip:bob{number}@{phone.inside}>;expires=3600"
        talk >> register(phone, contact=contact, call_id=f"r{number}") << (phone, 200)
    invite = alice.invite("bob")
    talk >> invite << (alice, 100)
    return talk, alice, bobs, invite


def test_a_caller_is_kept_from_the_invite_to_the_end_of_the_call(tmp_path: Path) -> None:
    talk, alice, (bob,), invite = a_call(tmp_path)
    assert kept(talk) == (2, 1, 0, 1)
    received = talk.request(bob, "INVITE")
    talk >> bob.reply(received, 180) << (alice, 180)
    assert kept(talk) == (2, 1, 0, 2)
    ok = bob.reply(received, 200)
    talk >> ok
    answer = talk.response(alice, 200)
    talk >> alice.ack(invite, answer) << (bob, "ACK")
    assert {at for at, _ in beats(talk, 60.0)} == {alice.at, bob.at}
    talk >> alice.within(invite, answer, "BYE")
    bye = talk.request(bob, "BYE")
    talk >> bob.reply(bye, 200) << (alice, 200)
    assert kept(talk)[3] == 0
    talk.wait(30.0)
    assert kept(talk) == (1, 1, 0, 0)
    assert {at for at, _ in beats(talk, 60.0)} == {bob.at}


@pytest.mark.parametrize("ending", ["busy", "cancelled"])
def test_a_call_that_fails_keeps_nobody(tmp_path: Path, ending: str) -> None:
    talk, alice, (bob,), invite = a_call(tmp_path)
    received = talk.request(bob, "INVITE")
    talk >> bob.reply(received, 180)
    talk.sent.clear()
    if ending == "busy":
        talk >> bob.reply(received, 486)
    else:
        cancel = Packet(
            alice, invite.octets.replace(b"INVITE sip", b"CANCEL sip").replace(b" INVITE\r", b" CANCEL\r")
        )
        talk >> cancel
        talk >> bob.reply(received, 487)
    assert kept(talk)[3] == 0


def test_of_those_who_ring_only_the_one_who_answers_stays(tmp_path: Path) -> None:
    talk, _, (one, two), _ = a_call(tmp_path, 2)
    first, second = talk.request(one, "INVITE"), talk.request(two, "INVITE")
    talk >> one.reply(first, 180, tag="one")
    talk >> two.reply(second, 180, tag="two")
    assert kept(talk)[3] == 3
    talk.sent.clear()
    talk >> two.reply(second, 200, tag="two")
    assert kept(talk)[3] == 2  # alice and two


def test_a_callee_who_is_in_no_table_is_not_put_there(tmp_path: Path) -> None:
    text = "def request(call):\n    call.nat_keepalive()\n    return Forward(('sip:d@192.0.2.1',))\n"
    talk, alice, (desk, *_) = house(tmp_path, text, keep=KEEP)
    talk >> alice.invite("desk") << (alice, 100)
    received = talk.request(desk, "INVITE")
    talk >> desk.reply(received, 180) << (alice, 180)
    talk >> desk.reply(received, 200)
    assert kept(talk) == (1, 0, 0, 1)


def test_an_invite_that_is_not_marked_still_keeps_a_callee_that_is_known(tmp_path: Path) -> None:
    talk = talk_of(
        tmp_path,
        CALLS.replace("if call.nat_keepalive() and", "if").replace(
            "return Save()", "call.nat_keepalive(); return Save()"
        ),
    )
    alice, bob = talk.phone("alice"), talk.phone("bob", nat=True)
    talk >> register(bob, 100) << (bob, 200)
    invite = alice.invite("bob")
    talk >> invite << (alice, 100)
    received = talk.request(bob, "INVITE")
    assert kept(talk) == (1, 1, 0, 0)
    talk >> bob.reply(received, 200)
    talk >> alice.ack(invite, talk.response(alice, 200))
    assert kept(talk) == (1, 1, 0, 1)
    assert len(beats(talk, 300.0)) == 12  # the registration is over long before


def test_no_call_keeps_anybody_for_more_than_twelve_hours(tmp_path: Path) -> None:
    room = Traversal(KEEP, Beats(KEEP, bytes, lambda local: local), lambda flow: False)
    talk, alice, _, _ = a_call(tmp_path)
    dialogs = list(talk.core.dialogs)
    room.calls(dialogs, alice.flow, 0.0)
    assert room.gauges(12 * 3600.0 - 1)["nat_traversal:dialog_endpoints"] == 1
    assert room.gauges(12 * 3600.0)["nat_traversal:dialog_endpoints"] == 0


# -- what is sent ------------------------------------------------------------------------------------


def test_the_request_is_a_notify_that_asks_for_nothing(tmp_path: Path) -> None:
    talk = talk_of(tmp_path, OURS)
    bob = talk.phone("bob", nat=True)
    talk >> register(bob)
    (at, sent), *_ = beats(talk, 26.0)
    assert at == bob.at
    assert (sent.method, sent.uri) == ("NOTIFY", f"sip:{bob.at}")
    assert sent.headers.get("Event") == "keep-alive"
    assert sent.headers.max_forwards == 70
    assert str(sent.headers.from_.uri) == f"sip:keepalive@{SERVER.host}"
    assert sent.headers.from_.tag
    assert str(sent.headers.to.uri) == f"sip:{bob.at}"
    assert len(sent.headers.vias) == 1
    assert sent.headers.get("Contact") is None
    assert sent.headers.cseq.number == 1


def test_method_sender_and_more_headers_are_the_operators(tmp_path: Path) -> None:
    keep = Settings(25.0, "OPTIONS", "sip:edge@example.net", "X-One: 1\r\nX-Two: 2\r\n")
    talk = Talk(script=scripted(tmp_path, OURS), keep=keep, auth=False)
    bob = talk.phone("bob")
    talk >> register(bob)
    (_, sent), *_ = beats(talk, 26.0)
    assert (sent.method, sent.headers.get("Event")) == ("OPTIONS", None)
    assert str(sent.headers.from_.uri) == "sip:edge@example.net"
    assert (sent.headers.get("X-One"), sent.headers.get("X-Two")) == ("1", "2")


def test_ipv6_endpoints_are_kept_as_well(tmp_path: Path) -> None:
    talk = talk_of(tmp_path, OURS)
    bob = talk.phone("bob", at=Addr("2001:db8::77", 5070))
    talk >> register(bob) << (bob, 200)
    (at, sent), *_ = beats(talk, 26.0)
    assert (at, sent.uri) == (bob.at, "sip:[2001:db8::77]:5070")
    assert sent.headers.via.host == "2001:db8::1"
    assert talk.kept.socket_of(bob.at) == "udp:[2001:db8::1]:5060"


@pytest.mark.parametrize("status", [200, 404, 481, 489])
def test_any_answer_is_swallowed(tmp_path: Path, status: int) -> None:
    talk = talk_of(tmp_path, OURS)
    bob = talk.phone("bob")
    talk >> register(bob)
    (_, sent), *_ = beats(talk, 26.0)
    talk >> bob.reply(sent, status)
    talk.silent()
    assert talk.core.counters["core:drop_replies"] == 0


def test_what_is_no_answer_of_ours_goes_on(tmp_path: Path) -> None:
    talk = talk_of(tmp_path, OURS)
    bob = talk.phone("bob")
    talk >> register(bob)
    (_, sent), *_ = beats(talk, 26.0)
    octets = bob.reply(sent, 200).octets
    call_id = sent.headers.call_id.encode()
    for old, new in ((call_id, b"else"), (b"1 NOTIFY", b"1 INFO"), (b"1 NOTIFY", b"2 NOTIFY")):
        before = talk.core.counters["core:drop_replies"]
        talk >> Packet(bob, octets.replace(old, new))
        assert talk.core.counters["core:drop_replies"] == before + 1


def test_a_phone_that_nathelper_pings_is_not_sent_both(tmp_path: Path) -> None:
    talk = talk_of(tmp_path, OURS, ping=25.0)
    bob = talk.phone("bob")
    talk >> register(bob) << (bob, 200)
    assert kept(talk) == (1, 1, 0, 0)
    assert {sent.method for _, sent in beats(talk, 60.0)} == {"OPTIONS"}
    talk.core.unregister(talk.core.usrloc.get_all(), talk.now)
    assert {sent.method for _, sent in beats(talk, 60.0)} == {"NOTIFY"}


# -- the table ---------------------------------------------------------------------------------------


def room_of(count: int) -> Traversal:
    room = Traversal(KEEP, Beats(KEEP, bytes, lambda local: local), lambda flow: False)
    rows = (
        Row(Flow("udp", SERVER, Addr(f"198.51.{n // 250}.{n % 250}", 40000)), 1e6, 0.0) for n in range(count)
    )
    assert room.restore(rows, 0.0) == count
    return room


def test_each_endpoint_is_visited_once_an_interval_and_evenly() -> None:
    room, now = room_of(3000), 1000.0
    seen: Counter[Addr] = Counter()
    seconds: Counter[int] = Counter()
    while now < 1050.0:
        for flow, _ in room.due(now):
            seen[flow.remote] += 1
            seconds[int(now)] += 1
        due = room.deadline(now)
        assert due is not None
        now = due
    assert len(seen) == 3000
    assert set(seen.values()) <= {2, 3}
    assert sum(seen.values()) == pytest.approx(6000, abs=40)
    assert all(60 < seconds[second] < 190 for second in range(1001, 1049))


def test_a_late_caller_gets_it_in_portions() -> None:
    room = room_of(3000)
    room.due(1000.0)
    first = room.due(1400.0)
    assert 1000 <= len(first) < 1030
    due = room.deadline(1400.0)
    assert due is not None
    assert due < 1400.1


def test_the_table_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traversal, "MOST", 2)
    room = room_of(2)
    row = Row(Flow("udp", SERVER, Addr("192.0.2.7", 5060)), 1e6, 0.0)
    assert room.restore(iter([row]), 0.0) == 0
    gauges = room.gauges(0.0)
    assert gauges["nat_traversal:keepalive_endpoints"] == 2
    assert gauges["nat_traversal:refused_endpoints"] == 1


def test_scripts_can_ask_by_which_socket_an_endpoint_is_kept(tmp_path: Path) -> None:
    text = OURS.replace(
        "return Save()", "return Save() if call.method == 'REGISTER' else Reply(404, ask(call))"
    )
    text += "def ask(call):\n    return call.keepalive_socket(call.source_uri) or 'none'\n"
    talk = talk_of(tmp_path, text)
    bob, carol = talk.phone("bob", nat=True), talk.phone("carol")
    talk >> register(bob) << (bob, 200)
    for phone, said in ((bob, f"udp:{SERVER}"), (carol, "none")):
        talk >> phone.request("MESSAGE", f"sip:x@{SERVER.host}")
        answer = talk.response(phone, 404)
        assert isinstance(answer, Response)
        assert answer.reason == said
