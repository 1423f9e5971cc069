"""From a name to the hops that lead there: RFC 3263, with the choice among SRV records of RFC 2782.

Pure: `plan` is given what is known of DNS and answers either the hops in the order to try them or the
questions that are still open; whoever asks them calls again. Knows no server, no cache, no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from edgesip.address import Addr, parse_ip
from edgesip.signal.wire.uri import Uri

MOST_RECORDS: Final = 32
"""SRV records of one name, and hops of one target, that are looked at (as in Kamailio)."""

DEFAULT_PORTS: Final = {"udp": 5060, "tcp": 5060, "tls": 5061, "sctp": 5060, "ws": 80, "wss": 443}
SERVICES: Final = {"sip+d2u": "udp", "sip+d2t": "tcp", "sips+d2t": "tls"}
"""NAPTR services (RFC 3263 §4.1) by the transport they stand for; SCTP is not spoken here."""
SRV_PREFIX: Final = {"udp": "_sip._udp.", "tcp": "_sip._tcp.", "tls": "_sips._tcp."}

IPV4_ONLY, IPV6_ONLY, PREFER_IPV6 = 1, 2, 4
"""The bits of `dns_cache_flags`."""

Entropy = Callable[[int], bytes]


class Question(NamedTuple):
    """What DNS is asked: a name in lower case without its last dot, and A, AAAA, SRV or NAPTR."""

    name: str
    kind: str


class Host(NamedTuple):
    """An A or AAAA record: an IP literal."""

    ip: str


class Srv(NamedTuple):
    """An SRV record (RFC 2782); the target "" says that the service is not to be had."""

    priority: int
    weight: int
    port: int
    target: str


class Naptr(NamedTuple):
    """A NAPTR record (RFC 3403)."""

    order: int
    preference: int
    flags: str
    service: str
    regexp: str
    replacement: str


Record = Host | Srv | Naptr


class Answer(NamedTuple):
    """What DNS said, good until `expires` (monotonic seconds).

    Without records the name or the type does not exist; `failed` when nobody said anything.
    """

    records: tuple[Record, ...]
    expires: float
    failed: bool = False


class Known(Protocol):
    """Whoever may know the answer to a question."""

    def get(self, question: Question) -> Answer | None:
        """The answer, or None: it has to be asked."""
        ...


class Name(NamedTuple):
    """What a URI says of its next hop, whose host is a name as a rule.

    `port` and `transport` ("" without a parameter) as written; `secure` for a sips: URI.
    """

    host: str
    port: int | None = None
    transport: str = ""
    secure: bool = False


def name_of(uri: Uri) -> Name:
    """What a URI says of its next hop (RFC 3263 §4); the host may be an IP literal."""
    transport = (uri.param("transport") or "").lower()
    return Name(uri.param("maddr") or uri.host, uri.port, transport, uri.scheme == "sips")


class Hop(NamedTuple):
    """One place to send to."""

    transport: str
    addr: Addr


class Found(NamedTuple):
    """The hops, best first; `failed` when DNS did not answer all that was asked."""

    hops: tuple[Hop, ...] = ()
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    """What of RFC 3263 is done; `ways` are the (transport, family) that there is a listener for.

    A negative preference takes a transport out; the parameters of the same names are Kamailio's.
    """

    ways: frozenset[tuple[str, int]]
    preferences: Mapping[str, int] = field(default_factory=lambda: {"udp": 30, "tcp": 20, "tls": 10})
    try_naptr: bool = True
    naptr_ignore_rfc: bool = False
    srv_lb: bool = True
    try_ipv6: bool = True
    cache_flags: int = 0


class Planner:
    """One walk through what is known; `missing` are the questions that have no answer yet."""

    __slots__ = ("_entropy", "_known", "_settings", "failed", "missing")

    def __init__(self, settings: Settings, known: Known, entropy: Entropy) -> None:
        self._settings = settings
        self._known = known
        self._entropy = entropy
        self.missing: list[Question] = []
        self.failed = False

    def hops(self, name: Name) -> list[Hop]:
        """The hops for a name; to be thrown away as long as something is missing."""
        host = name.host.lower().rstrip(".")
        transports = self._transports(name)
        if not transports or not host:
            return []
        literal = parse_ip(host)
        if literal is not None:
            port = name.port or DEFAULT_PORTS[transports[0]]
            return [Hop(transports[0], Addr(str(literal), port))]
        if name.port is not None:
            return self._addresses(transports[0], host, name.port)
        if not name.transport and self._settings.try_naptr:
            found = self._by_naptr(host, transports)
            if found or self.missing:
                return found
        refused = False
        found = []
        for transport, records in self._services(host, transports):
            refused = refused or _is_refusal(records)
            found += self._targets(transport, records)
        if found or refused or self.missing:
            return found
        return self._addresses(transports[0], host, DEFAULT_PORTS[transports[0]])

    def _transports(self, name: Name) -> list[str]:
        """The transports that may be used, most wanted first (RFC 3263 §4.1)."""
        wanted = name.transport
        if name.secure and wanted in ("", "tcp"):
            wanted = "tls"
        ours = {transport for transport, _ in self._settings.ways}
        if wanted:
            return [wanted] if wanted in ours and wanted in DEFAULT_PORTS else []
        preferred = self._settings.preferences
        usable = [one for one in SRV_PREFIX if one in ours and preferred.get(one, -1) >= 0]
        return sorted(usable, key=lambda one: -preferred[one])

    def _by_naptr(self, host: str, transports: Sequence[str]) -> list[Hop]:
        rows: list[tuple[int, int, int, str, str]] = []
        for record in self._ask(host, "NAPTR"):
            if not isinstance(record, Naptr) or record.flags.lower() != "s":
                continue
            transport = SERVICES.get(record.service.lower(), "")
            if transport in transports and record.replacement:
                ours = transports.index(transport)
                first = ours if self._settings.naptr_ignore_rfc else record.order
                rows.append((first, record.order, record.preference, transport, record.replacement))
        found: list[Hop] = []
        for _, _, _, transport, replacement in sorted(rows)[:MOST_RECORDS]:
            found += self._targets(transport, self._ask(replacement.lower(), "SRV"))
        return found

    def _services(self, host: str, transports: Sequence[str]) -> list[tuple[str, tuple[Record, ...]]]:
        """The SRV records of each transport that may have some."""
        named = [transport for transport in transports if transport in SRV_PREFIX]
        return [(transport, self._ask(SRV_PREFIX[transport] + host, "SRV")) for transport in named]

    def _targets(self, transport: str, records: Sequence[Record]) -> list[Hop]:
        found: list[Hop] = []
        for record in ordered(records, self._settings.srv_lb, self._entropy):
            found += self._addresses(transport, record.target, record.port)
        return found

    def _addresses(self, transport: str, host: str, port: int) -> list[Hop]:
        found: list[Hop] = []
        for family in self._families(transport):
            for record in self._ask(host, "AAAA" if family == 6 else "A"):
                if isinstance(record, Host):
                    found.append(Hop(transport, Addr(record.ip, port)))
        return found

    def _families(self, transport: str) -> list[int]:
        settings = self._settings
        families = [6, 4] if settings.cache_flags & PREFER_IPV6 else [4, 6]
        if settings.cache_flags & IPV4_ONLY or not settings.try_ipv6:
            families = [4]
        elif settings.cache_flags & IPV6_ONLY:
            families = [6]
        return [family for family in families if (transport, family) in settings.ways]

    def _ask(self, name: str, kind: str) -> tuple[Record, ...]:
        question = Question(name, kind)
        answer = self._known.get(question)
        if answer is None:
            self.missing.append(question)
            return ()
        self.failed = self.failed or answer.failed
        return answer.records


def plan(name: Name, settings: Settings, known: Known, entropy: Entropy) -> Found | list[Question]:
    """The hops for a name, or the questions whose answers are needed before there can be any."""
    walk = Planner(settings, known, entropy)
    hops = walk.hops(name)
    if walk.missing:
        return list(dict.fromkeys(walk.missing))
    return Found(tuple(dict.fromkeys(hops))[:MOST_RECORDS], walk.failed)


def ordered(records: Sequence[Record], balanced: bool, entropy: Entropy) -> list[Srv]:
    """SRV records in the order to try them: by priority, within one by weight (RFC 2782).

    `balanced` draws within a priority, so that each record is first as often as its weight says; else the
    heaviest is first.
    """
    services = [one for one in records if isinstance(one, Srv) and one.target and one.port]
    services.sort(key=lambda one: (one.priority, -one.weight))
    del services[MOST_RECORDS:]
    if not balanced:
        return services
    found: list[Srv] = []
    for priority in dict.fromkeys(one.priority for one in services):
        found += _drawn([one for one in services if one.priority == priority], entropy)
    return found


def _drawn(group: list[Srv], entropy: Entropy) -> list[Srv]:
    """RFC 2782's walk: draw in 0..sum of weights, take the first whose running sum reaches it.

    Those without a weight stand in front in an order of their own draw: they are taken when 0 is drawn.
    """
    found: list[Srv] = []
    while len(group) > 1:
        light = [one for one in group if not one.weight]
        heavy = [one for one in group if one.weight]
        if light:
            chance = _below(len(light), entropy)
            light = light[chance:] + light[:chance]
        drawn = _below(sum(one.weight for one in heavy) + 1, entropy)
        chosen, running = (light or heavy)[0], 0
        for one in light + heavy:
            running += one.weight
            if running >= drawn:
                chosen = one
                break
        found.append(chosen)
        group.remove(chosen)
    return found + group


def _below(bound: int, entropy: Entropy) -> int:
    """A number from 0 to `bound` - 1, each as likely as the others (to one in 2^32)."""
    return int.from_bytes(entropy(8), "big") % bound


def _is_refusal(records: Sequence[Record]) -> bool:
    """RFC 2782: one SRV record whose target is the root says that there is no such service."""
    return len(records) == 1 and isinstance(records[0], Srv) and not records[0].target
