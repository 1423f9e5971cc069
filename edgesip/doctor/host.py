"""Judgements on the host: files, clock, buffers, kernel. Pure: facts in, findings out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from edgesip.doctor.finding import Finding, fail, ok, warn
from edgesip.relay.service import limits

RAW_HELP = "grant CAP_NET_RAW, see docs/operating.md, Pings; or take the key out"
PLENTY = 1 << 30
SLOW_SOURCES = frozenset({"hpet", "acpi_pm", "jiffies", "refined-jiffies"})
EARLIEST = 1_735_689_600.0
"""2025 began: no clock that is right says less."""


class Clock(NamedTuple):
    """The wall clock (seconds since the epoch), whether it is kept right, by how much it may be wrong.

    `synced` None when the kernel does not say; `error` in seconds; `source` is what the kernel counts by.
    """

    wall: float
    synced: bool | None
    error: float
    source: str


def files(limit: int, low: int, high: int, whose: str) -> Finding:
    """Open files: is there room for the calls that the ports have room for?"""
    room, most = limits(low, high, limit), limits(low, high, PLENTY)
    check = "open files"
    if room <= 0:
        return fail(
            check, f"{whose} may open {limit}: no room for one call", "LimitNOFILE=1048576 in the unit"
        )
    if room < most:
        text = f"{whose} may open {limit}: room for {room} calls, where relay.ports has room for {most}"
        return warn(check, text, "LimitNOFILE=1048576 in the unit, or ulimit -n; or fewer ports")
    return ok(check, f"{whose} may open {limit}: room for the {most} calls that relay.ports has room for")


def clock(found: Clock) -> list[Finding]:
    """Certificates, nonces and what is written down need the right time; everything else a cheap clock."""
    findings = []
    if found.wall < EARLIEST:
        findings.append(
            fail("clock", "it is years behind", "set it, and keep it right: timedatectl set-ntp true")
        )
    elif found.synced is None:
        findings.append(ok("clock", "whether it is kept right cannot be seen from here"))
    elif not found.synced:
        findings.append(
            warn("clock", "nothing keeps it right", "timedatectl set-ntp true, or install chrony")
        )
    elif found.error > 1.0:
        text = f"it may be wrong by {found.error:.1f} s"
        findings.append(
            warn("clock", text, "look at the time servers: timedatectl timesync-status, chronyc sources")
        )
    else:
        findings.append(ok("clock", f"kept right, within {found.error * 1000:.0f} ms"))
    if found.source in SLOW_SOURCES:
        text = f"the kernel counts time by {found.source}, which is slow to read: each packet costs more"
        do = "look why it gave up tsc: dmesg | grep -i clocksource"
        findings.append(warn("clock source", text, do))
    return findings


def buffers(most: int | None, wanted: int) -> Finding:
    """Receive buffers: what does not fit while we are busy is lost."""
    check = "receive buffers"
    if most is None:
        return ok(check, "net.core.rmem_max cannot be seen from here")
    if most >= wanted:
        return ok(check, f"net.core.rmem_max {most} is enough for {wanted}")
    text = f"net.core.rmem_max is {most}; a server without CAP_NET_ADMIN wants {wanted} and gets less"
    return warn(check, text, f"sysctl -w net.core.rmem_max={wanted}, and a file in /etc/sysctl.d")


def raw_pings(wanted: Sequence[str], trouble: str, whose: str) -> list[Finding]:
    """Pings from addresses that are not ours, where the profile wants them; `trouble`: why there are none."""
    if not wanted:
        return []
    check, keys = "raw pings", " and ".join(wanted)
    if not trouble:
        return [ok(check, f"{whose} may send them: {keys}")]
    text = f"{whose} may not ({trouble}): {keys} is off, these pings leave by our own address"
    return [warn(check, text, RAW_HELP)]
