"""`nathelper.natping_socket` and `udpping_from_path`: pings from addresses that are not ours, where we may.

Without CAP_NET_RAW they are off, which start-up says, and these pings leave by our own address.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgesip.profile import Profile
from edgesip.signal.net.raw import RawLink
from edgesip.signal.net.service import SignalService

ADVICE = "grant CAP_NET_RAW (operating.md, Pings), or take the key out"

Log = Callable[[str, str, dict[str, Any]], None]


def wishes(profile: Profile) -> list[str]:
    """The keys of a profile that take a raw socket."""
    section = profile.nathelper
    found = ["nathelper.natping_socket"] if section.natping_socket is not None else []
    return [*found, "nathelper.udpping_from_path"] if section.udpping_from_path else found


def grant(profile: Profile, service: SignalService, log: Log) -> None:
    """Open the raw socket when the profile wants one, and say what became of it."""
    keys = wishes(profile)
    if not keys:
        return
    wanted = " ".join(keys)
    try:
        service.udp.raw = RawLink()
    except OSError as error:
        why = error.strerror or repr(error)
        log("warning", "raw pings refused", {"wanted": wanted, "why": why, "do": ADVICE})
        return
    service.core.pinger.raw = True
    log("info", "raw pings", {"wanted": wanted})
