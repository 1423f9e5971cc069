"""Which calls are recorded: those that have begun, and those whose first offer is still to come.

Opens and ends the sinks of sessions, and has their lines tapped. Refuses to know what is done with them.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgesip.relay.packets import Packets
from edgesip.relay.record import KINDS, Sink
from edgesip.relay.session import Key, Session

MOST_WISHES = 10_000


class Sinks:
    """The recordings of all `sessions`. MOST_WISHES calls may be wished for before they are there."""

    def __init__(self, sessions: Mapping[Key, Session], packets: Packets) -> None:
        self._sessions = sessions
        self._packets = packets
        self._wishes: dict[Key, str] = {}
        self._fresh: list[Sink] = []

    def record(self, key: Key, kind: str, now: float, name: str = "") -> None:
        """Record the call from now on, or from its first offer on: "wav" or "pcap"; "" for no longer.

        A call that is recorded in this form already goes on so; `name` is that of the file of one that has
        media already. ValueError for another form.
        """
        if kind and kind not in KINDS:
            raise ValueError(f"no recording is a {kind!r}: there are {', '.join(KINDS)}")
        session = self._sessions.get(key)
        if session is None:
            self._wishes.pop(key, None)
            if kind and len(self._wishes) < MOST_WISHES:
                self._wishes[key] = kind
            return
        if session.sink is not None:
            if session.sink.kind == kind:
                return
            session.sink.end(now)
        session.sink = self._opened(key, kind, now, name) if kind else None
        self._packets.settle(session)

    def begun(self, session: Session, now: float) -> None:
        """A session is there; what was wished of it before is done."""
        kind = self._wishes.pop(session.key, "") if self._wishes else ""
        if kind:
            session.sink = self._opened(session.key, kind, now)

    def over(self, key: Key, session: Session | None, now: float) -> None:
        """The session is no more, and nothing is wished of it."""
        if self._wishes:
            self._wishes.pop(key, None)
        if session is not None and session.sink is not None:
            session.sink.end(now)

    def take(self) -> list[Sink]:
        """Those that nobody writes yet."""
        fresh, self._fresh = self._fresh, []
        return fresh

    def _opened(self, key: Key, kind: str, now: float, name: str = "") -> Sink:
        sink = Sink(key, kind, now, name)
        self._fresh.append(sink)
        return sink
