"""Offers and answers: stable ports, snapshot and rollback, forks, late offers, holds, records."""

from __future__ import annotations

import json

import pytest
from relay_talk import KEY, RELAY, Talk, ports_in, sdp

from edgesip.address import Addr, Flow
from edgesip.relay.core import Refusal
from edgesip.relay.session import Session


def body(result: bytes | Refusal) -> bytes:
    assert isinstance(result, bytes)
    return result


def session(talk: Talk) -> Session:
    return talk.core._sessions[KEY]


# First offer and answer.


def test_each_side_is_told_a_port_of_the_relay_and_nothing_else_changes() -> None:
    talk = Talk()
    toward_callee, toward_caller = body(talk.invite()), body(talk.answer())
    for out, phone in ((toward_callee, talk.caller), (toward_caller, talk.callee)):
        port = ports_in(out)[0]
        expected = phone.sdp().replace(b"c=IN IP4 " + phone.said.host.encode(), b"c=IN IP4 " + RELAY.encode())
        assert out == expected.replace(b"m=audio %d " % phone.said.port, b"m=audio %d " % port)
    assert ports_in(toward_callee) != ports_in(toward_caller)
    assert talk.leased() == 4


def test_relay_address_and_advertised_address() -> None:
    talk = Talk(address=("192.0.2.9",), advertise=("203.0.113.1",))
    out = body(talk.invite())
    assert b"c=IN IP4 203.0.113.1\r\n" in out
    assert {pair.host for pair in talk.binder.bound} == {"192.0.2.9"}
    assert b"c=IN IP4 203.0.113.1\r\n" in body(talk.answer())


def test_the_advertised_address_is_not_told_on_loopback() -> None:
    talk = Talk(address=("127.0.0.1",), advertise=("203.0.113.1",))
    assert b"c=IN IP4 127.0.0.1\r\n" in body(talk.invite())


def test_each_leg_has_the_family_of_its_own_sip() -> None:
    talk = Talk(address=("192.0.2.9", "2001:db8::9"))
    six = Flow("udp", Addr("2001:db8::1", 5060), Addr("2001:db8::20", 5062))
    out = talk.core.offer(KEY, "b1", "", "caller", talk.caller.sdp(), talk.caller.flow, six, talk.now)
    assert b"c=IN IP6 2001:db8::9\r\n" in body(out)
    answer = sdp("2001:db8::20", 4200).replace(b"c=IN IP4", b"c=IN IP6")
    back = talk.core.answer(KEY, "b1", "t", "callee", answer, six, talk.caller.flow, True, talk.now)
    assert b"c=IN IP4 192.0.2.9\r\n" in body(back)
    talk.callee.media, talk.callee.relay = (
        Addr("2001:db8::20", 4200),
        Addr("2001:db8::9", ports_in(body(out))[0]),
    )
    talk.caller.relay = Addr("192.0.2.9", ports_in(body(back))[0])
    assert talk.caller.speak(2) == talk.callee.speak(2) == 2
    assert len(talk.path.entries) == 2


def test_a_relay_that_is_off_passes_bodies() -> None:
    talk = Talk(enabled=False)
    assert (talk.invite(), talk.answer()) == (talk.caller.sdp(), talk.callee.sdp())
    assert talk.leased() == 0


def test_the_same_octets_again_give_the_same_output() -> None:
    talk = Talk()
    assert talk.invite() == talk.invite()
    preview = talk.answer(final=False)
    assert preview == talk.answer(final=False) == talk.answer() == talk.answer()
    assert talk.leased() == 4


def test_the_answer_to_a_call_that_is_not_relayed_passes() -> None:
    talk = Talk()
    assert talk.answer() == talk.callee.sdp()
    talk.core.reject(KEY, "b1", "caller", talk.now)
    talk.core.close(KEY, "b1", talk.now)
    assert talk.core.sessions(talk.now) == []


