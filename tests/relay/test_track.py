"""Streams with known faults: loss, order, jitter by the book, DTMF; and the same from many at once."""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesip.relay.mos import Sums, mos
from edgesip.relay.quality import look
from edgesip.relay.track import HEAD, ROOM, Codec, Heads, Track

EVENT_CODECS = {101: Codec("telephone-event", 8000)}
START = 100.0


def packet(number: int, stamp: int, *, ssrc: int = 7, kind: int = 0, marker: bool = False) -> bytes:
    second = kind | (0x80 if marker else 0)
    return struct.pack("!BBHII", 0x80, second, number & 0xFFFF, stamp & 0xFFFFFFFF, ssrc) + bytes(4)


def key(number: int, stamp: int, *, code: int = 5, lasted: int = 160, marker: bool = False) -> bytes:
    return packet(number, stamp, kind=101, marker=marker)[:12] + struct.pack("!BBH", code, 10, lasted)


def stepped(packets: list[tuple[float, bytes]], codecs: dict[int, Codec] | None = None) -> Track:
    track = Track(codecs=codecs or {})
    for at, head in packets:
        track.step(at, head)
    return track


def spoken(numbers: list[int], *, first: int = 0) -> list[tuple[float, bytes]]:
    """20 ms of PCMU for each number, arriving 20 ms apart in this order."""
    return [(START + 0.02 * i, packet(n, 160 * (n - first))) for i, n in enumerate(numbers)]


def test_a_stream_in_order_has_no_faults() -> None:
    track = stepped(spoken([65534, 65535, 65536, 65537]))
    assert (track.lost, track.reordered, track.duplicates) == (0, 0, 0)


def test_a_gap_is_loss_until_the_packet_comes_late() -> None:
    assert stepped(spoken([1, 2, 5, 6])).lost == 2
    late = stepped(spoken([1, 2, 5, 3, 6]))
    assert (late.lost, late.reordered, late.duplicates) == (1, 1, 0)


def test_a_packet_that_comes_twice_is_a_duplicate_and_not_late() -> None:
    track = stepped(spoken([1, 2, 3, 2, 3, 4]))
    assert (track.lost, track.reordered, track.duplicates) == (0, 0, 2)


def test_a_stream_that_begins_anew_loses_nothing() -> None:
    track = stepped(spoken([100, 101, 40000, 40001, 40002]))
    assert track.lost == 0


def test_an_ssrc_of_its_own_is_a_stream_of_its_own() -> None:
    track = stepped([(START, packet(1, 0, ssrc=7)), (START + 0.02, packet(9000, 5, ssrc=8))])
    assert (track.lost, track.changes, sorted(track.sources)) == (0, 1, [7, 8])


def test_many_ssrcs_are_told_apart_only_so_far() -> None:
    track = stepped([(START + i, packet(1, 0, ssrc=i)) for i in range(100)])
    assert len(track.sources) == 8
    assert track.changes == 99


def test_jitter_is_that_of_the_rfc() -> None:
    """The algorithm of RFC 3550 §A.8 in its own integers, beside ours in seconds."""
    dice = random.Random(3)
    packets = []
    transit, scaled = 0, 0
    for i in range(400):
        at = START + 0.02 * i + dice.random() * 0.03
        packets.append((at, packet(i, 160 * i)))
        arrival = round(at * 8000)
        now = arrival - 160 * i
        if i:
            apart = abs(now - transit)
            scaled += apart - ((scaled + 8) >> 4)
        transit = now
    source = stepped(packets).current
    assert source is not None
    assert source.jitter * 8000 == pytest.approx(scaled / 16, rel=0.02)


def test_a_pause_in_which_the_timestamp_stood_still_is_no_jitter() -> None:
    packets = [(START + 0.02 * i, packet(i, 160 * i)) for i in range(10)]
    packets += [(START + 60 + 0.02 * i, packet(10 + i, 1600 + 160 * i)) for i in range(10)]
    source = stepped(packets).current
    assert source is not None
    assert source.jitter < 1e-6


def test_a_key_is_counted_once_however_often_it_is_said() -> None:
    packets = spoken([1, 2])
    packets += [
        (START + 0.04 + 0.02 * i, key(3 + i, 320, lasted=160 * (i + 1), marker=i == 0)) for i in range(5)
    ]
    packets += [(START + 0.2, key(8, 320, lasted=800)), (START + 0.2, key(9, 320, lasted=800))]
    packets += [(START + 0.3, key(10, 2400, marker=True)), (START + 0.32, packet(11, 2560))]
    track = stepped(packets, EVENT_CODECS)
    assert track.events == 2
    assert track.lost == 0
    assert track.types == {0: 3, 101: 8}


def test_a_key_whose_first_packet_is_lost_or_late_is_counted_once() -> None:
    track = stepped(
        [
            (START, key(2, 320, lasted=320)),
            (START + 0.01, key(3, 320, lasted=480)),
            (START + 0.02, key(1, 320, lasted=160, marker=True)),
        ],
        EVENT_CODECS,
    )
    assert track.events == 1


def test_a_key_held_for_longer_than_one_event_can_say_is_one() -> None:
    track = stepped(
        [
            (START, key(1, 320, lasted=160, marker=True)),
            (START + 8, key(2, 320, lasted=0xFFFF)),
            (START + 8.02, key(3, 320 + 0xFFFF, lasted=160)),
        ],
        EVENT_CODECS,
    )
    assert track.events == 1


def test_a_hook_flash_is_no_key() -> None:
    assert stepped([(START, key(1, 320, code=16, marker=True))], EVENT_CODECS).events == 0


