"""What a relay knows of its streams: gathered on every way packets take, told by RTCP, shown."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from relay_talk import KEY, Phone, Talk

from edgesip.address import Addr
from edgesip.relay.figures import codecs_in, figures
from edgesip.relay.leg import Line
from edgesip.relay.mos import Sums
from edgesip.relay.quality import look
from edgesip.relay.track import Codec
from edgesip.relay.watch import PARTS


class Watched(Talk):
    """A call whose relay looks at it when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.sums = Sums()

    def look(self) -> None:
        """A second's worth of looks."""
        for _ in range(PARTS):
            look(self.core.watch.looks(), self.sums)

    def line(self, side: str) -> Line:
        [session] = self.core.named(KEY[0])
        return next(line for _, leg, line in session.lines() if leg.side == side)

    def figures(self, side: str) -> dict[str, Any]:
        return figures(self.line(side))

    def send(self, phone: Phone, data: bytes, *, rtcp: bool = False) -> None:
        assert phone.relay is not None
        to, by = phone.relay, phone.media
        if rtcp:
            to, by = Addr(to.host, to.port + 1), Addr(by.host, by.port + 1)
        self.arrive(to, data, by)


def test_packets_are_looked_at_whoever_carried_them() -> None:
    talk = Watched()
    talk.connect()
    assert talk.leg("caller")["carried_by"] == "user"
    talk.look()
    assert talk.figures("caller")["payload_types"] == {"0": 3}
    talk.caller.speak(40)
    talk.caller.sequence += 10
    talk.caller.speak(50)
    talk.look()
    shown = talk.figures("caller")
    assert shown["payload_types"] == {"0": talk.leg("caller")["packets"]}
    assert (shown["lost"], shown["reordered"], shown["duplicates"]) == (10, 0, 0)
    assert shown["loss"] == pytest.approx(100 * 10 / 103, abs=0.01)
    assert shown["ssrc"] == "0000000a"
    assert shown["codec"] == "PCMU"
    assert talk.sums.counts["rtp:rtp_packets_lost"] == 10


def test_what_a_rule_carried_is_not_lost_when_it_is_withdrawn() -> None:
    talk = Watched()
    talk.connect()
    talk.caller.speak(5)
    talk.invite(talk.caller.sdp(4002))
    talk.answer()
    assert talk.leg("caller")["carried_by"] == "slow"
    talk.look()
    assert talk.figures("caller")["payload_types"] == {"0": 8}
    assert talk.figures("caller")["lost"] == 0


def test_a_call_that_is_over_is_looked_at_once_more() -> None:
    talk = Watched()
    talk.connect()
    talk.look()
    talk.caller.speak(5)
    talk.caller.sequence += 4
    talk.caller.speak(5)
    line = talk.line("caller")
    talk.core.close(KEY, "b1", talk.now)
    talk.look()
    assert figures(line)["payload_types"] == {"0": 13}
    assert talk.sums.counts["rtp:rtp_packets_lost"] == 4


def test_keys_are_counted_where_the_answer_names_them() -> None:
    talk = Watched()
    lines = ["a=rtpmap:0 PCMU/8000", "a=rtpmap:101 telephone-event/8000"]
    talk.invite(talk.caller.sdp(lines=lines))
    talk.answer(talk.callee.sdp(lines=lines))
    talk.caller.speak(3)
    talk.callee.speak(3)
    for number in range(4):
        head = struct.pack("!BBHII", 0x80, 101, 4 + number, 640, talk.caller.ssrc)
        talk.send(talk.caller, head + struct.pack("!BBH", 7, 10, 160 * number))
    talk.look()
    assert talk.figures("caller")["dtmf"] == 1
    assert talk.figures("callee")["dtmf"] == 0
    assert talk.sums.counts["rtp:rtp_dtmf_events"] == 1


def sender_report(ssrc: int, middle: int) -> bytes:
    """An SR whose NTP time has these middle 32 bits; and an empty SDES chunk."""
    ntp = struct.pack("!HIH", 0, middle, 0)
    head = struct.pack("!BBHI", 0x80, 200, 6, ssrc)
    return head + ntp + struct.pack("!III", 0, 0, 0) + struct.pack("!BBHII", 0x81, 202, 2, ssrc, 0)


def receiver_report(ssrc: int, about: int, middle: int, held: float, lost: int = 0) -> bytes:
    block = struct.pack("!IIIIII", about, 64 << 24 | lost, 0, 80, middle, round(held * 65536))
    head = struct.pack("!BBHI", 0x81, 201, 7, ssrc)
    return head + block + struct.pack("!BBHII", 0x81, 202, 2, ssrc, 0)


def test_the_way_there_and_back_is_measured_by_passing_reports() -> None:
    talk = Watched()
    talk.connect()
    talk.look()
    assert talk.figures("caller")["mos_delay"] == "not known"
    caller, callee = talk.caller, talk.callee
    talk.send(caller, sender_report(caller.ssrc, 0x11112222), rtcp=True)
    talk.send(callee, sender_report(callee.ssrc, 0x33334444), rtcp=True)
    talk.wait(2.08)
    talk.send(callee, receiver_report(callee.ssrc, caller.ssrc, 0x11112222, 2.0, 3), rtcp=True)
    talk.wait(0.04)
    talk.send(caller, receiver_report(caller.ssrc, callee.ssrc, 0x33334444, 2.0), rtcp=True)
    talk.caller.speak(20)
    talk.look()
    shown = talk.figures("caller")
    assert shown["rtt_here"] == pytest.approx(120.0, abs=0.1)
    assert shown["rtt"] == pytest.approx(200.0, abs=0.1)
    assert talk.figures("callee")["rtt"] == shown["rtt"]
    assert shown["mos_delay"] == "rtcp"
    assert shown["told"] == {"lost": 3, "loss_now": 25.0, "jitter": 10.0}
    assert talk.sums.counts["rtp:rtp_rtt_samples_total"] == 1
    assert talk.sums.counts["rtp:rtp_rtt_total"] == pytest.approx(200_000, abs=100)


