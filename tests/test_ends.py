"""Every way a call can end, with the real relay behind the real core: nothing is left of any of them."""

from __future__ import annotations

import gc
import random
from collections.abc import Callable
from itertools import count

import pytest
from talk import SDP, Packet, Phone, Talk

from edgesip.relay.core import RelayCore, Settings
from edgesip.relay.path import UserPath
from edgesip.signal.dialog.table import DialogSettings
from edgesip.signal.wire.message import Request, Response

HOLD = SDP.replace(b"m=audio 4000 RTP/AVP 0\r\n", b"m=audio 4000 RTP/AVP 0\r\na=sendonly\r\n")
REFUSED = SDP.replace(b"m=audio 4000", b"m=audio 0")
BAD = b"v=0\r\nthis is not SDP\r\n"


class House(Talk):
    """A talk whose media is the relay itself; its ports are numbers only."""

    def __init__(self, ports: int = 400, dialog: DialogSettings | None = None) -> None:
        super().__init__(dialog=dialog)
        serial = count(1)
        relay = RelayCore(
            Settings(True, (), (), 20000, 20000 + ports - 1, 60.0, ports // 4),
            bind=lambda pair: True,
            unbind=lambda pair: None,
            path=UserPath(),
            entropy=lambda size: next(serial).to_bytes(size, "big"),
        )
        self.relay = relay
        self.core._proxy.calls.media = relay

    def drain(self) -> None:
        self.sent.clear()

    def clean(self) -> None:
        """Half a minute after everything, every table is as empty as it was."""
        self.wait(400)
        self.sent.clear()
        ports = self.relay.ports(self.now)
        assert ports["leased"] == 0, self.relay.sessions(self.now)
        assert ports["free"] == ports["total"]
        core = self.core
        assert len(core.transactions) == 0
        assert len(core.dialogs) == 0
        assert core._waiting == {}
        assert core.saver.unstored == {}
        assert core.dialogs._by_tags == {}
        assert core.dialogs._by_call == {}
        assert len(core.dialogs._timers) == 0
        assert len(core.transactions._timers) == 0
        assert self.relay._sessions == {}
        assert self.relay.packets.ports == 0


Way = Callable[[House, Phone, Phone], None]


def rung(house: House, alice: Phone, bob: Phone, body: bytes = SDP) -> tuple[Packet, Request]:
    invite = house.call(alice, bob.name, body=body)
    house << (alice, 100)
    received = house.request(bob, "INVITE")
    house >> bob.reply(received, 180) << (alice, 180)
    return invite, received


def up(house: House, alice: Phone, bob: Phone) -> tuple[Packet, Response, Request, Packet]:
    invite, received = rung(house, alice, bob)
    ok = bob.reply(received, 200, body=SDP)
    house >> ok
    answer = house.response(alice, 200)
    house >> alice.ack(invite, answer) << (bob, "ACK")
    return invite, answer, received, ok


def bye_from_caller(house: House, alice: Phone, bob: Phone) -> None:
    invite, answer, _, _ = up(house, alice, bob)
    house >> alice.within(invite, answer, "BYE")
    house >> bob.reply(house.request(bob, "BYE"), 200) << (alice, 200)


def bye_from_callee(house: House, alice: Phone, bob: Phone) -> None:
    _, _, received, ok = up(house, alice, bob)
    house >> bob.back(received, ok, "BYE")
    house >> alice.reply(house.request(alice, "BYE"), 200) << (bob, 200)


def both_hang_up_at_once(house: House, alice: Phone, bob: Phone) -> None:
    invite, answer, received, ok = up(house, alice, bob)
    house >> alice.within(invite, answer, "BYE")
    house >> bob.back(received, ok, "BYE")
    house >> bob.reply(house.request(bob, "BYE"), 200)


def bye_that_nobody_answers(house: House, alice: Phone, bob: Phone) -> None:
    invite, answer, _, _ = up(house, alice, bob)
    house >> alice.within(invite, answer, "BYE")


def bye_before_ack(house: House, alice: Phone, bob: Phone) -> None:
    invite, received = rung(house, alice, bob)
    house >> bob.reply(received, 200, body=SDP)
    answer = house.response(alice, 200)
    house >> alice.within(invite, answer, "BYE")


def busy(house: House, alice: Phone, bob: Phone) -> None:
    _, received = rung(house, alice, bob)
    house >> bob.reply(received, 486)


def refused_for_all(house: House, alice: Phone, bob: Phone) -> None:
    _, received = rung(house, alice, bob)
    house >> bob.reply(received, 603)


def cancelled(house: House, alice: Phone, bob: Phone) -> None:
    invite, received = rung(house, alice, bob)
    house >> Packet(alice, invite.octets.replace(b"INVITE", b"CANCEL")) << (alice, 200)
    house >> bob.reply(house.request(bob, "CANCEL"), 200)
    house >> bob.reply(received, 487)


def cancelled_and_answered_at_once(house: House, alice: Phone, bob: Phone) -> None:
    invite, received = rung(house, alice, bob)
    house >> Packet(alice, invite.octets.replace(b"INVITE", b"CANCEL")) << (alice, 200)
    house << (bob, "CANCEL")
    house >> bob.reply(received, 200, body=SDP)
    answer = house.response(alice, 200)
    house >> alice.ack(invite, answer) << (bob, "ACK")
    house >> alice.within(invite, answer, "BYE")
    house >> bob.reply(house.request(bob, "BYE"), 200) << (alice, 200)


def cancel_that_nobody_answers(house: House, alice: Phone, bob: Phone) -> None:
    invite, _ = rung(house, alice, bob)
    house >> Packet(alice, invite.octets.replace(b"INVITE", b"CANCEL"))


def one_of_two_that_rang_behind_one_proxy(house: House, alice: Phone, bob: Phone) -> None:
    invite = house.call(alice, bob.name)
    house << (alice, 100)
    received = house.request(bob, "INVITE")
    for tag in ("one", "two"):
        house >> bob.reply(received, 180, tag=tag) << (alice, 180)
    house >> bob.reply(received, 200, tag="one", body=SDP)
    answer = house.response(alice, 200)
    house >> alice.ack(invite, answer) << (bob, "ACK")
    house >> alice.within(invite, answer, "BYE")
    house >> bob.reply(house.request(bob, "BYE"), 200) << (alice, 200)


def never_answered(house: House, alice: Phone, bob: Phone) -> None:
    rung(house, alice, bob)
    house.wait(200)


def never_rings(house: House, alice: Phone, bob: Phone) -> None:
    house.call(alice, bob.name)
    house.wait(40)


def never_acknowledged(house: House, alice: Phone, bob: Phone) -> None:
    _, received = rung(house, alice, bob)
    house >> bob.reply(received, 200, body=SDP)
    house.wait(80)


def silent(house: House, alice: Phone, bob: Phone) -> None:
    up(house, alice, bob)
    house.wait(61)
    for event in house.relay.tick(house.now):
        house._step(house.core.media_timeout(event.key, event.branch, house.now))  # type: ignore[union-attr]


def bad_offer(house: House, alice: Phone, bob: Phone) -> None:
    house.call(alice, bob.name, body=BAD)
    house << (alice, 100) << (alice, 488)


def bad_answer(house: House, alice: Phone, bob: Phone) -> None:
    invite, received = rung(house, alice, bob)
    house >> bob.reply(received, 200, body=BAD)
    answer = house.response(alice, 200)
    house >> alice.ack(invite, answer)
    house >> alice.within(invite, answer, "BYE")


def rejected_stream(house: House, alice: Phone, bob: Phone) -> None:
    invite, received = rung(house, alice, bob)
    house >> bob.reply(received, 200, body=REFUSED)
    answer = house.response(alice, 200)
    house >> alice.ack(invite, answer)
    house >> alice.within(invite, answer, "BYE")


def late_offer(house: House, alice: Phone, bob: Phone) -> None:
    invite, received = rung(house, alice, bob, body=b"")
    house >> bob.reply(received, 200, body=SDP)
    answer = house.response(alice, 200)
    house >> alice.ack(invite, answer, body=SDP) << (bob, "ACK")
    house >> alice.within(invite, answer, "BYE")


def late_offer_never_answered(house: House, alice: Phone, bob: Phone) -> None:
    invite, received = rung(house, alice, bob, body=b"")
    house >> bob.reply(received, 200, body=SDP)
    answer = house.response(alice, 200)
    house >> alice.ack(invite, answer) << (bob, "ACK")
    house >> alice.within(invite, answer, "BYE")


def no_media_at_all(house: House, alice: Phone, bob: Phone) -> None:
    invite, received = rung(house, alice, bob, body=b"")
    house >> bob.reply(received, 200)
    answer = house.response(alice, 200)
    house >> alice.ack(invite, answer) << (bob, "ACK")
    house >> alice.within(invite, answer, "BYE")


def hold_resume_and_bye(house: House, alice: Phone, bob: Phone) -> None:
    invite, answer, _, _ = up(house, alice, bob)
    for body in (HOLD, SDP):
        house >> alice.within(invite, answer, "INVITE", body=body) << (alice, 100)
        house >> bob.reply(house.request(bob, "INVITE"), 200, body=SDP)
        again = house.response(alice, 200)
        house >> alice.ack(invite, again) << (bob, "ACK")
    house >> alice.within(invite, answer, "BYE")


def bye_in_the_middle_of_a_reinvite(house: House, alice: Phone, bob: Phone) -> None:
    invite, answer, received, ok = up(house, alice, bob)
    house >> alice.within(invite, answer, "INVITE", body=HOLD) << (alice, 100)
    again = house.request(bob, "INVITE")
    house >> bob.back(received, ok, "BYE")
    house >> alice.reply(house.request(alice, "BYE"), 200) << (bob, 200)
    house >> bob.reply(again, 487)


def refused_reinvite_then_bye(house: House, alice: Phone, bob: Phone) -> None:
    invite, answer, _, _ = up(house, alice, bob)
    before = house.relay.ports(house.now)["leased"]
    two = SDP + b"m=video 5000 RTP/AVP 96\r\n"
    house >> alice.within(invite, answer, "INVITE", body=two) << (alice, 100)
    house >> bob.reply(house.request(bob, "INVITE"), 488) << (bob, "ACK") << (alice, 488)
    assert house.relay.ports(house.now)["leased"] == before
    house >> alice.within(invite, answer, "BYE")


def reinvite_that_nobody_answers_then_bye(house: House, alice: Phone, bob: Phone) -> None:
    invite, answer, received, ok = up(house, alice, bob)
    house >> alice.within(invite, answer, "INVITE", body=HOLD)
    house.wait(40)
    house.drain()
    house >> bob.back(received, ok, "BYE")


def the_callers_connection_dies(house: House, alice: Phone, bob: Phone) -> None:
    caller = house.phone("alice", transport="tcp")
    house.register(caller)
    rung(house, caller, bob)
    house.hang(caller)


WAYS: tuple[Way, ...] = (
    bye_from_caller,
    bye_from_callee,
    both_hang_up_at_once,
    bye_that_nobody_answers,
    bye_before_ack,
    busy,
    refused_for_all,
    cancelled,
    cancelled_and_answered_at_once,
    cancel_that_nobody_answers,
    one_of_two_that_rang_behind_one_proxy,
    never_answered,
    never_rings,
    never_acknowledged,
    silent,
    bad_offer,
    bad_answer,
    rejected_stream,
    late_offer,
    late_offer_never_answered,
    no_media_at_all,
    hold_resume_and_bye,
    bye_in_the_middle_of_a_reinvite,
    refused_reinvite_then_bye,
    reinvite_that_nobody_answers_then_bye,
    the_callers_connection_dies,
)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_nothing_is_left_of_a_call(way: Way) -> None:
    house = House()
    alice, bob = house.phone("alice", nat=True), house.phone("bob", nat=True)
    house.register(alice, bob)
    way(house, alice, bob)
    house.clean()


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_call_leaves_no_circle(way: Way) -> None:
    """What is over is gone at once: full collections come a minute apart, and a flood does not wait."""
    house = House()
    alice, bob = house.phone("alice", nat=True), house.phone("bob", nat=True)
    house.register(alice, bob)
    gc.collect()
    gc.disable()
    try:
        way(house, alice, bob)
        house.clean()
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        left = {type(one).__name__ for one in gc.garbage if type(one).__module__.startswith("edgesip.")}
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert left == set()


def test_nothing_is_left_of_many_calls_in_any_order() -> None:
    dice = random.Random(5)
    house = House(ports=4000)
    alice, bob = house.phone("alice", nat=True), house.phone("bob", nat=True)
    for _ in range(10):
        house.register(alice, bob)
        for way in dice.sample(WAYS, len(WAYS)):
            way(house, alice, bob)
            house.drain()
        house.wait(300)
        house.drain()
    house.clean()
