"""`[rtpp]` of a profile: what is refused at the start, what a reload takes up, what the built-in one says."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path
from random import Random
from typing import Any

import pytest

from edgesip import lending, live, profile
from edgesip.address import Addr
from edgesip.forms_rtpp import CommandSocket
from edgesip.places import ConfigError
from edgesip.profile import Profile
from edgesip.relay.core import RelayCore, Settings
from edgesip.relay.path import UserPath


def read(tmp_path: Path, *sets: str, name: str = "rtp-relay") -> Profile:
    return profile.load(name, default_state_dir=tmp_path, sets=sets)


def test_the_built_in_profile_takes_commands_of_this_host_and_no_sip(tmp_path: Path) -> None:
    relay = read(tmp_path)
    assert relay.listen == ()
    assert relay.rtpp.listen == (CommandSocket("udp", Addr("127.0.0.1", 22222), ""),)
    assert all(network.is_loopback for network in relay.rtpp.allow)
    assert relay.rtpp.notify == ()
    lending.check(relay)


@pytest.mark.parametrize(
    ("wish", "why"),
    [
        ("rtpp.listen=tcp:127.0.0.1:22222", "is not udp:ADDR:PORT, unix:PATH or cunix:PATH"),
        ("rtpp.listen=udp:localhost", "is not udp:ADDR:PORT"),
        ("rtpp.listen=unix:relative", "needs a path from / on"),
        ("rtpp.listen=udp:127.0.0.1,udp:127.0.0.1:22222", "is there twice"),
        ("rtpp.listen=", "must name at least one TRANSPORT:ADDR:PORT"),
        ("rtpp.allow=example.org", "neither an IP address nor a network"),
        ("rtpp.notify=udp:127.0.0.1:9", "is not unix:PATH, tcp:ADDR:PORT or %%CC_SELF%%:PORT"),
    ],
)
def test_values_that_cannot_be(tmp_path: Path, wish: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        read(tmp_path, wish)


@pytest.mark.parametrize(
    ("wish", "why"),
    [
        ("relay.enabled=false", "there is no relay to command"),
        ("rtpp.listen=udp:192.0.2.254:22222", "192.0.2.254 is no address of this host"),
    ],
)
def test_a_server_that_could_not_be_commanded_does_not_start(tmp_path: Path, wish: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        lending.check(read(tmp_path, wish))


def test_a_reload_takes_up_who_may_ask_and_not_where(tmp_path: Path) -> None:
    old = read(tmp_path)
    new = read(tmp_path, "rtpp.allow=192.0.2.0/24", "rtpp.notify=unix:/t", "rtpp.listen=unix:/s")
    taken = live.taken(old, new)
    assert (taken.rtpp.allow, taken.rtpp.notify) == (new.rtpp.allow, new.rtpp.notify)
    assert taken.rtpp.listen == old.rtpp.listen
    restart = [key for key in live.changed(old, new) if key not in live.LIVE]
    assert restart == ["rtpp.listen"]


def core() -> RelayCore:
    settings = Settings(True, ("127.0.0.1",), (), 20000, 20099, 60.0, 10)
    return RelayCore(
        settings,
        bind=lambda pair: True,
        unbind=lambda pair: None,
        path=UserPath(),
        entropy=Random(3).randbytes,
    )


def test_sockets_are_there_while_it_serves_and_gone_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "rtpp.sock"
    log: list[dict[str, Any]] = []

    async def talk() -> None:
        async with contextlib.AsyncExitStack() as stack:
            lent = lending.Lent(
                read(tmp_path, f"rtpp.listen=unix:{path}"), core(), lambda *line: log.append(line[2])
            )
            await lent.serve(stack)
            assert path.stat().st_mode & 0o777 == 0o660
            reader, writer = await asyncio.open_unix_connection(str(path))
            writer.write(b"U call 127.0.0.1 4000 a;1 b;1 unix:/t x")
            assert await asyncio.wait_for(reader.read(), 5.0) == b"E75\n"
            writer.close()
            lent.use(read(tmp_path, "rtpp.notify=unix:/t"))
            reader, writer = await asyncio.open_unix_connection(str(path))
            writer.write(b"U call 127.0.0.1 4000 a;1 b;1 unix:/t x")
            assert (await asyncio.wait_for(reader.read(), 5.0)).endswith(b" 127.0.0.1\n")
            writer.close()
            assert lent.counters["rtpp:commands"] == 2
            assert lent.counters["rtpp:refused"] == 1
            assert lent.counters["rtpp:sessions"] == 1
        assert not path.exists()

    asyncio.run(talk())


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    async def talk() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", 0))
            where = f"udp:127.0.0.1:{taken.getsockname()[1]}"
            async with contextlib.AsyncExitStack() as stack:
                lent = lending.Lent(read(tmp_path, f"rtpp.listen={where}"), core(), lambda *line: None)
                with pytest.raises(ConfigError, match=f"rtpp.listen: {where}: Address already in use"):
                    await lent.serve(stack)

    asyncio.run(talk())
