"""A forwarded request and its branches: what has come back, and which answer is the best.

Holds the response context of RFC 3261 §16.7 and its choice. Sends nothing: `stateful` does what it says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from edgesip.address import Flow
from edgesip.signal.dialog.state import Dialog
from edgesip.signal.dialog.subscriptions import Within
from edgesip.signal.proxy.edits import Edits
from edgesip.signal.transaction.layer import ClientTx, ServerTx
from edgesip.signal.transaction.settings import TmSettings
from edgesip.signal.transaction.tables import State
from edgesip.signal.wire.headers import Headers
from edgesip.signal.wire.message import Request, Response

NOBODY: Final[frozenset[str]] = frozenset()
CHALLENGES: Final = ("WWW-Authenticate", "Proxy-Authenticate")


@dataclass(slots=True, init=False, unsafe_hash=True)
class Target:
    """Where a copy goes: the URI it will carry, the hops to try in order (RFC 3263), the binding it is of.

    `q` is the preference of a contact (-1.0: it has none); None when it is no contact. `routes` are the Route
    that leads to it (RFC 3327). `phone` names the phone that this is one flow of, `others` are the flows to
    try when this one has failed (RFC 5626); `token` when a flow token of ours led here. Never changed.
    """

    uri: str
    hops: tuple[Flow, ...]
    nated: bool = False
    ruid: str = ""
    q: float | None = None
    routes: tuple[str, ...] = ()
    phone: str = ""
    others: tuple[Target, ...] = ()
    token: bool = False

    def __init__(
        self,
        uri: str,
        hops: tuple[Flow, ...],
        nated: bool = False,
        ruid: str = "",
        q: float | None = None,
        routes: tuple[str, ...] = (),
        phone: str = "",
        others: tuple[Target, ...] = (),
        token: bool = False,
    ) -> None:
        self.uri = uri
        self.hops = hops
        self.nated = nated
        self.ruid = ruid
        self.q = q
        self.routes = routes
        self.phone = phone
        self.others = others
        self.token = token


class Branch:
    """One copy of the request: `name` is its media branch, `final` its answer once it has one.

    `cancel` is the Reason of a CANCEL that has to wait for a provisional response ("none" without one);
    `replied` when anything ever came back, `faked` when `final` is our own, `unrelayed` when that is
    because the relay refused it, `dropped` when it may not be chosen any more. `offer` is the SDP of a
    response that was an offer, as it came and as it went on; `hung_up` are the To tags that answered too
    late.
    """

    __slots__ = (
        "cancel",
        "cancelled",
        "client",
        "dropped",
        "edits",
        "faked",
        "final",
        "hop",
        "hung_up",
        "name",
        "offer",
        "provisional",
        "replied",
        "target",
        "unrelayed",
    )

    def __init__(
        self,
        name: str,
        target: Target,
        hop: int = 0,
        client: ClientTx | None = None,
        provisional: bool = False,
        replied: bool = False,
        cancelled: bool = False,
        cancel: str = "",
        edits: Edits | None = None,
        final: Response | None = None,
        faked: bool = False,
        unrelayed: bool = False,
        dropped: bool = False,
        offer: tuple[bytes, bytes] = (b"", b""),
    ) -> None:
        self.name = name
        self.target = target
        self.hop = hop
        self.client = client
        self.provisional = provisional
        self.replied = replied
        self.cancelled = cancelled
        self.cancel = cancel
        self.edits = Edits() if edits is None else edits
        self.final = final
        self.faked = faked
        self.unrelayed = unrelayed
        self.dropped = dropped
        self.offer = offer
        self.hung_up: frozenset[str] = NOBODY

    @property
    def flow(self) -> Flow:
        """The flow that the branch uses now."""
        return self.target.hops[self.hop]


class Fork:
    """The response context: one server transaction and its branches.

    `dialogs` is the one that the request stands in, or those that its answers open; the branches of an
    INVITE are branches of its media. `queue` are the targets that wait until the present ones have failed,
    `until` when no new one is tried any more, `waiting` how many questions the script is thinking about,
    `asked` whether it has seen the present failure, `reply` what it wants answered instead of the best;
    `within` is the subscription that the request stands in or opens.
    """

    __slots__ = (
        "answered",
        "asked",
        "branches",
        "breadth",
        "cancelled",
        "dialogs",
        "edits",
        "failed",
        "inbound",
        "mark",
        "newest",
        "queue",
        "recurse",
        "reply",
        "request",
        "server",
        "side",
        "tm",
        "until",
        "waiting",
        "within",
    )

    def __init__(
        self,
        server: ServerTx,
        request: Request,
        inbound: Flow,
        edits: Edits,
        tm: TmSettings,
        dialogs: list[Dialog],
        side: str,
        until: float,
        mark: str = "",
        breadth: int = 0,
        recurse: bool = False,
        newest: int = 0,
        waiting: int = 0,
        asked: bool = False,
        reply: Response | None = None,
        answered: bool = False,
        failed: bool = False,
        cancelled: bool = False,
    ) -> None:
        self.server = server
        self.request = request
        self.inbound = inbound
        self.edits = edits
        self.tm = tm
        self.dialogs = dialogs
        self.side = side
        self.until = until
        self.mark = mark
        self.breadth = breadth
        self.recurse = recurse
        self.branches: list[Branch] = []
        self.queue: list[tuple[Target, ...]] = []
        self.newest = newest
        self.waiting = waiting
        self.asked = asked
        self.reply = reply
        self.answered = answered
        self.failed = failed
        self.cancelled = cancelled
        self.within: Within | None = None

    @property
    def in_dialog(self) -> bool:
        """True when the request itself stood inside a dialog."""
        return bool(self.request.headers.to.tag)

    def pending(self) -> list[Branch]:
        """Branches without a final response."""
        return [branch for branch in self.branches if branch.final is None]

    def finals(self) -> list[Branch]:
        """Branches whose final response may be chosen."""
        return [branch for branch in self.branches if branch.final is not None and not branch.dropped]

    def untried(self, targets: Sequence[Target]) -> list[Target]:
        """Those of the targets to which nothing was sent (§16.5: one URI, one way, is tried once)."""
        sent = [branch.target for branch in self.branches if branch.client is not None]
        tried = {(target.uri, target.hops) for target in sent}
        return [target for target in targets if (target.uri, target.hops) not in tried]

    def tries(self, uri: str) -> bool:
        """True when this URI has been, or will be, a target."""
        queued = (target for group in self.queue for target in group)
        return any(branch.target.uri == uri for branch in self.branches) or any(
            target.uri == uri for target in queued
        )


def one_flow_each(targets: Sequence[Target]) -> Sequence[Target]:
    """The targets with one flow of each phone, the others behind it (RFC 5626 §7)."""
    if not any(target.phone for target in targets):
        return targets
    first: dict[str, int] = {}
    found: list[Target] = []
    for target in targets:
        if target.phone and (place := first.get(target.phone)) is not None:
            found[place] = replace(found[place], others=(*found[place].others, target))
            continue
        first[target.phone] = len(found)
        found.append(target)
    return found


def groups_of(targets: Sequence[Target], serial: bool, breadth: int) -> list[tuple[Target, ...]]:
    """The targets as they are tried: all at once, or `serial`: neighbours of equal q together, then the next.

    No group is wider than `breadth` (RFC 5393 §5.3.3).
    """
    if not serial and len(targets) <= breadth:
        return [tuple(targets)]
    groups: list[list[Target]] = []
    for target in targets:
        last = groups[-1] if groups else []
        apart = serial and (target.q is None or not last or last[-1].q != target.q)
        if not groups or apart or len(last) >= breadth:
            groups.append([target])
        else:
            last.append(target)
    return [tuple(group) for group in groups]


def fails_over(tm: TmSettings, status: int) -> bool:
    """True for a status that has the next hop tried (RFC 3263 §4.3, `failover_reply_codes`)."""
    return status == 503 or status in tm.failover_codes or status // 100 in tm.failover_classes


def priority(status: int, disable_6xx_block: bool = False) -> int:
    """tm's order among final responses: the lowest number wins (RFC 3261 §16.7 step 6)."""
    group, rest = divmod(status, 100)
    if group == 2:
        return rest
    if group == 6:
        return (6000 if disable_6xx_block else 1000) + rest
    if group == 3:
        return 3000 + rest
    if group == 4:
        return (4000 if status in (401, 407, 415, 420, 484) else 4100) + rest
    return 5000 + rest


