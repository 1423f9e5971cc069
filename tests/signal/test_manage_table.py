"""rtpproxy_manage's table as it should be (its traps): whose media ends when, and whose goes on.

The relay is the real one; a phone's SDP names its own port, so what it is told names the relay's.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import count

import pytest
from talk import SDP, Phone, Talk

from edgesip.relay.core import RelayCore, Settings
from edgesip.relay.path import UserPath
from edgesip.script import Call, Decision, Forward, Reply, Save, Script
from edgesip.signal.wire.message import Request, Response

OTHER = SDP.replace(b"4000", b"4400")
PARALLEL = 2


def relay() -> RelayCore:
    numbers = count(1)
    return RelayCore(
        Settings(True, (), (), 20000, 20999, 60.0, 50),
        bind=lambda pair: True,
        unbind=lambda pair: None,
        path=UserPath(),
        entropy=lambda size: next(numbers).to_bytes(size, "big"),
    )


def routed(call: Call) -> Decision:
    call.rtpproxy_manage()
    phones = call.lookup()
    return Forward(phones) if phones else Reply(404)


class House(Talk):
    """alice and bob, and how many media ports are leased."""

    def __init__(self, request: Callable[[Call], Decision] = routed, **hooks: object) -> None:
        self.relay = relay()
        super().__init__(
            script=Script("test", _admitted(request), **hooks),  # type: ignore[arg-type]
            media=self.relay,
            auth=False,
        )
        self.alice, self.bob = self.phone("alice"), self.phone("bob")
        self.enter(self.alice, self.bob)

    def enter(self, *phones: Phone) -> None:
        for phone in phones:
            self >> phone.request("REGISTER", "sip:203.0.113.1", to=f"<sip:{phone.name}@203.0.113.1>")
            self << (phone, 200)

    @property
    def leased(self) -> int:
        return self.relay.ports(self.now)["leased"]

    def up(self, body: bytes = SDP) -> None:
        """A call from alice to bob, answered and acknowledged."""
        self.invite = self.alice.invite("bob", body=body)
        self >> self.invite << (self.alice, 100)
        self.received = self.request(self.bob, "INVITE")
        self.ok = self.bob.reply(self.received, 200, body=SDP)
        self >> self.ok
        self.answer = self.response(self.alice, 200)
        self >> self.alice.ack(self.invite, self.answer) << (self.bob, "ACK")
        assert self.leased == 4

    def asks(self, method: str, body: bytes = OTHER) -> Request:
        """alice sends this inside the call; how bob gets it."""
        self >> self.alice.within(self.invite, self.answer, method, body=body)
        if method == "INVITE":
            self << (self.alice, 100)
        return self.request(self.bob, method)


def _admitted(request: Callable[[Call], Decision]) -> Callable[[Call], object]:
    """Anybody may register."""
    return lambda call: Save() if call.method == "REGISTER" else request(call)


def port(message: Request | Response) -> int:
    """Where the first line of its SDP says that media goes."""
    found = re.search(rb"m=audio (\d+)", message.body)
    assert found is not None
    return int(found[1])


# Rule 9: what fails inside a call.


@pytest.mark.parametrize("status", [401, 407, 408, 481, 488, 491, 500, 603])
@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_a_change_that_fails_leaves_the_media_as_it_was(method: str, status: int) -> None:
    house = House()
    house.up()
    asked = house.asks(method)
    assert port(asked) == port(house.received)
    house >> house.bob.reply(asked, status)
    if method == "INVITE":
        house << (house.bob, "ACK")
    if (method, status) != ("UPDATE", 408):  # RFC 4320 §4.2: nobody is told
        house << (house.alice, status)
    assert house.leased == 4
    again = house.asks(method, SDP)
    assert port(again) == port(house.received)
    house >> house.bob.reply(again, 200, body=SDP)
    assert port(house.response(house.alice, 200)) == port(house.answer)


def test_ports_for_a_change_that_fails_are_given_back() -> None:
    house = House()
    house.up()
    asked = house.asks("INVITE", SDP + b"m=video 4002 RTP/AVP 96\r\n")
    assert house.leased == 8
    house >> house.bob.reply(asked, 488) << (house.bob, "ACK") << (house.alice, 488)
    assert house.leased == 4


def test_a_change_that_nobody_answers_leaves_the_media_as_it_was() -> None:
    house = House()
    house.up()
    house.asks("UPDATE")
    house.wait(40)
    assert house.leased == 4


def test_the_callee_may_ask_and_be_refused_as_well() -> None:
    house = House()
    house.up()
    house >> house.bob.back(house.received, house.ok, "INVITE", body=OTHER) << (house.bob, 100)
    asked = house.request(house.alice, "INVITE")
    assert port(asked) == port(house.answer)
    house >> house.alice.reply(asked, 488) << (house.alice, "ACK") << (house.bob, 488)
    assert house.leased == 4


# Rule 9 with forks.


def test_a_branch_that_fails_takes_its_own_ports_alone() -> None:
    house = House()
    second = house.phone("bob")
    house.enter(second)
    house >> house.alice.invite("bob") << (house.alice, 100)
    one, two = house.request(house.bob, "INVITE"), house.request(second, "INVITE")
    assert house.leased == 2 + 2 * PARALLEL
    assert port(one) != port(two)
    house >> house.bob.reply(one, 486) << (house.bob, "ACK")
    assert house.leased == 4
    house >> second.reply(two, 200, tag="second", body=SDP) << (house.alice, 200)
    assert house.leased == 4


def test_a_call_that_fails_gives_everything_back() -> None:
    house = House()
    house >> house.alice.invite("bob") << (house.alice, 100)
    received = house.request(house.bob, "INVITE")
    house >> house.bob.reply(received, 183, body=SDP) << (house.alice, 183)
    assert house.leased == 4
    house >> house.bob.reply(received, 603) << (house.bob, "ACK") << (house.alice, 603)
    assert house.leased == 0


# Rule 3: BYE and CANCEL.


@pytest.mark.parametrize("status", [401, 407])
def test_a_bye_that_needs_a_password_ends_nothing(status: int) -> None:
    house = House()
    house.up()
    bye = house.asks("BYE", b"")
    assert house.leased == 4
    house >> house.bob.reply(bye, status) << (house.alice, status)
    assert house.leased == 4
    asked = house.asks("INVITE", SDP)
    assert port(asked) == port(house.received), "the call is as it was"
    house >> house.bob.reply(asked, 200, body=SDP) << (house.alice, 200)
    last = house.asks("BYE", b"")
    house >> house.bob.reply(last, 200) << (house.alice, 200)
    assert house.leased == 0


@pytest.mark.parametrize("status", [200, 403, 408, 481, 500])
def test_a_bye_with_any_other_answer_ends_the_call(status: int) -> None:
    house = House()
    house.up()
    bye = house.asks("BYE", b"")
    house >> house.bob.reply(bye, status)
    if status != 408:
        house << (house.alice, status)
    assert house.leased == 0
    assert [one.ended_by for one in house.core.dialogs] == ["BYE from caller"]


def test_a_bye_without_an_answer_ends_the_call() -> None:
    house = House()
    house.up()
    begun = house.now
    house.asks("BYE", b"")
    house.wait(40)
    assert house.leased == 0
    [dialog] = house.core.dialogs
    assert dialog.end == begun, "the call was over when it was said"


def test_byes_that_cross_end_it_once() -> None:
    house = House()
    house.up()
    first = house.asks("BYE", b"")
    house >> house.bob.back(house.received, house.ok, "BYE")
    second = house.request(house.alice, "BYE")
    house >> house.alice.reply(second, 200) << (house.bob, 200)
    house >> house.bob.reply(first, 481) << (house.alice, 481)
    assert house.leased == 0
    assert [one.ended_by for one in house.core.dialogs] == ["BYE from callee"]
    assert len([one for one in house.happened if one.hook == "dialog_end"]) == 1


def test_cancel_and_its_200_end_the_media_once() -> None:
    house = House()
    invite = house.alice.invite("bob")
    house >> invite << (house.alice, 100)
    received = house.request(house.bob, "INVITE")
    house >> house.bob.reply(received, 180) << (house.alice, 180)
    octets = invite.octets.replace(b"INVITE", b"CANCEL")
    head, _, _ = octets.partition(b"Content-Type")
    house >> type(invite)(house.alice, head + b"Content-Length: 0\r\n\r\n") << (house.alice, 200)
    cancel = house.request(house.bob, "CANCEL")
    house >> house.bob.reply(received, 487) << (house.bob, "ACK") << (house.alice, 487)
    assert house.leased == 0
    house >> house.bob.reply(cancel, 200)
    assert house.leased == 0


# Rules 5, 6, 10: PRACK and UPDATE by the state of the exchange; 12: late offers.


def test_the_answer_to_an_offer_in_a_reliable_183_is_in_prack() -> None:
    house = House()
    invite = house.alice.invite("bob", body=b"")
    house >> invite << (house.alice, 100)
    received = house.request(house.bob, "INVITE")
    assert not received.body
    early = house.bob.reply(received, 183, body=SDP, headers=[("Require", "100rel"), ("RSeq", "1")])
    house >> early
    offered = house.response(house.alice, 183)
    assert port(offered) != 4000
    house >> house.alice.within(invite, offered, "PRACK", body=OTHER)
    prack = house.request(house.bob, "PRACK")
    assert port(prack) not in (4400, port(offered))
    house >> house.bob.reply(prack, 200) << (house.alice, 200)
    [session] = house.relay.named(received.headers.call_id)
    assert session.answered, "both sides are known"
    house >> house.bob.reply(received, 200) << (house.alice, 200)
    assert house.leased == 4


def test_prack_may_offer_anew_once_the_183_has_answered() -> None:
    house = House()
    invite = house.alice.invite("bob")
    house >> invite << (house.alice, 100)
    received = house.request(house.bob, "INVITE")
    house >> house.bob.reply(received, 183, body=SDP, headers=[("Require", "100rel"), ("RSeq", "1")])
    answered = house.response(house.alice, 183)
    house >> house.alice.within(invite, answered, "PRACK", body=OTHER)
    prack = house.request(house.bob, "PRACK")
    assert port(prack) == port(received)
    house >> house.bob.reply(prack, 200, body=SDP)
    assert port(house.response(house.alice, 200)) == port(answered)
    house >> house.bob.reply(received, 200) << (house.alice, 200)
    assert house.leased == 4


def test_an_update_while_it_rings_moves_the_media() -> None:
    house = House()
    invite = house.alice.invite("bob")
    house >> invite << (house.alice, 100)
    received = house.request(house.bob, "INVITE")
    house >> house.bob.reply(received, 183, body=SDP, headers=[("Require", "100rel"), ("RSeq", "1")])
    early = house.response(house.alice, 183)
    house >> house.alice.within(invite, early, "UPDATE", body=OTHER)
    update = house.request(house.bob, "UPDATE")
    house >> house.bob.reply(update, 200, body=SDP) << (house.alice, 200)
    [session] = house.relay.named(received.headers.call_id)
    signalled = session.caller.lines[0].rtp.signalled
    assert signalled is not None
    assert signalled.port == 4400
    house >> house.bob.reply(received, 200, body=SDP) << (house.alice, 200)
    assert signalled.port == 4400


def test_a_late_offer_is_answered_in_ack_and_a_repeated_200_says_the_same() -> None:
    house = House()
    invite = house.alice.invite("bob", body=b"")
    house >> invite << (house.alice, 100)
    received = house.request(house.bob, "INVITE")
    ok = house.bob.reply(received, 200, body=SDP)
    house >> ok
    answer = house.response(house.alice, 200)
    house >> ok
    assert house.response(house.alice, 200).body == answer.body
    house >> house.alice.ack(invite, answer, body=OTHER)
    ack = house.request(house.bob, "ACK")
    assert port(ack) not in (4400, port(answer))
    assert house.leased == 4
    house >> house.alice.ack(invite, answer, body=OTHER)
    assert house.request(house.bob, "ACK").body == ack.body


def test_what_comes_again_gets_the_same_ports() -> None:
    house = House()
    house.up()
    asked = house.asks("INVITE", SDP)
    house >> house.bob.reply(asked, 200, body=SDP)
    assert port(asked) == port(house.received)
    assert house.response(house.alice, 200).body == house.answer.body
    house >> house.ok
    assert house.response(house.alice, 200).body == house.answer.body
    assert house.leased == 4


# Rule 7 has no trap here: new targets after a failure are relayed anew, from the caller's same ports.


def test_new_targets_after_a_failure_keep_the_callers_ports() -> None:
    told: list[int] = []

    def failure(call: Call) -> Decision:
        told.append(call.rtpproxy_manage("o"))
        return Forward(("sip:carol@198.51.100.99:5060",))

    house = House(failure=failure)
    house >> house.alice.invite("bob") << (house.alice, 100)
    received = house.request(house.bob, "INVITE")
    house >> house.bob.reply(received, 183, body=SDP)
    before = house.response(house.alice, 183)
    house >> house.bob.reply(received, 486) << (house.bob, "ACK")
    [(_, octets)] = [one for one in house.sent if b"sip:carol@198.51.100.99" in one[1]]
    assert b"o=- 1 1 IN IP4 203.0.113.1" in octets
    assert told == [1]
    assert house.leased == 4
    assert port(before)
