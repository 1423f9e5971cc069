"""The twin of the kernel path: carries by `rule.carry`, measures by `Track`, shows no packet.

kernel = KernelTwin()
talk = Talk(kernel=kernel)
talk.connect()
assert kernel.puts == [rules of both streams]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from edgesip.address import Addr
from edgesip.relay.path import Figures
from edgesip.relay.rule import Packet, Rule, Verdict, carry
from edgesip.relay.track import EVENT, HEAD, Codec, Heads, Track


@dataclass
class Flow:
    """A rule with what it carried."""

    rule: Rule
    track: Track = field(default_factory=Track)
    packets: int = 0
    octets: int = 0
    first_at: float = 0.0
    at: float = 0.0
    ssrc: int = 0
    sequence: int = 0
    gap: float = 0.0
    gap_at: float = 0.0

    def __post_init__(self) -> None:
        codecs = {kind: Codec("", self.rule.rate) for kind in range(128)}
        codecs[self.rule.events] = Codec(EVENT, 8000)
        self.track.use(codecs)

    def count(self, data: bytes, now: float) -> None:
        self.packets += 1
        self.octets += len(data)
        if self.rule.is_rtcp:
            self.ssrc = int.from_bytes(data[4:8], "big")
        else:
            self.track.step(now, data[:HEAD])
            assert self.track.current is not None
            self.ssrc, self.sequence = self.track.current.ssrc, self.track.current.highest & 0xFFFF
        if self.packets == 1:
            self.first_at = now
        elif now - self.at > self.gap:
            self.gap, self.gap_at = now - self.at, now
        self.at = now

    def read(self) -> Figures:
        track, source = self.track, self.track.current
        return Figures(
            self.packets,
            self.octets,
            self.at,
            self.ssrc,
            self.sequence,
            self.first_at,
            0 if source is None else source.timestamp,
            -1 if source is None else source.payload_type,
            track.lost,
            track.reordered,
            0.0 if source is None else source.jitter,
            track.changes,
            self.gap,
            self.gap_at,
            track.duplicates,
        )


class KernelTwin:
    """`refuses` is why no rule is taken, "" to take them; `lost` are ports whose rules it has to give up."""

    def __init__(self) -> None:
        self.flows: dict[Addr, Flow] = {}
        self.puts: list[Rule] = []
        self.drops: list[Addr] = []
        self.refuses = ""
        self.lost: list[Addr] = []
        self.heard: list[tuple[Addr, bytes]] = []
        self.reads = self.sweeps = 0
        self.closed = False
        self._swept: dict[Addr, Figures] = {}

    @property
    def moves(self) -> int:
        return len(self.puts) + len(self.drops)

    def arrive(self, local: Addr, source: Addr, data: bytes, now: float) -> tuple[Addr, Addr, bytes] | None:
        """A datagram before any socket sees it: what leaves for it; None when it goes up."""
        flow = self.flows.get(local)
        if flow is None or carry(flow.rule, Packet(source, data)) is not Verdict.FORWARD:
            return None
        flow.count(data, now)
        if flow.rule.is_rtcp:
            self.heard.append((local, data))
        elif data[1] & 0x7F == flow.rule.events:
            self.heard.append((local, data[:HEAD]))
        return flow.rule.via, flow.rule.to, data

    def put(self, rule: Rule) -> bool:
        if self.refuses:
            return False
        self.puts.append(rule)
        self.flows[rule.local] = Flow(rule)
        self._swept.pop(rule.local, None)
        return True

    def drop(self, local: Addr) -> Figures | None:
        flow = self.flows.pop(local, None)
        self._swept.pop(local, None)
        if flow is None:
            return None
        self.drops.append(local)
        return flow.read()

    def counters(self, local: Addr) -> Figures | None:
        self.reads += 1
        flow = self.flows.get(local)
        return None if flow is None else flow.read()

    def heads(self, local: Addr) -> Heads | None:
        return None

    def figures(self, local: Addr) -> Figures | None:
        return self._swept.get(local)

    def totals(self) -> tuple[int, int]:
        swept = [one for local, one in self._swept.items() if not self.flows[local].rule.is_rtcp]
        return sum(one.packets for one in swept), sum(one.octets for one in swept)

    def sweep(self) -> None:
        self.sweeps += 1
        self._swept = {local: flow.read() for local, flow in self.flows.items()}

    def stale(self) -> Sequence[Addr]:
        lost, self.lost = self.lost, []
        return lost

    def copies(self) -> Sequence[tuple[Addr, bytes]]:
        heard, self.heard = self.heard, []
        return heard

    def carrier(self, local: Addr) -> str:
        return "kernel" if local in self.flows else ""

    def because(self, local: Addr) -> str:
        return self.refuses

    def close(self) -> None:
        self.flows.clear()
        self.closed = True
