"""What a `Call` may ask of the rest of the server: its rooms, each as it stands.

Holds references alone; whoever wires the edge fills them in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from edgesip.address import Addr, Flow
from edgesip.signal.dialog.offer_answer import Media
from edgesip.signal.guard.digest import Refused, Verified
from edgesip.signal.guard.guard import Guard
from edgesip.signal.location.lookup import LookupSettings
from edgesip.signal.location.seals import Seals
from edgesip.signal.location.usrloc import Usrloc
from edgesip.signal.nat.rules import NatRules
from edgesip.signal.nat.traversal import Traversal
from edgesip.signal.proxy.myself import Myself
from edgesip.signal.proxy.path import PathSettings
from edgesip.signal.proxy.upstream import Upstream
from edgesip.signal.wire.message import Request
from edgesip.store.api import Credential, Subscribers


class Authority(Protocol):
    """Whoever says whether credentials are right: `Digest`, and in tests somebody who believes."""

    @property
    def realm(self) -> str:
        """The realm that it speaks for."""
        ...

    def check(
        self,
        values: Sequence[str],
        request: Request,
        remote: Addr,
        credential: Callable[[str], Credential | None],
        now: float,
        realm: str = "",
        at_home: Callable[[str], bool] | None = None,
    ) -> Verified | Refused:
        """Judge the credentials of one request, as `Digest.check` does."""
        ...


@dataclass(frozen=True, slots=True)
class RtpproxyRules:
    """`[rtpproxy]` as scripts need it: the line that says in SDP who relays it already, b"" for none, and the
    text that names sessions with flag `b`.
    """

    nortpproxy_str: bytes = b""
    extra_id_pv: str = ""


def _always(flow: Flow) -> bool:
    return True


class Lines:
    """What is known of connections: whether that of a flow is `alive`. Told by whoever has them."""

    def __init__(self, alive: Callable[[Flow], bool] = _always) -> None:
        self.alive = alive


@dataclass(frozen=True, slots=True)
class Rooms:
    """What a `Call` may ask."""

    myself: Myself
    usrloc: Usrloc
    subscribers: Subscribers
    digest: Authority
    guard: Guard
    upstream: Upstream | None = None
    auth_enabled: bool = True
    traversal: Traversal | None = None
    lookup: LookupSettings = field(default_factory=LookupSettings)
    seals: Seals | None = None
    nat: NatRules = field(default_factory=NatRules)
    path: PathSettings = field(default_factory=PathSettings)
    media: Media | None = None
    rtpproxy: RtpproxyRules = field(default_factory=RtpproxyRules)
    lines: Lines = field(default_factory=Lines)
    auth_domain: str = ""
    """The host that From, and To in REGISTER, have to name; any where it is empty."""
