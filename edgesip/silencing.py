"""What a profile wants of calls that have no media: when that is so, and what becomes of them."""

from __future__ import annotations

from typing import Any

from edgesip.profile import Profile
from edgesip.relay.core import MediaTimeout, RelayCore
from edgesip.relay.silence import Limits
from edgesip.signal.core import Event, SignalCore


def use(profile: Profile, core: RelayCore) -> None:
    """When a call has been silent for too long, in force at once."""
    relay = profile.relay
    times = (float(relay.timeout), float(relay.hold_timeout), float(relay.final_timeout))
    core.judge_by(Limits(*times, either=profile.rtpproxy.timeout_either))


def fields_of(event: MediaTimeout) -> dict[str, Any]:
    """What the log says of it beyond the Call-ID."""
    return {"why": event.why, "silent": " ".join(event.sides)}


def acted(
    event: MediaTimeout, profile: Profile, media: RelayCore, core: SignalCore, now: float
) -> list[Event]:
    """What the profile says shall become of the call is done; what there is to tell the script of it."""
    action = profile.rtpproxy.timeout_action
    if action == "log":
        return []
    if action == "bye":
        media.condemn(event.key, event.why)
    return core.media_timeout(event.key, event.branch, now, event.sides, action == "bye")
