"""What `[registrar]`, `[path]` and `[outbound]` come to: slices of a profile, a secret that outlives us."""

from __future__ import annotations

import dataclasses
import stat
from pathlib import Path

import pytest

from edgesip import profile
from edgesip.address import Addr, Flow
from edgesip.places import ConfigError
from edgesip.registering import SECRET, lookup_of, path_of, registrar_of, seals_for
from edgesip.sections_registrar import Registrar
from edgesip.signal.location.lookup import LookupSettings
from edgesip.signal.location.registrar import Settings

FLOW = Flow("udp", Addr("203.0.113.1", 5060), Addr("198.51.100.7", 40000))


def told(tmp_path: Path, *sets: str) -> profile.Profile:
    return profile.load("nat-sbc", default_state_dir=tmp_path, sets=list(sets))


def test_every_key_of_the_section_is_somebodys() -> None:
    slices = {field.name for kind in (Settings, LookupSettings) for field in dataclasses.fields(kind)}
    assert set(Registrar.model_fields) - slices == {"case_sensitive", "realm_prefix"}


def test_slices_have_what_the_profile_says(tmp_path: Path) -> None:
    sets = (
        "registrar.use_path=true",
        "registrar.service_route=sip:edge.example.net;lr",
        "registrar.append_branches=false",
        "path.received_format=1",
    )
    here = told(tmp_path, *sets)
    assert registrar_of(here).use_path
    assert registrar_of(here).service_route == ("<sip:edge.example.net;lr>",)
    assert not lookup_of(here).append_branches
    assert path_of(here).received_format == 1


def test_tokens_are_the_same_after_a_restart(tmp_path: Path) -> None:
    token = seals_for(told(tmp_path)).flows.token(FLOW)
    file = tmp_path / SECRET
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert seals_for(told(tmp_path)).flows.flow(token) == FLOW
    file.unlink()
    assert seals_for(told(tmp_path)).flows.flow(token) is None


def test_servers_with_one_secret_read_each_others_tokens(tmp_path: Path) -> None:
    said = "outbound.flow_token_secret=a text that both have"
    one = seals_for(told(tmp_path / "one", said))
    other = seals_for(told(tmp_path / "other", said))
    assert other.flows.flow(one.flows.token(FLOW)) == FLOW
    assert not (tmp_path / "one" / SECRET).exists()


def test_a_secret_file_that_was_cut_short_is_made_anew(tmp_path: Path) -> None:
    file = tmp_path / SECRET
    file.write_text("short")
    file.chmod(0o644)
    seals_for(told(tmp_path))
    assert len(file.read_bytes()) > 60
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_secret_that_cannot_be_kept_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / SECRET).symlink_to("/dev/null")
    with pytest.raises(ConfigError, match="the secret cannot be kept"):
        seals_for(told(tmp_path))


@pytest.mark.parametrize(
    "said",
    [
        "outbound.flow_token_secret=short",
        "registrar.service_route=sip:edge.example.net",
        "registrar.service_route=tel:+1;lr",
        "registrar.received_param=a b",
        "registrar.realm_prefix=sip:",
        "registrar.path_mode=3",
        "registrar.outbound_mode=3",
        "registrar.flow_timer=1000",
        "registrar.default_q=1001",
        "registrar.expires_range=101",
        "path.received_name=",
    ],
)
def test_what_means_nothing_is_refused(tmp_path: Path, said: str) -> None:
    with pytest.raises(ConfigError):
        told(tmp_path, said)
