"""The loop around the core: tm's methods, requests of our own, slow decisions told 100, ICMP errors."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_service import House, visit, written

from edgesip.address import Addr, Flow
from edgesip.control.rpc import Method, RpcFault
from edgesip.control.tm import methods_for
from edgesip.signal.net.links import UdpLinks
from edgesip.signal.wire.message import Request, parse, reply_to


def method(house: House, name: str) -> Any:
    table = {one.name: one for one in methods_for(house.service, lambda: house.talk.now)}
    found = table[name]
    assert isinstance(found, Method)
    return found.call


def opened(links: UdpLinks, loop: asyncio.AbstractEventLoop, host: str = "127.0.0.1") -> Addr:
    """The links listen at a port that was free."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind((host, 0))
        ours = Addr(host, free.getsockname()[1])
    links.open([ours], loop)
    return ours


async def until(done: Callable[[], object]) -> None:
    """Wait until that is so, but not for ever: what then fails is the test's own question."""
    for _ in range(500):
        if done():
            return
        await asyncio.sleep(0.01)


def sent_request(house: House) -> Request:
    (message,) = [parse(data) for _, data in house.sent if not data.startswith(b"SIP/2.0")]
    assert isinstance(message, Request)
    return message


def test_an_invite_hears_100_after_200_ms_of_a_slow_script(tmp_path: Path) -> None:
    script = written(
        tmp_path, "async def request(call):\n    await asyncio.sleep(0.4)\n    return Reply(486)\n"
    )
    house = House(script)
    alice = house.talk.phone("alice")
    packets = [alice.invite("bob"), alice.request("OPTIONS", "sip:bob@203.0.113.1")]
    asyncio.run(visit(house, packets, lambda: len(house.sent) == 3))
    assert house.starts()[0].startswith(b"SIP/2.0 100 trying")
    assert house.starts()[1:] == [b"SIP/2.0 486 Busy Here"] * 2


def test_an_async_failure_hook_is_awaited_and_one_that_raises_changes_nothing(tmp_path: Path) -> None:
    for fails in (False, True):
        script = written(
            tmp_path,
            "def request(call):\n    return Forward(('sip:d@192.0.2.1',))\n"
            "async def failure(call):\n    await asyncio.sleep(0.01)\n"
            + ("    1 / 0\n" if fails else "    return Reply(480, 'Later')\n"),
        )
        house = House(script)

        async def go(house: House = house) -> None:
            house.service.start(asyncio.get_running_loop())
            house.receive(house.talk.phone("alice").invite("bob"))
            busy = reply_to(sent_request(house), 486, to_tag="x")
            house.service.receive(
                bytes(busy), Flow("udp", Addr("203.0.113.1", 5060), Addr("192.0.2.1", 5060))
            )
            await house.until(lambda: house.starts()[-1][:9] == b"SIP/2.0 4")
            await house.service.stop()

        asyncio.run(go())
        assert house.starts()[-1] == (b"SIP/2.0 486 Busy Here" if fails else b"SIP/2.0 480 Later")
        assert [event for level, event, _ in house.lines if level == "error"] == (
            ["event hook failed"] if fails else []
        )


def test_a_request_by_order_and_its_answer() -> None:
    house = House()

    async def go() -> None:
        house.service.start(asyncio.get_running_loop())
        params = [
            "NOTIFY",
            "sip:phone@192.0.2.7",
            "sip:198.51.100.9",
            ".",
            "Event: check-sync\\r\\nX: 1",
            "hi",
        ]
        waiting = method(house, "tm.t_uac_wait")(params)
        await house.until(lambda: house.sent)
        request = sent_request(house)
        assert (request.uri, request.body) == ("sip:phone@192.0.2.7", b"hi")
        assert request.headers.get("Event") == "check-sync"
        assert house.sent[0][0].remote == Addr("198.51.100.9", 5060)
        house.service.receive(bytes(reply_to(request, 489, to_tag="x")), house.sent[0][0])
        told = await waiting
        assert (told["code"], told["reason"]) == (489, "Bad Event")
        assert (
            method(house, "tm.t_uac_start")(["OPTIONS", "sip:a@unknown.example", ".", ".", "."]) == "Ok. Sent"
        )
        with pytest.raises(RpcFault, match="Unresolvable"):
            await method(house, "tm.t_uac_wait")(["OPTIONS", "sip:a@unknown.example", ".", ".", "."])
        await house.service.stop()

    asyncio.run(go())


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("tm.t_uac_start", ["ACK", "sip:a@192.0.2.1", ".", ".", "."]),
        ("tm.t_uac_start", ["OPTIONS", "nonsense", ".", ".", "."]),
        ("tm.t_uac_start", ["OPTIONS", "sip:a@192.0.2.1", ".", "udp:1.2.3.4:5060", "."]),
        ("tm.t_uac_start", ["OPTIONS", "sip:a@192.0.2.1", ".", ".", "no header"]),
        ("tm.cancel", ["call", "x"]),
        ("tm.cancel", ["call", "1"]),
        ("tm.reply_callid", ["200", "OK", "call", "1", ".", "."]),
        ("tm.reply_callid", ["486", "Busy", "call", "1", ".", "."]),
        ("tm.reply_callid", ["486", "Busy\r\nX: y", "call", "1", ".", "."]),
        ("tm.reply_callid", ["486", "Busy", "call", "1", "a b", "."]),
    ],
)
def test_orders_that_cannot_be_done_are_faults(name: str, params: list[str]) -> None:
    with pytest.raises(RpcFault):
        method(House(), name)(params)