def best(fork: Fork) -> Branch | None:
    """The branch whose final response is to be sent when none is pending; None when there is none."""
    tm = fork.tm

    def rank(branch: Branch) -> int:
        assert branch.final is not None
        own = tm.faked_reply_prio if branch.faked else 0
        return priority(branch.final.status, tm.disable_6xx_block) + own

    finals = fork.finals()
    return min(finals, key=rank) if finals else None


def gathered(fork: Fork, chosen: Branch) -> Response:
    """Its final response, with every challenge of every 401 and 407 when it is one (§16.7 step 7)."""
    response = chosen.final
    assert response is not None
    if response.status not in (401, 407) or not fork.tm.aggregate_challenges or len(fork.branches) == 1:
        return response
    fields = list(response.headers.fields)
    for branch in fork.finals():
        other = branch.final
        if branch is not chosen and other is not None and other.status in (401, 407):
            fields += [(name, value) for name in CHALLENGES for value in other.headers.all(name)]
    return Response(response.status, response.reason, Headers(tuple(fields)), response.body)


def let_go(client: ClientTx) -> None:
    """A request that has its answer is kept in case only, in little room; one other than INVITE only absorbs
    repetitions, and what it was for may go.
    """
    if client.owner is None or client.state not in (State.ACCEPTED, State.COMPLETED):
        return
    fork: Fork = client.owner[0]
    if fork.answered:
        fork.request.pack()
    if client.request.method != "INVITE":
        client.owner = None
        if fork.answered:
            fork.server.owner = None


def is_passed_on(fork: Fork, response: Response) -> bool:
    """True when a downstream element made the response: it has our Via on top of those of the request."""
    return len(response.headers.vias) > len(fork.request.headers.vias)


def drop(fork: Fork, which: str) -> None:
    """`t_drop_replies`: all answers so far, those of the last targets, or none are not chosen any more."""
    places = {"a": 0, "l": fork.newest, "n": len(fork.branches)}
    for branch in fork.branches[places[which] :]:
        branch.dropped = True
