"""The relay's door for those who keep SDP to themselves: one side of one stream is said to be somewhere.

Says it to the same sessions, legs, lines and latches that offers and answers go to. Refuses to know by which
protocol it was said, SDP, and packets.
"""

from __future__ import annotations

from typing import NamedTuple

from edgesip.address import Addr, Flow, is_unspecified
from edgesip.relay.core import RelayCore
from edgesip.relay.interface import Seat
from edgesip.relay.leg import Leg, Line
from edgesip.relay.sdp import Media
from edgesip.relay.session import CALLEE, CALLER, Branch, Key, Session
from edgesip.wish import Wish

BRANCH = "stated"
OWNED = "rtpp:\0"
"""Stands before the tag in the key of a session that others own: no header of SIP has the octet at its end,
so that no message can mean their session.
"""
ANY = frozenset(range(128))


class Said(NamedTuple):
    """Where a side's media is and what it may be: `host` "" is no known address, `codecs` () may be anything.

    Whoever says it is believed: packets leave to this address as to that of the side's own SIP. `wish` is how
    the side shall be treated.
    """

    tag: str
    host: str
    port: int
    codecs: tuple[int, ...]
    wish: Wish


Seats = tuple[Seat, Seat]
"""Where the caller's ports shall be, and the callee's."""


class Counts(NamedTuple):
    """What a stream has had: packets from the caller and from the callee, and those that were dropped."""

    caller: int
    callee: int
    dropped: int


def state(
    core: RelayCore, key: Key, side: str, index: int, said: Said, seats: Seats, now: float
) -> Leg | None:
    """A side of a stream is there: the leg that its peer sends to, with its line; None without free ports.

    A session that is not there begins, with its ports where `seats` say. Learning begins when both sides are
    known.
    """
    session = core.session(key)
    if session is None:
        if not core.has_room():
            return None
        session = Session(key, core.leg(CALLER, seats[0], _nowhere(seats[0])), now)
        session.branches[BRANCH] = Branch(BRANCH, core.leg(CALLEE, seats[1], _nowhere(seats[1])))
    branch = session.branches[BRANCH]
    fresh = not branch.leg.lines
    opened = session.open(branch, (index,), core, now)
    if opened is None:
        return None
    own, peer = (session.caller, branch.leg) if side == CALLER else (branch.leg, session.caller)
    if side == CALLEE:
        if said.tag and branch.tag and said.tag != branch.tag:
            _forget(branch.leg)
        branch.tag = said.tag or branch.tag
    _describe(own, peer, index, said, now)
    session.heard = session.signalled = now
    line, other = own.lines[index], peer.lines[index]
    if line.described and other.described:
        session.active, branch.answered = BRANCH, True
        session.fix(branch, now)
        line.unlock(now)
        other.unlock(now)
    callee = branch.leg.lines[index]
    callee.valid = line.codes | other.codes if line.codes and other.codes else ANY
    core.renew(session, now)
    if fresh:
        core.moments.opened(now, key[0], (session.caller, branch.leg))
    return peer


def _describe(own: Leg, peer: Leg, index: int, said: Said, now: float) -> None:
    """What was said of the own leg's line; of the peer's nothing is known before it is its turn."""
    line, other = own.lines[index], peer.lines[index]
    null = not said.host or is_unspecified(said.host) or not said.port
    media = Media(
        kind="audio" if said.codecs else "media",
        port=said.port,
        proto="RTP/AVP",
        fmts=tuple(str(code) for code in said.codecs),
        address="0.0.0.0" if null else said.host,
        direction="sendrecv",
        rtcp_port=None,
        rtcp_address=None,
        mux=False,
        relayed=True,
        payload_types=frozenset(said.codecs),
    )
    own.obey(said.wish)
    own.sip = own.sip if null else said.host
    line.blind = other.blind = True
    own.describe(index, media, own.sip, now)
    if not other.described:
        other.name(media)
        other.await_answer("", peer.reach, peer.learn, now)


def _forget(leg: Leg) -> None:
    """Another UA answers: its addresses are its own."""
    for line in leg.lines.values():
        line.forget()


def move(core: RelayCore, key: Key, side: str, index: int, seat: Seat, now: float) -> bool:
    """Other ports for the line of a side, from now on at this seat; False when there are none.

    What is known of the side stays; its peer has to be told.
    """
    session = core.session(key)
    if session is None:
        return False
    branch = session.branches[BRANCH]
    leg = session.caller if side == CALLER else branch.leg
    new = core.leg(side, seat, _nowhere(seat))
    before = leg.host, leg.written, leg.interface, leg.reach
    leg.host, leg.written, leg.interface, leg.reach = new.host, new.written, new.interface, new.reach
    line = core.lease(session, None if side == CALLER else branch, leg, index, now)
    if line is None:
        leg.host, leg.written, leg.interface, leg.reach = before
        return False
    old = leg.lines[index]
    leg.lines[index] = line
    line.take_over(old, leg.reach, now)
    core.release(old, now)
    core.renew(session, now)
    return True


def _nowhere(seat: Seat) -> Flow:
    """The way of a SIP that we never see."""
    return Flow("", Addr(seat.host, 0), Addr("", 0))


def end(core: RelayCore, key: Key, index: int | None, now: float) -> None:
    """One stream is over, or all of them (`index` None); with the last one the session is."""
    session = core.session(key)
    if session is None:
        return
    branch = session.branches[BRANCH]
    if index is not None and set(branch.leg.lines) - {index}:
        session.remove(branch, frozenset((index,)), core, now)
        core.renew(session, now)
    else:
        core.end(key, now)


def counts(core: RelayCore, session: Session, index: int) -> Counts:
    """The packets of one stream so far, those that the path has carried among them."""
    lines = (session.caller.lines.get(index), session.branches[BRANCH].leg.lines.get(index))
    taken = [0 if line is None else _taken(core, line) for line in lines]
    dropped = sum(line.rtp.mismatches + line.rtcp.mismatches for line in lines if line is not None)
    return Counts(taken[0], taken[1], dropped)


def _taken(core: RelayCore, line: Line) -> int:
    last = None if line.rule is None else core.path.counters(line.rule.local)
    return line.packets + (0 if last is None else last.packets)
