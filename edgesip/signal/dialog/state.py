"""A dialog as Kamailio's dialog module sees it: five states, two legs, and the table that moves it.

Holds `Dialog` and `Leg`, and their records. Knows nothing of transactions, sockets or media ports.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Any, NamedTuple

from edgesip.address import Addr, Flow
from edgesip.signal.wire.headers import Headers
from edgesip.signal.wire.values import CSeq
from edgesip.wish import Wish


class DialogState(IntEnum):
    """The numbers that `dlg.list` shows."""

    UNCONFIRMED = 1
    EARLY = 2
    CONFIRMED_NA = 3
    CONFIRMED = 4
    DELETED = 5


class On(Enum):
    """What moves a dialog."""

    PROVISIONAL = "1xx with a tag"
    ANSWER = "2xx"
    FAILURE = "final response of 300 or above, or none"
    ACK = "ACK"
    BYE = "BYE"
    TIMEOUT = "lifetime, silence or an order to end"


_S = DialogState
TRANSITIONS: dict[tuple[DialogState, On], DialogState] = {
    (_S.UNCONFIRMED, On.PROVISIONAL): _S.EARLY,
    (_S.EARLY, On.PROVISIONAL): _S.EARLY,
    (_S.UNCONFIRMED, On.ANSWER): _S.CONFIRMED_NA,
    (_S.EARLY, On.ANSWER): _S.CONFIRMED_NA,
    (_S.CONFIRMED_NA, On.ANSWER): _S.CONFIRMED_NA,
    (_S.CONFIRMED, On.ANSWER): _S.CONFIRMED,
    (_S.UNCONFIRMED, On.FAILURE): _S.DELETED,
    (_S.EARLY, On.FAILURE): _S.DELETED,
    (_S.CONFIRMED_NA, On.ACK): _S.CONFIRMED,
    (_S.CONFIRMED, On.ACK): _S.CONFIRMED,
    (_S.CONFIRMED_NA, On.BYE): _S.DELETED,
    (_S.CONFIRMED, On.BYE): _S.DELETED,
    (_S.CONFIRMED_NA, On.TIMEOUT): _S.DELETED,
    (_S.CONFIRMED, On.TIMEOUT): _S.DELETED,
}


@dataclass(slots=True, init=False, unsafe_hash=True)
class Leg:
    """One end: header texts, remote target, the route set beyond us, last CSeq used, the flow to it.

    Never changed once made, though not frozen: that would cost more than all else here.

    `ruid` names the binding that it registered by, where it has one. `routes` are Route values in the order
    in which we would send them to this end.
    """

    uri: str
    tag: str = ""
    contact: str = ""
    routes: tuple[str, ...] = ()
    cseq: int = 0
    flow: Flow | None = None
    nated: bool = False
    ruid: str = ""

    def __init__(
        self,
        uri: str,
        tag: str = "",
        contact: str = "",
        routes: tuple[str, ...] = (),
        cseq: int = 0,
        flow: Flow | None = None,
        nated: bool = False,
        ruid: str = "",
    ) -> None:
        self.uri = uri
        self.tag = tag
        self.contact = contact
        self.routes = routes
        self.cseq = cseq
        self.flow = flow
        self.nated = nated
        self.ruid = ruid

    def with_cseq(self, cseq: int) -> Leg:
        """The same end after its next request."""
        return Leg(self.uri, self.tag, self.contact, self.routes, cseq, self.flow, self.nated, self.ruid)

    def with_contact(self, contact: str) -> Leg:
        """The same end, to be reached at another remote target."""
        return Leg(self.uri, self.tag, contact, self.routes, self.cseq, self.flow, self.nated, self.ruid)

    def with_flow(self, flow: Flow) -> Leg:
        """The same end, to be reached over another flow."""
        return Leg(self.uri, self.tag, self.contact, self.routes, self.cseq, flow, self.nated, self.ruid)


class Success(NamedTuple):
    """A 2xx to an INVITE as it went on: by what it is known when it comes again, and its octets."""

    from_tag: str | None
    to_tag: str | None
    cseq: CSeq
    octets: bytes

    def comes_again(self, headers: Headers) -> bool:
        """True when these are of the same response: to one request, by one answerer (RFC 3261 §13.3.1.4)."""
        tags = (headers.from_.tag, headers.to.tag)
        return (self.from_tag, self.to_tag) == tags and self.cseq == headers.cseq


@dataclass(slots=True, init=False, eq=False)
class Dialog:
    """What one To tag made of one INVITE. Times are monotonic seconds, 0 when the moment has not come.

    `branch` names its media, `preview` is the SDP of its last 1xx. `h_entry` and `h_id` are the same for all
    dialogs of an INVITE, which the cookie in Record-Route names. `turn` tells apart turns of a spiral: the
    same INVITE passing through us again on its way. `named` is what else names its media (`Wish.key`), `wish`
    what was wanted of the relay with an INVITE that has no SDP. `leaving` is when the first BYE came, which
    is not answered yet. `success` is the last 2xx to an INVITE, to be sent again when it comes again.
    """

    call_id: str
    ruri: str
    caller: Leg
    callee: Leg
    h_entry: int
    h_id: int
    init: float
    state: DialogState = DialogState.UNCONFIRMED
    branch: str = ""
    turn: int = 0
    named: str = ""
    relayed: bool = False
    variables: dict[str, str] = field(default_factory=dict)
    start: float = 0.0
    end: float = 0.0
    lifetime: float = 43200.0
    expires: float = 0.0
    ended_by: str = ""
    late: str = ""
    preview: bytes = b""
    leaving: float = 0.0
    success: Success | None = None
    wish: Wish | None = None
    did: str = field(init=False, default="")
    """The dialog module's Record-Route cookie: `h_entry.h_id` in reversed hex."""

    def __init__(
        self,
        call_id: str,
        ruri: str,
        caller: Leg,
        callee: Leg,
        h_entry: int,
        h_id: int,
        init: float,
        state: DialogState = DialogState.UNCONFIRMED,
        branch: str = "",
        turn: int = 0,
        named: str = "",
        relayed: bool = False,
        variables: dict[str, str] | None = None,
        start: float = 0.0,
        end: float = 0.0,
        lifetime: float = 43200.0,
        expires: float = 0.0,
        ended_by: str = "",
        late: str = "",
        preview: bytes = b"",
        leaving: float = 0.0,
        success: Success | None = None,
        wish: Wish | None = None,
    ) -> None:
        self.call_id = call_id
        self.ruri = ruri
        self.caller = caller
        self.callee = callee
        self.h_entry = h_entry
        self.h_id = h_id
        self.init = init
        self.state = state
        self.branch = branch
        self.turn = turn
        self.named = named
        self.relayed = relayed
        self.variables = {} if variables is None else variables
        self.start = start
        self.end = end
        self.lifetime = lifetime
        self.expires = expires
        self.ended_by = ended_by
        self.late = late
        self.preview = preview
        self.leaving = leaving
        self.success = success
        self.wish = wish
        self.did = f"{h_entry:x}"[::-1] + "." + f"{h_id:x}"[::-1]

    @property
    def key(self) -> tuple[str, str]:
        """What names the call: Call-ID and the caller's tag."""
        return (self.call_id, self.caller.tag)

    @property
    def media_key(self) -> tuple[str, str]:
        """What names its media session: the same, the turn of a spiral behind the first, and its name."""
        if self.named:
            return (self.call_id, f"{self.caller.tag};{self.turn};{self.named}")
        return (self.call_id, f"{self.caller.tag};{self.turn}" if self.turn else self.caller.tag)

    def leg(self, side: str) -> Leg:
        """The leg of a side, `caller` or `callee`."""
        return self.caller if side == "caller" else self.callee

    def put_leg(self, side: str, leg: Leg) -> None:
        """Put a changed leg in place of the old one."""
        if side == "caller":
            self.caller = leg
        else:
            self.callee = leg

    def moved(self, on: On) -> bool:
        """Take the transition of an event; False, and nothing happens, when the state has none."""
        state = TRANSITIONS.get((self.state, on))
        if state is None:
            return False
        self.state = state
        return True

    def sibling(self) -> Dialog:
        """A dialog of the same INVITE that nobody has answered yet."""
        return Dialog(
            self.call_id,
            self.ruri,
            self.caller,
            Leg(self.callee.uri),
            self.h_entry,
            self.h_id,
            self.init,
            turn=self.turn,
            named=self.named,
            relayed=self.relayed,
            variables=self.variables,
            lifetime=self.lifetime,
            wish=self.wish,
        )

    def record(self, wall_offset: float) -> dict[str, Any]:
        """The dialog as a JSON object with wall times (seconds since the epoch)."""
        return {
            "call_id": self.call_id,
            "ruri": self.ruri,
            "caller": _leg_record(self.caller),
            "callee": _leg_record(self.callee),
            "h_entry": self.h_entry,
            "h_id": self.h_id,
            "state": int(self.state),
            "branch": self.branch,
            "turn": self.turn,
            "named": self.named,
            "relayed": self.relayed,
            "variables": dict(self.variables),
            "lifetime": self.lifetime,
            "late": self.late,
            "ended_by": self.ended_by,
            **{
                name: (value + wall_offset if value else 0.0)
                for name, value in (
                    ("init", self.init),
                    ("start", self.start),
                    ("end", self.end),
                    ("expires", self.expires),
                )
            },
        }

    @classmethod
    def from_record(cls, record: dict[str, Any], wall_offset: float) -> Dialog:
        """The dialog of a record, its times on this process's clock."""
        values = dict(record)
        for name in ("init", "start", "end", "expires"):
            values[name] = values[name] - wall_offset if values[name] else 0.0
        values["state"] = DialogState(values["state"])
        for side in ("caller", "callee"):
            leg = dict(values[side])
            leg["routes"] = tuple(leg["routes"])
            leg["flow"] = _flow_of(leg["flow"])
            values[side] = Leg(**leg)
        return cls(**values)


def other(side: str) -> str:
    """The far side."""
    return "callee" if side == "caller" else "caller"


def _leg_record(leg: Leg) -> dict[str, Any]:
    return {
        "uri": leg.uri,
        "tag": leg.tag,
        "contact": leg.contact,
        "routes": leg.routes,
        "cseq": leg.cseq,
        "flow": _flow_record(leg.flow),
        "nated": leg.nated,
        "ruid": leg.ruid,
    }


def _flow_record(flow: Flow | None) -> list[Any] | None:
    return [flow.transport, list(flow.local), list(flow.remote)] if flow else None


def _flow_of(value: list[Any] | None) -> Flow | None:
    return Flow(value[0], Addr(*value[1]), Addr(*value[2])) if value else None
