"""Calls through the core and the nat-sbc script, told as conversations."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from talk import SDP, SERVER, Packet, Phone, Talk

from edgesip.address import Addr
from edgesip.signal.dialog.table import DialogSettings
from edgesip.signal.proxy.upstream import Upstream
from edgesip.signal.transaction.settings import TmSettings
from edgesip.signal.wire.headers import Headers, replaced
from edgesip.signal.wire.message import Request, Response
from edgesip.signal.wire.uri import parse_uri


def test_a_call_from_invite_to_bye() -> None:
    talk = Talk()
    alice, bob = talk.phone("alice"), talk.phone("bob")
    talk.register(alice, bob)
    invite = talk.call(alice, "bob")
    talk << (alice, 100)
    received = talk.request(bob, "INVITE")
    assert received.uri == f"sip:bob@{bob.at}"
    assert received.headers.max_forwards == 69
    assert received.headers.via.host == SERVER.host
    (route,) = received.headers.record_routes
    assert str(route).startswith(f"<sip:{SERVER};lr;ftag={received.headers.from_.tag};did=")
    assert received.headers.get("Proxy-Authorization") is None
    assert received.body == SDP + b"a=offered-by:caller\r\n"
    talk >> bob.reply(received, 180) << (alice, 180)
    talk >> bob.reply(received, 200, body=SDP)
    answer = talk.response(alice, 200)
    assert len(answer.headers.vias) == 1
    assert answer.body == SDP + b"a=answered-by:callee\r\n"
    talk >> alice.ack(invite, answer) << (bob, "ACK")
    talk >> alice.within(invite, answer, "BYE")
    bye = talk.request(bob, "BYE")
    assert not bye.headers.routes
    talk >> bob.reply(bye, 200) << (alice, 200)
    assert talk.media.log == [
        ("offer", "caller", ""),
        ("answer", "callee", "to-bob"),
        ("close", "", ""),
    ]
    talk.silent().quiet()


def test_the_callee_hangs_up() -> None:
    talk = Talk()
    alice, bob = talk.phone("alice", nat=True), talk.phone("bob", nat=True)
    talk.register(alice, bob)
    _, _, received, ok = talk.answered(alice, bob)
    talk >> bob.back(received, ok, "BYE")
    bye = talk.request(alice, "BYE")
    talk >> alice.reply(bye, 200) << (bob, 200)
    talk.silent().quiet()


def test_phones_behind_nat_see_their_own_uri_and_are_reached_where_they_are() -> None:
    talk = Talk()
    alice, bob = talk.phone("alice", nat=True), talk.phone("bob", nat=True)
    talk.register(alice, bob)
    invite = talk.call(alice, "bob")
    talk << (alice, 100)
    received = talk.request(bob, "INVITE")
    assert received.uri == "sip:bob@192.168.1.10:5060"
    assert received.headers.contacts[0].uri.param("alias") == f"{alice.at.host}~{alice.at.port}~1"
    talk >> bob.reply(received, 200, body=SDP)
    answer = talk.response(alice, 200)
    assert answer.headers.contacts[0].uri.param("alias") == f"{bob.at.host}~{bob.at.port}~1"
    talk >> alice.ack(invite, answer)
    ack = talk.request(bob, "ACK")
    assert ack.uri == "sip:bob@192.168.1.10:5060"


def test_a_late_repetition_of_the_answer_goes_on_as_the_answer_did() -> None:
    """Its first copy may be lost: with a Contact or SDP of its own, the caller would send into the void."""
    talk = Talk()
    alice, bob = talk.phone("alice", nat=True), talk.phone("bob", nat=True)
    talk.register(alice, bob)
    invite = talk.call(alice, "bob")
    talk << (alice, 100)
    received = talk.request(bob, "INVITE")
    ok = bob.reply(received, 200, body=SDP)
    talk >> ok
    first = talk.response(alice, 200)
    for acked in (False, True):
        if acked:
            talk >> alice.ack(invite, first) << (bob, "ACK")
        talk.wait(12.0)
        talk >> ok
        assert bytes(talk.response(alice, 200)) == bytes(first)
    other = replace(ok, octets=ok.octets.replace(b"tag=to-bob", b"tag=nobody"))
    talk >> other
    talk >> alice.within(invite, first, "BYE")
    bye = talk.request(bob, "BYE")
    talk >> bob.reply(bye, 200) << (alice, 200)
    talk.wait(12.0)
    talk >> ok
    talk.silent().quiet()


def test_cancel_before_and_after_the_phone_rings() -> None:
    for rings in (False, True):
        talk = Talk()
        alice, bob = talk.phone("alice"), talk.phone("bob")
        talk.register(alice, bob)
        invite = talk.call(alice, "bob")
        talk << (alice, 100)
        received = talk.request(bob, "INVITE")
        if rings:
            talk >> bob.reply(received, 180) << (alice, 180)
        sent = invite.octets.replace(b"INVITE", b"CANCEL")
        invite.octets, kept = sent, invite.octets
        talk >> invite << (alice, 200)
        invite.octets = kept
        if not rings:
            talk.silent()
            talk >> bob.reply(received, 180)
        cancel = talk.request(bob, "CANCEL")
        assert cancel.headers.via.branch == received.headers.via.branch
        talk >> bob.reply(cancel, 200)
        talk >> bob.reply(received, 487) << (bob, "ACK") << (alice, 487)
        talk >> acked(invite.octets, alice)
        talk.silent().quiet()


def acked(invite: bytes, phone: Phone) -> Packet:
    return Packet(phone, invite.replace(b"INVITE", b"ACK"))


def test_busy_reaches_the_caller_and_leaves_nothing() -> None:
    talk = Talk()
    alice, bob = talk.phone("alice"), talk.phone("bob")
    talk.register(alice, bob)
    talk.call(alice, "bob")
    talk << (alice, 100)
    received = talk.request(bob, "INVITE")
    talk >> bob.reply(received, 486) << (bob, "ACK") << (alice, 486)
    talk.wait(0.5) << (alice, 486)
    talk.sent.clear()
    talk.quiet()


def test_nobody_answers_timer_c() -> None:
    talk = Talk(tm=TmSettings(fr_timer=30, fr_inv_timer=185, wt_timer=5))
    alice, bob = talk.phone("alice"), talk.phone("bob")
    talk.register(alice, bob)
    talk.call(alice, "bob")
    talk << (alice, 100)
    received = talk.request(bob, "INVITE")
    talk >> bob.reply(received, 180) << (alice, 180)
    talk.wait(184.9).silent()
    talk.wait(0.2) << (bob, "CANCEL") << (alice, 408)


def test_a_phone_that_vanished_costs_fr_timer_and_ten_copies_at_most() -> None:
    talk = Talk()
    alice, bob = talk.phone("alice"), talk.phone("bob")
    talk.register(alice, bob)
    talk.call(alice, "bob")
    talk << (alice, 100) << (bob, "INVITE")
    talk.wait(29.9)
    assert [flow.remote for flow, _ in talk.sent] == [bob.at] * 5
    talk.sent.clear()
    talk.wait(0.2) << (alice, 408)


def test_a_three_way_fork_with_two_183s() -> None:
    talk = Talk()
    alice = talk.phone("alice")
    desks = [talk.phone("bob") for _ in range(3)]
    talk.register(alice, *desks)
    invite = talk.call(alice, "bob")
    talk << (alice, 100)
    first, second, third = (talk.request(desk, "INVITE") for desk in desks)
    assert len({request.headers.via.branch for request in (first, second, third)}) == 3
    talk >> desks[0].reply(first, 183, tag="one", body=SDP) << (alice, 183)
    talk >> desks[1].reply(second, 183, tag="two", body=SDP) << (alice, 183)
    talk >> desks[2].reply(third, 486, tag="three") << (desks[2], "ACK")
    talk >> desks[1].reply(second, 200, tag="two", body=SDP)
    answer = talk.response(alice, 200)
    cancel = talk.request(desks[0], "CANCEL")
    assert "Call completed elsewhere" in (cancel.headers.get("Reason") or "")
    talk >> desks[0].reply(cancel, 200)
    talk >> desks[0].reply(first, 487, tag="one") << (desks[0], "ACK")
    talk >> alice.ack(invite, answer) << (desks[1], "ACK")
    assert len(talk.media.open) == 1
    talk >> alice.within(invite, answer, "BYE")
    bye = talk.request(desks[1], "BYE")
    talk >> desks[1].reply(bye, 200) << (alice, 200)
    talk.silent().quiet()


def test_two_phones_pick_up_at_once_and_each_call_is_its_own() -> None:
    talk = Talk()
    alice = talk.phone("alice")
    desks = [talk.phone("bob") for _ in range(2)]
    talk.register(alice, *desks)
    invite = talk.call(alice, "bob")
    talk << (alice, 100)
    first, second = (talk.request(desk, "INVITE") for desk in desks)
    talk >> desks[0].reply(first, 180, tag="one") << (alice, 180)
    talk >> desks[1].reply(second, 180, tag="two") << (alice, 180)
    talk >> desks[0].reply(first, 200, tag="one", body=SDP)
    one = talk.response(alice, 200)
    talk << (desks[1], "CANCEL")
    talk >> desks[1].reply(second, 200, tag="two", body=SDP)
    two = talk.response(alice, 200)
    talk >> alice.ack(invite, one) << (desks[0], "ACK")
    talk >> alice.ack(invite, two) << (desks[1], "ACK")
    talk >> alice.within(invite, two, "BYE")
    bye = talk.request(desks[1], "BYE")
    talk >> desks[1].reply(bye, 200) << (alice, 200)
    assert len(talk.media.open) == 1
    talk >> alice.within(invite, one, "BYE") << (desks[0], "BYE")


def test_the_200_comes_again_as_long_as_the_callee_repeats_it_even_after_wt_timer() -> None:
    talk = Talk()
    alice, bob = talk.phone("alice"), talk.phone("bob")
    talk.register(alice, bob)
    invite = talk.call(alice, "bob")
    talk << (alice, 100)
    received = talk.request(bob, "INVITE")
    ok = bob.reply(received, 200, body=SDP)
    talk >> ok << (alice, 200)
    talk >> ok << (alice, 200)
    talk.wait(8) >> ok
    answer = talk.response(alice, 200)
    talk >> alice.ack(invite, answer) << (bob, "ACK")
    talk >> ok << (alice, 200)  # that ACK may be lost behind us
    talk.silent()


def test_late_offer_is_answered_in_the_ack() -> None:
    talk = Talk()
    alice, bob = talk.phone("alice"), talk.phone("bob")
    talk.register(alice, bob)
    invite = talk.call(alice, "bob", body=b"")
    talk << (alice, 100)
    received = talk.request(bob, "INVITE")
    talk >> bob.reply(received, 200, body=SDP)
    answer = talk.response(alice, 200)
    talk >> alice.ack(invite, answer, body=SDP)
    ack = talk.request(bob, "ACK")
    assert ack.body == SDP + b"a=answered-by:caller\r\n"
    assert talk.media.log == [("offer", "callee", "to-bob"), ("answer", "caller", "to-bob")]


def test_a_refused_reinvite_rolls_its_offer_back_and_the_call_goes_on() -> None:
    talk = Talk()
    alice, bob = talk.phone("alice"), talk.phone("bob")
    talk.register(alice, bob)
    invite, answer, _, _ = talk.answered(alice, bob)
    talk >> alice.within(invite, answer, "INVITE", body=SDP) << (alice, 100)
    again = talk.request(bob, "INVITE")
    assert not again.headers.record_routes
    talk >> bob.reply(again, 488) << (bob, "ACK") << (alice, 488)
    assert talk.media.log[-2:] == [("offer", "caller", "to-bob"), ("reject", "", "")]
    assert len(talk.media.open) == 1


def test_a_reinvite_from_the_callee() -> None:
    talk = Talk()
    alice, bob = talk.phone("alice", nat=True), talk.phone("bob", nat=True)
    talk.register(alice, bob)
    _, _, received, ok = talk.answered(alice, bob)
    talk >> bob.back(received, ok, "INVITE", body=SDP) << (bob, 100)
    again = talk.request(alice, "INVITE")
    assert again.headers.contacts[0].uri.param("alias")
    talk >> alice.reply(again, 200, body=SDP)
    response = talk.response(bob, 200)
    assert response.headers.contacts[0].uri.param("alias")
    assert talk.media.log[-2:] == [("offer", "callee", "to-bob"), ("answer", "caller", "to-bob")]


def test_stray_requests_of_no_dialog_get_481_and_a_stray_ack_nothing() -> None:
    talk = Talk()
    mallory = talk.phone("mallory")
    for method in ("BYE", "INVITE", "INFO", "REFER", "UPDATE"):
        talk >> mallory.request(method, f"sip:bob@{SERVER.host}", to="<sip:bob@x>;tag=nobody")
        talk << (mallory, 481)
    talk >> mallory.request("ACK", f"sip:bob@{SERVER.host}", to="<sip:bob@x>;tag=nobody")
    talk >> mallory.request("CANCEL", f"sip:bob@{SERVER.host}") << (mallory, 481)
    talk.silent()


def test_a_call_without_media_for_too_long_is_ended_on_both_sides() -> None:
    talk = Talk()
    alice, bob = talk.phone("alice", nat=True), talk.phone("bob", nat=True)
    talk.register(alice, bob)
    talk.answered(alice, bob)
    dialog = next(iter(talk.core.dialogs))
    talk._step(talk.core.media_timeout(dialog.key, dialog.branch, talk.now))
    to_alice = talk.request(alice, "BYE")
    to_bob = talk.request(bob, "BYE")
    assert to_alice.uri == "sip:alice@192.168.1.10:5060"
    assert to_alice.headers.from_.tag == "to-bob"
    assert to_bob.headers.cseq.number > 2
    talk >> alice.reply(to_alice, 200)
    talk >> bob.reply(to_bob, 200)
    talk.silent().quiet()


def test_lifetime_ends_a_call() -> None:
    talk = Talk(dialog=DialogSettings(default_timeout=100))
    alice, bob = talk.phone("alice"), talk.phone("bob")
    talk.register(alice, bob)
    talk.answered(alice, bob)
    talk.wait(99).silent()
    talk.wait(2) << (alice, "BYE") << (bob, "BYE")


def test_an_unacknowledged_call_is_ended() -> None:
    talk = Talk()
    alice, bob = talk.phone("alice"), talk.phone("bob")
    talk.register(alice, bob)
    talk.call(alice, "bob")
    talk << (alice, 100)
    talk >> bob.reply(talk.request(bob, "INVITE"), 200, body=SDP) << (alice, 200)
    talk.wait(71) << (alice, "BYE") << (bob, "BYE")


@pytest.mark.parametrize(("status", "retry"), [(503, 5), (488, None)])
def test_media_that_is_refused_refuses_the_call(status: int, retry: int | None) -> None:
    class Refusal:
        def __init__(self) -> None:
            self.status, self.reason, self.retry_after = status, "No", retry

    talk = Talk()
    alice, bob = talk.phone("alice"), talk.phone("bob")
    talk.register(alice, bob)
    talk.media.refusal = Refusal()
    talk.call(alice, "bob")
    talk << (alice, 100)
    response = talk.response(alice, status)
    assert response.headers.get("Retry-After") == (str(retry) if retry else None)
    talk.sent.clear()
    talk.wait(40)
    talk.sent.clear()
    talk.quiet()


def test_an_alias_cannot_send_us_to_ourselves_or_nowhere() -> None:
    talk = Talk()
    alice, bob = talk.phone("alice"), talk.phone("bob")
    talk.register(alice, bob)
    _, answer, _, _ = talk.answered(alice, bob)
    for alias in ("0.0.0.0~5060~1", "127.0.0.1~5060~1", "203.0.113.1~5060~1", "224.0.0.1~5060~1"):
        packet = alice.request(
            "INFO",
            f"sip:bob@192.168.1.10;alias={alias}",
            call_id=answer.headers.call_id,
            from_=answer.headers.get("From") or "",
            to=answer.headers.get("To") or "",
        )
        talk >> packet
        flow, octets = talk.sent.pop(0)
        assert flow.remote == alice.at
        assert octets.startswith((b"SIP/2.0 400", b"SIP/2.0 478"))
    talk.silent()


def test_source_port_zero_and_short_datagrams_are_nothing() -> None:
    talk = Talk()
    alice = talk.phone("alice", at=Addr("198.51.100.9", 5060))
    for octets in (b"", b"\r\n\r\n", b"\0\0\0\0", b"jaK", b"\r\n" * 40):
        talk >> Packet(alice, octets)
    talk.silent()


def test_a_call_that_comes_round_again_through_a_proxy_is_two_turns_of_one_spiral() -> None:
    talk = Talk()
    bob = talk.phone("bob")
    proxy = talk.phone("proxy", at=Addr("192.0.2.50", 5060))
    talk.rooms = replace(
        talk.rooms,
        upstream=Upstream(parse_uri("sip:192.0.2.50"), re.compile("[0-9]+"), frozenset({"192.0.2.50"})),
    )
    alice = talk.phone("alice")
    talk.register(bob)
    invite = talk.call(alice, "5551")
    talk << (alice, 100)
    there = talk.request(proxy, "INVITE")
    fields = [
        ("Via", "SIP/2.0/UDP 192.0.2.50;branch=z9hG4bKproxy"),
        ("Record-Route", "<sip:192.0.2.50;lr>"),
        *there.headers.fields,
    ]
    body = there.body
    talk >> Packet(proxy, bytes(Request("INVITE", f"sip:bob@{SERVER.host}", Headers(tuple(fields)), body)))
    talk << (proxy, 100)
    received = talk.request(bob, "INVITE")
    assert len({key for key, _ in talk.media.open}) == 2
    talk >> bob.reply(received, 200, body=SDP)
    back = talk.response(proxy, 200)
    kept = [item for item in back.headers.fields if "z9hG4bKproxy" not in item[1]]
    talk >> Packet(proxy, bytes(Response(200, "OK", Headers(tuple(kept)), back.body)))
    answer = talk.response(alice, 200)
    assert len(answer.headers.record_routes) == 3
    for method in ("ACK", "BYE"):
        cseq = answer.headers.cseq.number if method == "ACK" else 0
        talk >> alice.within(invite, answer, method, cseq=cseq)
        passing = talk.request(proxy, method)
        assert [route.uri.host for route in passing.headers.routes] == ["192.0.2.50", SERVER.host]
        routes = [str(route) for route in passing.headers.routes[1:]]
        fields = [
            ("Via", f"SIP/2.0/UDP 192.0.2.50;branch=z9hG4bKproxy{method}"),
            *replaced(passing.headers.fields, "Route", routes),
        ]
        talk >> Packet(proxy, bytes(Request(method, passing.uri, Headers(tuple(fields)), b"")))
        received = talk.request(bob, method)
    assert len({key for key, _ in talk.media.open}) == 2
    talk >> bob.reply(received, 200)
    back = talk.response(proxy, 200)
    kept = [item for item in back.headers.fields if "z9hG4bKproxyBYE" not in item[1]]
    talk >> Packet(proxy, bytes(Response(200, "OK", Headers(tuple(kept)), b""))) << (alice, 200)
    talk.silent()
    assert not talk.media.open
