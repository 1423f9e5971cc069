"""Packets of another length: what a receiver gets for what a sender says, octets, numbers and times."""

from __future__ import annotations

import itertools
import struct
from random import Random

import pytest
from relay_talk import Talk

from edgesip.address import Addr
from edgesip.relay.resize import CODECS, Resizer
from edgesip.relay.rtp import Header, header

PHONE = Addr("198.51.100.10", 4000)
G711, GSM, G722, G729, EVENT = 0, 3, 9, 18, 101
FRAME = {0: 80, 3: 33, 8: 80, 9: 80, 18: 10}  # octets of the shortest packet
SAMPLES = {0: 80, 3: 160, 8: 80, 9: 80, 18: 80}  # and its ticks


class Sender:
    """A phone that counts octets as sound: each frame holds its own number."""

    def __init__(
        self, payload_type: int = G711, frames: int = 2, sequence: int = 100, clock: int = 5000
    ) -> None:
        self.type = payload_type
        self.frames = frames
        self.sequence = sequence
        self.clock = clock
        self.said = b""
        self.ssrc = 7

    def packet(self, *, marker: bool = False, payload: bytes | None = None, ticks: int = 0) -> bytes:
        if payload is None:
            first = len(self.said) // FRAME[self.type]
            frames = [bytes([n % 251]) * FRAME[self.type] for n in range(first, first + self.frames)]
            payload = b"".join(frames)
            ticks = SAMPLES[self.type] * self.frames
        kind = self.type | (0x80 if marker else 0)
        made = struct.pack("!BBHII", 0x80, kind, self.sequence & 0xFFFF, self.clock & 0xFFFFFFFF, self.ssrc)
        self.sequence += 1
        self.clock += ticks
        self.said += payload
        return made + payload

    def packets(self, count: int) -> list[bytes]:
        return [self.packet() for _ in range(count)]


def resized(resizer: Resizer, packets: list[bytes]) -> list[bytes]:
    return [out for packet in packets for out in resizer.carry(packet, PHONE, 0.0)]


def heads(packets: list[bytes]) -> list[Header]:
    return [header(packet) for packet in packets]


def sound(packets: list[bytes]) -> bytes:
    return b"".join(packet[12:] for packet in packets)