def test_what_is_not_said_to_be_an_event_is_none() -> None:
    assert stepped([(START, key(1, 320, marker=True))]).events == 0


def test_of_a_flood_the_newest_heads_are_kept_and_the_rest_is_no_loss() -> None:
    track, sums = Track(), Sums()
    look([(track, heads_of(spoken([0, 1])))], sums)
    for at, head in spoken(list(range(2, ROOM + 1000))):
        track.see(at, head)
    taken = track.take()
    assert (taken.packets, len(taken.heads)) == (ROOM + 998, ROOM)
    look([(track, taken)], sums)
    assert (track.packets, track.lost) == (ROOM + 1000, 0)
    assert track.idle


def heads_of(packets: list[tuple[float, bytes]]) -> Heads:
    return Heads(len(packets), [at for at, _ in packets], [head for _, head in packets])


def facts(track: Track) -> list[object]:
    """Everything that a track knows of its streams; jitter as far as floats agree."""
    sources = [
        (s.ssrc, s.highest, s.timestamp, s.at, s.packets, s.lost, s.reordered, s.duplicates, s.window, s.bad)
        for s in track.sources.values()
    ]
    counted = (track.lost, track.reordered, track.duplicates, track.events, track.changes, track.types)
    return [sources, counted]


faults = st.sampled_from(["next"] * 30 + ["gap", "back", "twice", "far", "other", "key", "slow", "wide"])


@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(faults, max_size=60), min_size=1, max_size=8), st.integers(1, 25), st.randoms())
def test_many_streams_at_once_say_what_each_packet_says(
    plans: list[list[str]], piece: int, dice: random.Random
) -> None:
    """Whatever happens to streams: looks at pieces of all of them are the same as every packet alone."""
    streams = [made(plan, dice) for plan in plans]
    alone = [stepped(stream, EVENT_CODECS) for stream in streams]
    together = [Track(codecs=EVENT_CODECS) for _ in streams]
    sums = Sums()
    for begin in range(0, 62, piece):
        look(
            [
                (track, heads_of(stream[begin : begin + piece]))
                for track, stream in zip(together, streams, strict=True)
            ],
            sums,
        )
    for one, other in zip(alone, together, strict=True):
        assert facts(one) == facts(other)
        for ssrc, source in one.sources.items():
            assert other.sources[ssrc].jitter == pytest.approx(source.jitter, abs=1e-9)
    assert sums.counts["rtp:rtp_dtmf_events"] == sum(track.events for track in alone)
    assert sums.counts["rtp:rtp_duplicates"] == sum(track.duplicates for track in alone)


def made(plan: list[str], dice: random.Random) -> list[tuple[float, bytes]]:
    number, at, ssrc, packets = dice.randrange(65536), START, dice.randrange(3), []
    for fault in plan:
        at += 0.02 + dice.random() * 0.01
        number += {"gap": 3, "back": -2, "twice": 0, "far": 20000, "wide": 2999}.get(fault, 1)
        if fault == "slow":
            at += 5.0
        if fault == "other":
            ssrc = (ssrc + 1) % 3
        head = key(number, 160 * number) if fault == "key" else packet(number, 160 * number, ssrc=ssrc)
        packets.append((at, head[: dice.choice([12, HEAD])]))
    return packets


def test_a_look_at_nothing_is_nothing() -> None:
    sums = Sums()
    look([], sums)
    look([(Track(), Heads(0, [], []))], sums)
    assert not any(sums.counts.values())


def test_sums_have_a_sample_for_each_stream_that_was_heard() -> None:
    track, sums = Track(), Sums()
    look([(track, heads_of(spoken([*range(25), *range(26, 51)])))], sums)
    counts = sums.counts
    assert counts["rtp:rtp_packets_lost"] == 1
    assert counts["rtp:rtp_packetloss_total"] == 20  # 1 of 51 is 2.0 %
    assert counts["rtp:rtp_packetloss_samples_total"] == counts["rtp:rtp_mos_samples_total"] == 1
    assert counts["rtp:rtp_mos_total"] == round(mos(100 / 51, 0.0, None) * 1000)


def test_a_pause_is_remembered_with_its_times() -> None:
    track, sums = Track(), Sums()
    look([(track, heads_of(spoken([1, 2, 3])))], sums)
    look([(track, Heads(1, [START + 9.0], [packet(4, 480)]))], sums)
    assert track.pause == (START + 0.04, START + 9.0)
    assert (track.first_at, track.at) == (START, START + 9.0)


@pytest.mark.parametrize(
    ("loss", "jitter", "rtt", "expected"),
    [
        (0.0, 0.0, None, 4.34),
        (1.0, 0.0, None, 4.18),
        (5.0, 0.0, 0.1, 3.35),
        (0.0, 0.02, 0.6, 3.43),
        (100.0, 0.0, None, 1.0),
    ],
)
def test_mos_by_the_formula(loss: float, jitter: float, rtt: float | None, expected: float) -> None:
    assert mos(loss, jitter, rtt) == pytest.approx(expected, abs=0.005)


@given(st.floats(0, 100), st.floats(0, 100), st.floats(0, 2), st.floats(0, 2))
def test_mos_gets_no_better_by_loss_or_delay(one: float, two: float, jitter: float, rtt: float) -> None:
    low, high = sorted((one, two))
    assert 1.0 <= mos(high, jitter, rtt) <= mos(low, jitter, rtt) <= 4.5
    assert mos(low, jitter, rtt) <= mos(low, jitter, None) + 1e-9
