"""How good the streams are: many at once by numpy, a look a second.

`look` says of clean streams what `Track.step` says packet by packet, and leaves all others to that. Imported
when a relay starts and not before: numpy takes longer to load than a verb to answer. Refuses to know who
gathered the heads, and what operators are told.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesip.relay.mos import Sums
from edgesip.relay.track import HEAD, LEAP, MAX_DROPOUT, MAX_MISORDER, ROOM, Heads, Source, Track

_HEAD = np.dtype(
    [("flags", "u1"), ("kind", "u1"), ("number", ">u2"), ("stamp", ">u4"), ("ssrc", ">u4"), ("rest", "V4")]
)
_DECAY = (15 / 16) ** np.arange(ROOM + 1)

Look = tuple[Track, Heads]
Values = NDArray[Any]


def look(looks: Sequence[Look], sums: Sums) -> None:
    """Let each track know the packets that came since its last look, and add up what came of it.

    A track stands in `looks` once.
    """
    for track, heads in looks:
        track.begin(heads)
    known = [(track.current, heads) for track, heads in looks if track.current is not None and heads.heads]
    clean = _advance(known) if known else {}
    for track, heads in looks:
        source = track.current
        if source is not None and id(source) in clean:
            kind, count = source.payload_type, len(heads.heads)
            track.types[kind] = track.types.get(kind, 0) + count
            track.lost += clean[id(source)]
        else:
            for at, head in zip(heads.ats, heads.heads, strict=True):
                track.step(at, head)
    for track, _ in looks:
        sums.add(track)


def _advance(streams: Sequence[tuple[Source, Heads]]) -> dict[int, int]:
    """Move on every source whose packets are all its own, of one payload type and in order.

    Those that were moved, by `id`, with the packets that they lost.
    """
    sources = [source for source, _ in streams]
    counts = np.array([len(heads.heads) for _, heads in streams])
    ends = counts.cumsum()
    starts, total = ends - counts, int(ends[-1])
    rows = np.frombuffer(_joined(streams, total), _HEAD)
    ats = np.fromiter(chain.from_iterable(heads.ats for _, heads in streams), np.float64, total)

    def each(values: list[Any]) -> Values:
        return np.repeat(np.array(values), counts)

    ahead = _steps(rows["number"], starts, [source.highest for source in sources]) & 0xFFFF
    ticks = _steps(rows["stamp"], starts, [source.timestamp for source in sources])
    ticks = ((ticks + 0x80000000) & 0xFFFFFFFF) - 0x80000000
    rates = each([source.rate for source in sources])
    apart = np.abs(_steps(ats, starts, [source.at for source in sources]) - ticks / np.maximum(rates, 1))
    apart[rates == 0] = 0.0
    good = (ahead > 0) & (ahead < MAX_DROPOUT) & (apart < LEAP)
    good &= (rows["kind"] & 0x7F) == each([source.payload_type for source in sources])
    good &= rows["ssrc"] == each([source.ssrc for source in sources])
    whole = np.logical_and.reduceat(good, starts)
    moved = np.add.reduceat(ahead, starts)
    weights = _DECAY[np.repeat(ends, counts) - 1 - np.arange(total)]
    jitter = np.array([source.jitter for source in sources]) * _DECAY[counts]
    jitter += np.add.reduceat(apart * weights, starts) / 16
    stamps, times = rows["stamp"][ends - 1], ats[ends - 1]
    done = {}
    facts = zip(
        sources,
        whole.tolist(),
        counts.tolist(),
        starts.tolist(),
        moved.tolist(),
        jitter.tolist(),
        stamps.tolist(),
        times.tolist(),
        strict=True,
    )
    for source, is_clean, count, start, step, shaken, stamp, at in facts:
        if not is_clean:
            continue
        source.window = _window(source.window, step, ahead[start : start + count], step == count)
        source.highest += step
        source.packets += count
        source.lost += step - count
        source.jitter, source.timestamp, source.at, source.bad = shaken, stamp, at, -1
        done[id(source)] = step - count
    return done


def _joined(streams: Sequence[tuple[Source, Heads]], total: int) -> bytes:
    """The heads in one piece, short ones made as long as the others."""
    joined = b"".join(chain.from_iterable(heads.heads for _, heads in streams))
    if len(joined) != total * HEAD:
        joined = b"".join([head.ljust(HEAD, b"\0") for _, heads in streams for head in heads.heads])
    return joined


def _steps(values: Values, starts: Values, before: list[Any]) -> Values:
    """What lies between a value and the one before it in its stream; `before` are those of the last look."""
    signed = values.astype(np.float64 if values.dtype.kind == "f" else np.int64)
    steps = np.empty_like(signed)
    steps[1:] = signed[1:] - signed[:-1]
    steps[starts] = signed[starts] - np.array(before)
    return steps


def _window(window: int, step: int, ahead: Values, full: bool) -> int:
    """Which of the last numbers came, after these."""
    mask = (1 << MAX_MISORDER) - 1
    if full:
        return (window << step | (1 << step) - 1) & mask
    window <<= step
    for behind in (step - ahead.cumsum()).tolist():
        window |= 1 << behind
    return window & mask