def test_lines_that_pass_whole_get_no_ports() -> None:
    talk = Talk()
    mixed = sdp("198.51.100.10", 4000) + b"m=message 7000 TCP/MSRP *\r\nm=video 0 RTP/AVP 96\r\n"
    out = body(talk.invite(mixed))
    assert ports_in(out)[1:] == [7000, 0]
    assert talk.leased() == 4


@pytest.mark.parametrize("bad", [b"", b"hello", b"v=0\r\nm=audio 70000 RTP/AVP 0\r\n"])
def test_bad_sdp_is_488_and_keeps_nothing(bad: bytes) -> None:
    talk = Talk()
    refusal = talk.invite(bad)
    assert isinstance(refusal, Refusal)
    assert (refusal.status, refusal.retry_after) == (488, None)
    assert (talk.leased(), talk.core.sessions(talk.now)) == (0, [])
    talk.connect()
    before = session(talk).record(0.0)
    assert isinstance(talk.invite(bad), Refusal)
    assert isinstance(talk.answer(bad), Refusal)
    assert session(talk).record(0.0) == before


# Refused, repeated and changed offers in a call.


def frozen(talk: Talk) -> tuple[object, ...]:
    """What a refused offer must leave as it was: ports, latches, remotes, what the path carries."""
    record = session(talk).record(0.0)
    return json.dumps(record), sorted(talk.path.entries), sorted(talk.binder.bound)


@pytest.mark.parametrize("side", ["caller", "callee"])
@pytest.mark.parametrize(
    "changed",
    [
        (4000,),
        (4600,),
        (4600, 4700),
        (0,),
        (0, 4700),
    ],
)
def test_a_refused_reinvite_leaves_ports_and_latches_untouched(side: str, changed: tuple[int, ...]) -> None:
    talk = Talk()
    talk.connect()
    phone = talk.caller if side == "caller" else talk.callee
    before = frozen(talk)
    for host in (phone.said.host, "192.0.2.77"):
        talk.invite(sdp(host, *changed), side=side, tag="tag-b")
        talk.core.reject(KEY, "b1", side, talk.now)
        talk.core.reject(KEY, "b1", side, talk.now)
        assert frozen(talk) == before
    assert talk.caller.speak() == talk.callee.speak() == 1


def test_media_flows_while_a_reinvite_is_pending_and_its_preview_changes_nothing() -> None:
    talk = Talk()
    talk.connect()
    rules = sorted(talk.path.entries)
    talk.invite(talk.caller.sdp(4600))
    talk.answer(talk.callee.sdp(4700), final=False)
    assert sorted(talk.path.entries) == rules
    assert talk.caller.speak() == talk.callee.speak() == 1


def test_a_session_refresh_disturbs_nothing() -> None:
    talk = Talk()
    talk.connect()
    first = (ports_in(body(talk.invite())), ports_in(body(talk.answer())))
    rules = {local: id(entry) for local, entry in talk.path.entries.items()}
    for side, other in (("caller", "callee"), ("callee", "caller")):
        offer = body(talk.invite(side=side, tag="tag-b"))
        answer = body(talk.answer(side=other))
        assert [ports_in(offer), ports_in(answer)] == list(first if side == "caller" else reversed(first))
    assert {local: id(entry) for local, entry in talk.path.entries.items()} == rules
    assert len(rules) == 2


def test_a_new_address_is_relearned_on_that_side_alone_and_the_ports_stay() -> None:
    talk = Talk()
    talk.connect()
    relayed = (talk.caller.relay, talk.callee.relay)
    talk.caller.media = Addr("198.51.100.10", 4600)
    talk.invite(talk.caller.sdp(4600))
    talk.answer()
    assert (talk.caller.relay, talk.callee.relay) == relayed
    assert talk.path.entries == {}
    assert (talk.leg("caller")["state"], talk.leg("callee")["state"]) == ("relatch", "locked")
    assert talk.leg("caller")["remote"] == "198.51.100.10:4600"
    assert talk.caller.speak(2) == 2
    assert (talk.leg("caller")["state"], len(talk.path.entries)) == ("locked", 2)


