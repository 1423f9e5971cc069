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

from edgesip.address import Addr, Flow, is_loopback, parse_ip
from edgesip.relay.latch import Reach
from edgesip.relay.leg import Leg, Line
from edgesip.relay.listing import listed
from edgesip.relay.packets import Packets, Send, StrangeSource
from edgesip.relay.path import Path
from edgesip.relay.ports import Pair, Ports
from edgesip.relay.sdp import Sdp, SdpError, parse
from edgesip.relay.session import CALLEE, CALLER, Branch, Key, Session

PORTS_A_SESSION = 4


@dataclass(frozen=True, slots=True)
class Settings:
    """The relay's slice of the configuration.

    `address`, `advertise`: at most one IP a family, bound and written into SDP; empty means each leg's own
    SIP address. `low`-`high`: the port range. `timeout`, `hold_timeout`: seconds of silence that end a
    call. `max_sessions` also bounds the leased ports, four to a session.
    """

    enabled: bool
    address: tuple[str, ...]
    advertise: tuple[str, ...]
    low: int
    high: int
    timeout: float
    max_sessions: int
    hold_timeout: float = 3600.0


class Refusal(NamedTuple):
    """Why media cannot be had: the SIP status to answer with, its reason, Retry-After seconds with a 503."""

    status: int
    reason: str
    retry_after: int | None


class MediaTimeout(NamedTuple):
    """Neither side of this answered call was heard for too long; it stays until it is closed."""

    key: Key
    branch: str


Event = MediaTimeout | StrangeSource


