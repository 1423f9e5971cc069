"""A call's media as a case: its lines as they stand or stood, and the facts that verdicts are made of.

A case is cheap to make and to keep; facts are read off it when somebody asks. Refuses to judge, which is
`why`'s, and to know who asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from edgesip.address import Addr
from edgesip.relay.figures import loss
from edgesip.relay.leg import Leg, Line
from edgesip.relay.mos import mos
from edgesip.relay.path import Path
from edgesip.relay.session import CALLEE, CALLER, Branch, Key, Session
from edgesip.relay.why import Case, Side, Verdict, verdicts


class Part(NamedTuple):
    """A line of one side and its leg; `branch` None is the caller's."""

    branch: Branch | None
    leg: Leg
    line: Line


class Seen(NamedTuple):
    """One side of a line: what is known of it, and the verdicts, the gravest first."""

    line: Line
    side: Side
    verdicts: list[Verdict]


@dataclass(frozen=True, slots=True)
class Media:
    """The media of a call, living or over at `at`. Times are monotonic seconds."""

    key: Key
    created: float
    answered_at: float | None
    at: float
    over: bool
    parts: tuple[Part, ...]

    @property
    def matters(self) -> bool:
        """Whether anything can be said of it: it was answered, or somebody sent something."""
        return self.answered_at is not None or any(
            part.line.packets or part.line.strange is not None for part in self.parts
        )

    def seen(
        self, clock: Callable[[float], str], hints: Mapping[str, str], path: Path | None = None
    ) -> list[Seen]:
        """Both sides of every line; `hints` by side is what signalling noticed, `path` carries it now."""
        case = Case(self.answered_at, self.at, self.over, clock)
        pairs = {(part.leg.side, part.line.index): part for part in self.parts}
        agreed = {part.line.index: part.line.valid for part in self.parts if part.branch is not None}
        sides = {
            place: _side(part, agreed.get(place[1], frozenset()), hints.get(place[0], ""), path)
            for place, part in pairs.items()
        }
        found = []
        for (name, index), side in sides.items():
            other = sides.get((CALLEE if name == CALLER else CALLER, index))
            found.append(Seen(pairs[name, index].line, side, verdicts(side, other, case)))
        return found


def living(session: Session, now: float) -> Media:
    """The case of a call that is up, or rings."""
    heard = session.audible()
    parts = [Part(*each) for each in session.lines() if each[0] in (None, heard)]
    return Media(session.key, session.created, session.answered_at or None, now, False, _chosen(parts))


def ended(session: Session, parts: Iterable[Part], now: float) -> Media:
    """The case of a call whose lines are all gone; `parts` are those that it ever had."""
    return Media(session.key, session.created, session.answered_at or None, now, True, _chosen(parts))


def _chosen(parts: Iterable[Part]) -> tuple[Part, ...]:
    """One part a side and line: of a fork that of who answered, else of who said most."""
    found: dict[tuple[str, int], Part] = {}
    for part in parts:
        place = (part.leg.side, part.line.index)
        best = found.get(place)
        if best is None or _weight(part) > _weight(best):
            found[place] = part
    return tuple(found[place] for place in sorted(found, key=lambda place: (place[1], place[0] != CALLER)))


def _weight(part: Part) -> tuple[bool, int]:
    return part.branch is not None and part.branch.answered, part.line.packets


def _side(part: Part, agreed: frozenset[int], hint: str, path: Path | None) -> Side:
    _, leg, line = part
    track, latch = line.track, line.rtp
    last = None if path is None or line.rule is None else path.counters(line.rule.local)
    source = None if track is None else track.current
    first_at = last_at = None
    percent = jitter = score = 0.0
    if track is not None and source is not None:
        first_at, last_at = track.first_at, track.at
        percent, jitter = loss(track), source.jitter
        score = mos(percent, jitter, track.rtt)
    elif line.packets and latch.best is not None:
        last_at = latch.best.at
    expect = latch.signalled
    said = expect is not None and expect.host is not None and expect.port > 0
    return Side(
        side=leg.side,
        media=line.kind,
        told=Addr(leg.written, line.pair.rtp),
        sip=leg.sip,
        said=Addr(expect.host, expect.port) if said and expect and expect.host else None,
        target=latch.target,
        locked=latch.locked,
        packets=line.packets + (0 if last is None else last.packets),
        first_at=first_at,
        last_at=last_at,
        strange=line.strange,
        strange_at=line.strange_at,
        mismatches=latch.mismatches,
        contested=latch.contested,
        hold=line.hold,
        turned_at=line.turned_at,
        agreed=agreed if line.is_rtp else frozenset(),
        types={} if track is None else track.types,
        has_rtcp=line.rtcp.best is not None,
        loss=percent,
        jitter=jitter * 1000,
        mos=score,
        pause=None if track is None else track.pause,
        hint=hint,
    )
