"""Conversations in the rtpproxy protocol: exact answers, and what they mean to packets."""

from __future__ import annotations

import re

import pytest
from relay_talk import rtcp, rtp
from rtpp_talk import ALICE, BOB, OURS, SENDER, Controller

from edgesip.address import Addr
from edgesip.relay.commands import KEPT
from edgesip.relay.latch import Rank
from edgesip.relay.stated import OWNED
from edgesip.signal.wire.grammar import ParseError
from edgesip.signal.wire.message import parse


def test_what_kamailio_asks_before_it_trusts_a_relay() -> None:
    controller = Controller()
    assert controller.ask("V") == "20040107"
    assert controller.ask("VF 20050322") == "1"
    assert controller.ask("VF 20081102") == "1"
    assert controller.ask("VF 19990101") == "0"
    assert controller.ask("VF 20081224") == "0"
    assert Controller(notify=("unix:/t",)).ask("VF 20081224") == "1"


def test_a_call_from_update_to_delete() -> None:
    controller = Controller()
    at_bob, at_alice = controller.call()
    assert {at_bob % 2, at_alice % 2} == {0}
    assert controller.leased == 4
    controller.talk(at_bob, at_alice)
    assert controller.ask("Q call a;1 b;1") == "60 3 3 6 0"
    assert controller.ask("Qv call b;1 a;1") == "ttl=60 npkts_ina=3 npkts_ino=3 nrelayed=6 ndropped=0"
    assert controller.ask("D call a b") == "0"
    assert controller.leased == 0
    assert controller.ask("D call a b") == "E50"


def test_nothing_is_believed_before_the_answer_and_strangers_never() -> None:
    controller = Controller()
    at_bob = controller.port(f"Uc0 call {ALICE.host} {ALICE.port} a;1")
    assert controller.send(at_bob, BOB, rtp(1)) == []
    at_alice = controller.port(f"Lc0 call {BOB.host} {BOB.port} a;1 b;1")
    assert controller.send(at_bob, Addr("203.0.113.66", 5000), rtp(1)) == []
    controller.talk(at_bob, at_alice)
    assert controller.send(at_bob, Addr("203.0.113.66", 5000), rtp(4, ssrc=2)) == []
    assert controller.ask("Q call a;1 b;1 ndropped").isdigit()


def test_a_phone_behind_nat_is_learned_by_its_own_address_with_another_port() -> None:
    controller = Controller()
    at_bob, at_alice = controller.call()
    mapped = Addr(ALICE.host, 61000)
    for number in range(200):
        controller.now += 0.02
        controller.send(at_alice, mapped, rtp(number))
    assert controller.send(at_bob, BOB, rtp(1, ssrc=2))[0][0] == mapped
    assert controller.send(at_alice, ALICE, rtp(1, ssrc=3)) == []


def test_an_asymmetric_side_hears_where_it_said_wherever_it_speaks_from() -> None:
    controller = Controller()
    at_bob = controller.port(f"UAc0 call {ALICE.host} {ALICE.port} a;1")
    at_alice = controller.port(f"Lc0 call {BOB.host} {BOB.port} a;1 b;1")
    for number in range(200):
        controller.now += 0.02
        assert controller.send(at_alice, Addr(ALICE.host, 61000), rtp(number)) != []
    assert controller.send(at_alice, Addr("198.51.100.66", 61000), rtp(201)) == []
    assert controller.send(at_bob, BOB, rtp(1, ssrc=2))[0][0] == ALICE


def test_a_side_that_must_be_symmetric_may_be_anywhere() -> None:
    controller = Controller()
    controller.ask(f"USc0 call 10.0.0.5 {ALICE.port} a;1")
    at_alice = controller.port(f"Lc0 call {BOB.host} {BOB.port} a;1 b;1")
    for number in range(3):
        controller.send(at_alice, Addr("198.51.100.77", 61000), rtp(number))
    session = controller.core.session(("call", OWNED + "a"))
    assert session is not None
    best = session.caller.lines[0].rtp.best
    assert best is not None
    assert (best.source, best.rank) == (Addr("198.51.100.77", 61000), Rank.OTHER)


def test_rtcp_leaves_by_the_port_it_came_to_whether_muxed_or_not() -> None:
    controller = Controller()
    at_bob, at_alice = controller.call()
    controller.talk(at_bob, at_alice)
    assert controller.send(at_alice, ALICE, rtcp()) == [(BOB, rtcp())]
    sent = controller.send(at_alice + 1, Addr(ALICE.host, ALICE.port + 1), rtcp())
    assert sent == [(Addr(BOB.host, BOB.port + 1), rtcp())]


def test_a_stream_whose_codecs_nobody_told_may_be_anything() -> None:
    """T.38 over UDPTL: a sequence number, then the fax."""
    controller = Controller()
    at_bob, at_alice = controller.call("")
    fax = [number.to_bytes(2, "big") + b"\x05fax" for number in range(3)]
    for packet in fax:
        assert controller.send(at_alice, ALICE, packet) == [(BOB, packet)]
    controller.talk(at_bob, at_alice)
    told = Controller()
    _, at_alice = told.call("c0")
    assert told.send(at_alice, ALICE, fax[0]) == []


