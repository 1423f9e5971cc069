"""The location table: which contacts an address of record has, and by which flow each is reached.

Holds bindings in memory, in the order in which they are to be tried, and knows which are over. It
refuses to know REGISTER requests (the registrar's room), stores and clocks: times are monotonic
seconds given by the caller; records for a store carry wall time.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from heapq import heapify, heappop, heappush
from typing import Any

from edgesip.address import Addr, Flow
from edgesip.signal.wire.grammar import ParseError
from edgesip.signal.wire.uri import parse_uri

PARTS = 1024  # slices of the table by ruid, for whoever must visit every binding a little at a time
_HEIRS = 10_000  # lost bindings that are remembered until their phone comes back
_SLACK = 1024  # stale entries the expiry heap may hold before it is rebuilt


def aor_key(user: str) -> str:
    """The key of an address of record: its user part with A-Z lowered (`use_domain` 0, `case_sensitive` 0).

    Only ASCII letters fold: KELVIN SIGN is no `k` here.
    """
    if user.isascii():
        return user.lower()
    return user.encode("utf-8", "surrogateescape").lower().decode("utf-8", "surrogateescape")


@dataclass(frozen=True, slots=True)
class Binding:
    """One contact of an address of record (RFC 3261 §10.3, location.md §1.2).

    `expires`, `last_modified` and `last_keepalive` are monotonic seconds (`last_keepalive` 0.0: never
    heard of), `roundtrip` is seconds. `contact` is the URI as registered, `received` the source URI of
    the REGISTER. `q` is -1.0 when unset. `reg_id` 0 means none. `ruid` is ours and never changes.
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

    def record(self, wall_offset: float) -> dict[str, Any]:
        """This binding as a JSON object with wall times; `wall_offset` is wall time minus monotonic time."""
        flow = self.flow
        return {
            "aor": self.aor,
            "contact": self.contact,
            "expires": self.expires + wall_offset,
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
            return cls(
                aor=str(record["aor"]),
                contact=str(record["contact"]),
                expires=float(record["expires"]) - wall_offset,
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
                methods=tuple(str(method) for method in record["methods"]),
                path=str(record["path"]),
                last_modified=float(record["last_modified"]) - wall_offset,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"not a location record: {error!r}") from error


@dataclass(frozen=True, slots=True)
class UsrlocSettings:
    """The rules of the table: `[usrloc]`, and the keys of `[registrar]` that shape an address of record.

    `cseq_delay` is seconds. See `Usrloc.key` for `use_domain`, `case_sensitive` and `realm_prefix`,
    `matching.match` for `matching_mode`.
    """

    matching_mode: int = 0
    use_domain: bool = False
    desc_time_order: bool = False
    cseq_delay: float = 20.0
    case_sensitive: bool = False
    realm_prefix: str = ""


class Usrloc:
    """All bindings: by address of record (best q first, then oldest first), by ruid, by flow, by expiry.

    With `desc_time_order` the last one that registered or refreshed comes first, whatever its q.
    """

    def __init__(self, settings: UsrlocSettings = UsrlocSettings()) -> None:
        self.settings = settings
        self._aors: dict[str, tuple[Binding, ...]] = {}
        self._parts: list[dict[str, Binding]] = [{} for _ in range(PARTS)]
        self._flows: dict[Flow, str | dict[str, None]] = {}
        # One entry per binding as a rule. A refresh leaves it alone: a later expiry is looked up when the
        # entry comes up, and only an earlier one is pushed.
        self._heap: list[tuple[float, str]] = []
        self._size = 0
        self._expired = 0
        self._lost: dict[tuple[str, str], str] = {}
        self._heirs: dict[str, str] = {}

    def __len__(self) -> int:
        return self._size

    @property
    def counters(self) -> dict[str, int]:
        """Kamailio's statistics of the group `usrloc` (location.md §1.7)."""
        return {
            "usrloc:registered_users": len(self._aors),
            "usrloc:location-users": len(self._aors),
            "usrloc:location-contacts": self._size,
            "usrloc:location-expires": self._expired,
        }

    def key(self, user: str, host: str) -> str:
        """The key of an address of record: its user, or user@host with `use_domain`.

        A-Z are lowered, those of the user not with `case_sensitive`; `realm_prefix` comes off the host.
        """
        settings = self.settings
        name = user if settings.case_sensitive else aor_key(user)
        if not settings.use_domain:
            return name
        return f"{name}@{host.lower().removeprefix(settings.realm_prefix)}"

    def key_of(self, text: str) -> str:
        """The key of an address of record as people write it: `alice`, `alice@host`, `sip:alice@host`.

        ValueError when that has no domain and `use_domain` wants one.
        """
        if text.partition(":")[0].lower() in ("sip", "sips", "tel"):
            uri = parse_uri(text)
            user, host = uri.username or "", uri.host
        else:
            user, _, host = text.partition("@")
        if self.settings.use_domain and not host:
            raise ValueError(f"{text} has no domain: with use_domain an address of record is USER@DOMAIN")
        return self.key(user, host)

    def lookup(self, aor: str, now: float) -> list[Binding]:
        """The valid bindings of an address of record, in the order to try them; [] for an unknown one.

        `aor` is what `key` answers; its case matters with `case_sensitive` alone.
        """
        row = self._aors.get(aor if self.settings.case_sensitive else aor_key(aor), ())
        return [binding for binding in row if binding.expires > now]

    def get(self, ruid: str) -> Binding | None:
        """The binding with this ruid, over or not."""
        return self._parts[_part_of(ruid)].get(ruid)

    def present(self, ruid: str) -> Binding | None:
        """The binding with this ruid, or that by which its phone came back after its connection was lost."""
        binding = self.get(ruid)
        for _ in range(8):
            heir = self._heirs.get(ruid) if binding is None else None
            if heir is None:
                break
            ruid, binding = heir, self.get(heir)
        return binding

    def get_all(self) -> list[Binding]:
        """Every binding that has not been removed yet, in no particular order."""
        return [binding for part in self._parts for binding in part.values()]

    def aors(self) -> Iterator[tuple[str, tuple[Binding, ...]]]:
        """Every address of record with its bindings. A snapshot: it may be read while the table changes."""
        return iter(list(self._aors.items()))

    def part(self, index: int) -> Iterable[Binding]:
        """The bindings of slice `index`, 0 to PARTS-1; a binding stays in one slice for its life."""
        return self._parts[index].values()

    def by_flow(self, flow: Flow) -> list[Binding]:
        """The bindings registered over exactly this flow."""
        ruids = self._flows.get(flow, ())
        found = (self.get(ruid) for ruid in ((ruids,) if isinstance(ruids, str) else ruids))
        return [binding for binding in found if binding is not None]

    def one_by_flow(self, flow: Flow) -> Binding | None:
        """Any one binding registered over this flow; a front proxy's flow may carry all of them."""
        ruids = self._flows.get(flow)
        if ruids is None:
            return None
        return self.get(ruids if isinstance(ruids, str) else next(iter(ruids)))

    def put(self, binding: Binding) -> None:
        """Insert, or replace the binding of the same ruid; a changed q puts it behind its equals (§1.2)."""
        ruid = binding.ruid
        part = self._parts[_part_of(ruid)]
        old = part.get(ruid)
        part[ruid] = binding
        if old is None:
            self._size += 1
            self._insert(binding)
            lost = self._lost.pop(_phone_of(binding), None) if self._lost else None
            if lost is not None:
                self._inherit(lost, binding.ruid)
        elif old.aor == binding.aor and old.q == binding.q and not self.settings.desc_time_order:
            row = self._aors[binding.aor]
            self._aors[binding.aor] = tuple(binding if one.ruid == ruid else one for one in row)
        else:
            self._cut(old)
            self._insert(binding)
        if old is None or old.flow != binding.flow:
            if old is not None:
                self._leave(old)
            self._arrive(binding)
        if old is None or binding.expires < old.expires:
            heappush(self._heap, (binding.expires, ruid))
            if len(self._heap) > 2 * self._size + _SLACK:
                self._heap = [(one.expires, one.ruid) for one in self.get_all()]
                heapify(self._heap)

    def remove(self, binding: Binding) -> None:
        """Take out the binding with this one's ruid, whatever became of it meanwhile; none is fine."""
        old = self._parts[_part_of(binding.ruid)].pop(binding.ruid, None)
        if old is None:
            return
        self._size -= 1
        self._cut(old)
        self._leave(old)

    def lose(self, binding: Binding) -> None:
        """Take out a binding whose connection is gone; its calls find the phone when it registers again."""
        self.remove(binding)
        phone = _phone_of(binding)
        heir = next((one for one in self._aors.get(binding.aor, ()) if _phone_of(one) == phone), None)
        if heir is not None:
            self._inherit(binding.ruid, heir.ruid)
            return
        while len(self._lost) >= _HEIRS:
            del self._lost[next(iter(self._lost))]
        self._lost[phone] = binding.ruid

    def _inherit(self, ruid: str, heir: str) -> None:
        while len(self._heirs) >= _HEIRS:
            del self._heirs[next(iter(self._heirs))]
        self._heirs[ruid] = heir

    def heard(self, ruid: str, now: float, roundtrip: float) -> Binding | None:
        """Note that a ping was answered `roundtrip` seconds after it left; None without such a binding."""
        old = self.get(ruid)
        if old is None:
            return None
        binding = replace(old, last_keepalive=now, roundtrip=roundtrip)
        self.put(binding)
        return binding

    def expire(self, now: float, limit: int = 1000) -> list[Binding]:
        """Remove bindings that are over by `now`, at most `limit` in one go, and return them.

        When more are waiting, `deadline()` stays in the past, so that a storm is worked off in slices.
        """
        gone: list[Binding] = []
        while len(gone) < limit and self._settle() and self._heap[0][0] <= now:
            binding = self.get(heappop(self._heap)[1])
            if binding is not None:
                self.remove(binding)
                gone.append(binding)
        self._expired += len(gone)
        return gone

    def deadline(self) -> float | None:
        """When the next binding is over (monotonic seconds), or None when there is none."""
        return self._heap[0][0] if self._settle() else None

    def load(self, bindings: Iterable[Binding]) -> int:
        """Put what a store kept, oldest registration first within an address of record; how many were put."""
        count = 0
        for binding in sorted(bindings, key=lambda one: one.last_modified):
            self.put(binding)
            count += 1
        return count

    def _settle(self) -> bool:
        """Make the top of the heap true (a living binding at its real expiry); False when nothing is left."""
        while self._heap:
            at, ruid = self._heap[0]
            binding = self.get(ruid)
            if binding is not None and binding.expires == at:
                return True
            heappop(self._heap)
            if binding is not None and binding.expires > at:
                heappush(self._heap, (binding.expires, ruid))
        return False

    def _insert(self, binding: Binding) -> None:
        row = self._aors.get(binding.aor, ())
        if self.settings.desc_time_order:
            self._aors[binding.aor] = (binding, *row)
            return
        place = next((index for index, one in enumerate(row) if one.q < binding.q), len(row))
        self._aors[binding.aor] = (*row[:place], binding, *row[place:])

    def _cut(self, old: Binding) -> None:
        row = tuple(one for one in self._aors[old.aor] if one.ruid != old.ruid)
        if row:
            self._aors[old.aor] = row
        else:
            del self._aors[old.aor]

    def _arrive(self, binding: Binding) -> None:
        """Most flows carry one phone, kept as its bare ruid; a front proxy's carries thousands."""
        there = self._flows.get(binding.flow)
        if there is None:
            self._flows[binding.flow] = binding.ruid
        elif isinstance(there, str):
            self._flows[binding.flow] = {there: None, binding.ruid: None}
        else:
            there[binding.ruid] = None

    def _leave(self, old: Binding) -> None:
        there = self._flows.get(old.flow)
        if isinstance(there, dict):
            there.pop(old.ruid, None)
        if not there or there == old.ruid:
            self._flows.pop(old.flow, None)


def _part_of(ruid: str) -> int:
    return zlib.crc32(ruid.encode()) % PARTS


def _phone_of(binding: Binding) -> tuple[str, str]:
    """What tells one phone of a user from another over its connections: its instance, else its Contact
    without the port, which is another one with each connection.
    """
    if binding.instance:
        return (binding.aor, binding.instance)
    try:
        uri = parse_uri(binding.contact)
    except ParseError:
        return (binding.aor, binding.contact)
    return (binding.aor, f"{uri.user or ''}@{uri.host}")
