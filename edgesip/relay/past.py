"""Calls whose media is over: counted by what ended them, and remembered for half a minute.

Holds the sessions as they were at their end; their ports are somebody else's already. Refuses to know what
ends a call, and how it is shown.
"""

from __future__ import annotations

from itertools import islice
from typing import NamedTuple

from edgesip.relay.session import Key, Session, call_id_of
from edgesip.relay.silence import FINAL_TIMEOUT, SILENT_TIMEOUT, TIMEOUT

REJECTED, TERMINATED, FORCED = "rejected", "terminated", "force_terminated"
"""Never answered; ended by signalling; by an operator."""
REASONS = (REJECTED, TIMEOUT, SILENT_TIMEOUT, FINAL_TIMEOUT, TERMINATED, FORCED)
KEPT = 30.0
"""Seconds for which an ended session is remembered."""
MOST = 4000
"""How many of them at most, some 10 kB each; a tenth of them makes room."""


class Ended(NamedTuple):
    """A session that is over: when (monotonic seconds), and which of `REASONS`."""

    session: Session
    at: float
    reason: str


class Past:
    """All of them. `counts` are totals since the start; times are whole seconds, squares of them for
    `call_duration2`.
    """

    def __init__(self) -> None:
        self._kept: dict[Key, Ended] = {}
        names = [f"closed_sessions_{reason}" for reason in REASONS]
        names += ["sessions_total", "zero_packet_streams", "one_way_sessions"]
        self.counts = dict.fromkeys([*names, "call_duration", "call_duration2"], 0)

    def add(self, session: Session, now: float) -> None:
        """This session has no ports any more."""
        reason = session.condemned or (TERMINATED if session.answered_at else REJECTED)
        self.counts[f"closed_sessions_{reason}"] += 1
        if session.answered_at:
            self._count(session, now)
        if len(self._kept) >= MOST:
            for key in list(islice(self._kept, MOST // 10)):
                del self._kept[key]
        self._kept.pop(session.key, None)
        self._kept[session.key] = Ended(session, now, reason)

    def forget(self, now: float) -> None:
        """Nobody asks about those of more than half a minute ago."""
        over = []
        for key, ended in self._kept.items():
            if now - ended.at < KEPT:
                break
            over.append(key)
        for key in over:
            del self._kept[key]

    def get(self, key: Key) -> Ended | None:
        """The session of this key, if it ended lately."""
        return self._kept.get(key)

    def named(self, call_id: str) -> list[Ended]:
        """Those of a Call-ID."""
        return [ended for key, ended in self._kept.items() if call_id_of(key) == call_id]

    def _count(self, session: Session, now: float) -> None:
        """Streams that were agreed on and never heard, and calls that were heard on one side alone."""
        counts = self.counts
        heard: dict[str, bool] = {}
        for leg, line in session.past:
            if (leg is session.caller or leg is session.partner) and line.rtp.unlocked:
                counts["zero_packet_streams"] += not line.packets
                heard[leg.side] = heard.get(leg.side, False) or line.packets > 0
        counts["one_way_sessions"] += len(set(heard.values())) == 2
        seconds = round(now - session.answered_at)
        counts["call_duration"] += seconds
        counts["call_duration2"] += seconds * seconds
