"""The location table: which contacts an address of record has, and by which flow each is reached.

Holds bindings in memory, in the order in which they are to be tried, and knows which are over. It
refuses to know REGISTER requests (the registrar's room), stores and clocks: times are monotonic
seconds given by the caller.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from math import inf

from edgesip.address import Flow, source_of
from edgesip.signal.location.agenda import SLICE, Agenda
from edgesip.signal.location.binding import Binding, aor_key
from edgesip.signal.location.glance import Glance, Part, at_a_glance, whole
from edgesip.signal.location.packed import expires_of, pack, with_keepalive
from edgesip.signal.location.shards import Shards
from edgesip.signal.wire.grammar import ParseError
from edgesip.signal.wire.uri import parse_uri

__all__ = ["PARTS", "Binding", "Part", "Usrloc", "UsrlocSettings", "aor_key"]

PARTS = 1024  # slices of the table by ruid, for whoever must visit every binding a little at a time
WARM = 10_000  # bindings, those that changed last, that are kept as values; the others as octets
CROWD = 16  # contacts over one flow that are still the lines of one phone
_HEIRS = 10_000  # lost bindings that are remembered until their phone comes back
_SLACK = 1024  # stale entries the agenda may hold before it is made anew


@dataclass(frozen=True, slots=True)
class UsrlocSettings:
    """The rules of the table: `[usrloc]`, and the keys of `[registrar]` that shape an address of record.

    `cseq_delay` is seconds. See `Usrloc.key` for `use_domain`, `case_sensitive` and `realm_prefix`,
    `matching.match` for `matching_mode`, `saving.Saver` for what becomes of contacts over TCP. `linger` is
    for how many seconds contacts that are over stay in the table, for `use_expired_contacts`.
    """

    matching_mode: int = 0
    use_domain: bool = False
    desc_time_order: bool = False
    cseq_delay: float = 20.0
    handle_lost_tcp: bool = True
    close_expired_tcp: bool = False
    case_sensitive: bool = False
    realm_prefix: str = ""
    linger: float = 0.0


class Usrloc:
    """All bindings: by address of record (best q first, then oldest first), by ruid, by flow, by expiry.

    With `desc_time_order` the last one that registered or refreshed comes first, whatever its q.

    The `warm` bindings that changed last are kept as they are given; of the others the octets of `packed`.
    """

    def __init__(
        self,
        settings: UsrlocSettings = UsrlocSettings(),
        warm: int = WARM,
    ) -> None:
        self.settings = settings
        self._most_warm = warm
        self._aors: Shards[str, str | tuple[str, ...]] = Shards()
        self._parts: list[dict[str, Binding | bytes]] = [{} for _ in range(PARTS)]
        # By the hash of the flow: whoever shares one with another flow is found out when he is looked at.
        self._flows: Shards[int, str | dict[str, None]] = Shards()
        self._warm: dict[str, None] = {}
        # How many bindings a source has, by its hash: sharing one with another source spares both a ban.
        self._sources: Shards[int, int] = Shards()
        # One entry per binding as a rule. A refresh leaves it alone: a later expiry is looked up when the
        # entry comes up, and only an earlier one is added.
        self._agenda = Agenda()
        self._weeding: list[int] = []
        self._size = 0
        self._expired = 0
        self._lost: dict[tuple[str, str], str] = {}
        self._heirs: dict[str, str] = {}

    def __len__(self) -> int:
        return self._size

    @property
    def counters(self) -> dict[str, int]:
        """Kamailio's statistics of the group `usrloc` (location.md §1.7)."""
        users = len(self._aors)
        return {
            "usrloc:registered_users": users,
            "usrloc:location-users": users,
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
        """The key of an address of record as people write it: `alice`, `alice@host`, `sip:alice[@host]`.

        ValueError when that has no domain and `use_domain` wants one.
        """
        if text.partition(":")[0].lower() in ("sip", "sips", "tel"):
            uri = parse_uri(text)
            user, host = (uri.host, "") if uri.user is None else (uri.username or "", uri.host)
        else:
            user, _, host = text.partition("@")
        if self.settings.use_domain and not host:
            raise ValueError(f"{text} has no domain: with use_domain an address of record is USER@DOMAIN")
        return self.key(user, host)

    def lookup(self, aor: str, now: float) -> list[Binding]:
        """The valid bindings of an address of record, in the order to try them; [] for an unknown one.

        `aor` is what `key` answers; its case matters with `case_sensitive` alone.
        """
        key = aor if self.settings.case_sensitive else aor_key(aor)
        return [binding for binding in self._row(key) if binding.expires > now]

    def known(self, aor: str) -> list[Binding]:
        """All bindings of an address of record, those that are over and not yet removed included."""
        return self._row(aor if self.settings.case_sensitive else aor_key(aor))

    def get(self, ruid: str) -> Binding | None:
        """The binding with this ruid, over or not."""
        row = self._parts[_part_of(ruid)].get(ruid)
        return None if row is None else whole(ruid, row)

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
        """Every binding that has not been removed yet, in no particular order: seconds for a million."""
        return [whole(ruid, row) for part in self._parts for ruid, row in part.items()]

    def aors(self) -> Iterator[tuple[str, tuple[Binding, ...]]]:
        """Every address of record with its bindings, each as it is when its turn comes.

        The table may change meanwhile.
        """
        for aor in self._aors:
            row = self._row(aor)
            if row:
                yield aor, tuple(row)

    def part(self, index: int) -> Part:
        """The bindings of slice `index`, 0 to PARTS-1; a binding stays in one slice for its life."""
        return Part(self._parts[index])

    def by_flow(self, flow: Flow) -> list[Binding]:
        """The bindings registered over exactly this flow."""
        return [binding for binding in self._at(flow) if binding.flow == flow]

    def one_by_flow(self, flow: Flow) -> Binding | None:
        """Any one binding registered over this flow; a front proxy's flow may carry all of them."""
        for binding in self._at(flow):
            if binding.flow == flow:
                return binding
        return None

    def occupied(self, flow: Flow) -> bool:
        """True when a phone is registered over this flow: by its hash alone, for who asks all the time."""
        key = hash(flow)
        return key in self._flows.of(key)

    def shares(self, source: str) -> bool:
        """True when any phone is registered from this source (`address.source_of`)."""
        key = hash(source)
        return key in self._sources.of(key)

    def lives(self, user: str, source: str) -> bool:
        """True when this user has a phone at this source, or with `use_domain` anybody has."""
        if not self.shares(source) or self.settings.use_domain:
            return self.shares(source)
        return any(source_of(one.flow.remote.host) == source for one in self.lookup(self.key(user, ""), 0.0))

    def crowded(self, flow: int) -> bool:
        """True when so many are registered over the flow of this hash that none speaks for the others: a
        front proxy.
        """
        there = self._flows.of(flow).get(flow)
        return isinstance(there, dict) and len(there) > CROWD

    def alone(self, flow: int) -> bool:
        """True when one binding at most is registered over the flow of this hash."""
        return not isinstance(self._flows.of(flow).get(flow), dict)

    def put(self, binding: Binding) -> None:
        """Insert, or replace the binding of the same ruid; a changed q puts it behind its equals (§1.2)."""
        ruid = binding.ruid
        part = self._parts[_part_of(ruid)]
        row = part.get(ruid)
        old = None if row is None else whole(ruid, row)
        part[ruid] = binding
        self._warm.pop(ruid, None)
        self._warm[ruid] = None
        if len(self._warm) > self._most_warm:
            longest = next(iter(self._warm))
            del self._warm[longest]
            self._cool(longest)
        if old is None:
            self._size += 1
            self._insert(binding)
            lost = self._lost.pop(_phone_of(binding), None) if self._lost else None
            if lost is not None:
                self._inherit(lost, ruid)
        elif old.aor != binding.aor or old.q != binding.q or self.settings.desc_time_order:
            self._cut(old)
            self._insert(binding)
        if old is None or old.flow != binding.flow:
            if old is not None:
                self._leave(old)
            self._arrive(binding)
        if old is None or binding.expires < old.expires:
            self._note(binding)

    def remove(self, binding: Binding) -> None:
        """Take out the binding with this one's ruid, whatever became of it meanwhile; none is fine."""
        ruid = binding.ruid
        row = self._parts[_part_of(ruid)].pop(ruid, None)
        if row is None:
            return
        self._forget(whole(ruid, row))

    def _forget(self, old: Binding) -> None:
        self._size -= 1
        self._cut(old)
        self._leave(old)

    def lose(self, binding: Binding) -> None:
        """Take out a binding whose connection is gone; its calls find the phone when it registers again."""
        self.remove(binding)
        phone = _phone_of(binding)
        heir = next((one for one in self._row(binding.aor) if _phone_of(one) == phone), None)
        if heir is not None:
            self._inherit(binding.ruid, heir.ruid)
            return
        self.mourn(binding)

    def mourn(self, binding: Binding) -> None:
        """A connection is gone, by a restart maybe: what its phone comes back by is the heir of this one."""
        phone = _phone_of(binding)
        while len(self._lost) >= _HEIRS:
            del self._lost[next(iter(self._lost))]
        self._lost[phone] = binding.ruid

    def _inherit(self, ruid: str, heir: str) -> None:
        while len(self._heirs) >= _HEIRS:
            del self._heirs[next(iter(self._heirs))]
        self._heirs[ruid] = heir

    def heard(self, ruid: str, now: float, roundtrip: float) -> Glance | None:
        """Note that a ping was answered `roundtrip` seconds after it left; None without such a binding."""
        part = self._parts[_part_of(ruid)]
        row = part.get(ruid)
        if row is None:
            return None
        if isinstance(row, Binding):
            row = replace(row, last_keepalive=now, roundtrip=roundtrip)
        else:
            row = with_keepalive(row, now, roundtrip)
        part[ruid] = row
        return at_a_glance(row)

    def expire(self, now: float, limit: int = 1000) -> list[Binding]:
        """Remove bindings that are over by `now`, at most `limit` in one go, and return them.

        When more are waiting, `deadline()` stays in the past, so that a storm is worked off in slices.
        """
        gone: list[Binding] = []
        over = now - self.settings.linger
        while len(gone) < limit and self._settle():
            at, ruid = self._agenda.nearest()
            if at > over:
                break
            self._agenda.drop()
            row = self._parts[_part_of(ruid)].pop(ruid, None)
            if row is not None:
                binding = whole(ruid, row)
                self._forget(binding)
                gone.append(binding)
        self._expired += len(gone)
        return gone

    def deadline(self) -> float | None:
        """When the next binding is over (monotonic seconds), or None when there is none.

        It may be said too early by less than a second while very many are over within one.
        """
        self._settle()
        earliest = self._agenda.earliest()
        return None if earliest is None else earliest + self.settings.linger

    def load(self, bindings: Iterable[Binding]) -> int:
        """Put what a store kept, oldest registration first within an address of record; how many were put."""
        count = 0
        shared: dict[str, None] = {}
        for binding in bindings:
            count += 1
            part = self._parts[_part_of(binding.ruid)]
            aors = self._aors.of(binding.aor)
            if binding.aor not in aors and binding.ruid not in part:
                self._size += 1
                part[binding.ruid] = pack(binding) or binding
                aors[binding.aor] = binding.ruid
                self._arrive(binding)
                self._note(binding)
            else:
                shared[binding.aor] = None
                self.put(binding)
        for aor in shared:
            row = sorted(self._row(aor), key=_age)
            for binding in row:
                self.remove(binding)
            for binding in row:
                self.put(binding)
        return count

    def _row(self, key: str) -> list[Binding]:
        ruids = self._aors.of(key).get(key, ())
        found = [self.get(ruid) for ruid in ((ruids,) if isinstance(ruids, str) else ruids)]
        return [binding for binding in found if binding is not None]

    def _at(self, flow: Flow) -> Iterator[Binding]:
        key = hash(flow)
        ruids = self._flows.of(key).get(key, ())
        for ruid in (ruids,) if isinstance(ruids, str) else ruids:
            binding = self.get(ruid)
            if binding is not None:
                yield binding

    def _cool(self, ruid: str) -> None:
        """This binding has not changed for a while: its octets will do."""
        part = self._parts[_part_of(ruid)]
        row = part.get(ruid)
        if isinstance(row, Binding):
            data = pack(row)
            if data is not None:
                part[ruid] = data

    def _note(self, binding: Binding) -> None:
        agenda = self._agenda
        if not binding.permanent:
            agenda.add(binding.expires, binding.ruid)
        if len(agenda) > 2 * self._size + _SLACK:
            if not self._weeding:
                self._weeding = agenda.seconds()
            if self._weeding:
                agenda.weed(self._weeding.pop(), self._holds)

    def _holds(self, second: int, ruid: str) -> bool:
        """True when a binding ends in this second or later: an earlier end has an entry of its own."""
        row = self._parts[_part_of(ruid)].get(ruid)
        return row is not None and second <= _expires(row) < inf

    def _settle(self) -> bool:
        """Make the first of the agenda true: a living binding at its real expiry; False when there is none
        that is known exactly yet.
        """
        agenda = self._agenda
        budget = SLICE
        while True:
            first = agenda.first()
            if first is None:
                poured = agenda.pour() if budget > 0 else None
                if poured is None:
                    return False
                second, ruids = poured
                budget -= len(ruids)
                for ruid in ruids:
                    self._sort(second, ruid)
                continue
            at, ruid = first
            row = self._parts[_part_of(ruid)].get(ruid)
            expires = _expires(row) if row is not None else inf
            if expires == at:
                return True
            agenda.drop()
            if at < expires < inf:
                agenda.add(expires, ruid)

    def _sort(self, second: int, ruid: str) -> None:
        """What was noted for this second is sorted exactly, or was refreshed meanwhile."""
        row = self._parts[_part_of(ruid)].get(ruid)
        if row is None:
            return
        expires = _expires(row)
        if expires < second + 1:
            self._agenda.sort(expires, ruid)
        elif expires < inf:
            self._agenda.add(expires, ruid)

    def _insert(self, binding: Binding) -> None:
        """Find the place among the contacts of its address of record."""
        aors = self._aors.of(binding.aor)
        if binding.aor not in aors:
            aors[binding.aor] = binding.ruid
            return
        row = self._row(binding.aor)
        place = next((index for index, one in enumerate(row) if one.q < binding.q), len(row))
        if self.settings.desc_time_order:
            place = 0
        names = [one.ruid for one in row]
        aors[binding.aor] = (*names[:place], binding.ruid, *names[place:])

    def _cut(self, old: Binding) -> None:
        aors = self._aors.of(old.aor)
        ruids = aors[old.aor]
        rest = () if isinstance(ruids, str) else tuple([ruid for ruid in ruids if ruid != old.ruid])
        if not rest:
            del aors[old.aor]
        else:
            aors[old.aor] = rest[0] if len(rest) == 1 else rest

    def _arrive(self, binding: Binding) -> None:
        """Most flows carry one phone, kept as its bare ruid; a front proxy's carries thousands."""
        source = hash(source_of(binding.flow.remote.host))
        sources = self._sources.of(source)
        sources[source] = sources.get(source, 0) + 1
        key = hash(binding.flow)
        flows = self._flows.of(key)
        there = flows.get(key)
        if there is None:
            flows[key] = binding.ruid
        elif isinstance(there, str):
            flows[key] = {there: None, binding.ruid: None}
        else:
            there[binding.ruid] = None

    def _leave(self, old: Binding) -> None:
        source = hash(source_of(old.flow.remote.host))
        sources = self._sources.of(source)
        sources[source] -= 1
        if not sources[source]:
            del sources[source]
        key = hash(old.flow)
        flows = self._flows.of(key)
        there = flows.get(key)
        if isinstance(there, dict):
            there.pop(old.ruid, None)
        if not there or there == old.ruid:
            flows.pop(key, None)


def _expires(row: Binding | bytes) -> float:
    return row.expires if isinstance(row, Binding) else expires_of(row)


def _age(binding: Binding) -> float:
    return binding.last_modified


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
