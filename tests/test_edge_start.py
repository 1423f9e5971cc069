"""A whole edge started and stopped in this process: what its rooms were told of each other."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgesip import app, profile, spoofing
from edgesip.address import Addr, Flow

Line = tuple[str, str, dict[str, Any]]
FOUR = ("nathelper.sipping_bflag=-1", "nathelper.udpping_from_path=true")


def started(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    look: Callable[[app.Edge], None],
    *sets: str,
) -> list[Line]:
    """The log of a server that starts with these settings, is looked at and ends."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    listen = [f"udp:127.0.0.1:{port}", f"tcp:127.0.0.1:{port}"]
    loaded = profile.load("nat-sbc", default_state_dir=tmp_path / "state", listen=listen, sets=sets)
    edge = app.provision(loaded)
    lines: list[Line] = []
    monkeypatch.setattr(edge, "_log", lambda level, event, fields: lines.append((level, event, fields)))

    async def once() -> None:
        ready = asyncio.Event()
        running = asyncio.ensure_future(edge.run(lambda line: ready.set()))
        waiting = asyncio.ensure_future(ready.wait())
        await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
        try:
            assert ready.is_set(), running
            look(edge)
        finally:
            running.cancel()
            await asyncio.wait({running})

    asyncio.run(once())
    return lines


def test_scripts_are_told_which_connections_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(edge: app.Edge) -> None:
        service = edge._service
        (listener,) = [addr for transport, addr in edge._listens if transport == "tcp"]
        alive = service.rooms.lines.alive
        assert not alive(Flow("tcp", listener, Addr("127.0.0.1", 9)))
        there = Flow("tcp", listener, Addr("127.0.0.1", 10))
        with monkeypatch.context() as patched:
            patched.setitem(service.streams._connections, there, None)
            assert alive(there)

    started(tmp_path, monkeypatch, look)


class Refused:
    """A host that grants nobody a raw socket."""

    def __init__(self) -> None:
        raise PermissionError(1, "Operation not permitted")


def test_a_raw_socket_that_is_refused_is_said_and_pings_are_our_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spoofing, "RawLink", Refused)

    def look(edge: app.Edge) -> None:
        assert not edge._service.core.pinger.raw
        assert edge._service.udp.raw is None

    lines = started(tmp_path, monkeypatch, look, *FOUR)
    [(level, _, fields)] = [line for line in lines if line[1] == "raw pings refused"]
    assert level == "warning"
    assert fields["wanted"] == "nathelper.udpping_from_path"
    assert fields["why"] == "Operation not permitted"
    assert "CAP_NET_RAW" in fields["do"]


def test_who_wants_no_raw_socket_asks_for_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spoofing, "RawLink", Refused)
    lines = started(tmp_path, monkeypatch, lambda edge: None)
    assert not [line for line in lines if line[1].startswith("raw pings")]


def test_a_ban_by_order_is_there_after_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def banned(edge: app.Edge) -> None:
        bans = edge._service.core.guard.bans
        bans.add("198.51.100.9", "", 500.0, asyncio.get_running_loop().time())

    def remembered(edge: app.Edge) -> None:
        assert [ban.source for ban in edge._service.core.guard.bans] == ["198.51.100.9"]

    started(tmp_path, monkeypatch, banned)
    lines = started(tmp_path, monkeypatch, remembered)
    assert ("info", "keepsakes loaded", {"bans": 1, "subscriptions": 0, "unreadable": 0}) in lines
