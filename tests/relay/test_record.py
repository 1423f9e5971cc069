"""What a recording holds: each side in its channel and at its time, whatever the network did to it."""

from __future__ import annotations

import io
import struct
import wave
from itertools import pairwise
from random import Random

import numpy as np
import pytest
from numpy.typing import NDArray
from relay_talk import KEY, Talk, rtcp

from edgesip import pcap
from edgesip.address import Addr
from edgesip.relay.record import MOST_WAITING, PCAP, WAV, PcapFile, Sink, Taken, WavFile, name_of
from edgesip.relay.sinks import MOST_WISHES
from edgesip.relay.wav import RATE, Mixer, wav_header

START = 100.0
SPOKEN = (0x55, 0xD5, 0x2A, 0x00, 0x80, 0xFF)


def packet(
    sequence: int, code: int, *, kind: int = 0, ssrc: int = 1, size: int = 160, ticks: int = 0
) -> bytes:
    """Sound of one code; its timestamp follows from its number, `ticks` further on."""
    clock = (sequence * size + ticks) & 0xFFFFFFFF
    return struct.pack("!BBHII", 0x80, kind, sequence & 0xFFFF, clock, ssrc) + bytes([code]) * size


def channels(octets: bytes) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    both = np.frombuffer(octets, "<i2").reshape(-1, 2)
    return both[:, 0], both[:, 1]


def runs(samples: NDArray[np.int16]) -> list[tuple[int, int, int]]:
    """Stretches of one value: (first sample, how many, value), silence left out."""
    edges = [0, *(np.flatnonzero(np.diff(samples)) + 1), len(samples)]
    return [(a, b - a, int(samples[a])) for a, b in pairwise(edges) if samples[a]]


def test_each_side_is_in_its_channel_at_its_time() -> None:
    mixer = Mixer(START)
    for n in range(50):
        mixer.add(0, packet(n, 0x80), START + 0.02 * (n + 1))
        if n >= 25:
            mixer.add(1, packet(n, 0xAA, kind=8, ssrc=2), START + 0.02 * (n + 1))
    left, right = channels(mixer.finish(START + 1.0))
    assert runs(left) == [(0, 8000, 32124)]
    assert runs(right) == [(4000, 4000, 32256)]


def test_every_code_has_its_sample() -> None:
    """Both laws against numpy's reading of ITU-T G.711, octet for octet."""
    mixer = Mixer(START)
    for channel, kind in ((0, 0), (1, 8)):
        data = struct.pack("!BBHII", 0x80, kind, 1, 0, channel) + bytes(range(256))
        mixer.add(channel, data, START + 256 / RATE)
    left, right = channels(mixer.finish(START + 256 / RATE))
    assert [left[0], left[0x7F], left[0x80], left[0xFF], left[0x70]] == [-32124, 0, 32124, 0, -120]
    assert [right[0x55], right[0xD5], right[0x2A], right[0xAA], right[0x00]] == [-8, 8, -32256, 32256, -5504]
    assert sorted(left[:128]) == list(left[:128])
    assert (left[:128] == -left[128:]).all()
    assert (right[:128] == -right[128:]).all()


def test_what_is_lost_is_silence_and_moves_nothing() -> None:
    mixer = Mixer(START)
    for n in range(10):
        if n not in (3, 4):
            mixer.add(0, packet(n, 0x80), START + 0.02 * (n + 1))
    left, _ = channels(mixer.finish(START + 0.2))
    assert runs(left) == [(0, 480, 32124), (800, 800, 32124)]


def test_what_comes_in_bursts_and_out_of_order_stands_at_its_time() -> None:
    mixer = Mixer(START)
    mixer.add(0, packet(0, 0x80), START + 0.02)
    for n in (4, 2, 3, 1):
        mixer.add(0, packet(n, 0x80 + n), START + 0.8)
    left, _ = channels(mixer.finish(START + 0.8))
    assert [(at, length) for at, length, _ in runs(left)] == [(n * 160, 160) for n in range(5)]


def test_silence_of_the_sender_is_silence() -> None:
    mixer = Mixer(START)
    mixer.add(0, packet(0, 0x80), START + 0.02)
    mixer.add(0, packet(1, 0x80, ticks=RATE - 160), START + 1.02)
    left, _ = channels(mixer.finish(START + 1.02))
    assert runs(left) == [(0, 160, 32124), (8000, 160, 32124)]


def test_a_new_stream_and_a_new_clock_begin_where_they_come() -> None:
    mixer = Mixer(START)
    mixer.add(0, packet(0, 0x80), START + 0.02)
    mixer.add(0, packet(9000, 0x80, ssrc=2, ticks=12345), START + 0.52)
    mixer.add(0, packet(9001, 0x80, ssrc=2, ticks=2**31), START + 1.02)
    left, _ = channels(mixer.finish(START + 1.02))
    assert [at for at, _, _ in runs(left)] == [0, 4000, 8000]


