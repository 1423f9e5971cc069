"""`[nat_traversal]` of a profile: its room, and the file that keeps endpoints through a restart.

Knows the profile, the room and the file, and nothing of who is kept or why. A line of the file is
`sip:ip:port udp:ip:port REGISTERED SUBSCRIBED`, times in seconds since the epoch, as Kamailio writes it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from edgesip.address import Addr, Flow, is_sendable, parse_hostport, parse_ip
from edgesip.profile import Profile
from edgesip.sections_traversal import NatTraversal
from edgesip.signal.core import SignalCore
from edgesip.signal.nat.beat import Beats, Settings
from edgesip.signal.nat.learning import Settings as LearningSettings
from edgesip.signal.nat.traversal import MOST, Row, Traversal

SHORTEST = 10
"""Seconds: a shorter `keepalive_interval` counts as this."""
HEAD = "# endpoints that are kept reachable: uri socket registered-until subscribed-until"
_LONGEST_LINE = 200

Log = Callable[[str, str, dict[str, Any]], None]
Listens = Sequence[tuple[str, Addr]]


def settings_of(section: NatTraversal) -> Settings:
    """The section as the room uses it."""
    interval = section.keepalive_interval
    return Settings(
        float(max(interval, SHORTEST) if interval > 0 else 0),
        section.keepalive_method,
        section.keepalive_from,
        section.keepalive_extra_headers,
        section.contact_match,
    )


def learning_of(profile: Profile) -> LearningSettings:
    """What may be learned of the phones that nathelper pings."""
    section = profile.nat_traversal
    longest = float(section.adaptive_max_interval) if section.adaptive else 0.0
    if profile.nathelper.keepalive_timeout:  # who is asked more rarely than that would be given up unasked
        longest = min(longest, profile.nathelper.keepalive_timeout / 3)
    return LearningSettings(float(profile.nathelper.natping_interval), longest)


def use(profile: Profile, core: SignalCore) -> None:
    """What of the section can change while we run, put in force."""
    core.traversal.use(settings_of(profile.nat_traversal))
    core.learning.use(learning_of(profile))


def room_for(
    section: NatTraversal,
    entropy: Callable[[int], bytes],
    address_for: Callable[[Addr], Addr],
    covered: Callable[[Flow], bool],
) -> Traversal:
    """The room of a profile; `covered`: somebody else pings the phone at the end of this flow."""
    settings = settings_of(section)
    return Traversal(settings, Beats(settings, entropy, address_for), covered)


def state_file(profile: Profile) -> Path:
    """Where the endpoints of a profile are kept."""
    return profile.state_dir / profile.nat_traversal.keepalive_state_file


def load_state(
    path: Path, room: Traversal, listens: Listens, now: float, wall_offset: float, log: Log
) -> None:
    """Put back the endpoints of a file, but what is over or was reached from an address no longer ours."""
    bad = away = 0
    rows: list[Row] = []
    try:
        with path.open(encoding="ascii", errors="replace") as file:
            for line in _lines(file):
                row = _row(line, wall_offset)
                if row is None:
                    bad += 1
                elif ("udp", row.flow.local) not in listens:
                    away += 1
                elif len(rows) < MOST:
                    rows.append(row)
    except FileNotFoundError:
        return
    except OSError as error:
        log("warning", "endpoints not loaded", {"file": str(path), "why": error.strerror or repr(error)})
        return
    count = room.restore(iter(rows), now)
    if count or bad:
        fields = {"endpoints": count, "unreadable": bad, "other_address": away, "over": len(rows) - count}
        log("warning" if bad else "info", "endpoints loaded", fields)


def save_state(path: Path, room: Traversal, now: float, wall_offset: float, log: Log) -> None:
    """Write the endpoints of a server that ends, all or nothing."""
    lines = [HEAD]
    for flow, registered, subscribed in room.rows(now):
        until = [str(round(at + wall_offset)) if at > now else "0" for at in (registered, subscribed)]
        lines.append(f"sip:{flow.remote} udp:{flow.local} {until[0]} {until[1]}")
    fresh = path.with_name(path.name + ".new")
    try:
        with contextlib.suppress(FileNotFoundError):
            fresh.unlink()
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write("\n".join(lines) + "\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        log("error", "endpoints not saved", {"file": str(path), "why": error.strerror or repr(error)})


def _lines(file: Any) -> Iterator[str]:
    """The lines of a file that say something; one without an end is cut and so found unreadable."""
    while line := file.readline(_LONGEST_LINE):
        text = line.strip()
        if text and not text.startswith("#"):
            yield text


def _row(line: str, wall_offset: float) -> Row | None:
    """What a line says, its times on this process's clock; None when it cannot be read."""
    parts = line.split()
    if len(parts) != 4 or not parts[0].startswith("sip:") or not parts[1].startswith("udp:"):
        return None
    remote, local = _addr(parts[0].removeprefix("sip:")), _addr(parts[1].removeprefix("udp:"))
    if remote is None or local is None or not is_sendable(remote.host, loopback=True):
        return None
    if not all(text.isascii() and text.isdigit() and len(text) <= 11 for text in parts[2:]):
        return None
    registered, subscribed = (int(text) - wall_offset if int(text) else 0.0 for text in parts[2:])
    return Row(Flow("udp", local, remote), max(registered, 0.0), max(subscribed, 0.0))


def _addr(text: str) -> Addr | None:
    where = parse_hostport(text)
    ip = parse_ip(where[0]) if where is not None else None
    if where is None or ip is None or where[1] is None:
        return None
    return Addr(str(ip), where[1])