class RelayCore:
    """All media sessions. `bind(pair)` takes both ports or neither, `entropy(n)` gives n random octets."""

    def __init__(
        self,
        settings: Settings,
        *,
        bind: Callable[[Pair], bool],
        unbind: Callable[[Pair], None],
        path: Path,
        entropy: Callable[[int], bytes],
    ) -> None:
        self.settings = settings
        self.path = path
        self._entropy = entropy
        self._ports = Ports(settings.low, settings.high, entropy, bind, unbind)
        self._sessions: dict[Key, Session] = {}
        self.packets = Packets(path)
        self._due: list[tuple[float, Key]] = []
        self.moments = self.packets.moments
        self._counts = dict.fromkeys(("timeout", "refused"), 0)

    @property
    def max_sessions(self) -> int:
        """How many sessions are kept at most."""
        return self.settings.max_sessions

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
    ) -> bytes | Refusal:
        """The offer as the other side shall see it, with the relay's ports in it; nothing else changes yet.

        `side` ("caller" or "callee") sent it, its SIP came by `source` and leaves by `toward`. 488 for SDP
        that cannot be read, 503 when ports or sessions have run out: then nothing is kept of it.
        """
        if not self.settings.enabled:
            return body
        sdp = self._parse(body)
        if isinstance(sdp, Refusal):
            return sdp
        caller, callee = (source, toward) if side == CALLER else (toward, source)
        session = self._sessions.get(key)
        if session is None:
            if len(self._sessions) >= self.settings.max_sessions:
                return self._full("Too many media sessions")
            session = Session(key, self._leg(CALLER, caller, callee), now)
        place = session.branches.get(branch)
        if place is not None and not (place.tag or place.answered):
            if place.leg.host != self._host(callee.local.host):  # the next hop leaves by another interface
                session.close(place, self, now)
                place = None
            else:
                place.leg.sip = callee.remote.host
        fresh = place is None
        if place is None:
            place = session.branches[branch] = Branch(branch, self._leg(CALLEE, callee, caller))
        output = session.offer(place, tag, side, sdp, source.remote.host, self, now)
        if output is None:
            if fresh:
                session.close(place, self, now)
            self._keep(session)
            return self._full("No media ports left")
        self._keep(session)
        self.packets.settle(session)
        if fresh:
            self.moments.opened(now, key[0], (session.caller, place.leg))
        return output

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
        output = session.answer(place, tag, side, sdp, source.remote.host, final, self, now)
        self.packets.settle(session)
        if session.answered:
            self._schedule(session, session.heard + self._patience(session))
        return output

    def reject(self, key: Key, branch: str, side: str, now: float) -> None:
        """The offer that `side` made failed: back to what was before it. A first offer ends its branch."""
        session = self._sessions.get(key)
        place = None if session is None else session.branches.get(branch)
        if session is not None and place is not None:
            session.reject(place, side, self, now)
            self._keep(session)
            self.packets.settle(session)

    def end(self, key: Key, now: float) -> None:
        """The call is over, with every branch that it still has."""
        session = self._sessions.get(key)
        for branch in list(session.branches) if session is not None else ():
            self.close(key, branch, now)

    def close(self, key: Key, branch: str, now: float) -> None:
        """The branch is over: its ports are released, with the last branch the caller's too."""
        session = self._sessions.get(key)
        place = None if session is None else session.branches.get(branch)
        if session is not None and place is not None:
            self.moments.closed(now, key[0], (session.caller, place.leg), self.path)
            session.close(place, self, now)
            self._keep(session)
            self.packets.settle(session)

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

    def _keep(self, session: Session) -> None:
        """A session lives as long as it has a branch."""
        if session.branches:
            self._sessions[session.key] = session
        else:
            self._sessions.pop(session.key, None)

    def _host(self, local: str) -> str:
        """The relay address of a leg whose SIP is at this address of ours."""
        return _of_family(self.settings.address, local) or local

    def _leg(self, side: str, flow: Flow, opposite: Flow) -> Leg:
        host, other = self._host(flow.local.host), self._host(opposite.local.host)
        loopback = is_loopback(host)
        written = host if loopback else _of_family(self.settings.advertise, host) or host
        own = frozenset((host, other, *self.settings.address, *self.settings.advertise))
        reach = Reach(loopback, own, self.settings.low, self.settings.high)
        return Leg(side, host, written, reach, sip=flow.remote.host)

    # The pool, as sessions see it.

    def lease(self, session: Session, branch: Branch | None, leg: Leg, index: int, now: float) -> Line | None:
        """A line with bound ports, known to `receive`; None when it would take more than we may have."""
        if self.packets.ports + 2 > PORTS_A_SESSION * self.settings.max_sessions:
            return None
        pair = self._ports.lease(leg.host, now)
        if pair is None:
            return None
        line = Line(index, pair)
        self.packets.open(session, branch, leg, line)
        return line

    def release(self, line: Line, now: float) -> None:
        """Take the line off the path, unbind its ports and let them rest."""
        self.packets.shut(line)
        self._ports.release(line.pair, now)

    # Packets.

    def receive(self, local: Addr, data: bytes, source: Addr, now: float) -> Sequence[Send]:
        """One datagram that reached `local`: what to send for it, as (from our port, to, octets)."""
        return self.packets.receive(local, data, source, now)

    # Time.

    def tick(self, now: float) -> list[Event]:
        """What happened since the last tick, and the answered calls that have been silent for too long."""
        events: list[Event] = [*self.packets.take_events()]
        while self._due and self._due[0][0] <= now:
            at, key = heapq.heappop(self._due)
            session = self._sessions.get(key)
            if session is None or session.due != at:
                continue
            for _, _, line in session.lines():
                self.packets.read(session, line)
            due = session.heard + self._patience(session)
            if due <= now:
                if session.fixed is not None and session.caller.lines:
                    self._counts["timeout"] += 1
                    events.append(MediaTimeout(key, session.fixed[0]))
                due = now + self._patience(session)
            self._schedule(session, due)
        return events

    def deadline(self) -> float | None:
        """When `tick` has something to look at; None when nothing is waited for."""
        return self._due[0][0] if self._due else None

    def _patience(self, session: Session) -> float:
        return self.settings.hold_timeout if session.held() else self.settings.timeout

    def _schedule(self, session: Session, due: float) -> None:
        if session.due != due:
            session.due = due
            heapq.heappush(self._due, (due, session.key))

    # Questions.

    @property
    def counters(self) -> dict[str, int]:
        """Totals since the start, by `rtp:` names; what living rules carried is in them."""
        totals = {**self.packets.counts, **self._counts}
        counts = {f"rtp:rtp_{name}": value for name, value in totals.items()}
        for session in self._sessions.values():
            for _, _, line in session.lines():
                last = None if line.rule is None else self.path.counters(line.rule.local)
                if last is not None:
                    counts["rtp:rtp_packets"] += last.packets
                    counts["rtp:rtp_octets"] += last.octets
        counts["rtp:rtp_sessions"] = len(self._sessions)
        return counts

    def ports(self, now: float) -> dict[str, int]:
        """The pool: `total`, `leased`, `resting` and `free` ports (the shape of `rtp.ports`)."""
        return dict(self._ports.counts(now)._asdict())

    def named(self, call_id: str) -> list[Session]:
        """The living sessions of a Call-ID: one, unless several callers use the same."""
        return [session for key, session in self._sessions.items() if key[0] == call_id]

    def sessions(self, now: float) -> list[dict[str, Any]]:
        """Every living session with its legs, line by line (the shape of `rtp.list`)."""
        return [listed(session, self.path, now) for session in self._sessions.values()]


def _of_family(addresses: Sequence[str], like: str) -> str | None:
    """The address of the same family as `like`."""
    for address in addresses:
        if (":" in address) == (":" in like):
            ip = parse_ip(address)
            return address if ip is None else str(ip)
    return None
