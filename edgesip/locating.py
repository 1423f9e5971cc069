"""What `[usrloc]` means to the rooms: the rules of the location table, and what `ul.*` may ask of it.

Each is given its slice of the profile; what they do with it they know themselves.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence

from edgesip.address import Addr
from edgesip.control.views import Facts
from edgesip.profile import Profile
from edgesip.signal.location.binding import Binding
from edgesip.signal.location.usrloc import Usrloc, UsrlocSettings
from edgesip.signal.net.service import SignalService
from edgesip.store.api import Census
from edgesip.store.sqlite import SqliteStore


class Registered:
    """The location table as the control room sees it (`control.ul.Location`)."""

    def __init__(self, service: SignalService, store: SqliteStore | None, started: float) -> None:
        self._service = service
        self._store = store
        self._started = started

    @property
    def usrloc(self) -> Usrloc:
        """The table."""
        return self._service.core.usrloc

    @property
    def listens(self) -> Sequence[tuple[str, Addr]]:
        """Where we listen."""
        return self._service.core.myself.listens

    @property
    def wall_offset(self) -> float:
        """Wall clock minus monotonic clock, as it is now: the wall clock may have been set."""
        return time.time() - time.monotonic()

    def now(self) -> float:
        """The monotonic clock."""
        return time.monotonic()

    def facts(self, binding: Binding) -> Facts:
        """What the ledger and the connections know of a contact."""
        state = self._service.core.saver.ledger.state_of(binding, self._started)
        core = self._service.core
        every = (core.pinger.interval_for(binding.flow, self.now()), core.liveness.interval_for(binding))
        interval = min([one for one in every if one], default=0.0)
        return Facts(state, self._service.streams.number_of(binding.flow), interval)

    def new_ruid(self) -> str:
        """Kamailio's prefix for contacts that no REGISTER made."""
        return f"ulcx-{os.urandom(8).hex()}"

    def add(self, binding: Binding) -> None:
        """Put a contact there, in memory and in the store."""
        self._service.step(self._service.core.saver.add(binding, self.now()))

    def remove(self, bindings: Sequence[Binding]) -> None:
        """Take contacts away, in memory and in the store."""
        self._service.step(self._service.core.unregister(bindings, self.now()))

    def flush(self) -> int:
        """Write back what waits for it, slice after slice, beginning now."""
        ledger = self._service.core.saver.ledger
        waiting = len(ledger)
        ledger.hurry(self.now())
        self._service.step([])
        return waiting

    async def census(self) -> Census | None:
        """What the store has, counted in a thread."""
        return None if self._store is None else await asyncio.to_thread(self._store.census, time.time())


def usrloc_of(profile: Profile) -> UsrlocSettings:
    """The location table's slice of a profile."""
    section = profile.usrloc
    return UsrlocSettings(
        matching_mode=section.matching_mode,
        use_domain=section.use_domain,
        desc_time_order=section.desc_time_order,
        cseq_delay=float(section.cseq_delay),
        handle_lost_tcp=section.handle_lost_tcp,
        close_expired_tcp=section.close_expired_tcp,
        case_sensitive=profile.registrar.case_sensitive,
        realm_prefix=profile.registrar.realm_prefix,
        linger=float(section.timer_interval) if profile.registrar.use_expired_contacts else 0.0,
    )
