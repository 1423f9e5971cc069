"""The learning rules of media-relay.md §2.2, rule by rule, then every rank against every state."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest

from edgesip.address import Addr
from edgesip.relay.latch import (
    Expect,
    Judgement,
    Latch,
    Learn,
    Reach,
    Sample,
    State,
    prefill,
    rank_of,
)

SDP = "198.51.100.10"
SIP = "203.0.113.7"
OTHER = "192.0.2.66"
RELAY = "192.0.2.1"
REACH = Reach(loopback=False, own=frozenset((RELAY,)), low=16384, high=32767)
EXPECT = Expect(SDP, 4000, SIP, REACH)
TAKEN, MISMATCH, INVALID = Judgement.TAKEN, Judgement.MISMATCH, Judgement.INVALID

# One source of every rank; the attacker's own where a rank has more than one.
PHONE = {
    "0": Addr(SDP, 4000),
    "1": Addr(SDP, 4444),
    "2a": Addr(SIP, 4000),
    "2b": Addr(SIP, 4444),
    "3": Addr(OTHER, 4000),
    "4": Addr(OTHER, 4444),
}
ATTACKER = {**PHONE, "1": Addr(SDP, 5555), "2b": Addr(SIP, 5555)}
RANKS = tuple(PHONE)


def latch(expect: Expect = EXPECT, *, unlocked: bool = True) -> Latch:
    made = Latch()
    made.expect(expect, 0.0)
    if unlocked:
        made.unlock(0.0)
    return made


def speak(
    who: Latch, source: Addr, count: int, at: float, *, ssrc: int = 7, first: int = 1
) -> list[Judgement]:
    """`count` packets of one stream, 20 ms apart."""
    return [who.judge(source, Sample(ssrc, first + n), at + n * 0.02) for n in range(count)]


# The table of ranks, and where an unheard leg is sent to.


@pytest.mark.parametrize("label", RANKS)
def test_rank_of_a_source(label: str) -> None:
    assert rank_of(PHONE[label], EXPECT).label == label
    assert rank_of(ATTACKER[label], EXPECT).label == label


@pytest.mark.parametrize(
    ("expect", "target", "proven"),
    [
        (EXPECT, Addr(SDP, 4000), False),
        (EXPECT._replace(sip=SDP), Addr(SDP, 4000), True),
        (EXPECT._replace(host="192.168.1.10"), Addr(SIP, 4000), True),
        (EXPECT._replace(host="192.168.1.10", sip="10.0.0.2"), Addr("192.168.1.10", 4000), False),
        (EXPECT._replace(host=None), Addr(SIP, 4000), True),
        (EXPECT._replace(host="127.0.0.1"), Addr(SIP, 4000), True),
        (EXPECT._replace(host="192.168.1.10", trust=True), Addr("192.168.1.10", 4000), True),
        (EXPECT._replace(trust=True), Addr(SDP, 4000), True),
        (EXPECT._replace(port=0), None, False),
        (EXPECT._replace(port=1023), None, False),
    ],
)
def test_prefill(expect: Expect, target: Addr | None, proven: bool) -> None:
    made = latch(expect)
    assert (made.target, made.proven) == (target, proven)


def test_the_same_sdp_from_another_sip_host_aims_anew_while_nothing_is_heard() -> None:
    behind_nat = EXPECT._replace(host="192.168.1.10")
    made = latch(behind_nat)
    made.expect(behind_nat._replace(sip=OTHER), 1.0)
    assert (made.state, made.target, made.proven) == (State.PREFILLED, Addr(OTHER, 4000), True)


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1", "224.0.0.5", "255.255.255.255", "240.0.0.1", "::1"])
def test_rule_8_forbids_addresses_that_are_nobody(host: str) -> None:
    expect = Expect(host, 4000, host, REACH)
    assert prefill(expect) is None
    assert speak(latch(expect), Addr(host, 4000), 3, 0.0) == [MISMATCH] * 3


def test_rule_8_forbids_our_own_ports_and_low_ones_and_allows_loopback_to_loopback_legs() -> None:
    assert not REACH.allows(Addr(RELAY, 16384))
    assert REACH.allows(Addr(RELAY, 5004))
    assert REACH.allows(Addr(OTHER, 16384))
    assert not REACH.allows(Addr(OTHER, 1023))
    assert REACH._replace(loopback=True).allows(Addr("127.0.0.1", 5004))


# Rule 1.


@pytest.mark.parametrize("label", RANKS)
@pytest.mark.parametrize("learn", list(Learn))
def test_rule_1_before_the_answer_nothing_is_learned_and_only_near_sources_pass(
    label: str, learn: Learn
) -> None:
    early = latch(EXPECT._replace(learn=learn), unlocked=False)
    near = {Learn.STRICT: ("0",), Learn.ASYMMETRIC: ("0", "1")}
    passes = label in near.get(learn, ("0", "1", "2a", "2b"))
    before = early.target
    assert speak(early, PHONE[label], 5, 0.0) == [TAKEN if passes else MISMATCH] * 5
    assert (early.state, early.best, early.target) == (State.PREFILLED, None, before)


def test_rule_1_without_any_sdp_of_the_answerer_its_sip_host_passes() -> None:
    early = latch(Expect(None, 0, SIP, REACH), unlocked=False)
    assert early.state is State.INIT
    assert early.judge(Addr(SIP, 4321), Sample(1, 1), 0.0) is TAKEN
    assert early.judge(Addr(OTHER, 4321), Sample(1, 1), 0.0) is MISMATCH
    assert early.target is None


# Rule 2.


@pytest.mark.parametrize(
    ("learn", "accepted"),
    [
        (Learn.STRICT, ("0",)),
        (Learn.ASYMMETRIC, ("0", "1")),
        (Learn.NAT, ("0", "1", "2a", "2b")),
        (Learn.LOOSE, RANKS),
    ],
)
def test_rule_2_accepted_ranks(learn: Learn, accepted: tuple[str, ...]) -> None:
    for label in RANKS:
        made = latch(EXPECT._replace(learn=learn))
        speak(made, PHONE[label], 3, 0.0)
        assert (made.rank == label) is (label in accepted)
        assert made.mismatches == (0 if label in accepted else 3)


# Rule 3.


def test_rule_3_one_packet_passes_and_the_second_makes_the_target() -> None:
    made = latch()
    assert made.judge(PHONE["2b"], Sample(7, 1), 0.0) is TAKEN
    assert (made.target, made.proven, made.state) == (Addr(SDP, 4000), False, State.LEARNING)
    assert made.judge(PHONE["2b"], Sample(7, 2), 0.02) is TAKEN
    assert (made.target, made.proven, made.state) == (PHONE["2b"], True, State.LEARNING)


@pytest.mark.parametrize(
    ("second", "learned"),
    [
        (Sample(7, 101), True),
        (Sample(7, 116), True),
        (Sample(7, 117), False),
        (Sample(7, 100), False),
        (Sample(7, 99), False),
        (Sample(8, 101), False),
    ],
)
def test_rule_3_same_ssrc_and_a_step_of_1_to_16(second: Sample, learned: bool) -> None:
    made = latch()
    made.judge(PHONE["1"], Sample(7, 100), 0.0)
    made.judge(PHONE["1"], second, 0.02)
    assert (made.best is not None) is learned


def test_rule_3_sequence_numbers_wrap() -> None:
    made = latch()
    made.judge(PHONE["0"], Sample(7, 65530), 0.0)
    made.judge(PHONE["0"], Sample(7, 3), 0.02)
    assert made.locked == PHONE["0"]


def test_rule_3_what_proves_nothing_is_not_learned_from() -> None:
    made = latch()
    assert [made.judge(PHONE["0"], None, n * 0.02) for n in range(5)] == [INVALID] * 5
    assert (made.best, made.tries) == (None, {})


def test_sources_that_only_try_are_bounded() -> None:
    made = latch()
    for n in range(100):
        made.judge(Addr(SIP, 40000 + n), Sample(1, 1), n * 0.21)
    assert len(made.tries) == 8
    speak(made, PHONE["2a"], 2, 21.0)
    assert made.target == PHONE["2a"]


# Rule 4.


def test_rule_4_the_signalled_address_locks_at_once_others_after_the_window() -> None:
    exact, behind_nat = latch(), latch()
    speak(exact, PHONE["0"], 2, 0.0)
    assert exact.locked == PHONE["0"]
    speak(behind_nat, PHONE["2a"], 149, 0.0)  # up to 2.96 s
    assert (behind_nat.locked, behind_nat.target) == (None, PHONE["2a"])
    behind_nat.judge(PHONE["2a"], Sample(7, 200), 3.0)
    assert behind_nat.locked == PHONE["2a"]


def test_rule_4_a_late_source_locks_as_soon_as_it_is_proven() -> None:
    made = latch()
    speak(made, PHONE["2b"], 2, 30.0)
    assert made.locked == PHONE["2b"]


def test_rule_4_signalling_opens_the_window_anew_while_learning() -> None:
    made = latch()
    speak(made, PHONE["2b"], 2, 0.0)
    made.expect(EXPECT, 2.5)
    made.judge(PHONE["2b"], Sample(7, 3), 5.0)
    assert made.locked is None
    made.judge(PHONE["2b"], Sample(7, 4), 5.5)
    assert made.locked == PHONE["2b"]


@pytest.mark.parametrize("worse", ["1", "2a", "2b"])
def test_rule_4_a_better_rank_takes_over_in_the_window(worse: str) -> None:
    made = latch()
    speak(made, PHONE[worse], 2, 0.0)
    speak(made, PHONE["0"], 2, 1.0, ssrc=9)
    assert made.locked == PHONE["0"]
    assert made.judge(PHONE[worse], Sample(7, 3), 1.1) is MISMATCH


def test_rule_4_2a_beats_2b_both_ways_round() -> None:
    made = latch()
    speak(made, PHONE["2b"], 2, 0.0)
    speak(made, PHONE["2a"], 2, 0.1, ssrc=9)
    assert made.target == PHONE["2a"]
    assert speak(made, PHONE["2b"], 2, 0.2, first=3) == [MISMATCH] * 2
    assert not made.contested


def test_rule_4_ties_go_to_the_first_and_are_shown() -> None:
    made = latch()
    speak(made, PHONE["2b"], 2, 0.0)
    assert speak(made, ATTACKER["2b"], 3, 0.1, ssrc=9) == [MISMATCH] * 3
    assert (made.target, made.contested) == (PHONE["2b"], True)


def test_rule_4_a_single_packet_keeps_worse_sources_out_for_two_seconds_at_most() -> None:
    made = latch()
    made.judge(PHONE["1"], Sample(9, 1), 0.0)
    assert made.judge(PHONE["2b"], Sample(7, 1), 1.9) is MISMATCH
    assert made.judge(PHONE["2b"], Sample(7, 2), 2.0) is TAKEN


def test_rule_4_in_a_tie_the_first_has_a_head_start_to_prove_itself() -> None:
    made = latch()
    made.judge(PHONE["2b"], Sample(7, 1), 0.0)
    assert made.judge(ATTACKER["2b"], Sample(9, 1), 0.19) is MISMATCH
    assert made.contested
    made.judge(PHONE["2b"], Sample(7, 40), 0.19)  # proves nothing, and gains no time
    assert speak(made, ATTACKER["2b"], 2, 0.2, ssrc=9) == [TAKEN] * 2
    assert made.target == ATTACKER["2b"]


def test_a_single_better_packet_does_not_mute_the_source_that_is_proven() -> None:
    made = latch()
    speak(made, PHONE["2b"], 2, 0.0)
    made.judge(PHONE["0"], Sample(9, 1), 0.1)
    assert made.judge(PHONE["2b"], Sample(7, 3), 0.12) is TAKEN


# Rules 5 and 6b.


def locked(label: str = "2a") -> Latch:
    """A latch locked at 3.0 on the phone of this rank, SSRC 7, sequence 1000."""
    made = latch()
    speak(made, PHONE[label], 2, 0.0)
    made.judge(PHONE[label], Sample(7, 1000), 3.0)
    assert made.state is State.LOCKED
    return made


def test_rule_5_the_locked_source_may_change_its_stream() -> None:
    made = locked()
    assert speak(made, PHONE["2a"], 2, 3.1, ssrc=99, first=40000) == [TAKEN] * 2
    assert made.judge(PHONE["2a"], None, 3.2) is TAKEN


@pytest.mark.parametrize(
    ("silence", "source", "ssrc", "sequence", "moves"),
    [
        (2.0, PHONE["2b"], 7, 1001, True),
        (2.0, PHONE["2b"], 7, 1535, True),
        (2.0, PHONE["2b"], 7, 464, True),
        (1.9, PHONE["2b"], 7, 1001, False),
        (2.0, PHONE["2b"], 8, 1001, False),
        (2.0, PHONE["2b"], 7, 1600, False),
        (2.0, PHONE["2b"], 7, 463, False),
        (60.0, PHONE["3"], 7, 1001, False),
        (60.0, PHONE["4"], 7, 1001, False),
    ],
)
def test_rule_6b_only_the_same_stream_moves_and_only_when_the_old_place_is_silent(
    silence: float, source: Addr, ssrc: int, sequence: int, moves: bool
) -> None:
    made = locked()
    answers = speak(made, source, 2, 3.0 + silence, ssrc=ssrc, first=sequence)
    assert answers == ([MISMATCH, TAKEN] if moves else [MISMATCH] * 2)
    assert (made.locked, made.target) == ((source, source) if moves else (PHONE["2a"], PHONE["2a"]))
    assert made.relatches == int(moves)


def test_rule_6b_silence_counts_what_a_path_carried() -> None:
    made = locked()
    made.refresh(10.0, 7, 1350)
    assert speak(made, PHONE["2b"], 2, 11.0, first=1400) == [MISMATCH] * 2
    assert speak(made, PHONE["2b"], 2, 12.5, first=1450)[-1] is TAKEN


@pytest.mark.parametrize("handover", [False, True])
def test_rule_6_a_handover_needs_silence_and_an_accepted_source_but_not_the_same_stream(
    handover: bool,
) -> None:
    made = latch(EXPECT._replace(handover=handover))
    speak(made, PHONE["2a"], 2, 0.0)
    made.judge(PHONE["2a"], Sample(7, 1000), 3.0)
    assert speak(made, PHONE["2b"], 2, 4.9, ssrc=8, first=9000) == [MISMATCH] * 2, "the old one speaks"
    assert speak(made, PHONE["3"], 2, 5.2, ssrc=8, first=9100) == [MISMATCH] * 2
    after = speak(made, PHONE["2b"], 2, 5.3, ssrc=8, first=9200)
    assert after == ([MISMATCH, TAKEN] if handover else [MISMATCH] * 2)
    assert made.locked == (PHONE["2b"] if handover else PHONE["2a"])


# Rule 6a.


def test_rule_6a_the_same_address_again_relearns_nothing() -> None:
    made = locked()
    made.expect(EXPECT, 100.0)
    assert (made.state, made.locked) == (State.LOCKED, PHONE["2a"])


def test_rule_6a_a_new_address_is_learned_while_the_old_one_is_still_heard() -> None:
    made = locked()
    moved = Addr(OTHER, 7000)
    made.expect(Expect(OTHER, 7000, SIP, REACH), 100.0)
    assert (made.state, made.locked, made.target) == (State.RELATCH, None, moved)
    assert made.judge(Addr(SDP, 4444), Sample(7, 1001), 100.1) is MISMATCH
    assert made.judge(PHONE["0"], Sample(7, 1001), 100.1) is MISMATCH
    assert made.judge(PHONE["2a"], Sample(7, 1001), 100.1) is TAKEN
    assert made.judge(PHONE["2a"], None, 109.9) is TAKEN
    speak(made, moved, 2, 109.9, ssrc=9)
    assert made.locked == moved
    assert made.judge(PHONE["2a"], None, 109.95) is MISMATCH


def test_rule_6a_the_old_address_is_heard_for_ten_seconds() -> None:
    made = latch()
    speak(made, PHONE["0"], 2, 0.0)
    made.expect(Expect(OTHER, 7000, OTHER, REACH), 100.0)
    assert made.judge(PHONE["0"], Sample(7, 3), 109.99) is TAKEN
    assert made.judge(PHONE["0"], Sample(7, 4), 110.0) is MISMATCH
    assert made.state is State.LEARNING


# RTCP: rules 3 and 10.


def rtcp(*, tied: str | None = SDP) -> Latch:
    made = Latch(rtcp=True)
    made.expect(EXPECT._replace(port=4001), 0.0)
    made.unlock(0.0)
    if tied is not None:
        made.tie(tied)
    return made


def test_rtcp_is_learned_only_where_rtp_is_locked() -> None:
    made = rtcp(tied=None)
    assert made.judge(Addr(SIP, 4555), Sample(7, 0), 1.0) is TAKEN
    assert made.best is None
    made.tie(SIP)
    assert made.target == Addr(SIP, 4001)
    assert made.judge(Addr(SDP, 4001), Sample(7, 0), 4.0) is MISMATCH
    assert made.judge(Addr(SIP, 4555), Sample(7, 0), 4.0) is TAKEN
    assert made.locked == Addr(SIP, 4555)
    assert made.judge(Addr(SIP, 4556), Sample(8, 0), 10.0) is MISMATCH


def test_rtcp_from_the_signalled_port_locks_at_once() -> None:
    made = rtcp()
    assert made.judge(Addr(SDP, 4001), Sample(7, 0), 0.5) is TAKEN
    assert made.locked == Addr(SDP, 4001)


def test_rtcp_follows_rtp_to_another_host_and_a_rebind_needs_its_ssrc() -> None:
    made = rtcp()
    made.judge(Addr(SDP, 4001), Sample(7, 0), 0.5)
    made.tie(SIP)
    assert (made.target, made.locked) == (Addr(SIP, 4001), None)
    made.judge(Addr(SIP, 4600), Sample(7, 0), 5.0)
    assert made.locked == Addr(SIP, 4600)
    assert made.judge(Addr(SIP, 4700), Sample(8, 0), 10.0) is MISMATCH
    assert made.judge(Addr(SDP, 4700), Sample(7, 0), 10.0) is MISMATCH
    assert made.judge(Addr(SIP, 4700), Sample(7, 0), 10.0) is TAKEN
    assert made.locked == Addr(SIP, 4700)


# Every rank in every state: what an attacker gets (bled octets) and gets in (injected packets).


@dataclass
class Scene:
    """A phone, an attacker and the far side's audio around one latch, each 50 packets a second."""

    latch: Latch
    phone: Addr
    attacker: Addr
    now: float = 0.0
    sequence: int = 1
    bled: int = 0
    injected: int = 0
    heard: int = 0
    unproven: int = 0
    sent: dict[Addr, int] = field(default_factory=dict)

    def play(self, seconds: float, *, phone: bool, attack: bool) -> None:
        for _ in range(round(seconds / 0.02)):
            self.now += 0.02
            self.sequence += 1
            if phone:
                self.heard += self.latch.judge(self.phone, Sample(7, self.sequence), self.now) is TAKEN
            if attack:
                sample = Sample(0xBAD, self.sequence)
                self.injected += self.latch.judge(self.attacker, sample, self.now + 0.01) is TAKEN
            target = self.latch.target
            if target is None or not (self.latch.proven or self.unproven < 3):
                continue
            self.unproven += not self.latch.proven
            self.sent[target] = self.sent.get(target, 0) + 172
            if target == self.attacker != self.phone:
                self.bled += 172