@pytest.mark.parametrize(("quoted", "held"), [(0x99990000, 0.0), (0, 0.0), (0x11112222, 30.0)])
def test_reports_that_quote_nothing_we_saw_or_a_jumped_clock_are_not_believed(
    quoted: int, held: float
) -> None:
    talk = Watched()
    talk.connect()
    talk.send(talk.caller, sender_report(talk.caller.ssrc, 0x11112222), rtcp=True)
    talk.wait(1.0)
    talk.send(talk.callee, receiver_report(talk.callee.ssrc, talk.caller.ssrc, quoted, held), rtcp=True)
    talk.look()
    assert talk.figures("callee")["rtt_here"] is None


def test_a_report_that_promises_more_than_it_has_is_read_as_far_as_it_goes() -> None:
    talk = Watched()
    talk.connect()
    report = bytes([0x9F, 201, 0, 1]) + talk.caller.ssrc.to_bytes(4, "big")
    talk.send(talk.caller, report, rtcp=True)
    short = bytes([0x9F, 200, 0, 1]) + talk.caller.ssrc.to_bytes(4, "big")
    talk.send(talk.caller, short, rtcp=True)
    talk.look()
    assert talk.figures("caller")["rtt"] is None


def test_a_line_that_nothing_came_from_has_no_figures() -> None:
    talk = Watched()
    talk.invite()
    talk.answer()
    talk.look()
    assert talk.figures("caller") == {}


def test_payload_types_mean_what_the_first_description_says() -> None:
    one = b"m=audio 1 RTP/AVP 96 101\r\na=rtpmap:96 opus/48000/2\r\na=RTPMAP: 101 telephone-event/8000\r\n"
    two = b"m=audio 1 RTP/AVP 96\r\na=rtpmap:96 AMR/8000\r\na=rtpmap:97 x/999999999\r\na=rtpmap:98\r\n"
    assert codecs_in(one, two) == {96: Codec("opus", 48000), 101: Codec("telephone-event", 8000)}


def test_each_stream_of_many_calls_has_its_turn_once_a_second() -> None:
    talk = Watched()
    keys = [(f"call-{number}", "tag") for number in range(40)]
    for key in keys:
        talk.invite(key=key)
        talk.answer(key=key)
        talk.caller.speak(2)
    counts = [len(talk.core.watch.looks()) for _ in range(PARTS)]
    assert sum(counts) == 40
    assert max(counts) < 40


def test_media_that_is_over_is_told_with_lines_that_were_dropped_on_the_way() -> None:
    talk = Watched()
    talk.invite(talk.caller.sdp(4000, 4010))
    talk.answer(talk.callee.sdp(4200, 4210))
    talk.caller.speak(3)
    talk.invite(talk.caller.sdp(4000, 0))
    talk.answer(talk.callee.sdp(4200, 0))
    talk.look()
    assert talk.core.watch.ended(talk.now) == []
    talk.core.close(KEY, "b1", talk.now)
    talk.look()
    [media] = talk.core.watch.ended(talk.now)
    assert media.over
    assert [(one.line, one.side.side, one.side.media) for one in media.seen] == [
        (0, "caller", "audio"),
        (0, "callee", "audio"),
        (1, "caller", "video"),
        (1, "callee", "video"),
    ]
    assert [one.side.packets for one in media.seen] == [3, 0, 0, 0]
    assert media.seen[0].side.octets == 3 * 172
    assert media.words(str)[0] == "fine"
    assert talk.core.watch.ended(talk.now) == []


def test_of_a_fork_the_one_who_answered_is_told() -> None:
    talk = Watched()
    for branch in ("b1", "b3", "b2"):
        talk.invite(branch=branch)
    talk.answer(branch="b2")
    talk.callee.speak(3)
    for branch in ("b1", "b3"):
        talk.core.close(KEY, branch, talk.now)
    talk.core.end(KEY, talk.now)
    talk.look()
    [media] = talk.core.watch.ended(talk.now)
    assert [(one.side.side, one.side.packets) for one in media.seen] == [("caller", 0), ("callee", 3)]


def test_a_call_that_nobody_answered_and_nobody_spoke_in_is_nothing_to_tell_of() -> None:
    talk = Watched()
    talk.invite()
    talk.core.end(KEY, talk.now)
    talk.look()
    assert talk.core.watch.ended(talk.now) == []


def test_a_phone_that_adds_and_drops_video_all_day_is_remembered_only_so_far() -> None:
    talk = Watched()
    for version in range(200):
        port = 4010 + version if version % 2 else 0
        talk.invite(talk.caller.sdp(4000, port))
        talk.answer(talk.callee.sdp(4200, port))
        talk.look()
        talk.wait(60)
    talk.core.end(KEY, talk.now)
    talk.look()
    [media] = talk.core.watch.ended(talk.now)
    assert len(media.seen) == 4


def test_a_living_call_is_told_as_it_is_now() -> None:
    talk = Watched()
    talk.connect()
    talk.caller.speak(10)
    look(talk.core.watch.looks_at("call"), talk.sums)
    [media] = talk.core.watch.living("call", talk.now)
    assert (media.over, [one.side.packets for one in media.seen]) == (False, [13, 3])
    assert media.seen[0].figures["payload_types"] == {"0": 13}
    assert talk.core.watch.living("other", talk.now) == []
