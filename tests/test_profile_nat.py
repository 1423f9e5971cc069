"""`[nathelper]` and `[stun]` of a profile: what they mean to the rooms, and what is refused where."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgesip import pinging, profile
from edgesip.address import Addr
from edgesip.places import ConfigError
from edgesip.profile import Profile
from edgesip.signal.nat.keepalive import Settings
from edgesip.signal.nat.rules import NatRules


def loaded(tmp_path: Path, *sets: str) -> Profile:
    return profile.load("nat-sbc", default_state_dir=tmp_path, sets=[f"nathelper.{one}" for one in sets])


def test_the_shipped_profile_means_what_the_rooms_do_by_themselves(tmp_path: Path) -> None:
    shipped = loaded(tmp_path)
    assert pinging.pings_of(shipped) == Settings()
    assert pinging.rules_of(shipped) == NatRules()
    assert shipped.stun.enabled


def test_every_key_reaches_its_room(tmp_path: Path) -> None:
    other = loaded(
        tmp_path,
        "natping_interval=30",
        "ping_nated_only=true",
        "sipping_bflag=5",
        "natping_disable_bflag=4",
        "sipping_method=INFO",
        "sipping_from=sip:a@example.net",
        "keepalive_timeout=100",
        "force_socket=udp:192.0.2.1:5070",
        "ignore_path=true",
        "alias_name=hole",
        "nat_addr_mode=0",
        "nortpproxy_str=",
        "append_sdp_oldmediaip=false",
    )
    assert pinging.pings_of(other) == Settings(
        30.0, True, 5, 4, "INFO", "sip:a@example.net", 100.0, Addr("192.0.2.1", 5070), True
    )
    assert pinging.rules_of(other) == NatRules("hole", 0, "", False)


@pytest.mark.parametrize(
    ("sets", "told"),
    [
        (("keepalive_timeout=60", "sipping_bflag=-1"), "nobody answers four octets"),
        (("keepalive_timeout=20",), "longer than natping_interval"),
        (("sipping_method=INVITE",), "INVITE opens or ends something"),
        (("sipping_bflag=32",), "sipping_bflag"),
        (("nat_addr_mode=2",), "nat_addr_mode"),
        (("force_socket=tcp:192.0.2.1:5060",), "phones over connections are not pinged"),
        (("force_socket=192.0.2.1",), "force_socket"),
        (("nortpproxy_str=nonsense",), "a line of SDP"),
        (("alias_name=a b",), "name of a parameter"),
        (("alias_name=transport",), "means something else"),
    ],
)
def test_what_is_refused(tmp_path: Path, sets: tuple[str, ...], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        loaded(tmp_path, *sets)


def test_pings_leave_by_a_listener_of_ours_or_the_server_does_not_start(tmp_path: Path) -> None:
    forced = loaded(tmp_path, "force_socket=udp:192.0.2.1:5060")
    pinging.check_socket(forced, [("udp", Addr("192.0.2.1", 5060))])
    pinging.check_socket(loaded(tmp_path), [])
    for listens in ([("tcp", Addr("192.0.2.1", 5060))], [("udp", Addr("192.0.2.1", 5061))]):
        with pytest.raises(ConfigError, match="none of the addresses we listen on"):
            pinging.check_socket(forced, listens)
