"""pike: how many requests a source makes, and whether that is too many (Kamailio's module of this name).

Counts in windows of time what a script has it count, source by source: IPv4 addresses, IPv6 by /64. Where
Kamailio grows a tree octet by octet, so that a scan from random addresses stays cheap, we keep a bounded
table whose least recently heard sources make room: a scan costs it one row a source and never a blockage.

A thousand phones behind one address that register all at once are no flood: each password that is proved
takes back what it cost to prove it. One port alone is too much at half of the limit, and is to blame for it;
an address of many ports as a whole only when it goes on and on.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgesip.address import source_of
from edgesip.signal.proxy.inbound import Note, note

ALLOWED, BLOCKED, NEWLY_BLOCKED = 1, -1, -2
"""What `check` answers, as Kamailio's functions do."""
CREDIT = 4
"""Requests that a password which was proved takes back: a REGISTER without it, one with it, each repeated."""
PATIENCE = 5
"""Windows for which a source is too much before it is to blame as a whole."""
LEVELS = {-1: "error", 0: "warning", 1: "info", 2: "info", 3: "debug"}
"""Our levels for Kamailio's (L_ERR -1, L_WARN 0, L_NOTICE 1, L_INFO 2, L_DBG 3)."""


@dataclass(frozen=True, slots=True)
class PikeSettings:
    """Seconds of a window, requests that it allows a source, seconds that a silent source is remembered, the
    level of the lines that say so, sources at most.
    """

    sampling_time_unit: float = 2.0
    reqs_density_per_unit: int = 2000
    remove_latency: float = 120.0
    pike_log_level: int = 1
    sources: int = 20_000


class Node:
    """What one source did: requests in this window and in the one before; blocked when `red`, which began in
    window `since`. `ends` has the requests by port, of this window.
    """

    __slots__ = ("curr", "ends", "expires", "prev", "red", "since", "window")

    def __init__(self, window: int) -> None:
        self.window = window
        self.prev = 0
        self.curr = 0
        self.ends: dict[int, int] = {}
        self.red = False
        self.since = 0
        self.expires = 0.0


class Pike:
    """The counters of all sources."""

    def __init__(self, settings: PikeSettings, said: list[Note]) -> None:
        """`said` is where what there is to say is left."""
        self.settings = settings
        self._nodes: dict[str, Node] = {}
        self._red: set[str] = set()
        self._said = said
        self.counters: dict[str, int] = {"pike:blocked_ips": 0}

    def check(self, host: str, now: float, port: int = 0) -> int:
        """Count one request of this address: 1 allowed, -2 blocked from now on, -1 blocked still."""
        settings, source = self.settings, source_of(host)
        window = int(now / settings.sampling_time_unit)
        node = self._nodes.pop(source, None)
        if node is None:
            while len(self._nodes) >= settings.sources:
                self._forget(next(iter(self._nodes)))
            node = Node(window)
        elif node.window != window:
            self._turn(source, node, window)
        self._nodes[source] = node
        node.curr += 1
        alone = node.ends[port] = node.ends.get(port, 0) + 1
        node.expires = now + settings.remove_latency
        if not self._is_hot(node):
            return self._check_port(node, source, alone) if port else ALLOWED
        if node.red:
            return BLOCKED
        node.red, node.since = True, window
        self._red.add(source)
        self.counters["pike:blocked_ips"] += 1
        self._say("source blocked", source, node.curr)
        return NEWLY_BLOCKED

    def _check_port(self, node: Node, source: str, requests: int) -> int:
        """The same for one port that has made so many requests: until the window is over."""
        limit = self.settings.reqs_density_per_unit
        if 2 * requests < limit or limit == 1:
            return ALLOWED
        if 2 * (requests - 1) >= limit:
            return BLOCKED
        self.counters["pike:blocked_ips"] += 1
        self._say("source blocked", source, node.curr)
        return NEWLY_BLOCKED

    def proved(self, host: str, port: int) -> None:
        """Somebody at this port has proved a password: what that took is taken back."""
        node = self._nodes.get(source_of(host)) if self._nodes else None
        if node is not None:
            node.curr = max(0, node.curr - CREDIT)
            if port in node.ends:
                node.ends[port] = max(0, node.ends[port] - CREDIT)

    def blames(self, host: str, port: int) -> int:
        """Who is to blame for too much: 0 nobody in particular, 1 this port, 2 the whole address."""
        node = self._nodes.get(source_of(host))
        if node is None:
            return 0
        if node.red and node.window - node.since >= PATIENCE:
            return 2
        if 2 * node.ends.get(port, 0) < self.settings.reqs_density_per_unit:
            return 0
        return 1 if len(node.ends) > 1 else 2

    def top(self, wanted: str, now: float) -> list[tuple[str, int, int, float, str]]:
        """The busiest first: source, requests in the last window and in this one, seconds until it is
        forgotten, status. `wanted` is ALL, HOT (blocked) or WARM (a quarter of the limit at least).
        """
        window = int(now / self.settings.sampling_time_unit)
        rows = []
        for source, node in list(self._nodes.items()):
            if node.window != window:
                self._turn(source, node, window)
            status = "HOT" if node.red else "WARM" if self._is_warm(node) else "ALL"
            if node.expires > now and wanted in ("ALL", status):
                rows.append((source, node.prev, node.curr, node.expires - now, status))
        rows.sort(key=lambda row: -max(row[1], row[2]))
        return rows

    def __len__(self) -> int:
        return len(self._nodes)

    def deadline(self) -> float | None:
        """When `tick` is next due (monotonic seconds): with the window, while anybody is blocked."""
        if not self._red:
            return None
        unit = self.settings.sampling_time_unit
        return (min(self._nodes[source].window for source in self._red) + 1) * unit + 0.001

    def tick(self, now: float) -> None:
        """Let those go who have become silent."""
        window = int(now / self.settings.sampling_time_unit)
        for source in list(self._red):
            node = self._nodes[source]
            if node.window != window:
                self._turn(source, node, window)

    def sweep(self, now: float) -> None:
        """Forget sources that have been silent for `remove_latency`: the oldest stand first."""
        while self._nodes:
            source = next(iter(self._nodes))
            if self._nodes[source].expires > now:
                break
            self._forget(source)

    def _turn(self, source: str, node: Node, window: int) -> None:
        """A window is over: what is no longer above the limit is free again."""
        node.prev = node.curr if node.window == window - 1 else 0
        node.curr = 0
        node.ends = {}
        node.window = window
        if node.red and not self._is_hot(node):
            node.red = False
            self._red.discard(source)
            self._say("source free again", source, node.prev)

    def _is_hot(self, node: Node) -> bool:
        limit = self.settings.reqs_density_per_unit
        return node.prev >= limit or node.curr >= limit

    def _is_warm(self, node: Node) -> bool:
        return max(node.prev, node.curr) * 4 >= self.settings.reqs_density_per_unit

    def _forget(self, source: str) -> None:
        del self._nodes[source]
        self._red.discard(source)

    def _say(self, event: str, source: str, requests: int) -> None:
        level = LEVELS[max(-1, min(3, self.settings.pike_log_level))]
        self._said.append(note(level, event, source=source, requests=requests))
