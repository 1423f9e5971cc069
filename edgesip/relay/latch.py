"""Latches: whose packets are believed, and where packets are sent, for one component of one leg.

Holds the learning rules of media-relay.md §2.2 as one machine: INIT, PREFILLED, LEARNING, LOCKED, RELATCH.
It sees addresses, SSRCs, sequence numbers and times. Refuses to know SDP syntax, packets, the other leg,
and who is calling.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from edgesip.address import Addr, is_private, is_sendable

WINDOW = 3.0  # rule 4: a source that is not the signalled one is locked this long after the last signalling
HEAD_START = 0.2  # rule 4, ties: how long the first of two sources has to prove itself undisturbed
SILENCE = 2.0  # rule 6b: a source that spoke within this time is alive
OLD_ADDRESS = 10.0  # rule 6a: how long the address before a re-offer is still heard
STEP = 16  # rule 3: the largest sequence step between two packets of one proof
REBIND_STEP = 536  # rule 6b: the largest sequence distance of a stream that moved to another NAT binding
LOWEST_PORT = 1024  # rule 8
MAX_TRIES = 8


class State(enum.Enum):
    """INIT: nothing signalled. PREFILLED: nothing heard. RELATCH: LEARNING while the old one is heard too."""

    INIT = "init"
    PREFILLED = "prefilled"
    LEARNING = "learning"
    LOCKED = "locked"
    RELATCH = "relatch"


class Rank(enum.IntEnum):
    """How well a source fits what was signalled; lower is better."""

    SDP = 0
    SDP_HOST = 1
    SIP_HOST_SDP_PORT = 2
    SIP_HOST = 3
    SDP_PORT = 4
    OTHER = 5

    @property
    def label(self) -> str:
        """The rank as operators and the specification write it."""
        return ("0", "1", "2a", "2b", "3", "4")[self]


class Learn(enum.Enum):
    """Rule 2: which ranks may be learned at all. ASYMMETRIC: packets go where SDP says all the same."""

    STRICT = "strict"
    ASYMMETRIC = "asymmetric"
    NAT = "nat"
    LOOSE = "loose"


_WORST = {
    Learn.STRICT: Rank.SDP,
    Learn.ASYMMETRIC: Rank.SDP_HOST,
    Learn.NAT: Rank.SIP_HOST,
    Learn.LOOSE: Rank.OTHER,
}


class Judgement(enum.Enum):
    """What becomes of a packet at its source's latch: TAKEN goes on, the others name why it does not."""

    TAKEN = "taken"
    MISMATCH = "mismatch"
    INVALID = "invalid"


class Sample(NamedTuple):
    """What of a valid packet proves a stream; RTCP has no sequence, opaque media no SSRC (they are 0)."""

    ssrc: int
    sequence: int


class Reach(NamedTuple):
    """Rule 8: the addresses this leg may deal with. `own` are the relay's addresses, low-high its ports."""

    loopback: bool
    own: frozenset[str]
    low: int
    high: int

    def allows(self, addr: Addr) -> bool:
        """True when packets may be learned from this address and sent to it."""
        if addr.port < LOWEST_PORT or not is_sendable(addr.host, self.loopback):
            return False
        return not (self.low <= addr.port <= self.high and addr.host in self.own)


class Expect(NamedTuple):
    """What signalling says of one component: its SDP address, and the IP its SIP came from.

    `host` None: no address, or a name. `port` 0: none known. Hosts are canonical IP literals. `trust`:
    somebody vouches for the address (flag `r`). `handover`: another stream than the
    locked one may go on for it.
    """

    host: str | None
    port: int
    sip: str
    reach: Reach
    learn: Learn = Learn.NAT
    trust: bool = False
    handover: bool = False


