"""What a path measured by itself, and what is overheard of it, made part of what is known of a stream.

`absorb` takes figures for packets that nobody here has seen; `overhear` takes the head of a single one.
Refuses to know where either comes from, and when.
"""

from __future__ import annotations

from edgesip.relay.path import Figures
from edgesip.relay.settled import rate_of
from edgesip.relay.track import MAX_DROPOUT, MAX_MISORDER, PAUSE, Track

NOTHING = Figures(0, 0, 0.0, 0, 0)


def absorb(track: Track, now: Figures, before: Figures | None) -> None:
    """Let the track know what a rule has carried; `before`: what it was the last time, None since its put.

    Packets of all SSRCs in between count as the last one's.
    """
    old = before or NOTHING
    packets = now.packets - old.packets
    if packets <= 0:
        return
    if track.waits:
        _catch_up(track)
    kind = now.payload_type
    if kind >= 0:
        track.types[kind] = track.types.get(kind, 0) + max(0, packets - track.overheard)
    track.overheard = 0
    track.packets += packets
    track.lost += now.lost - old.lost
    track.reordered += now.reordered - old.reordered
    track.duplicates += now.duplicates - old.duplicates
    track.changes += now.changes - old.changes
    source = track.current
    is_same = source is not None and source.ssrc == now.ssrc
    if source is None or not is_same:
        track.changes += before is None and not now.changes and source is not None
        source = track.source(now.ssrc, kind, rate_of(kind, track), now.sequence, now.timestamp, now.at)
    ahead = (now.sequence - source.highest + 0x8000 & 0xFFFF) - 0x8000
    if ahead > 0:
        source.highest += ahead
        on_the_way = ahead - (now.packets - now.duplicates + now.lost)
        if is_same and before is None and not now.changes and 0 < on_the_way < MAX_DROPOUT:
            track.lost += on_the_way  # between the last packet seen here and the first one of the path
            source.lost += on_the_way
    source.window, source.bad = (1 << MAX_MISORDER) - 1, -1
    source.packets += packets
    source.lost += now.lost - old.lost
    source.reordered += now.reordered - old.reordered
    source.duplicates += now.duplicates - old.duplicates
    if kind >= 0:
        source.payload_type, source.rate, source.timestamp = kind, rate_of(kind, track), now.timestamp
    source.jitter, source.at = now.jitter, now.at
    _times(track, now, before)


def _catch_up(track: Track) -> None:
    """Packets that were seen before the path took the stream come first."""
    heads = track.take()
    track.begin(heads)
    for at, head in zip(heads.ats, heads.heads, strict=True):
        track.step(at, head)


def _times(track: Track, now: Figures, before: Figures | None) -> None:
    if track.at is not None and before is None:
        track.paused(track.at, now.first_at)
    if now.gap > PAUSE:
        track.paused(now.gap_at - now.gap, now.gap_at)
    if track.first_at is None:
        track.first_at = now.first_at
    track.at = now.at


def overhear(track: Track, head: bytes) -> None:
    """The first 16 octets of a packet of telephone-event that a path carried: `absorb` knows of the packet
    itself.
    """
    kind = head[1] & 0x7F
    track.types[kind] = track.types.get(kind, 0) + 1
    track.overheard += 1
    track.press(head)
