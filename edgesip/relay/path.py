"""Paths: who carries the packets of settled streams without asking the relay core.

Holds the promise (`Path`) and its simplest form (`UserPath`): a dict of rules and their counters by local
port. Refuses to know sockets, latches and calls.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from edgesip.address import Addr
from edgesip.relay.rtp import header
from edgesip.relay.rule import Rule
from edgesip.relay.track import ROOM, Heads

USER: Final = "user"
"""What operators read where the userspace path carries."""


class Counters(NamedTuple):
    """What a path carried by one rule since it was put: packets, octets of UDP payload, and the last packet.

    `at` is monotonic seconds, 0.0 with no packet yet; `ssrc` and `sequence` are those of that packet.
    """

    packets: int
    octets: int
    at: float
    ssrc: int
    sequence: int


class Figures(NamedTuple):
    """What a path counted that looks at each packet itself and shows none: `Counters`, and what it measured.

    Of RTCP only the first five and `first_at` mean anything. Times are monotonic seconds, `at` and
    `first_at` 0.0 with no packet yet; `sequence` is the highest that came; `payload_type` and `timestamp`
    are those of the last packet that was no telephone-event; `lost`, `reordered` and `duplicates` by RFC
    3550 §A.1, `jitter` by §A.8 in seconds; `changes` counts those of the SSRC; `gap` is the longest time
    without a packet, and `gap_at` when it ended.
    """

    packets: int
    octets: int
    at: float
    ssrc: int
    sequence: int
    first_at: float = 0.0
    timestamp: int = 0
    payload_type: int = -1
    lost: int = 0
    reordered: int = 0
    jitter: float = 0.0
    changes: int = 0
    gap: float = 0.0
    gap_at: float = 0.0
    duplicates: int = 0


class Path(Protocol):
    """Something that forwards by rules, one a local port, each with the meaning of `rule.carry`.

    It shows packets (`heads`), or it measures them itself: then `counters` and `drop` answer with `Figures`.
    """

    def put(self, rule: Rule) -> bool:
        """Carry this from now on, counters at zero; False when the path cannot (the core goes on)."""
        ...

    def drop(self, local: Addr) -> Counters | Figures | None:
        """Stop carrying what arrives on this port; its last counters, None when there was no rule."""
        ...

    def counters(self, local: Addr) -> Counters | Figures | None:
        """The counters of the rule of this port as they are now, None when there is none."""
        ...

    def heads(self, local: Addr) -> Heads | None:
        """What the rule of this port carried since this was asked last; None when there is none, or when this
        path does not show packets.
        """
        ...

    def figures(self, local: Addr) -> Figures | None:
        """What the rule of this port had carried at the last `sweep`; None when there was none, when it was
        put since, or when this path shows packets instead.
        """
        ...

    def totals(self) -> tuple[int, int]:
        """Packets and octets of RTP that all rules together have carried, as of the last `sweep`."""
        ...

    def sweep(self) -> None:
        """To be called once a second: all rules are read at once, for `figures` and `totals`."""
        ...

    def stale(self) -> Sequence[Addr]:
        """Ports whose rules are to be dropped and put anew, each told once: the path cannot carry them any
        more as they are, or it could now carry what it refused.
        """
        ...

    def carrier(self, local: Addr) -> str:
        """Who carries what arrives on this port, as operators read it ("user", "kernel"); "" for nobody."""
        ...

    def because(self, local: Addr) -> str:
        """Why nothing faster carries it, as a sentence; "" where nothing faster is to be had or wanted."""
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
    """The userspace path: `entries` is read by the packet loop of the relay service, or by its twin.

    RTCP stays with the relay core: it is little, and has to be looked at.
    """

    def __init__(self) -> None:
        self.entries: dict[Addr, Entry] = {}

    def put(self, rule: Rule) -> bool:
        """Carry it; a rule that is already there for this port is replaced. False for RTCP."""
        if rule.is_rtcp:
            return False
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

    def figures(self, local: Addr) -> Figures | None:
        """None: the packets are shown."""
        return None

    def totals(self) -> tuple[int, int]:
        """What all rules have carried by now."""
        return totals_of(self.entries.values())

    def sweep(self) -> None:
        """Nothing is to be read."""

    def stale(self) -> Sequence[Addr]:
        """None: what a rule needs is in it."""
        return ()

    def carrier(self, local: Addr) -> str:
        """This path, where it has a rule."""
        return USER if local in self.entries else ""

    def because(self, local: Addr) -> str:
        """Nothing faster is known here."""
        return ""

    def close(self) -> None:
        """Forget every rule."""
        self.entries.clear()


def totals_of(entries: Iterable[Entry]) -> tuple[int, int]:
    """Packets and octets that these have counted."""
    packets = octets = 0
    for entry in entries:
        packets += entry.packets
        octets += entry.octets
    return packets, octets
