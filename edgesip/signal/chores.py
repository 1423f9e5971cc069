"""What is done by the clock beside calls: bindings that end, pings, bans and subscriptions that are over.

Asks the rooms when they want to be called and calls them. How often it asks is bounded: under load there is
something to do a thousand times a second, and these can wait for a hundredth of one.
"""

from __future__ import annotations

from typing import Final

from edgesip.address import Flow
from edgesip.signal.dialog.subscriptions import Subscriptions
from edgesip.signal.guard.admission import Admission
from edgesip.signal.guard.guard import Guard
from edgesip.signal.location.saving import News, Saver
from edgesip.signal.location.usrloc import Usrloc
from edgesip.signal.nat.keepalive import Pinger
from edgesip.signal.nat.liveness import Liveness
from edgesip.signal.nat.traversal import Traversal

NEVER: Final = float("inf")
FRESH: Final = 0.01
"""Seconds for which an answer to "when?" is good."""


class Chores:
    """The rooms that are visited by the clock, and when that is next."""

    def __init__(
        self,
        usrloc: Usrloc,
        saver: Saver,
        subscriptions: Subscriptions,
        pinger: Pinger,
        liveness: Liveness,
        traversal: Traversal,
        guard: Guard,
        admission: Admission,
    ) -> None:
        self._usrloc = usrloc
        self._saver = saver
        self._subscriptions = subscriptions
        self._pinger = pinger
        self._liveness = liveness
        self._traversal = traversal
        self._guard = guard
        self._admission = admission
        self._due = 0.0
        self._until = 0.0

    def deadline(self, now: float) -> float:
        """When `tick` is next due (monotonic seconds), infinity for never; while the last answer is fresh, no
        later than when it ceases to be.
        """
        if now < self._until:
            return min(self._due, self._until)
        dues = (
            self._subscriptions.deadline(),
            self._saver.deadline(),
            self._pinger.deadline(now),
            self._liveness.deadline(now),
            self._traversal.deadline(now),
            self._guard.deadline(),
            self._admission.deadline(),
        )
        self._due = min([due for due in dues if due is not None], default=NEVER)
        self._until = now + FRESH
        return self._due

    def tick(self, now: float, sends: list[tuple[Flow, bytes]]) -> list[News]:
        """Do all that has become due; what is to be sent is added to `sends`."""
        if now < self._until and now < self._due:
            return []
        self._until = 0.0
        self._guard.tick(now)
        self._admission.tick(now)
        self._subscriptions.tick(now)
        sends += self._pinger.due(self._usrloc, now)
        sends += self._liveness.due(self._usrloc, now)
        news: list[News] = [*self._pinger.news(), *self._liveness.news()]
        sends += self._traversal.due(now)
        return [*news, *self._saver.tick(now)]
