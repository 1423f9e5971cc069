"""One contact of an address of record, as a value, and as the record that a store keeps of it.

Knows neither the table that it lies in nor REGISTER requests. Times are monotonic seconds; records carry
wall time.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isinf
from typing import Any

from edgesip.address import Addr, Flow

NAT_FLAG = 1 << 6
"""The branch flag of a contact behind NAT, FLB_NATB in Kamailio's default configuration (`nat_bflag`)."""

LONGEST = 2**31 - 1
"""What a permanent contact says when it must say a number of seconds."""


def aor_key(user: str) -> str:
    """The key of an address of record: its user part with A-Z lowered (`use_domain` 0, `case_sensitive` 0).

    Only ASCII letters fold: KELVIN SIGN is no `k` here.
    """
    if user.isascii():
        return user.lower()
    return user.encode("utf-8", "surrogateescape").lower().decode("utf-8", "surrogateescape")


@dataclass(slots=True, init=False, unsafe_hash=True)
class Binding:
    """One contact of an address of record (RFC 3261 §10.3, location.md §1.2).

    `expires`, `last_modified` and `last_keepalive` are monotonic seconds (`expires` inf: permanent,
    `last_keepalive` 0.0: never heard of), `roundtrip` is seconds. `contact` is the URI as registered,
    `received` the source URI of the REGISTER. `q` is -1.0 when unset. `reg_id` 0 means none. `ruid` is
    ours and never changes. `flags` and `cflags` are an operator's own (`ul.add`); `nated` is a flag apart.
    """

    aor: str
    contact: str
    expires: float
    q: float
    call_id: str
    cseq: int
    received: str
    flow: Flow
    user_agent: str
    nated: bool
    instance: str
    reg_id: int
    ruid: str
    methods: tuple[str, ...] = ()
    path: str = ""
    last_modified: float = 0.0
    last_keepalive: float = 0.0
    roundtrip: float | None = None
    flags: int = 0
    cflags: int = 0

    def __init__(
        self,
        aor: str,
        contact: str,
        expires: float,
        q: float,
        call_id: str,
        cseq: int,
        received: str,
        flow: Flow,
        user_agent: str,
        nated: bool,
        instance: str,
        reg_id: int,
        ruid: str,
        methods: tuple[str, ...] = (),
        path: str = "",
        last_modified: float = 0.0,
        last_keepalive: float = 0.0,
        roundtrip: float | None = None,
        flags: int = 0,
        cflags: int = 0,
    ) -> None:
        self.aor = aor
        self.contact = contact
        self.expires = expires
        self.q = q
        self.call_id = call_id
        self.cseq = cseq
        self.received = received
        self.flow = flow
        self.user_agent = user_agent
        self.nated = nated
        self.instance = instance
        self.reg_id = reg_id
        self.ruid = ruid
        self.methods = methods
        self.path = path
        self.last_modified = last_modified
        self.last_keepalive = last_keepalive
        self.roundtrip = roundtrip
        self.flags = flags
        self.cflags = cflags

    @property
    def permanent(self) -> bool:
        """True when it never expires (Kamailio's `expires` 0)."""
        return isinf(self.expires)

    def left(self, now: float) -> int:
        """Whole seconds until it expires, at least 1; `LONGEST` for a permanent one."""
        return LONGEST if isinf(self.expires) else max(1, round(self.expires - now))

    def record(self, wall_offset: float) -> dict[str, Any]:
        """This binding as a JSON object with wall times, `expires` 0 for a permanent one.

        `wall_offset` is wall time minus monotonic time.
        """
        flow = self.flow
        record: dict[str, Any] = {
            "aor": self.aor,
            "contact": self.contact,
            "expires": 0.0 if isinf(self.expires) else self.expires + wall_offset,
            "q": self.q,
            "call_id": self.call_id,
            "cseq": self.cseq,
            "received": self.received,
            "flow": [flow.transport, flow.local.host, flow.local.port, flow.remote.host, flow.remote.port],
            "user_agent": self.user_agent,
            "nated": self.nated,
            "instance": self.instance,
            "reg_id": self.reg_id,
            "ruid": self.ruid,
            "methods": list(self.methods),
            "path": self.path,
            "last_modified": self.last_modified + wall_offset,
        }
        if self.flags or self.cflags:
            record |= {"flags": self.flags, "cflags": self.cflags}
        return record

    @classmethod
    def from_record(cls, record: dict[str, Any], wall_offset: float) -> Binding:
        """The binding a record describes, its times re-based; ValueError when the record is not one.

        What was heard of the phone before (keepalive, round trip) is not kept: a new process asks anew.
        """
        try:
            transport, local_host, local_port, remote_host, remote_port = record["flow"]
            flow = Flow(
                str(transport),
                Addr(str(local_host), int(local_port)),
                Addr(str(remote_host), int(remote_port)),
            )
            expires = float(record["expires"])
            return cls(
                aor=str(record["aor"]),
                contact=str(record["contact"]),
                expires=expires - wall_offset if expires else inf,
                q=float(record["q"]),
                call_id=str(record["call_id"]),
                cseq=int(record["cseq"]),
                received=str(record["received"]),
                flow=flow,
                user_agent=str(record["user_agent"]),
                nated=bool(record["nated"]),
                instance=str(record["instance"]),
                reg_id=int(record["reg_id"]),
                ruid=str(record["ruid"]),
                methods=tuple([str(method) for method in record["methods"]]),
                path=str(record["path"]),
                last_modified=float(record["last_modified"]) - wall_offset,
                flags=int(record.get("flags", 0)),
                cflags=int(record.get("cflags", 0)),
            )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ValueError(f"not a location record: {error!r}") from error