def test_a_line_that_is_added_and_refused_and_switched_off() -> None:
    talk = Talk()
    talk.connect()
    audio = talk.caller.relay
    offer = body(talk.invite(talk.caller.sdp(4000, 5000)))
    assert talk.leased() == 8
    assert ports_in(body(talk.answer(talk.callee.sdp(4200, 0))))[1] == 0
    assert (talk.leased(), talk.caller.relay) == (4, audio)
    again = body(talk.invite(talk.caller.sdp(4000, 5000)))
    assert ports_in(again)[0] == ports_in(offer)[0]
    assert ports_in(again)[1] != ports_in(offer)[1]
    talk.answer(talk.callee.sdp(4200, 5200))
    assert talk.leased() == 8
    talk.invite(talk.caller.sdp(0, 5000))
    talk.answer(talk.callee.sdp(0, 5200))
    assert talk.leased() == 4
    assert [leg["media"] for leg in talk.core.sessions(talk.now)[0]["legs"]] == ["video", "video"]


def test_an_answer_with_fewer_lines_refuses_the_rest() -> None:
    talk = Talk()
    talk.invite(talk.caller.sdp(4000, 5000))
    talk.answer(talk.callee.sdp(4200))
    assert talk.leased() == 4


def test_audio_turns_into_fax_on_the_same_ports_and_back() -> None:
    talk = Talk()
    talk.connect()
    before = (talk.caller.relay, talk.callee.relay)
    talk.invite(sdp("198.51.100.10", 4000, proto="udptl", kind="image", fmts="t38"))
    talk.answer(sdp("203.0.113.20", 4200, proto="udptl", kind="image", fmts="t38"))
    assert (talk.caller.relay, talk.callee.relay, talk.path.entries) == (*before, {})
    assert talk.caller.relay is not None
    assert talk.arrive(talk.caller.relay, b"\0\1\0\0", talk.caller.media) == 1
    assert talk.leg("caller")["because"] == "it is not RTP"
    talk.invite()
    talk.answer()
    assert len(talk.path.entries) == 2


def test_a_call_without_ports_left_for_its_reinvite_goes_on() -> None:
    talk = Talk(max_sessions=1)
    talk.connect()
    before = frozen(talk)
    refusal = talk.invite(talk.caller.sdp(4000, 5000))
    assert isinstance(refusal, Refusal)
    assert refusal.status == 503
    assert refusal.retry_after in range(1, 11)
    assert frozen(talk) == before


# Hold.


@pytest.mark.parametrize(
    "held",
    [
        sdp("0.0.0.0", 4000),
        sdp("198.51.100.10", 4000, lines=("a=sendonly",)),
        sdp("198.51.100.10", 4000, lines=("a=inactive",)),
    ],
)
def test_hold_keeps_what_was_learned_and_resume_relearns_nothing(held: bytes) -> None:
    talk = Talk()
    talk.connect()
    out = body(talk.invite(held))
    assert (b"c=IN IP4 0.0.0.0" in out) is (b"c=IN IP4 0.0.0.0" in held)
    talk.answer(talk.callee.sdp(lines=("a=recvonly",)))
    assert session(talk).held()
    assert (talk.leg("caller")["state"], talk.leg("caller")["remote"]) == ("locked", "198.51.100.10:4000")
    assert talk.callee.speak() == 1
    talk.invite()
    talk.answer()
    assert not session(talk).held()
    assert len(talk.path.entries) == 2
    assert talk.caller.speak() == talk.callee.speak() == 1


def test_a_call_that_begins_on_hold_sends_nowhere_until_it_resumes() -> None:
    talk = Talk()
    talk.invite(sdp("0.0.0.0", 4000))
    talk.answer()
    assert talk.callee.speak(2) == 0
    talk.invite()
    talk.answer()
    assert talk.callee.speak(2) == 2


# mux.


