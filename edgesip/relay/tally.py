"""The numbers that the rtpproxy protocol tells: of a stream, of the whole relay, and its page of text.

Counts what only commands and whole sessions can tell, reads the rest of the relay. Refuses to know which
calls there are, and how a question is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgesip.address import Addr
from edgesip.relay import stated
from edgesip.relay.core import RelayCore
from edgesip.relay.leg import Leg
from edgesip.relay.rtpp import RtppError
from edgesip.relay.session import CALLEE, Key, Session
from edgesip.relay.track import Track

SIMPLE = ("ttl", "npkts_ina", "npkts_ino", "nrelayed", "ndropped")
"""The numbers of a stream that are told when none is named."""
_COUNTED = (
    "nsess_created",
    "nsess_destroyed",
    "nsess_timeout",
    "nsess_complete",
    "nsess_nortp",
    "nsess_owrtp",
    "nplrs_created",
    "ncmds_rcvd",
    "ncmds_rcvd_ndups",
    "ncmds_succd",
    "ncmds_errs",
    "ncmds_repld",
)


class Tally:
    """What is counted since the start: `counts` by the names of the protocol."""

    def __init__(self) -> None:
        self.counts = dict.fromkeys(_COUNTED, 0)
        self._duration = 0.0

    def ended(self, core: RelayCore, session: Session, now: float) -> None:
        """A session is about to end: did anybody speak, and for how long was it there?"""
        streams = [stated.counts(core, session, index) for index in session.caller.lines]
        ways = (any(one.caller for one in streams), any(one.callee for one in streams))
        self.counts["nsess_destroyed"] += 1
        if not any(ways):
            self.counts["nsess_nortp"] += 1
        elif not all(ways):
            self.counts["nsess_owrtp"] += 1
        self._duration += now - session.created

    def totals(self, core: RelayCore) -> dict[str, int]:
        """Every number of the whole relay, by name."""
        relay = core.counters
        received, lost = relay["rtp:rtp_packets"], relay["rtp:rtp_no_target"] + relay["rtp:rtp_unproven"]
        return {
            **self.counts,
            "total_duration": round(self._duration),
            "npkts_rcvd": received,
            "npkts_relayed": received - lost,
            "npkts_played": core.playing.sent,
            "npkts_discard": lost + relay["rtp:rtp_src_mismatch"] + relay["rtp:rtp_invalid"],
        }

    def info(self, core: RelayCore, keys: Sequence[Key], brief: bool, now: float) -> str:
        """The page of text: totals, and unless it is `brief` a line for each stream of these sessions."""
        totals = self.totals(core)
        sessions = [session for session in map(core.session, keys) if session is not None]
        streams = sum(len(session.caller.lines) for session in sessions)
        lines = [
            f"sessions created: {totals['nsess_created']}",
            f"active sessions: {len(sessions)}",
            f"active streams: {streams}",
            f"packets received: {totals['npkts_rcvd']}",
            f"packets transmitted: {totals['npkts_relayed']}",
        ]
        for session in () if brief else sessions:
            lines += [_line(core, session, index, now) for index in session.caller.lines]
        return "\n".join(lines)


def stream(core: RelayCore, session: Session, index: int, side: str, now: float) -> dict[str, float]:
    """The numbers of one stream as `side` sees it, by name; `ttl` in seconds.

    What begins with `rtpa_` is about the RTP of `side`, as of the last look at it; jitter in milliseconds.
    """
    counts = stated.counts(core, session, index)
    own, other = (counts.callee, counts.caller) if side == CALLEE else (counts.caller, counts.callee)
    values = (_ttl(core, session, now), own, other, own + other, counts.dropped)
    leg = session.branches[stated.BRANCH].leg if side == CALLEE else session.caller
    track = leg.lines[index].track or Track()
    return {
        **dict(zip(SIMPLE, values, strict=True)),
        "rtpa_nsent": track.packets - track.duplicates + max(0, track.lost),
        "rtpa_nrcvd": track.packets,
        "rtpa_ndups": track.duplicates,
        "rtpa_nlost": max(0, track.lost),
        "rtpa_jlast": 0 if track.current is None else round(track.current.jitter * 1000, 2),
        "rtpa_jmax": round(track.jitter_max * 1000, 2),
    }


def told(names: Sequence[str], verbose: bool, found: Mapping[str, float], code: int) -> str:
    """The numbers asked for; `RtppError` with `code` when one is unknown."""
    unknown = next((name for name in names if name not in found), None)
    if unknown is not None:
        raise RtppError(code, f"there is no counter {unknown}")
    return " ".join(f"{name}={found[name]}" if verbose else str(found[name]) for name in names)


def _ttl(core: RelayCore, session: Session, now: float) -> int:
    """Seconds until the session ends if nothing more is heard."""
    if session.answered:
        return core.desk.left(session, now)
    return max(0, round(core.desk.limits.timeout - (now - session.heard)))


def _line(core: RelayCore, session: Session, index: int, now: float) -> str:
    counts = stated.counts(core, session, index)
    call_id, tag = session.key[0], session.key[1].removeprefix(stated.OWNED)
    callee = session.branches[stated.BRANCH].leg
    return (
        f"{call_id}/{tag};{index + 1}: caller = {_ends(session.caller, index)}, "
        f"callee = {_ends(callee, index)}, "
        f"stats = {counts.caller}/{counts.callee}/{counts.caller + counts.callee}/{counts.dropped}, "
        f"ttl = {_ttl(core, session, now)}"
    )


def _ends(leg: Leg, index: int) -> str:
    """Our port and the address that is sent to."""
    line = leg.lines[index]
    return f"{Addr(leg.written, line.pair.rtp)}/{line.rtp.target or 'NONE'}"
