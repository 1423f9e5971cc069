"""What a running edge answers the control room: its bindings, calls, media and numbers, as they are now.

Reads the rooms; of what it is asked to change, removing bindings is all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from edgesip.control.collector import Collector
from edgesip.control.ring import Ring
from edgesip.relay.service import RelayService
from edgesip.signal.dialog.state import Dialog
from edgesip.signal.net.resolver import Resolver
from edgesip.signal.net.service import SignalService
from edgesip.signal.net.tls_files import COUNTERS as TLS_COUNTERS
from edgesip.signal.net.tls_files import GAUGES as TLS_GAUGES
from edgesip.signal.net.tls_files import Certificates
from edgesip.signal.proxy.blocklist import Blocklist

Source = Callable[[], Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Answers:
    """What the control room may ask of a running edge (`control.methods.Rooms`)."""

    started: float
    service: SignalService
    media: RelayService | None
    sources: tuple[Callable[[], Mapping[str, int]], ...]

    @property
    def wall_offset(self) -> float:
        """Wall clock minus monotonic clock, as it is now: the wall clock may have been set."""
        return time.time() - time.monotonic()

    def now(self) -> float:
        """The monotonic clock."""
        return time.monotonic()

    def dialogs(self) -> Iterable[Dialog]:
        """Every dialog that is remembered."""
        return list(self.service.core.dialogs)

    def sessions(self) -> list[dict[str, Any]]:
        """The relay's living sessions."""
        return self.media.core.sessions(self.now()) if self.media else []

    def ports(self) -> dict[str, int]:
        """The relay's ports."""
        if self.media is None:
            return {"total": 0, "leased": 0, "resting": 0, "free": 0}
        return self.media.core.ports(self.now())

    def counters(self) -> Mapping[str, int]:
        """All statistics."""
        merged: dict[str, int] = {}
        for source in self.sources:
            merged.update(source())
        return merged


def sources_of(
    service: SignalService,
    media: RelayService | None,
    resolver: Resolver,
    blocklist: Blocklist,
    collector: Collector,
    ring: Ring,
    certificates: Certificates | None,
) -> tuple[Source, ...]:
    """Where the statistics of every room are read, `group:name` to number."""
    core = service.core
    sources: list[Source] = [
        lambda: core.counters,
        lambda: core.admission.counters | core.admission.gauges(),
        core.guard.counters,
        lambda: core.digest.counters | core.digest.gauges(),
        lambda: core.transactions.counters,
        lambda: {
            "tmx:inuse_transactions": len(core.transactions),
            "tmx:active_transactions": core.transactions.active,
        },
        lambda: core.usrloc.counters,
        lambda: core.stun.counters,
        lambda: core.pinger.counters,
        lambda: core.liveness.counters,
        lambda: core.dialogs.counters,
        core.dialogs.gauges,
        lambda: core.traversal.gauges(time.monotonic()),
        lambda: core.subscriptions.counters | core.subscriptions.gauges(),
        lambda: service.udp.counters,
        lambda: service.streams.counters,
        service.streams.gauges,
        lambda: resolver.counters,
        lambda: resolver.cache.counters,
        lambda: blocklist.counters,
        collector.counters,
        ring.counters,
    ]
    if certificates is not None:
        sources += [lambda: certificates.counters, certificates.gauges]
    else:
        sources.append(lambda: dict.fromkeys((*TLS_COUNTERS, *TLS_GAUGES), 0))
    if media is not None:
        sources.append(lambda: media.counters)
        sources.append(lambda: media.core.desk.gauges(media.core.ports(time.monotonic())))
    return tuple(sources)