# "-": nothing in, nothing out. "in": its packets pass, it gets nothing. "won": it becomes the target.
# Columns: the attacker's rank.
NOBODY = ("won", "won", "won", "won", "-", "-")
MATRIX: dict[str, dict[str, tuple[str, ...]]] = {
    # state          phone   0      1      2a     2b     3    4
    "early":      {"0":  ("-",   "in",  "in",  "in",  "-", "-"),
                   "1":  ("in",  "in",  "in",  "in",  "-", "-"),
                   "2a": ("in",  "in",  "-",   "in",  "-", "-"),
                   "2b": ("in",  "in",  "in",  "in",  "-", "-")},
    "silent":     dict.fromkeys(("0", "1", "2a", "2b"), NOBODY),
    "one packet": {"0":  ("-",   "-",   "-",   "-",   "-", "-"),
                   "1":  ("won", "-",   "-",   "-",   "-", "-"),
                   "2a": ("won", "won", "-",   "-",   "-", "-"),
                   "2b": ("won", "won", "won", "-",   "-", "-")},
    "learning":   {"0":  ("-",   "-",   "-",   "-",   "-", "-"),
                   "1":  ("won", "-",   "-",   "-",   "-", "-"),
                   "2a": ("won", "won", "-",   "-",   "-", "-"),
                   "2b": ("won", "won", "won", "-",   "-", "-")},
    "locked":     dict.fromkeys(("0", "1", "2a", "2b"), ("-",) * 6),
    "locked and silent": dict.fromkeys(("0", "1", "2a", "2b"), ("-",) * 6),
    "relatch":    {"0":  ("-",   "-",   "-",   "-",   "-", "-"),
                   "1":  ("won", "-",   "-",   "-",   "-", "-"),
                   "2a": ("won", "won", "-",   "-",   "-", "-"),
                   "2b": ("won", "won", "won", "-",   "-", "-")},
}  # fmt: skip


