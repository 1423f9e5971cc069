"""The collector is ours while it runs, and Python's again afterwards."""

from __future__ import annotations

import asyncio
import gc

import pytest

from edgesip.control import collector


def test_full_collections_happen_by_hand_and_only_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "EVERY", 0.01)
    before = gc.get_threshold()
    calls: list[int] = []

    def collected(generation: int = 2) -> int:
        calls.append(generation)
        return 0

    monkeypatch.setattr(gc, "collect", collected)

    async def go() -> None:
        one = collector.Collector()
        task = asyncio.ensure_future(one.run())
        while len(calls) < 3:
            await asyncio.sleep(0.005)
        assert gc.get_threshold() == (collector.YOUNG, collector.NEVER, collector.NEVER)
        assert gc.get_freeze_count() > 0
        assert one.counters()["core:gc_pause_max_ms"] >= 0
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(go())
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0
