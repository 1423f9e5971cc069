"""Dialogs: every transition of the table, matching, and records that come back as they were."""

from __future__ import annotations

import json
from itertools import product

import pytest
from talk import Talk

from edgesip.address import Addr, Flow
from edgesip.signal.dialog import table
from edgesip.signal.dialog.local import bye_for
from edgesip.signal.dialog.offer_answer import Role, request_role, response_role
from edgesip.signal.dialog.state import TRANSITIONS, Dialog, DialogState, Leg, On
from edgesip.signal.proxy.myself import Myself
from edgesip.signal.wire.headers import Headers
from edgesip.signal.wire.message import Request
from edgesip.signal.wire.values import CSeq

FLOW = Flow("udp", Addr("203.0.113.1", 5060), Addr("198.51.100.2", 40000))


def dialog(state: DialogState = DialogState.CONFIRMED) -> Dialog:
    caller = Leg(
        "<sip:a@x>;tag=1", "1", "sip:a@10.0.0.1", ("<sip:p1;lr>", "<sip:p2;lr>"), 7, FLOW, True, "ulcx-1"
    )
    callee = Leg("<sip:b@x>;tag=2", "2", "sip:b@[2001:db8::2]", (), 0, FLOW)
    return Dialog("call", "sip:b@x", caller, callee, 1, 2, 100.0, state, "branch", start=101.0, expires=500.0)


@pytest.mark.parametrize(("state", "on"), list(product(DialogState, On)))
def test_what_has_a_row_moves_and_what_has_none_does_not(state: DialogState, on: On) -> None:
    one = dialog(state)
    assert one.moved(on) == ((state, on) in TRANSITIONS)
    assert one.state == TRANSITIONS.get((state, on), state)


def test_the_table_is_the_dialog_modules() -> None:
    def to(on: On) -> dict[int, int]:
        return {
            int(state): int(TRANSITIONS[state, on]) for state in DialogState if (state, on) in TRANSITIONS
        }

    assert to(On.PROVISIONAL) == {1: 2, 2: 2}
    assert to(On.ANSWER) == {1: 3, 2: 3, 3: 3, 4: 4}
    assert to(On.FAILURE) == {1: 5, 2: 5}
    assert to(On.ACK) == {3: 4, 4: 4}
    assert to(On.BYE) == to(On.TIMEOUT) == {3: 5, 4: 5}


def test_a_record_survives_json_and_another_clock() -> None:
    before = dialog()
    record = json.loads(json.dumps(before.record(wall_offset=1_000_000.0)))
    after = Dialog.from_record(record, wall_offset=999_000.0)
    assert after.caller == before.caller
    assert after.callee == before.callee
    assert (after.init, after.start, after.expires, after.end) == (1100.0, 1101.0, 1500.0, 0.0)
    assert json.loads(json.dumps(after.record(999_000.0))) == record
    assert after.state is DialogState.CONFIRMED


def test_byes_from_the_middle_look_like_the_far_ends() -> None:
    myself = Myself((("udp", FLOW.local),))
    one = dialog()
    to_caller = bye_for(one, "caller", "z9hG4bKx", myself, "RTP Timeout")
    to_callee = bye_for(one, "callee", "z9hG4bKy", myself, "RTP Timeout")
    assert to_caller is not None
    assert to_callee is not None
    assert to_caller.uri == "sip:a@10.0.0.1"
    assert [str(route) for route in to_caller.headers.routes] == ["<sip:p1;lr>", "<sip:p2;lr>"]
    assert (to_caller.headers.from_.tag, to_caller.headers.to.tag) == ("2", "1")
    assert to_caller.headers.cseq == CSeq(1, "BYE")
    assert to_callee.headers.cseq == CSeq(8, "BYE")
    assert (to_callee.headers.from_.tag, to_callee.headers.to.tag) == ("1", "2")
    one.put_leg("callee", one.callee.with_contact(""))
    assert bye_for(one, "callee", "z9hG4bKy", myself, "x") is None


