"""The methods `ban.*`, `pike.*` and `permissions.*`: who is not heard and why, who sends how much, who is
believed. By Kamailio's names and fields where there are any.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from edgesip.address import Addr, parse_ip, source_of
from edgesip.control.rpc import INVALID_PARAMS, Method, RpcFault, text
from edgesip.places import ConfigError
from edgesip.signal.guard.bans import Ban, Tally
from edgesip.signal.guard.guard import Guard
from edgesip.signal.guard.permissions import Address

FILTERS = ("ALL", "HOT", "WARM")

Log = Callable[[str, str, dict[str, Any]], None]


class Files(NamedTuple):
    """What reads the rows again, raising `ConfigError` where it cannot, and seconds between two such."""

    addresses: Callable[[], None]
    trusted: Callable[[], None]
    delta: Callable[[], float]


class Clocks(NamedTuple):
    """The monotonic clock, and what the wall clock is ahead of it."""

    now: Callable[[], float]
    wall_offset: Callable[[], float]


def methods_for(guard: Guard, files: Files, clocks: Clocks, log: Log) -> list[Method]:
    """The table of methods."""
    bans, others = _Bans(guard, clocks, log), _Others(guard, files, clocks.now, log)
    top = "pike.top [ALL|HOT|WARM]: requests of each source in the last window and in this one."
    return [
        Method("ban.list", bans.banned, "Everybody who is banned now, and why."),
        Method(
            "ban.add",
            bans.add,
            "ban.add ADDRESS [SECONDS [USER]]: do not hear an address, or a user there, registered or not.",
        ),
        Method("ban.rm", bans.rm, "ban.rm ADDRESS|all [USER]: lift bans, and forget what was counted."),
        Method("ban.why", bans.why, "ban.why ADDRESS: what was counted against an address, and its bans."),
        Method(
            "permissions.allowUri",
            others.allow_uri,
            "permissions.allowUri NAME URI: what NAME.allow and NAME.deny say of a URI, whoever it is from.",
        ),
        Method(
            "permissions.testUri",
            others.test_uri,
            "permissions.testUri NAME FROM URI: what they say of a URI from somebody.",
        ),
        Method("permissions.addressDump", others.address_dump, "The rows for single addresses, by group."),
        Method("permissions.addressReload", others.address_reload, "Read the rows of address groups again."),
        Method("permissions.domainDump", others.domain_dump, "The rows for names of hosts, by group."),
        Method("permissions.subnetDump", others.subnet_dump, "The rows for networks, in order."),
        Method("permissions.trustedDump", others.trusted_dump, "The rows of `trusted_file`."),
        Method("permissions.trustedReload", others.trusted_reload, "Read `trusted_file` again."),
        Method("pike.list", others.pike_top, top.replace("pike.top", "pike.list")),
        Method("pike.top", others.pike_top, top),
    ]


class _Bans:
    def __init__(self, guard: Guard, clocks: Clocks, log: Log) -> None:
        self._bans = guard.bans
        self._clocks = clocks
        self._log = log

    def banned(self, params: list[Any]) -> Iterator[dict[str, Any]]:
        now = self._clocks.now()
        return (_ban(ban, now) for ban in self._bans if ban.until > now)

    def add(self, params: list[Any]) -> dict[str, Any]:
        host, now = _address(params), self._clocks.now()
        seconds = _seconds(params, 1) if len(params) > 1 else self._bans.settings.autoexpire
        user = text(params, 2, "USER") if len(params) > 2 else ""
        try:
            ban = self._bans.add(host, user, seconds, now)
        except ValueError as error:
            raise RpcFault(403, str(error)) from None
        self._log("info", "ban added", {"source": host, "user": user, "seconds": round(seconds)})
        return _ban(ban, now)

    def rm(self, params: list[Any]) -> str:
        if text(params, 0, "ADDRESS") == "all":
            count = self._bans.clear()
            self._log("info", "ban removed", {"source": "all", "bans": count})
            return f"Ok. {count} bans removed"
        host = _address(params)
        count = self._bans.remove(host, text(params, 1, "USER") if len(params) > 1 else "")
        if not count:
            raise RpcFault(404, f"not banned: {host}")
        self._log("info", "ban removed", {"source": host, "bans": count})
        return f"Ok. {count} bans removed"

    def why(self, params: list[Any]) -> dict[str, Any]:
        host, now = _address(params), self._clocks.now()
        source, tally = source_of(host), self._bans.why(host)
        banned = [_ban(ban, now) for ban in self._bans if ban.source == source and ban.until > now]
        if tally is None and not banned:
            raise RpcFault(404, f"nothing is known against {host}")
        return {"source": source, "bans": banned, **self._counted(tally)}

    def _counted(self, tally: Tally | None) -> dict[str, Any]:
        if tally is None:
            return {"points": 0, "banned_before": 0, "seen": []}
        offset = self._clocks.wall_offset()
        seen = [
            {
                "time": round(one.at + offset, 3),
                "what": one.kind,
                "user": one.user,
                "from": str(one.remote),
                "call-id": one.call_id,
            }
            for one in tally.seen
        ]
        return {"points": tally.points, "banned_before": tally.times, "seen": seen}


class _Others:
    """pike and permissions."""

    def __init__(self, guard: Guard, files: Files, now: Callable[[], float], log: Log) -> None:
        self._guard = guard
        self._files = files
        self._now = now
        self._log = log
        self._read = {"address": float("-inf"), "trusted": float("-inf")}

    def pike_top(self, params: list[Any]) -> dict[str, Any]:
        wanted = text(params, 0, "ALL").upper() if params else "HOT"
        if wanted not in FILTERS:
            raise RpcFault(INVALID_PARAMS, f"Invalid params: one of {', '.join(FILTERS)}")
        pike = self._guard.pike
        rows = [
            {
                "ip_addr": source,
                "leaf_hits_prev": before,
                "leaf_hits_curr": hits,
                "expires": int(left),
                "status": status,
            }
            for source, before, hits, left, status in pike.top(wanted, self._now())
        ]
        return {
            "max_hits": pike.settings.reqs_density_per_unit,
            "list": rows,
            "number_of_rows": len(rows),
        }

    def address_dump(self, params: list[Any]) -> list[dict[str, Any]]:
        return [_row(row, _literal(row)) for row in self._guard.permissions.hosts()]

    def subnet_dump(self, params: list[Any]) -> list[dict[str, Any]]:
        rows = self._guard.permissions.subnets()
        return [
            {**_row(row, _literal(row)), "mask": row.network.prefixlen if row.network is not None else 0}
            for row in rows
        ]

    def domain_dump(self, params: list[Any]) -> list[dict[str, Any]]:
        return [_row(row, row.host) for row in self._guard.permissions.domains()]

    def trusted_dump(self, params: list[Any]) -> list[dict[str, str]]:
        return [
            {
                "source": row.source,
                "proto": row.proto,
                "pattern": row.from_pattern,
                "ruri_pattern": row.ruri_pattern,
                "tag": row.tag,
            }
            for row in self._guard.permissions.trusted()
        ]

    def test_uri(self, params: list[Any]) -> str:
        name, first, second = (text(params, at, word) for at, word in enumerate(("NAME", "FROM", "URI")))
        return self._allowed(name, first, second)

    def allow_uri(self, params: list[Any]) -> str:
        return self._allowed(text(params, 0, "NAME"), "", text(params, 1, "URI"))

    def _allowed(self, name: str, first: str, second: str) -> str:
        try:
            return "Allowed" if self._guard.permissions.allows(name, first, second) else "Denied"
        except ValueError as error:
            raise RpcFault(404, str(error)) from None

    def address_reload(self, params: list[Any]) -> str:
        return self._reload("address", self._files.addresses)

    def trusted_reload(self, params: list[Any]) -> str:
        return self._reload("trusted", self._files.trusted)

    def _reload(self, what: str, read: Callable[[], None]) -> str:
        now, delta = self._now(), self._files.delta()
        if now < self._read[what] + delta:
            raise RpcFault(500, f"ongoing reload: the last one was less than {delta:.0f} s ago")
        try:
            read()
        except (ConfigError, ValueError) as error:
            raise RpcFault(500, str(error)) from None
        self._read[what] = now
        self._log("info", "permissions reloaded", {"rows": what})
        return "Reload OK"


def _ban(ban: Ban, now: float) -> dict[str, Any]:
    return {
        "source": str(Addr(ban.host, ban.port)) if ban.port else ban.source,
        "user": ban.user,
        "why": ban.why,
        "expires": max(0, round(ban.until - now)),
        "age": max(0, round(now - ban.since)),
        "times": ban.times,
        "dropped": ban.dropped,
    }


def _row(row: Address, ip: str) -> dict[str, Any]:
    return {"group": row.group, "ip": ip, "port": row.port, "tag": row.tag}


def _literal(row: Address) -> str:
    return str(row.network.network_address) if row.network is not None else row.host


def _address(params: list[Any]) -> str:
    value = text(params, 0, "ADDRESS")
    ip = parse_ip(value.removesuffix("/64"))
    if ip is None:
        raise RpcFault(INVALID_PARAMS, f"Invalid params: {value} is not an IP address")
    return str(ip)


def _seconds(params: list[Any], index: int) -> float:
    value = text(params, index, "SECONDS")
    if not (value.isascii() and value.isdigit() and 0 < len(value) < 10 and int(value)):
        raise RpcFault(INVALID_PARAMS, "Invalid params: SECONDS must be a number above 0")
    return float(value)