def test_a_reinvite_by_the_callee_keeps_the_ports_and_moves_only_him() -> None:
    controller = Controller()
    at_bob, at_alice = controller.call()
    controller.talk(at_bob, at_alice)
    moved = Addr(BOB.host, 5010)
    assert controller.port(f"Uc0,8 call {moved.host} {moved.port} b;1 a;1") == at_alice
    assert controller.port(f"Lc0,8 call {ALICE.host} {ALICE.port} b;1 a;1") == at_bob
    for number in range(3):
        controller.send(at_bob, moved, rtp(number, ssrc=9))
    assert controller.send(at_alice, ALICE, rtp(9))[0][0] == moved


def test_a_refused_reinvite_costs_a_packet_and_no_more() -> None:
    """Nobody says that it failed: the phone just goes on where it was."""
    controller = Controller()
    at_bob, at_alice = controller.call()
    controller.talk(at_bob, at_alice)
    controller.port(f"Uc0,8 call {ALICE.host} 4444 a;1 b;1")
    for number in range(3):
        assert controller.send(at_alice, ALICE, rtp(10 + number, ssrc=1)) != []
    assert controller.send(at_bob, BOB, rtp(10, ssrc=2))[0][0] == ALICE
    controller.talk(at_bob, at_alice)


def test_a_late_offer_names_the_callee_first() -> None:
    """The 200 offers, the ACK answers: Kamailio sends U and L with the tags turned round."""
    controller = Controller()
    at_alice = controller.port(f"Uc0 call {BOB.host} {BOB.port} b;1 a;1")
    at_bob = controller.port(f"Lc0 call {ALICE.host} {ALICE.port} b;1 a;1")
    controller.talk(at_bob, at_alice)
    assert controller.port(f"Uc0 call {ALICE.host} {ALICE.port} a;1 b;1") == at_bob
    assert controller.ask("D call a b") == "0"
    assert controller.leased == 0


def test_hold_by_the_null_address_changes_nothing_that_was_learned() -> None:
    controller = Controller()
    at_bob, at_alice = controller.call()
    controller.talk(at_bob, at_alice)
    assert controller.port("Uc0,8 call 0.0.0.0 4000 a;1 b;1") == at_bob
    assert controller.send(at_bob, BOB, rtp(7, ssrc=2))[0][0] == ALICE
    assert int(controller.ask("Q call a;1 b;1 ttl")) > 3000


def test_streams_of_a_call_have_ports_of_their_own_and_end_together() -> None:
    controller = Controller()
    audio, _ = controller.call()
    video = controller.port(f"Uc96 call {ALICE.host} 4010 a;2")
    assert audio != video
    assert controller.port(f"Lc96 call {BOB.host} 5010 a;2 b;2") not in (audio, video)
    assert controller.leased == 8
    assert controller.ask("D call a;2 b;2") == "0"
    assert controller.leased == 4
    assert controller.ask("Q call a;2 b;2") == "E50"
    assert controller.ask("D call a b") == "0"
    assert controller.leased == 0


def test_a_lookup_creates_nothing() -> None:
    controller = Controller()
    assert controller.ask(f"Lc0 call {BOB.host} {BOB.port} a;1 b;1") == "0"
    assert controller.leased == 0


def test_new_ports_for_a_stream_that_is_there() -> None:
    controller = Controller()
    at_bob, at_alice = controller.call()
    fresh = controller.port(f"UNc0,8,101 call {ALICE.host} {ALICE.port} a;1 b;1")
    assert fresh != at_bob
    assert controller.leased == 4
    controller.talk(fresh, at_alice)


def test_a_call_lives_until_all_who_hold_it_let_go() -> None:
    controller = Controller()
    controller.port(f"UWc0 call {ALICE.host} {ALICE.port} a;1")
    controller.port(f"Uc0 call {ALICE.host} {ALICE.port} a;1")
    assert controller.ask("D call a") == "0"
    assert controller.leased == 4
    assert controller.ask("Dw call a") == "0"
    assert controller.leased == 0


def test_another_answerer_of_a_fork_is_learned_anew() -> None:
    controller = Controller()
    at_bob, at_alice = controller.call()
    controller.talk(at_bob, at_alice)
    carol = Addr("203.0.113.30", 7000)
    assert controller.port(f"Lc0 call {carol.host} {carol.port} a;1 c;1") == at_alice
    assert controller.send(at_alice, ALICE, rtp(9))[0][0] == carol
    for number in range(3):
        controller.send(at_bob, BOB, rtp(50 + number, ssrc=2))
    assert controller.send(at_alice, ALICE, rtp(10))[0][0] == carol


