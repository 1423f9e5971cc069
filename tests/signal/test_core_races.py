"""What crosses on the wire: answers after the end, hops after an answer, credentials and phones that move."""

from __future__ import annotations

from dataclasses import replace

import pytest
from talk import SDP, SERVER, Packet, Talk

from edgesip.address import Addr, Flow
from edgesip.signal.core import Event
from edgesip.signal.decision import Decision
from edgesip.signal.proxy.fork import Target
from edgesip.signal.proxy.inbound import Inbound
from edgesip.signal.wire.headers import Headers, replaced
from edgesip.signal.wire.message import Response, parse


def test_an_answer_repeated_after_the_bye_makes_no_ghost_of_a_call() -> None:
    talk = Talk()
    alice, bob = talk.phone("alice"), talk.phone("bob")
    talk.register(alice, bob)
    invite, answer, _, ok = talk.answered(alice, bob)
    talk >> alice.within(invite, answer, "BYE")
    talk >> bob.reply(talk.request(bob, "BYE"), 200) << (alice, 200)
    talk >> ok
    assert bytes(talk.response(alice, 200)) == bytes(answer)
    assert len(talk.core.dialogs) == 1
    talk.silent().quiet()


def test_an_offer_in_an_answer_that_comes_too_late_opens_nothing() -> None:
    talk = Talk()
    alice, bob = talk.phone("alice"), talk.phone("bob")
    talk.register(alice, bob)
    talk.call(alice, "bob", body=b"")
    talk << (alice, 100)
    received = talk.request(bob, "INVITE")
    talk >> bob.reply(received, 180) << (alice, 180)
    talk.wait(186) << (bob, "CANCEL") << (alice, 408)
    talk >> bob.reply(received, 200, body=SDP)
    assert not talk.media.open
    assert not [dialog for dialog in talk.core.dialogs if dialog.state < 5]


def test_a_reinvite_answered_after_the_bye_opens_nothing() -> None:
    talk = Talk()
    alice, bob = talk.phone("alice"), talk.phone("bob")
    talk.register(alice, bob)
    invite, answer, received, ok = talk.answered(alice, bob)
    talk >> alice.within(invite, answer, "INVITE") << (alice, 100)
    again = talk.request(bob, "INVITE")
    talk >> bob.back(received, ok, "BYE")
    talk >> alice.reply(talk.request(alice, "BYE"), 200) << (bob, 200)
    talk >> bob.reply(again, 200, body=SDP) << (alice, 200)
    assert not talk.media.open


def test_a_response_that_lost_our_via_is_a_bad_gateway() -> None:
    talk = Talk()
    alice, bob = talk.phone("alice"), talk.phone("bob")
    talk.register(alice, bob)
    talk.call(alice, "bob")
    talk << (alice, 100)
    good = parse(bob.reply(talk.request(bob, "INVITE"), 200, body=SDP).octets)
    assert isinstance(good, Response)
    fields = replaced(good.headers.fields, "Via", [str(good.headers.via)])
    talk >> Packet(bob, bytes(Response(200, "OK", Headers(fields), good.body))) << (alice, 502)
    talk.wait(40)
    talk.sent.clear()
    talk.quiet()


@pytest.mark.pure
def test_no_further_hop_is_tried_once_somebody_answered() -> None:
    talk = Talk()
    alice, bob, trunk = talk.phone("alice"), talk.phone("bob"), talk.phone("x", at=Addr("192.0.2.1", 5060))
    talk.register(bob)
    hops = tuple(Flow("udp", SERVER, Addr(f"192.0.2.{number}", 5060)) for number in (1, 2))
    carry = talk.core.carry

    def with_trunk(inbound: Inbound, decision: Decision, targets: list[Target], now: float) -> list[Event]:
        more = [Target("sip:5@192.0.2.1", hops)] if inbound.request.method == "INVITE" and targets else []
        return carry(inbound, decision, [*targets, *more], now)

    talk.core.carry = with_trunk  # type: ignore[method-assign,assignment]
    talk.call(alice, "bob")
    talk << (alice, 100)
    first, second = talk.request(bob, "INVITE"), talk.request(trunk, "INVITE")
    talk >> trunk.reply(second, 180) << (alice, 180)
    talk >> bob.reply(first, 200, body=SDP) << (alice, 200) << (trunk, "CANCEL")
    talk >> trunk.reply(second, 503) << (trunk, "ACK")
    talk.silent()


def test_a_bye_that_was_challenged_may_come_again_with_its_password() -> None:
    talk = Talk()
    alice, bob = talk.phone("alice"), talk.phone("bob")
    talk.register(alice, bob)
    invite, answer, _, _ = talk.answered(alice, bob)
    talk >> alice.within(invite, answer, "BYE")
    talk >> bob.reply(talk.request(bob, "BYE"), 407) << (alice, 407)
    again = alice.within(invite, answer, "BYE")
    again.octets = again.octets.replace(
        b"Contact:", b'Proxy-Authorization: Digest realm="theirs"\r\nContact:'
    )
    talk >> again
    passed = talk.request(bob, "BYE")
    assert passed.headers.get("Proxy-Authorization") == 'Digest realm="theirs"'
    talk >> bob.reply(passed, 200) << (alice, 200)
    talk >> alice.within(invite, answer, "BYE") << (alice, 481)


