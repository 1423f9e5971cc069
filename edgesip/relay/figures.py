"""The figures of a stream as operators see them, and what a line's payload types mean.

Reads tracks and lines, changes nothing but what it is told to. Refuses to know tables, terminals and RPC.
"""

from __future__ import annotations

import re
from typing import Any

from edgesip.relay.leg import Line
from edgesip.relay.mos import mos
from edgesip.relay.track import Codec, Track

_RTPMAP = re.compile(rb"^a=rtpmap:[ \t]*([0-9]{1,3})[ \t]+([^/\s]{1,32})/([0-9]{1,6})\b", re.M | re.I)
STATIC_NAMES = {0: "PCMU", 3: "GSM", 4: "G723", 8: "PCMA", 9: "G722", 13: "CN", 18: "G729"}


def codecs_in(*texts: bytes) -> dict[int, Codec]:
    """What rtpmap lines of media descriptions say of payload types (RFC 8866 §6.6); the first one counts."""
    found: dict[int, Codec] = {}
    for text in texts:
        for number, name, rate in _RTPMAP.findall(text):
            found.setdefault(int(number), Codec(name.decode("latin-1").lower(), int(rate)))
    return found


def figures(line: Line) -> dict[str, Any]:
    """How the RTP of this side came in, as far as looks have come; empty before the first packet.

    Loss in percent, times in milliseconds. `mos_delay` says whether the delay in `mos` is that of RTCP.
    """
    track = line.track
    source = None if track is None else track.current
    if track is None or source is None:
        return {}
    known = track.mos_count > 0
    return {
        "codec": _name(source.payload_type, track),
        "payload_types": {str(kind): count for kind, count in sorted(track.types.items())},
        "ssrc": f"{source.ssrc:08x}",
        "ssrcs": [f"{ssrc:08x}" for ssrc in track.sources],
        "ssrc_changes": track.changes,
        "lost": track.lost,
        "loss": round(loss(track), 2),
        "reordered": track.reordered,
        "duplicates": track.duplicates,
        "jitter": round(source.jitter * 1000, 2) if source.rate else None,
        "jitter_max": round(track.jitter_max * 1000, 2) if source.rate else None,
        "rtt": None if track.rtt is None else round(track.rtt * 1000, 1),
        "rtt_here": None if track.near is None else round(track.near * 1000, 1),
        "mos": round(mos(loss(track), source.jitter, track.rtt), 2),
        "mos_average": round(track.mos_sum / track.mos_count, 2) if known else None,
        "mos_lowest": round(track.mos_low, 2) if known else None,
        "mos_delay": "not known" if track.rtt is None else "rtcp",
        "dtmf": track.events,
        "told": _told(track),
    }


def loss(track: Track) -> float:
    """Percent of the packets that were to come."""
    lost = max(track.lost, 0)
    return 100 * lost / (track.packets - track.duplicates + lost) if track.packets else 0.0


def _name(kind: int, track: Track) -> str:
    codec = track.codecs.get(kind)
    return STATIC_NAMES.get(kind, str(kind)) if codec is None else codec.name


def _told(track: Track) -> dict[str, Any] | None:
    """What the other side says by RTCP of this stream when it arrives there."""
    report, source = track.report, track.current
    if report is None or source is None:
        return None
    jitter = round(1000 * report.jitter / source.rate, 2) if source.rate else None
    return {"lost": report.lost, "loss_now": round(report.fraction / 2.56, 1), "jitter": jitter}