def test_mux_is_followed_when_both_have_it() -> None:
    talk = Talk()
    mux = ("a=rtcp-mux",)
    assert b"a=rtcp-mux" in body(talk.invite(talk.caller.sdp(lines=mux)))
    assert b"a=rtcp-mux" in body(talk.answer(talk.callee.sdp(lines=mux)))
    for _ in range(2):
        talk.caller.speak(), talk.callee.speak()
    assert talk.caller.report(muxed=True) == 1
    assert talk.sent[-1][1] == talk.callee.media


def test_mux_that_was_not_answered_is_not_in_force_and_never_answered_unasked() -> None:
    talk = Talk()
    talk.invite(talk.caller.sdp(lines=("a=rtcp-mux",)))
    talk.answer()
    talk.caller.speak(2)
    assert talk.caller.report(muxed=True) == 0
    assert talk.caller.report() == 1
    talk.invite()
    first = talk.answer(talk.callee.sdp(lines=("a=rtcp-mux",)))
    assert b"a=rtcp-mux" not in body(first)
    assert talk.answer(talk.callee.sdp(lines=("a=rtcp-mux",))) == first


def test_rtcp_on_the_port_of_the_media_is_told_so() -> None:
    talk = Talk()
    out = body(talk.invite(talk.caller.sdp(lines=("a=rtcp:4000", "a=rtcp-mux"))))
    assert b"a=rtcp:%d\r\n" % ports_in(out)[0] in out


# Late offer.


def test_a_late_offer_is_answered_in_the_ack() -> None:
    talk = Talk()
    offer = body(talk.invite(side="callee", tag="tag-b"))
    assert talk.core.sessions(talk.now)[0]["to_tag"] == "tag-b"
    answer = body(talk.answer(side="caller"))
    assert ports_in(offer) != ports_in(answer)
    assert talk.caller.speak(2) == talk.callee.speak(2) == 2
    assert len(talk.path.entries) == 2
    assert session(talk).fixed == ("b1", "tag-b")


# UPDATE in an early dialog.


def test_a_refused_update_before_the_call_is_answered_leaves_its_early_media() -> None:
    talk = Talk()
    talk.invite()
    talk.answer(final=False)
    talk.caller.speak(2), talk.callee.speak(2)
    before = frozen(talk)
    for side in ("caller", "callee"):
        talk.invite(sdp("192.0.2.77", 7000, 7002), side=side, tag="tag-b")
        assert talk.leased() == 8
        talk.core.reject(KEY, "b1", side, talk.now)
        assert frozen(talk) == before
    talk.answer()
    assert session(talk).fixed == ("b1", "tag-b")
    assert talk.caller.speak() == talk.callee.speak() == 1


def test_an_update_before_the_call_is_answered_is_not_undone_by_the_answer() -> None:
    talk = Talk()
    talk.invite()
    talk.answer(final=False)
    first = talk.callee.sdp()
    talk.callee.media = talk.callee.said = Addr("203.0.113.20", 4800)
    talk.invite(side="callee", tag="tag-b")
    talk.answer(side="caller")
    assert talk.leg("callee")["remote"] == "203.0.113.20:4800"
    talk.answer(first)
    assert talk.leg("callee")["remote"] == "203.0.113.20:4800"
    assert talk.leased() == 4


# Forks.


def fork() -> Talk:
    """Three targets of one INVITE: b1, b2 and b3 at phones of their own."""
    talk = Talk()
    for number in (1, 2, 3):
        phone = talk.callee if number == 1 else talk.phone(f"203.0.113.2{number}", 4200, ssrc=0xB0 + number)
        talk.phones.append(phone)
        talk.invite(branch=f"b{number}", callee=phone)
    return talk


def test_a_fork_has_one_port_set_towards_the_caller_and_one_a_branch() -> None:
    talk = fork()
    assert talk.leased() == 2 + 3 * 2
    assert len({phone.relay for phone in talk.phones[2:]}) == 3