@pytest.mark.parametrize("drift", [-0.001, 0.001])
def test_clocks_that_run_apart_are_brought_together(drift: float) -> None:
    """A phone whose clock is wrong by 1 per mille for two minutes: without care it would be 120 ms off."""
    mixer = Mixer(START)
    dice = Random(1)
    sound = b""
    for n in range(6000):
        spoken = 0.02 * (n + 1) * (1 + drift)
        mixer.add(0, packet(n, 0x80 if n >= 5999 else 0x90), START + spoken + 0.03 * dice.random())
        if n % 50 == 0:
            sound += mixer.take(START + spoken)
    end = 0.02 * 6000 * (1 + drift)
    left, _ = channels(sound + mixer.finish(START + end + 1.0))
    [[at, _, _]] = [run for run in runs(left) if run[2] == 32124]
    assert abs(at / RATE - (end - 0.02)) < 0.06


def test_what_was_said_before_the_beginning_is_cut_off() -> None:
    mixer = Mixer(START)
    mixer.add(0, packet(0, 0x80), START + 0.005)
    mixer.add(0, packet(1, 0x80), START + 0.025)
    left, _ = channels(mixer.finish(START + 0.03))
    assert runs(left) == [(0, 200, 32124)]


def test_what_is_given_out_does_not_change_any_more() -> None:
    mixer = Mixer(START)
    sound = b""
    for n in range(200):
        mixer.add(n % 2, packet(n, 0x80, ssrc=n % 2), START + 0.02 * (n + 1))
        if n % 50 == 49:
            sound += mixer.take(START + 0.02 * (n + 1))
    assert len(sound) == 3 * RATE * 4
    mixer.add(0, packet(0, 0x80, ssrc=0), START + 4.1)  # three seconds late: begins where it comes
    sound += mixer.finish(START + 4.2)
    assert len(sound) == 4.2 * RATE * 4


def test_what_is_no_g711_is_counted_and_silent() -> None:
    mixer = Mixer(START)
    for kind, size in ((9, 160), (101, 4), (101, 4), (0, 1601), (0, 0)):
        mixer.add(0, packet(1, 0x80, kind=kind, size=size), START + 0.5)
    for odd in (b"", bytes(5), bytes(40)):
        mixer.add(0, odd, START + 0.5)
    assert mixer.unheard == {9: 1, 101: 2, 0: 1}
    assert not any(mixer.finish(START + 1.0))


def test_a_header_says_what_is_behind_it() -> None:
    with wave.open(io.BytesIO(wav_header(8) + bytes(8))) as read:
        assert (read.getnchannels(), read.getsampwidth(), read.getframerate(), read.getnframes()) == (
            2,
            2,
            8000,
            2,
        )
    assert len(wav_header(2**33)) == 44


# ---- names


@pytest.mark.parametrize(
    ("call_id", "tag", "name"),
    [
        ("a84b4c76e66710@pc33.example.com", "1928", "a84b4c76e66710@pc33.example.com=1928"),
        ("../../etc/passwd", "x", "%2E.%2F..%2Fetc%2Fpasswd=x"),
        ("/etc/passwd", "", "%2Fetc%2Fpasswd="),
        ("..", ".", "%2E.=%2E"),
        ("", "", "="),
        ("a\0b\nc", "é", "a%00b%0Ac=%C3%A9"),
        ("100%", "a=b", "100%25=a%3Db"),
        ("\udc80", "~", "%80=%7E"),
    ],
)
def test_names_are_plain(call_id: str, tag: str, name: str) -> None:
    assert name_of((call_id, tag)) == name


def test_long_names_are_cut_and_differ_still() -> None:
    names = {name_of(("/" * 400 + last, "t")) for last in "abc"}
    assert len(names) == 3
    assert {len(name) for name in names} == {150}


def test_no_two_calls_have_one_name() -> None:
    dice = Random(3)
    keys = {("".join(dice.choices("a.=%/~é2E", k=6)), "".join(dice.choices("a=/", k=2))) for _ in range(3000)}
    names = {name_of(key) for key in keys}
    assert len(names) == len(keys)
    assert not [name for name in names if "/" in name or name.startswith(".")]


# ---- in the relay


def recorded(talk: Talk, kind: str = WAV) -> Sink:
    talk.core.record(KEY, kind, talk.now)
    [sink] = talk.core.sinks.take()
    return sink


def test_a_call_is_recorded_in_the_middle_and_goes_back_to_the_path() -> None:
    talk = Talk()
    talk.connect()
    assert talk.leg("caller")["carried_by"] == "user"
    sink = recorded(talk)
    assert talk.leg("caller")["because"] == "it is recorded"
    talk.caller.speak(5)
    talk.callee.speak(3)
    assert len(talk.callee.inbox) == 3 + 5
    assert [one.channel for one in sink.take()] == [0] * 5 + [1] * 3
    talk.core.record(KEY, WAV, talk.now)
    assert talk.core.sinks.take() == [], "it is recorded already"
    talk.core.record(KEY, "", talk.now)
    assert sink.ended == talk.now
    talk.caller.speak(2)
    assert sink.take() == []
    assert talk.leg("caller")["carried_by"] == "user"


