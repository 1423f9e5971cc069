"""Bans as records: what a store keeps of them, so that a restart frees nobody.

Knows no store. Times are monotonic seconds; records carry wall time.
"""

from __future__ import annotations

from typing import Any

from edgesip.address import Addr, parse_ip, source_of
from edgesip.signal.guard.bans import Ban, Key

VERSION = 1


def name_of(key: Key) -> str:
    """The primary key of a ban's record."""
    if isinstance(key, str):
        return key
    return f"{key} port" if isinstance(key, Addr) else f"{key[0]} user {key[1]}"


def record_of(ban: Ban, wall_offset: float) -> dict[str, Any]:
    """A ban as a JSON object; `wall_offset` is wall time minus monotonic time."""
    return {
        "version": VERSION,
        "host": ban.host,
        "user": ban.user,
        "port": ban.port,
        "since": ban.since + wall_offset,
        "until": ban.until + wall_offset,
        "why": ban.why,
        "times": ban.times,
        "by_hand": ban.by_hand,
        "dropped": ban.dropped,
    }


def ban_of(record: dict[str, Any], wall_offset: float) -> Ban:
    """The ban that a record describes, its times re-based; ValueError when it describes none."""
    try:
        if record["version"] != VERSION:
            raise ValueError(f"version {record['version']!r}")
        host = parse_ip(str(record["host"]))
        port = int(record["port"])
        if host is None or not 0 <= port <= 65535:
            raise ValueError("no address")
        since, until = (float(record[name]) - wall_offset for name in ("since", "until"))
        ban = Ban(
            source_of(str(host)),
            str(host),
            since,
            until,
            str(record["why"]),
            int(record["times"]),
            bool(record["by_hand"]),
        )
        ban.user, ban.port, ban.dropped = str(record["user"]), port, int(record["dropped"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"not the record of a ban: {error!r}") from error
    return ban
