"""Two paths as one: a rule goes to the fast one, and to the slow one where that refuses.

Remembers who has which rule, and the sentence with which the fast path refused. Refuses to know what either
does with a packet, and why it refuses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from edgesip.address import Addr
from edgesip.relay.path import Counters, Figures, Path
from edgesip.relay.rule import Rule
from edgesip.relay.track import Heads


class Overheard(Protocol):
    """Where a path that shows no packets leaves copies of those that the core has to know of all the same."""

    def fileno(self) -> int:
        """A file that is readable while copies wait."""
        ...

    def copies(self) -> Sequence[tuple[Addr, bytes]]:
        """What was forwarded since this was asked last, in order: the port it came to with the whole of RTCP,
        or the first 16 octets of RTP whose payload type is the rule's `events`.
        """
        ...


class Paths:
    """`fast` before `slow`. Both are there for the core as one path."""

    def __init__(self, fast: Path, slow: Path) -> None:
        self._fast = fast
        self._slow = slow
        self._has: dict[Addr, Path] = {}
        self._why: dict[Addr, str] = {}

    def put(self, rule: Rule) -> bool:
        """Carry it by the first that takes it; a rule that this port had is replaced."""
        if rule.local in self._has:
            self.drop(rule.local)
        if self._fast.put(rule):
            self._has[rule.local] = self._fast
            return True
        why = self._fast.because(rule.local)
        if self._slow.put(rule):
            self._has[rule.local], self._why[rule.local] = self._slow, why
            return True
        self._fast.drop(rule.local)
        return False

    def drop(self, local: Addr) -> Counters | Figures | None:
        """Forget the rule of this port, and that it was refused."""
        self._has.pop(local, None)
        self._why.pop(local, None)
        last = self._fast.drop(local)
        other = self._slow.drop(local)
        return other if last is None else last

    def counters(self, local: Addr) -> Counters | Figures | None:
        """What was carried by the rule of this port."""
        path = self._has.get(local)
        return None if path is None else path.counters(local)

    def heads(self, local: Addr) -> Heads | None:
        """What was carried by the rule of this port since this was asked last, where it can be shown."""
        path = self._has.get(local)
        return None if path is None else path.heads(local)

    def figures(self, local: Addr) -> Figures | None:
        """What the rule of this port had carried at the last sweep, where that is measured."""
        path = self._has.get(local)
        return None if path is None else path.figures(local)

    def totals(self) -> tuple[int, int]:
        """What both have carried."""
        fast, slow = self._fast.totals(), self._slow.totals()
        return fast[0] + slow[0], fast[1] + slow[1]

    def sweep(self) -> None:
        """Read both."""
        self._fast.sweep()
        self._slow.sweep()

    def stale(self) -> Sequence[Addr]:
        """What either wants to have put anew."""
        return [*self._fast.stale(), *self._slow.stale()]

    def carrier(self, local: Addr) -> str:
        """Who has the rule of this port."""
        path = self._has.get(local)
        return "" if path is None else path.carrier(local)

    def because(self, local: Addr) -> str:
        """Why the fast path did not take it."""
        return self._why.get(local, "")

    def close(self) -> None:
        """Both stop."""
        self._fast.close()
        self._slow.close()
        self._has.clear()
        self._why.clear()
