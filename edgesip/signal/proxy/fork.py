"""A forwarded request and its branches: what has come back, and which answer is the best.

Holds the response context of RFC 3261 §16.7 and its choice. Sends nothing: `core` does what it says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from edgesip.address import Flow
from edgesip.signal.dialog.state import Dialog
from edgesip.signal.proxy.edits import Edits
from edgesip.signal.transaction.layer import ClientTx, ServerTx
from edgesip.signal.wire.headers import Headers
from edgesip.signal.wire.message import Request, Response


@dataclass(frozen=True, slots=True)
class Target:
    """Where a copy goes: the URI it will carry, the hops to try in order (RFC 3263), the binding it is of."""

    uri: str
    hops: tuple[Flow, ...]
    nated: bool = False
    ruid: str = ""


@dataclass(slots=True, eq=False)
class Branch:
    """One copy of the request: `name` is its media branch, `final` its answer once it has one.

    `cancel` is the Reason of a CANCEL that has to wait for a provisional response ("none" without one);
    `offer` is the SDP of a response that was an offer, as it came and as it went on; `hung_up` are the To
    tags that answered too late.
    """

    name: str
    target: Target
    hop: int = 0
    client: ClientTx | None = None
    provisional: bool = False
    cancelled: bool = False
    cancel: str = ""
    edits: Edits = field(default_factory=Edits)
    final: Response | None = None
    offer: tuple[bytes, bytes] = (b"", b"")
    hung_up: set[str] = field(default_factory=set)

    @property
    def flow(self) -> Flow:
        """The flow that the branch uses now."""
        return self.target.hops[self.hop]


@dataclass(slots=True, eq=False)
class Fork:
    """The response context: one server transaction and its branches.

    `dialogs` is the one that the request stands in, or those that its answers open; the branches of an
    INVITE are branches of its media.
    """

    server: ServerTx
    request: Request
    inbound: Flow
    branches: list[Branch]
    dialogs: list[Dialog]
    side: str = "caller"
    answered: bool = False
    failed: bool = False
    cancelled: bool = False

    @property
    def in_dialog(self) -> bool:
        """True when the request itself stood inside a dialog."""
        return bool(self.request.headers.to.tag)

    def pending(self) -> list[Branch]:
        """Branches without a final response."""
        return [branch for branch in self.branches if branch.final is None]


def priority(status: int) -> int:
    """tm's order among final responses: the lowest number wins (RFC 3261 §16.7 step 6)."""
    group, rest = divmod(status, 100)
    if group == 2:
        return rest
    if group == 6:
        return 1000 + rest
    if group == 3:
        return 3000 + rest
    if group == 4:
        return (4000 if status in (401, 407, 415, 420, 484) else 4100) + rest
    return 5000 + rest


def best(fork: Fork) -> Response:
    """The final response to send when no branch is pending: challenges gathered."""
    finals = [branch.final for branch in fork.branches if branch.final is not None]
    chosen = min(finals, key=lambda response: priority(response.status))
    if chosen.status in (401, 407):
        return _gathered(chosen, finals)
    return chosen


def _gathered(chosen: Response, finals: Sequence[Response]) -> Response:
    """§16.7 step 7: every challenge of every 401 and 407 goes into the one that is sent."""
    fields = list(chosen.headers.fields)
    for other in finals:
        if other is not chosen and other.status in (401, 407):
            for name in ("WWW-Authenticate", "Proxy-Authenticate"):
                fields += [(name, value) for value in other.headers.all(name)]
    return Response(chosen.status, chosen.reason, Headers(tuple(fields)), chosen.body)
