"""The sockets of the rtpproxy protocol on the loopback: datagrams, streams, strangers, notices."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

from relay_talk import Binder

from edgesip.address import Addr
from edgesip.forms import networks
from edgesip.relay.commands import Commands, Notice
from edgesip.relay.core import RelayCore, Settings
from edgesip.relay.path import UserPath
from edgesip.relay.rtpp import MAX_TEXT
from edgesip.relay.rtpp_sockets import CommandSockets, Stream

LOCAL = "127.0.0.1"


def listening(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.bind(str(path))
    sock.setblocking(False)
    return sock


class Server:
    """Sockets over a relay with twins for ports; `log` is what was logged."""

    def __init__(self, allow: str = "127.0.0.0/8", clock: Callable[[], float] = time.monotonic) -> None:
        binder = Binder()
        settings = Settings(True, (LOCAL,), (), 20000, 20099, 60.0, 100)
        core = RelayCore(
            settings, bind=binder.bind, unbind=binder.unbind, path=UserPath(), entropy=Random(1).randbytes
        )
        self.log: list[tuple[str, str, dict[str, Any]]] = []
        self.sockets = CommandSockets(
            Commands(core, lambda host: LOCAL), networks(allow), lambda *line: self.log.append(line), clock
        )


@asynccontextmanager
async def serving(
    server: Server, *streams: Stream, datagrams: bool = False
) -> AsyncIterator[tuple[asyncio.DatagramTransport, asyncio.Queue[bytes]]]:
    """The server while it runs, and a client with a queue of what it was answered."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((LOCAL, 0))
        port = probe.getsockname()[1]
    await server.sockets.open([Addr(LOCAL, port)] if datagrams else [], streams)
    answers: asyncio.Queue[bytes] = asyncio.Queue()

    class Client(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: object) -> None:
            answers.put_nowait(data)

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Client, remote_addr=(LOCAL, port))
    try:
        yield transport, answers
    finally:
        transport.close()
        await server.sockets.close()


def test_datagrams_are_answered_with_their_cookie() -> None:
    async def talk() -> None:
        server = Server()
        async with serving(server, datagrams=True) as (client, answers):
            for number in range(50):
                client.sendto(f"{number}_1 V".encode())
            got = [await asyncio.wait_for(answers.get(), 5.0) for _ in range(50)]
            assert sorted(got) == sorted(f"{number}_1 20040107\n".encode() for number in range(50))

    asyncio.run(talk())


def test_a_stranger_gets_no_answer_and_is_told_of_once_a_minute() -> None:
    async def talk() -> None:
        now = [100.0]
        server = Server("192.0.2.0/24", lambda: now[0])
        async with serving(server, datagrams=True) as (client, answers):
            for step in (0.0, 1.0, 60.0):
                now[0] += step
                client.sendto(b"1 X")
                for _ in range(200):
                    await asyncio.sleep(0.01)
                    if server.sockets.strangers == (0.0, 1.0, 60.0).index(step) + 1:
                        break
            assert answers.empty()
            assert [fields for _, _, fields in server.log] == [
                {"from": LOCAL, "so_far": 1},
                {"from": LOCAL, "so_far": 3},
            ]

    asyncio.run(talk())


async def said(path: Path, *pieces: bytes, end: bool = False) -> bytes:
    """Say something over a unix socket, and hear all until it is closed."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.05)
    if end:
        writer.write_eof()
    heard = await asyncio.wait_for(reader.read(), 5.0)
    writer.close()
    return heard


def test_a_stream_has_one_command_without_an_end_or_with_one(tmp_path: Path) -> None:
    async def talk() -> None:
        path = tmp_path / "s"
        async with serving(Server(), Stream(listening(path), False)):
            assert await said(path, b"V") == b"20040107\n"
            assert await said(path, b"VF 20081102\n") == b"1\n"
            assert await said(path, end=True) == b"E5\n"

    asyncio.run(talk())


def test_a_lasting_stream_has_a_command_a_line(tmp_path: Path) -> None:
    async def talk() -> None:
        path = tmp_path / "s"
        async with serving(Server(), Stream(listening(path), True)):
            assert await said(path, b"V\nVF 1\n", b"Z\n", end=True) == b"20040107\n0\nE0\n"
            assert await said(path, b"V " + b"x" * 10 * MAX_TEXT, end=True) == b""

    asyncio.run(talk())


def test_what_is_refused_is_in_the_log_with_its_reason(tmp_path: Path) -> None:
    async def talk() -> None:
        path, server = tmp_path / "s", Server()
        async with serving(server, Stream(listening(path), False)):
            await said(path, b"Q nobody a b")
            await said(path, b"U!")
        assert [(level, fields["code"]) for level, _, fields in server.log] == [("debug", 50), ("info", 1)]
        assert server.log[1][2]["command"] == "U!"

    asyncio.run(talk())


def test_a_notice_reaches_its_socket_or_the_log(tmp_path: Path) -> None:
    async def talk() -> None:
        server, path = Server(), tmp_path / "notify"
        told: asyncio.Queue[bytes] = asyncio.Queue()

        async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            told.put_nowait(await reader.read())
            writer.close()

        async with serving(server):
            server.sockets.tell([Notice(f"unix:{path}", b"late\n")])
            await asyncio.sleep(0.2)  # nobody is there at first
            ears = await asyncio.start_unix_server(hear, str(path))
            assert await asyncio.wait_for(told.get(), 5.0) == b"late\n"
            tcp = await asyncio.start_server(hear, LOCAL, 0)
            port = tcp.sockets[0].getsockname()[1]
            server.sockets.tell([Notice(f"tcp:{LOCAL}:{port}", b"by tcp\n")])
            assert await asyncio.wait_for(told.get(), 5.0) == b"by tcp\n"
            ears.close()
            tcp.close()
            server.sockets.tell([Notice(f"unix:{tmp_path}/nobody", b"x\n")])
            for _ in range(80):
                await asyncio.sleep(0.05)
                if server.log:
                    break
        [(level, event, fields)] = server.log
        assert (level, event, fields["socket"]) == ("warning", "rtpp notice lost", f"unix:{tmp_path}/nobody")

    asyncio.run(talk())
