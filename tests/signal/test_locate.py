"""Where a request may go: into hops that do not lead inside and are not known to be dead."""

from __future__ import annotations

import re

import pytest

from edgesip.address import Addr, Flow, is_internal, is_sendable
from edgesip.signal.proxy.blocklist import Blocklist, BlocklistSettings
from edgesip.signal.proxy.fork import Target
from edgesip.signal.proxy.hops import Found, Hop, Name
from edgesip.signal.proxy.inbound import Inbound
from edgesip.signal.proxy.locate import Locator, Unresolved
from edgesip.signal.proxy.myself import Myself
from edgesip.signal.proxy.upstream import Upstream
from edgesip.signal.wire.headers import Headers
from edgesip.signal.wire.message import Request
from edgesip.signal.wire.uri import parse_uri

HERE = Addr("203.0.113.1", 5060)
HERE6 = Addr("2001:db8::1", 5060)
SECURE = Addr("203.0.113.1", 5061)
LOOP = Addr("127.0.0.1", 5060)
PUBLIC = Addr("198.51.100.7", 5060)
MYSELF = Myself(
    (("udp", HERE), ("tcp", HERE), ("tls", SECURE), ("udp", HERE6), ("udp", LOOP)),
)
DEAD, NEXT = Addr("192.0.2.1", 5060), Addr("192.0.2.2", 5060)
NOW = 100.0


def route(host: str) -> str:
    return LOOP.host if host.startswith("127.") else HERE.host


def locator(*, trusted: str = "", failover: bool = True) -> Locator:
    blocklist = Blocklist(BlocklistSettings())
    return Locator(MYSELF, route, lambda ruid: None, blocklist, lambda host: host == trusted, failover)


def inbound(uri: str = "sip:x@example.net", source: Addr = PUBLIC, method: str = "INVITE") -> Inbound:
    request = Request(method, uri, Headers(()), b"")
    return Inbound(request, Flow("udp", LOOP if source.host == LOOP.host else HERE, source), (), uri=uri)


def where(rooms: Locator, uri: str, source: Addr = PUBLIC) -> list[str]:
    (found,) = rooms.locate(inbound(uri, source), (), NOW) or (None,)
    assert not isinstance(found, Unresolved)
    return [f"{flow.transport}:{flow.remote}" for flow in found.hops] if found else []


def named(rooms: Locator, *ips: str, source: Addr = PUBLIC, method: str = "INVITE") -> list[str]:
    wanted = Unresolved("sip:x@name.example", Name("name.example"))
    hops = tuple(Hop("udp", Addr(ip, 5060)) for ip in ips)
    asked = inbound("sip:x@name.example", source, method)
    targets, _ = rooms.settle(asked, [wanted], {wanted.name: Found(hops)}, NOW)
    return [flow.remote.host for target in targets for flow in target.hops]


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("sip:x@192.0.2.9", "udp:192.0.2.9:5060"),
        ("sip:x@192.0.2.9:5070;transport=tcp", "tcp:192.0.2.9:5070"),
        ("sip:x@192.0.2.9;transport=tls", "tls:192.0.2.9:5061"),
        ("sips:x@192.0.2.9", "tls:192.0.2.9:5061"),
        ("sips:x@192.0.2.9;transport=tcp", "tls:192.0.2.9:5061"),
        ("sip:x@name.example;maddr=192.0.2.8", "udp:192.0.2.8:5060"),
    ],
)
def test_an_address_needs_no_dns(uri: str, expected: str) -> None:
    assert where(locator(), uri) == [expected]


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("sip:x@Name.example", Name("name.example")),
        ("sip:x@name.example:5070;transport=TCP", Name("name.example", 5070, "tcp")),
        ("sips:x@name.example", Name("name.example", None, "", True)),
        ("sip:x@192.0.2.1;maddr=name.example", Name("name.example")),
    ],
)
def test_a_name_is_left_to_the_resolver(uri: str, name: Name) -> None:
    assert locator().locate(inbound(uri), (), NOW) == [Unresolved(uri, name)]


def test_who_is_spoken_to_over_tls_has_to_prove_the_name_of_the_uri() -> None:
    rooms = locator()
    wanted = Unresolved("sips:x@name.example", Name("name.example", None, "", True))
    known = {wanted.name: Found((Hop("tls", Addr("192.0.2.1", 5061)),))}
    ((target,), silent) = rooms.settle(inbound(wanted.uri), [wanted], known, NOW)
    assert (target.hops[0].transport, target.hops[0].peer, silent) == ("tls", "name.example", False)
    assert target.hops[0].local == Addr(HERE.host, 0)


