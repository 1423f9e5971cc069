"""What the `record_` keys of `[relay]` mean: the folder of recordings, and who writes them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from edgesip.profile import Profile
from edgesip.relay.recorder import Recorder, RecordSettings
from edgesip.relay.service import RelayService

MEGABYTE = 1_000_000


def settings_of(profile: Profile) -> RecordSettings:
    """The keys in octets; a folder that is no absolute path is in `state_dir`."""
    section = profile.relay
    folder = profile.state_dir / (section.record_dir or "recordings")
    return RecordSettings(folder, section.record_max_size * MEGABYTE, section.record_min_free * MEGABYTE)


def recorder_for(
    profile: Callable[[], Profile],
    media: RelayService,
    loop: asyncio.AbstractEventLoop,
    log: Callable[[str, str, dict[str, Any]], None],
) -> Recorder:
    """Who records the calls of this relay, from now until it is closed, as the profile of the moment says."""
    recorder = Recorder(lambda: settings_of(profile()), media.core, loop, log)
    recorder.begin()
    return recorder
