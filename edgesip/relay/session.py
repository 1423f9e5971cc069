"""One call's media: offers and answers as plans and commits over a caller's leg and a leg per branch.

An offer is only planned: the lines that live keep their ports, latches and remotes until its answer
commits; a refused offer gives back what it alone had leased. Refuses to know SIP, sockets, how ports are
chosen, and how packets move.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from edgesip.relay.leg import Leg, Line
from edgesip.relay.record import Sink
from edgesip.relay.sdp import PLAIN, Media, Sdp, Style
from edgesip.wish import Wish

Key = tuple[str, str]
CALLER, CALLEE = "caller", "callee"


def call_id_of(key: Key) -> str:
    """The Call-ID of a session; what flags have put behind it does not count."""
    return key[0].partition(";")[0]


def from_tag_of(key: Key) -> str:
    """The From-tag of a session; the mark of one that is not SIP's (`stated.OWNED`) stands before it."""
    return key[1].replace("\0", "")


class Standing(enum.Enum):
    """HEARD: in force. QUIET: another branch's answer is. STRANGER: another UA's on this very branch is."""

    HEARD = "heard"
    QUIET = "quiet"
    STRANGER = "stranger"


class Pool(Protocol):
    """Where lines get their ports."""

    def lease(self, session: Session, branch: Branch | None, leg: Leg, index: int, now: float) -> Line | None:
        """A new line of the leg with bound ports, already reachable by packets; None when there are none."""
        ...

    def release(self, line: Line, now: float) -> None:
        """Unbind the line's ports; nothing reaches it any more."""
        ...


class Plan(NamedTuple):
    """An offer that waits for its answer: `new` are the lines that exist for its sake alone.

    `wish` is how the offerer is treated once it is answered; None as before.
    """

    side: str
    body: bytes
    output: bytes
    media: tuple[Media, ...]
    sip: str
    new: frozenset[int]
    wish: Wish | None = None


@dataclass(slots=True, eq=False)
class Branch:
    """One target of the call. `tag` is whose SDP its leg was described by last.

    `plans` are the offers that wait, as a rule one: an UPDATE may come while the INVITE's still waits.
    """

    name: str
    leg: Leg
    tag: str = ""
    answered: bool = False
    plans: list[Plan] = field(default_factory=list)

    def pending(self, answerer: str) -> Plan | None:
        """The offer that an answer of this side would answer."""
        return next((plan for plan in reversed(self.plans) if plan.side != answerer), None)


