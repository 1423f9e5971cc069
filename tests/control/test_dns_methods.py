"""`dns.*` and `dst_blocklist.*`: what an operator is told of names and of dead destinations."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from edgesip.address import Addr
from edgesip.control.dns import methods_for
from edgesip.control.rpc import Rpc
from edgesip.signal.proxy.blocklist import Blocklist, BlocklistSettings
from edgesip.signal.proxy.dns_cache import CacheSettings, DnsCache
from edgesip.signal.proxy.hops import Answer, Found, Hop, Host, Name, Naptr, Question, Srv

NOW = 1000.0
A = Question("one.example", "A")
ZONE = {
    A: Answer((Host("192.0.2.1"),), NOW + 60),
    Question("_sip._udp.x.example", "SRV"): Answer((Srv(1, 2, 5062, "one.example"),), NOW + 30),
    Question("x.example", "NAPTR"): Answer(
        (Naptr(10, 20, "s", "SIP+D2U", "", "_sip._udp.x.example"),), NOW + 30
    ),
    Question("dead.example", "A"): Answer((), NOW + 5, True),
}


class Twin:
    """A resolver that knows ZONE and takes a moment."""

    def __init__(self) -> None:
        self.cache = DnsCache(CacheSettings())
        self.names: list[Name] = []

    async def answer(self, question: Question) -> Answer:
        await asyncio.sleep(0)
        return ZONE.get(question, Answer((), NOW + 30))

    async def explain(self, name: Name) -> tuple[Found, dict[Question, Answer]]:
        self.names.append(name)
        if name.host == "dead.example":
            return Found((), True), {}
        return Found((Hop("udp", Addr("192.0.2.1", 5062)), Hop("tcp", Addr("2001:db8::1", 5060)))), {
            A: ZONE[A]
        }


class Desk:
    """The methods over a twin; `call` gives the result, or the error."""

    def __init__(self) -> None:
        self.twin = Twin()
        self.blocklist = Blocklist(BlocklistSettings())
        self.rpc = Rpc(methods_for(self.twin, self.blocklist, lambda: NOW))

    def call(self, method: str, *params: Any) -> Any:
        return asyncio.run(self._call(method, params))

    async def _call(self, method: str, params: tuple[Any, ...]) -> Any:
        request = {"jsonrpc": "2.0", "method": method, "params": params, "id": 1}
        octets = b""
        for piece in self.rpc.pieces(json.dumps(request).encode()):
            if isinstance(piece, bytes):
                octets += piece
            else:
                await asyncio.wait((piece,))
        answer = json.loads(octets)
        return answer.get("result", answer.get("error"))


def test_one_record_type_of_one_name() -> None:
    desk = Desk()
    assert desk.call("dns.lookup", "a", "One.Example.") == {
        "name": "one.example",
        "type": "A",
        "expires": 60,
        "negative_entry": False,
        "failed": False,
        "records": [{"rr_ip": "192.0.2.1"}],
    }
    (srv,) = desk.call("dns.lookup", "SRV", "_sip._udp.x.example")["records"]
    assert srv == {"rr_name": "one.example", "rr_port": 5062, "rr_priority": 1, "rr_weight": 2}
    (naptr,) = desk.call("dns.lookup", "NAPTR", "x.example")["records"]
    assert (naptr["rr_service"], naptr["rr_replacement"]) == ("SIP+D2U", "_sip._udp.x.example")


def test_what_is_not_there_and_what_nobody_says() -> None:
    desk = Desk()
    assert desk.call("dns.lookup", "A", "none.example")["code"] == 404
    assert desk.call("dns.lookup", "A", "dead.example")["code"] == 500
    assert desk.call("dns.lookup", "MX", "one.example") == {
        "code": 400,
        "message": "Invalid type: MX; there are A, AAAA, SRV, NAPTR",
    }
    assert desk.call("dns.lookup")["code"] == -32602


def test_where_a_call_would_go() -> None:
    desk = Desk()
    desk.blocklist.add("tcp", Addr("2001:db8::1", 5060), NOW, "did not answer")
    result = desk.call("dns.lookup", "sip:x.example;transport=tcp")
    assert result["hops"] == [
        {"proto": "udp", "ip": "192.0.2.1", "port": 5062, "blocked": ""},
        {"proto": "tcp", "ip": "2001:db8::1", "port": 5060, "blocked": "did not answer"},
    ]
    assert [one["name"] for one in result["answers"]] == ["one.example"]
    assert desk.call("dns.lookup", "dead.example")["failed"]
    desk.call("dns.lookup", "x.example:5070")
    assert desk.twin.names == [Name("x.example", None, "tcp"), Name("dead.example"), Name("x.example", 5070)]
    assert desk.call("dns.lookup", "x.example:high")["code"] == -32602
    assert desk.call("dns.lookup", "sip:")["code"] == -32602


def test_the_cache_is_shown_and_emptied() -> None:
    desk = Desk()
    desk.twin.cache.put(A, (Host("192.0.2.1"),), 60, NOW - 10)
    desk.twin.cache.put(Question("none.example", "A"), (), 60, NOW)
    first, second = desk.call("dns.list")
    assert (first["expires"], first["last_used"], first["negative_entry"]) == (50, 10, False)
    assert (second["records"], second["negative_entry"]) == ([], True)
    assert desk.call("dns.view") == [first, second]
    assert desk.call("dns.mem_info") == {"used": desk.twin.cache.used, "max": 512000}
    assert desk.call("dns.delete_all") == "Ok. Answers forgotten: 2"
    assert desk.call("dns.list") == []


def test_the_blocklist_is_shown_added_to_and_emptied() -> None:
    desk = Desk()
    desk.blocklist.add("udp", Addr("192.0.2.1", 5060), NOW, "did not answer")
    assert desk.call("dst_blocklist.add", "2001:db8::9", 5061, "TLS").startswith("Ok.")
    assert desk.call("dst_blocklist.add", "192.0.2.9", "5060", "udp", 90).startswith("Ok.")
    rows = desk.call("dst_blocklist.view")
    assert [(one["ip"], one["port"], one["proto"], one["expires"], one["permanent"]) for one in rows] == [
        ("192.0.2.1", 5060, "udp", 60, False),
        ("2001:db8::9", 5061, "tls", "never", True),
        ("192.0.2.9", 5060, "udp", 90, True),
    ]
    memory = desk.call("dst_blocklist.mem_info")
    assert 0 < memory["used"] < memory["max"]
    assert desk.call("dst_blocklist.delete_all") == "Ok. Destinations forgotten: 3"
    assert desk.call("dst_blocklist.view") == []


@pytest.mark.parametrize(
    "params",
    [
        (),
        ("192.0.2.1",),
        ("192.0.2.1", 5060),
        ("name.example", 5060, "udp"),
        ("192.0.2.1", 0, "udp"),
        ("192.0.2.1", 65536, "udp"),
        ("192.0.2.1", "+5", "udp"),
        ("192.0.2.1", 5060, "sctp"),
        ("192.0.2.1", 5060, "udp", -1),
    ],
)
def test_what_is_no_destination_is_refused(params: tuple[Any, ...]) -> None:
    desk = Desk()
    assert desk.call("dst_blocklist.add", *params)["code"] == -32602
    assert len(desk.blocklist) == 0
