"""What a script wishes of the relay, granted: whose packets are believed, what descriptions say, ptime."""

from __future__ import annotations

import json

import pytest
from relay_talk import KEY, RELAY, Talk, sdp

from edgesip.address import Addr
from edgesip.relay.core import Refusal
from edgesip.relay.session import Session

PRIVATE = "192.168.1.10"


def body(result: bytes | Refusal) -> bytes:
    assert isinstance(result, bytes)
    return result


def session(talk: Talk) -> Session:
    return talk.core._sessions[KEY]


# zNN: data for whoever repacketises.


def test_znn_is_of_the_leg_whose_sender_asked_for_it() -> None:
    talk = Talk()
    talk.invite(flags="z40")
    talk.answer(flags="z20")
    assert (session(talk).caller.ptime, session(talk).branches["b1"].leg.ptime) == (40, 20)


def test_znn_of_a_refused_reinvite_changes_nothing() -> None:
    talk = Talk()
    talk.invite()
    talk.answer()
    talk.invite(talk.caller.sdp(4100), flags="z40")
    assert session(talk).caller.ptime == 0
    talk.core.reject(KEY, "b1", "caller", talk.now)
    talk.invite(talk.caller.sdp(4200))
    talk.answer()
    assert session(talk).caller.ptime == 0


def test_flags_hold_until_others_are_given() -> None:
    talk = Talk()
    talk.invite(flags="z40")
    talk.answer()
    talk.invite(talk.caller.sdp(4100))
    talk.answer()
    assert session(talk).caller.ptime == 40
    talk.invite(talk.caller.sdp(4200), flags="")
    talk.answer()
    assert session(talk).caller.ptime == 0


# Whose packets are believed.


def test_an_asymmetric_phone_sends_from_one_port_and_receives_at_another() -> None:
    talk = Talk()
    talk.invite()
    talk.answer(flags="a")
    elsewhere = Addr(talk.callee.said.host, 9000)
    assert talk.callee.speak(5, source=elsewhere) == 5
    assert talk.caller.speak(5) == 5
    assert {to for _, to, _ in talk.sent if to.host == elsewhere.host} == {talk.callee.said}
    talk.wait(4.0)
    assert talk.callee.speak(5, source=elsewhere) == 5
    assert talk.caller.speak(5) == 5
    assert talk.leg("caller")["carried_by"] == "user"
    assert len(talk.callee.inbox) == 10, "the settled path sends to where its SDP says, too"


def test_an_asymmetric_phone_is_not_heard_from_another_host() -> None:
    talk = Talk()
    talk.invite()
    talk.answer(flags="a")
    assert talk.callee.speak(5, source=Addr("203.0.113.99", 9000)) == 0


def test_endpoint_learning_off_believes_one_port() -> None:
    talk = Talk()
    talk.invite()
    talk.answer(flags="endpoint-learning=off")
    assert talk.callee.speak(5, source=Addr(talk.callee.said.host, 9000)) == 0
    assert talk.callee.speak(5) == 5


@pytest.mark.parametrize(("flags", "goes_to"), [("", "203.0.113.20"), ("r", PRIVATE)])
def test_r_sends_to_the_address_of_sdp_whatever_it_is(flags: str, goes_to: str) -> None:
    talk = Talk()
    talk.invite()
    talk.answer(sdp(PRIVATE, 4200), flags=flags)
    assert talk.caller.speak(5) == 5
    assert talk.packets_to(goes_to) == 5


# What descriptions say.


def test_o_and_c_are_rewritten_where_they_are_wished_in_both_directions() -> None:
    talk = Talk()
    both = sdp("198.51.100.10", 4000, lines=("c=IN IP4 198.51.100.10",))
    plain, wished = Talk(), talk
    left = body(plain.invite(both))
    assert b"o=- 1 1 IN IP4 198.51.100.10\r\n" in left
    assert b"s=-\r\nc=IN IP4 198.51.100.10\r\n" in left
    right = body(wished.invite(both, flags="oc"))
    assert f"o=- 1 1 IN IP4 {RELAY}\r\n".encode() in right
    assert f"s=-\r\nc=IN IP4 {RELAY}\r\n".encode() in right
    assert f"o=- 1 1 IN IP4 {RELAY}\r\n".encode() in body(wished.answer())


def test_another_address_may_stand_in_it() -> None:
    talk = Talk()
    assert b"c=IN IP4 203.0.113.77\r\n" in body(talk.invite(flags="media-address=203.0.113.77"))
    assert f"c=IN IP4 {RELAY}\r\n".encode() in body(talk.answer())


def test_what_is_relayed_says_so_once() -> None:
    talk = Talk(mark=b"a=nortpproxy:yes")
    first = body(talk.invite())
    assert first.endswith(b"a=nortpproxy:yes\r\n")
    assert body(talk.answer(first.replace(b"192.0.2.1", b"203.0.113.20"))).count(b"a=nortpproxy:yes") == 1


def test_a_body_that_nothing_is_relayed_of_does_not_say_so() -> None:
    talk = Talk(mark=b"a=nortpproxy:yes")
    refused = sdp("198.51.100.10", 0)
    assert talk.invite(refused) == refused


def test_a_description_without_its_last_line_end_gets_the_mark_on_a_line_of_its_own() -> None:
    talk = Talk(mark=b"a=nortpproxy:yes")
    assert body(talk.invite(talk.caller.sdp()[:-2])).endswith(b"\r\na=nortpproxy:yes\r\n")


# Records.


def test_wishes_outlive_the_process() -> None:
    talk = Talk(mark=b"a=nortpproxy:yes")
    talk.invite(flags="oz40")
    talk.answer(flags="a")
    before = session(talk)
    again = Session.from_record(json.loads(json.dumps(before.record(500.0))), 500.0)
    assert (again.style, again.caller.ptime) == (before.style, 40)
    leg, line = again.branches["b1"].leg, again.branches["b1"].leg.lines[0]
    assert (leg.trust, leg.learn, line.rtp.signalled) == (
        True,
        before.branches["b1"].leg.learn,
        before.branches["b1"].leg.lines[0].rtp.signalled,
    )