def test_credentials_for_our_realm_do_not_leave_with_what_follows() -> None:
    talk = Talk()
    alice, bob = talk.phone("alice"), talk.phone("bob")
    talk.register(alice, bob)
    invite, answer, _, _ = talk.answered(alice, bob)
    info = alice.within(invite, answer, "INFO")
    info.octets = info.octets.replace(b"Contact:", b'Proxy-Authorization: Digest realm="edgesip"\r\nContact:')
    talk >> info
    assert talk.request(bob, "INFO").headers.get("Proxy-Authorization") is None


def test_a_bye_of_ours_goes_where_the_phone_registered_last() -> None:
    talk = Talk()
    alice, bob = talk.phone("alice", nat=True), talk.phone("bob", nat=True)
    talk.register(alice, bob)
    talk.answered(alice, bob)
    there = replace(bob, at=Addr(bob.at.host, 61000))
    talk.register(there)
    (dialog,) = talk.core.dialogs
    talk._step(talk.core.media_timeout(dialog.media_key, dialog.branch, talk.now))
    talk << (alice, "BYE") << (there, "BYE")


def test_a_refused_reinvite_does_not_move_the_target() -> None:
    talk = Talk()
    alice, bob = talk.phone("alice"), talk.phone("bob")
    talk.register(alice, bob)
    invite, answer, _, _ = talk.answered(alice, bob)
    (dialog,) = talk.core.dialogs
    before = dialog.caller.contact
    for status, contact in ((488, before), (200, "sip:alice@198.51.100.9:6000")):
        again = alice.within(invite, answer, "INVITE", body=SDP)
        again.octets = again.octets.replace(alice.contact.encode(), b"<sip:alice@198.51.100.9:6000>")
        talk >> again << (alice, 100)
        talk >> bob.reply(talk.request(bob, "INVITE"), status, body=SDP if status == 200 else b"")
        talk.sent.clear()
        assert dialog.caller.contact == contact


def test_answers_of_one_invite_are_bounded() -> None:
    talk = Talk()
    alice, bob = talk.phone("alice"), talk.phone("bob")
    talk.register(alice, bob)
    talk.call(alice, "bob")
    talk << (alice, 100)
    received = talk.request(bob, "INVITE")
    for number in range(100):
        talk >> bob.reply(received, 183, tag=f"early{number}", body=SDP)
    for number in range(100):
        talk >> bob.reply(received, 200, tag=f"final{number}", body=SDP)
    assert len(talk.core.dialogs) <= 33
    assert len(talk.core.dialogs._by_tags) <= 2 * 66


def test_an_update_to_a_branch_that_failed_finds_nothing() -> None:
    talk = Talk()
    alice = talk.phone("alice")
    desks = [talk.phone("bob"), talk.phone("bob")]
    talk.register(*desks)
    invite = talk.call(alice, "bob")
    talk << (alice, 100)
    first, second = (talk.request(desk, "INVITE") for desk in desks)
    talk >> desks[0].reply(first, 183, tag="one", body=SDP)
    early = talk.response(alice, 183)
    talk >> desks[1].reply(second, 180, tag="two") << (alice, 180)
    talk >> desks[0].reply(first, 486, tag="one") << (desks[0], "ACK")
    talk >> alice.within(invite, early, "UPDATE", body=SDP) << (alice, 481)
    assert len(talk.media.open) == 1


def test_a_refused_early_update_rolls_back_its_own_branch() -> None:
    talk = Talk()
    alice = talk.phone("alice")
    desks = [talk.phone("bob"), talk.phone("bob")]
    talk.register(*desks)
    invite = talk.call(alice, "bob")
    talk << (alice, 100)
    first, second = (talk.request(desk, "INVITE") for desk in desks)
    talk >> desks[0].reply(first, 183, tag="one", body=SDP)
    early = talk.response(alice, 183)
    names: list[str] = []
    reject = talk.media.reject

    def rejected(key: tuple[str, str], branch: str, side: str, now: float) -> None:
        names.append(branch)
        reject(key, branch, side, now)

    talk.media.reject = rejected  # type: ignore[method-assign]
    talk >> alice.within(invite, early, "UPDATE", body=SDP)
    update = talk.request(desks[0], "UPDATE")
    talk >> desks[1].reply(second, 200, tag="two", body=SDP) << (alice, 200) << (desks[0], "CANCEL")
    talk >> desks[0].reply(update, 491) << (alice, 491)
    (dialog,) = [one for one in talk.core.dialogs if one.callee.tag == "two"]
    assert names
    assert names != [dialog.branch]