def rank_of(source: Addr, expect: Expect) -> Rank:
    """The rank of a source (the first table of media-relay.md §2.2)."""
    same_port = source.port == expect.port
    if source.host == expect.host:
        return Rank.SDP if same_port else Rank.SDP_HOST
    if source.host == expect.sip:
        return Rank.SIP_HOST_SDP_PORT if same_port else Rank.SIP_HOST
    return Rank.SDP_PORT if same_port else Rank.OTHER


def prefill(expect: Expect) -> Addr | None:
    """Where to send before anything is heard: the SDP address if it can be the leg's, else the SIP source's.

    None when no port is known or rule 8 forbids what is left.
    """
    hosts = [] if expect.host is None else [expect.host]
    private = expect.host is not None and is_private(expect.host) and not is_private(expect.sip)
    if private and not expect.trust:
        hosts = []
    for host in (*hosts, expect.sip):
        addr = Addr(host, expect.port)
        if expect.reach.allows(addr):
            return addr
    return None


@dataclass(slots=True)
class Candidate:
    """A source and its last valid packet: SSRC, sequence number, monotonic time; `since` is its first's."""

    source: Addr
    rank: Rank
    ssrc: int
    sequence: int
    at: float
    since: float


@dataclass(slots=True)
class Latch:
    """One component (RTP, or RTCP with `rtcp`) of one leg.

    `expect` and `unlock` are signalling, `judge` is each packet's question, `target` the answer for what
    goes the other way. `proven` False: at most 3 packets may leave to `target` (rule 9).
    """

    rtcp: bool = False
    state: State = State.INIT
    signalled: Expect | None = None
    signalled_at: float = 0.0
    unlocked: bool = False
    target: Addr | None = None
    proven: bool = False
    best: Candidate | None = None
    tries: dict[Addr, Candidate] = field(default_factory=dict)
    old: Addr | None = None
    old_until: float = 0.0
    tied: str | None = None
    contested: bool = False
    mismatches: int = 0
    relatches: int = 0

    @property
    def locked(self) -> Addr | None:
        """The one address that is believed, once it is."""
        return self.best.source if self.best is not None and self.state is State.LOCKED else None

    @property
    def rank(self) -> str:
        """The rank of the source that is believed most so far, "" with none."""
        return "" if self.best is None else self.best.rank.label

    def expect(self, expect: Expect, now: float) -> None:
        """Signalling spoke of this side. The same address again relearns nothing (rule 6a)."""
        before, self.signalled = self.signalled, expect
        if before is not None and expect[:2] == before[:2]:
            if self.state is State.INIT:
                self.signalled_at = now
            elif self.state is not State.LOCKED:
                self.signalled_at = now
                if self.best is None:
                    self._aim(expect)
            return
        self.signalled_at = now
        heard = None if self.best is None else self.best.source
        self.best, self.tied, self.contested = None, None, False
        self.tries.clear()
        self._aim(expect)
        if heard is not None:
            self.old, self.old_until = heard, now + OLD_ADDRESS
        if self.old is not None and now < self.old_until:
            self.state = State.RELATCH
        elif expect.port:
            self.state = State.PREFILLED
        else:
            self.state = State.INIT

    def unlock(self, now: float) -> None:
        """An answer was forwarded to the offerer: learning may begin (rule 1)."""
        if not self.unlocked:
            self.unlocked = True
            self.signalled_at = now

    def tie(self, host: str) -> None:
        """RTCP only: the leg's RTP locked at this IP, so its RTCP is there too (rule 3)."""
        if self.tied == host:
            return
        self.tied = host
        if self.best is not None and self.best.source.host == host:
            return
        port = 0 if self.signalled is None else self.signalled.port
        self.best, self.old, self.state = None, None, State.LEARNING
        kept = (
            self.target if self.signalled is not None and self.signalled.learn is Learn.ASYMMETRIC else None
        )
        self.target = kept or (Addr(host, port) if port >= LOWEST_PORT else None)
        self.proven = True

    def refresh(self, at: float, ssrc: int, sequence: int) -> None:
        """A path carried packets of the locked source meanwhile; this was the last of them."""
        if self.best is not None and at > self.best.at:
            self.best.at, self.best.ssrc, self.best.sequence = at, ssrc, sequence

    def judge(self, source: Addr, sample: Sample | None, now: float, kin: int | None = None) -> Judgement:
        """Whether a packet from this source goes on; learns from it. `sample` None: it proves nothing.

        `kin`, for RTCP: the SSRC with which the leg's RTP speaks, once that is proven. Its reports bear it
        (RFC 3550 §6.4), a neighbour's behind the same NAT do not.
        """
        if self.state is State.RELATCH and now >= self.old_until:
            self.state, self.old = State.LEARNING, None
        if self.best is not None and self.state is not State.LOCKED and self._window_over(now):
            self._lock()
        if self.state is State.LOCKED:
            judgement = self._locked(source, sample, now)
        else:
            judgement = self._learn(source, sample, now, kin)
        if judgement is not Judgement.TAKEN and source == self.old:
            judgement = Judgement.TAKEN
        if judgement is Judgement.MISMATCH:
            self.mismatches += 1
        return judgement

    def _learn(self, source: Addr, sample: Sample | None, now: float, kin: int | None) -> Judgement:
        """Rules 1 to 4: INIT, PREFILLED, LEARNING and RELATCH."""
        rank = self._accepted(source)
        if rank is None:
            return Judgement.MISMATCH
        if kin is not None and sample is not None and sample.ssrc != kin and rank is not Rank.SDP:
            return Judgement.MISMATCH
        best = self.best
        if sample is None:
            return Judgement.TAKEN if best is not None and source == best.source else Judgement.INVALID
        if not self.unlocked or (self.rtcp and self.tied is None):
            return Judgement.TAKEN
        if self.rtcp and source.host != self.tied:
            return Judgement.MISMATCH
        if self.state in (State.INIT, State.PREFILLED):
            self.state = State.LEARNING
        if best is not None:
            if source == best.source:
                best.ssrc, best.sequence, best.at = sample.ssrc, sample.sequence, now
                return Judgement.TAKEN
            if rank >= best.rank:
                self.contested |= rank == best.rank and now - best.at < SILENCE
                return Judgement.MISMATCH
        others = [one for one in self.tries.values() if now - one.at < SILENCE and one.source != source]
        self.contested |= any(one.rank == rank for one in others)
        if any(one.rank < rank or (one.rank == rank and now - one.since < HEAD_START) for one in others):
            return Judgement.MISMATCH
        if self._proves(source, rank, sample, now):
            self._adopt(Candidate(source, rank, sample.ssrc, sample.sequence, now, now))
            if rank is Rank.SDP or self._window_over(now):
                self._lock()
        return Judgement.TAKEN

    def _locked(self, source: Addr, sample: Sample | None, now: float) -> Judgement:
        """Rules 5 and 6b: only the locked source, unless its own stream went on from elsewhere."""
        best = self.best
        assert best is not None  # LOCKED has one
        if source == best.source:
            if sample is not None:
                best.ssrc, best.sequence, best.at = sample.ssrc, sample.sequence, now
            return Judgement.TAKEN
        if sample is None or now - best.at < SILENCE or (self.rtcp and source.host != self.tied):
            return Judgement.MISMATCH
        ahead = (sample.sequence - best.sequence) & 0xFFFF
        same = sample.ssrc == best.ssrc and min(ahead, 0x10000 - ahead) <= REBIND_STEP
        if not (same or (self.signalled is not None and self.signalled.handover)):
            return Judgement.MISMATCH
        rank = self._accepted(source)
        if rank is None or not self._proves(source, rank, sample, now):
            return Judgement.MISMATCH
        self._adopt(Candidate(source, rank, sample.ssrc, sample.sequence, now, now))
        self._lock()
        self.relatches += 1
        return Judgement.TAKEN

    def _accepted(self, source: Addr) -> Rank | None:
        """The source's rank when rules 1, 2 and 8 let it in, else None."""
        expect = self.signalled
        if expect is None or not expect.reach.allows(source):
            return None
        rank = rank_of(source, expect)
        worst = _WORST[expect.learn]
        return rank if rank <= (worst if self.unlocked else min(worst, Rank.SIP_HOST)) else None

    def _proves(self, source: Addr, rank: Rank, sample: Sample, now: float) -> bool:
        """Rule 3: two packets of one stream; for RTCP one packet, its IP being the locked one's."""
        if self.rtcp:
            return True
        seen = self.tries.get(source)
        if seen is None and len(self.tries) >= MAX_TRIES:
            worst = max(self.tries.values(), key=lambda tried: (tried.rank, -tried.at))
            del self.tries[worst.source]
        since = now if seen is None else seen.since
        self.tries[source] = Candidate(source, rank, sample.ssrc, sample.sequence, now, since)
        if seen is None or seen.ssrc != sample.ssrc:
            return False
        return 1 <= (sample.sequence - seen.sequence) & 0xFFFF <= STEP

    def _adopt(self, candidate: Candidate) -> None:
        self.tries.clear()
        self.best, self.proven = candidate, True
        if self.signalled is None or self.signalled.learn is not Learn.ASYMMETRIC or self.target is None:
            self.target = candidate.source

    def _lock(self) -> None:
        self.state, self.old = State.LOCKED, None
        self.tries.clear()

    def _aim(self, expect: Expect) -> None:
        self.target = prefill(expect)
        self.proven = self.target is not None and (self.target.host == expect.sip or expect.trust)

    def _window_over(self, now: float) -> bool:
        return now - self.signalled_at >= WINDOW

    def record(self, wall_offset: float) -> list[Any]:
        """What has to survive the process, as JSON with wall times; who was merely tried is not in it.

        Nor is what its whole leg has in common: the reach. By place, not by name: a call has four of these.
        """
        best = self.best
        return [
            self.rtcp,
            self.state.value,
            None if self.signalled is None else _expect_record(self.signalled),
            self.signalled_at + wall_offset,
            self.unlocked,
            plain(self.target),
            self.proven,
            None
            if best is None
            else [*best.source, int(best.rank), best.ssrc, best.sequence, best.at + wall_offset],
            plain(self.old),
            self.old_until and self.old_until + wall_offset,
            self.tied,
            self.contested,
            self.mismatches,
            self.relatches,
        ]

    @classmethod
    def from_record(cls, record: list[Any], wall_offset: float, reach: Reach) -> Latch:
        """The latch that `record` described, of a leg with this reach; TypeError or ValueError when it does
        not.
        """
        rtcp, state, expect, signalled_at, unlocked, target, proven, found, old, old_until, *rest = record
        tied, contested, mismatches, relatches = rest
        best = None
        if found is not None:
            host, port, rank, ssrc, sequence, at = found
            since = at - wall_offset
            best = Candidate(Addr(host, port), Rank(rank), ssrc, sequence, since, since)
        return cls(
            rtcp=rtcp,
            state=State(state),
            signalled=None if expect is None else _expect_from(expect, reach),
            signalled_at=signalled_at - wall_offset,
            unlocked=unlocked,
            target=None if target is None else Addr(*target),
            proven=proven,
            best=best,
            old=None if old is None else Addr(*old),
            old_until=old_until and old_until - wall_offset,
            tied=tied,
            contested=contested,
            mismatches=mismatches,
            relatches=relatches,
        )


def plain(addr: Addr | None) -> list[Any] | None:
    """An address as a list, which any JSON encoder takes."""
    return None if addr is None else [*addr]


def _expect_record(expect: Expect) -> list[Any]:
    host, port, sip, _, learn, trust, handover = expect
    return [host, port, sip, learn.value, trust, handover]


def _expect_from(record: list[Any], reach: Reach) -> Expect:
    host, port, sip, learn, trust, handover = record
    return Expect(host, port, sip, reach, Learn(learn), trust, handover)
