"""What became of each call's media, for those who look into a call: opened, learned, refused, closed.

Values in order of time, until they are taken; built a few times a call, never per packet. Refuses to know
who reads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from edgesip.address import Addr
from edgesip.relay.leg import Leg, Line
from edgesip.relay.path import Path

WAITING = 10_000
"""Moments that wait to be taken at most; what is more is lost."""

Fields = tuple[tuple[str, object], ...]


class Moment(NamedTuple):
    """One of them: monotonic seconds, Call-ID, what it is, names with values."""

    at: float
    call_id: str
    event: str
    fields: Fields


class Moments:
    """Those that nobody has taken yet."""

    def __init__(self) -> None:
        self._waiting: list[Moment] = []

    def take(self) -> list[Moment]:
        """All of them, oldest first; they are forgotten here."""
        waiting, self._waiting = self._waiting, []
        return waiting

    def opened(self, now: float, call_id: str, legs: Sequence[Leg]) -> None:
        """Ports were leased: where each side is told to send."""
        ports = [
            (f"{leg.side} {line.kind}", f"{leg.written}:{line.pair.rtp}")
            for leg in legs
            for line in leg.lines.values()
        ]
        self._add(now, call_id, "media opened", tuple(ports))

    def resumed(self, now: float, call_id: str, legs: Sequence[Leg]) -> None:
        """A call of a process that is gone: its ports are bound again."""
        ports = [
            (f"{leg.side} {line.kind}", f"{leg.written}:{line.pair.rtp}")
            for leg in legs
            for line in leg.lines.values()
        ]
        self._add(now, call_id, "media taken up again", tuple(ports))

    def learned(self, now: float, call_id: str, leg: Leg, line: Line, rtcp: bool) -> None:
        """Another address is believed from now on."""
        latch = line.rtcp if rtcp else line.rtp
        source = "" if latch.best is None else str(latch.best.source)
        fields = ((f"{leg.side} {line.kind}", source), ("rank", latch.rank))
        self._add(now, call_id, "RTCP learned" if rtcp else "media learned", fields)

    def refused(self, now: float, call_id: str, leg: Leg, line: Line, source: Addr) -> None:
        """Packets came from where they are not believed."""
        self._add(now, call_id, "media refused", (("from", str(source)), ("as", f"{leg.side} {line.kind}")))

    def closed(self, now: float, call_id: str, legs: Sequence[Leg], path: Path) -> None:
        """The ports are about to be given back: how many packets were taken from each side."""
        heard = []
        for leg in legs:
            for line in leg.lines.values():
                last = None if line.rule is None else path.counters(line.rule.local)
                packets = line.packets + (0 if last is None else last.packets)
                heard.append((f"{leg.side} {line.kind}", f"{packets} packets"))
        self._add(now, call_id, "media closed", tuple(heard))

    def prompt(self, now: float, call_id: str, leg: Leg, line: Line, event: str, name: str) -> None:
        """A prompt begins or ends to play to a side."""
        self._add(now, call_id, event, ((f"to {leg.side} {line.kind}", name),))

    def no_music(self, now: float, call_id: str, why: str) -> None:
        """A call is on hold, and there is no music for who waits."""
        self._add(now, call_id, "no music on hold", (("why", why),))

    def _add(self, now: float, call_id: str, event: str, fields: Fields) -> None:
        if len(self._waiting) < WAITING:
            self._waiting.append(Moment(now, call_id, event, fields))
