"""Without a transaction: answers and their ACKs, copies and the answers to them; Record-Routes and Routes."""

from __future__ import annotations

from pathlib import Path

import pytest
from talk import SDP, SERVER, Packet, Talk

from edgesip.address import Addr
from edgesip.script import Script, load
from edgesip.signal.proxy.record_route import RrSettings
from edgesip.signal.wire.headers import Headers, replaced
from edgesip.signal.wire.message import Request, Response, parse

HOST = Addr("192.0.2.1", 5060)


def scripted(tmp_path: Path, text: str) -> Script:
    path = tmp_path / "route.py"
    path.write_text("from edgesip.script import *\n" + text)
    return load(path)


def ack_of(invite: Packet, response: Response, tag: str = "") -> Packet:
    request = parse(invite.octets)
    assert isinstance(request, Request)
    fields = replaced(request.headers.fields, "CSeq", [f"{request.headers.cseq.number} ACK"])
    fields = replaced(fields, "Via", ["SIP/2.0/UDP 192.168.1.10;branch=z9hG4bKother"])
    to = response.headers.get("To") or ""
    fields = replaced(fields, "To", [to.replace(response.headers.to.tag, tag) if tag else to])
    return Packet(invite.phone, bytes(Request("ACK", request.uri, Headers(fields), b"")))


def test_the_ack_of_our_own_answer_is_known_by_its_tag_and_goes_nowhere() -> None:
    talk = Talk()
    alice = talk.phone("alice")
    invite = alice.invite("bob")
    talk >> invite
    challenge = talk.response(alice, 407)
    talk >> ack_of(invite, challenge)
    assert talk.core.counters["sl:received_ACKs"] == 1
    talk >> ack_of(invite, challenge, "forged")
    assert talk.core.counters["sl:received_ACKs"] == 1
    assert talk.core.counters["sl:407_replies"] == 1
    talk.silent()


def test_a_stateless_copy_and_its_answer_leave_nothing_behind(tmp_path: Path) -> None:
    text = f"def request(call):\n    return Forward(('sip:d@{HOST.host}',), stateless=True)\n"
    talk = Talk(script=scripted(tmp_path, text))
    alice, desk = talk.phone("alice", nat=True), talk.phone("d", at=HOST)
    packet = alice.request("MESSAGE", f"sip:bob@{SERVER.host}")
    talk >> packet
    copy = talk.request(desk, "MESSAGE")
    talk >> packet
    again = talk.request(desk, "MESSAGE")
    assert bytes(copy) == bytes(again)
    assert len(talk.core.transactions) == 0
    answer = desk.reply(copy, 200)
    talk >> answer
    back = talk.response(alice, 200)
    assert len(back.headers.vias) == 1
    for bent in (
        answer.octets.replace(str(alice.at.port).encode(), b"5999"),
        answer.octets.replace(alice.at.host.encode(), b"192.0.2.99"),
        answer.octets.replace(b"z9hG4bKsl0.", b"z9hG4bKsl0.0"),
        answer.octets.replace(b"z9hG4bKsl0.", b"z9hG4bKsl9."),
    ):
        talk >> Packet(desk, bent)
    talk.silent()


def test_a_cancel_takes_the_way_of_its_stateless_invite(tmp_path: Path) -> None:
    text = f"def request(call):\n    return Forward(('sip:d@{HOST.host}',), stateless=True)\n"
    from edgesip.signal.transaction.settings import TmSettings

    talk = Talk(script=scripted(tmp_path, text), tm=TmSettings(unmatched_cancel=1))
    alice, desk = talk.phone("alice"), talk.phone("d", at=HOST)
    invite = alice.invite("bob", body=b"")
    talk >> invite
    there = talk.request(desk, "INVITE")
    talk >> Packet(alice, invite.octets.replace(b"INVITE", b"CANCEL"))
    assert talk.request(desk, "CANCEL").headers.via.branch == there.headers.via.branch
    talk >> desk.reply(there, 487)
    assert talk.response(alice, 487).headers.to.tag == "to-d"
    to = b"To: <sip:bob@203.0.113.1>"
    ack = Packet(alice, invite.octets.replace(b"INVITE", b"ACK").replace(to, to + b";tag=to-d"))
    talk >> ack
    assert talk.request(desk, "ACK").headers.via.branch == there.headers.via.branch
    talk.wait(65)
    talk >> ack
    talk.silent()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (RrSettings(enable_full_lr=True), ["<sip:203.0.113.1:5060;lr=on;ftag=t;did=d>"]),
        (RrSettings(append_fromtag=False), ["<sip:203.0.113.1:5060;lr;did=d>"]),
        (RrSettings(add_username=True), ["<sip:bob@203.0.113.1:5060;lr;ftag=t;did=d>"]),
        (RrSettings(enable_double_rr=2), ["<sip:203.0.113.1:5060;r2=on;lr;ftag=t;did=d>"] * 2),
        (RrSettings(enable_double_rr=0), ["<sip:203.0.113.1:5060;lr;ftag=t;did=d>"]),
    ],
)
def test_styles_of_record_route(settings: RrSettings, expected: list[str]) -> None:
    assert settings.styled(["<sip:203.0.113.1:5060;lr;ftag=t;did=d>"], "bob") == expected


