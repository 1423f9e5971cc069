"""The methods: Kamailio's RPC names over what the rooms of a running edge can tell (web-rpc.md §3).

`Rooms` is what they need of it; whoever wires the edge fits it. Only `ul.rm` and `ul.rm_contact` change
anything, and they do it through `Rooms.remove`, which sees to the store.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

import edgesip
from edgesip.control import stats, views
from edgesip.control.rpc import Method, text
from edgesip.signal.dialog.state import Dialog, DialogState


class Rooms(Protocol):
    """What the control room asks of the others. Times are monotonic seconds."""

    @property
    def started(self) -> float:
        """When the server was ready."""
        ...

    @property
    def wall_offset(self) -> float:
        """Wall clock minus monotonic clock."""
        ...

    def now(self) -> float:
        """The monotonic clock."""
        ...

    def dialogs(self) -> Iterable[Dialog]:
        """Every dialog, the ended ones that are still remembered included."""
        ...

    def sessions(self) -> list[dict[str, Any]]:
        """The relay's living sessions, in the form of `rtp.list`."""
        ...

    def ports(self) -> dict[str, int]:
        """total, leased, resting and free ports of the relay."""
        ...

    def counters(self) -> Mapping[str, int]:
        """All statistics, named `group:name`."""
        ...


def methods_for(rooms: Rooms) -> list[Method]:
    """The table of methods over these rooms."""
    asked = _Questions(rooms)
    return [
        Method("core.uptime", asked.uptime, "Time now, time of the start, seconds between."),
        Method("core.version", asked.version, "Name and version of this server."),
        Method(
            "dlg.briefing", asked.dlg_briefing, "dlg.briefing [ftcFTISEs]: dialogs with a few fields each."
        ),
        Method("dlg.list", asked.dlg_list, "All dialogs; ended ones (state 5) for a while."),
        Method("dlg.stats_active", asked.dlg_stats_active, "How many dialogs are in which state of life."),
        Method("rtp.list", asked.rtp_list, "Living media sessions and who is believed on each leg."),
        Method("rtp.ports", asked.rtp_ports, "Ports of the relay: total, leased, resting, free."),
        Method(
            "stats.fetch", asked.stats_fetch, "stats.fetch [all|GROUP:|NAME]...: group.name to value as text."
        ),
        Method(
            "stats.fetchn", asked.stats_fetchn, "stats.fetchn [all|GROUP:|NAME]...: group.name to number."
        ),
        Method(
            "stats.get_statistics",
            asked.stats_get,
            'stats.get_statistics [all|GROUP:|GROUP:NAME|NAME]...: lines "group:name = value".',
        ),
        Method("tm.stats", asked.tm_stats, "Transactions now and since the start."),
    ]


class _Questions:
    """One method each; parameters as a list, the result as JSON values."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms

    def uptime(self, params: list[Any]) -> dict[str, Any]:
        now, offset = self._rooms.now(), self._rooms.wall_offset
        return {
            "now": time.ctime(now + offset),
            "up_since": time.ctime(self._rooms.started + offset),
            "uptime": int(now - self._rooms.started),
        }

    def version(self, params: list[Any]) -> str:
        return f"edgesip {edgesip.__version__}"

    def dlg_list(self, params: list[Any]) -> Iterator[dict[str, Any]]:
        now, offset = self._rooms.now(), self._rooms.wall_offset
        return (views.dialog(one, now, offset) for one in list(self._rooms.dialogs()))

    def dlg_briefing(self, params: list[Any]) -> Iterator[dict[str, Any]]:
        letters = text(params, 0, "LETTERS") if params else "ftcFT"
        now, offset = self._rooms.now(), self._rooms.wall_offset
        return (views.briefing(one, letters, now, offset) for one in list(self._rooms.dialogs()))

    def dlg_stats_active(self, params: list[Any]) -> dict[str, int]:
        states = [one.state for one in self._rooms.dialogs() if one.state is not DialogState.DELETED]
        return {
            "starting": states.count(DialogState.UNCONFIRMED),
            "connecting": states.count(DialogState.EARLY),
            "answering": states.count(DialogState.CONFIRMED_NA),
            "ongoing": states.count(DialogState.CONFIRMED),
            "all": len(states),
        }

    def rtp_list(self, params: list[Any]) -> Iterator[dict[str, Any]]:
        return iter(self._rooms.sessions())

    def rtp_ports(self, params: list[Any]) -> dict[str, int]:
        return self._rooms.ports()

    def stats_get(self, params: list[Any]) -> list[str]:
        return [f"{name} = {value}" for name, value in self._selected(params).items()]

    def stats_fetch(self, params: list[Any]) -> dict[str, str]:
        return {name.replace(":", ".", 1): str(value) for name, value in self._selected(params).items()}

    def stats_fetchn(self, params: list[Any]) -> dict[str, int]:
        return {name.replace(":", ".", 1): value for name, value in self._selected(params).items()}

    def tm_stats(self, params: list[Any]) -> dict[str, int]:
        return stats.tm_stats(self._rooms.counters())

    def _selected(self, params: list[Any]) -> dict[str, int]:
        wanted = [text(params, index, "NAME") for index in range(len(params))]
        return stats.select(self._rooms.counters(), wanted)
