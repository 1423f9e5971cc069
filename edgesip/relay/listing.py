"""How a session is shown to operators: the records of `rtp.list`.

Reads sessions and path counters, changes nothing. Refuses to know tables, terminals and RPC.
"""

from __future__ import annotations

from typing import Any

from edgesip.address import Addr
from edgesip.relay.leg import Leg, Line
from edgesip.relay.path import Path
from edgesip.relay.session import Branch, Session


def listed(session: Session, path: Path, now: float) -> dict[str, Any]:
    """One session: its names, its age in seconds, and one entry per leg and media line."""
    return {
        "call-id": session.key[0],
        "from_tag": session.key[1],
        "to_tag": session.to_tag,
        "age": int(now - session.created),
        "legs": [_leg(session, path, *each) for each in session.lines()],
    }


def _leg(session: Session, path: Path, branch: Branch | None, leg: Leg, line: Line) -> dict[str, Any]:
    """`packets` and `bytes` are media taken from this side; `remote` is where packets to it are sent."""
    last = None if line.rule is None else path.counters(line.rule.local)
    latch = line.rtp
    return {
        "side": leg.side,
        "media": line.kind,
        "local": str(Addr(line.pair.host, line.pair.rtp)),
        "remote": "" if latch.target is None else str(latch.target),
        "state": latch.state.value,
        "rank": latch.rank,
        "packets": line.packets + (0 if last is None else last.packets),
        "bytes": line.octets + (0 if last is None else last.octets),
        "src_mismatch": latch.mismatches + line.rtcp.mismatches,
        "contested": latch.contested,
        "prompt": "" if line.player is None else line.player.name,
        "carried_by": "slow" if line.rule is None else path.name,
        "because": _because(session, branch, line),
    }


def _because(session: Session, branch: Branch | None, line: Line) -> str:
    """Why the line is carried the way it is, in words."""
    if line.rule is not None:
        return "both ends are settled"
    if not line.is_rtp:
        return "it is not RTP"
    if line.chain or line.busy:
        return " and ".join([*(link.why for link in line.chain), *sorted(line.busy)])
    if not line.rtp.unlocked:
        return "there is no answer yet"
    heard = session.audible()
    if heard is None or branch not in (None, heard):
        return "another answerer is heard"
    if line.rtp.locked is not None and line.rtp.locked != line.rtp.target:
        return "it sends from elsewhere than it listens"
    if line.rtp.locked is None:
        return "this side's address is not settled yet"
    peer = (heard.leg if branch is None else session.caller).lines.get(line.index)
    if peer is not None and peer.player is not None:
        return "a prompt plays to the other side"
    if peer is None or peer.rtp.locked is None:
        return "the other side's address is not settled yet"
    return "the path does not take it"
