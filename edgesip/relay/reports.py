"""What passing RTCP tells of a call: how long the way is, and what each side says of what it hears.

Reads sender and receiver reports (RFC 3550 §6.4) that were taken and are valid; changes none. Refuses to know
who may report, and everything else that RTCP can say.
"""

from __future__ import annotations

import struct

from edgesip.relay.leg import Line
from edgesip.relay.track import Report, Track

SENDER, RECEIVER = 200, 201
REMEMBERED = 4
"""Sender reports of a side that an answer may still refer to."""
LONGEST = 10.0
"""Seconds: a round trip above it is a clock that jumped."""

_BLOCK = struct.Struct("!IIIIII")


def reported_by(line: Line, peer: Line, data: bytes, now: float) -> None:
    """RTCP of the side of `line` passes us, about what comes from `peer`'s and from itself."""
    offset = 0
    while offset + 8 <= len(data):
        kind = data[offset + 1]
        size = 4 * (int.from_bytes(data[offset + 2 : offset + 4], "big") + 1)
        if kind in (SENDER, RECEIVER):
            _report(line.heard(), peer.heard(), data[offset : offset + size], kind, now)
        offset += size


def _report(mine: Track, peers: Track, report: bytes, kind: int, now: float) -> None:
    blocks = 8
    if kind == SENDER:
        if len(report) < 28:
            return
        middle = int.from_bytes(report[10:14], "big")  # of its NTP time: what an answer will quote (§6.4.1)
        mine.sent_reports = [*mine.sent_reports[1 - REMEMBERED :], (middle, now)]
        blocks = 28
    for number in range(report[0] & 0x1F):
        begin = blocks + 24 * number
        if begin + 24 > len(report):
            return
        ssrc, losses, _, jitter, quoted, held = _BLOCK.unpack_from(report, begin)
        if ssrc in peers.sources or len(peers.sources) == 0:
            lost = (losses & 0xFFFFFF ^ 0x800000) - 0x800000
            peers.report = Report(losses >> 24, lost, jitter)
        if quoted:
            _round_trip(mine, peers, quoted, held / 65536, now)


def _round_trip(mine: Track, peers: Track, quoted: int, held: float, now: float) -> None:
    """A report quotes one that passed us on its way to this side: since then it went there and back."""
    for middle, at in peers.sent_reports:
        near = now - at - held
        if middle == quoted and -0.005 <= near < LONGEST:
            mine.near = max(near, 0.0)
            if peers.near is not None:
                mine.rtt = peers.rtt = mine.near + peers.near
                mine.told_rtt = mine.rtt
            return
