"""The blocklist: destinations that are known to be dead, each for a while. Sans-IO.

Whoever sees a destination fail says so with `add`; the locator asks before it chooses. It does not know how
a destination failed, nor where else one could go.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from edgesip.address import Addr

ENTRY_OCTETS: Final = 560
"""What an entry takes in memory, with its two keys: measured, rounded up."""

NEVER: Final = float("inf")


@dataclass(frozen=True, slots=True)
class BlocklistSettings:
    """Kamailio's `dst_blocklist_*`: `expire` and `gc_interval` in seconds, `mem` in octets."""

    use: bool = True
    expire: int = 60
    mem: int = 250 * 1024
    gc_interval: int = 60


class Blocked(NamedTuple):
    """One entry: good until `expires` (monotonic seconds); `ordered` by an operator, else seen to fail."""

    expires: float
    why: str
    ordered: bool = False


class Blocklist:
    """Dead destinations by transport and address. Full, it forgets those that were to go first."""

    def __init__(self, settings: BlocklistSettings) -> None:
        self._settings = settings
        self._entries: dict[tuple[str, Addr], Blocked] = {}
        self._next_gc = 0.0
        self.counters: dict[str, int] = {"dst_blocklist:bkl_hit_cnt": 0, "dst_blocklist:bkl_lru_cnt": 0}

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def used(self) -> int:
        """Octets in use."""
        return len(self._entries) * ENTRY_OCTETS

    @property
    def max(self) -> int:
        """Octets that may be in use."""
        return self._settings.mem

    def add(self, transport: str, addr: Addr, now: float, why: str, seconds: float = 0.0) -> None:
        """It did not answer, refused or said 503: leave it out for `seconds`, 0 for `dst_blocklist_expire`.

        Does nothing when the list is not in use, or when an operator has put it in himself.
        """
        key = (transport, addr)
        old = self._entries.get(key)
        if not self._settings.use or (old is not None and old.ordered and old.expires > now):
            return
        self._put(key, Blocked(now + (seconds or self._settings.expire), why), now)

    def order(self, transport: str, addr: Addr, now: float, seconds: float = NEVER) -> None:
        """An operator wants nothing sent there, whether the list is in use or not."""
        self._put((transport, addr), Blocked(now + seconds, "by order", True), now)

    def find(self, transport: str, addr: Addr, now: float) -> Blocked | None:
        """The living entry of a destination; None: it may be used."""
        if not self._entries:
            return None
        entry = self._entries.get((transport, addr))
        if entry is None or entry.expires <= now:
            return None
        self.counters["dst_blocklist:bkl_hit_cnt"] += 1
        return entry

    def clear(self) -> int:
        """Forget everything; how many entries that were."""
        count = len(self._entries)
        self._entries.clear()
        return count

    def entries(self, now: float) -> Iterator[tuple[str, Addr, Blocked]]:
        """Everything that is blocked now: a snapshot."""
        living = [(kind, addr, one) for (kind, addr), one in self._entries.items() if one.expires > now]
        return iter(living)

    def _put(self, key: tuple[str, Addr], entry: Blocked, now: float) -> None:
        self._entries.pop(key, None)
        if now >= self._next_gc or self.used + ENTRY_OCTETS > self.max:
            for old in [one for one, kept in self._entries.items() if kept.expires <= now]:
                del self._entries[old]
            self._next_gc = now + self._settings.gc_interval
        while self._entries and self.used + ENTRY_OCTETS > self.max:
            first = min(self._entries, key=lambda one: self._entries[one].expires)
            del self._entries[first]
            self.counters["dst_blocklist:bkl_lru_cnt"] += 1
        self._entries[key] = entry
