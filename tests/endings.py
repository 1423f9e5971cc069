"""Every way a call can end, as functions of a house: a talk with the real relay behind the real core."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count

from talk import PROFILE, SDP, Packet, Phone, Talk

from edgesip.address import Addr
from edgesip.relay.core import RelayCore, Settings
from edgesip.relay.path import UserPath
from edgesip.script import Call, Challenge, Decision, Drop, FailureCall, Forward, Redirect, Reply, Save, load
from edgesip.signal.dialog.table import DialogSettings
from edgesip.signal.wire.message import Request, Response, parse

HOLD = SDP.replace(b"m=audio 4000 RTP/AVP 0\r\n", b"m=audio 4000 RTP/AVP 0\r\na=sendonly\r\n")
REFUSED = SDP.replace(b"m=audio 4000", b"m=audio 0")
CAROL = Addr("198.51.100.240", 5060)
BAD = b"v=0\r\nthis is not SDP\r\n"


PROFILE_SCRIPT = load(PROFILE)


def request(call: Call) -> Decision:
    """The profile's own script, but for what a caller asks for in X-Way once the media is wished for."""
    decision = PROFILE_SCRIPT.request(call)
    assert isinstance(decision, (Forward, Reply, Challenge, Save, Redirect, Drop))
    match call.hdr("X-Way"):
        case "refuse" if isinstance(decision, Forward):
            return Reply(403)
        case "redirect" if isinstance(decision, Forward):
            return Redirect(("sip:bob@192.0.2.9",))
        case "follow" if isinstance(decision, Forward):
            return replace(decision, recurse=True)
        case "short":
            call.dlg_set_timeout(30)
    return decision


def failure(call: FailureCall) -> Decision | None:
    """Nobody there: the mailbox, which is carol's, where the caller wants it."""
    return Forward(call.lookup("sip:carol@203.0.113.1")) if call.hdr("X-Way") == "mailbox" else None


class House(Talk):
    """A talk whose media is the relay itself; its ports are numbers only."""

    def __init__(self, ports: int = 400, dialog: DialogSettings | None = None) -> None:
        users = ("alice", "bob", "carol", "dave", "erin")
        super().__init__(
            dialog=dialog, users=users, script=replace(PROFILE_SCRIPT, request=request, failure=failure)
        )
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


def early_media_then_cancelled(house: House, alice: Phone, bob: Phone) -> None:
    invite = house.call(alice, bob.name)
    house << (alice, 100)
    received = house.request(bob, "INVITE")
    house >> bob.reply(received, 183, body=SDP) << (alice, 183)
    house >> Packet(alice, invite.octets.replace(b"INVITE", b"CANCEL")) << (alice, 200)
    house >> bob.reply(house.request(bob, "CANCEL"), 200) >> bob.reply(received, 487)


def the_callees_connection_dies(house: House, alice: Phone, bob: Phone) -> None:
    callee = house.phone("erin", transport="tcp")
    house.register(callee)
    rung(house, alice, callee)
    house.hang(callee)


def the_callee_is_unreachable(house: House, alice: Phone, bob: Phone) -> None:
    """An ICMP error came back for the INVITE."""
    house.call(alice, bob.name)
    house << (alice, 100)
    flow, octets = house.sent.pop(0)
    assert flow.remote == bob.at
    house._step(house.core.unsendable(octets, house.now))


def nobody_is_there(house: House, alice: Phone, bob: Phone) -> None:
    house.call(alice, "erin")


def _wanting(house: House, alice: Phone, bob: Phone, way: str) -> tuple[Packet, Request]:
    """A call whose caller asks the script for something, as far as the callee."""
    invite = house.call(alice, bob.name, headers=[("X-Way", way)])
    house << (alice, 100)
    return invite, house.request(bob, "INVITE")


def refused_by_the_script(house: House, alice: Phone, bob: Phone) -> None:
    house.call(alice, bob.name, headers=[("X-Way", "refuse")])
    house << (alice, 403)


def redirected_by_the_script(house: House, alice: Phone, bob: Phone) -> None:
    house.call(alice, bob.name, headers=[("X-Way", "redirect")])
    house << (alice, 302)


def redirected_by_the_callee(house: House, alice: Phone, bob: Phone) -> None:
    _, received = rung(house, alice, bob)
    house >> bob.reply(received, 302, headers=[("Contact", "<sip:bob@192.0.2.9>")])
    house << (bob, "ACK") << (alice, 302)


def redirected_and_followed(house: House, alice: Phone, bob: Phone) -> None:
    carol = house.phone("carol", at=CAROL)
    invite, received = _wanting(house, alice, bob, "follow")
    house >> bob.reply(received, 302, headers=[("Contact", f"<sip:carol@{carol.at}>")]) << (bob, "ACK")
    house >> carol.reply(house.request(carol, "INVITE"), 200, body=SDP)
    answer = house.response(alice, 200)
    house >> alice.ack(invite, answer) << (carol, "ACK")
    house >> alice.within(invite, answer, "BYE")
    house >> carol.reply(house.request(carol, "BYE"), 200) << (alice, 200)


