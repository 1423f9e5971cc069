"""The relay's front door: offers and answers in, and what became of calls; packets go to `packets`.

Joins the pool of ports, the sessions and what carries their packets. Sans-IO: `now` is monotonic seconds,
sockets are somebody else's (`bind`, `unbind`), and what there is to say comes back as values, events and
counters. Refuses to know SIP messages: a call is (Call-ID, From-tag), a branch is a name.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from edgesip.address import Addr, Flow
from edgesip.relay.desk import Desk
from edgesip.relay.interface import Interface, Interfaces, Seat
from edgesip.relay.leg import Leg, Line
from edgesip.relay.packets import LooseSource, Packets, Send, StrangeSource
from edgesip.relay.past import FORCED, Past
from edgesip.relay.path import Path
from edgesip.relay.playing import Playing
from edgesip.relay.ports import Pair
from edgesip.relay.prompt import Prompt
from edgesip.relay.sdp import Sdp, SdpError, Style, parse
from edgesip.relay.session import CALLEE, CALLER, Branch, Key, Session
from edgesip.relay.silence import TIMEOUT, Limits, judge
from edgesip.relay.sinks import Sinks
from edgesip.wish import Wish

PORTS_A_SESSION = 4
MOST_PAST = 64
"""Lines of one call that are remembered after they have lost their ports."""
NOTHING = Wish()
IPV4, IPV6 = "0.0.0.0", "::"


@dataclass(frozen=True, slots=True)
class Settings:
    """The relay's slice of the configuration.

    `address`, `advertise`: at most one IP a family, bound and written into SDP; empty means each leg's own
    SIP address. `low`-`high`: the port range. `timeout`, `hold_timeout`, `final_timeout`, `either`: see
    `silence.Limits`. `max_sessions` also bounds the leased ports, four to a session. `interfaces` are those
    with a name, `hosts` the addresses that SIP is listened for on, `mark` is the line that says in SDP that
    it is relayed.
    """

    enabled: bool
    address: tuple[str, ...]
    advertise: tuple[str, ...]
    low: int
    high: int
    timeout: float
    max_sessions: int
    hold_timeout: float = 3600.0
    interfaces: tuple[Interface, ...] = ()
    hosts: tuple[str, ...] = ()
    mark: bytes = b""
    final_timeout: float = 0.0
    either: bool = False

    @property
    def limits(self) -> Limits:
        """When a call has been silent for too long."""
        return Limits(self.timeout, self.hold_timeout, self.final_timeout, self.either)


class Refusal(NamedTuple):
    """Why media cannot be had: the SIP status to answer with, its reason, Retry-After seconds with a 503."""

    status: int
    reason: str
    retry_after: int | None


class MediaTimeout(NamedTuple):
    """This answered call has no media for too long; it stays until it is closed, and this comes again.

    `why` is what `silence` says, `sides` are those that are silent.
    """

    key: Key
    branch: str
    why: str = TIMEOUT
    sides: tuple[str, ...] = (CALLER, CALLEE)


Event = MediaTimeout | StrangeSource | LooseSource


def no_prompts(name: str) -> Prompt | None:
    """Where a core without a shelf of prompts looks."""
    return None


def no_alarm(at: float) -> None:
    """What a core without a clock of its own rings: whoever drives it asks `pace_at` by himself."""


class RelayCore:
    """All media sessions. `bind(pair)` takes both ports or neither, `entropy(n)` gives n random octets.

    `prompts(name)` finds a recording; `alarm(at)` is told when a first prompt wants `pace` to be called.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        bind: Callable[[Pair], bool],
        unbind: Callable[[Pair], None],
        path: Path,
        entropy: Callable[[int], bytes],
        prompts: Callable[[str], Prompt | None] = no_prompts,
        alarm: Callable[[float], None] = no_alarm,
    ) -> None:
        self.settings = settings
        self.mark = settings.mark
        self.path = path
        self._entropy = entropy
        usual = Interface("", settings.address, settings.advertise, settings.low, settings.high)
        self._ports = Interfaces(usual, settings.interfaces, settings.hosts, entropy, bind, unbind)
        self._sessions: dict[Key, Session] = {}
        self.packets = Packets(path, self._sessions)
        self.watch = self.packets.watch
        self.playing = Playing(self.packets, entropy, prompts, alarm)
        self._past = Past()
        self.desk = Desk(self._sessions, self._past, self.packets, settings.limits)
        self.sinks = Sinks(self._sessions, self.packets)
        self._due: list[tuple[float, Key]] = []
        self.drained: frozenset[str] = frozenset()
        self.moments = self.packets.moments
        self._counts = dict.fromkeys(("timeout", "refused"), 0)

    @property
    def max_sessions(self) -> int:
        """How many sessions are kept at most."""
        return self.settings.max_sessions

    @property
    def interfaces(self) -> frozenset[str]:
        """The names that a wish may give to its sides."""
        return self._ports.names

    def has_room(self) -> bool:
        """False when a call that is new would be refused, whatever its SDP says."""
        room = self.settings.enabled and len(self._sessions) < self.settings.max_sessions
        return room and not self.drained >= {"", *self.interfaces}

    # Signalling: offers and answers (RFC 3264), by the rules of sdp.md §13-14.

    def offer(
        self,
        key: Key,
        branch: str,
        tag: str,
        side: str,
        body: bytes,
        source: Flow,
        toward: Flow,
        now: float,
        wish: Wish | None = None,
    ) -> bytes | Refusal:
        """The offer as the other side shall see it, with the relay's ports in it; nothing else changes yet.

        `side` ("caller" or "callee") sent it, its SIP came by `source` and leaves by `toward`; `wish` None
        has all as it was in this call before. 488 for SDP that cannot be read or has no address that suits,
        503 when ports or sessions have run out: then nothing is kept of it.
        """
        if not self.settings.enabled:
            return body
        sdp = self._parse(body)
        if isinstance(sdp, Refusal):
            return sdp
        callee = toward if side == CALLER else source
        session = self._sessions.get(key)
        place = None if session is None else session.branches.get(branch)
        if session is None or place is None or not (place.tag or place.answered):
            seats = self._seats(sdp, source, toward, wish or NOTHING)
            if isinstance(seats, Refusal):
                return seats
            caller_seat, callee_seat = seats if side == CALLER else (seats[1], seats[0])
            if session is None:
                if not self.drained.isdisjoint((caller_seat.interface, callee_seat.interface)):
                    return self._full("The media relay takes no new calls")
                if len(self._sessions) >= self.settings.max_sessions:
                    return self._full("Too many media sessions")
                sip = source if side == CALLER else toward
                session = Session(key, self.leg(CALLER, caller_seat, sip), now)
                session.style = Style(mark=self.mark)
            at = None if place is None else (place.leg.host, place.leg.interface)
            if place is not None and at != (callee_seat.host, callee_seat.interface):  # the next hop's is
                session.close(place, self, now)
                place = None
            if place is not None:
                place.leg.sip = callee.remote.host
        fresh = place is None
        if place is None:
            place = session.branches[branch] = Branch(branch, self.leg(CALLEE, callee_seat, callee))
        output = session.offer(place, tag, side, sdp, source.remote.host, self, now, wish)
        if output is None:
            if fresh:
                session.close(place, self, now)
            self._keep(session, now)
            return self._full("No media ports left")
        self._keep(session, now)
        self.packets.settle(session)
        if fresh:
            self.moments.opened(now, key[0], (session.caller, place.leg))
        return self.playing.offered(session, place, side, sdp.media, output)

    def answer(
        self,
        key: Key,
        branch: str,
        tag: str,
        side: str,
        body: bytes,
        source: Flow,
        toward: Flow,
        final: bool,
        now: float,
        wish: Wish | None = None,
    ) -> bytes | Refusal:
        """The answer as the offerer shall see it. `final` commits; a preview lets media flow.

        A preview is an answer in an unreliable 1xx. Repeats are harmless. The body of a call that is not
        relayed is returned as it is; 488 for SDP that cannot be read.
        """
        session = self._sessions.get(key)
        place = None if session is None else session.branches.get(branch)
        if session is None or place is None:
            return body
        sdp = self._parse(body)
        if isinstance(sdp, Refusal):
            return sdp
        again, plan = place.answered, place.pending(side)
        output = session.answer(place, tag, side, sdp, source.remote.host, final, self, now, wish)
        self.packets.settle(session)
        if again:
            output = self.playing.answered(session, place, side, plan, sdp.media, output)
        if final and plan is not None:
            self.playing.agreed(session, place, side, again, now)
        if session.answered:
            self._schedule(session, judge(session, self.desk.limits).due)
        return output

    def reject(self, key: Key, branch: str, side: str, now: float) -> None:
        """The offer that `side` made failed: back to what was before it. A first offer ends its branch."""
        session = self._sessions.get(key)
        place = None if session is None else session.branches.get(branch)
        if session is not None and place is not None:
            session.reject(place, side, self, now)
            self._keep(session, now)
            self.packets.settle(session)

    def end(self, key: Key, now: float) -> None:
        """The call is over, with every branch that it still has."""
        session = self._sessions.get(key)
        self.sinks.over(key, None, now)
        for branch in list(session.branches) if session is not None else ():
            self.close(key, branch, now)

    def close(self, key: Key, branch: str, now: float) -> None:
        """The branch is over: its ports are released, with the last branch the caller's too."""
        session = self._sessions.get(key)
        place = None if session is None else session.branches.get(branch)
        if session is not None and place is not None:
            self.moments.closed(now, key[0], (session.caller, place.leg), self.path)
            session.close(place, self, now)
            self._keep(session, now)
            self.packets.settle(session)

    def record(self, key: Key, kind: str, now: float, name: str = "") -> None:
        """Record the call from now on, or once it is there: "wav" or "pcap"; "" for no longer (`Sinks`)."""
        self.sinks.record(key, kind, now, name)

    def _parse(self, body: bytes) -> Sdp | Refusal:
        try:
            return parse(body)
        except SdpError as error:
            self._counts["refused"] += 1
            return Refusal(error.status, error.reason, None)

    def _full(self, reason: str) -> Refusal:
        """503; Retry-After is spread over 1 to 10 s so that those refused do not come back together."""
        self._counts["refused"] += 1
        return Refusal(503, reason, 1 + self._entropy(1)[0] % 10)

    def _keep(self, session: Session, now: float) -> None:
        """A session lives as long as it has a branch; what was wished of it before it was there is done."""
        if session.branches:
            self._past.counts["sessions_total"] += session.key not in self._sessions
            self._sessions[session.key] = session
            self.sinks.begun(session, now)
        elif self._sessions.pop(session.key, None) is not None:
            self._past.add(session, now)
            self.sinks.over(session.key, session, now)

    def _seats(self, sdp: Sdp, source: Flow, toward: Flow, wish: Wish) -> tuple[Seat, Seat] | Refusal:
        """Where the sender of an offer gets its ports, and where its receiver does."""
        ports, said, heard = self._ports, sdp.host, source.local.host
        sender = ports.seat(wish.sender, said or heard, heard)
        if sender is None:
            sender = ports.seat(wish.sender, heard, heard)
        families = {"": toward.local.host, "IP4": IPV4, "IP6": IPV6}
        families["other"] = IPV4 if ":" in (said or heard) else IPV6
        receiver = ports.seat(wish.receiver, families[wish.family], toward.local.host)
        if sender is None or receiver is None:
            self._counts["refused"] += 1
            return Refusal(488, "No media address of this family", None)
        return sender, receiver

    def leg(self, side: str, seat: Seat, flow: Flow) -> Leg:
        """A leg without lines: where its ports shall be, and what its peer is told."""
        reach = self._ports.reach(seat, flow.local.host)
        return Leg(side, seat.host, seat.written, reach, sip=flow.remote.host, interface=seat.interface)

    # What the door without SDP needs (`stated`).

    def session(self, key: Key) -> Session | None:
        """The session of this key, while it lives."""
        return self._sessions.get(key)

    @property
    def keys(self) -> list[Key]:
        """Those of all living sessions."""
        return list(self._sessions)

    @property
    def seats(self) -> Interfaces:
        """Where legs can have their ports."""
        return self._ports

    def renew(self, session: Session, now: float) -> None:
        """The session's lines were changed from outside: in force from now on, and waited for."""
        self._keep(session, now)
        self.packets.settle(session)
        if session.answered:
            self._schedule(session, judge(session, self.desk.limits).due)

    # The pool, as sessions see it.

    def lease(self, session: Session, branch: Branch | None, leg: Leg, index: int, now: float) -> Line | None:
        """A line with bound ports, known to `receive`; None when it would take more than we may have."""
        if self.packets.ports + 2 > PORTS_A_SESSION * self.settings.max_sessions:
            return None
        pair = self._ports.lease(leg.interface, leg.host, now)
        if pair is None:
            return None
        line = Line(index, pair)
        self.packets.open(session, branch, leg, line)
        return line

    def release(self, line: Line, now: float) -> None:
        """Take the line off the path, unbind its ports and let them rest."""
        self.playing.released(line)
        session, leg = self.packets.shut(line)
        if len(session.past) < MOST_PAST:
            session.past.append((leg, line))
        self._ports.release(line.pair, now)

    # Packets.

    def receive(self, local: Addr, data: bytes, source: Addr, now: float) -> Sequence[Send]:
        """One datagram that reached `local`: what to send for it, as (from our port, to, octets)."""
        return self.packets.receive(local, data, source, now)

    # Prompts.

    def play(self, key: Key, branch: str, side: str, name: str, count: int, now: float) -> str:
        """Play a prompt to `side` in place of the other: so many times, -1 for ever, 0 to stop.

        "" when it plays, else why not, as a sentence.
        """
        session = self._sessions.get(key)
        place = None if session is None else session.branches.get(branch)
        if session is None or place is None:
            return "its media is not relayed"
        return self.playing.play(session, place, side, name, count, now)

    def play_to(self, call_id: str, side: str, name: str, count: int, now: float) -> list[str]:
        """The same for every session of a Call-ID, to whoever is heard there: an answer each."""
        found = []
        for key, session in self._sessions.items():
            if key[0].partition(";")[0] == call_id:
                place = session.audible()
                found.append(
                    "no answer is heard yet"
                    if place is None
                    else self.playing.play(session, place, side, name, count, now)
                )
        return found

    def pace(self, now: float) -> Sequence[Send]:
        """What prompts have to send by now, as (from our port, to, octets)."""
        return self.playing.pace(now)

    def pace_at(self) -> float | None:
        """When `pace` has something to send; None while nothing plays."""
        return self.playing.pace_at()

    # Orders.

    def condemn(self, key: Key, why: str) -> None:
        """If this session ends it is because of this, one of `past.REASONS`."""
        session = self._sessions.get(key)
        if session is not None:
            session.condemned = why

    def destroy(self, call_id: str, now: float) -> int:
        """The media of a call ends, whatever its signalling says: how many sessions it had."""
        found = self.desk.named(call_id)
        for session in found:
            session.condemned = FORCED
            self.end(session.key, now)
        return len(found)

    # Time.

    def tick(self, now: float) -> list[Event]:
        """What happened since the last tick, and the answered calls that have been silent for too long."""
        self._past.forget(now)
        self.packets.renew()
        events: list[Event] = [*self.packets.take_events()]
        while self._due and self._due[0][0] <= now:
            at, key = heapq.heappop(self._due)
            session = self._sessions.get(key)
            if session is None or session.due != at:
                continue
            for _, _, line in session.lines():
                self.packets.read(session, line)
            silence = judge(session, self.desk.limits)
            due = silence.due
            if due <= now:
                if session.fixed is not None and session.caller.lines:
                    self._counts["timeout"] += 1
                    events.append(MediaTimeout(key, session.fixed[0], silence.why, silence.sides))
                due = now + silence.patience
            self._schedule(session, due)
        return events

    def deadline(self) -> float | None:
        """When `tick` has something to look at; None when nothing is waited for."""
        return self._due[0][0] if self._due else None

    def patience(self, session: Session) -> float:
        """Seconds without media after which the session is looked at."""
        return judge(session, self.desk.limits).patience

    def judge_by(self, limits: Limits) -> None:
        """Calls are silent for too long by these limits from now on."""
        self.desk.limits = limits
        for session in self._sessions.values():
            if session.answered:
                self._schedule(session, judge(session, limits).due)

    def _schedule(self, session: Session, due: float) -> None:
        if session.due != due:
            session.due = due
            heapq.heappush(self._due, (due, session.key))

    # Questions.

    @property
    def counters(self) -> dict[str, int]:
        """Totals since the start, by `rtp:` names; what living rules carried is in them."""
        totals = {**self.packets.counts, **self._counts, **self._past.counts}
        counts = {f"rtp:rtp_{name}": value for name, value in totals.items()}
        packets, octets = self.path.totals()
        counts["rtp:rtp_packets"] += packets
        counts["rtp:rtp_octets"] += octets
        counts["rtp:rtp_sessions"] = len(self._sessions)
        counts["rtp:rtp_prompts"] = self.playing.playing
        counts["rtp:rtp_prompt_packets"] = self.playing.sent
        return counts

    def ports(self, now: float) -> dict[str, int]:
        """The pool: `total`, `leased`, `resting` and `free` ports (the shape of `rtp.ports`)."""
        return dict(self._ports.counts(now)._asdict())

    def named(self, call_id: str) -> list[Session]:
        """The living sessions of a Call-ID: one, unless several callers use the same."""
        return self.desk.named(call_id)

    def sessions(self, now: float) -> list[dict[str, Any]]:
        """Every living session with its legs, line by line (the shape of `rtp.list`)."""
        return self.desk.sessions(now)
