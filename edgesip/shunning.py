"""What a ban means to the relay: media of a banned address is not heard as long as it lasts.

Brings the two together once a second. Knows neither what is banned and why, nor what becomes of a stream.
"""

from __future__ import annotations

import asyncio
import time

from edgesip.relay.packets import Packets
from edgesip.signal.guard.bans import Bans

INTERVAL = 1.0
"""Seconds until the media of who was just banned is not heard any more, at most."""


def look(bans: Bans, packets: Packets, now: float) -> None:
    """The relay hears nobody who is banned now, and whose ban is over again."""
    packets.shun(bans.sources(now))


async def watch(bans: Bans, packets: Packets) -> None:
    """Look for ever."""
    while True:
        look(bans, packets, time.monotonic())
        await asyncio.sleep(INTERVAL)