def test_two_record_routes_become_one_where_they_are_not_wanted() -> None:
    two = ["<sip:203.0.113.1:5060;r2=on;lr;ftag=t>", "<sip:203.0.113.1:5060;transport=tcp;r2=on;lr;ftag=t>"]
    assert RrSettings(enable_double_rr=0).styled(two, "") == ["<sip:203.0.113.1:5060;lr;ftag=t>"]
    assert RrSettings(append_fromtag=False).styled(two[:1], "") == ["<sip:203.0.113.1:5060;r2=on;lr>"]


def test_a_strict_router_behind_us_gets_itself_as_request_uri() -> None:
    talk = Talk()
    alice, bob = talk.phone("alice"), talk.phone("bob")
    old = talk.phone("old", at=Addr("192.0.2.77", 5060))
    talk.register(alice, bob)
    invite = talk.call(alice, "bob")
    talk << (alice, 100)
    received = talk.request(bob, "INVITE")
    ok = bob.reply(received, 200, body=SDP)
    talk >> ok
    answer = talk.response(alice, 200)
    talk >> alice.ack(invite, answer) << (bob, "ACK")
    info = alice.within(invite, answer, "INFO")
    info.octets = info.octets.replace(b";lr", b";lr", 1)
    at = info.octets.index(b"Route: ")
    end = info.octets.index(b"\r\n", at)
    info.octets = info.octets[:end] + b", <sip:192.0.2.77>, <sip:last@192.0.2.78;lr>" + info.octets[end:]
    talk >> info
    there = talk.request(old, "INFO")
    assert there.uri == "sip:192.0.2.77"
    assert [str(route.uri) for route in there.headers.routes] == [
        "sip:last@192.0.2.78;lr",
        f"sip:bob@{bob.at}",
    ]


def test_a_request_of_our_own_is_answered_or_times_out() -> None:
    from edgesip.address import Flow
    from edgesip.signal.proxy.fork import Target

    talk = Talk()
    desk, other = talk.phone("d", at=HOST), talk.phone("o", at=Addr("192.0.2.2", 5060))
    hops = tuple(Flow("udp", SERVER, phone.at) for phone in (desk, other))
    target = Target(f"sip:d@{HOST}", hops)
    token = talk.core.orders.request("OPTIONS", target, [("From", "<sip:me@x>;tag=1")], b"", talk.now)
    talk._step(talk.core.news())
    request = talk.request(desk, "OPTIONS")
    assert request.headers.from_.tag == "1"
    assert request.headers.cseq == parse(bytes(request)).headers.cseq
    talk >> desk.reply(request, 200)
    assert [(heard.token, heard.response.status) for heard in talk.heard] == [(token, 200)]
    talk.core.orders.request("INVITE", target, [], b"", talk.now)
    talk._step(talk.core.news())
    octets = talk.sent[0][1]
    talk.request(desk, "INVITE")
    talk._step(talk.core.unsendable(octets, talk.now))
    second = talk.request(other, "INVITE")
    talk >> other.reply(second, 200, headers=[("Record-Route", "<sip:192.0.2.9;lr>")])
    ack = talk.request(other, "ACK")
    assert ack.uri == f"sip:o@{other.at}"
    assert len(ack.headers.routes) == 1
    talk.core.orders.request("NOTIFY", target, [], b"", talk.now)
    talk._step(talk.core.news())
    talk.wait(61)
    assert [heard.response.status for heard in talk.heard] == [200, 200, 408]


def test_orders_end_and_answer_pending_calls(tmp_path: Path) -> None:
    from edgesip.script import Reply

    text = f"def request(call):\n    return Forward(('sip:d@{HOST.host}',))\n"
    talk = Talk(script=scripted(tmp_path, text))
    alice, desk = talk.phone("alice"), talk.phone("d", at=HOST)
    invite = alice.invite("bob", call_id="one")
    talk >> invite << (alice, 100)
    received = talk.request(desk, "INVITE")
    talk >> desk.reply(received, 180) << (alice, 180)
    assert not talk.core.orders.cancel("one", 99, talk.now)
    assert talk.core.orders.reply("one", 1, Reply(486, "Not now"), "mine", b"", talk.now)
    talk._step(talk.core.news())
    talk << (desk, "CANCEL")
    response = talk.response(alice, 486)
    assert (response.reason, response.headers.to.tag) == ("Not now", "mine")
    invite = alice.invite("bob", call_id="two")
    talk >> invite << (alice, 100)
    received = talk.request(desk, "INVITE")
    talk >> desk.reply(received, 180) << (alice, 180)
    assert talk.core.orders.cancel("two", 1, talk.now)
    talk._step(talk.core.news())
    talk << (desk, "CANCEL")
    talk >> desk.reply(received, 487) << (desk, "ACK") << (alice, 487)
