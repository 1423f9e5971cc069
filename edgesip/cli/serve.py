"""The event loop of `edgesip run`: uvloop, two signals that end it cleanly, one to read its script anew."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop

from edgesip.control.notify import notify

ENDS = (signal.SIGTERM, signal.SIGINT)

Ready = Callable[[str], None]


def serve(
    run: Callable[[Ready], Coroutine[Any, Any, None]], ready: Ready, hangup: Callable[[], None]
) -> None:
    """Run until a signal says to end, then let `run` clean up; a second signal ends the process at once.

    SIGHUP calls `hangup`.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_until_told(run, ready, hangup))


async def _until_told(
    run: Callable[[Ready], Coroutine[Any, Any, None]], ready: Ready, hangup: Callable[[], None]
) -> None:
    loop = asyncio.get_running_loop()

    def is_ready(line: str) -> None:
        loop.add_signal_handler(signal.SIGHUP, hangup)
        ready(line)

    server = asyncio.ensure_future(run(is_ready))

    def end() -> None:
        for one in ENDS:
            loop.remove_signal_handler(one)
            signal.signal(one, signal.SIG_DFL)
        notify("STOPPING=1")
        server.cancel()

    for one in ENDS:
        loop.add_signal_handler(one, end)
    try:
        await server
    except asyncio.CancelledError:
        return
