"""What `[rtpproxy]` means to the relay: where its prompts are, and which one is music on hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgesip.profile import Profile
from edgesip.relay.core import RelayCore
from edgesip.relay.shelf import SHIPPED, Shelf


def shelf_of(profile: Profile) -> Shelf:
    """The prompts of a profile: its own directory's, then those of the package."""
    return Shelf((profile.state_dir / profile.rtpproxy.prompt_dir, SHIPPED))


def use(
    profile: Profile, core: RelayCore, shelf: Shelf, log: Callable[[str, str, dict[str, Any]], None]
) -> None:
    """Music on hold, in force from the next hold on. One that is not there is told; it may still come."""
    core.playing.music = name = profile.rtpproxy.moh
    if name and shelf.find(name) is None:
        log("warning", "no such prompt", {"moh": name, "do": f"edgesip prompt make FILE.wav {name}"})
