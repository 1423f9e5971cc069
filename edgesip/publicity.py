"""What `advertise = "auto"` comes to: found at the start for Via, Contact, Record-Route and SDP, and watched.

A public address that changes is told in the log; nothing changes by itself, for calls and registrations that
go on were told the old one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from edgesip.address import Addr
from edgesip.forms import AUTO, Advertised
from edgesip.places import ConfigError
from edgesip.profile import Profile
from edgesip.signal.nat.public import Public, Undecided
from edgesip.signal.net.links import expand
from edgesip.signal.net.whoami import look

EVERY = 300.0
"""Seconds between two looks."""

Log = Callable[[str, str, dict[str, Any]], None]


def is_auto(profile: Profile) -> bool:
    """True when the profile leaves the public address to be found."""
    return profile.advertise == (AUTO,)


def found(profile: Profile) -> Public:
    """The public address as it is now. Raises `Undecided`; blocks for some seconds when servers are asked."""
    hosts = [addr.host for one in profile.listen for addr in expand(Addr(one.host, one.port))]
    return look(hosts, profile.stun.servers)


def settled(profile: Profile) -> Profile:
    """The profile with the address in place of "auto". Raises `ConfigError` when it cannot be known.

    A host whose way out has a public address of its own advertises nothing: every address speaks for itself.
    """
    if not is_auto(profile):
        return profile
    try:
        public = found(profile)
    except Undecided as error:
        raise ConfigError(f"{profile.where('advertise')}: advertise: {error}") from None
    return with_address(profile, public)


def with_address(profile: Profile, public: Public) -> Profile:
    """The profile with what was found."""
    advertise = (Advertised(public.address, None),) if public.behind_nat else ()
    relay = profile.relay
    if relay.advertise == (AUTO.host,):
        relay = relay.model_copy(update={"advertise": tuple(one.host for one in advertise)})
    return profile.model_copy(update={"advertise": advertise, "relay": relay})


def unasked(profile: Profile) -> Profile:
    """The profile where nobody shall be asked: without an advertised address if that is to be found."""
    return with_address(profile, Public("", "", "")) if is_auto(profile) else profile


class Watch:
    """Looks now and then whether the public address is still the one that everybody was told.

    `profile` gives the profile that is in force, whose STUN servers may change; `told` is the address that
    was settled on, empty when this host's own speak for themselves.
    """

    def __init__(self, profile: Callable[[], Profile], told: str, log: Log) -> None:
        self._profile = profile
        self._told = told
        self._log = log
        self._said = ""
        self._now = asyncio.Event()

    def again(self) -> None:
        """Look at once: after a reload."""
        self._now.set()

    async def run(self) -> None:
        """Go on looking, until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._now.wait(), EVERY)
            self._now.clear()
            await self.look()

    async def look(self) -> None:
        """One look; what is new is said once."""
        try:
            public = await asyncio.to_thread(found, self._profile())
        except Undecided as error:
            self._say(str(error), "public address unknown", {"told": self._told, "why": str(error)})
            return
        now = public.address if public.behind_nat else ""
        if now == self._told:
            self._said = ""
        else:
            what = {"told": self._told or "none", "now": public.address, "do": "edgesip restart"}
            self._say(now, "public address changed", what)

    def _say(self, what: str, event: str, fields: dict[str, Any]) -> None:
        if what != self._said:
            self._said = what
            self._log("warning", event, fields)
