"""What `[permissions]`, `[pike]` and `[ban]` mean to the guard, and the files that rows are read from.

The guard gets its slice of the profile; what it does with it it knows itself.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from edgesip.control.guard import Clocks, Files, methods_for
from edgesip.control.rpc import Method
from edgesip.places import ConfigError
from edgesip.profile import Profile
from edgesip.signal.guard.allowing import Pair, Rule, rules_of
from edgesip.signal.guard.bans import BanSettings
from edgesip.signal.guard.guard import Guard, GuardSettings
from edgesip.signal.guard.permissions import (
    TRUSTED_GROUP,
    Address,
    PermissionSettings,
    Trusted,
    address_row,
    trusted_row,
)
from edgesip.signal.guard.pike import PikeSettings
from edgesip.signal.location.usrloc import Usrloc
from edgesip.signal.proxy.upstream import Upstream

Row = TypeVar("Row")
Log = Callable[[str, str, dict[str, Any]], None]


def settings_of(profile: Profile) -> GuardSettings:
    """The guard's slice of a profile."""
    pike, ban, permissions = profile.pike, profile.ban, profile.permissions
    return GuardSettings(
        PikeSettings(
            float(pike.sampling_time_unit),
            pike.reqs_density_per_unit,
            float(pike.remove_latency),
            pike.pike_log_level,
        ),
        BanSettings(
            ban.enabled,
            float(ban.autoexpire),
            float(ban.longest),
            ban.failures,
            ban.user_failures,
            float(ban.window),
            ban.size,
        ),
        PermissionSettings(permissions.subnet_match_mode, permissions.max_subnets),
        ban.scanners,
    )


def guard_of(profile: Profile, usrloc: Usrloc, upstream: Upstream | None) -> Guard:
    """The guard, its rows read. Raises `ConfigError` for a row or a file that cannot be read."""
    guard = Guard(settings_of(profile), usrloc, upstream)
    put(guard, profile, addresses_of(profile), trusted_of(profile))
    return guard


def put(guard: Guard, profile: Profile, rows: list[Address], trusted: list[Trusted]) -> None:
    """Put rows and limits in force. Raises `ConfigError` when there are too many rows; nothing changes."""
    subnets = sum(row.network is not None and row.network.num_addresses > 1 for row in rows)
    most = profile.permissions.max_subnets
    if subnets > most:
        where = profile.where("permissions.max_subnets")
        raise ConfigError(f"{where}: permissions: {subnets} networks are more than max_subnets {most}")
    pairs = pairs_of(profile)
    guard.use(settings_of(profile), rows, trusted)
    guard.permissions.pairs = pairs


def addresses_of(profile: Profile) -> list[Address]:
    """All rows of address groups: trusted networks, those of the profile, those of its file."""
    section = profile.permissions
    rows = [Address(TRUSTED_GROUP, network, "", 0, "") for network in section.trusted]
    for text in section.address:
        try:
            rows.append(address_row(text))
        except ValueError as error:
            raise ConfigError(
                f"{profile.where('permissions.address')}: permissions.address: {error}"
            ) from None
    return rows + _read(profile, section.address_file, address_row)


def trusted_of(profile: Profile) -> list[Trusted]:
    """The rows of `allow_trusted`."""
    return _read(profile, profile.permissions.trusted_file, trusted_row)


def pairs_of(profile: Profile) -> dict[str, Pair]:
    """The rules of every NAME.allow and NAME.deny; a file that is not there has none."""
    found = {}
    for name in profile.permissions.rule_files:
        rules = [_rules(profile.file.parent / f"{name}.{kind}") for kind in ("allow", "deny")]
        found[name] = Pair(*rules)
    return found


def _rules(path: Path) -> tuple[Rule, ...]:
    try:
        return rules_of(path.read_text("utf-8"))
    except FileNotFoundError:
        return ()
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be used: {error}") from None


def _read(profile: Profile, file: Path | None, row: Callable[[str], Row]) -> list[Row]:
    if file is None:
        return []
    path = profile.file.parent / file
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    found = []
    for number, line in enumerate(lines, 1):
        text = re.sub(r"(^|\s)#.*", "", line).strip()
        if not text:
            continue
        try:
            found.append(row(text))
        except ValueError as error:
            raise ConfigError(f"{path}:{number}: {error}") from None
    return found


def guard_methods(
    guard: Guard, profile: Callable[[], Profile], wall_offset: Callable[[], float], log: Log
) -> list[Method]:
    """The RPC methods of the guard; rows are read again from the profile that is in force then."""

    def addresses() -> None:
        guard.permissions.pairs = pairs_of(profile())
        guard.permissions.use(addresses_of(profile()), guard.permissions.trusted())
        guard.bans.review()

    def trusted() -> None:
        guard.permissions.use(guard.permissions.rows(), trusted_of(profile()))

    files = Files(addresses, trusted, lambda: float(profile().permissions.reload_delta))
    return methods_for(guard, files, Clocks(time.monotonic, wall_offset), log)
