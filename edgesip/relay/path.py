"""Paths: who carries the packets of settled streams without asking the relay core.

Holds the promise (`Path`) and its userspace form (`UserPath`): a dict of rules and their counters by local
port, read by the packet loop. Refuses to know sockets, latches and calls.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from edgesip.address import Addr
from edgesip.relay.rtp import header
from edgesip.relay.rule import Rule
from edgesip.relay.track import ROOM, Heads


class Counters(NamedTuple):
    """What a path carried by one rule since it was put: packets, octets of UDP payload, and the last packet.

    `at` is monotonic seconds, 0.0 with no packet yet; `ssrc` and `sequence` are those of that packet.
    """

    packets: int
    octets: int
    at: float
    ssrc: int
    sequence: int


class Path(Protocol):
    """Something that forwards by rules, one a local port, each with the meaning of `rule.carry`."""

    @property
    def name(self) -> str:
        """The word shown to operators as `carried_by`."""
        ...

    def put(self, rule: Rule) -> bool:
        """Carry this from now on, counters at zero; False when the path cannot (the core goes on)."""
        ...

    def drop(self, local: Addr) -> Counters | None:
        """Stop carrying what arrives on this port; its last counters, None when there was no rule."""
        ...

    def counters(self, local: Addr) -> Counters | None:
        """The counters of the rule of this port, None when there is none."""
        ...

    def heads(self, local: Addr) -> Heads | None:
        """What the rule of this port carried since this was asked last; None when there is none, or when this
        path does not show packets.
        """
        ...

    def close(self) -> None:
        """Stop carrying everything."""
        ...


@dataclass(slots=True, eq=False)
class Entry:
    """A rule in the form the packet loop likes: its fields at hand, counters beside them, mutable.

    For each packet the loop says `arrived(now)` and `kept(head)`: the last `ROOM` of both are here.
    """

    rule: Rule
    remote: Addr
    to: Addr
    packets: int = 0
    octets: int = 0
    at: float = 0.0
    last: bytes = b""
    seen: int = 0
    ats: deque[float] = field(default_factory=lambda: deque(maxlen=ROOM))
    firsts: deque[bytes] = field(default_factory=lambda: deque(maxlen=ROOM))
    arrived: Callable[[float], None] = field(init=False)
    kept: Callable[[bytes], None] = field(init=False)

    def __post_init__(self) -> None:
        self.arrived, self.kept = self.ats.append, self.firsts.append

    @property
    def heard_at(self) -> float:
        """When the last packet came; 0.0 for none."""
        return self.ats[-1] if self.ats else self.at

    def read(self) -> Counters:
        """The counters as the path's users see them."""
        if not self.packets:
            return Counters(0, 0, 0.0, 0, 0)
        if self.ats:
            self.at, self.last = self.ats[-1], self.firsts[-1]
        last = header(self.last)
        return Counters(self.packets, self.octets, self.at, last.ssrc, last.sequence)

    def take(self) -> Heads:
        """What came since this was asked last."""
        self.read()
        taken = Heads(self.packets - self.seen, list(self.ats), list(self.firsts))
        self.seen = self.packets
        self.ats.clear()
        self.firsts.clear()
        return taken


class UserPath:
    """The twin of the kernel path: `entries` is read by the packet loop of the relay service."""

    name = "user"

    def __init__(self) -> None:
        self.entries: dict[Addr, Entry] = {}

    def put(self, rule: Rule) -> bool:
        """Carry it; a rule that is already there for this port is replaced."""
        self.entries[rule.local] = Entry(rule, rule.remote, rule.to)
        return True

    def drop(self, local: Addr) -> Counters | None:
        """Forget the rule of this port."""
        entry = self.entries.pop(local, None)
        return None if entry is None else entry.read()

    def counters(self, local: Addr) -> Counters | None:
        """What was carried by the rule of this port."""
        entry = self.entries.get(local)
        return None if entry is None else entry.read()

    def heads(self, local: Addr) -> Heads | None:
        """What was carried by the rule of this port since this was asked last."""
        entry = self.entries.get(local)
        return None if entry is None else entry.take()

    def close(self) -> None:
        """Forget every rule."""
        self.entries.clear()
