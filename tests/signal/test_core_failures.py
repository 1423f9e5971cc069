"""What follows when a target fails: the next by q, the script's voicemail, a redirection, the best answer."""

from __future__ import annotations

from pathlib import Path

import pytest
from desks import ALL, RELAYED, VOICEMAIL, cancelled, house, scripted
from talk import SDP, SERVER, Phone, Talk

from edgesip.address import Addr, Flow
from edgesip.script import Forward
from edgesip.signal.core import Event
from edgesip.signal.proxy.asked import Failure
from edgesip.signal.proxy.fork import Target, priority
from edgesip.signal.proxy.redirect import contacts_of
from edgesip.signal.transaction.settings import TmSettings

# -- one after the other ---------------------------------------------------------------------------


def test_equal_q_rings_together_and_the_next_only_after_all_of_them_failed(tmp_path: Path) -> None:
    talk = Talk(
        script=scripted(tmp_path, "def request(call):\n    return Forward(call.lookup(), serial=True)\n")
    )
    desks = [talk.phone("bob") for _ in range(3)]
    registrar = Talk()
    for desk, q in zip(desks, ("0.9", "0.3", "0.9"), strict=True):
        desk_contact = f"{desk.contact};q={q}"
        packet = desk.request(
            "REGISTER", f"sip:{SERVER.host}", to=f"<sip:bob@{SERVER.host}>", contact=desk_contact
        )
        registrar >> packet
        registrar >> desk.with_credentials(packet, registrar.response(desk, 401)) << (desk, 200)
    for binding in registrar.core.usrloc.lookup("bob", registrar.now):
        talk.core.usrloc.put(binding)
    alice = talk.phone("alice")
    talk >> alice.invite("bob") << (alice, 100)
    first, third = talk.request(desks[0], "INVITE"), talk.request(desks[2], "INVITE")
    talk.silent()
    talk >> desks[0].reply(first, 486) << (desks[0], "ACK")
    talk.silent()
    talk >> desks[2].reply(third, 480) << (desks[2], "ACK")
    second = talk.request(desks[1], "INVITE")
    talk >> desks[1].reply(second, 486) << (desks[1], "ACK") << (alice, 480)


def test_uris_are_tried_in_their_order_and_an_answer_ends_the_row(tmp_path: Path) -> None:
    talk, alice, desks = house(tmp_path, RELAYED.format(ALL + ", serial=True"))
    talk >> alice.invite("bob") << (alice, 100)
    talk >> desks[0].reply(talk.request(desks[0], "INVITE"), 404) << (desks[0], "ACK")
    talk >> desks[1].reply(talk.request(desks[1], "INVITE"), 200, body=SDP) << (alice, 200)
    talk.silent()
    assert len(talk.media.open) == 1


def test_a_cancel_ends_the_row(tmp_path: Path) -> None:
    talk, alice, desks = house(tmp_path, RELAYED.format(ALL + ", serial=True"))
    invite = alice.invite("bob")
    talk >> invite << (alice, 100)
    first = talk.request(desks[0], "INVITE")
    talk >> desks[0].reply(first, 180) << (alice, 180)
    talk >> cancelled(invite) << (alice, 200) << (desks[0], "CANCEL")
    talk >> desks[0].reply(first, 487) << (desks[0], "ACK") << (alice, 487)
    talk.silent()
    assert not talk.media.open


def test_max_inv_lifetime_ends_the_row(tmp_path: Path) -> None:
    tm = TmSettings(max_inv_lifetime=40)
    talk, alice, desks = house(tmp_path, RELAYED.format(ALL + ", serial=True"), tm=tm)
    talk >> alice.invite("bob") << (alice, 100)
    talk.wait(29)
    talk.sent.clear()
    talk.wait(2) << (desks[1], "INVITE")
    talk.wait(7)
    talk.sent.clear()
    talk.wait(3) << (alice, 408)


# -- the script's hooks ----------------------------------------------------------------------------

