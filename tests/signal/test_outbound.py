"""Outbound (RFC 5626), as conversations: several flows of one phone, one of which rings at a time."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest
from talk import SERVER, SERVER6, Phone, Talk

from edgesip.address import Addr, Flow
from edgesip.script import Call, FailureCall, Script
from edgesip.signal.decision import Decision, Forward, Reply, Save
from edgesip.signal.location.outbound import FORGED, GOOD, NONE, FlowTokens
from edgesip.signal.location.registrar import Settings
from edgesip.signal.wire.message import Response
from edgesip.signal.wire.uri import parse_uri

INSTANCE = "urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF"
FLOW = Flow("udp", SERVER, Addr("198.51.100.7", 40000))
FLOW6 = Flow("tls", SERVER6, Addr("2001:db8::7", 40001))


def request(call: Call) -> Decision:
    """A registrar and proxy for whoever asks."""
    if call.method == "REGISTER":
        return Save()
    return Forward(phones) if (phones := call.lookup()) else Reply(480)


def house(script: Script | None = None, **settings: object) -> Talk:
    rules = Settings(**{"outbound_mode": 1, **settings})  # type: ignore[arg-type]
    return Talk(script=script or Script("script.py", request, lambda call: Forward()), rules=rules)


def register(
    talk: Talk,
    phone: Phone,
    reg_id: int | str = 1,
    status: int = 200,
    *,
    supported: str = "outbound, path",
    instance: str = INSTANCE,
    call_id: str = "",
    headers: tuple[tuple[str, str], ...] = (),
) -> Response:
    tail = f';+sip.instance="<{instance}>"' if instance else ""
    tail += f";reg-id={reg_id}" if reg_id != "" else ""
    packet = phone.request(
        "REGISTER",
        "sip:example.net",
        to=f"<sip:{phone.name}@example.net>",
        call_id=call_id or f"reg-{phone.at}",
        contact=phone.contact + tail,
        headers=[("Supported", supported), *headers] if supported else headers,
    )
    talk >> packet
    return talk.response(phone, status)


def error(response: Response) -> str:
    return response.headers.get("P-Registrar-Error") or ""


# ---- the terms


def test_the_200_says_that_outbound_was_agreed_on_and_how_often_to_speak() -> None:
    talk = house(flow_timer=120)
    answer = register(talk, talk.phone("bob"))
    assert answer.headers.get("Require") == "outbound"
    assert answer.headers.get("Flow-Timer") == "120"
    assert answer.headers.contacts[0].param("reg-id") == "1"


@pytest.mark.parametrize(("reg_id", "supported"), [("", "outbound"), (1, ""), (1, "path")])
def test_nothing_is_agreed_on_without_a_reg_id_and_support(reg_id: int | str, supported: str) -> None:
    talk = house(flow_timer=120)
    answer = register(talk, talk.phone("bob"), reg_id, supported=supported)
    assert answer.headers.get("Require") is None
    assert answer.headers.get("Flow-Timer") is None
    assert answer.headers.contacts[0].param("reg-id") is None


def test_mode_0_ignores_reg_id_and_420s_who_insists() -> None:
    talk = house(outbound_mode=0)
    bob = talk.phone("bob")
    assert register(talk, bob).headers.contacts[0].param("reg-id") is None
    refused = register(talk, bob, status=420, headers=(("Require", "outbound"),))
    assert refused.headers.get("Unsupported") == "outbound"
    talk = house(outbound_mode=0, regid_mode=1)
    answer = register(talk, talk.phone("bob"))
    assert answer.headers.contacts[0].param("reg-id") == "1"
    assert answer.headers.get("Require") is None


def test_mode_1_takes_who_insists() -> None:
    talk = house()
    assert register(talk, talk.phone("bob"), headers=(("Require", "outbound"),)).status == 200


def test_mode_2_refuses_who_does_not_support_it() -> None:
    talk = house(outbound_mode=2)
    refused = register(talk, talk.phone("bob"), supported="path", status=421)
    assert refused.reason == "Extension Required"
    assert (refused.headers.get("Require"), refused.headers.get("Supported")) == ("outbound", "outbound")
    assert error(refused) == "Outbound required"
    assert len(talk.core.usrloc) == 0


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ((), 439),
        ((("Path", "<sip:192.0.2.1;lr>"),), 439),
        ((("Path", "<sip:192.0.2.1;lr;ob>"),), 200),
        ((("Path", "<sip:192.0.2.2;lr>, <sip:192.0.2.1;lr;ob>"),), 200),
        ((("Path", "<sip:192.0.2.2;lr;ob>, <sip:192.0.2.1;lr>"),), 439),
    ],
)
def test_the_proxy_that_the_phone_spoke_to_has_to_keep_its_flow(
    path: tuple[tuple[str, str], ...], status: int
) -> None:
    talk = house(use_path=True)
    via = ("Via", "SIP/2.0/UDP 192.168.1.10;branch=z9hG4bKphone")
    bob = talk.phone("bob")
    answer = register(talk, bob, status=status, headers=(*path, via))
    if status == 439:
        assert answer.reason == "First Hop Lacks Outbound Support"
        assert register(talk, bob, supported="path", headers=(*path, via)).status == 200


def test_a_reg_id_needs_an_instance_and_is_no_0() -> None:
    talk = house()
    assert register(talk, talk.phone("bob"), instance="").headers.contacts[0].param("reg-id") is None
    assert error(register(talk, talk.phone("bob"), 0, 400)) == "Invalid reg-id"


# ---- flows


def test_flows_are_kept_apart_by_reg_id_whatever_their_call_ids() -> None:
    talk = house()
    home, mobile = talk.phone("bob"), talk.phone("bob")
    register(talk, home, 1)
    answer = register(talk, mobile, 2)
    assert [one.param("reg-id") for one in answer.headers.contacts] == ["1", "2"]
    elsewhere = talk.phone("bob")
    register(talk, elsewhere, 2)
    flows = {one.reg_id: one.flow.remote for one in talk.core.usrloc.get_all()}
    assert flows == {1: home.at, 2: elsewhere.at}


def two_flows(talk: Talk) -> tuple[Phone, Phone, Phone]:
    alice, first, second = talk.phone("alice"), talk.phone("bob"), talk.phone("bob")
    register(talk, first, 1)
    register(talk, second, 2)
    return alice, first, second


def test_a_call_rings_one_flow_and_only_that() -> None:
    talk = house()
    alice, first, _ = two_flows(talk)
    talk >> alice.invite("bob") << (alice, 100)
    talk >> first.reply(talk.request(first, "INVITE"), 486) << (first, "ACK") << (alice, 486)
    talk.silent()


@pytest.mark.parametrize("status", [408, 430])
def test_the_next_flow_is_tried_when_one_has_failed(status: int) -> None:
    talk = house()
    alice, first, second = two_flows(talk)
    talk >> alice.invite("bob") << (alice, 100)
    talk >> first.reply(talk.request(first, "INVITE"), status) << (first, "ACK")
    sent = talk.request(second, "INVITE")
    assert sent.uri == f"sip:bob@{second.inside}"
    talk >> second.reply(sent, 200) << (alice, 200)


@pytest.mark.parametrize("status", [302, 403, 404, 480, 486, 503, 603])
def test_what_the_phone_itself_says_is_no_failure_of_its_flow(status: int) -> None:
    talk = house()
    alice, first, _ = two_flows(talk)
    talk >> alice.invite("bob") << (alice, 100)
    talk >> first.reply(talk.request(first, "INVITE"), status) << (first, "ACK")
    talk << (alice, 500 if status == 503 else status)
    talk.silent()


def test_a_flow_that_is_silent_or_gone_gives_way_to_the_next() -> None:
    talk = house()
    alice, first, second = two_flows(talk)
    talk >> alice.invite("bob") << (alice, 100)
    talk.request(first, "INVITE")
    talk.wait(31)
    while talk.sent[0][0].remote == first.at:
        talk.sent.pop(0)
    talk << (second, "INVITE")
    talk = house()
    alice, second = talk.phone("alice"), talk.phone("bob")
    wired = talk.phone("bob", transport="tcp")
    register(talk, wired, 1)
    register(talk, second, 2)
    talk >> alice.invite("bob") << (alice, 100) << (wired, "INVITE")
    talk.hang(wired) << (second, "INVITE")


def test_the_last_flow_has_the_last_word() -> None:
    talk = house()
    alice, first, second = two_flows(talk)
    talk >> alice.invite("bob") << (alice, 100)
    talk >> first.reply(talk.request(first, "INVITE"), 430) << (first, "ACK")
    talk >> second.reply(talk.request(second, "INVITE"), 430) << (second, "ACK") << (alice, 430)


def test_two_phones_ring_together_each_by_one_flow() -> None:
    talk = house()
    alice, first, second = two_flows(talk)
    desk = talk.phone("bob")
    register(talk, desk, 1, instance="urn:uuid:desk")
    talk >> alice.invite("bob") << (alice, 100)
    ringing = talk.request(first, "INVITE")
    talk << (desk, "INVITE")
    talk >> first.reply(ringing, 430) << (first, "ACK") << (second, "INVITE")
    talk.silent()


def test_a_caller_that_gave_up_hears_no_further_flow() -> None:
    talk = house()
    alice, first, _ = two_flows(talk)
    packet = alice.invite("bob")
    talk >> packet << (alice, 100)
    sent = talk.request(first, "INVITE")
    talk >> first.reply(sent, 180) << (alice, 180)
    cancel = packet.octets.replace(b"INVITE", b"CANCEL")
    talk >> type(packet)(alice, cancel) << (alice, 200) << (first, "CANCEL")
    talk >> first.reply(sent, 430) << (first, "ACK") << (alice, 487)
    talk.silent()


def test_a_script_takes_a_failed_flow_out_of_the_table() -> None:
    def branch_failure(call: FailureCall) -> None:
        if call.t_check_status("403|430"):
            assert call.unregister(ruid=call.ruid)

    script = Script("script.py", request, lambda call: Forward(), branch_failure=branch_failure)
    talk = house(script)
    alice, bob = talk.phone("alice"), talk.phone("bob")
    register(talk, bob, 1)
    talk >> alice.invite("bob") << (alice, 100)
    talk >> bob.reply(talk.request(bob, "INVITE"), 430) << (bob, "ACK") << (alice, 430)
    assert len(talk.core.usrloc) == 0
    assert [note.event for note in talk.notes if "unregistered" in note.event] == ["unregistered by order"]


# ---- tokens


@pytest.mark.parametrize("flow", [FLOW, FLOW6])
def test_a_token_is_its_flow_and_stays_so_over_restarts(flow: Flow) -> None:
    token = FlowTokens(b"secret").token(flow)
    assert FlowTokens(b"secret").flow(token) == flow
    assert FlowTokens(b"another").flow(token) is None


def test_a_token_has_the_form_that_others_know() -> None:
    octets = base64.b64decode(FlowTokens(b"secret").token(FLOW))
    assert len(octets) == 23
    body = bytes([1, 203, 0, 113, 1, 0x13, 0xC4, 198, 51, 100, 7, 0x9C, 0x40])
    key = hashlib.sha1(b"secret").digest()
    assert octets == hmac.digest(key, body, "sha1")[-10:] + body
    assert len(base64.b64decode(FlowTokens(b"secret").token(FLOW6))) == 47


def test_a_token_with_any_other_octet_is_none() -> None:
    tokens = FlowTokens(b"secret")
    octets = base64.b64decode(tokens.token(FLOW))
    for place in range(len(octets)):
        changed = bytearray(octets)
        changed[place] ^= 1
        assert tokens.flow(base64.b64encode(changed).decode()) is None
    for text in ("", "alice", "A" * 32, "A" * 64, "=" * 32, "é" * 32, "A" * 31 + "\n"):
        assert tokens.flow(text) is None


def test_what_routes_say_of_a_flow() -> None:
    tokens = FlowTokens(b"secret")
    token = tokens.token(FLOW)
    said = {
        f"sip:{token}@us;lr;ob": (GOOD, FLOW),
        f"sip:{token}@us;lr": (GOOD, FLOW),
        f"sip:bob@us;lr;flow={token.replace('=', '%3D')}": (GOOD, FLOW),
        "sip:bob@us;lr": (NONE, None),
        "sip:us;lr;ob": (NONE, None),
        "sip:bob@us;lr;ob": (FORGED, None),
        "sip:bob@us;lr;flow=x": (FORGED, None),
    }
    for uri, expected in said.items():
        assert tokens.brought([parse_uri(uri)], FLOW6) == expected, uri
    assert tokens.brought([], FLOW6) == (NONE, None)
    assert tokens.brought([parse_uri(f"sip:{token}@us;lr;ob")], FLOW) == (NONE, None)
    both = f"sip:us;lr{tokens.param(FLOW)}{tokens.param(FLOW6)}"
    assert tokens.brought([parse_uri(both)], FLOW) == (GOOD, FLOW6)
    assert tokens.brought([parse_uri(both)], FLOW6) == (GOOD, FLOW)


# ---- inside a dialog


def test_requests_inside_a_call_take_the_flow_that_opened_it() -> None:
    talk = house()
    alice, bob = talk.phone("alice", nat=True), talk.phone("bob")
    register(talk, bob, 1)
    packet = alice.invite("bob", contact=f"<sip:alice@{alice.inside};ob>")
    talk >> packet << (alice, 100)
    received = talk.request(bob, "INVITE")
    assert "flow=" in str(received.headers.record_routes[0])
    ok = bob.reply(received, 200)
    talk >> ok
    answer = talk.response(alice, 200)
    talk >> alice.ack(packet, answer) << (bob, "ACK")
    talk >> bob.back(received, ok, "BYE")
    assert talk.request(alice, "BYE").uri == f"sip:alice@{alice.inside};ob"


def test_a_contact_without_ob_leaves_record_route_as_it_is() -> None:
    talk = house()
    alice, bob = talk.phone("alice"), talk.phone("bob")
    register(talk, bob, 1)
    talk >> alice.invite("bob") << (alice, 100)
    assert "flow=" not in str(talk.request(bob, "INVITE").headers.record_routes[0])


def test_a_call_goes_on_over_the_flow_that_it_was_answered_by() -> None:
    def in_dialog(call: Call) -> Decision:
        return Forward(call.lookup()) if call.is_gruu() else Forward()

    talk = house(Script("script.py", request, in_dialog))
    alice, first, second = two_flows(talk)
    packet = alice.invite("bob")
    talk >> packet << (alice, 100)
    talk >> first.reply(talk.request(first, "INVITE"), 430) << (first, "ACK")
    ok = second.reply(talk.request(second, "INVITE"), 200, contact=f"<sip:bob@example.net;gr={INSTANCE}>")
    talk >> ok
    answer = talk.response(alice, 200)
    talk >> alice.ack(packet, answer) << (second, "ACK")
    talk >> alice.within(packet, answer, "INFO")
    talk >> second.reply(talk.request(second, "INFO"), 430) << (first, "INFO")
