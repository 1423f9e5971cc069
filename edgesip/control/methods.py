"""The methods: Kamailio's RPC names over what the rooms of a running edge can tell (web-rpc.md §3).

`Rooms` is what they need of it; whoever wires the edge fits it. Only `ul.rm` and `ul.rm_contact` change
anything, and they do it through `Rooms.remove`, which sees to the store.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import edgesip
from edgesip.control import stats, views
from edgesip.control.rpc import INVALID_PARAMS, Method, RpcFault, text
from edgesip.signal.dialog.state import Dialog, DialogState
from edgesip.signal.location.usrloc import Binding, aor_key

TABLE = "location"
"""The one table of contacts, by Kamailio's name."""


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

    def bindings(self, aor: str) -> Sequence[Binding]:
        """The valid bindings of an address of record, best first."""
        ...

    def aors(self) -> Iterable[tuple[str, Sequence[Binding]]]:
        """Every address of record with its bindings: a snapshot, read while the table changes."""
        ...

    def remove(self, bindings: Sequence[Binding]) -> None:
        """Take bindings out of the table and the store."""
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
        Method("ul.dump", asked.ul_dump, "ul.dump [brief]: every address of record with its contacts."),
        Method(
            "ul.lookup", asked.ul_lookup, "ul.lookup [location] AOR: the contacts of an address of record."
        ),
        Method("ul.rm", asked.ul_rm, "ul.rm [location] AOR: remove all contacts."),
        Method(
            "ul.rm_contact", asked.ul_rm_contact, "ul.rm_contact [location] AOR CONTACT: remove one contact."
        ),
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

    def ul_lookup(self, params: list[Any]) -> dict[str, Any]:
        (aor,) = _in_table(params, ("AOR",))
        found = self._contacts(aor)
        return views.address_of_record(aor, found, self._rooms.now(), self._rooms.wall_offset)

    def ul_dump(self, params: list[Any]) -> Iterator[dict[str, Any]]:
        brief = bool(params) and text(params, 0, "brief") == "brief"
        if params and not brief:
            raise RpcFault(INVALID_PARAMS, 'Invalid params: ul.dump takes "brief" or nothing')
        now, offset = self._rooms.now(), self._rooms.wall_offset
        return self._dumped(brief, now, offset)

    def ul_rm(self, params: list[Any]) -> str:
        (aor,) = _in_table(params, ("AOR",))
        self._rooms.remove(self._contacts(aor))
        return "Ok. Contacts removed"

    def ul_rm_contact(self, params: list[Any]) -> str:
        aor, contact = _in_table(params, ("AOR", "CONTACT"))
        found = [binding for binding in self._contacts(aor) if binding.contact == contact]
        if not found:
            raise RpcFault(404, f"Contact not found: {contact}")
        self._rooms.remove(found)
        return "Ok. Contact removed"

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

    def _contacts(self, aor: str) -> Sequence[Binding]:
        found = self._rooms.bindings(aor)
        if not found:
            raise RpcFault(404, f"AOR not found: {aor}")
        return found

    def _dumped(self, brief: bool, now: float, offset: float) -> Iterator[dict[str, Any]]:
        for aor, bindings in self._rooms.aors():
            valid = [binding for binding in bindings if binding.expires > now]
            if brief and valid:
                yield {"AoR": aor, "Contacts": [{"Address": binding.contact} for binding in valid]}
            elif valid:
                yield views.address_of_record(aor, valid, now, offset)


def _in_table(params: list[Any], names: tuple[str, ...]) -> list[str]:
    """The parameters after the table, which may be left out; the AoR as the key it is stored by."""
    if len(params) > len(names):
        table = text(params, 0, "TABLE")
        if table != TABLE:
            raise RpcFault(404, f"table not found: {table}; there is {TABLE}")
        params = params[1:]
    if len(params) > len(names):
        raise RpcFault(INVALID_PARAMS, "Invalid params: too many")
    found = [text(params, index, name) for index, name in enumerate(names)]
    found[0] = _key(found[0])
    return found


def _key(aor: str) -> str:
    """`alice`, `alice@example.org` and `sip:alice@example.org` are one address of record here."""
    for scheme in ("sip:", "sips:", "tel:"):
        if aor.lower().startswith(scheme):
            aor = aor[len(scheme) :]
            break
    return aor_key(aor.partition("@")[0])
