"""What `[relay]` and `[rtpproxy]` mean to the relay and to route scripts: interfaces, ports, marks of SDP."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

from edgesip.forms import PortRange
from edgesip.places import ConfigError
from edgesip.profile import Profile
from edgesip.relay.core import RelayCore, Settings
from edgesip.relay.interface import Interface
from edgesip.script.rooms import RtpproxyRules
from edgesip.script.template import pieces


def settings_of(profile: Profile, hosts: tuple[str, ...], max_sessions: int) -> Settings:
    """The relay's slice; `hosts` are the addresses that SIP is listened for on."""
    section = profile.relay
    return Settings(
        enabled=True,
        address=section.address,
        advertise=section.advertise,
        low=section.ports.low,
        high=section.ports.high,
        timeout=float(section.timeout),
        max_sessions=max_sessions,
        interfaces=tuple(
            Interface(one.name, one.address, one.advertise, *(one.ports or section.ports))
            for one in section.interface
        ),
        hosts=hosts,
        mark=profile.rtpproxy.nortpproxy_str.encode(),
    )


def ranges_of(profile: Profile) -> frozenset[PortRange]:
    """Every range of ports that media may come to."""
    return frozenset((profile.relay.ports, *(one.ports for one in profile.relay.interface if one.ports)))


def rules_of(profile: Profile) -> RtpproxyRules:
    """What scripts need of `[rtpproxy]`. Raises `ConfigError`."""
    try:
        pieces(profile.rtpproxy.extra_id_pv)
    except ValueError as error:
        raise ConfigError(f"{profile.where('rtpproxy.extra_id_pv')}: rtpproxy.extra_id_pv: {error}") from None
    return RtpproxyRules(profile.rtpproxy.nortpproxy_str.encode(), profile.rtpproxy.extra_id_pv)


def use(profile: Profile, core: RelayCore) -> None:
    """What can change while we run, for calls that begin from now on."""
    core.mark = profile.rtpproxy.nortpproxy_str.encode()


def check(profile: Profile, hosts: tuple[str, ...], not_ours: Callable[[str], str | None]) -> None:
    """Every address is one of this host's, and no port is in two ranges. Raises `ConfigError`.

    `not_ours` says why an address is none of ours, None where it is.
    """
    rules_of(profile)
    section = profile.relay
    places = [("relay.address", section.address or hosts, section.ports)]
    for one in section.interface:
        places.append((f"relay.interface.{one.name}", one.address, one.ports or section.ports))
    for key, addresses, _ in places:
        for host in addresses if key != "relay.address" or section.address else ():
            why = not_ours(host)
            if why is not None:
                raise ConfigError(f"{_where(profile, key)}: {key}: {why}")
    for (first, here, ports), (second, there, others) in combinations(places, 2):
        overlap = ports != others and ports.low <= others.high and others.low <= ports.high
        if overlap and set(here) & set(there):
            raise ConfigError(
                f"{_where(profile, second)}: {second}: its ports {others} and those of {first}, {ports}, are "
                "partly the same on one address: give them the same range, or ranges apart"
            )


def _where(profile: Profile, key: str) -> str:
    return profile.where("relay.address" if key == "relay.address" else "relay.interface")
