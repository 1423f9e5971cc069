"""Dialogs that outlive the process: the next one knows their BYE, and nothing that rang or is over."""

from __future__ import annotations

from typing import Any

import pytest
from talk import Phone, Talk

from edgesip.signal.dialog import kept
from edgesip.signal.dialog.state import Dialog
from edgesip.signal.dialog.table import NOACK_TIMEOUT, DialogSettings
from edgesip.store import codec

WALL = 1_700_000_000.0
BOOTED = 77.0


def records(talk: Talk) -> list[dict[str, Any]]:
    """Those of all dialogs, as a store gives them back."""
    found = [kept.record_of(dialog, WALL) for dialog in talk.core.dialogs]
    return [codec.loads(codec.dumps(record)) for record in found if record is not None]


def reborn(talk: Talk, away: float = 1.0, **how: Any) -> Talk:
    """The next process, `away` seconds later, with the dialogs taken up."""
    after = Talk(**how)
    after.now = BOOTED
    for record in records(talk):
        dialog = kept.take_up(after.core.dialogs, record, BOOTED, WALL + talk.now + away - BOOTED)
        after.media.open.add((dialog.media_key, dialog.branch))
    return after


def pair(talk: Talk) -> tuple[Phone, Phone]:
    alice, bob = talk.phone("alice", nat=True), talk.phone("bob", nat=True)
    talk.register(alice, bob)
    return alice, bob


@pytest.mark.parametrize("side", ["caller", "callee"])
def test_a_bye_of_a_call_of_the_process_before_ends_it(side: str) -> None:
    talk = Talk()
    alice, bob = pair(talk)
    invite, answer, received, ok = talk.answered(alice, bob)
    after = reborn(talk)
    other = bob if side == "caller" else alice
    after >> (alice.within(invite, answer, "BYE") if side == "caller" else bob.back(received, ok, "BYE"))
    bye = after.request(other, "BYE")
    after >> other.reply(bye, 200) << ((alice if side == "caller" else bob), 200)
    after.quiet()


def test_a_reinvite_of_the_next_process_finds_its_dialog_and_its_media() -> None:
    talk = Talk()
    alice, bob = pair(talk)
    invite, answer, _, _ = talk.answered(alice, bob)
    after = reborn(talk)
    again = alice.within(invite, answer, "INVITE", body=b"v=0\r\n")
    after >> again << (alice, 100)
    received = after.request(bob, "INVITE")
    assert received.body.endswith(b"a=offered-by:caller\r\n")


def test_its_lifetime_goes_on_and_both_hear_a_bye_with_their_next_number() -> None:
    talk = Talk(dialog=DialogSettings(600.0))
    alice, bob = pair(talk)
    talk.answered(alice, bob)
    talk.wait(100)
    after = reborn(talk, away=100.0)
    after.wait(390).silent()
    after.wait(20)
    byes = after.request(alice, "BYE"), after.request(bob, "BYE")
    [dialog] = talk.core.dialogs
    assert [bye.headers.cseq.number for bye in byes] == [1, dialog.caller.cseq + 1]


def test_what_was_to_end_meanwhile_is_not_known() -> None:
    talk = Talk(dialog=DialogSettings(600.0))
    talk.answered(*pair(talk))
    with pytest.raises(kept.NotKept, match="over"):
        reborn(talk, away=601.0)


def test_what_rings_and_what_is_over_is_not_kept() -> None:
    talk = Talk()
    alice, bob = pair(talk)
    talk.call(alice, "bob")
    talk << (alice, 100)
    received = talk.request(bob, "INVITE")
    talk >> bob.reply(received, 180) << (alice, 180)
    assert records(talk) == []
    talk = Talk()
    alice, bob = pair(talk)
    invite, answer, _, _ = talk.answered(alice, bob)
    assert len(records(talk)) == 1
    talk >> alice.within(invite, answer, "BYE")
    talk >> bob.reply(talk.request(bob, "BYE"), 200) << (alice, 200)
    assert records(talk) == []


def test_an_ack_that_was_still_to_come_is_waited_for() -> None:
    talk = Talk()
    alice, bob = pair(talk)
    invite = talk.call(alice, "bob")
    talk << (alice, 100)
    received = talk.request(bob, "INVITE")
    talk >> bob.reply(received, 200, body=b"v=0\r\n")
    answer = talk.response(alice, 200)
    after = reborn(talk)
    after >> alice.ack(invite, answer) << (bob, "ACK")
    after.wait(NOACK_TIMEOUT + 1).silent()
    after = reborn(talk)
    after.wait(NOACK_TIMEOUT + 1)
    assert after.request(alice, "BYE").headers.get("Reason") == after.request(bob, "BYE").headers.get(
        "Reason"
    )


def test_new_dialogs_have_numbers_of_their_own() -> None:
    talk = Talk()
    alice, bob = pair(talk)
    talk.answered(alice, bob)
    talk.answered(alice, bob)
    after = reborn(talk)
    after.answered(*pair(after))
    numbers = [dialog.h_id for dialog in after.core.dialogs]
    assert len(set(numbers)) == len(numbers) == 3


def test_another_version_a_second_time_and_what_is_no_record_are_refused() -> None:
    talk = Talk()
    talk.answered(*pair(talk))
    [record] = records(talk)
    after = Talk().core.dialogs
    with pytest.raises(kept.NotKept, match="version"):
        kept.take_up(after, {**record, "v": kept.VERSION + 1}, 1.0, WALL)
    for name in ("call_id", "ruri", "caller", "callee", "h_entry", "h_id", "state", "init", "expires"):
        with pytest.raises(kept.NotKept, match="read"):
            kept.take_up(after, {key: value for key, value in record.items() if key != name}, 1.0, WALL)
    with pytest.raises(kept.NotKept, match="read"):
        kept.take_up(after, {**record, "caller": "somebody"}, 1.0, WALL)
    assert kept.take_up(after, record, 1.0, WALL).did
    with pytest.raises(kept.NotKept):
        kept.take_up(after, record, 1.0, WALL)
    assert len(after) == 1


def test_changes_are_named_once_and_only_where_somebody_asks() -> None:
    talk = Talk()
    alice, bob = pair(talk)
    assert kept.changed(talk.core.dialogs) == []
    kept.follow(talk.core.dialogs)
    invite, answer, _, _ = talk.answered(alice, bob)
    [dialog] = kept.changed(talk.core.dialogs)
    assert isinstance(dialog, Dialog)
    assert kept.changed(talk.core.dialogs) == []
    talk >> alice.within(invite, answer, "INFO")
    assert kept.changed(talk.core.dialogs) == [dialog]
