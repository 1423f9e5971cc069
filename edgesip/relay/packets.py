"""What happens to a packet that no path carries: whose it is, whether it is believed, where it goes.

Knows every bound port and what it belongs to, asks the latches, counts, and keeps the path up to date with
the streams that are settled. Refuses to know offers and answers, the pool, sockets and time that passes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from edgesip.address import Addr, source_of
from edgesip.relay.chain import carried, reported
from edgesip.relay.latch import Judgement, Rank, Sample
from edgesip.relay.leg import BLOCKED, SHUNNED, Leg, Line
from edgesip.relay.measured import absorb, overhear
from edgesip.relay.moments import Moments
from edgesip.relay.path import Counters, Figures, Path
from edgesip.relay.reports import reported_by
from edgesip.relay.rtp import RTCP, RTP, classify, header, is_valid_rtcp
from edgesip.relay.rule import RTP_HEADER
from edgesip.relay.session import Branch, Key, Session
from edgesip.relay.settled import rtcp_rule_for, rule_for
from edgesip.relay.switches import arrange
from edgesip.relay.watch import Watch

REPORT_INTERVAL: Final = 60.0

Send = tuple[Addr, Addr, bytes]


class StrangeSource(NamedTuple):
    """A settled stream gets packets from elsewhere, `mismatches` so far; one event a minute a line."""

    key: Key
    side: str
    media: str
    source: Addr
    mismatches: int


class LooseSource(NamedTuple):
    """A source was learned that fits neither SDP nor SIP, because that was asked for (`learn=loose`)."""

    key: Key
    side: str
    media: str
    source: Addr
    rank: str


class _Place(NamedTuple):
    """What a bound port belongs to; `branch` None is the caller's side."""

    session: Session
    branch: Branch | None
    leg: Leg
    line: Line
    is_rtcp: bool


