"""What `[nathelper]`, `[stun]` and the `ka_` keys of `[usrloc]` mean to the rooms.

Who is pinged, what scripts repair, who hears STUN.

Each is given its slice of the profile; what they do with it they know themselves.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgesip.address import Addr
from edgesip.places import ConfigError
from edgesip.profile import Profile
from edgesip.signal.core import SignalCore
from edgesip.signal.guard.pike import LEVELS
from edgesip.signal.nat import liveness
from edgesip.signal.nat.keepalive import Settings
from edgesip.signal.nat.rules import NatRules


def pings_of(profile: Profile) -> Settings:
    """The pinger's slice of a profile."""
    section = profile.nathelper
    force = section.force_socket
    return Settings(
        interval=float(section.natping_interval),
        ping_nated_only=section.ping_nated_only,
        sipping_bflag=section.sipping_bflag,
        natping_disable_bflag=section.natping_disable_bflag,
        sipping_method=section.sipping_method,
        sipping_from=section.sipping_from,
        timeout=float(section.keepalive_timeout),
        force_socket=Addr(force.host, force.port) if force is not None else None,
        ignore_path=section.ignore_path,
        natping_socket=section.natping_socket,
        udpping_from_path=section.udpping_from_path,
    )


def liveness_of(profile: Profile) -> liveness.Settings:
    """The slice of usrloc's own keepalive."""
    section = profile.usrloc
    return liveness.Settings(
        mode=section.ka_mode,
        interval=float(section.ka_interval),
        randomize=float(section.ka_randomize),
        timeout=float(section.ka_timeout),
        method=section.ka_method,
        sender=section.ka_from,
        domain=section.ka_domain,
        reply_codes=section.ka_reply_codes,
        log_level=LEVELS.get(section.ka_loglevel, ""),
    )


def rules_of(profile: Profile) -> NatRules:
    """What route scripts go by."""
    section = profile.nathelper
    return NatRules(
        alias_name=section.alias_name,
        nat_addr_mode=section.nat_addr_mode,
        nortpproxy_str=section.nortpproxy_str,
        append_sdp_oldmediaip=section.append_sdp_oldmediaip,
    )


def check_socket(profile: Profile, listens: Sequence[tuple[str, Addr]]) -> None:
    """Raises `ConfigError` when pings shall leave by an address that is not listened on."""
    force = profile.nathelper.force_socket
    if force is not None and ("udp", Addr(force.host, force.port)) not in listens:
        key = "nathelper.force_socket"
        raise ConfigError(f"{profile.where(key)}: {key}: {force} is none of the addresses we listen on")


def use(profile: Profile, core: SignalCore) -> None:
    """What of these sections can change while we run, put in force."""
    core.stun.enabled = profile.stun.enabled
    core.pinger.use(pings_of(profile))
    core.liveness.use(liveness_of(profile))
