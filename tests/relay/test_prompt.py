"""One prompt as packets: codec, packet size, numbers, repetitions, and a pace that holds whatever happens."""

from __future__ import annotations

from random import Random

import pytest

from edgesip.relay.prompt import ENDLESS, SLOT, Player, Prompt, chosen, packet_ms
from edgesip.relay.rtp import Header, header

TRACK = bytes(range(160)) * 3  # 60 ms of G.711
PROMPT = Prompt("hold", {0: TRACK, 8: TRACK[::-1], 3: bytes(33 * 4), 18: bytes(10 * 7)})


def player(code: int = 0, ptime: int = 0, count: int = ENDLESS, prompt: Prompt = PROMPT) -> Player:
    return Player(prompt, code, ptime, count, 1000, Random(7).randbytes(10))


def headers(packets: list[bytes]) -> list[Header]:
    return [header(packet) for packet in packets]


def test_the_first_codec_of_the_receiver_that_the_prompt_has() -> None:
    assert chosen(PROMPT, (111, 9, 8, 0)) == 8
    assert chosen(PROMPT, (0, 8)) == 0
    assert chosen(PROMPT, (18, 0)) == 18
    assert chosen(PROMPT, (111, 9, 101)) is None


def test_what_both_sides_named_comes_before_what_only_the_receiver_did() -> None:
    assert chosen(PROMPT, (0, 8), agreed=(8, 101)) == 8
    assert chosen(PROMPT, (0, 8), agreed=(9,)) == 0


def test_an_empty_track_is_none() -> None:
    assert chosen(Prompt("nothing", {0: b"", 8: bytes(8), 3: bytes(32)}), (0, 3, 8)) == 8


@pytest.mark.parametrize(
    ("code", "wanted", "milliseconds"),
    [
        (0, 0, 20),
        (0, 30, 30),
        (8, 10, 10),
        (0, 25, 25),
        (0, 22, 20),
        (0, 240, 60),
        (0, 2, 5),
        (3, 0, 20),
        (3, 30, 20),
        (3, 40, 40),
        (3, 10, 20),
        (4, 20, 30),
        (18, 30, 30),
        (18, 25, 20),
    ],
)
def test_packets_are_as_long_as_the_receiver_wants_in_whole_frames(
    code: int, wanted: int, milliseconds: int
) -> None:
    assert packet_ms(code, wanted) == milliseconds


def test_numbers_of_a_stream() -> None:
    music = player(ptime=20)
    seen = headers([music.packet() for _ in range(5)])
    assert [one.marker for one in seen] == [True, False, False, False, False]
    assert {one.ssrc for one in seen} == {music.ssrc}
    assert {one.payload_type for one in seen} == {0}
    assert [(one.sequence - seen[0].sequence) & 0xFFFF for one in seen] == [0, 1, 2, 3, 4]
    assert [(one.timestamp - seen[0].timestamp) & 0xFFFFFFFF for one in seen] == [0, 160, 320, 480, 640]
    assert music.slot == 1000 + 5 * 4


def test_sequence_and_timestamp_begin_anywhere_and_wrap() -> None:
    seed = b"\xff\xff" + b"\xff\xff\xff\xff" + b"\x00\x00\x00\x2a"
    music = Player(PROMPT, 0, 20, ENDLESS, 0, seed)
    seen = headers([music.packet(), music.packet()])
    assert [(one.sequence, one.timestamp, one.ssrc) for one in seen] == [
        (0xFFFF, 0xFFFFFFFF, 42),
        (0, 159, 42),
    ]


def test_two_players_have_nothing_in_common() -> None:
    one, other = (header(Player(PROMPT, 0, 20, 1, 0, Random(seed).randbytes(10)).packet()) for seed in (1, 2))
    assert one.ssrc != other.ssrc
    assert one.sequence != other.sequence
    assert one.timestamp != other.timestamp


def test_an_endless_prompt_goes_round_without_a_seam() -> None:
    music = player(ptime=25)
    heard = b"".join(music.packet()[12:] for _ in range(24))
    assert heard == (TRACK * 10)[: 24 * 200]
    assert not music.done


def test_a_counted_prompt_is_heard_so_often_and_ends() -> None:
    music = player(ptime=50, count=2)
    packets = []
    while not music.done:
        packets.append(music.packet()[12:])
    assert b"".join(packets) == TRACK * 2
    assert [len(one) for one in packets] == [400, 400, 160], "the last one may be short"


def test_frames_stay_whole() -> None:
    music = player(code=3, ptime=40, count=1, prompt=Prompt("p", {3: bytes(33 * 3 + 5)}))
    assert [len(music.packet()) - 12, len(music.packet()) - 12] == [66, 33]
    assert music.done


def test_a_prompt_shorter_than_a_packet() -> None:
    click = Prompt("click", {0: b"12345678"})
    assert player(count=1, prompt=click).packet()[12:] == b"12345678"
    assert player(count=3, prompt=click).packet()[12:] == b"12345678" * 3
    assert player(prompt=click).packet()[12:] == b"12345678" * 20


def test_time_that_jumps_is_told_by_the_timestamp_and_marked() -> None:
    music = player(ptime=20)
    first = header(music.packet())
    music.skip(4 * 50 + 3)
    second, third = headers([music.packet(), music.packet()])
    assert second.marker
    assert not third.marker
    assert second.sequence == (first.sequence + 1) & 0xFFFF
    assert (second.timestamp - first.timestamp) & 0xFFFFFFFF == 160 * 51
    assert music.slot == 1000 + 4 * 53


def test_what_could_not_be_sent_begins_anew() -> None:
    music = player(ptime=20, count=1)
    music.unsent()
    packet = music.packet()
    assert header(packet).marker
    assert packet[12:] == TRACK[160:320]


def test_timestamps_go_on_from_those_of_the_stream_that_is_covered() -> None:
    music = player(ptime=20)
    due = music.slot * SLOT
    music.join(due - 0.5, 0xFFFFFF00)
    assert header(music.packet()).timestamp == (0xFFFFFF00 + 4000) & 0xFFFFFFFF


def test_a_slot_is_a_divisor_of_every_packet() -> None:
    for code in (0, 3, 4, 8, 9, 18):
        for wanted in range(100):
            assert packet_ms(code, wanted) % round(SLOT * 1000) == 0
