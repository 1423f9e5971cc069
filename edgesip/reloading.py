"""`edgesip reload` and SIGHUP: the route script, and what else can change, put in force while we run.

Everything is made anew first; what is in force changes when nothing can fail any more.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from edgesip import keeping, live, pinging, proving, relaying, subscribing
from edgesip.guarding import addresses_of, put, trusted_of
from edgesip.lending import Lent
from edgesip.locating import usrloc_of
from edgesip.places import ConfigError
from edgesip.profile import Profile
from edgesip.registering import lookup_of, path_of, registrar_of
from edgesip.script import Script, ScriptError, hooks_of, load
from edgesip.sections import Tm
from edgesip.signal.net.service import SignalService
from edgesip.signal.transaction.settings import TmSettings

Log = Callable[[str, str, dict[str, Any]], None]


def script_of(profile: Profile) -> Script:
    """The route script of a profile, loaded. Raises `ConfigError`."""
    try:
        return load(profile.route)
    except ScriptError as error:
        raise ConfigError(str(error)) from None


def tm_of(tm: Tm) -> TmSettings:
    """The `[tm]` section in seconds, its words read."""
    words = [word.strip().split("=") for word in tm.failover_reply_codes.split(";") if word.strip()]
    blst = (tm.blst_503_def_timeout, tm.blst_503_min_timeout, tm.blst_503_max_timeout)
    return TmSettings(
        fr_timer=tm.fr_timer / 1000,
        fr_inv_timer=tm.fr_inv_timer / 1000,
        wt_timer=tm.wt_timer / 1000,
        max_inv_lifetime=tm.max_inv_lifetime / 1000,
        max_noninv_lifetime=tm.max_noninv_lifetime / 1000,
        retr_timer1=tm.retr_timer1 / 1000,
        retr_timer2=tm.retr_timer2 / 1000,
        restart_fr_on_each_reply=tm.restart_fr_on_each_reply,
        auto_inv_100=tm.auto_inv_100,
        auto_inv_100_reason=tm.auto_inv_100_reason,
        aggregate_challenges=tm.aggregate_challenges,
        cancel_b_method=tm.cancel_b_method,
        unmatched_cancel=tm.unmatched_cancel,
        failure_reply_mode=tm.failure_reply_mode,
        faked_reply_prio=tm.faked_reply_prio,
        local_cancel_reason=tm.local_cancel_reason,
        e2e_cancel_reason=tm.e2e_cancel_reason,
        remap_503_500=tm.remap_503_500,
        disable_6xx_block=tm.disable_6xx_block,
        failover_codes=frozenset(int(value) for kind, value in words if kind == "code"),
        failover_classes=frozenset(int(value) for kind, value in words if kind == "class"),
        reply_408_code=tm.reply_408_code,
        reply_408_reason=tm.reply_408_reason,
        default_code=tm.default_code,
        default_reason=tm.default_reason,
        blst_503=blst if tm.blst_503 else None,
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
        self.lent: Lent | None = None

    def reload(self) -> dict[str, Any]:
        """Take up what can be: says which keys changed, and which take a restart.

        Raises `ConfigError`, and everything is as it was.
        """
        new = self._again() if self._again is not None else self.profile
        script, keys = script_of(new), live.changed(self.profile, new)
        profile, service = live.taken(self.profile, new), self._service
        rules = relaying.rules_of(profile)
        put(service.core.guard, profile, addresses_of(profile), trusted_of(profile))
        self.profile = profile
        if service.rooms.upstream is not None:
            service.rooms.upstream.users = profile.upstream_users
        rooms = replace(
            service.rooms,
            lookup=lookup_of(profile),
            path=path_of(profile),
            nat=pinging.rules_of(profile),
            rtpproxy=rules,
        )
        rooms = proving.rooms_of(rooms, script, profile)
        service.core.digest.use(proving.digest_settings(profile.auth))
        service.use(script, rooms)
        service.core.usrloc.settings = usrloc_of(profile)
        service.core.use(hooks_of(script, rooms, time.monotonic), registrar_of(profile))
        pinging.use(profile, service.core)
        keeping.use(profile, service.core)
        subscribing.use(profile, service.core)
        if self.lent is not None:
            self.lent.use(profile)
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