def test_pending_requests_are_listed_and_ended(tmp_path: Path) -> None:
    house = House(written(tmp_path, "def request(call):\n    return Forward(('sip:d@192.0.2.1',))\n"))

    async def go() -> None:
        house.service.start(asyncio.get_running_loop())
        for call_id in ("one", "two"):
            house.receive(house.talk.phone("alice").invite("bob", call_id=call_id))
        listed = list(method(house, "tm.list")([]))
        assert [(one["callid"], one["method"], one["outgoings"]) for one in listed] == [
            ("one", "INVITE", 1),
            ("two", "INVITE", 1),
        ]
        assert method(house, "tm.reply_callid")(["480", "Later", "one", "1", ".", "X: y"]) == "Ok. Answered"
        assert house.starts()[-1] == b"SIP/2.0 480 Later"
        assert b"\r\nX: y\r\n" in house.sent[-1][1]
        assert method(house, "tm.cancel")(["two", "1"]) == "Ok. Cancelled"
        assert method(house, "sl.stats")([])["407"] == 0
        await house.service.stop()

    asyncio.run(go())


def test_a_port_that_nobody_has_is_told_at_once() -> None:
    """Linux sends the ICMP error back to our own socket; another datagram is not lost for it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        dead = Addr("127.0.0.1", taken.getsockname()[1])
    refused: list[bytes] = []
    heard: list[bytes] = []

    def receive(data: bytes, flow: Flow) -> bool:
        heard.append(data)
        return True

    async def go() -> None:
        loop = asyncio.get_running_loop()
        links = UdpLinks(receive, lambda age: None, refused.append)
        ours = opened(links, loop)
        assert links.send(Flow("udp", ours, dead), b"OPTIONS sip:dead SIP/2.0\r\n")
        for number in range(50):
            if refused:
                break
            assert links.send(Flow("udp", ours, ours), b"to myself %d" % number)
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        links.close(loop)

    asyncio.run(go())
    assert refused == [b"OPTIONS sip:dead SIP/2.0\r\n"]
    assert heard == [b"to myself %d" % number for number in range(len(heard))]
    assert heard


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_how_long_a_datagram_waited_is_known(host: str) -> None:
    ages: list[float] = []

    async def go() -> None:
        loop = asyncio.get_running_loop()
        links = UdpLinks(lambda data, flow: True, ages.append, lambda data: None)
        ours = opened(links, loop, host)
        links.send(Flow("udp", ours, ours), b"one")
        time.sleep(0.3)
        await until(lambda: ages)
        links.close(loop)

    asyncio.run(go())
    assert 0.29 < ages[0] < 3.0


def test_a_batch_that_was_dropped_is_followed_by_nothing() -> None:
    rests: list[float] = []

    async def go() -> None:
        loop = asyncio.get_running_loop()
        links = UdpLinks(lambda data, flow: data == b"look", rests.append, lambda data: None)
        ours = opened(links, loop)
        for _ in range(2):  # the first one is asked how long it waited, the second is not
            links.send(Flow("udp", ours, ours), b"drop")
            await asyncio.sleep(0.01)
        assert len(rests) == 1
        links.send(Flow("udp", ours, ours), b"look")
        await until(lambda: len(rests) == 2)
        links.close(loop)

    asyncio.run(go())
    assert len(rests) == 2


def test_a_queue_that_is_nearly_full_counts_as_a_long_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgesip.signal.net.links.RECEIVE_BUFFER", 4096)
    ages: list[float] = []

    async def go() -> None:
        loop = asyncio.get_running_loop()
        links = UdpLinks(lambda data, flow: True, ages.append, lambda data: None)
        ours = opened(links, loop)
        for _ in range(100):  # most of them find no room
            links.send(Flow("udp", ours, ours), bytes(500))
        await until(lambda: ages)
        links.close(loop)

    asyncio.run(go())
    assert 0.2 < ages[0] < 3.0