@pytest.mark.parametrize(
    ("method", "sdp", "late", "side", "role"),
    [
        ("INVITE", True, "", "caller", Role.OFFER),
        ("INVITE", False, "", "caller", Role.NONE),
        ("UPDATE", True, "", "callee", Role.OFFER),
        ("PRACK", True, "", "caller", Role.OFFER),
        ("PRACK", True, "callee", "caller", Role.ANSWER),
        ("ACK", True, "callee", "caller", Role.ANSWER),
        ("ACK", True, "", "caller", Role.ANSWER),  # one that comes again
        ("ACK", False, "callee", "caller", Role.NONE),
        ("MESSAGE", True, "", "caller", Role.NONE),
    ],
)
def test_roles_of_requests(method: str, sdp: bool, late: str, side: str, role: Role) -> None:
    assert request_role(method, sdp, late, side) is role


@pytest.mark.parametrize(
    ("method", "status", "sdp", "offered", "role"),
    [
        ("INVITE", 183, True, True, Role.PREVIEW),
        ("INVITE", 200, True, True, Role.ANSWER),
        ("INVITE", 200, True, False, Role.OFFER),
        ("INVITE", 183, True, False, Role.OFFER),
        ("INVITE", 200, False, True, Role.NONE),
        ("INVITE", 488, True, True, Role.NONE),
        ("UPDATE", 200, True, True, Role.ANSWER),
        ("PRACK", 200, True, True, Role.ANSWER),
        ("PRACK", 200, True, False, Role.NONE),
        ("OPTIONS", 200, True, False, Role.NONE),
    ],
)
def test_roles_of_responses(method: str, status: int, sdp: bool, offered: bool, role: Role) -> None:
    assert response_role(method, status, sdp, offered) is role


def test_ended_dialogs_are_remembered_for_a_while_and_then_gone() -> None:
    talk = Talk()
    alice, bob = talk.phone("alice"), talk.phone("bob")
    talk.register(alice, bob)
    invite, answer, _, _ = talk.answered(alice, bob)
    assert talk.core.dialogs.gauges()["dialog:active_dialogs"] == 1
    talk >> alice.within(invite, answer, "BYE")
    talk >> bob.reply(talk.request(bob, "BYE"), 200) << (alice, 200)
    (one,) = talk.core.dialogs
    assert (int(one.state), one.ended_by) == (5, "BYE from caller")
    talk >> alice.within(invite, answer, "BYE") << (alice, 481)
    talk.wait(299)
    assert len(talk.core.dialogs) == 1
    talk.wait(2)
    assert len(talk.core.dialogs) == 0
    assert talk.core.dialogs._by_tags == {}
    assert talk.core.dialogs.counters["dialog:processed_dialogs"] == 1


def test_tags_and_call_id_must_all_agree() -> None:
    talk = Talk()
    alice, bob = talk.phone("alice"), talk.phone("bob")
    talk.register(alice, bob)
    invite, answer, _, _ = talk.answered(alice, bob)
    bye = alice.within(invite, answer, "BYE")
    for wrong in ((b"tag=to-bob", b"tag=to-bo"), (b"tag=from-", b"tag=frm-"), (b"Call-ID: ", b"Call-ID: x")):
        bent = alice.within(invite, answer, "BYE")
        bent.octets = bent.octets.replace(*wrong)
        talk >> bent << (alice, 481)
    talk >> bye << (bob, "BYE")


def test_only_the_last_ended_dialogs_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "MOST_ENDED", 3)
    dialogs = table.Dialogs(table.DialogSettings())
    made = []
    for number in range(5):
        fields = {"From": "<sip:a@x>;tag=1", "To": "<sip:b@x>", "Call-ID": f"c{number}", "CSeq": "1 INVITE"}
        invite = Request("INVITE", "sip:b@x", Headers(fields.items()))
        made.append(dialogs.create(invite, FLOW, 0.0, False))
        dialogs.end(made[-1], On.FAILURE, "486 Busy Here", 1.0)
    assert list(dialogs) == made[2:]
    assert dialogs.tick(301.0) == []
    assert len(dialogs) == 0
    assert dialogs.deadline() is None