def test_the_active_answerer_is_the_tag_last_forwarded_and_a_2xx_fixes_it() -> None:
    talk = fork()
    one, two, three = talk.phones[2:]
    first = talk.answer(branch="b1", tag="t1", final=False, callee=one)
    assert (one.speak(2), two.speak(2), three.speak(2)) == (2, 0, 0)
    second = talk.answer(branch="b2", tag="t2", final=False, callee=two)
    assert ports_in(body(first)) == ports_in(body(second))
    assert (one.speak(2), two.speak(2), three.speak(2)) == (0, 2, 0)
    assert talk.caller.speak(2) == 2
    assert talk.sent[-1][1] == two.media
    talk.answer(branch="b1", tag="t1", final=False, callee=one)
    assert (one.speak(2), two.speak(2)) == (2, 0)
    talk.answer(branch="b3", tag="t3", callee=three)
    assert (one.speak(2), two.speak(2), three.speak(2)) == (0, 0, 2)
    for branch in ("b1", "b2"):
        talk.core.close(KEY, branch, talk.now)
    assert (talk.leased(), session(talk).fixed) == (4, ("b3", "t3"))
    talk.caller.speak(2)
    assert len(talk.path.entries) == 2


def test_a_second_2xx_is_readdressed_and_changes_nothing() -> None:
    talk = fork()
    one, two, _ = talk.phones[2:]
    winner = talk.answer(branch="b1", tag="t1", callee=one)
    late = talk.answer(branch="b2", tag="t2", callee=two)
    assert ports_in(body(late)) == ports_in(body(winner))
    other_tag = talk.answer(talk.callee.sdp(4900), branch="b1", tag="t9", callee=one)
    assert ports_in(body(other_tag)) == ports_in(body(winner))
    assert session(talk).to_tag == "t1"
    assert (one.speak(2), two.speak(2)) == (2, 0)
    assert talk.leg("callee")["remote"] == "203.0.113.20:4200"


def test_another_answerer_cannot_answer_an_offer_to_the_winner() -> None:
    talk = Talk()
    talk.connect()
    talk.invite(talk.caller.sdp(4600), tag="tag-b")
    before = frozen(talk)
    talk.answer(talk.callee.sdp(4900), tag="other")
    assert frozen(talk) == before
    talk.answer()
    assert talk.leg("caller")["remote"] == "198.51.100.10:4600"


def test_two_late_offers_and_the_caller_s_answer_to_the_first_stands() -> None:
    talk = Talk()
    other = talk.phone("203.0.113.21", 4200)
    talk.invite(side="callee", branch="b1", tag="t1")
    talk.invite(side="callee", branch="b2", tag="t2", callee=other)
    talk.answer(side="caller", branch="b1", tag="t1")
    talk.answer(talk.caller.sdp(4900), side="caller", branch="b2", tag="t2", callee=other)
    assert (talk.leg("caller")["remote"], session(talk).fixed) == ("198.51.100.10:4000", ("b1", "t1"))
    talk.core.close(KEY, "b2", talk.now)
    assert talk.leased() == 4


def test_an_offer_in_place_of_one_that_was_never_answered() -> None:
    talk = Talk()
    talk.invite()
    talk.invite(talk.caller.sdp(4600, 4700))
    assert talk.leased() == 8
    talk.core.reject(KEY, "b1", "caller", talk.now)
    assert talk.leased() == 0


def test_when_the_winner_goes_another_answered_branch_is_heard() -> None:
    talk = fork()
    one, two, _ = talk.phones[2:]
    talk.answer(branch="b1", tag="t1", callee=one)
    talk.answer(branch="b2", tag="t2", callee=two)
    talk.core.close(KEY, "b1", talk.now)
    talk.core.close(KEY, "b3", talk.now)
    assert session(talk).fixed == ("b2", "t2")
    assert two.speak(2) == talk.caller.speak(2) == 2


def test_another_ua_behind_the_same_branch_is_learned_anew() -> None:
    talk = Talk()
    elsewhere = talk.phone("203.0.113.99", 4300, ssrc=0xD)
    talk.phones.append(elsewhere)
    talk.invite()
    talk.answer(tag="t1", final=False)
    assert talk.callee.speak(3) == 3
    elsewhere.relay = talk.callee.relay
    talk.answer(tag="t2", final=False, callee=elsewhere)
    assert (talk.callee.speak(3), elsewhere.speak(3)) == (0, 3)
    assert talk.caller.speak() == 1
    assert talk.sent[-1][1] == elsewhere.media


