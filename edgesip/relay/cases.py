"""A call's media as a case: what is known of both sides of each of its lines, for `why` to judge.

The values outlive the call and hold nothing of it, so that many can be kept. Refuses to judge, which is
`why`'s, and to know who asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from edgesip.address import Addr
from edgesip.relay.figures import figures, loss
from edgesip.relay.leg import Leg, Line
from edgesip.relay.mos import mos
from edgesip.relay.path import Path
from edgesip.relay.session import CALLER, Branch, Key, Session
from edgesip.relay.why import Case, Side, Verdict, verdict, verdicts


class Part(NamedTuple):
    """A line of one side and its leg; `branch` None is the caller's."""

    branch: Branch | None
    leg: Leg
    line: Line


class Seen(NamedTuple):
    """One side of the line of this number, and its figures."""

    line: int
    side: Side
    figures: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Media:
    """The media of a call, living or over at `at`. Times are monotonic seconds."""

    key: Key
    created: float
    answered_at: float | None
    at: float
    over: bool
    seen: tuple[Seen, ...]

    def words(self, clock: Callable[[float], str]) -> list[str]:
        """The verdict of each side of every line, by its word."""
        case = Case(self.answered_at, self.at, self.over, clock)
        return [verdict(one.side, self._opposite(one), case) for one in self.seen]

    def _opposite(self, one: Seen) -> Side | None:
        """The other side of the same line."""
        found = [each.side for each in self.seen if each.line == one.line and each is not one]
        return found[0] if found else None

    def judged(
        self, clock: Callable[[float], str], hints: Mapping[str, str]
    ) -> list[tuple[Seen, list[Verdict]]]:
        """Both sides of every line with their verdicts; `hints` by side is what signalling noticed."""
        case = Case(self.answered_at, self.at, self.over, clock)
        found = []
        for one in self.seen:
            name = one.side.side
            side = replace(one.side, hint=hints[name]) if hints.get(name) else one.side
            found.append((one, verdicts(side, self._opposite(one), case)))
        return found


def living(session: Session, path: Path, now: float) -> Media:
    """The case of a call that is up, or rings."""
    heard = session.audible()
    parts = [Part(*each) for each in session.lines() if each[0] in (None, heard)]
    return _media(session, parts, path, now, False)


def ended(session: Session, parts: Iterable[Part], path: Path, now: float) -> Media | None:
    """The case of a call whose lines are all gone; `parts` are those that it ever had.

    None when nothing can be said of it: nobody answered, and nobody sent anything.
    """
    if session.answered_at or any(part.line.packets or part.line.strange is not None for part in parts):
        return _media(session, parts, path, now, True)
    return None


def _media(session: Session, parts: Iterable[Part], path: Path, now: float, over: bool) -> Media:
    chosen = _chosen(parts)
    agreed = {part.line.index: part.line.valid for part in chosen if part.branch is not None}
    seen = tuple(
        [
            Seen(
                part.line.index,
                _side(
                    part,
                    agreed.get(part.line.index, frozenset()),
                    path,
                    part.leg.side in session.blocked,
                ),
                figures(part.line),
            )
            for part in chosen
        ]
    )
    return Media(session.key, session.created, session.answered_at or None, now, over, seen)


def _chosen(parts: Iterable[Part]) -> list[Part]:
    """One part a side and line: of a fork that of who answered, else of who said most."""
    found: dict[tuple[str, int], Part] = {}
    for part in parts:
        place = (part.leg.side, part.line.index)
        best = found.get(place)
        if best is None or _weight(part) > _weight(best):
            found[place] = part
    return [found[place] for place in sorted(found, key=lambda place: (place[1], place[0] != CALLER))]


def _weight(part: Part) -> tuple[bool, int]:
    return part.branch is not None and part.branch.answered, part.line.packets


def _side(part: Part, agreed: frozenset[int], path: Path, blocked: bool) -> Side:
    _, leg, line = part
    track, latch = line.track, line.rtp
    last = None if line.rule is None else path.counters(line.rule.local)
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
        types={} if track is None else dict(track.types),
        has_rtcp=line.rtcp.best is not None,
        loss=percent,
        jitter=jitter * 1000,
        mos=score,
        pause=None if track is None else track.pause,
        blocked=blocked,
        prompt="" if line.player is None else line.player.name,
        octets=line.octets + (0 if last is None else last.octets),
    )
