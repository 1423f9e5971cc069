"""A whole server, its core and its relay, among phones that do anything: nothing raises, nothing is left."""

from __future__ import annotations

import resource
import time

import pytest
from fuzz_crowd import new_house, story

LONG = 30.0  # CPU seconds
ROOM = 64 * 1024  # KiB that the second half of the stories may take beyond the first


@pytest.mark.parametrize("seed", range(12))
def test_a_dozen_stories(seed: int) -> None:
    story(new_house(), seed)


@pytest.mark.long
def test_many_stories_in_one_house() -> None:
    begun = time.process_time()
    house, seed, before = new_house(), 1000, 0
    while (spent := time.process_time() - begun) < LONG:
        story(house, seed)
        seed += 1
        if before == 0 and spent > LONG / 2:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert seed > 1050
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < ROOM