def test_a_wish_before_the_call_records_it_from_its_first_packet() -> None:
    talk = Talk()
    talk.core.record(KEY, PCAP, talk.now)
    assert talk.core.sinks.take() == []
    talk.connect()
    [sink] = talk.core.sinks.take()
    assert len(sink.take()) == 6
    talk.core.end(KEY, talk.now)
    assert sink.ended == talk.now


def test_wishes_of_calls_that_never_came_are_forgotten() -> None:
    talk = Talk()
    talk.core.record(KEY, WAV, talk.now)
    talk.core.end(KEY, talk.now)
    talk.connect()
    assert talk.core.sinks.take() == []
    for number in range(MOST_WISHES + 5):
        talk.core.record((str(number), ""), WAV, talk.now)
    for number in (0, MOST_WISHES):
        talk.invite(key=(str(number), ""))
    assert [sink.key[0] for sink in talk.core.sinks.take()] == ["0"]
    with pytest.raises(ValueError, match="mp3"):
        talk.core.record(KEY, "mp3", talk.now)


def test_a_line_that_comes_later_is_in_a_pcap_and_only_the_first_sound_in_a_wav() -> None:
    for kind, lines in ((PCAP, 2), (WAV, 1)):
        talk = Talk()
        talk.connect()
        sink = recorded(talk, kind)
        talk.invite(talk.caller.sdp(4000, 4010))
        talk.answer(talk.callee.sdp(4200, 4210))
        taps = [line for _, _, line in talk.session().lines() if line.chain]
        assert len(taps) == 2 * lines
        assert sink.ended is None


def test_resized_calls_are_recorded_as_they_came() -> None:
    talk = Talk()
    talk.connect()
    talk.session().caller.ptime = 40
    sink = recorded(talk)
    talk.caller.speak(4)
    assert [len(one.data) for one in sink.take()] == [172] * 4
    assert [len(data) for data in talk.callee.inbox[-2:]] == [332, 332]
    assert talk.leg("caller")["because"] == "it is recorded and it is sent in packets of 40 ms"


def test_what_waits_is_bounded() -> None:
    sink = Sink(KEY, WAV, START)
    source, local = Addr("192.0.2.7", 4000), Addr("192.0.2.1", 20000)
    for _ in range(2000):
        sink.add(Taken(START, 0, source, local, bytes(1000)))
    assert sink.lost == 2000 - -(-MOST_WAITING // 1000)
    sink.take()
    sink.add(Taken(START, 0, source, local, bytes(1000)))
    assert len(sink.take()) == 1


def test_a_pcap_has_every_datagram_as_it_came() -> None:
    talk = Talk()
    talk.connect()
    sink = recorded(talk, PCAP)
    talk.caller.speak(1)
    talk.callee.report()
    talk.callee.speak(1)
    file = PcapFile(sink, wall_offset=1_000_000.25)
    data = file.begin() + file.made(sink.take(), talk.now) + file.finish(talk.now)
    at, seen = len(pcap.HEADER), []
    while at < len(data):
        seconds, micros, length, _ = struct.unpack_from("<IIII", data, at)
        ip = data[at + 16 : at + 16 + length]
        ports = struct.unpack_from("!HH", ip, 20)
        seen.append((seconds + micros / 1e6, ".".join(map(str, ip[12:16])), *ports, ip[28:]))
        at += 16 + length
    assert talk.caller.relay is not None
    assert talk.callee.relay is not None
    assert [one[1:4] for one in seen] == [
        ("198.51.100.10", 4000, talk.caller.relay.port),
        ("203.0.113.20", 4201, talk.callee.relay.port + 1),
        ("203.0.113.20", 4200, talk.callee.relay.port),
    ]
    assert seen[1][4] == rtcp(0xB)
    assert seen[0][0] == pytest.approx(talk.now + 1_000_000.25 - 0.04)


def test_a_wav_file_is_whole_at_every_moment() -> None:
    sink = Sink(KEY, WAV, START)
    file = WavFile(sink)
    data = file.begin()
    source, local = Addr("192.0.2.7", 4000), Addr("192.0.2.1", 20000)
    for n in range(250):
        sink.add(Taken(START + 0.02 * (n + 1), 0, source, local, packet(n, 0x80)))
        if n % 50 == 49:
            data += file.made(sink.take(), START + 0.02 * (n + 1))
            head = file.patched(len(data))
            assert head == wav_header(len(data) - 44)
    data += file.finish(START + 5.0)
    assert len(data) == 44 + 5 * RATE * 4
    left, right = channels(data[44:])
    assert runs(left) == [(0, 5 * RATE, 32124)]
    assert not right.any()
