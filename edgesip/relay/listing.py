"""How a session is shown to operators: the records of `rtp.list` and `rtp.show`, rtpproxy's answer to Q.

Reads sessions and path counters, changes nothing. Refuses to know tables, terminals and RPC.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from edgesip.address import Addr
from edgesip.relay.figures import figures
from edgesip.relay.latch import Latch
from edgesip.relay.leg import Leg, Line
from edgesip.relay.past import Ended
from edgesip.relay.path import Path
from edgesip.relay.session import Branch, Session, from_tag_of

DIRECTIONS = {
    (True, True): "sendrecv",
    (True, False): "sendonly",
    (False, True): "recvonly",
    (False, False): "inactive",
}
"""What a side's SDP says of a line, by whether it sends and whether it listens."""


def listed(session: Session, path: Path, now: float) -> dict[str, Any]:
    """One session: its names, its age in seconds, and one entry per leg and media line."""
    return {
        "call-id": session.key[0],
        "from_tag": from_tag_of(session.key),
        "to_tag": session.to_tag,
        "age": int(now - session.created),
        "legs": [_leg(session, path, *each) for each in session.lines()],
    }


def shown(
    session: Session, path: Path, now: float, left: int = 0, ended: Ended | None = None
) -> dict[str, Any]:
    """Everything about one session. Ages in whole seconds; -1 for what never was.

    `left`: seconds until it has been silent for too long.
    """
    lines: Iterable[tuple[Branch | None, Leg, Line]] = session.lines()
    if ended is not None:
        lines = [(None, leg, line) for leg, line in session.past]
    end = now if ended is None else ended.at
    return {
        "call-id": session.key[0],
        "from_tag": from_tag_of(session.key),
        "to_tag": session.partner_tag or session.to_tag,
        "state": "ended" if ended is not None else "answered" if session.answered_at else "offered",
        "ended_by": "" if ended is None else ended.reason,
        "ended": -1 if ended is None else int(now - ended.at),
        "age": int(end - session.created),
        "duration": int(end - session.answered_at) if session.answered_at else 0,
        "timeout_in": left,
        "on_hold": session.held(),
        "blocked": sorted(session.blocked),
        "branches": len(session.branches),
        "legs": [
            _leg(session, path, branch, leg, line) | _more(session, path, branch, leg, line, now)
            for branch, leg, line in lines
        ],
    }


def _more(
    session: Session, path: Path, branch: Branch | None, leg: Leg, line: Line, now: float
) -> dict[str, Any]:
    """What `rtp.show` says of a line beyond `rtp.list`."""
    last = None if line.rule is None else path.counters(line.rule.local)
    heard = max(line.heard_at, 0.0 if last is None else last.at)
    return {
        "index": line.index,
        "branch": "" if branch is None else branch.name,
        "interface": leg.interface,
        "told": str(Addr(leg.written, line.pair.rtp)),
        "said": _said(line.rtp),
        "sip": leg.sip,
        "rtcp_local": str(Addr(line.pair.host, line.pair.rtcp)),
        "rtcp_remote": "" if line.rtcp.target is None else str(line.rtcp.target),
        "rtcp_state": line.rtcp.state.value,
        "rtcp_carried_by": "slow" if line.rtcp_rule is None else path.carrier(line.rtcp_rule.local),
        "mux": line.mux,
        "direction": DIRECTIONS[line.sends, line.listens] if line.described else "",
        "payload_types": sorted(line.codes),
        "heard": int(now - heard) if heard else -1,
        "relatches": line.rtp.relatches,
        "withheld": line.withheld,
        "invalid": line.invalid,
        "quality": figures(line),
    }


def _said(latch: Latch) -> str:
    """The address that SDP says; empty for none."""
    expect = latch.signalled
    return "" if expect is None or expect.host is None else str(Addr(expect.host, expect.port))


def queried(session: Session, path: Path, left: int) -> str:
    """rtpproxy's answer to Q, of the first stream: seconds left, packets from callee and from caller, relayed
    and dropped.
    """
    caller, callee = first(session)
    sides = [(0, 0, 0) if line is None else _taken(line, path) for line in (callee, caller)]
    relayed = sum(taken - withheld for taken, withheld, _ in sides)
    dropped = sum(withheld + unread for _, withheld, unread in sides)
    return f"{left} {sides[0][0]} {sides[1][0]} {relayed} {dropped}"


def told(session: Session, path: Path) -> str:
    """The same in words: `caller 192.0.2.7:4000 9 packets 0 dropped mos 4.4 loss 0 % jitter 1 ms, callee`."""
    words = []
    for side, line in zip(("caller", "callee"), first(session), strict=True):
        if line is None:
            words.append(f"{side} no media")
            continue
        taken, withheld, unread = _taken(line, path)
        where = line.rtp.target or "nowhere"
        how = figures(line)
        tail = f" mos {how['mos']} loss {how['loss']:g} % jitter {how['jitter']:g} ms" if how else ""
        words.append(f"{side} {where} {taken} packets {withheld + unread} dropped{tail}")
    return ", ".join(words)


def first(session: Session) -> tuple[Line | None, Line | None]:
    """The first stream's lines: of the caller, and of who is heard or was heard last."""
    branch = session.audible()
    callee = session.partner if branch is None else branch.leg
    found: list[Line | None] = []
    for leg in (session.caller, callee):
        lines = [] if leg is None else list(leg.lines.values())
        lines = lines or [line for owner, line in session.past if owner is leg]
        found.append(min(lines, key=lambda line: line.index) if lines else None)
    return found[0], found[1]


def _taken(line: Line, path: Path) -> tuple[int, int, int]:
    """Packets taken, those of them that went nowhere, and those that were not taken."""
    last = None if line.rule is None else path.counters(line.rule.local)
    taken = line.packets + (0 if last is None else last.packets)
    return taken, line.withheld, line.invalid + line.rtp.mismatches + line.rtcp.mismatches


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
        "carried_by": "slow" if line.rule is None else path.carrier(line.rule.local),
        "because": _because(session, path, branch, line),
    }


def _because(session: Session, path: Path, branch: Branch | None, line: Line) -> str:
    """Why the line is carried the way it is, in words."""
    if line.rule is not None:
        return path.because(line.rule.local) or "both ends are settled"
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
