"""Media sessions that outlive the process: what is kept of one, and how it is taken up again.

A session comes back with its ports, latches, wishes and counters; its rules are put again when both ends
were locked. Refuses to know what keeps records, when they are written, and dialogs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edgesip.relay.core import RelayCore
from edgesip.relay.leg import Leg, Line
from edgesip.relay.session import Key, Session
from edgesip.relay.stated import OWNED
from edgesip.store.api import Record

TABLE = "media"
VERSION = 1
"""Of the records: those of another one are not read."""


class NotKept(Exception):
    """This session cannot be taken up; the message says why."""


def follow(core: RelayCore) -> None:
    """Have the core say from now on which sessions have changed (`changed`)."""
    core.packets.changed = {}


def changed(core: RelayCore) -> list[Key]:
    """The sessions that have changed since this was asked last."""
    found = core.packets.changed or {}
    core.packets.changed = {}
    return list(found)


def name_of(key: Key) -> str:
    """The name of a session's row: no two keys have the same."""
    return f"{len(key[0])} {key[0]} {key[1]}"


def record_of(core: RelayCore, key: Key, now: float, wall_offset: float) -> Record | None:
    """What is to be kept of a session, with wall times; None for nothing: it is over, or nobody has answered.

    What others own is kept from its first side on: they ask for the second one. `carried` is what living
    rules had counted; where the path outlives us too it will know that itself.
    """
    session = core.session(key)
    if session is None or not (session.answered_at or key[1].startswith(OWNED)):
        return None
    carried: dict[str, tuple[int, int]] = {}
    plays: dict[str, tuple[str, bool]] = {}
    for _, _, line in session.lines():
        core.packets.read(session, line)
        last = None if line.rule is None else core.path.counters(line.rule.local)
        if last is not None and last.packets:
            carried[_place(line)] = (last.packets, last.octets)
        if line.player is not None and line.player.count < 0:
            plays[_place(line)] = (line.player.name, line.player.is_music)
    record: dict[str, Any] = {"v": VERSION, **session.record(wall_offset)}
    if carried:
        record["carried"] = carried
    if plays:
        record["plays"] = plays
    if session.sink is not None:
        record["recorded"] = [session.sink.kind, session.sink.name]
    return record


def take_up(core: RelayCore, record: Record, now: float, wall_offset: float) -> Session:
    """The session of a record, living again. Raises `NotKept`, and nothing has changed then.

    Silence is counted from now on: nothing could be heard while nobody was there.
    """
    if record.get("v") != VERSION:
        raise NotKept("its record is of another version")
    try:
        session = Session.from_record(record, wall_offset)
        carried = {place: (int(one[0]), int(one[1])) for place, one in record.get("carried", {}).items()}
        plays = {place: (str(one[0]), bool(one[1])) for place, one in record.get("plays", {}).items()}
        recorded = [str(one) for one in record.get("recorded", ())]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise NotKept(f"its record cannot be read: {error!r}") from None
    if core.session(session.key) is not None:
        raise NotKept("it is there already")
    if not core.has_room():
        raise NotKept("there are too many media sessions")
    _claim(core, session, now)
    session.heard = session.signalled = now
    for branch, leg, line in session.lines():
        core.packets.open(session, branch, leg, line)
    core.renew(session, now)
    legs = [session.caller, *(branch.leg for branch in session.branches.values())]
    core.moments.resumed(now, session.key[0], legs)
    _count(core, session, carried)
    for branch, leg, line in session.lines():
        wanted = plays.get(_place(line))
        owner = branch or session.audible()
        if wanted is not None and owner is not None:
            core.playing.play(session, owner, leg.side, wanted[0], -1, now, wanted[1])
    if len(recorded) == 2:
        core.record(session.key, recorded[0], now, recorded[1])
    return session


def _claim(core: RelayCore, session: Session, now: float) -> None:
    """The very ports that the session had, or none of them."""
    claimed: list[Line] = []
    for leg, line in _every(session):
        if not core.seats.claim(leg.interface, line.pair):
            for other in claimed:
                core.seats.release(other.pair, now)
            raise NotKept(f"its port {line.pair.rtp} at {line.pair.host} cannot be had")
        claimed.append(line)
    if not claimed or not session.branches:
        raise NotKept("it has no ports")


def _every(session: Session) -> Iterator[tuple[Leg, Line]]:
    for _, leg, line in session.lines():
        yield leg, line


def _count(core: RelayCore, session: Session, carried: dict[str, tuple[int, int]]) -> None:
    """What rules had counted is added where the path has not kept it."""
    for _, _, line in session.lines():
        packets, octets = carried.get(_place(line), (0, 0))
        last = None if line.rule is None else core.path.counters(line.rule.local)
        if last is None or last.packets < packets:
            line.packets += packets
            line.octets += octets


def _place(line: Line) -> str:
    """A line's name within its session: its port."""
    return f"{line.pair.host} {line.pair.rtp}"