BUSY_TO_VOICEMAIL = RELAYED.format("('sip:bob@192.0.2.1',)") + (
    "def failure(call):\n"
    "    if call.t_check_status('4[08][68]') and call.branches == 1:\n"
    f"        call.append_hf('Diversion', f'<sip:bob>;reason={{call.status}}')\n"
    f"        return Forward(('sip:vm@{VOICEMAIL.host}',))\n"
)


@pytest.mark.parametrize("how", ["busy", "no answer"])
def test_busy_or_no_answer_goes_to_voicemail_with_media_of_its_own(tmp_path: Path, how: str) -> None:
    talk, alice, desks = house(tmp_path, BUSY_TO_VOICEMAIL, tm=TmSettings(fr_inv_timer=20))
    box = talk.phone("vm", at=VOICEMAIL)
    invite = alice.invite("bob")
    talk >> invite << (alice, 100)
    received = talk.request(desks[0], "INVITE")
    talk >> desks[0].reply(received, 180) << (alice, 180)
    if how == "busy":
        talk >> desks[0].reply(received, 486) << (desks[0], "ACK")
    else:
        talk.wait(20.1) << (desks[0], "CANCEL")
    there = talk.request(box, "INVITE")
    assert there.uri == f"sip:vm@{VOICEMAIL.host}"
    assert there.headers.get("Diversion") == f"<sip:bob>;reason={486 if how == 'busy' else 408}"
    assert there.body == SDP + b"a=offered-by:caller\r\n"
    offers = [index for index, one in enumerate(talk.media.log) if one[0] == "offer"]
    closes = [index for index, one in enumerate(talk.media.log) if one[0] == "close"]
    assert offers[1] < closes[0]
    talk >> box.reply(there, 200, body=SDP)
    answer = talk.response(alice, 200)
    talk >> alice.ack(invite, answer) << (box, "ACK")
    assert len(talk.media.open) == 1
    talk >> alice.within(invite, answer, "BYE")
    talk >> box.reply(talk.request(box, "BYE"), 200) << (alice, 200)
    talk.wait(40)
    talk.sent.clear()
    talk.quiet()


def test_old_answers_are_not_chosen_when_new_targets_came(tmp_path: Path) -> None:
    for mode, status in ((3, 486), (0, 404)):
        text = RELAYED.format("('sip:d@192.0.2.1',)") + (
            "def failure(call):\n    if call.branches == 1:\n        return Forward(('sip:d@192.0.2.2',))\n"
        )
        talk, alice, desks = house(tmp_path, text, tm=TmSettings(failure_reply_mode=mode))
        talk >> alice.invite("bob") << (alice, 100)
        talk >> desks[0].reply(talk.request(desks[0], "INVITE"), 404) << (desks[0], "ACK")
        talk >> desks[1].reply(talk.request(desks[1], "INVITE"), 486) << (desks[1], "ACK")
        talk << (alice, status)


def test_t_reply_in_a_failure_replaces_the_answer(tmp_path: Path) -> None:
    text = RELAYED.format("('sip:d@192.0.2.1',)") + "def failure(call):\n    return Reply(480, 'Try later')\n"
    talk, alice, desks = house(tmp_path, text)
    talk >> alice.invite("bob") << (alice, 100)
    talk >> desks[0].reply(talk.request(desks[0], "INVITE"), 486) << (desks[0], "ACK")
    assert talk.response(alice, 480).reason == "Try later"


def test_a_failed_branch_may_be_followed_while_others_ring(tmp_path: Path) -> None:
    text = RELAYED.format("('sip:d@192.0.2.1', 'sip:d@192.0.2.2')") + (
        "def branch_failure(call):\n"
        "    if call.status == 302 or call.target == 'sip:d@192.0.2.1':\n"
        "        return Forward(('sip:d@192.0.2.3',))\n"
    )
    talk, alice, desks = house(tmp_path, text)
    talk >> alice.invite("bob") << (alice, 100)
    first, second = talk.request(desks[0], "INVITE"), talk.request(desks[1], "INVITE")
    talk >> desks[0].reply(first, 486) << (desks[0], "ACK")
    third = talk.request(desks[2], "INVITE")
    talk >> desks[1].reply(second, 486) << (desks[1], "ACK")
    talk.silent()
    talk >> desks[2].reply(third, 200, body=SDP) << (alice, 200)


