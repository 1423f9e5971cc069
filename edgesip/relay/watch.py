"""Which streams are looked at when, and what is kept of a call's media when it is over.

Once a second each stream's heads, or what a path measured, are handed out to be looked at, a part of the
streams at a time, of very many each less often; those of lines that are gone the next time. Refuses to know
what is made of them (`quality`), sockets, and who asks.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgesip.relay.cases import Media, Part, ended, living
from edgesip.relay.leg import Leg, Line
from edgesip.relay.measured import absorb
from edgesip.relay.path import Path
from edgesip.relay.rule import Rule
from edgesip.relay.session import Branch, Key, Session
from edgesip.relay.settled import mean, rate_of
from edgesip.relay.track import NO_HEADS, Heads, Track

PARTS = 8
"""In how many parts a second is looked at everything."""
FEWEST, MOST = 16, 128
"""Sessions that are worth a part of their own, and that are looked at in one part at most.

Where there are more than `PARTS` times as many each has its turn less than once a second, and looking costs
a few percent of a core.
"""
MOST_PARTS = 64
"""Lines of one call that are remembered after they are gone: a phone that adds and drops video all day."""

Look = tuple[Track, Heads]


class Watch:
    """Whose turn it is, and lines that were given back since.

    `strayed` are sessions with a stream that turned out to have another clock than the path measures it by.
    """

    def __init__(self, path: Path, sessions: Mapping[Key, Session]) -> None:
        self._path = path
        self._sessions = sessions
        self._turn: list[Session] = []
        self._size = 0
        self._part = 0
        self._new: list[Part] = []
        self._gone: dict[int, tuple[Session, list[Part]]] = {}
        self.strayed: list[Session] = []

    def gone(self, session: Session, branch: Branch | None, leg: Leg, line: Line) -> None:
        """These ports are given back; the path has dropped them already."""
        part = Part(branch, leg, line)
        self._new.append(part)
        parts = self._gone.setdefault(id(session), (session, []))[1]
        parts.append(part)
        del parts[:-MOST_PARTS]

    def ended(self, now: float) -> list[Media]:
        """The media of calls that are over, once it was looked at to its end."""
        over = [place for place, (session, _) in self._gone.items() if not session.branches]
        found = [ended(*self._gone.pop(place), self._path, now) for place in over]
        return [media for media in found if media is not None]

    @property
    def is_idle(self) -> bool:
        """True while there is no call."""
        return not self._sessions

    def looks_at(self, call: str) -> list[Look]:
        """What of living calls whose Call-ID begins like this is to be looked at, before `living`."""
        return [one for session in self._named(call) for one in self.of(session)]

    def living(self, call: str, now: float) -> list[Media]:
        """The media of living calls whose Call-ID begins like this."""
        return [living(session, self._path, now) for session in self._named(call)]

    def _named(self, call: str) -> list[Session]:
        return [session for key, session in self._sessions.items() if key[0].startswith(call)]

    def looks(self) -> list[Look]:
        """What is to be looked at now; to be asked `PARTS` times a second."""
        if self._part % PARTS == 0 and not self._turn:
            self._turn = list(self._sessions.values())
            self._size = min(MOST, max(FEWEST, -(-len(self._turn) // PARTS)))
        self._part += 1
        now, self._turn = self._turn[: self._size], self._turn[self._size :]
        found = self.over()
        for session in now:
            found += self.of(session)
        return found

    def of(self, session: Session) -> list[Look]:
        """What of one session is to be looked at."""
        found = []
        for branch, _, line in session.lines():
            if line.rule is not None:
                self._ask(session, line, line.rule)
            track = line.track
            if track is None or track.idle:
                continue
            heard = session.audible() if branch is None else None
            peer = session.caller if branch is not None else heard.leg if heard is not None else None
            across = None if peer is None else peer.lines.get(line.index)
            mean(track, line, across)
            found.append((track, track.take() if track.waits else NO_HEADS))
        return found

    def _ask(self, session: Session, line: Line, rule: Rule) -> None:
        """What the path has of this rule since it was asked last: heads, or what it measured itself."""
        heads = self._path.heads(rule.local)
        if heads is not None:
            if heads.packets:
                line.heard().add(heads)
            return
        figures = self._path.figures(rule.local)
        if figures is None or figures is line.measured:
            return
        track = line.heard()
        absorb(track, figures, line.measured)
        line.measured = figures
        kind = figures.payload_type
        if kind >= 0 and rate_of(kind, track) not in (0, rule.rate):
            self.strayed.append(session)

    def over(self) -> list[Look]:
        """What of lines that are gone is to be looked at."""
        gone, self._new = self._new, []
        found = []
        for part in gone:
            track = part.line.track
            if track is not None and not track.idle:
                if not track.meaning:
                    mean(track, part.line, None)
                found.append((track, track.take()))
        return found
