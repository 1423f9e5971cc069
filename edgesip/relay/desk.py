"""What operators, programs and scripts ask about media sessions, and order for them.

Reads the living sessions and those that ended lately; of a living one it changes what goes nowhere. Refuses
to know RPC, scripts, and what ends a session.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgesip.relay.figures import figures
from edgesip.relay.listing import first, listed, queried, shown, told
from edgesip.relay.packets import Packets
from edgesip.relay.past import Past
from edgesip.relay.path import USER
from edgesip.relay.session import Key, Session, call_id_of
from edgesip.relay.silence import Limits, judge


class Desk:
    """The questions. `limits`: when a call has been silent for too long."""

    def __init__(self, sessions: Mapping[Key, Session], past: Past, packets: Packets, limits: Limits) -> None:
        self._sessions = sessions
        self._past = past
        self._packets = packets
        self.limits = limits

    def named(self, call_id: str) -> list[Session]:
        """The living sessions of a Call-ID: one, unless several callers use the same."""
        return [session for key, session in self._sessions.items() if call_id_of(key) == call_id]

    def sessions(self, now: float) -> list[dict[str, Any]]:
        """Every living session with its legs, line by line (the shape of `rtp.list`)."""
        return [listed(session, self._packets.path, now) for session in self._sessions.values()]

    def show(self, call_id: str, now: float) -> list[dict[str, Any]]:
        """All that is known of a call's media, also of one that ended within half a minute (`rtp.show`)."""
        path = self._packets.path
        living = [shown(one, path, now, left=self.left(one, now)) for one in self.named(call_id)]
        return living + [shown(one.session, path, now, ended=one) for one in self._past.named(call_id)]

    def query(self, key: Key, now: float) -> str:
        """rtpproxy's answer to Q: `ttl npkts_ina npkts_ino nrelayed ndropped` of the first stream, "a" being
        the side that answered; empty for a session that nobody knows any more.
        """
        session = self._sessions.get(key)
        if session is not None:
            return queried(session, self._packets.path, self.left(session, now))
        ended = self._past.get(key)
        return "" if ended is None else queried(ended.session, self._packets.path, 0)

    def told(self, key: Key) -> str:
        """The same in words."""
        session = self._known(key)
        return "" if session is None else told(session, self._packets.path)

    def gauges(self, ports: Mapping[str, int]) -> dict[str, int]:
        """How things are now, by `rtp:` names; `ports` is the pool."""
        lines = [line for session in self._sessions.values() for _, _, line in session.lines()]
        path = self._packets.path
        carriers = [path.carrier(line.rule.local) for line in lines if line.rule is not None]
        user = carriers.count(USER)
        return {
            "rtp:rtp_sessions": len(self._sessions),
            "rtp:rtp_mediastreams_kernel": len(carriers) - user,
            "rtp:rtp_mediastreams_userspace": user,
            "rtp:rtp_mediastreams_slow": len(lines) - len(carriers),
            "rtp:rtp_ports": ports["total"],
            "rtp:rtp_ports_used": ports["leased"],
            "rtp:rtp_ports_free": ports["free"],
        }

    def worst(self, key: Key, figure: str) -> float | None:
        """The worse of both sides: "mos", "loss" in percent, "jitter" in milliseconds; None without RTP."""
        session = self._known(key)
        found = [figures(line) for line in first(session) if line is not None] if session is not None else []
        values: list[float] = [one[figure] for one in found if one]
        if not values:
            return None
        return min(values) if figure == "mos" else max(values)

    def _known(self, key: Key) -> Session | None:
        session = self._sessions.get(key)
        if session is None:
            ended = self._past.get(key)
            session = None if ended is None else ended.session
        return session

    def block(self, call_id: str, sides: Sequence[str], wanted: bool) -> int:
        """What these sides of a call say goes nowhere, or on again: how many sessions it has."""
        found, asked = self.named(call_id), frozenset(sides)
        for session in found:
            self._packets.block(session, session.blocked | asked if wanted else session.blocked - asked)
        return len(found)

    def left(self, session: Session, now: float) -> int:
        """Seconds until it has been silent for too long."""
        for _, _, line in session.lines():
            self._packets.read(session, line)
        return max(0, round(judge(session, self.limits).due - now)) if session.answered_at else 0
