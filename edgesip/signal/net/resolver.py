"""Names to hops: the one place that asks DNS, and the home of dnspython.

Bounded: at most `PENDING` questions at a time, one for each name and type however many wait for it, each
with a deadline. What to ask is `proxy.hops`' affair, what to remember `proxy.dns_cache`'s. Knows no message.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.resolver

from edgesip.address import Addr, parse_ip
from edgesip.signal.net.dns_hosts import HOSTS, HostsFile, Watched
from edgesip.signal.proxy.dns_cache import CacheSettings, DnsCache
from edgesip.signal.proxy.hops import (
    Answer,
    Found,
    Host,
    Name,
    Naptr,
    Question,
    Record,
    Settings,
    Srv,
    plan,
)

PENDING = 100
"""Questions under way at a time; one more is not asked."""
CHAIN = 10
"""CNAMEs followed for one question."""
MOST_RECORDS = 255
"""Records of one answer that are kept (as in Kamailio)."""
RESOLV_CONF = Path("/etc/resolv.conf")
PORT = 53
ADDRESSES = ("A", "AAAA")

Log = Callable[[str, str, dict[str, Any]], None]
UNASKED = Answer((), 0.0, True)


class Unanswered(Exception):
    """No server had an opinion; the message says what the last of them said."""


@dataclass(frozen=True, slots=True)
class AskSettings:
    """How DNS is asked: `retr_no` times, `retr_time` seconds each, of the `servers` in turn.

    Without servers those of resolv.conf are asked. `slow_query_ms` 0: slow answers are not told.
    """

    servers: tuple[Addr, ...] = ()
    retr_time: int = 1
    retr_no: int = 4
    slow_query_ms: int = 0

    @property
    def deadline(self) -> float:
        """Seconds after which a question has no answer, and a call no more time."""
        return float(self.retr_time * self.retr_no)


@dataclass(slots=True)
class Seen:
    """What one resolution was told, before what the cache has: an answer good for 0 s is used once."""

    resolver: Resolver
    told: dict[Question, Answer] = field(default_factory=dict)

    def get(self, question: Question) -> Answer | None:
        """The answer, or None: it has to be asked."""
        answer = self.told.get(question)
        if answer is None:
            answer = self.resolver.known(question)
            if answer is not None:
                self.told[question] = answer
        return answer


class Resolver:
    """Finds the hops for names. `settings` are RFC 3263's, `ask` DNS's; `hosts` and `conf` are files."""

    def __init__(
        self,
        settings: Settings,
        cache: CacheSettings,
        ask: AskSettings,
        log: Log,
        hosts: Path = HOSTS,
        conf: Path = RESOLV_CONF,
    ) -> None:
        self._settings = settings
        self.cache = DnsCache(cache)
        self._ask_settings = ask
        self._log = log
        self._hosts = HostsFile(hosts)
        self._conf = Watched(conf)
        self._servers = ask.servers
        self._first = 0
        self._pending: dict[Question, asyncio.Task[Answer]] = {}
        self.counters: dict[str, int] = {"dns:failed_dns_request": 0, "dns:slow_dns_request": 0}

    # -- what others ask ---------------------------------------------------------------------------

    def ready(self, name: Name) -> Found | None:
        """The hops for a name when nothing has to be asked for them; None: `resolve` it."""
        found = plan(name, self._settings, self._begun(), os.urandom)
        return found if isinstance(found, Found) else None

    async def resolve(self, name: Name) -> Found:
        """The hops for a name, after `AskSettings.deadline` seconds at most: those known by then."""
        return (await self.explain(name))[0]

    async def explain(self, name: Name) -> tuple[Found, dict[Question, Answer]]:
        """The same, with the answers that led there."""
        end = time.monotonic() + self._ask_settings.deadline
        seen = self._begun()
        while True:
            found = plan(name, self._settings, seen, os.urandom)
            if isinstance(found, Found):
                return found, seen.told
            await self._answers(found, seen, end)

    async def answer(self, question: Question) -> Answer:
        """The answer to one question, from the hosts file, the cache or DNS."""
        self._hosts.look()
        known = self.known(question)
        return known if known is not None else await asyncio.shield(self._question(question))

    def known(self, question: Question) -> Answer | None:
        """What the hosts file or the cache say."""
        return self._hosts.get(question) or self.cache.get(question, time.monotonic())

    @property
    def pending(self) -> int:
        """Questions under way."""
        return len(self._pending)

    async def close(self) -> None:
        """Give up what is under way."""
        tasks = list(self._pending.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begun(self) -> Seen:
        """A resolution that has been told nothing yet; the hosts file is looked at once for all of it."""
        self._hosts.look()
        return Seen(self)

    # -- questions ---------------------------------------------------------------------------------

    async def _answers(self, questions: Sequence[Question], seen: Seen, end: float) -> None:
        """Ask all at once; who has not been answered in time counts as having failed, for this time.

        Only addresses may use up the time that is left: a NAPTR or SRV that nobody answers leaves half of it
        to ask for what does without.
        """
        tasks = {question: self._question(question) for question in questions}
        left = max(0.0, end - time.monotonic())
        last = all(question.kind in ADDRESSES for question in questions)
        await asyncio.wait(tasks.values(), timeout=left if last else left / 2)
        for question, task in tasks.items():
            done = task.done() and not task.cancelled()
            seen.told[question] = task.result() if done else UNASKED

    def _question(self, question: Question) -> asyncio.Future[Answer]:
        """The task that asks, which others may have begun; beyond the bound the failure itself."""
        task = self._pending.get(question)
        if task is not None:
            return task
        if len(self._pending) >= PENDING:
            self.counters["dns:failed_dns_request"] += 1
            refused: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
            refused.set_result(UNASKED)
            return refused
        task = asyncio.ensure_future(self._ask(question))
        self._pending[question] = task
        return task

    async def _ask(self, question: Question) -> Answer:
        begun = time.monotonic()
        try:
            records, ttl = await asyncio.wait_for(self._read(question), self._ask_settings.deadline)
        except (Unanswered, dns.exception.DNSException, TimeoutError) as error:
            self.counters["dns:failed_dns_request"] += 1
            why = str(error) or "no answer"
            self._log("warning", "DNS failed", {"name": question.name, "type": question.kind, "why": why})
            return self.cache.put_failed(question, time.monotonic())
        finally:
            self._pending.pop(question, None)
        now = time.monotonic()
        taken, slow = (now - begun) * 1000, self._ask_settings.slow_query_ms
        if slow and taken > slow:
            self.counters["dns:slow_dns_request"] += 1
            told = {"name": question.name, "type": question.kind, "ms": round(taken)}
            self._log("warning", "DNS slow", told)
        return self.cache.put(question, records, ttl, now)

    async def _read(self, question: Question) -> tuple[tuple[Record, ...], float]:
        """The records of a name and the seconds they are good for, CNAMEs followed."""
        try:
            name = dns.name.from_text(question.name)
        except (dns.exception.DNSException, UnicodeError):
            return (), float("inf")  # no name that DNS could have
        kind = dns.rdatatype.from_text(question.kind)
        ttl = float("inf")
        for _ in range(CHAIN):
            reply = await self._exchange(name, kind)
            chain = reply.resolve_chaining()
            ttl = min(ttl, chain.minimum_ttl)
            if chain.answer is not None:
                records = tuple(one for data in list(chain.answer)[:MOST_RECORDS] for one in _record(data))
                self._keep_addresses(reply, records)
                return records, ttl
            cut = chain.canonical_name != name and not reply.authority
            if reply.rcode() == dns.rcode.NXDOMAIN or not cut:
                return (), ttl
            name = chain.canonical_name
        return (), ttl

    def _keep_addresses(self, reply: dns.message.QueryMessage, records: Sequence[Record]) -> None:
        """Addresses that came along with SRV records, of the targets that those name."""
        targets = {record.target for record in records if isinstance(record, Srv)}
        now = time.monotonic()
        for rows in reply.additional:
            question = Question(_text(rows.name), dns.rdatatype.to_text(rows.rdtype))
            if question.name not in targets or question.kind not in ADDRESSES:
                continue
            if self.known(question) is None:
                found = tuple(one for data in list(rows)[:MOST_RECORDS] for one in _record(data))
                self.cache.put(question, found, rows.ttl, now)

    async def _exchange(self, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> dns.message.QueryMessage:
        """Ask the servers in turn, the one that answered last first, until one has an opinion."""
        servers = self._configured()
        refusal = Unanswered("there is no DNS server")
        first, bad = self._first, 0
        for index in range(first, first + self._ask_settings.retr_no):
            if bad >= len(servers):
                break
            server = servers[index % len(servers)]
            try:
                reply, _ = await dns.asyncquery.udp_with_fallback(
                    dns.message.make_query(name, kind),
                    server.host,
                    float(self._ask_settings.retr_time),
                    server.port,
                    ignore_unexpected=True,
                    ignore_errors=True,
                )
            except (dns.exception.DNSException, OSError, EOFError) as error:
                refusal = Unanswered(f"{server}: {error}")
                continue
            if reply.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
                assert isinstance(reply, dns.message.QueryMessage)
                self._first = index % len(servers)
                return reply
            refusal = Unanswered(f"{server}: {dns.rcode.to_text(reply.rcode())}")
            bad += 1
        raise refusal

    def _configured(self) -> tuple[Addr, ...]:
        """The servers of the profile, else those of resolv.conf as it is now."""
        if self._ask_settings.servers or not self._conf.changed():
            return self._servers
        rows = [line.split() for line in self._conf.lines()]
        named = [row[1] for row in rows if len(row) > 1 and row[0] == "nameserver"]
        there = [host for host in named if parse_ip(host.partition("%")[0]) is not None]
        self._servers = tuple(Addr(host, PORT) for host in there)  # fe80::1%eth0 keeps its interface
        return self._servers


def _record(data: Any) -> list[Record]:
    """A record as we know it; an address in one spelling, so that it cannot pass for another (threat 24)."""
    kind = data.rdtype
    if kind in (dns.rdatatype.A, dns.rdatatype.AAAA):
        ip = parse_ip(data.address)
        return [Host(str(ip))] if ip is not None else []
    if kind == dns.rdatatype.SRV:
        return [Srv(data.priority, data.weight, data.port, _text(data.target))]
    flags, service, regexp = (
        one.decode("ascii", "replace") for one in (data.flags, data.service, data.regexp)
    )
    return [Naptr(data.order, data.preference, flags, service, regexp, _text(data.replacement))]


def _text(name: dns.name.Name) -> str:
    """A name as questions have it: lower case, without the last dot; the root is empty."""
    return name.to_text(omit_final_dot=True).lower().rstrip(".")
