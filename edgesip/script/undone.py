"""What a script sees of a request that could not be done as it was decided."""

from __future__ import annotations

from edgesip.script.call import Call
from edgesip.script.rooms import Rooms
from edgesip.signal.proxy.inbound import Undone
from edgesip.signal.wire.message import REASONS


class UndoneCall(Call):
    """A request that failed, and the answer that its sender will hear unless the script decides otherwise."""

    __slots__ = ("_refusal",)

    def __init__(self, undone: Undone, rooms: Rooms, now: float) -> None:
        super().__init__(undone.inbound, rooms, now)
        self._refusal = undone.refusal

    @property
    def status(self) -> int:
        """`$rs`: the status code of that answer."""
        return self._refusal.status

    @property
    def reason(self) -> str:
        """`$rr`: its reason phrase."""
        return self._refusal.reason or REASONS.get(self._refusal.status, "")