def test_a_branch_hook_changes_one_copy_and_may_keep_it_back(tmp_path: Path) -> None:
    text = RELAYED.format(ALL) + (
        "def branch(call):\n"
        "    if call.ruri.host == '192.0.2.2':\n"
        "        return Drop()\n"
        "    call.append_hf('X-Branch', str(call.index))\n"
    )
    talk, alice, desks = house(tmp_path, text)
    talk >> alice.invite("bob") << (alice, 100)
    first, third = talk.request(desks[0], "INVITE"), talk.request(desks[2], "INVITE")
    talk.silent()
    assert [one.headers.all("X-Branch") for one in (first, third)] == [["0"], ["1"]]


def test_twelve_branches_are_the_end_of_it(tmp_path: Path) -> None:
    text = RELAYED.format("('sip:d0@192.0.2.1',)") + (
        "def failure(call):\n    return Forward((f'sip:d{call.branches}@192.0.2.1',))\n"
    )
    talk, alice, desks = house(tmp_path, text)
    talk >> alice.invite("bob") << (alice, 100)
    for _ in range(12):
        talk >> desks[0].reply(talk.request(desks[0], "INVITE"), 486) << (desks[0], "ACK")
    talk << (alice, 480)
    talk.silent()


# -- redirection -----------------------------------------------------------------------------------


def test_a_3xx_goes_back_unless_the_script_wants_its_contacts_tried_best_q_first(tmp_path: Path) -> None:
    moved = [("Contact", "<sip:d@192.0.2.2>;q=0.2"), ("Contact", "<sip:d@192.0.2.3>;q=0.8")]
    for recurse in (False, True):
        text = RELAYED.format(f"('sip:d@192.0.2.1',), recurse={recurse}")
        talk, alice, desks = house(tmp_path, text)
        talk >> alice.invite("bob") << (alice, 100)
        answer = desks[0].reply(talk.request(desks[0], "INVITE"), 302, headers=moved)
        talk >> answer << (desks[0], "ACK")
        if not recurse:
            assert len(talk.response(alice, 302).headers.contacts) == 2
            continue
        best = talk.request(desks[2], "INVITE")
        talk.silent()
        talk >> desks[2].reply(best, 302, headers=moved[:1]) << (desks[2], "ACK")
        second = talk.request(desks[1], "INVITE")
        talk >> desks[1].reply(second, 486) << (desks[1], "ACK") << (alice, 486)


def test_redirect_tells_the_best_contact_first(tmp_path: Path) -> None:
    talk = Talk(
        script=scripted(tmp_path, "def request(call):\n    return Redirect(('sip:a@x', 'sip:b@y'), 301)\n")
    )
    alice = talk.phone("alice")
    talk >> alice.invite("bob")
    assert talk.response(alice, 301).headers.values("Contact") == ["<sip:a@x>", "<sip:b@y>"]


# -- the choice ------------------------------------------------------------------------------------


def test_the_order_of_answers_is_tms() -> None:
    order = [200, 600, 603, 302, 401, 407, 415, 420, 484, 400, 404, 408, 480, 486, 500, 503]
    assert sorted(order, key=priority) == order
    assert sorted([603, 404, 500], key=lambda status: priority(status, True)) == [404, 500, 603]


@pytest.mark.parametrize(
    ("statuses", "chosen"),
    [((408, 486, 404), 404), ((486, 401, 404), 401), ((503, 500, 501), 500), ((486, 302, 404), 302)],
)
def test_the_best_of_three(tmp_path: Path, statuses: tuple[int, ...], chosen: int) -> None:
    talk, alice, desks = house(tmp_path, RELAYED.format(ALL))
    talk >> alice.invite("bob") << (alice, 100)
    received = [talk.request(desk, "INVITE") for desk in desks]
    for desk, request, status in zip(desks, received, statuses, strict=True):
        talk >> desk.reply(request, status) << (desk, "ACK")
    talk << (alice, chosen)