@pytest.mark.parametrize("payload_type", sorted(CODECS))
@pytest.mark.parametrize("frames", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("milliseconds", [10, 20, 30, 40, 50, 60])
def test_the_same_octets_in_packets_of_the_wanted_length(
    payload_type: int, frames: int, milliseconds: int
) -> None:
    sender = Sender(payload_type, frames, sequence=65530, clock=2**32 - 500)
    out = resized(Resizer(milliseconds), sender.packets(60))
    unit = 20 if payload_type == GSM else 10
    length = -(-milliseconds // unit) * unit
    octets = FRAME[payload_type] * length // unit
    assert {len(packet) - 12 for packet in out} == {octets}
    assert sound(out) == sender.said[: octets * len(out)]
    assert len(sender.said) - octets * len(out) < octets, "less than one packet waits"
    for index, fields in enumerate(heads(out)):
        assert fields == (
            payload_type,
            False,
            (65530 + index) & 0xFFFF,
            (2**32 - 500 + index * length * 8) & 0xFFFFFFFF,
            7,
        )


def test_a_marker_begins_a_packet_and_what_waited_leaves_before_it() -> None:
    sender = Sender(frames=3)
    resizer = Resizer(20)
    out = resized(resizer, [sender.packet(marker=True), sender.packet(), sender.packet(marker=True)])
    assert [len(packet) - 12 for packet in out] == [160, 160, 160, 160]
    assert [fields.marker for fields in heads(out)] == [True, False, False, True]
    sender = Sender(frames=2)
    out = resized(Resizer(60), [sender.packet(), *(sender.packet(marker=n == 0) for n in range(3))])
    assert [(len(packet) - 12, header(packet).marker) for packet in out] == [(160, False), (480, True)]


def test_silence_flushes_and_no_number_is_left_out() -> None:
    sender = Sender()
    resizer = Resizer(60)
    first = sender.packets(2)
    sender.clock += 16000
    out = resized(resizer, [*first, *sender.packets(3)])
    assert [(f.sequence, f.timestamp) for f in heads(out)] == [(100, 5000), (101, 5320 + 16000)]
    assert [len(packet) - 12 for packet in out] == [320, 480]


@pytest.mark.parametrize(("lost", "skipped"), [(1, 1), (3, 1), (6, 2), (30, 10)])
def test_loss_is_seen_as_loss_by_the_receiver(lost: int, skipped: int) -> None:
    sender = Sender()
    packets = sender.packets(3 + lost + 3)
    out = resized(Resizer(60), packets[:3] + packets[3 + lost :])
    before, after = heads(out)
    assert after.sequence == before.sequence + 1 + skipped
    assert after.timestamp == 5000 + (3 + lost) * 160, "sound stays where it belongs in time"


def test_late_and_repeated_packets_are_dropped() -> None:
    sender = Sender()
    one, two, three, four = sender.packets(4)
    resizer = Resizer(20)
    out = resized(resizer, [one, three, two, three, four, one])
    assert sound(out) == one[12:] + three[12:] + four[12:]
    assert [fields.sequence for fields in heads(out)] == [100, 102, 103]
    assert resizer.dropped == 3


def test_another_codec_begins_another_packet() -> None:
    sender = Sender()
    first = sender.packet()
    sender.type, sender.frames = G729, 2
    out = resized(Resizer(40), [first, *sender.packets(2)])
    assert [(f.payload_type, f.sequence, f.timestamp) for f in heads(out)] == [
        (0, 100, 5000),
        (18, 101, 5160),
    ]


def test_digits_pass_in_their_order_under_our_numbers() -> None:
    sender = Sender(frames=2)
    words = sender.packets(3)
    sender.type = EVENT
    digit = [sender.packet(payload=bytes((5, n // 4 << 7, 0, n)), marker=n == 0) for n in range(6)]
    sender.type, sender.clock = G711, sender.clock + 960
    out = resized(Resizer(40), [*words, *digit, *sender.packets(2)])
    assert [f.payload_type for f in heads(out)] == [0, 0, *[101] * 6, 0]
    assert [f.sequence for f in heads(out)] == list(range(100, 109))
    events = out[2:8]
    assert [packet[:2] + packet[4:] for packet in events] == [packet[:2] + packet[4:] for packet in digit]
    assert header(out[-1]).timestamp == 5000 + 480 + 960
    lost = resized(Resizer(40), [*digit[:2], *digit[4:]])
    assert [f.sequence for f in heads(lost)] == [103, 104, 107, 108], "a lost event packet stays lost"


@pytest.mark.parametrize("payload", [b"", bytes(1601), bytes(5000)])
def test_what_is_no_speech_passes_whole(payload: bytes) -> None:
    sender = Sender()
    odd = sender.packet(payload=payload, ticks=160)
    assert resized(Resizer(20), [odd]) == [odd]


def test_gsm_that_is_cut_short_passes_whole() -> None:
    sender = Sender(GSM, frames=1)
    odd = sender.packet(payload=bytes(40), ticks=160)
    assert resized(Resizer(60), [odd]) == [odd]


def test_nothing_follows_comfort_noise_of_g729() -> None:
    sender = Sender(G729, frames=2)
    speech = sender.packet()
    pause = sender.packet(payload=bytes(range(12)), ticks=160)
    sender.clock += 8000
    out = resized(Resizer(60), [speech, pause, sender.packet(marker=True)])
    assert [packet[12:] for packet in out] == [speech[12:] + pause[12:]]


def test_extensions_and_padding_are_not_sound() -> None:
    sender = Sender()
    plain = sender.packet()
    fancy = (
        bytes((0x80 | 0x30 | 2,)) + plain[1:12] + bytes(8) + b"\xbe\xde\0\1abcd" + plain[12:] + b"\0\0\0\4"
    )
    assert resized(Resizer(20), [fancy]) == [plain]
    broken = bytes((0x8F,)) + plain[1:12] + bytes(20)
    assert resized(Resizer(20), [broken]) == [broken], "it is not ours to judge"


def test_another_stream_goes_on_with_its_own_numbers() -> None:
    one, two = Sender(frames=1), Sender(frames=1, sequence=40000, clock=9)
    two.ssrc = 8
    out = resized(Resizer(20), [*one.packets(3), *two.packets(2)])
    assert [(f.ssrc, f.sequence, f.timestamp) for f in heads(out)] == [
        (7, 100, 5000),
        (7, 101, 5160),
        (8, 40000, 9),
    ]


def test_a_sender_that_begins_anew_is_followed() -> None:
    sender = Sender()
    first = sender.packets(2)
    sender.sequence, sender.clock = 30000, 77
    out = resized(Resizer(20), [*first, *sender.packets(2)])
    assert [(f.sequence, f.timestamp) for f in heads(out)] == [
        (100, 5000),
        (101, 5160),
        (102, 77),
        (103, 237),
    ]


@pytest.mark.parametrize("seed", range(20))
def test_any_stream_comes_out_in_order_with_nothing_said_twice(seed: int) -> None:
    """Whatever is lost, repeated or late: our numbers rise, and each octet leaves once at its own time."""
    dice = Random(seed)
    sender = Sender(dice.choice(sorted(CODECS)), frames=dice.choice([1, 2, 3]))
    origin = sender.clock
    packets = []
    for _ in range(400):
        if dice.random() < 0.02:
            sender.clock += 800 * dice.randrange(1, 20)
        packet = sender.packet(marker=dice.random() < 0.02)
        if dice.random() > 0.05:
            packets.append(packet)
        if dice.random() < 0.03:
            packets.append(packet)
    for _ in range(10):
        at = dice.randrange(len(packets) - 3)
        packets[at], packets[at + 2] = packets[at + 2], packets[at]
    wanted = dice.choice([10, 20, 30, 40, 50, 60])
    out = resized(Resizer(wanted), packets)
    for before, after in itertools.pairwise(heads(out)):
        assert 1 <= (after.sequence - before.sequence) & 0xFFFF <= 50
        assert 0 < (after.timestamp - before.timestamp) & 0xFFFFFFFF < 2**31
    at_time = {header(p).timestamp: p[12:] for p in packets}
    octets, ticks = FRAME[sender.type], SAMPLES[sender.type]
    frames_in = {
        begin + index * ticks: payload[index * octets : (index + 1) * octets]
        for begin, payload in at_time.items()
        for index in range(len(payload) // octets)
    }
    for packet in out:
        begin, payload = header(packet).timestamp, packet[12:]
        assert begin >= origin
        for index in range(len(payload) // octets):
            assert frames_in.pop(begin + index * ticks) == payload[index * octets : (index + 1) * octets]


@pytest.mark.parametrize("milliseconds", [0, 9, 201])
def test_other_lengths_are_refused(milliseconds: int) -> None:
    with pytest.raises(ValueError, match="10 to 200"):
        Resizer(milliseconds)


# RTCP


def sender_report(
    ssrc: int, packets: int, octets: int, about: int = 0, lost: int = 0, highest: int = 0
) -> bytes:
    """A sender report, with a block about a stream or without, and an empty SDES behind it."""
    blocks = struct.pack("!IB3sIIII", about, 12, lost.to_bytes(3, "big"), highest, 5, 6, 7) if about else b""
    first, words = 0x80 | bool(about), 6 + len(blocks) // 4
    head = struct.pack("!BBHIQIII", first, 200, words, ssrc, 1 << 40, 99, packets, octets)
    return head + blocks + struct.pack("!BBHII", 0x81, 202, 2, ssrc, 0)


def test_sender_reports_count_what_we_sent() -> None:
    sender = Sender(frames=2)
    resizer = Resizer(60)
    out = resized(resizer, sender.packets(31))
    assert len(out) == 10
    report = sender_report(7, 1000 + 31, 160_000 + 31 * 160)
    assert resizer.report(report, PHONE, 0.0) == sender_report(7, 1000 + 10, 160_000 + 10 * 480)
    stranger = sender_report(8, 5, 6)
    assert resizer.report(stranger, PHONE, 0.0) == stranger


def test_the_receivers_blocks_speak_of_the_senders_packets() -> None:
    sender = Sender(frames=2, sequence=65500)
    resizer = Resizer(60)
    out = resized(resizer, sender.packets(60))
    last = header(out[-1]).sequence
    report = sender_report(9, 5, 6, about=7, lost=4, highest=last)
    assert resizer.answer(report) == sender_report(9, 5, 6, about=7, lost=12, highest=65500 + 59)
    behind = sender_report(9, 5, 6, about=7, lost=0, highest=header(out[-3]).sequence)
    assert resizer.answer(behind) == sender_report(9, 5, 6, about=7, lost=0, highest=65500 + 59 - 6)
    other = sender_report(9, 5, 6, about=10, lost=4, highest=last)
    assert resizer.answer(other) == other


# In the relay


def test_each_side_is_resized_as_it_was_asked_and_the_path_stays_out() -> None:
    talk = Talk()
    talk.invite()
    talk.answer()
    session = talk.session()
    session.caller.ptime = 40
    talk.core.packets.settle(session)
    for _ in range(10):
        talk.caller.speak()
        talk.callee.speak()
    assert talk.leg("caller")["carried_by"] == "slow"
    assert talk.leg("callee")["carried_by"] == "user"
    assert [len(packet) - 12 for packet in talk.callee.inbox] == [320] * 5
    assert [len(packet) - 12 for packet in talk.caller.inbox] == [160] * 10
    session.caller.ptime = 0
    talk.core.packets.settle(session)
    talk.caller.speak()
    assert talk.leg("caller")["carried_by"] == "user"
    assert len(talk.callee.inbox[-1]) == 172


@pytest.mark.parametrize(("asked", "given"), [(1, 10), (15, 20), (300, 200), (999, 200)])
def test_what_no_packet_can_hold_is_brought_within_what_one_can(asked: int, given: int) -> None:
    talk = Talk()
    talk.connect()
    talk.session().caller.ptime = asked
    talk.core.packets.settle(talk.session())
    before = len(talk.callee.inbox)
    talk.caller.speak(20)
    assert {len(packet) - 12 for packet in talk.callee.inbox[before:]} == {given * 8}


def test_what_is_no_rtp_passes_whole() -> None:
    resizer = Resizer(40)
    for odd in (b"", b"\r\n", bytes(20), b"\x80\xc8" + bytes(30)):
        assert resizer.carry(odd, PHONE, 0.0) == (odd,)


def test_encrypted_media_is_left_alone() -> None:
    talk = Talk()
    secured = talk.caller.sdp().replace(b"RTP/AVP", b"RTP/SAVP")
    talk.invite(secured)
    talk.answer(talk.callee.sdp().replace(b"RTP/AVP", b"RTP/SAVP"))
    session = talk.session()
    session.caller.ptime = 40
    talk.core.packets.settle(session)
    talk.caller.speak(6)
    assert [len(packet) for packet in talk.callee.inbox] == [172] * 6