def test_the_caller_keeps_a_line_while_any_branch_has_it() -> None:
    talk = Talk()
    for branch in ("b1", "b2"):
        talk.invite(talk.caller.sdp(4000, 5000), branch=branch)
    talk.answer(talk.callee.sdp(4200, 0), branch="b1", tag="t1")
    assert talk.leased() == 4 + 2 + 4
    talk.core.close(KEY, "b2", talk.now)
    assert talk.leased() == 4


def test_failover_to_another_hop_of_a_target_keeps_its_ports() -> None:
    talk = Talk()
    spare = talk.phone("203.0.113.50", 4200)
    first = talk.invite()
    assert talk.invite(callee=spare) == first
    assert talk.leased() == 4
    assert spare.speak(1, source=Addr("203.0.113.50", 4999)) == 1  # early media of the new hop's host
    talk.core.reject(KEY, "b1", "caller", talk.now)
    assert talk.leased() == 0


def test_a_hop_that_leaves_by_another_interface_gets_ports_there() -> None:
    talk = Talk()
    talk.invite()
    flow = talk.callee.flow._replace(local=Addr("192.0.2.200", 5060))
    out = talk.core.offer(KEY, "b1", "", "caller", talk.caller.sdp(), talk.caller.flow, flow, talk.now)
    assert b"c=IN IP4 192.0.2.200\r\n" in body(out)
    assert talk.leased() == 4


# Records.


@pytest.mark.parametrize("stage", ["connected", "on hold", "with a pending offer", "fork"])
def test_a_session_survives_its_record(stage: str) -> None:
    if stage == "fork":
        talk = fork()
        talk.answer(branch="b1", tag="t1", callee=talk.phones[2])
    else:
        talk = Talk()
        talk.connect()
    if stage == "on hold":
        talk.invite(sdp("0.0.0.0", 4000))
        talk.answer()
    record = session(talk).record(1_700_000_000.0)
    if stage == "with a pending offer":
        talk.invite(talk.caller.sdp(4000, 5000))
        assert session(talk).record(1_700_000_000.0) == record
    text = json.dumps(record)
    again = Session.from_record(json.loads(text), 1_700_000_000.0)
    assert json.dumps(again.record(1_700_000_000.0)) == text
    assert (again.key, again.fixed, again.held()) == (KEY, session(talk).fixed, session(talk).held())
    assert abs(again.created - session(talk).created) < 1e-3
    assert {line.pair for _, _, line in again.lines()} <= talk.binder.bound


def test_in_a_glare_the_refused_offer_goes_and_the_other_stays() -> None:
    talk = Talk()
    talk.invite()
    talk.answer()
    leased = talk.leased()
    talk.invite(sdp("192.0.2.77", 7000, 7002), side="caller", tag="tag-b")
    talk.invite(sdp("192.0.2.88", 8000), side="callee", tag="tag-b")
    talk.core.reject(KEY, "b1", "caller", talk.now)
    assert talk.leased() == leased
    body = talk.answer(talk.caller.sdp(), side="caller", tag="tag-b")
    assert isinstance(body, bytes)
    (session,) = talk.core._sessions.values()
    signalled = session.branches["b1"].leg.lines[0].rtp.signalled
    assert signalled is not None
    assert (signalled.host, signalled.port) == ("192.0.2.88", 8000)
    caller = session.caller.lines[0].rtp.signalled
    assert caller is not None
    assert caller.host == talk.caller.said.host


def test_the_end_of_a_call_is_the_end_of_all_its_branches() -> None:
    talk = Talk()
    talk.invite(branch="b1")
    talk.invite(branch="b2")
    assert talk.leased() > 0
    talk.core.end(("nobody", "at all"), talk.now)
    assert talk.leased() > 0
    talk.core.end(KEY, talk.now)
    assert talk.leased() == 0
