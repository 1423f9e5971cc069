"""What the signalling core is told of a profile, and the events that it returns.

Values alone; `core` makes them, the service and the tests act on them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from edgesip.signal.location import registrar
from edgesip.signal.location.seals import Seals
from edgesip.signal.proxy.asked import Asked
from edgesip.signal.proxy.inbound import Happened, Inbound, Note, Onward, Undone
from edgesip.signal.proxy.record_route import RrSettings
from edgesip.signal.proxy.uac import Heard
from edgesip.store.api import Write


@dataclass(frozen=True, slots=True)
class CoreSettings:
    """What the core itself needs of a profile: `db_mode` says when bindings are written to a store, and
    `timer_interval` how many seconds they may wait for it with `db_mode` 2.
    """

    registrar: registrar.Settings
    db_mode: int
    wall_offset: float
    rr: RrSettings = field(default_factory=RrSettings)
    seals: Seals | None = None
    timer_interval: float = 60.0


class Arrived(NamedTuple):
    """A request for the script to decide on; `carry` takes the decision."""

    inbound: Inbound


Event = Arrived | Asked | Heard | Write | Happened | Undone | Onward | Note

COUNTS = (
    "rcv_requests",
    "rcv_replies",
    "fwd_requests",
    "drop_requests",
    "drop_replies",
    "err_requests",
    "bad_msg_hdr",
)
"""What the core counts."""
