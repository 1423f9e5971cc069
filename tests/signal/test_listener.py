"""Accepting when no descriptor is left: the loop does not spin, and goes on by itself."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import cast

from edgesip.address import Addr
from edgesip.signal.net import listener


class Full:
    """A listening socket that always has somebody waiting; `errors` are what accepting them brings."""

    def __init__(self, errors: list[int]) -> None:
        self._mine, self._theirs = socket.socketpair()
        self._theirs.sendall(b"x")
        self.errors = errors
        self.asked = 0

    def fileno(self) -> int:
        return self._mine.fileno()

    def accept(self) -> tuple[socket.socket, tuple[str, int]]:
        self.asked += 1
        if self.errors:
            raise OSError(self.errors.pop(0), "no")
        self._mine.recv(1)
        raise BlockingIOError

    def close(self) -> None:
        self._mine.close()
        self._theirs.close()


async def _visited(full: Full, seconds: float) -> list[int | None]:
    short: list[int | None] = []
    accepted: list[Addr] = []
    one = listener.Listener(
        cast(socket.socket, full),
        asyncio.get_running_loop(),
        lambda sock, peer: accepted.append(peer),
        lambda error: short.append(error.errno),
    )
    await asyncio.sleep(seconds)
    one.close()
    assert not accepted
    return short


def test_without_descriptors_it_rests_for_a_second() -> None:
    full = Full([errno.EMFILE] * 50)
    assert asyncio.run(_visited(full, listener.PAUSE + 0.5)) == [errno.EMFILE, errno.EMFILE]
    assert full.asked == 2


def test_who_is_gone_before_we_look_costs_nobody_else() -> None:
    full = Full([errno.ECONNABORTED, errno.EPROTO])
    assert asyncio.run(_visited(full, 0.1)) == []
    assert full.asked == 3


def test_a_rest_ends_with_the_listener() -> None:
    full = Full([errno.ENFILE] * 50)
    assert asyncio.run(_visited(full, 0.2)) == [errno.ENFILE]
