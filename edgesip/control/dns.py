"""The methods `dns.*` and `dst_blocklist.*`: what is known of names, and where nothing is sent to.

By Kamailio's names and with its field names. Knows of DNS only what the resolver tells.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from edgesip.address import Addr, parse_hostport, parse_ip
from edgesip.control.rpc import INVALID_PARAMS, Method, RpcFault, text
from edgesip.signal.proxy.blocklist import NEVER, Blocklist
from edgesip.signal.proxy.dns_cache import DnsCache
from edgesip.signal.proxy.hops import Answer, Found, Host, Name, Question, Record, Srv, name_of
from edgesip.signal.wire.grammar import ParseError
from edgesip.signal.wire.uri import parse_uri

TYPES = ("A", "AAAA", "SRV", "NAPTR")
TRANSPORTS = ("udp", "tcp", "tls")


class Asked(Protocol):
    """What these methods need of the resolver."""

    cache: DnsCache

    async def answer(self, question: Question) -> Answer:
        """The answer to one question."""
        ...

    async def explain(self, name: Name) -> tuple[Found, dict[Question, Answer]]:
        """The hops for a name, and the answers that led to them."""
        ...


def methods_for(resolver: Asked, blocklist: Blocklist, now: Callable[[], float]) -> list[Method]:
    """The table of methods; `now` is the monotonic clock."""
    asked = _Questions(resolver, blocklist, now)
    return [
        Method("dns.delete_all", asked.delete_all, "Forget every answer of DNS."),
        Method("dns.list", asked.known, "Every answer of DNS that is remembered, with its records."),
        Method(
            "dns.lookup",
            asked.lookup,
            "dns.lookup TYPE NAME: one answer of DNS (A, AAAA, SRV, NAPTR); "
            "dns.lookup NAME|HOST:PORT|URI: the hops of a call there, in order, and the answers behind them.",
        ),
        Method("dns.mem_info", asked.mem_info, "Octets that the DNS cache uses, and may use."),
        Method("dns.view", asked.known, "The same as dns.list."),
        Method(
            "dst_blocklist.add",
            asked.block,
            "dst_blocklist.add IP PORT PROTO [SECONDS]: send nothing there; without SECONDS until deleted.",
        ),
        Method("dst_blocklist.delete_all", asked.unblock, "Forget every dead destination."),
        Method("dst_blocklist.mem_info", asked.blocked_mem, "Octets that the blocklist uses, and may use."),
        Method(
            "dst_blocklist.view", asked.blocked, "Every destination that is left out, why, and for how long."
        ),
    ]


@dataclass(frozen=True, slots=True)
class _Questions:
    """One method each; parameters as a list, the result as JSON values."""

    resolver: Asked
    blocklist: Blocklist
    now: Callable[[], float]

    def lookup(self, params: list[Any]) -> asyncio.Future[dict[str, Any]]:
        if len(params) < 2:
            return asyncio.ensure_future(self._hops(_name(text(params, 0, "NAME"))))
        kind, name = text(params, 0, "TYPE").upper(), text(params, 1, "NAME")
        if kind not in TYPES:
            raise RpcFault(400, f"Invalid type: {kind}; there are {', '.join(TYPES)}")
        return asyncio.ensure_future(self._one(Question(name.lower().rstrip("."), kind)))

    async def _one(self, question: Question) -> dict[str, Any]:
        answer = await self.resolver.answer(question)
        if answer.failed:
            raise RpcFault(500, f"DNS did not answer: {question.kind} {question.name}")
        if not answer.records:
            raise RpcFault(404, f"Not found: {question.kind} {question.name}")
        return _entry(question, answer, self.now())

    async def _hops(self, name: Name) -> dict[str, Any]:
        found, answers = await self.resolver.explain(name)
        now = self.now()
        hops = []
        for transport, addr in found.hops:
            dead = self.blocklist.find(transport, addr, now)
            hops.append(
                {
                    "proto": transport,
                    "ip": addr.host,
                    "port": addr.port,
                    "blocked": dead.why if dead is not None else "",
                }
            )
        return {
            "name": name.host,
            "failed": found.failed,
            "hops": hops,
            "answers": [_entry(question, answer, now) for question, answer in answers.items()],
        }

    def known(self, params: list[Any]) -> Iterator[dict[str, Any]]:
        now = self.now()
        return (
            _entry(question, entry.answer, now)
            | {"size_bytes": entry.octets, "last_used": int(now - entry.last_used)}
            for question, entry in self.resolver.cache.entries(now)
        )

    def mem_info(self, params: list[Any]) -> dict[str, int]:
        return {"used": self.resolver.cache.used, "max": self.resolver.cache.max}

    def delete_all(self, params: list[Any]) -> str:
        return f"Ok. Answers forgotten: {self.resolver.cache.clear()}"

    def block(self, params: list[Any]) -> str:
        ip, port, transport = (
            parse_ip(text(params, 0, "IP")),
            _number(params, 1, "PORT"),
            _transport(params, 2),
        )
        if ip is None or not 0 < port < 65536:
            raise RpcFault(INVALID_PARAMS, "Invalid params: IP PORT PROTO must be an address")
        seconds = float(_number(params, 3, "SECONDS")) if len(params) > 3 else NEVER
        self.blocklist.order(transport, Addr(str(ip), port), self.now(), seconds)
        return "Ok. Nothing is sent there"

    def unblock(self, params: list[Any]) -> str:
        return f"Ok. Destinations forgotten: {self.blocklist.clear()}"

    def blocked_mem(self, params: list[Any]) -> dict[str, int]:
        return {"used": self.blocklist.used, "max": self.blocklist.max}

    def blocked(self, params: list[Any]) -> Iterator[dict[str, Any]]:
        now = self.now()
        return (
            {
                "ip": addr.host,
                "port": addr.port,
                "proto": transport,
                "expires": "never" if one.expires == NEVER else int(one.expires - now),
                "permanent": one.ordered,
                "reason": one.why,
            }
            for transport, addr, one in self.blocklist.entries(now)
        )


def _name(wanted: str) -> Name:
    """A host, HOST:PORT or a SIP URI as the next hop that it names."""
    if wanted.lower().startswith(("sip:", "sips:")):
        try:
            return name_of(parse_uri(wanted))
        except ParseError as error:
            raise RpcFault(INVALID_PARAMS, f"Invalid params: {error.reason}") from None
    where = parse_hostport(wanted)
    if where is None:
        raise RpcFault(INVALID_PARAMS, "Invalid params: NAME must be a host, HOST:PORT or a SIP URI")
    return Name(where[0], where[1])


def _number(params: list[Any], index: int, name: str) -> int:
    value = text(params, index, name)
    if not (value.isascii() and value.isdigit() and len(value) < 10):
        raise RpcFault(INVALID_PARAMS, f"Invalid params: {name} must be a number")
    return int(value)


def _transport(params: list[Any], index: int) -> str:
    transport = text(params, index, "PROTO").lower()
    if transport not in TRANSPORTS:
        raise RpcFault(INVALID_PARAMS, f"Invalid params: PROTO must be one of {', '.join(TRANSPORTS)}")
    return transport


def _entry(question: Question, answer: Answer, now: float) -> dict[str, Any]:
    """One answer, by the field names of Kamailio's `dns.view`."""
    left = answer.expires - now
    return {
        "name": question.name,
        "type": question.kind,
        "expires": "never" if left == NEVER else max(0, int(left)),
        "negative_entry": not answer.records,
        "failed": answer.failed,
        "records": [_record(one) for one in answer.records],
    }


def _record(record: Record) -> Mapping[str, Any]:
    if isinstance(record, Host):
        return {"rr_ip": record.ip}
    if isinstance(record, Srv):
        return {
            "rr_name": record.target or ".",
            "rr_port": record.port,
            "rr_priority": record.priority,
            "rr_weight": record.weight,
        }
    return {
        "rr_order": record.order,
        "rr_preference": record.preference,
        "rr_flags": record.flags,
        "rr_service": record.service,
        "rr_regexp": record.regexp,
        "rr_replacement": record.replacement or ".",
    }
