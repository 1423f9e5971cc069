"""The garbage collector, by hand: what was loaded is frozen, full collections happen when we say so.

A full collection over hundreds of thousands of contacts would stop the loop, and with it the media, for a
tenth of a second at a moment of Python's choosing. Knows nothing of what is collected.
"""

from __future__ import annotations

import asyncio
import gc
import time

EVERY = 60.0
"""Seconds between two looks."""
NEVER = 1 << 30
YOUNG = 25_000
"""New objects between two looks at the youngest: about a millisecond's work.

At an even load as much is let go as is made, and hardly a look is taken at all.
The middle generation is never looked at alone: a call leaves no circle, so that there is nothing to find.
"""


class Collector:
    """Owns the collector of the process while it runs; `pause` is the longest stop so far, in seconds."""

    def __init__(self) -> None:
        self.pause = 0.0
        self._before = gc.get_threshold()

    def counters(self) -> dict[str, int]:
        """`core:gc_pause_max_ms`: the longest full collection."""
        return {"core:gc_pause_max_ms": round(self.pause * 1000)}

    async def run(self) -> None:
        """Freeze what is there; then, every `EVERY` seconds, collect what came since and freeze the rest."""
        gc.set_threshold(YOUNG, NEVER, NEVER)
        self._collect()
        try:
            while True:
                await asyncio.sleep(EVERY)
                self._collect()
        finally:
            gc.unfreeze()
            gc.set_threshold(*self._before)

    def _collect(self) -> None:
        """The survivors are frozen, so that the next time only looks at what is new."""
        begin = time.monotonic()
        gc.collect()
        gc.freeze()
        self.pause = max(self.pause, time.monotonic() - begin)
