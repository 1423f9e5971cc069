"""The control socket, with real connections."""

import asyncio
import json
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from edgesip.control.rpc import Method, Rpc, RpcFault
from edgesip.control.server import LINE_MAX, ControlServer
from edgesip.places import ConfigError


async def later(params: list[Any]) -> Any:
    await asyncio.sleep(0.01)
    if params and params[0] == "fault":
        raise RpcFault(404, "not found")
    return 1 // len(params)


RPC = Rpc(
    [
        Method("t.echo", lambda params: params, ""),
        Method("t.count", lambda params: (str(number) * 100 for number in range(params[0])), ""),
        Method("t.later", lambda params: asyncio.ensure_future(later(params)), ""),
        Method("t.broken", lambda params: (1 // 0 for _ in range(1)), ""),
    ]
)


def request(method: str, *params: Any, ident: Any = 1) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "method": method, "params": params, "id": ident}).encode() + b"\n"


def serving(path: Path, talk: Callable[[], Awaitable[None]]) -> None:
    """Run a conversation against a server on `path`."""

    async def run() -> None:
        server = ControlServer(RPC, path)
        await server.start()
        try:
            await asyncio.wait_for(talk(), 10)
        finally:
            await server.close()

    asyncio.run(run())


async def connect(path: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_unix_connection(str(path), limit=64 * 1024 * 1024)


def test_requests_are_answered_line_by_line_on_one_connection(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"

    async def talk() -> None:
        reader, writer = await connect(path)
        writer.write(request("t.echo", 1) + b"\n" + request("t.echo", 2, ident=2) + b"garbage\n")
        answers = [json.loads(await reader.readline()) for _ in range(3)]
        assert [answer.get("result") for answer in answers] == [[1], [2], None]
        assert answers[2]["error"]["code"] == -32700
        writer.close()

    serving(path, talk)


def test_a_request_that_ends_with_the_stream_is_answered(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"

    async def talk() -> None:
        reader, writer = await connect(path)
        writer.write(request("t.echo", 1) + request("t.echo", 2).removesuffix(b"\n"))
        writer.write_eof()
        answers = [json.loads(line) for line in (await reader.read()).splitlines()]
        assert [answer["result"] for answer in answers] == [[1], [2]]
        writer.close()

    serving(path, talk)


def test_the_socket_is_for_owner_and_group_and_goes_with_the_server(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"

    async def talk() -> None:
        assert path.stat().st_mode & 0o7777 == 0o660

    serving(path, talk)
    assert not path.exists()


def test_the_loop_turns_while_a_long_answer_is_made(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"

    async def talk() -> None:
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(others())
        reader, writer = await connect(path)
        writer.write(request("t.count", 20_000))
        answer = json.loads(await reader.readline())
        assert len(answer["result"]) == 20_000
        assert turns > 50
        task.cancel()
        writer.close()

    serving(path, talk)


def test_a_line_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"

    async def talk() -> None:
        reader, writer = await connect(path)
        writer.write(b" " * (LINE_MAX + 10))
        answer = json.loads(await reader.readline())
        assert answer["error"]["code"] == -32600
        assert await reader.read() == b""
        writer.close()

    serving(path, talk)


def test_a_client_that_leaves_or_breaks_harms_nobody(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"

    async def talk() -> None:
        for data in (b"", b"{", request("t.count", 50_000), request("t.broken")):
            _, writer = await connect(path)
            writer.write(data)
            await asyncio.sleep(0.01)
            writer.close()
        reader, writer = await connect(path)
        writer.write(request("t.echo", "still here"))
        assert json.loads(await reader.readline())["result"] == ["still here"]
        writer.close()

    serving(path, talk)


def test_connections_are_bounded(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"

    async def talk() -> None:
        open_ones = [await connect(path) for _ in range(64)]
        await asyncio.sleep(0.05)
        reader, extra = await connect(path)
        assert await reader.read() == b"", "the 65th is closed at once"
        extra.close()
        for _, writer in open_ones:
            writer.close()
        await asyncio.sleep(0.05)
        reader, writer = await connect(path)
        writer.write(request("t.echo", 1))
        assert json.loads(await reader.readline())["result"] == [1]
        writer.close()

    serving(path, talk)


def test_the_socket_of_a_dead_server_is_cleared_away(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(path))
    dead.close()

    async def talk() -> None:
        _, writer = await connect(path)
        writer.close()

    serving(path, talk)


def test_a_living_server_is_not_robbed_of_its_socket(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"

    async def talk() -> None:
        with pytest.raises(ConfigError, match="another server answers here"):
            await ControlServer(RPC, path).start()
        _, writer = await connect(path)
        writer.close()

    serving(path, talk)


def test_a_file_in_its_place_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "s.sock").write_text("precious")
    with pytest.raises(ConfigError, match="is not a socket"):
        asyncio.run(ControlServer(RPC, tmp_path / "s.sock").start())
    with pytest.raises(ConfigError, match="cannot be opened"):
        asyncio.run(ControlServer(RPC, tmp_path / "nowhere" / "s.sock").start())
    assert (tmp_path / "s.sock").read_text() == "precious"


def test_the_umask_is_as_before(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:

        async def talk() -> None:
            assert os.umask(0o022) == 0o022

        serving(tmp_path / "s.sock", talk)
    finally:
        os.umask(before)


def test_what_takes_its_time_is_waited_for_and_delays_nobody_else(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"

    async def talk() -> None:
        reader, writer = await connect(path)
        other_reader, other_writer = await connect(path)
        writer.write(request("t.later", 1) + request("t.later", "fault") + request("t.later"))
        other_writer.write(request("t.echo", 5))
        assert json.loads(await other_reader.readline())["result"] == [5]
        assert json.loads(await reader.readline())["result"] == 1
        assert json.loads(await reader.readline())["error"]["code"] == 404
        assert json.loads(await reader.readline())["error"]["code"] == -32603
        writer.write(b"[" + request("t.later", 1).strip() + b"," + request("t.echo", 2).strip() + b"]\n")
        assert [one["result"] for one in json.loads(await reader.readline())] == [1, [2]]
        writer.close()
        other_writer.close()

    serving(path, talk)