def test_a_503_is_a_500_and_challenges_are_gathered(tmp_path: Path) -> None:
    talk, alice, desks = house(tmp_path, RELAYED.format("('sip:d@192.0.2.1',)"))
    talk >> alice.invite("bob") << (alice, 100)
    talk >> desks[0].reply(talk.request(desks[0], "INVITE"), 503) << (desks[0], "ACK") << (alice, 500)
    talk, alice, desks = house(tmp_path, RELAYED.format(ALL))
    talk >> alice.invite("bob") << (alice, 100)
    received = [talk.request(desk, "INVITE") for desk in desks]
    for index, (desk, request) in enumerate(zip(desks, received, strict=True)):
        asks = [("Proxy-Authenticate", f'Digest realm="r{index}"')]
        talk >> desk.reply(request, 407, headers=asks) << (desk, "ACK")
    assert len(talk.response(alice, 407).headers.all("Proxy-Authenticate")) == 3


def test_a_6xx_ends_all_at_once(tmp_path: Path) -> None:
    talk, alice, desks = house(tmp_path, RELAYED.format(ALL))
    talk >> alice.invite("bob") << (alice, 100)
    received = [talk.request(desk, "INVITE") for desk in desks]
    talk >> desks[1].reply(received[1], 180) << (alice, 180)
    talk >> desks[0].reply(received[0], 603) << (desks[0], "ACK") << (desks[1], "CANCEL")
    talk >> desks[2].reply(received[2], 180) << (desks[2], "CANCEL") << (alice, 180)
    for desk, request in zip(desks[1:], received[1:], strict=True):
        talk >> desk.reply(request, 487) << (desk, "ACK")
    talk << (alice, 603)


def test_nothing_but_invite_is_told_that_it_timed_out(tmp_path: Path) -> None:
    talk, alice, desks = house(tmp_path, RELAYED.format("('sip:d@192.0.2.1',)"))
    message = alice.request("MESSAGE", f"sip:bob@{SERVER.host}")
    talk >> message
    received = talk.request(desks[0], "MESSAGE")
    talk >> desks[0].reply(received, 408)
    talk >> message
    talk.silent()
    talk >> alice.request("MESSAGE", f"sip:bob@{SERVER.host}") << (desks[0], "MESSAGE")
    talk.wait(32)
    assert {flow.remote for flow, _ in talk.sent} == {desks[0].at}
    talk.wait(6)
    assert len(talk.core.transactions) == 0


# -- CANCEL ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0, 1, 2])
def test_a_cancel_before_any_provisional_answer(tmp_path: Path, mode: int) -> None:
    tm = TmSettings(cancel_b_method=mode)
    talk, alice, desks = house(tmp_path, RELAYED.format("('sip:d@192.0.2.1',)"), tm=tm)
    invite = alice.invite("bob")
    talk >> invite << (alice, 100)
    received = talk.request(desks[0], "INVITE")
    talk >> cancelled(invite) << (alice, 200)
    if mode == 0:
        talk << (alice, 487)
        talk >> desks[0].reply(received, 200, body=SDP)
        talk << (desks[0], "ACK") << (desks[0], "BYE")
        return
    if mode == 1:
        talk.silent()
        talk >> desks[0].reply(received, 180)
    talk << (desks[0], "CANCEL")
    talk >> desks[0].reply(received, 487) << (desks[0], "ACK") << (alice, 487)


@pytest.mark.parametrize("mode", [0, 1, 2])
def test_a_cancel_of_nothing(tmp_path: Path, mode: int) -> None:
    tm = TmSettings(unmatched_cancel=mode)
    talk, alice, desks = house(tmp_path, RELAYED.format("('sip:d@192.0.2.1',)"), tm=tm)
    talk >> cancelled(alice.invite("bob", body=b""))
    if mode == 0:
        talk << (alice, 481)
    if mode == 1:
        talk << (desks[0], "CANCEL")
    talk.silent()
    assert len(talk.core.transactions) == 0


