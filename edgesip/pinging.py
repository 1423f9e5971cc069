"""What `[nathelper]` and `[stun]` mean to the rooms: who is pinged, and whether STUN is answered.

Each is given its slice of the profile; what they do with it they know themselves.
"""

from __future__ import annotations

from edgesip.profile import Profile
from edgesip.signal.core import SignalCore
from edgesip.signal.nat.keepalive import Settings


def pings_of(profile: Profile) -> Settings:
    """The pinger's slice of a profile."""
    return Settings(float(profile.nathelper.natping_interval))


def use(profile: Profile, core: SignalCore) -> None:
    """What of these sections can change while we run, put in force."""
    core.stun.enabled = profile.stun.enabled
