"""`[relay]`, `[relay.interface.NAME]` and `[rtpproxy]`: what may stand there, what the rooms are given."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgesip.forms import PortRange
from edgesip.places import ConfigError
from edgesip.profile import Profile, load
from edgesip.relay.interface import Interface
from edgesip.relaying import check, ranges_of, rules_of, settings_of

TWO = """
[relay.interface.internal]
address = "10.0.0.1"
[relay.interface.external]
address = ["192.0.2.1", "2001:DB8::1"]
advertise = "203.0.113.5"
ports = "40000-42000"
"""
HOSTS = ("192.0.2.9",)


def read(directory: Path, text: str, *sets: str) -> Profile:
    (directory / "route.py").write_text("")
    file = directory / "mine.toml"
    file.write_text('route = "route.py"\n' + text)
    return load(str(file), default_state_dir=directory, sets=list(sets))


def refusal(directory: Path, text: str, *sets: str) -> str:
    """What is said of this profile."""
    with pytest.raises(ConfigError) as caught:
        check(read(directory, text, *sets), HOSTS, lambda host: None)
    return str(caught.value).removeprefix(f"{directory}/mine.toml:")


def test_interfaces_have_what_the_profile_says(tmp_path: Path) -> None:
    profile = read(tmp_path, TWO, "relay.ports=20000-21000")
    settings = settings_of(profile, HOSTS, 7)
    assert settings.interfaces == (
        Interface("internal", ("10.0.0.1",), (), 20000, 21000),
        Interface("external", ("192.0.2.1", "2001:db8::1"), ("203.0.113.5",), 40000, 42000),
    )
    assert (settings.hosts, settings.max_sessions, settings.mark) == (HOSTS, 7, b"a=nortpproxy:yes")
    assert ranges_of(profile) == {PortRange(20000, 21000), PortRange(40000, 42000)}
    check(profile, HOSTS, lambda host: None)


def test_marks_and_names_of_sessions(tmp_path: Path) -> None:
    profile = read(tmp_path, "", "rtpproxy.nortpproxy_str=a=mine:1", "rtpproxy.extra_id_pv=$fU-$ci")
    assert (rules_of(profile).nortpproxy_str, rules_of(profile).extra_id_pv) == (b"a=mine:1", "$fU-$ci")
    none = read(tmp_path, '[rtpproxy]\nnortpproxy_str = ""\n')
    assert rules_of(none).nortpproxy_str == settings_of(none, HOSTS, 1).mark == b""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('[relay]\ninterface = "lan"\n', "3: relay.interface: must be sections of the profile file"),
        ("[relay.interface.lan]\n", "2: relay.interface: lan: address is missing"),
        ('[relay.interface]\nlan = "10.0.0.1"\n', "2: relay.interface: must be a section with a name"),
        ('[relay.interface."0"]\naddress = "10.0.0.1"\n', "2: relay.interface: '0' is no name"),
        ('[relay.interface."a b"]\naddress = "10.0.0.1"\n', "2: relay.interface: 'a b' is no name"),
        ('[relay.interface.lan]\naddress = "lan"\n', "2: relay.interface: "),
        (
            '[relay.interface.lan]\naddress = "10.0.0.1"\nport = 1\n',
            "2: relay.interface: lan: unknown key port",
        ),
        (
            '[relay.interface.lan]\naddress = "10.0.0.1"\nadvertise = "2001:db8::1"\n',
            "2: relay.interface: lan: advertise 2001:db8::1 has no address of its family",
        ),
        ('[relay.interface.lan]\naddress = "10.0.0.1"\nports = "1-2"\n', "2: relay.interface: 1-2: LOW"),
        (
            TWO.replace("40000-42000", "20000-40000").replace("192.0.2.1", "10.0.0.1"),
            "3: relay.interface.external: its ports 20000-40000 and those of relay.interface.internal, ",
        ),
        (
            '[relay.interface.lan]\naddress = "192.0.2.9"\nports = "20000-40000"\n',
            "2: relay.interface.lan: its ports 20000-40000 and those of relay.address, 16384-32767, are",
        ),
        ('[rtpproxy]\nextra_id_pv = "$nothing"\n', "3: rtpproxy.extra_id_pv: "),
        ('[rtpproxy]\nnortpproxy_str = "yes"\n', "3: rtpproxy.nortpproxy_str: must be a line of SDP"),
    ],
)
def test_what_cannot_be_is_told_with_its_line(tmp_path: Path, text: str, why: str) -> None:
    assert refusal(tmp_path, text).startswith(why)


def test_addresses_must_be_ours(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"mine.toml:3: relay.interface.internal: 10.0.0.1 is not here"):
        check(read(tmp_path, TWO), HOSTS, lambda host: f"{host} is not here")
    with pytest.raises(ConfigError, match=r"--set relay.address=192.0.2.7: relay.address: 192.0.2.7 is not"):
        check(read(tmp_path, "", "relay.address=192.0.2.7"), HOSTS, lambda host: f"{host} is not here")
