"""Answers to strangers are not much longer than their questions (threat 21: nobody makes a cannon of us).

A source over UDP may be forged, and then our answer hits somebody else. What is longer than `FACTOR` times
its question is paid from one purse, which fills slowly; when it is empty, such questions hear nothing. Phones
write hundreds of octets and never come to it. Knows who is no stranger by asking.
"""

from __future__ import annotations

from collections.abc import Callable

from edgesip.address import Flow

FACTOR = 1.2
PURSE = 12_288.0
REFILL = 16_384.0
"""Octets beyond that at once, and a second."""


class Echo:
    """What an answer may have, by the size of the question that was last `asked` (0: whatever it likes)."""

    __slots__ = ("_believed", "_left", "_registered", "_since", "counters", "now", "size")

    def __init__(self, registered: Callable[[Flow], bool], believed: Callable[[str], bool]) -> None:
        self._registered = registered
        self._believed = believed
        self._left = PURSE
        self._since = 0.0
        self.size = 0
        self.now = 0.0
        self.counters: dict[str, int] = {"core:answers_withheld": 0}

    def asked(self, size: int, now: float) -> None:
        """What is answered next was asked in so many octets."""
        self.size = size
        self.now = now

    def allows(self, flow: Flow, size: int) -> bool:
        """True when an answer of `size` octets may leave by this flow."""
        over = size - FACTOR * self.size
        if over <= 0 or not self.size or flow.transport != "udp":
            return True
        if self._registered(flow) or self._believed(flow.remote.host):
            return True
        self._left = min(PURSE, self._left + (self.now - self._since) * REFILL)
        self._since = self.now
        if over > self._left:
            self.counters["core:answers_withheld"] += 1
            return False
        self._left -= over
        return True
