"""The next hop when one fails, destinations that are left alone, loops, and breadth."""

from __future__ import annotations

from pathlib import Path

import pytest
from desks import ALL, RELAYED, house
from talk import SERVER, Packet, Phone, Talk

from edgesip.address import Addr, Flow
from edgesip.script import Forward
from edgesip.signal.proxy.fork import Target, groups_of
from edgesip.signal.transaction.settings import TmSettings
from edgesip.signal.wire.headers import Headers
from edgesip.signal.wire.message import Request, Response, parse

# -- hops ------------------------------------------------------------------------------------------


def hopping(talk: Talk, count: int = 2) -> list[Phone]:
    """Every INVITE goes to a target of several hops."""
    hops = tuple(Flow("udp", SERVER, Addr(f"192.0.2.{number}", 5060)) for number in range(1, count + 1))
    carry = talk.core.carry

    def elsewhere(inbound, decision, targets, now):  # type: ignore[no-untyped-def]
        new = [Target("sip:t@example", hops)] if isinstance(decision, Forward) else targets
        return carry(inbound, decision, new, now)

    talk.core.carry = elsewhere  # type: ignore[method-assign]
    return [talk.phone("t", at=flow.remote) for flow in hops]


@pytest.mark.pure
def test_what_cannot_be_sent_or_comes_back_by_icmp_tries_the_next_hop_at_once(tmp_path: Path) -> None:
    talk, alice, _ = house(tmp_path, RELAYED.format(""))
    first, second = hopping(talk)
    talk >> alice.invite("bob") << (alice, 100)
    octets = talk.sent[0][1]
    talk.request(first, "INVITE")
    talk._step(talk.core.unsendable(octets[:300], talk.now))
    there = talk.request(second, "INVITE")
    talk._step(talk.core.unsendable(octets, talk.now))
    talk.silent()
    talk >> second.reply(there, 180) << (alice, 180)
    talk._step(talk.core.unsendable(bytes(there), talk.now))
    talk.silent()


@pytest.mark.pure
@pytest.mark.parametrize(
    ("status", "codes", "classes"),
    [
        (503, frozenset(), frozenset()),
        (403, frozenset({403}), frozenset()),
        (502, frozenset(), frozenset({5})),
    ],
)
def test_answers_that_try_the_next_hop(
    tmp_path: Path, status: int, codes: frozenset[int], classes: frozenset[int]
) -> None:
    tm = TmSettings(failover_codes=codes, failover_classes=classes)
    talk, alice, _ = house(tmp_path, RELAYED.format(""), tm=tm)
    first, second = hopping(talk)
    talk >> alice.invite("bob") << (alice, 100)
    talk >> first.reply(talk.request(first, "INVITE"), status) << (first, "ACK")
    talk >> second.reply(talk.request(second, "INVITE"), 486) << (second, "ACK") << (alice, 486)


# -- loops and breadth -----------------------------------------------------------------------------


def again(request: Request, uri: str = "") -> bytes:
    """The request as the next proxy would send it back to us."""
    fields = [("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKloop"), *request.headers.fields]
    fields = [one for one in fields if one[0] != "Record-Route"]
    return bytes(Request(request.method, uri or request.uri, Headers(fields), request.body))


def test_a_loop_is_482_and_a_spiral_goes_on(tmp_path: Path) -> None:
    """Scripts may route by who sent it: only what comes from the same host again is a loop."""
    talk, alice, desks = house(tmp_path, RELAYED.format("('sip:d@192.0.2.1',)"))
    talk >> alice.invite("bob") << (alice, 100)
    there = talk.request(desks[0], "INVITE")
    talk >> Packet(desks[0], again(there, f"sip:bob@{SERVER.host}")) << (desks[0], 100)
    twice = talk.request(desks[0], "INVITE")
    looped = again(twice, f"sip:bob@{SERVER.host}").replace(b"z9hG4bKloop", b"z9hG4bKloop2", 1)
    talk >> Packet(desks[0], looped) << (desks[0], 482)
    spiral = again(twice, f"sip:carol@{SERVER.host}").replace(b"z9hG4bKloop", b"z9hG4bKloop3", 1)
    talk >> Packet(desks[0], spiral) << (desks[0], 100) << (desks[0], "INVITE")