@pytest.mark.parametrize(
    ("uri", "told", "name"),
    [
        ("sip:trunk.example", "sip:5551@trunk.example", Name("trunk.example")),
        (
            "sip:trunk.example;transport=tcp",
            "sip:5551@trunk.example;transport=tcp",
            Name("trunk.example", None, "tcp"),
        ),
        ("sip:[2001:db8::9]:5070", "sip:5551@[2001:db8::9]:5070", Name("2001:db8::9", 5070)),
    ],
)
def test_a_call_to_the_upstream_says_over_what_it_goes(uri: str, told: str, name: Name) -> None:
    upstream = Upstream(parse_uri(uri), re.compile("[0-9]+"))
    assert (upstream.uri_for("5551"), upstream.name) == (told, name)


# -- threat 24

SPELLINGS = [
    "127.0.0.1",
    "127.1.2.3",
    "0.0.0.0",
    "0.1.2.3",
    "::1",
    "::",
    "::ffff:127.0.0.1",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::7f00:1",
    "2002:7f00:1::",
    "fe80::1",
    "ff02::1",
    "224.0.0.1",
    "255.255.255.255",
    "240.0.0.1",
]
PRIVATE = [
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "::ffff:10.0.0.1",
    "64:ff9b::a00:1",
    "2002:a00:1::",
    "fd00::1",
    "fec0::1",
    "198.18.0.1",
]


@pytest.mark.parametrize("ip", SPELLINGS)
def test_no_spelling_of_nowhere_is_sent_to(ip: str) -> None:
    assert not is_sendable(ip)
    assert named(locator(), ip) == []
    assert where(locator(), f"sip:x@[{ip}]" if ":" in ip else f"sip:x@{ip}") == []


@pytest.mark.parametrize("ip", PRIVATE)
def test_a_name_leads_nobody_outside_to_the_inside(ip: str) -> None:
    assert is_internal(ip)
    assert named(locator(), ip, "192.0.2.1") == ["192.0.2.1"]


def test_inside_is_for_those_inside_and_for_what_is_trusted() -> None:
    assert named(locator(), "10.0.0.1", source=Addr("10.9.9.9", 5060)) == ["10.0.0.1"]
    assert named(locator(), "10.0.0.1", source=Addr("127.0.0.1", 5080)) == ["10.0.0.1"]
    assert named(locator(trusted="10.0.0.1"), "10.0.0.1", "10.0.0.2") == ["10.0.0.1"]


def test_loopback_is_for_loopback() -> None:
    assert named(locator(), "127.0.0.1", source=Addr("10.9.9.9", 5060)) == []
    assert named(locator(), "127.0.0.9", source=Addr("127.0.0.1", 5080)) == ["127.0.0.9"]


def test_we_are_never_our_own_next_hop() -> None:
    assert named(locator(), HERE.host, "192.0.2.1") == ["192.0.2.1"]


# -- the blocklist


def test_the_dead_are_left_out_as_long_as_another_lives() -> None:
    rooms = locator()
    rooms.blocklist.add("udp", DEAD, NOW, "did not answer")
    assert named(rooms, DEAD.host, NEXT.host) == [NEXT.host]
    assert named(rooms, DEAD.host) == [DEAD.host]
    rooms.blocklist.add("udp", NEXT, NOW + 5, "did not answer")
    assert named(rooms, NEXT.host, DEAD.host) == [DEAD.host], "the one whose time is over first"
    assert where(rooms, f"sip:x@{DEAD.host}") == [f"udp:{DEAD}"]


def test_what_an_operator_blocks_is_not_sent_to_at_all_but_for_ends_of_calls() -> None:
    rooms = locator()
    rooms.blocklist.order("udp", DEAD, NOW)
    assert named(rooms, DEAD.host, NEXT.host) == [NEXT.host]
    assert named(rooms, DEAD.host) == []
    assert named(rooms, DEAD.host, method="BYE") == [DEAD.host]
    assert where(rooms, f"sip:x@{DEAD.host}") == []


def test_without_failover_there_is_one_hop() -> None:
    assert named(locator(), DEAD.host, NEXT.host) == [DEAD.host, NEXT.host]
    assert named(locator(failover=False), DEAD.host, NEXT.host) == [DEAD.host]


def test_dns_that_is_silent_is_told() -> None:
    wanted = Unresolved("sip:x@name.example", Name("name.example"))
    other = Target("sip:y@192.0.2.1", (Flow("udp", HERE, DEAD),))
    answer = {wanted.name: Found((), True)}
    assert locator().settle(inbound(), [other, wanted], answer, NOW) == ([other], True)
