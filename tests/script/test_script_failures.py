"""What a script does when a call fails: voicemail, another answer, media without the relay."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
from talk import Phone, Talk

from edgesip.address import Addr
from edgesip.script import load

HOME = Addr("198.51.100.8", 5060)

HEAD = "from edgesip.script import *\n\ndef request(call):\n    call.rtpproxy_manage()\n"
TO_BOB = "    return Forward(('sip:bob@198.51.100.77',))\n\n"


class Refusal(NamedTuple):
    status: int
    reason: str
    retry_after: int | None


def talking(directory: Path, text: str) -> tuple[Talk, Phone, Phone, Phone]:
    path = directory / "route.py"
    path.write_text(HEAD + text)
    talk = Talk(script=load(path))
    bob = talk.phone("bob", at=Addr("198.51.100.77", 5060))
    mail = talk.phone("mail", at=Addr("198.51.100.88", 5060))
    return talk, talk.phone("alice", at=HOME), bob, mail


def test_busy_goes_to_voicemail_and_the_script_knows_why(tmp_path: Path) -> None:
    talk, alice, bob, mail = talking(
        tmp_path,
        TO_BOB + "def failure(call):\n"
        "    if not call.t_check_status('486|408'):\n"
        "        return None\n"
        "    call.append_hf('Diversion', call.fmt('<$ru>;reason=$rs;from=$fU'))\n"
        "    return Forward(('sip:mailbox@198.51.100.88',))\n",
    )
    talk >> alice.invite("bob") << (alice, 100)
    talk >> bob.reply(talk.request(bob, "INVITE"), 486)
    assert talk.request(bob, "ACK")
    received = talk.request(mail, "INVITE")
    assert received.uri == "sip:mailbox@198.51.100.88"
    assert received.headers.get("Diversion") == "<sip:bob@203.0.113.1>;reason=486;from=alice"
    talk >> mail.reply(received, 200) << (alice, 200)


def test_what_is_no_reason_for_voicemail_is_passed_on(tmp_path: Path) -> None:
    talk, alice, bob, _ = talking(
        tmp_path, TO_BOB + "def failure(call):\n    return None if call.status == 404 else Reply(599)\n"
    )
    talk >> alice.invite("bob") << (alice, 100)
    talk >> bob.reply(talk.request(bob, "INVITE"), 404) << (bob, "ACK") << (alice, 404)


def test_a_branch_is_changed_alone(tmp_path: Path) -> None:
    talk, alice, bob, mail = talking(
        tmp_path,
        "    return Forward(('sip:bob@198.51.100.77', 'sip:mail@198.51.100.88'))\n\n"
        "def branch(call):\n"
        "    call.append_hf('X-Branch', call.fmt('$T_branch_idx $rU'))\n"
        "    if call.ruri_user == 'mail':\n"
        "        call.set_body('other', 'text/plain')\n",
    )
    talk >> alice.invite("bob") << (alice, 100)
    first, second = talk.request(bob, "INVITE"), talk.request(mail, "INVITE")
    assert (first.headers.get("X-Branch"), second.headers.get("X-Branch")) == ("0 bob", "1 mail")
    assert first.headers.content_type == "application/sdp"
    assert (second.body, second.headers.content_type) == (b"other", "text/plain")


def test_without_ports_a_call_may_go_on_without_the_relay(tmp_path: Path) -> None:
    talk, alice, bob, _ = talking(
        tmp_path,
        TO_BOB + "def media_failed(call):\n"
        "    call.append_hf('X-Why', call.fmt('$rs $rr'))\n"
        "    call.rtpproxy_destroy()\n"
        "    return Forward(('sip:bob@198.51.100.77',))\n\n"
        "def failure(call):\n"
        "    return Reply(599)\n",
    )
    talk.media.refusal = Refusal(503, "No ports", 5)
    talk >> alice.invite("bob") << (alice, 100)
    received = talk.request(bob, "INVITE")
    assert received.headers.get("X-Why") == "503 No ports"
    assert b"offered-by" not in received.body
    talk >> bob.reply(received, 200) << (alice, 200)
    assert not talk.media.open


def test_without_the_hook_a_refused_offer_is_a_failure_like_any_other(tmp_path: Path) -> None:
    talk, alice, _, _ = talking(
        tmp_path, TO_BOB + "def failure(call):\n    return Reply(599, call.fmt('$rs'))\n"
    )
    talk.media.refusal = Refusal(488, "No SDP", None)
    talk >> alice.invite("bob") << (alice, 100)
    assert talk.response(alice, 599).reason == "488"


def test_a_request_has_timers_of_its_own_and_failure_other_ones(tmp_path: Path) -> None:
    talk, alice, bob, mail = talking(
        tmp_path,
        "    call.t_set_fr(5000, 2000)\n    call.t_set_auto_inv_100(False)\n"
        + TO_BOB
        + "def failure(call):\n"
        "    call.t_set_fr(9000)\n"
        "    return Forward(('sip:mail@198.51.100.88',)) if call.t_branch_timeout() else None\n",
    )
    talk >> alice.invite("bob") << (bob, "INVITE")
    talk.sent.clear()
    talk.wait(1.9)
    talk.sent.clear()
    talk.wait(0.2)
    received = talk.request(mail, "INVITE")
    talk >> mail.reply(received, 180) << (alice, 180)
    talk.wait(8.9)
    talk.silent()
    talk.wait(0.2)
    talk << (mail, "CANCEL")


def test_what_is_kept_with_a_call_is_there_to_its_end(tmp_path: Path) -> None:
    talk, alice, bob, _ = talking(
        tmp_path,
        "    call.dlg_set_var('account', call.fmt('$fU@4711'))\n"
        "    call.dlg_set_timeout(60)\n"
        "    assert call.dlg_var('account') and not call.dlg_var('other')\n"
        + TO_BOB
        + "def in_dialog(call):\n"
        "    call.append_hf('X-Account', call.fmt('$dlg_var(account)'))\n"
        "    call.dlg_set_var('last', call.method)\n"
        "    return Forward()\n\n"
        "told = []\n"
        "def dialog_end(event):\n"
        "    told.append(event.fmt('$dlg_var(account) $dlg_var(last) $dlg_var(none)|'))\n",
    )
    invite = alice.invite("bob")
    talk >> invite << (alice, 100)
    talk >> bob.reply(talk.request(bob, "INVITE"), 200)
    talk >> alice.ack(invite, talk.response(alice, 200))
    assert talk.request(bob, "ACK").headers.get("X-Account") == "alice@4711"
    talk.wait(61)
    assert {message for _, message in [(one[0], one[1][:3]) for one in talk.sent]} == {b"BYE"}
    told = talk.script.events["dialog_end"].__globals__["told"]
    assert told == ["alice@4711 ACK |"]


def test_a_call_may_not_last_no_time_at_all(tmp_path: Path) -> None:
    talk, alice, _, _ = talking(tmp_path, "    call.dlg_set_timeout(0)\n")
    with pytest.raises(ValueError, match="no time"):
        talk >> alice.invite("bob")
