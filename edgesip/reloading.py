"""`edgesip reload` and SIGHUP: the route script, and what else can change, put in force while we run.

Everything is made anew first; what is in force changes when nothing can fail any more.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from edgesip import live
from edgesip.places import ConfigError
from edgesip.profile import Profile
from edgesip.script import Script, ScriptError, hooks_of, load
from edgesip.signal.location import registrar
from edgesip.signal.net.service import SignalService

Log = Callable[[str, str, dict[str, Any]], None]


def script_of(profile: Profile) -> Script:
    """The route script of a profile, loaded. Raises `ConfigError`."""
    try:
        return load(profile.route)
    except ScriptError as error:
        raise ConfigError(str(error)) from None


def registrar_of(profile: Profile) -> registrar.Settings:
    """The registrar's slice of a profile."""
    section = profile.registrar
    return registrar.Settings(
        section.default_expires, section.min_expires, section.max_expires, section.max_contacts
    )


class Reloading:
    """What is in force in a running server: `profile`, and the script inside `service`.

    `again` reads the profile as it is now, the command line laid over it; without it the profile stays.
    """

    def __init__(
        self, profile: Profile, again: Callable[[], Profile] | None, service: SignalService, log: Log
    ) -> None:
        self.profile = profile
        self._again = again
        self._service = service
        self._log = log

    def reload(self) -> dict[str, Any]:
        """Take up what can be: says which keys changed, and which take a restart.

        Raises `ConfigError`, and everything is as it was.
        """
        new = self._again() if self._again is not None else self.profile
        script, keys = script_of(new), live.changed(self.profile, new)
        self.profile = profile = live.taken(self.profile, new)
        service = self._service
        if service.rooms.upstream is not None:
            service.rooms.upstream.users = profile.upstream_users
        rooms = replace(service.rooms, trusted=profile.permissions.trusted, auth_enabled=profile.auth.enabled)
        service.use(script, rooms)
        service.core.use(hooks_of(script, rooms, time.monotonic), registrar_of(profile))
        result = {
            "route": script.path,
            "changed": [key for key in keys if key in live.LIVE],
            "restart": [key for key in keys if key not in live.LIVE],
        }
        self._log("info", "reloaded", result)
        return result

    def hangup(self) -> None:
        """SIGHUP: the same, and nobody to tell but the log."""
        try:
            self.reload()
        except ConfigError as error:
            self._log("error", "reload failed", {"why": str(error)})
