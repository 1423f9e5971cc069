"""What the keys of `[dialog]` about subscriptions mean to the core."""

from __future__ import annotations

from edgesip.profile import Profile
from edgesip.signal.core import SignalCore
from edgesip.signal.dialog.subscriptions import SubscriptionSettings


def use(profile: Profile, core: SignalCore) -> None:
    """How many there may be, in force from now on."""
    section = profile.dialog
    core.subscriptions.settings = SubscriptionSettings(
        section.max_subscriptions, section.max_user_subscriptions
    )
