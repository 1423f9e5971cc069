"""A request on its way through us, from its arrival to the decision, and a response before it goes on.

Values that the core makes, scripts read and `stateful` acts on. Nothing here does anything.
"""

from __future__ import annotations

from typing import NamedTuple

from edgesip.address import Addr, Flow
from edgesip.signal.decision import Forward, Reply
from edgesip.signal.dialog.state import Dialog
from edgesip.signal.dialog.subscriptions import Within
from edgesip.signal.location.usrloc import Binding
from edgesip.signal.proxy.edits import Edits
from edgesip.signal.proxy.fork import Fork
from edgesip.signal.transaction.hop import TxKey
from edgesip.signal.wire.message import REASONS, Request, Response
from edgesip.signal.wire.uri import Uri
from edgesip.signal.wire.values import NameAddr


class Inbound:
    """A request that waits for its decision; `tm` are settings of tm that are its own.

    `foreign` are Routes beyond us, `own` those of ours that brought it here, `side` who sent it in `dialog`;
    `uri` and `dst` are Kamailio's `$ru` and `$du`, which a script may move; `user` and `why` say whose
    credentials were wrong, and how, `proved` whose were right; `nat` are the bits of nat_uac_test that a
    script asked for and that matched; `variables` and `lifetime` (seconds, 0: as usual) are for the dialog
    that it opens; `undone` when the script was asked about a refusal, which it is once; `within` is the
    subscription that it stands in; `token` is the flow that a flow token of ours leads to, `unregistered`
    what the script wants taken out of the location table; `size` the octets that it came in (0: not known);
    `bflags` are the marks of the contacts that it saves, as bits.
    """

    __slots__ = (
        "bflags",
        "cancelled",
        "dialog",
        "dst",
        "dst_transport",
        "edits",
        "flow",
        "foreign",
        "key",
        "lifetime",
        "nat",
        "nated",
        "own",
        "proved",
        "request",
        "ruid",
        "side",
        "size",
        "tm",
        "token",
        "undone",
        "unregistered",
        "uri",
        "user",
        "variables",
        "why",
        "within",
    )

    def __init__(
        self,
        request: Request,
        flow: Flow,
        key: TxKey,
        foreign: tuple[NameAddr, ...] = (),
        own: tuple[Uri, ...] = (),
        dialog: Dialog | None = None,
        side: str = "caller",
        uri: str = "",
        dst: Addr | None = None,
        dst_transport: str = "udp",
        nated: bool = False,
        nat: int = 0,
        ruid: str = "",
        user: str = "",
        why: str = "",
        cancelled: bool = False,
        tm: tuple[tuple[str, float], ...] = (),
        variables: dict[str, str] | None = None,
        lifetime: float = 0.0,
        undone: bool = False,
        edits: Edits | None = None,
        bflags: int = 0,
    ) -> None:
        self.request = request
        self.flow = flow
        self.key = key
        self.foreign = foreign
        self.own = own
        self.dialog = dialog
        self.token: Flow | None = None
        self.unregistered: tuple[Binding, ...] = ()
        self.side = side
        self.uri = uri
        self.dst = dst
        self.dst_transport = dst_transport
        self.nated = nated
        self.nat = nat
        self.ruid = ruid
        self.user = user
        self.why = why
        self.size = 0
        self.proved = ""
        self.cancelled = cancelled
        self.bflags = bflags
        self.tm = tm
        self.variables = variables
        self.lifetime = lifetime
        self.undone = undone
        self.within: Within | None = None
        self.edits = Edits() if edits is None else edits

    @property
    def inside(self) -> bool:
        """True when it stands in a call or in a subscription, so that the `in_dialog` script is asked."""
        return self.dialog is not None or self.within is not None


class Passing:
    """A response that is about to go on; `nated` when the one who sent it is behind a NAT."""

    __slots__ = ("edits", "flow", "fork", "nated", "response")

    def __init__(
        self,
        response: Response,
        flow: Flow,
        fork: Fork,
        nated: bool,
        edits: Edits | None = None,
    ) -> None:
        self.response = response
        self.flow = flow
        self.fork = fork
        self.nated = nated
        self.edits = Edits() if edits is None else edits


class Closed(NamedTuple):
    """A connection that is gone, and the bindings that went with it."""

    flow: Flow
    bindings: tuple[Binding, ...]


class Happened(NamedTuple):
    """Something that the script's hook of this name is told of, where it has one; nothing waits for it."""

    hook: str
    about: Dialog | Binding | Closed


class Undone(NamedTuple):
    """What a script decided on cannot be done: its hook of this name decides again, else `refusal` goes."""

    hook: str
    inbound: Inbound
    refusal: Reply


class Onward(NamedTuple):
    """What a script decided on is done, and this is what becomes of the request now (`Save(then=...)`)."""

    inbound: Inbound
    decision: Forward | Reply


class Note(NamedTuple):
    """One thing that an operator may want to read: `level` is debug, info, warning or error."""

    level: str
    event: str
    call_id: str = ""
    fields: tuple[tuple[str, object], ...] = ()


def note(level: str, event: str, call_id: str = "", **fields: object) -> Note:
    """A `Note` with its fields by name."""
    return Note(level, event, call_id, tuple(fields.items()))


def refused(request: Request, flow: Flow, status: int, reason: str) -> Note:
    """That a request was refused, for the operator to read."""
    return note(
        "info",
        "refused",
        request.headers.call_id,
        method=request.method,
        status=status,
        reason=reason or REASONS.get(status, ""),
        source=str(flow.remote),
        caller=request.headers.get("From") or "",
        ruri=request.uri,
    )


def may_follow(request: Request) -> bool:
    """True for what still belongs to a call that has ended: its ACK, and its BYE again with a password."""
    headers = request.headers
    known = headers.get("Proxy-Authorization") or headers.get("Authorization")
    return request.method == "ACK" or (request.method == "BYE" and known is not None)
