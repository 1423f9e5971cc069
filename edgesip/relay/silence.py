"""When a call has been without media for too long, and which of its sides are to blame.

Looks at what was heard of each line and at what each side said that it sends. Refuses to know what becomes of
a call that is silent, and clocks.
"""

from __future__ import annotations

from typing import NamedTuple

from edgesip.relay.leg import Leg
from edgesip.relay.session import CALLEE, CALLER, Session

TIMEOUT, SILENT_TIMEOUT, FINAL_TIMEOUT = "timeout", "silent_timeout", "final_timeout"
"""No media though there should be some; none though a side holds; the longest that a call may last."""


class Limits(NamedTuple):
    """Seconds: of silence, of silence on hold, of a whole call (0: no such limit). `either`: one silent side
    is enough.
    """

    timeout: float
    hold: float
    final: float = 0.0
    either: bool = False


class Silence(NamedTuple):
    """When the call has been silent for too long if nothing more is heard, why, and who is silent then.

    `patience`: the seconds of silence that this took.
    """

    due: float
    why: str
    sides: tuple[str, ...]
    patience: float


def judge(session: Session, limits: Limits) -> Silence:
    """As things stand. `Packets.read` has been asked about every line before."""
    silence = _either(session, limits) if limits.either else _both(session, limits)
    end = session.answered_at + limits.final
    if limits.final and session.answered_at and end < silence.due:
        return Silence(end, FINAL_TIMEOUT, (), limits.final)
    return silence


def _both(session: Session, limits: Limits) -> Silence:
    held = session.held()
    patience = limits.hold if held else limits.timeout
    return Silence(session.heard + patience, SILENT_TIMEOUT if held else TIMEOUT, (CALLER, CALLEE), patience)


def _either(session: Session, limits: Limits) -> Silence:
    """The side that will be silent for too long first, the other one too where it will be by then."""
    branch, held = session.audible(), session.held()
    legs = [session.caller] if branch is None else [session.caller, branch.leg]
    found = []
    for leg, other in zip(legs, reversed(legs), strict=True):
        quiet = held or not _is_to_send(leg, other)
        patience = limits.hold if quiet else limits.timeout
        heard = max([session.signalled, *(line.heard_at for line in leg.lines.values())])
        found.append(Silence(heard + patience, SILENT_TIMEOUT if quiet else TIMEOUT, (leg.side,), patience))
    first = min(found)
    return first._replace(sides=tuple([side for one in found if one.due <= first.due for side in one.sides]))


def _is_to_send(leg: Leg, other: Leg) -> bool:
    """True when a line of this leg says that it sends and its peer that it listens (sdp.md §5)."""
    for index, line in leg.lines.items():
        peer = other.lines.get(index)
        if line.sends and peer is not None and peer.listens:
            return True
    return False