def test_reasons_of_cancels_are_as_tm_says(tmp_path: Path) -> None:
    tm = TmSettings(local_cancel_reason=False, e2e_cancel_reason=False)
    talk, alice, desks = house(tmp_path, RELAYED.format("('sip:d@192.0.2.1', 'sip:d@192.0.2.2')"), tm=tm)
    talk >> alice.invite("bob") << (alice, 100)
    first, second = talk.request(desks[0], "INVITE"), talk.request(desks[1], "INVITE")
    talk >> desks[1].reply(second, 180) << (alice, 180)
    talk >> desks[0].reply(first, 200, body=SDP) << (alice, 200)
    assert talk.request(desks[1], "CANCEL").headers.get("Reason") is None


def test_a_request_may_have_timers_of_its_own(tmp_path: Path) -> None:
    text = (
        "def request(call):\n    call.t_set_fr(5000, 2000)\n    call.t_set_retr(100, 200)\n"
        "    call.t_set_auto_inv_100(False)\n    return Forward(('sip:d@192.0.2.1',))\n"
    )
    talk, alice, desks = house(tmp_path, text)
    talk >> alice.invite("bob")
    received = talk.request(desks[0], "INVITE")
    talk.wait(0.15) << (desks[0], "INVITE")
    talk >> desks[0].reply(received, 180) << (alice, 180)
    talk.wait(5.1) << (desks[0], "CANCEL") << (alice, 408)
    talk >> alice.invite("bob")
    talk.wait(1.99)
    talk.sent.clear()
    talk.wait(0.1) << (alice, 408)


def test_a_target_that_failed_is_not_tried_again(tmp_path: Path) -> None:
    text = RELAYED.format("('sip:d@192.0.2.1',)") + (
        "def failure(call):\n    return Forward(('sip:d@192.0.2.2', 'sip:d@192.0.2.1'))\n"
    )
    talk, alice, desks = house(tmp_path, text)
    talk >> alice.invite("bob") << (alice, 100)
    talk >> desks[0].reply(talk.request(desks[0], "INVITE"), 486) << (desks[0], "ACK")
    talk >> desks[1].reply(talk.request(desks[1], "INVITE"), 404) << (desks[1], "ACK") << (alice, 404)
    talk.silent()


def test_a_cancel_does_not_wait_for_a_hook_that_thinks(tmp_path: Path) -> None:
    text = RELAYED.format("('sip:d@192.0.2.1',)") + "def failure(call):\n    return None\n"
    talk, alice, desks = house(tmp_path, text)
    asked: list[Failure] = []

    def thinking(failure: Failure) -> list[Event]:
        asked.append(failure)
        return []

    talk._failed = thinking  # type: ignore[method-assign]
    invite = alice.invite("bob")
    talk >> invite << (alice, 100)
    talk >> desks[0].reply(talk.request(desks[0], "INVITE"), 486) << (desks[0], "ACK")
    talk.silent()
    talk >> cancelled(invite) << (alice, 200) << (alice, 487)
    hop = Flow("udp", SERVER, desks[1].at)
    talk._step(talk.core.resume(asked[0], Forward(), [Target("sip:d@192.0.2.2", (hop,))], talk.now))
    talk.silent()
    assert not talk.media.open


def test_contacts_of_a_redirection_carry_their_q() -> None:
    talk = Talk()
    bob = talk.phone("bob")
    for q in ("0.25", "0.75"):
        at = Addr(bob.at.host, 5060 + int(float(q) * 100))
        phone = Phone("bob", at, at)
        packet = phone.request(
            "REGISTER",
            f"sip:{SERVER.host}",
            to=f"<sip:bob@{SERVER.host}>",
            contact=f"{phone.contact};q={q}",
        )
        talk >> packet
        talk >> phone.with_credentials(packet, talk.response(phone, 401)) << (phone, 200)
    bindings = talk.core.usrloc.lookup("bob", talk.now)
    assert contacts_of((bindings[1], "sip:last@x", bindings[0])) == (
        ("Contact", "<sip:last@x>"),
        ("Contact", f"<{bindings[0].contact}>;q=0.75"),
        ("Contact", f"<{bindings[1].contact}>;q=0.25"),
    )