def test_a_repeated_cookie_gets_the_same_answer_and_does_nothing() -> None:
    controller = Controller()
    first = controller.repeat(f"77_1 Uc0 call {ALICE.host} {ALICE.port} a;1")
    assert controller.repeat(f"77_1 Uc0 call {ALICE.host} {ALICE.port} a;1") == first
    assert controller.repeat("77_2 D call a") == "77_2 0\n"
    assert controller.repeat("77_2 D call a") == "77_2 0\n"
    assert controller.repeat("77_2 D call a", Addr("127.0.0.1", 40001)) == "77_2 E50\n", "another's cookie"
    assert controller.ask("G ncmds_rcvd ncmds_rcvd_ndups") == "6 4"
    controller.now += KEPT
    assert controller.repeat("77_2 D call a") == "77_2 E50\n"


def test_ports_that_run_out_have_their_numbers() -> None:
    controller = Controller()
    controller.call()
    controller.binder.broken = True
    assert controller.ask(f"Uc0 other {ALICE.host} {ALICE.port} a;1") == "E72"
    assert controller.ask(f"Uc0 call {ALICE.host} 4010 a;2") == "E71"
    assert controller.leased == 4
    full = Controller(max_sessions=1)
    full.call()
    assert full.ask(f"Uc0 other {ALICE.host} {ALICE.port} a;1") == "E98"


def test_all_sessions_end_at_once() -> None:
    controller = Controller()
    controller.call()
    controller.port(f"Uc0 other {ALICE.host} {ALICE.port} a;1")
    assert controller.ask("X") == "0"
    assert controller.leased == 0
    assert controller.ask("G nsess_created nsess_destroyed nsess_complete") == "2 2 1"


def test_a_session_that_an_operator_ended_is_unknown_afterwards() -> None:
    controller = Controller()
    controller.call()
    controller.core.end(("call", OWNED + "a"), controller.now)
    assert controller.ask("Q call a;1 b;1") == "E50"
    controller.call()
    controller.core.end(("call", OWNED + "a"), controller.now)
    controller.commands.tick(controller.now + 100.0)
    assert controller.ask("Ib").split("\n")[1] == "active sessions: 0"


def test_a_session_of_others_is_no_call_of_sip_whatever_its_tags() -> None:
    """SIP with the same Call-ID and tag has a session of its own; its header can never hold the mark."""
    controller = Controller()
    at_bob, at_alice = controller.call()
    controller.core.end(("call", "a"), controller.now)
    controller.core.end(("call", "rtpp:a"), controller.now)
    controller.talk(at_bob, at_alice)
    [told] = controller.core.desk.sessions(controller.now)
    assert (told["call-id"], told["from_tag"]) == ("call", "rtpp:a")
    message = b"OPTIONS sip:a@b SIP/2.0\r\nFrom: <sip:a@b>;tag=" + OWNED.encode() + b"a\r\n\r\n"
    with pytest.raises(ParseError, match="control character"):
        parse(message)


def test_the_page_of_text() -> None:
    controller = Controller()
    at_bob, at_alice = controller.call()
    controller.talk(at_bob, at_alice, 2)
    assert controller.ask("I").split("\n") == [
        "sessions created: 1",
        "active sessions: 1",
        "active streams: 1",
        "packets received: 4",
        "packets transmitted: 4",
        f"call/a;1: caller = {OURS}:{at_alice}/{ALICE}, callee = {OURS}:{at_bob}/{BOB}, "
        "stats = 2/2/4/0, ttl = 60",
    ]
    assert "call/a" not in controller.ask("Ib")


def test_numbers_that_are_not_there() -> None:
    controller = Controller()
    controller.call()
    assert controller.ask("Q call a;1 b;1 rtpa_imagined") == "E62"
    assert controller.ask("G imagined") == "E68"
    assert controller.ask("Gv nsess_created") == "nsess_created=1"


def test_numbers_and_the_end_in_one_command() -> None:
    controller = Controller()
    at_bob, at_alice = controller.call()
    controller.talk(at_bob, at_alice, 1)
    assert controller.ask("Q call a;1 b;1 nrelayed && D") == "2"
    assert controller.leased == 0


def test_a_relay_that_is_to_be_empty_takes_no_new_sessions() -> None:
    controller = Controller()
    at_bob, _ = controller.call()
    controller.core.drained = frozenset({""})
    assert controller.ask(f"Uc0 other {ALICE.host} {ALICE.port} a;1") == "E99"
    assert controller.port(f"Uc0 call {ALICE.host} {ALICE.port} a;1 b;1") == at_bob


@pytest.mark.parametrize("junk", [b"", b" ", b"cookie", b"\xff\xfe\0", b"k U" + b" x" * 5000, b"k && D"])
def test_junk_is_answered_with_a_number(junk: bytes) -> None:
    controller = Controller()
    assert re.search(rb"E\d+\n\Z", controller.commands.receive(junk, SENDER, 1.0))
    assert controller.leased == 0
