"""What `[rtpproxy]` means to the relay: where its prompts are, and which one is music on hold."""

from __future__ import annotations

from edgesip.profile import Profile
from edgesip.relay.core import RelayCore
from edgesip.relay.shelf import SHIPPED, Shelf


def shelf_of(profile: Profile) -> Shelf:
    """The prompts of a profile: its own directory's, then those of the package."""
    return Shelf((profile.state_dir / profile.rtpproxy.prompt_dir, SHIPPED))


def use(profile: Profile, core: RelayCore) -> None:
    """Music on hold, in force from the next hold on."""
    core.playing.music = profile.rtpproxy.moh
