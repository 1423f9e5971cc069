"""Early dialogs: each To tag that answers an INVITE is a dialog of its own, whichever branch it came by."""

from __future__ import annotations

from talk import SDP, Phone, Talk

from edgesip.signal.dialog.state import DialogState
from edgesip.signal.wire.message import Request

OTHER = SDP.replace(b"4000", b"6000")


def rung(talk: Talk, phones: int = 1) -> tuple[Phone, list[Phone], object, list[Request]]:
    alice = talk.phone("alice")
    desks = [talk.phone("bob") for _ in range(phones)]
    talk.register(alice, *desks)
    invite = talk.call(alice, "bob")
    talk << (alice, 100)
    return alice, desks, invite, [talk.request(desk, "INVITE") for desk in desks]


def test_a_fork_behind_one_branch_makes_a_dialog_of_each_tag_and_the_losers_go() -> None:
    talk = Talk()
    alice, (bob,), invite, (received,) = rung(talk)
    for tag in ("one", "two"):
        talk >> bob.reply(received, 183, tag=tag, body=SDP) << (alice, 183)
    assert [(one.state, one.callee.tag) for one in talk.core.dialogs] == [(2, "one"), (2, "two")]
    assert len({one.did for one in talk.core.dialogs}) == 1
    talk >> bob.reply(received, 200, tag="two")
    answer = talk.response(alice, 200)
    assert talk.media.log[-1] == ("answer", "callee", "two")
    talk >> alice.ack(invite, answer) << (bob, "ACK")  # type: ignore[arg-type]
    talk.wait(6)
    (left,) = talk.core.dialogs
    assert (left.state, left.callee.tag) == (DialogState.CONFIRMED, "two")


def test_the_answer_without_sdp_takes_the_preview_of_its_own_tag() -> None:
    talk = Talk()
    alice, (bob,), _, (received,) = rung(talk)
    bodies: list[bytes] = []
    answer = talk.media.answer

    def answered(*given: object) -> bytes:
        if given[7]:
            bodies.append(given[4])  # type: ignore[arg-type]
        return answer(*given)  # type: ignore[arg-type]

    talk.media.answer = answered  # type: ignore[method-assign,assignment]
    talk >> bob.reply(received, 183, tag="one", body=SDP) << (alice, 183)
    talk >> bob.reply(received, 183, tag="two", body=OTHER) << (alice, 183)
    talk >> bob.reply(received, 200, tag="one") << (alice, 200)
    assert bodies == [SDP]


def test_the_same_phone_answering_by_two_branches_is_one_call() -> None:
    talk = Talk()
    alice, desks, _, (first, second) = rung(talk, 2)
    talk >> desks[0].reply(first, 200, tag="same", body=SDP)
    answer = talk.response(alice, 200)
    talk >> desks[1].reply(second, 180, tag="same")
    talk << (desks[1], "CANCEL")
    talk >> desks[1].reply(second, 200, tag="same", body=OTHER)
    assert bytes(talk.response(alice, 200)) == bytes(answer)
    (one,) = talk.core.dialogs
    assert one.callee.flow == desks[0].flow
    assert len(talk.media.open) == 1


def test_a_call_whose_only_ringing_branch_fails_is_still_one_call() -> None:
    talk = Talk()
    alice, desks, _, (first, second) = rung(talk, 2)
    talk >> desks[0].reply(first, 180, tag="one") << (alice, 180)
    talk >> desks[0].reply(first, 486, tag="one") << (desks[0], "ACK")
    (call,) = talk.core.dialogs
    assert call.state is DialogState.UNCONFIRMED
    talk >> desks[1].reply(second, 180, tag="two") << (alice, 180)
    (call,) = talk.core.dialogs
    assert (call.state, call.callee.tag) == (DialogState.EARLY, "two")
    talk >> desks[1].reply(second, 486, tag="two") << (desks[1], "ACK") << (alice, 486)
    (call,) = talk.core.dialogs
    assert (call.state, call.ended_by) == (DialogState.DELETED, "486 Busy Here")


def test_an_answer_that_crosses_our_408_is_acknowledged_and_hung_up() -> None:
    talk = Talk()
    alice, (bob,), _, (received,) = rung(talk)
    talk >> bob.reply(received, 180) << (alice, 180)
    talk.wait(185.1) << (bob, "CANCEL") << (alice, 408)
    late = bob.reply(received, 200, body=SDP)
    talk >> late
    ack, bye = talk.request(bob, "ACK"), talk.request(bob, "BYE")
    assert ack.headers.cseq.number == received.headers.cseq.number
    assert bye.headers.cseq.number == received.headers.cseq.number + 1
    assert (ack.uri, ack.headers.to.tag) == (f"sip:bob@{bob.at}", "to-bob")
    talk >> late << (bob, "ACK")
    talk >> bob.reply(bye, 200)
    assert [dialog for dialog in talk.core.dialogs if dialog.state < 5] == []
    talk.wait(40)
    talk.sent.clear()
    talk.quiet()


def test_a_late_offer_that_comes_again_after_its_answer_waits_for_no_other() -> None:
    talk = Talk()
    alice, bob = talk.phone("alice"), talk.phone("bob")
    talk.register(alice, bob)
    invite = talk.call(alice, "bob", body=b"")
    talk << (alice, 100)
    received = talk.request(bob, "INVITE")
    early = bob.reply(received, 183, body=SDP, headers=[("RSeq", "1"), ("Require", "100rel")])
    talk >> early
    first = talk.response(alice, 183)
    talk >> alice.within(invite, first, "PRACK", body=SDP)
    prack = talk.request(bob, "PRACK")
    assert talk.media.log == [("offer", "callee", "to-bob"), ("answer", "caller", "to-bob")]
    talk >> early
    assert talk.response(alice, 183).body == first.body
    assert len(talk.media.log) == 2
    (dialog,) = talk.core.dialogs
    assert dialog.late == ""
    talk >> bob.reply(prack, 200) << (alice, 200)