@dataclass(slots=True, eq=False)
class Session:
    """The media of one call, of all its branches.

    `active` is the branch the caller hears, `fixed` the (branch, tag) of the final answer: later answers
    of others are re-addressed but change nothing. `style` is how descriptions are rewritten. `partner` is the
    leg of the first final answer, given at `answered_at` by `partner_tag`; `signalled` is the last answer;
    `past` are lines that have lost their ports; `condemned` is what ends the call if not signalling; media of
    the `blocked` sides goes nowhere; `sink` is where packets gather while they are recorded.
    """

    key: Key
    caller: Leg
    created: float
    branches: dict[str, Branch] = field(default_factory=dict)
    active: str | None = None
    fixed: tuple[str, str] | None = None
    heard: float = 0.0
    due: float | None = None
    style: Style = PLAIN
    signalled: float = 0.0
    answered_at: float = 0.0
    partner: Leg | None = None
    partner_tag: str = ""
    past: list[tuple[Leg, Line]] = field(default_factory=list)
    condemned: str = ""
    blocked: frozenset[str] = frozenset()
    sink: Sink | None = None

    @property
    def answered(self) -> bool:
        """True once an answer was final."""
        return self.fixed is not None

    @property
    def to_tag(self) -> str:
        """The tag of the active answerer, "" before any is known."""
        branch = None if self.active is None else self.branches.get(self.active)
        return "" if branch is None else branch.tag

    def lines(self) -> Iterator[tuple[Branch | None, Leg, Line]]:
        """Every line with its leg; the branch is None for the caller's."""
        for line in self.caller.lines.values():
            yield None, self.caller, line
        for branch in self.branches.values():
            for line in branch.leg.lines.values():
                yield branch, branch.leg, line

    def audible(self) -> Branch | None:
        """The branch whose packets the caller gets: the active one, before any answer the only one."""
        if self.active is not None:
            return self.branches.get(self.active)
        return next(iter(self.branches.values())) if len(self.branches) == 1 else None

    def held(self) -> bool:
        """True when every line that is heard is on hold by either side."""
        branch = self.audible()
        lines = {} if branch is None else branch.leg.lines
        return bool(lines) and all(
            line.hold or (other is not None and other.hold)
            for line, other in ((line, self.caller.lines.get(index)) for index, line in lines.items())
        )

    def offer(
        self,
        branch: Branch,
        tag: str,
        side: str,
        sdp: Sdp,
        sip: str,
        pool: Pool,
        now: float,
        wish: Wish | None = None,
    ) -> bytes | None:
        """Plan an offer sent by `side`, whose SIP came from `sip`; the body for the other side.

        None when there are no ports for it: nothing has changed. The same octets while the offer is
        pending give the same output. A wish about whoever offers holds from the answer on, at once where
        nothing was said before.
        """
        offerer, answerer = self._legs(branch, side)
        for waiting in answerer.lines.values():
            waiting.await_answer(answerer.sip, answerer.reach, answerer.learn, now)
        for plan in branch.plans:
            if plan.side == side and plan.body == sdp.body:
                return plan.output
        opened = self.open(branch, [i for i, media in enumerate(sdp.media) if media.relayed], pool, now)
        if opened is None:
            return None
        if side == CALLEE and self._standing(branch, tag) is Standing.HEARD:
            self._hear(branch, tag, now)
        self._dress(answerer, wish)
        endpoints = [answerer.endpoint(i, media, True) for i, media in enumerate(sdp.media)]
        output = sdp.rewrite(endpoints, self.style)
        if not any(line.described for line in offerer.lines.values()):
            offerer.obey(wish)
        for index, media in enumerate(sdp.media):
            line, other = offerer.lines.get(index), answerer.lines.get(index)
            if not media.relayed or line is None or other is None:
                continue
            if not line.described:
                offerer.describe(index, media, sip, now)
            if not other.described:
                other.name(media)
                other.await_answer(answerer.sip, answerer.reach, answerer.learn, now)
            if index in opened:
                branch.leg.lines[index].valid = media.payload_types
        mine = [plan for plan in branch.plans if plan.side == side]
        if mine and (branch.answered or not branch.tag):  # one that was never answered gives way
            branch.plans.remove(mine[-1])
            opened |= mine[-1].new
        branch.plans.append(Plan(side, sdp.body, output, sdp.media, sip, opened, wish))
        return output

    def answer(
        self,
        branch: Branch,
        tag: str,
        side: str,
        sdp: Sdp,
        sip: str,
        final: bool,
        pool: Pool,
        now: float,
        wish: Wish | None = None,
    ) -> bytes:
        """Re-address an answer sent by `side`; commit the pending offer when it is `final`.

        A preview (not final) of a first offer is put in force as it stands, of a later one it is only
        re-addressed. Repeats change nothing.
        """
        answerer, receiver = self._legs(branch, side)
        self._dress(receiver, wish)
        plan = branch.pending(side)
        muxed = [self._muxed(branch, plan, index) for index in range(len(sdp.media))]
        endpoints = [receiver.endpoint(i, m, muxed[i]) for i, m in enumerate(sdp.media)]
        output = sdp.rewrite(endpoints, self.style)
        standing = self._standing(branch, tag)
        if plan is None or standing is Standing.STRANGER:
            return output
        if not final and (branch.answered or standing is Standing.QUIET):
            return output
        if standing is Standing.HEARD:
            if side == CALLEE or final:
                self._hear(branch, tag, now)
            if final and self.fixed is None:
                self.fix(branch, now)
            self.heard = max(self.heard, now)
            self.signalled = now
        else:
            branch.tag = tag or branch.tag
        agreed = frozenset(
            index
            for index, pair in enumerate(zip(plan.media, sdp.media, strict=False))
            if pair[0].relayed and pair[1].relayed and index in branch.leg.lines
        )
        answered, offered = (sdp.media, sip), (plan.media, plan.sip)
        callee, caller = (answered, offered) if side == CALLEE else (offered, answered)
        if side == CALLEE or standing is Standing.HEARD:
            answerer.obey(wish)
        if side == CALLER or standing is Standing.HEARD:
            receiver.obey(plan.wish)
        self._describe(branch.leg, agreed, *callee, now)
        if standing is Standing.HEARD:
            self._describe(self.caller, agreed, *caller, now)
        for index in agreed:
            line = branch.leg.lines[index]
            line.valid = line.codes | self.caller.lines[index].codes
            line.mux = plan.media[index].mux and sdp.media[index].mux
        if final:
            branch.answered = True
            branch.plans.clear()
            self.remove(branch, frozenset(branch.leg.lines) - agreed, pool, now)  # switched off by a side
        return output

    def reject(self, branch: Branch, side: str, pool: Pool, now: float) -> None:
        """The latest offer that `side` made on the branch failed. A first offer takes its branch with it."""
        mine = [plan for plan in branch.plans if plan.side == side]
        if mine:
            branch.plans.remove(mine[-1])
            others = frozenset(index for plan in branch.plans for index in plan.new)
            self.remove(branch, mine[-1].new - others, pool, now)
        if not branch.plans and not branch.answered:
            self.close(branch, pool, now)

    def close(self, branch: Branch, pool: Pool, now: float) -> None:
        """The branch is over; with the last one everything is."""
        self.branches.pop(branch.name, None)
        self.remove(branch, frozenset(branch.leg.lines), pool, now)
        if self.active == branch.name:
            left = next((other for other in self.branches.values() if other.answered), None)
            self.active = None if left is None else left.name
            self.fixed = None if left is None else (left.name, left.tag)

    def fix(self, branch: Branch, now: float) -> None:
        """This branch's answer was final."""
        self.fixed = (branch.name, branch.tag)
        self.answered_at = self.answered_at or now
        self.partner, self.partner_tag = branch.leg, branch.tag

    def _dress(self, leg: Leg, wish: Wish | None) -> None:
        """How descriptions for the peer of this leg are written from now on."""
        if wish is not None:
            self.style = self.style._replace(origin=wish.origin, connection=wish.connection)
            leg.written = wish.address or leg.written

    def _legs(self, branch: Branch, side: str) -> tuple[Leg, Leg]:
        """The leg of `side` and the one opposite."""
        return (self.caller, branch.leg) if side == CALLER else (branch.leg, self.caller)

    def _standing(self, branch: Branch, tag: str) -> Standing:
        """Whether SDP of this branch and tag may change what the caller hears (sdp.md §14)."""
        if self.fixed is None:
            return Standing.HEARD
        name, winner = self.fixed
        if branch.name != name:
            return Standing.QUIET
        return Standing.STRANGER if tag and winner and tag != winner else Standing.HEARD

    @staticmethod
    def _muxed(branch: Branch, plan: Plan | None, index: int) -> bool:
        """Whether a=rtcp-mux may stand in the answer: only where it was offered (RFC 5761 §5.1.1)."""
        if plan is not None:
            return index < len(plan.media) and plan.media[index].mux
        line = branch.leg.lines.get(index)
        return line is not None and line.mux

    def _hear(self, branch: Branch, tag: str, now: float) -> None:
        """SDP of this tag goes to the caller: it is active. A new UA on the branch is learned anew."""
        if tag and branch.tag and tag != branch.tag and not branch.answered:
            for line in branch.leg.lines.values():
                line.forget()
                line.await_answer(branch.leg.sip, branch.leg.reach, branch.leg.learn, now)
        branch.tag = tag or branch.tag
        self.active = branch.name

    def open(self, branch: Branch, indices: Iterable[int], pool: Pool, now: float) -> frozenset[int] | None:
        """Ports on both legs for these lines: the new indices; None, nothing leased, if any lack."""
        opened: set[int] = set()
        for index in indices:
            for owner, leg in ((None, self.caller), (branch, branch.leg)):
                if index in leg.lines:
                    continue
                line = pool.lease(self, owner, leg, index, now)
                if line is None:
                    self.remove(branch, frozenset(opened), pool, now)
                    return None
                leg.lines[index] = line
                if owner is not None:
                    opened.add(index)
        return frozenset(opened)

    def _describe(
        self, leg: Leg, agreed: frozenset[int], media: tuple[Media, ...], sip: str, now: float
    ) -> None:
        """Put in force what the leg's side said of the agreed lines, and let them learn."""
        leg.sip = sip
        for index in agreed:
            leg.describe(index, media[index], sip, now).unlock(now)

    def remove(self, branch: Branch, indices: frozenset[int], pool: Pool, now: float) -> None:
        """Release lines of the branch, and those of the caller that no branch has any more."""
        for index in indices:
            line = branch.leg.lines.pop(index, None)
            if line is not None:
                pool.release(line, now)
        used = {index for other in self.branches.values() for index in other.leg.lines}
        for index in [index for index in self.caller.lines if index not in used]:
            pool.release(self.caller.lines.pop(index), now)

    def record(self, wall_offset: float) -> dict[str, Any]:
        """What must survive the process, as JSON with wall times; offers that are pending are not in it."""
        pending = {
            branch.name: frozenset(index for plan in branch.plans for index in plan.new)
            for branch in self.branches.values()
        }
        kept = {i for b in self.branches.values() for i in b.leg.lines if i not in pending[b.name]}
        return {
            "key": self.key,
            "caller": self.caller.record(wall_offset, frozenset(self.caller.lines) - kept),
            "created": self.created + wall_offset,
            "branches": [
                {
                    "name": branch.name,
                    "leg": branch.leg.record(wall_offset, pending[branch.name]),
                    "tag": branch.tag,
                    "answered": branch.answered,
                }
                for branch in self.branches.values()
            ],
            "active": self.active,
            "fixed": self.fixed,
            "heard": self.heard + wall_offset,
            "signalled": self.signalled + wall_offset,
            "answered_at": self.answered_at and self.answered_at + wall_offset,
            "blocked": sorted(self.blocked),
            "style": [self.style.origin, self.style.connection, self.style.mark.decode("latin-1")],
        }

    @classmethod
    def from_record(cls, record: dict[str, Any], wall_offset: float) -> Session:
        """The session that `record` described; KeyError, TypeError or ValueError when it does not."""
        call_id, from_tag = record["key"]
        branches = [
            Branch(each["name"], Leg.from_record(each["leg"], wall_offset), each["tag"], each["answered"])
            for each in record["branches"]
        ]
        fixed = record["fixed"]
        origin, connection, mark = record["style"]
        heard = record["heard"] - wall_offset
        partner = next((one for one in branches if fixed is not None and one.name == fixed[0]), None)
        return cls(
            key=(call_id, from_tag),
            caller=Leg.from_record(record["caller"], wall_offset),
            created=record["created"] - wall_offset,
            branches={branch.name: branch for branch in branches},
            active=record["active"],
            fixed=None if fixed is None else (fixed[0], fixed[1]),
            heard=heard,
            signalled=record["signalled"] - wall_offset,
            partner=None if partner is None else partner.leg,
            partner_tag="" if partner is None else partner.tag,
            answered_at=record["answered_at"] and record["answered_at"] - wall_offset,
            style=Style(origin, connection, mark.encode("latin-1")),
            blocked=frozenset(record["blocked"]),
        )