def test_two_users_who_forward_to_each_other_end_soon(tmp_path: Path) -> None:
    """RFC 5393 §3: each has two contacts that come back to us as the other's."""
    talk, alice, desks = house(tmp_path, RELAYED.format("('sip:a@192.0.2.1', 'sip:b@192.0.2.2')"))
    talk >> alice.invite("bob")
    messages = 0
    while talk.sent and messages < 500:
        flow, octets = talk.sent.pop(0)
        messages += 1
        message = parse(octets)
        if isinstance(message, Request) and message.method == "INVITE":
            desk = desks[0] if flow.remote == desks[0].at else desks[1]
            back = again(message, f"sip:{message.ruri.user}@{SERVER.host}")
            talk >> Packet(desk, back)
        elif isinstance(message, Response) and message.status > 100 and flow.remote != alice.at:
            vias = [str(via) for via in message.headers.vias[1:]]
            fields = [one for one in message.headers.fields if one[0] != "Via"]
            kept = Headers([*(("Via", via) for via in vias), *fields])
            talk >> Packet(desks[0], bytes(Response(message.status, "x", kept, b"")))
    assert messages <= 60


def test_breadth_is_shared_among_branches_and_never_exceeded(tmp_path: Path) -> None:
    talk, alice, desks = house(tmp_path, RELAYED.format(ALL))
    talk >> alice.invite("bob", headers=[("Max-Breadth", "2")]) << (alice, 100)
    first, second = talk.request(desks[0], "INVITE"), talk.request(desks[1], "INVITE")
    talk.silent()
    assert [one.headers.all("Max-Breadth") for one in (first, second)] == [["1"], ["1"]]
    talk >> desks[0].reply(first, 486) << (desks[0], "ACK")
    talk >> desks[1].reply(second, 486) << (desks[1], "ACK")
    assert talk.request(desks[2], "INVITE").headers.get("Max-Breadth") == "2"
    talk >> alice.invite("bob", headers=[("Max-Breadth", "0")]) << (alice, 440)
    talk >> alice.invite("bob") << (alice, 100)
    assert talk.request(desks[0], "INVITE").headers.get("Max-Breadth") == "20"


def test_groups() -> None:
    def target(q: float | None) -> Target:
        return Target("sip:x", (), q=q)

    qs: list[float | None] = [1.0, 1.0, 0.5, -1.0, -1.0, None, None]
    serial = groups_of([target(q) for q in qs], True, 60)
    assert [[one.q for one in group] for group in serial] == [[1.0, 1.0], [0.5], [-1.0, -1.0], [None], [None]]
    assert [len(group) for group in groups_of([target(None)] * 5, False, 2)] == [2, 2, 1]
    assert [len(group) for group in groups_of([target(None)] * 5, False, 60)] == [5]


class Graves:
    """Stands in for the blocklist."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, float]] = []

    def add(self, transport: str, addr: Addr, now: float, why: str, seconds: float = 0.0) -> None:
        self.told.append((addr.host, why, seconds))


@pytest.mark.pure
@pytest.mark.parametrize(
    ("retry", "blst", "seconds"),
    [
        ("30", (0, 0, 3600), 30),
        ("9 (busy)", (0, 20, 3600), 20),
        ("", (7, 0, 3600), 7),
        ("9999", (0, 0, 60), 60),
    ],
)
def test_who_says_503_is_left_alone_for_a_while(
    tmp_path: Path, retry: str, blst: tuple[float, float, float], seconds: float
) -> None:
    talk, alice, _ = house(tmp_path, RELAYED.format(""), tm=TmSettings(blst_503=blst))
    graves = talk.core._proxy._dead = Graves()
    first, second = hopping(talk)
    talk >> alice.invite("bob") << (alice, 100)
    more = [("Retry-After", retry)] if retry else []
    talk >> first.reply(talk.request(first, "INVITE"), 503, headers=more) << (first, "ACK")
    assert graves.told == [(first.at.host, "said 503", seconds)]
    talk.request(second, "INVITE")
    talk.wait(29)
    talk.sent.clear()
    talk.wait(2) << (alice, 408)
    assert graves.told[1:] == [(second.at.host, "did not answer", 0.0)]