def busy_and_the_mailbox_answers(house: House, alice: Phone, bob: Phone) -> None:
    carol = house.phone("carol", at=CAROL)
    house.register(carol)
    invite, received = _wanting(house, alice, bob, "mailbox")
    house >> bob.reply(received, 183, body=SDP) << (alice, 183)
    house >> bob.reply(received, 486) << (bob, "ACK")
    house >> carol.reply(house.request(carol, "INVITE"), 200, body=SDP)
    answer = house.response(alice, 200)
    house >> alice.ack(invite, answer) << (carol, "ACK")
    house >> alice.within(invite, answer, "BYE")
    house >> carol.reply(house.request(carol, "BYE"), 200) << (alice, 200)


def its_time_is_over(house: House, alice: Phone, bob: Phone) -> None:
    """The dialog's lifetime ends it: BYE to both, which one answers."""
    invite, received = _wanting(house, alice, bob, "short")
    house >> bob.reply(received, 200, body=SDP)
    house >> alice.ack(invite, house.response(alice, 200)) << (bob, "ACK")
    house.wait(31)
    call_id = received.headers.call_id
    byes = {flow.remote: parse(octets) for flow, octets in house.sent if call_id.encode() in octets}
    house.drain()
    assert byes.keys() == {alice.at, bob.at}
    bye = byes[alice.at]
    assert isinstance(bye, Request)
    assert bye.method == "BYE"
    house >> alice.reply(bye, 200)


def _forked(house: House, alice: Phone) -> tuple[Phone, Phone, Packet, Request, Request]:
    """dave has two phones: one rings, the other has early media."""
    one, two = (house.phone("dave", at=Addr(f"198.51.100.{number}", 5060)) for number in (241, 242))
    house.register(one, two)
    invite = house.call(alice, "dave")
    house << (alice, 100)
    copies = {flow.remote: parse(octets) for flow, octets in house.sent}
    house.sent.clear()
    at_one, at_two = copies[one.at], copies[two.at]
    assert isinstance(at_one, Request)
    assert isinstance(at_two, Request)
    house >> one.reply(at_one, 180) << (alice, 180)
    house >> two.reply(at_two, 183, tag="two", body=SDP) << (alice, 183)
    return one, two, invite, at_one, at_two


def one_of_a_fork_answers(house: House, alice: Phone, bob: Phone) -> None:
    one, two, invite, at_one, at_two = _forked(house, alice)
    house >> one.reply(at_one, 200, body=SDP)
    answer = house.response(alice, 200)
    house >> two.reply(house.request(two, "CANCEL"), 200)
    house >> two.reply(at_two, 487, tag="two") << (two, "ACK")
    house >> alice.ack(invite, answer) << (one, "ACK")
    house >> alice.within(invite, answer, "BYE")
    house >> one.reply(house.request(one, "BYE"), 200) << (alice, 200)


def the_loser_of_a_fork_says_nothing_any_more(house: House, alice: Phone, bob: Phone) -> None:
    one, _, invite, at_one, _ = _forked(house, alice)
    ok = one.reply(at_one, 200, body=SDP)
    house >> ok
    answer = house.response(alice, 200)
    house.drain()
    house >> alice.ack(invite, answer) << (one, "ACK")
    house >> one.back(at_one, ok, "BYE")


def two_of_a_fork_answer_at_once(house: House, alice: Phone, bob: Phone) -> None:
    one, two, invite, at_one, at_two = _forked(house, alice)
    house >> one.reply(at_one, 200, body=SDP)
    first = house.response(alice, 200)
    house << (two, "CANCEL")
    house >> two.reply(at_two, 200, tag="two", body=SDP)
    second = house.response(alice, 200)
    for phone, answer in ((one, first), (two, second)):
        house >> alice.ack(invite, answer) << (phone, "ACK")
    for phone, answer in ((two, second), (one, first)):
        house >> alice.within(invite, answer, "BYE")
        house >> phone.reply(house.request(phone, "BYE"), 200) << (alice, 200)


def all_of_a_fork_refuse(house: House, alice: Phone, bob: Phone) -> None:
    one, two, _, at_one, at_two = _forked(house, alice)
    house >> one.reply(at_one, 486) << (one, "ACK")
    house >> two.reply(at_two, 480, tag="two") << (two, "ACK") << (alice, 480)


def a_fork_is_cancelled(house: House, alice: Phone, bob: Phone) -> None:
    one, two, invite, at_one, at_two = _forked(house, alice)
    house >> Packet(alice, invite.octets.replace(b"INVITE", b"CANCEL")) << (alice, 200)
    house.drain()
    house >> one.reply(at_one, 487) >> two.reply(at_two, 487, tag="two")


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
    the_callees_connection_dies,
    early_media_then_cancelled,
    the_callee_is_unreachable,
    nobody_is_there,
    refused_by_the_script,
    redirected_by_the_script,
    redirected_by_the_callee,
    redirected_and_followed,
    busy_and_the_mailbox_answers,
    its_time_is_over,
    one_of_a_fork_answers,
    the_loser_of_a_fork_says_nothing_any_more,
    two_of_a_fork_answer_at_once,
    all_of_a_fork_refuse,
    a_fork_is_cancelled,
)