def scene(state: str, phone: str, attacker: str) -> Scene:
    """Bring a latch into the state, then let the attacker speak for 5 s."""
    made = Scene(latch(unlocked=state != "early"), PHONE[phone], ATTACKER[attacker])
    if state == "relatch":
        before = EXPECT._replace(host=OTHER, port=9000, sip=OTHER)
        made.latch = latch(before)
        speak(made.latch, Addr(OTHER, 9000), 2, -100.0)
        made.latch.expect(EXPECT, 0.0)
        assert made.latch.state is State.RELATCH
        made.play(0.1, phone=True, attack=False)
    elif state == "one packet":
        made.play(0.02, phone=True, attack=False)
    elif state == "learning":
        made.play(0.1, phone=True, attack=False)
    elif state.startswith("locked"):
        made.play(3.1, phone=True, attack=False)
        assert made.latch.state is State.LOCKED
    made.play(5.0, phone=state not in ("early", "silent", "locked and silent"), attack=True)
    return made


CASES = [
    (state, phone, attacker, outcome)
    for state, rows in MATRIX.items()
    for phone, row in rows.items()
    for attacker, outcome in zip(RANKS, row, strict=True)
    if PHONE[phone] != ATTACKER[attacker]
]


@pytest.mark.parametrize(("state", "phone", "attacker", "outcome"), CASES)
def test_every_rank_in_every_state(state: str, phone: str, attacker: str, outcome: str) -> None:
    made = scene(state, phone, attacker)
    # What is sent before anybody is proven goes to the signalled address, whoever lives there: rule 9.
    prefilled = 3 * 172 if attacker == "0" else 0
    if outcome == "-":
        assert made.injected == 0
        assert made.bled <= prefilled
    elif outcome == "in":
        assert made.injected == 250
        assert made.bled <= prefilled
    else:
        # It is nearer to what was signalled than the phone, or the phone has not spoken: rules 2 and 4.
        assert made.injected == 250
        assert made.latch.locked == ATTACKER[attacker]
    if outcome == "-" and made.heard:
        assert made.latch.locked == PHONE[phone]
    strangers = (sent for to, sent in made.sent.items() if to not in (made.phone, made.attacker))
    assert sum(strangers) <= 3 * 172


def test_a_latch_survives_its_record() -> None:
    moving = latch()
    for n in range(4):
        moving.judge(PHONE["0"], Sample(7, n), n / 4)
    moving.expect(Expect(OTHER, 7000, OTHER, REACH), 8.0)
    for made in (Latch(), latch(unlocked=False), moving, rtcp()):
        record = json.loads(json.dumps(made.record(1024.0)))
        assert Latch.from_record(record, 1024.0, REACH) == made
        assert Latch.from_record(record, 1000.0, REACH).signalled_at == made.signalled_at + 24.0
