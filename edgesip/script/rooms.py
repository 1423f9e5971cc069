"""What a `Call` may ask of the rest of the server: its rooms, each as it stands.

Holds references alone; whoever wires the edge fills them in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from edgesip.signal.guard.digest import Digest
from edgesip.signal.location.usrloc import Usrloc
from edgesip.signal.proxy.myself import Myself
from edgesip.signal.proxy.upstream import Upstream
from edgesip.store.api import Subscribers

Networks = Sequence[IPv4Network | IPv6Network]


@dataclass(frozen=True, slots=True)
class Rooms:
    """What a `Call` may ask."""

    myself: Myself
    usrloc: Usrloc
    subscribers: Subscribers
    digest: Digest
    trusted: tuple[IPv4Network | IPv6Network, ...] = ()
    upstream: Upstream | None = None
    auth_enabled: bool = True