class Packets:
    """Every bound port of every call, and the path that carries what is settled.

    `counts` are totals since the start; `moments` is what became of each call's media; `changed` are the
    sessions of which something that lasts has changed, where somebody has asked for them (`kept`).
    """

    def __init__(self, path: Path, sessions: Mapping[Key, Session]) -> None:
        self.path = path
        self.moments = Moments()
        self.watch = Watch(path, sessions)
        self.changed: dict[Key, None] | None = None
        self._places: dict[Addr, _Place] = {}
        self._shunned: frozenset[str] = frozenset()
        self._events: list[StrangeSource | LooseSource] = []
        names = "packets octets relatch src_mismatch invalid stray muted covered no_target unproven"
        self.counts = dict.fromkeys([*names.split(), "blocked", "banned"], 0)

    @property
    def ports(self) -> int:
        """How many ports are known, two a line."""
        return len(self._places)

    def open(self, session: Session, branch: Branch | None, leg: Leg, line: Line) -> None:
        """Packets may come to the line's ports from now on; `branch` None is the caller's side."""
        pair = line.pair
        self._touch(session)
        if leg.side in session.blocked:
            line.busy |= {BLOCKED}
        self._places[Addr(pair.host, pair.rtp)] = _Place(session, branch, leg, line, False)
        self._places[Addr(pair.host, pair.rtcp)] = _Place(session, branch, leg, line, True)

    def shut(self, line: Line) -> tuple[Session, Leg]:
        """Take the line off the path and forget its ports; whose they were."""
        pair = line.pair
        place = self._places.pop(Addr(pair.host, pair.rtp))
        del self._places[Addr(pair.host, pair.rtcp)]
        self._touch(place.session)
        self.withdraw(place.session, line)
        self._silence(place.session, line)
        self.watch.gone(place.session, place.branch, place.leg, line)
        return place.session, place.leg

    def block(self, session: Session, sides: frozenset[str]) -> None:
        """Media of these sides goes nowhere from now on, that of the others on as it should."""
        session.blocked = sides
        for _, leg, line in session.lines():
            line.busy = line.busy | {BLOCKED} if leg.side in sides else line.busy - {BLOCKED}
        self.settle(session)

    def shun(self, sources: frozenset[str]) -> None:
        """Nothing from these sources (`address.source_of`) is heard from now on, nor carried; from all others
        it is. What the other side of a call sends there goes on.
        """
        if sources == self._shunned:
            return
        self._shunned = sources
        found = {}
        for place in self._places.values():
            if not place.is_rtcp and self._mark(place.line):
                found[id(place.session)] = place.session
        for session in found.values():
            self.settle(session)

    def _mark(self, line: Line) -> bool:
        """Whether the line is another one now, by who is believed on it and who is shunned."""
        locked = line.rtp.locked
        busy = line.busy - {SHUNNED}
        if locked is not None and self._shunned and source_of(locked.host) in self._shunned:
            busy |= {SHUNNED}
        changed, line.busy = busy != line.busy, busy
        return changed

    def believed(self, local: Addr) -> Addr | None:
        """Who alone may speak to this port while it is flooded; None when somebody else may have to be heard.

        RTCP is heard again soon enough, RTP of a line that is not settled is not.
        """
        place = self._places.get(local)
        if place is None:
            return None
        line = place.line
        if place.is_rtcp:
            return line.rtcp.locked or line.rtcp.target
        return line.rtp.locked if line.rule is not None else None

    def take_events(self) -> list[StrangeSource | LooseSource]:
        """What was noticed since the last time."""
        events, self._events = self._events, []
        return events

    def receive(self, local: Addr, data: bytes, source: Addr, now: float) -> Sequence[Send]:
        """One datagram that reached `local`: what to send for it, as (from our port, to, octets)."""
        place = self._places.get(local)
        if place is None:
            return self._no("stray")
        if self._shunned and source_of(source.host) in self._shunned:
            return self._no("banned")
        session, branch, leg, line, at_rtcp = place
        heard = session.audible()
        if heard is None or (branch is not None and branch is not heard):
            return self._no("muted")
        peer_leg = heard.leg if branch is None else session.caller
        peer = peer_leg.lines.get(line.index)
        agreed = peer if branch is None else line
        if peer is None or agreed is None:
            return self._no("muted")
        kind = classify(data)
        is_rtcp = kind is RTCP and line.is_rtp
        sample: Sample | None = None
        if is_rtcp:
            if not is_valid_rtcp(data, line.secured) or not (at_rtcp or agreed.mux or line.blind):
                return self._unread(line)
            if at_rtcp:
                sample = Sample(int.from_bytes(data[4:8], "big"), 0)
        elif at_rtcp or len(data) < 2 or (kind is not RTP and not line.may_be_anything):
            return self._unread(line)
        elif line.is_rtp and kind is RTP:
            fields = header(data)
            if fields.payload_type in agreed.valid:
                sample = Sample(fields.ssrc, fields.sequence)
        else:
            sample = Sample(0, int.from_bytes(data[:2], "big"))  # UDPTL begins with its sequence number
        latch = line.rtcp if at_rtcp else line.rtp
        if line.rule is not None or line.rtcp_rule is not None:
            self.read(session, line)
        best, locked, relatches = latch.best, latch.locked, latch.relatches
        kin = line.rtp.best.ssrc if at_rtcp and line.rtp.best is not None else None
        judgement = latch.judge(source, sample, now, kin)
        if latch.best is not best:
            self.moments.learned(now, session.key[0], leg, line, at_rtcp)
            if latch.best is not None and latch.best.rank > Rank.SIP_HOST:
                rank = latch.best.rank.label
                self._events.append(LooseSource(session.key, leg.side, line.kind, source, rank))
        if latch.locked != locked:
            self.counts["relatch"] += latch.relatches - relatches
            if latch is line.rtp and latch.locked is not None:
                line.rtcp.tie(latch.locked.host)
            if line.busy:
                self._mark(line)
            self.settle(session)
        if judgement is not Judgement.TAKEN:
            if judgement is Judgement.MISMATCH:
                if latch is line.rtp:
                    line.strange, line.strange_at = source, now
                if latch.mismatches == 1:
                    self.moments.refused(now, session.key[0], leg, line, source)
                self._strange(session, leg, line, source, now)
                return self._no("src_mismatch")
            return self._unread(line)
        if not is_rtcp:
            line.packets += 1
            line.octets += len(data)
            self.counts["packets"] += 1
            self.counts["octets"] += len(data)
            if line.is_rtp and kind is RTP:
                line.heard().see(now, data)
        elif not line.secured:
            reported_by(line, peer, data, now)
        if not is_rtcp or session.held():
            session.heard = line.heard_at = now
        if line.busy and BLOCKED in line.busy and not is_rtcp:
            return self._withheld(line, "blocked")
        out = peer.rtcp if (at_rtcp if line.blind else is_rtcp and not agreed.mux) else peer.rtp
        if out.target is None:
            return self._withheld(line, "no_target")
        if peer.player is not None and not is_rtcp:
            if line.chain:  # a recording has what nobody hears
                carried(line.chain, data, source, now)
            return self._withheld(line, "covered")
        if not out.proven and not peer_leg.allows_unproven(out.target.host):
            return self._withheld(line, "unproven")
        port = peer.pair.rtcp if out is peer.rtcp else peer.pair.rtp
        via = Addr(peer.pair.host, port)
        if not (line.chain or peer.chain):
            return ((via, out.target, data),)
        if is_rtcp:
            return ((via, out.target, reported(line.chain, peer.chain, data, source, now)),)
        packets = carried(line.chain, data, source, now)
        if not out.proven:
            packets = packets[:1]  # the three of rule 9 are counted by what comes in
        return [(via, out.target, packet) for packet in packets]

    def _no(self, why: str) -> Sequence[Send]:
        self.counts[why] += 1
        return ()

    def _unread(self, line: Line) -> Sequence[Send]:
        line.invalid += 1
        return self._no("invalid")

    def _withheld(self, line: Line, why: str) -> Sequence[Send]:
        line.withheld += 1
        return self._no(why)

    def _strange(self, session: Session, leg: Leg, line: Line, source: Addr, now: float) -> None:
        if line.rtp.locked is None or (
            line.reported_at is not None and now - line.reported_at < REPORT_INTERVAL
        ):
            return
        line.reported_at = now
        mismatches = line.rtp.mismatches + line.rtcp.mismatches
        self._events.append(StrangeSource(session.key, leg.side, line.kind, source, mismatches))

    # The path: streams that are settled at both ends.

    def settle(self, session: Session) -> None:
        """Put and drop rules until the path carries exactly the streams whose both ends are locked."""
        self._touch(session)
        heard = session.audible() if session.active is not None else None
        lines = list(session.lines())
        for _, leg, line in lines:
            if leg.ptime or line.chain or session.sink is not None:
                arrange(session, leg, line)
        for branch, _, line in lines:
            peer = _opposite(session, heard, branch, line)
            rule = rule_for(line, peer)
            if rule != line.rule:
                self.withdraw(session, line)
                if rule is not None and self.path.put(rule):
                    line.rule = rule
            callees = peer if branch is None else line
            rule = rtcp_rule_for(line, peer, callees is not None and callees.mux)
            if rule != line.rtcp_rule:
                self._silence(session, line)
                if rule is not None and self.path.put(rule):
                    line.rtcp_rule = rule

    def _touch(self, session: Session) -> None:
        if self.changed is not None:
            self.changed[session.key] = None

    def withdraw(self, session: Session, line: Line) -> None:
        """Drop the line's rule for RTP, keeping what the path had counted."""
        rule = line.rule
        if rule is None:
            return
        heads = self.path.heads(rule.local)
        if heads is not None and heads.packets:
            line.heard().add(heads)
        last = self.path.drop(rule.local)
        line.rule = None
        if last is not None:
            self._heard(session, line, last)
            if isinstance(last, Figures):
                absorb(line.heard(), last, line.measured)
            line.packets += last.packets
            line.octets += last.octets
            self.counts["packets"] += last.packets
            self.counts["octets"] += last.octets
        line.measured = None

    def _silence(self, session: Session, line: Line) -> None:
        """Drop the line's rule for RTCP."""
        rule, line.rtcp_rule = line.rtcp_rule, None
        last = None if rule is None else self.path.drop(rule.local)
        if last is not None:
            self._reported(session, line, last)

    def read(self, session: Session, line: Line) -> None:
        """Let the latches and the session know what the path has carried meanwhile."""
        last = None if line.rule is None else self.path.counters(line.rule.local)
        if last is not None:
            self._heard(session, line, last)
        last = None if line.rtcp_rule is None else self.path.counters(line.rtcp_rule.local)
        if last is not None:
            self._reported(session, line, last)

    @staticmethod
    def _heard(session: Session, line: Line, last: Counters | Figures) -> None:
        if last.packets:
            line.rtp.refresh(last.at, last.ssrc, last.sequence)
            line.heard_at = max(line.heard_at, last.at)
            session.heard = max(session.heard, last.at)

    @staticmethod
    def _reported(session: Session, line: Line, last: Counters | Figures) -> None:
        if last.packets:
            line.rtcp.refresh(last.at, last.ssrc, 0)
            if session.held():
                line.heard_at = max(line.heard_at, last.at)
                session.heard = max(session.heard, last.at)

    def renew(self) -> None:
        """What the path wants to have put anew, and what it would measure by the wrong clock, is put anew."""
        found = {id(session): session for session in self.watch.strayed}
        self.watch.strayed.clear()
        for local in self.path.stale():
            place = self._places.get(local)
            if place is not None:
                found[id(place.session)] = place.session
                if place.is_rtcp:
                    self._silence(place.session, place.line)
                else:
                    self.withdraw(place.session, place.line)
        for session in found.values():
            self.settle(session)

    def overheard(self, local: Addr, data: bytes, now: float) -> None:
        """A path has carried this packet, which came to `local`: the whole of RTCP, or the head of RTP with a
        telephone-event.
        """
        place = self._places.get(local)
        if place is None:
            return
        session, branch, _, line, is_rtcp = place
        if not is_rtcp:
            if line.rule is not None and len(data) >= RTP_HEADER:
                overhear(line.heard(), data)
            return
        peer = _opposite(session, session.audible(), branch, line)
        if peer is not None and not line.secured and is_valid_rtcp(data):
            reported_by(line, peer, data, now)


def _opposite(session: Session, heard: Branch | None, branch: Branch | None, line: Line) -> Line | None:
    """The line of the other side, as long as one is heard and this one is a part of it."""
    if heard is None or branch not in (None, heard):
        return None
    return (heard.leg if branch is None else session.caller).lines.get(line.index)
