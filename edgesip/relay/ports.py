"""The pool of media ports: pairs handed out at random, rested after use, never lost.

Holds which even/odd pairs of each host are free, leased or resting. Refuses to know sockets (it is given
`bind` and `unbind`), calls, how many files the process may open, or what time it is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

TRIES = 64


class Pair(NamedTuple):
    """Two neighbouring ports of one host: an even one for RTP, the next for RTCP (RFC 3550 §11)."""

    host: str
    rtp: int
    rtcp: int


class Counts(NamedTuple):
    """Ports, not pairs; `total` is the sum of the others."""

    total: int
    leased: int
    resting: int
    free: int


@dataclass(slots=True)
class _Pool:
    """The pairs of one host, by their even port; `resting` is in order of the time each is fit again."""

    free: list[int]
    resting: deque[tuple[float, int]] = field(default_factory=deque)

    def wake(self, now: float) -> None:
        while self.resting and self.resting[0][0] <= now:
            self.free.append(self.resting.popleft()[1])


class Ports:
    """Leases pairs between `low` and `high` (both included) on any host, each host with its own set.

    `entropy(n)` gives n random octets, `bind(pair)` takes both ports or neither, `unbind(pair)` gives
    them back. A pair rests `rest` seconds after its release, so that late packets of one call never
    reach the next.
    """

    def __init__(
        self,
        low: int,
        high: int,
        entropy: Callable[[int], bytes],
        bind: Callable[[Pair], bool],
        unbind: Callable[[Pair], None],
        rest: float = 30.0,
    ) -> None:
        self._evens = range(low + low % 2, high, 2)
        if low < 1 or high > 65535 or not self._evens:
            raise ValueError(f"no pair of ports in {low}-{high}")
        self._entropy = entropy
        self._bind = bind
        self._unbind = unbind
        self._rest = rest
        self._pools: dict[str, _Pool] = {}
        self._leased: set[Pair] = set()

    @property
    def pairs(self) -> int:
        """How many pairs one host has, whatever their state."""
        return len(self._evens)

    def lease(self, host: str, now: float) -> Pair | None:
        """A bound pair chosen at random among the free ones of `host`; None when none is to be had.

        Pairs that refuse to be bound rest like released ones and are tried again later. When TRIES in a
        row refuse, the fault is not theirs (no such address, no more files): they stay free.
        """
        pool = self._pool(host)
        pool.wake(now)
        free = pool.free
        # Tried ports move behind `last`, inside the list: whatever `bind` does, none can get lost.
        for last in range(len(free) - 1, max(len(free) - 1 - TRIES, -1), -1):
            chosen = int.from_bytes(self._entropy(8), "big") % (last + 1)
            free[chosen], free[last] = free[last], free[chosen]
            pair = Pair(host, free[last], free[last] + 1)
            if self._bind(pair):
                self._leased.add(pair)
                pool.resting.extend((now + self._rest, port) for port in free[last + 1 :])
                del free[last:]
                return pair
        return None

    def claim(self, pair: Pair) -> bool:
        """Lease this very pair, known from before; False when it is not free or cannot be bound."""
        if pair.rtp not in self._evens or pair.rtcp != pair.rtp + 1:
            return False
        free = self._pool(pair.host).free
        place = self._evens.index(pair.rtp)  # where it is in a list that was never touched
        if place >= len(free) or free[place] != pair.rtp:
            if pair.rtp not in free:
                return False
            place = free.index(pair.rtp)
        if not self._bind(pair):
            return False
        free[place] = free[-1]
        del free[-1]
        self._leased.add(pair)
        return True

    def _pool(self, host: str) -> _Pool:
        pool = self._pools.get(host)
        if pool is None:
            pool = self._pools[host] = _Pool(list(self._evens))
        return pool

    def release(self, pair: Pair, now: float) -> None:
        """Unbind a leased pair and let it rest; a pair that is not leased is left alone."""
        if pair not in self._leased:
            return
        self._leased.remove(pair)
        self._pools[pair.host].resting.append((now + self._rest, pair.rtp))
        self._unbind(pair)

    def counts(self, now: float) -> Counts:
        """Ports over all hosts that ever leased one; before the first lease, those of one host to come."""
        if not self._pools:
            return Counts(2 * self.pairs, 0, 0, 2 * self.pairs)
        for pool in self._pools.values():
            pool.wake(now)
        leased = 2 * len(self._leased)
        resting = 2 * sum(len(pool.resting) for pool in self._pools.values())
        free = 2 * sum(len(pool.free) for pool in self._pools.values())
        return Counts(leased + resting + free, leased, resting, free)
