"""The loop around the core: slow scripts, names, group commits, and errors that stop nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from talk import SERVER, Packet, Talk

from edgesip.address import Addr, Flow
from edgesip.control.ring import Ring
from edgesip.script import Script, load
from edgesip.signal.net.resolver import AskSettings, Resolver
from edgesip.signal.net.service import SignalService
from edgesip.signal.proxy.dns_cache import CacheSettings
from edgesip.signal.proxy.hops import Found, Hop, Host, Name, Question, Settings
from edgesip.signal.proxy.inbound import note
from edgesip.store.api import Store, StoreError, Write
from edgesip.store.memory import MemoryStore

HEAD = "import asyncio\nfrom edgesip.script import *\n"


class Names(Resolver):
    """A resolver that knows one name and takes its time."""

    def __init__(self) -> None:
        super().__init__(Settings(frozenset({("udp", 4)})), CacheSettings(), AskSettings(), print)
        self.under_way = self.most = 0

    async def resolve(self, name: Name) -> Found:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(0.1 if name.host == "slow.example" else 0.01)
        self.under_way -= 1
        if name.host == "dead.example":
            return Found((), True)
        known = name.host == "known.example"
        return Found((Hop("udp", Addr("198.51.100.7", name.port or 5060)),) if known else ())


class House:
    """A service on a loop, whose datagrams are caught before they leave."""

    def __init__(self, script: Script | None = None, store: Store | None = None) -> None:
        self.talk = Talk(script=script, durable=store is not None)
        self.sent: list[tuple[Flow, bytes]] = []
        self.lines: list[tuple[str, str, dict[str, Any]]] = []
        self.names = Names()
        self.service = SignalService(
            self.talk.core,
            self.talk.script,
            self.talk.rooms,
            self.talk.locator,
            self.names,
            store,
            lambda level, event, fields: self.lines.append((level, event, fields)),
            Ring(True, 1 << 20, 1000),
        )
        self.service.udp.send = self.catch  # type: ignore[method-assign]

    def catch(self, flow: Flow, data: bytes) -> bool:
        self.sent.append((flow, data))
        return True

    def receive(self, packet: Packet) -> None:
        self.service.receive(packet.octets, packet.phone.flow)

    async def until(self, done: Callable[[], object]) -> None:
        for _ in range(1000):
            if done():
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"never came: {self.sent} {self.lines}")

    def starts(self) -> list[bytes]:
        return [data.partition(b"\r\n")[0] for _, data in self.sent]


def written(tmp_path: Path, text: str) -> Script:
    path = tmp_path / "route.py"
    path.write_text(HEAD + text)
    return load(path)


async def visit(house: House, packets: Sequence[Packet], done: Callable[[], object]) -> None:
    house.service.start(asyncio.get_running_loop())
    for packet in packets:
        house.receive(packet)
    await house.until(done)
    await house.service.stop()


def test_an_async_script_is_awaited_and_repetitions_wait_with_it(tmp_path: Path) -> None:
    script = written(
        tmp_path, "async def request(call):\n    await asyncio.sleep(0.05)\n    return Reply(486)\n"
    )
    house = House(script)
    packet = house.talk.phone("alice").invite("bob")
    asyncio.run(visit(house, [packet, packet, packet], lambda: house.sent))
    assert house.starts() == [b"SIP/2.0 486 Busy Here"]


def test_a_cancel_does_not_wait_for_the_script(tmp_path: Path) -> None:
    script = written(
        tmp_path, "async def request(call):\n    await asyncio.sleep(0.1)\n    return Reply(486)\n"
    )
    house = House(script)
    packet = house.talk.phone("alice").invite("bob")
    cancel = Packet(packet.phone, packet.octets.replace(b"INVITE", b"CANCEL"))

    async def go() -> None:
        house.service.start(asyncio.get_running_loop())
        house.receive(packet)
        house.receive(cancel)
        await asyncio.sleep(0.2)
        await house.service.stop()

    asyncio.run(go())
    assert house.starts() == [b"SIP/2.0 200 canceling", b"SIP/2.0 487 Request Terminated"]


@pytest.mark.parametrize(
    "text",
    [
        "def request(call):\n    return 1 / 0\n",
        "async def request(call):\n    return 1 / 0\n",
        "def request(call):\n    return 'yes'\n",
        "def request(call):\n    pass\n",
    ],
)
def test_a_script_that_fails_costs_one_500(tmp_path: Path, text: str) -> None:
    house = House(written(tmp_path, text))
    asyncio.run(visit(house, [house.talk.phone("alice").invite("bob")], lambda: house.sent))
    assert house.starts() == [b"SIP/2.0 500 Server Internal Error"]
    ((level, event, fields),) = [line for line in house.lines if line[0] == "error"]
    assert event == "route script failed"
    assert "Traceback" not in fields["why"]
    assert level == "error"


def test_names_are_resolved_off_the_path_and_unknown_ones_end_in_478(tmp_path: Path) -> None:
    script = written(
        tmp_path, "def request(call):\n    return Forward((f'sip:x@{call.ruri_user}.example',))\n"
    )
    house = House(script)
    alice = house.talk.phone("alice")
    calls = [alice.invite(user) for user in ("known", "unknown", "dead")]
    asyncio.run(visit(house, calls, lambda: len(house.sent) >= 4))
    assert b"SIP/2.0 503 DNS failed" in house.starts()
    assert (b"SIP/2.0 478 Unresolvable destination") in house.starts()
    (there,) = [flow for flow, data in house.sent if data.startswith(b"INVITE")]
    assert there.remote == Addr("198.51.100.7", 5060)


def test_all_names_of_a_request_are_asked_for_at_once(tmp_path: Path) -> None:
    names = ", ".join(f"'sip:x@n{number}.example'" for number in range(5))
    house = House(
        written(tmp_path, f"def request(call):\n    return Forward(({names}, 'sip:y@known.example'))\n")
    )
    asyncio.run(visit(house, [house.talk.phone("alice").invite("bob")], lambda: len(house.sent) >= 2))
    assert house.names.most == 6
    (there,) = [flow for flow, data in house.sent if data.startswith(b"INVITE")]
    assert there.remote == Addr("198.51.100.7", 5060)


def test_what_is_known_is_not_waited_for(tmp_path: Path) -> None:
    house = House(
        written(tmp_path, "def request(call):\n    return Forward(('sip:x@cached.example:5060',))\n")
    )
    house.names.cache.put(Question("cached.example", "A"), (Host("198.51.100.9"),), 60, time.monotonic())
    house.receive(house.talk.phone("alice").invite("bob"))
    assert house.starts() == [
        b"INVITE sip:x@cached.example:5060 SIP/2.0",
        b"SIP/2.0 100 trying -- your call is important to us",
    ]


def test_a_cancel_does_not_wait_for_dns(tmp_path: Path) -> None:
    house = House(written(tmp_path, "def request(call):\n    return Forward(('sip:x@slow.example',))\n"))
    packet = house.talk.phone("alice").invite("bob")
    cancel = Packet(packet.phone, packet.octets.replace(b"INVITE", b"CANCEL"))

    async def go() -> None:
        house.service.start(asyncio.get_running_loop())
        house.receive(packet)
        house.receive(cancel)
        await asyncio.sleep(0.2)
        await house.service.stop()

    asyncio.run(go())
    assert [start for start in house.starts() if b" 100 " not in start] == [
        b"SIP/2.0 200 canceling",
        b"SIP/2.0 487 Request Terminated",
    ]


class Sick(MemoryStore):
    def commit(self, writes: Sequence[Write]) -> None:
        raise StoreError("no space left")


def register(house: House) -> list[Packet]:
    alice = house.talk.phone("alice")
    packets = []
    for index in range(3):
        packet = alice.request(
            "REGISTER", f"sip:{SERVER.host}", call_id=f"r{index}", to=f"<sip:alice@{SERVER.host}>"
        )
        house.receive(packet)
        from edgesip.signal.wire.message import Response, parse

        challenge = parse(house.sent.pop()[1])
        assert isinstance(challenge, Response)
        packets.append(alice.with_credentials(packet, challenge))
    return packets


@pytest.mark.parametrize("store", [MemoryStore(), Sick()])
def test_writes_of_a_turn_are_one_group_and_answers_come_after_it(store: MemoryStore) -> None:
    house = House(store=store)
    groups: list[int] = []
    commit = store.commit

    def counted(writes: Sequence[Write]) -> None:
        groups.append(len(writes))
        assert not house.sent
        commit(writes)

    store.commit = counted  # type: ignore[method-assign]
    packets = register(house)
    asyncio.run(visit(house, packets, lambda: len(house.sent) == 3))
    assert house.starts() == [b"SIP/2.0 200 OK"] * 3
    assert groups == [3]
    failed = [event for level, event, _ in house.lines if level == "error"]
    assert ("store failed" in failed) == isinstance(store, Sick)


@pytest.mark.pure
def test_an_error_inside_costs_a_log_line_and_nothing_else() -> None:
    house = House()

    def broken(*_: object) -> object:
        raise RuntimeError("ours")

    house.talk.core.transactions.absorb = broken  # type: ignore[method-assign,assignment]
    alice = house.talk.phone("alice")
    house.receive(alice.invite("bob"))
    assert [event for _, event, _ in house.lines] == ["message failed"]


def test_what_was_said_before_a_fault_is_written() -> None:
    house = House()
    no_event: Any = object()
    with pytest.raises((AttributeError, TypeError)):
        house.service.step([note("info", "call ended", "a@b"), no_event])
    assert house.lines == [("info", "call ended", {"call_id": "a@b"})]
