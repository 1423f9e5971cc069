"""When a stream is settled, and the rule that a path gets for it then.

Looks at both ends of a line. Refuses to know paths, packets and what becomes of a rule.
"""

from __future__ import annotations

from edgesip.address import Addr
from edgesip.relay.figures import codecs_in
from edgesip.relay.leg import SHUNNED, Line
from edgesip.relay.rule import Rule
from edgesip.relay.track import EVENT, STATIC_RATES, Track

COMFORT_NOISE = 13  # RFC 3389: always 8000 Hz, whatever the speech beside it has


def rule_for(line: Line, peer: Line | None) -> Rule | None:
    """The rule of what arrives on this line, once both ends are settled and nothing else is to be done."""
    if (
        line.chain
        or line.busy
        or peer is None
        or peer.player is not None
        or not line.is_rtp
        or line.rtp.locked is None
        or line.rtp.locked != line.rtp.target  # it hears elsewhere: no socket can be connected to both
        or peer.rtp.locked is None
    ):
        return None
    if peer.rtp.target is None:
        return None
    local, via = Addr(line.pair.host, line.pair.rtp), Addr(peer.pair.host, peer.pair.rtp)
    rate, events = clock_of(line, peer)
    return Rule(local, line.rtp.locked, via, peer.rtp.target, False, rate, events)


def rtcp_rule_for(line: Line, peer: Line | None, mux: bool) -> Rule | None:
    """The same for the RTCP beside it. With `mux` (RFC 5761) it comes where RTP comes, and each is looked at.

    A prompt that covers the media, or an operator who blocks it, lets the reports go on.
    """
    if (
        mux
        or peer is None
        or line.chain
        or SHUNNED in line.busy
        or peer.chain  # reports are about packets that were cut anew
        or not line.is_rtp
        or line.rtcp.locked is None
        or line.rtcp.locked != line.rtcp.target
        or peer.rtcp.locked is None
        or peer.rtcp.target is None
    ):
        return None
    local, via = Addr(line.pair.host, line.pair.rtcp), Addr(peer.pair.host, peer.pair.rtcp)
    return Rule(local, line.rtcp.locked, via, peer.rtcp.target, True)


def mean(track: Track, line: Line, across: Line | None) -> None:
    """Let the track know what payload types mean: as the one who hears them said, else as who sends them."""
    texts = (b"" if across is None else across.text, line.text)
    if texts != track.meaning:
        track.meaning = texts
        track.use(codecs_in(*texts))


def rate_of(kind: int, track: Track) -> int:
    """The clock of this payload type in Hz, 0 when nobody said."""
    codec = track.codecs.get(kind)
    return STATIC_RATES.get(kind, 0) if codec is None else codec.rate


def clock_of(line: Line, peer: Line) -> tuple[int, int]:
    """The clock of what this side sends (0: not known), and the payload type of its key presses (-1: none).

    Where SDP leaves the choice between clocks it is that of the packet that came last.
    """
    said = (line.text, peer.text, line.codes, peer.codes)
    if line.clock is not None and line.clock[0] == said:
        return line.clock[1]
    track = line.heard()
    mean(track, line, peer)
    kinds = (line.codes & peer.codes) or peer.codes or line.codes
    pressed = {kind for kind in kinds if kind in track.codecs and track.codecs[kind].name == EVENT}
    rates = {rate_of(kind, track) for kind in kinds - pressed if kind != COMFORT_NOISE} - {0}
    is_sure = len(rates) == 1
    if is_sure:
        rate = rates.pop()
    else:
        latest = track.speech()
        rate = 0 if latest is None else rate_of(latest, track)
    fitting = [kind for kind in pressed if track.codecs[kind].rate == rate]
    clock = rate, min(fitting or pressed, default=-1)
    line.clock = (said, clock) if is_sure else None
    return clock
