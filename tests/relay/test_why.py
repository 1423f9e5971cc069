"""Every verdict, from the facts that make it; and that none of them speaks out of turn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgesip.address import Addr
from edgesip.relay.why import TABLE, Case, Side, Verdict, verdicts
from edgesip.relay.why import verdict as verdict_of

AT = 1000.0
TOLD = Addr("203.0.113.5", 24444)
PHONE = Addr("198.51.100.7", 4000)
LAN = Addr("192.168.1.10", 4000)
STRANGER = Addr("198.51.100.77", 4000)

CALLER = Side(
    side="caller",
    media="audio",
    told=TOLD,
    sip=PHONE.host,
    said=PHONE,
    target=PHONE,
    locked=PHONE,
    packets=5000,
    first_at=900.0,
    last_at=AT,
    agreed=frozenset({0, 8, 101}),
    types={0: 5000},
    has_rtcp=True,
    mos=4.3,
)
CALLEE = replace(CALLER, side="callee")
MUTE: dict[str, Any] = {
    "packets": 0,
    "first_at": None,
    "last_at": None,
    "types": {},
    "locked": None,
    "has_rtcp": False,
    "mos": 0.0,
}


def clock(at: float) -> str:
    return f"T{at:g}"


CALL = Case(900.0, AT, False, clock)
OVER = replace(CALL, over=True)


def judged(case: Case = CALL, other: dict[str, Any] | None = None, **facts: Any) -> list[Verdict]:
    """What is said of a caller like this; `other` of the callee."""
    me, opposite = replace(CALLER, **facts), replace(CALLEE, **(other or {}))
    found = verdicts(me, opposite, case)
    assert verdict_of(me, opposite, case) == found[0].code
    return found


def only(found: list[Verdict]) -> Verdict:
    [verdict] = found
    return verdict


def test_a_good_call_is_fine() -> None:
    verdict = only(judged())
    assert verdict.code == "fine"
    assert verdict.text == (
        "media comes from 198.51.100.7:4000 since T900 and goes on: 0.0 % lost, jitter 0 ms, MOS 4.3"
    )
    assert "until the end" in only(judged(OVER)).text


def test_a_call_nobody_answered() -> None:
    ringing = replace(CALL, answered_at=None)
    assert only(judged(ringing, **MUTE)) == ("unanswered", "the call is not answered yet", "")
    never = only(judged(replace(ringing, over=True), **MUTE))
    assert never.text == "the call was never answered"
    early = only(judged(ringing))
    assert "5000 packets of early media came from the caller" in early.text


def test_an_operator_has_blocked_it() -> None:
    verdict = only(judged(blocked=True))
    assert (verdict.code, verdict.text) == (
        "blocked",
        "an operator has blocked what comes from the caller; 5000 packets came",
    )


def test_a_prompt_covers_it() -> None:
    told = judged(other={"prompt": "moh"})
    assert [verdict.code for verdict in told] == ["fine", "prompt"]
    assert told[1].text == "the prompt moh plays to the callee in place of what comes from the caller"
    assert [verdict.code for verdict in judged(prompt="moh")] == ["fine"]


def test_a_call_that_has_only_just_begun() -> None:
    assert only(judged(replace(CALL, answered_at=AT - 1.0), **MUTE)).code == "early"
    assert only(judged(replace(CALL, answered_at=AT - 1.0, over=True), **MUTE)).code == "never"


def test_no_packet_ever_came() -> None:
    verdict = only(judged(**MUTE))
    assert verdict.code == "never"
    assert verdict.text == "no packet ever came from the caller to 203.0.113.5:24444"
    assert "firewall" in verdict.do
    assert "its RTCP comes" in only(judged(**{**MUTE, "has_rtcp": True})).text


def test_packets_came_from_an_address_that_is_not_believed() -> None:
    verdict = only(judged(**MUTE, strange=STRANGER, strange_at=990.0, mismatches=12))
    assert verdict.code == "stranger"
    assert verdict.text == (
        "packets for the caller come from 198.51.100.77:4000, which is not believed and dropped (12, "
        "the last at T990): its SDP says 198.51.100.7:4000, its SIP comes from 198.51.100.7"
    )


def test_a_phone_that_moved_to_an_address_that_is_not_believed() -> None:
    verdict = judged(last_at=950.0, strange=STRANGER, strange_at=999.0, mismatches=2000)[0]
    assert verdict.code == "stranger"
    assert "198.51.100.77:4000 since T950" in verdict.text


def test_the_phone_was_told_a_private_address() -> None:
    verdict = only(judged(**MUTE, told=Addr("10.0.0.5", 24444)))
    assert verdict.code == "told-private"
    assert "10.0.0.5:24444, a private address" in verdict.text
    assert "advertise" in verdict.do
    assert only(judged(**MUTE, told=Addr("10.0.0.5", 24444), sip="10.0.0.9")).code == "never"


def test_media_is_sent_to_a_guess_behind_a_private_address() -> None:
    verdict = only(judged(**MUTE, said=LAN, target=PHONE))
    assert verdict.code == "private"
    assert "goes to 198.51.100.7:4000 on good luck" in verdict.text
    assert "192.168.1.10:4000, a private address" in verdict.text


def test_nothing_may_be_sent_to_what_the_sdp_says() -> None:
    verdict = only(judged(**MUTE, said=Addr("127.0.0.1", 4000), target=None))
    assert verdict.code == "nowhere"
    assert "127.0.0.1:4000, where nothing may be sent" in verdict.text


def test_one_way() -> None:
    verdict = only(judged(last_at=940.0))
    assert verdict.code == "one-way"
    assert verdict.text == (
        "one way since T940: nothing more came from the caller at 198.51.100.7:4000, while the callee goes on"
    )
    assert "went on until the end" in only(judged(OVER, last_at=940.0)).text
    assert only(judged(other={"last_at": 940.0})).code == "fine"


def test_a_codec_that_has_nothing_to_say_for_a_moment_is_not_one_way() -> None:
    assert only(judged(last_at=AT - 4.0)).code == "fine"


def test_both_are_silent() -> None:
    assert only(judged(last_at=940.0, other={"last_at": 930.0})).code == "silent"


@pytest.mark.parametrize("holder", ["caller", "callee"])
def test_silent_because_of_a_hold(holder: str) -> None:
    held: dict[str, Any] = {"hold": True, "turned_at": 939.0}
    verdict = only(judged(last_at=940.0, **held) if holder == "caller" else judged(last_at=940.0, other=held))
    assert verdict.code == "hold"
    assert verdict.text == f"silent since T940, because the {holder} holds the call since T939"


def test_silent_because_both_hold() -> None:
    held: dict[str, Any] = {"hold": True, "turned_at": 939.0}
    verdict = only(judged(last_at=940.0, **held, other=held))
    assert verdict.text == "silent since T940, because the call is on hold since T939"


def test_who_plays_music_while_it_holds_is_fine() -> None:
    assert only(judged(hold=True, turned_at=939.0)).code == "fine"


def test_silent_since_a_hold_that_is_over() -> None:
    verdict = only(judged(last_at=940.0, other={"turned_at": 960.0}))
    assert verdict.code == "after-hold"
    assert verdict.text == (
        "silent since the hold: the last packet came at T940, the hold ended at T960, and the caller has "
        "sent nothing since then"
    )
    assert only(judged(last_at=970.0, other={"turned_at": 960.0})).code == "one-way"


def test_two_claim_to_be_the_phone() -> None:
    verdict = only(judged(contested=True))
    assert verdict.code == "contested"
    assert verdict.text == (
        "contested: two senders at once claimed to be the caller; 198.51.100.7:4000 is believed"
    )
    rival = judged(contested=True, strange=STRANGER, strange_at=990.0, mismatches=3)
    assert [one.code for one in rival] == ["contested", "visited"]
    assert "198.51.100.77:4000 is the other" in rival[0].text


def test_a_codec_that_was_not_agreed_on() -> None:
    verdict = only(judged(types={0: 10, 96: 4990}))
    assert verdict.code == "codec"
    assert "payload type 96 (4990 packets), which this call did not agree on (0, 8, 101)" in verdict.text


@pytest.mark.parametrize("types", [{0: 90, 13: 20}, {0: 90, 96: 2}, {101: 90}])
def test_comfort_noise_accidents_and_keys_are_no_other_codec(types: dict[int, int]) -> None:
    assert only(judged(types=types)).code == "fine"


def test_a_router_changed_the_sdp() -> None:
    found = judged(hint="its SDP names another address than its Contact")
    assert [one.code for one in found] == ["fine", "alg"]
    assert found[1].text == "its SDP names another address than its Contact"
    assert [one.code for one in judged(**MUTE, hint="so")] == ["never", "alg"]


@pytest.mark.parametrize("facts", [{"loss": 4.0}, {"jitter": 55.0}, {"mos": 3.1}])
def test_a_poor_way(facts: dict[str, Any]) -> None:
    verdict = only(judged(**facts))
    assert verdict.code == "poor"
    assert "on the way to us" in verdict.text


def test_a_pause_and_a_visitor_are_told_beside() -> None:
    found = judged(pause=(910.0, 930.0), strange=STRANGER, strange_at=905.0, mismatches=3)
    assert [one.code for one in found] == ["fine", "pause", "visited"]
    assert found[1].text == "nothing came from the caller from T910 to T930"
    assert found[2].text == (
        "3 packets for the caller came from elsewhere and were dropped, the last at T905 from "
        "198.51.100.77:4000"
    )


def test_a_side_alone_is_judged_alone() -> None:
    assert verdicts(CALLER, None, CALL)[0].code == "fine"
    assert verdicts(replace(CALLER, last_at=900.0), None, CALL)[0].code == "silent"


def test_every_verdict_is_in_the_documentation() -> None:
    page = (Path(__file__).parents[2] / "docs" / "one-way-audio.md").read_text()
    assert [row.code for row in TABLE if f"`{row.code}`" not in page] == []


def test_every_row_is_tested_here() -> None:
    """The codes in this file are those of the table."""
    text = Path(__file__).read_text()
    assert [row.code for row in TABLE if f'"{row.code}"' not in text] == []
