"""What the rounds through the location table ask of each binding, read without making a value of it.

Looks at rows where they lie, as values or as octets; decides nothing. Times are monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from edgesip.signal.location.binding import NAT_FLAG, Binding
from edgesip.signal.location.packed import glance, unpack


class Glance(NamedTuple):
    """A binding at a glance; `flow` is the hash of its flow, `udp` whether that is UDP."""

    expires: float
    last_keepalive: float
    last_modified: float
    flow: int
    cflags: int
    nated: bool
    udp: bool

    def has_flag(self, flag: int) -> bool:
        """True when the contact has this branch flag, -1 for none; the one of NAT is told by `nated` too."""
        if flag < 0:
            return False
        return bool(self.cflags >> flag & 1) or (1 << flag == NAT_FLAG and self.nated)


class Part:
    """A slice of the table, read where it lies: the bindings whose ruids fall into it."""

    __slots__ = ("_rows",)

    def __init__(self, rows: dict[str, Binding | bytes]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Binding]:
        return iter([whole(ruid, row) for ruid, row in self._rows.items()])

    def glances(self) -> list[tuple[str, Glance]]:
        """Each ruid, and its binding at a glance."""
        return [(ruid, at_a_glance(row)) for ruid, row in self._rows.items()]


def whole(ruid: str, row: Binding | bytes) -> Binding:
    """The binding that a row of the table stands for."""
    return row if isinstance(row, Binding) else unpack(ruid, row)


def at_a_glance(row: Binding | bytes) -> Glance:
    """The same at a glance, far cheaper."""
    if not isinstance(row, Binding):
        return Glance._make(glance(row))
    flow = row.flow
    return Glance(
        row.expires,
        row.last_keepalive,
        row.last_modified,
        hash(flow),
        row.cflags,
        row.nated,
        flow.transport == "udp",
    )
