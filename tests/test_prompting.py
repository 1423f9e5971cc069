"""`[rtpproxy]` of a profile and prompts: where they are looked for, and what is told when one is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgesip import profile, prompting
from edgesip.relay.core import RelayCore, Settings
from edgesip.relay.path import UserPath
from edgesip.relay.shelf import SHIPPED


def core() -> RelayCore:
    settings = Settings(True, (), (), 20000, 20099, 60.0, 10)
    return RelayCore(
        settings, bind=lambda pair: True, unbind=lambda pair: None, path=UserPath(), entropy=bytes
    )


def used(directory: Path, *sets: str) -> tuple[RelayCore, list[tuple[str, str, dict[str, Any]]]]:
    """A core after the profile's wishes, and what the log got."""
    wanted = profile.load("nat-sbc", default_state_dir=directory, sets=sets)
    said: list[tuple[str, str, dict[str, Any]]] = []
    relay = core()
    prompting.use(wanted, relay, prompting.shelf_of(wanted), lambda *line: said.append(line))
    return relay, said


def test_no_music_unless_it_is_wanted(tmp_path: Path) -> None:
    relay, said = used(tmp_path)
    assert (relay.playing.music, said) == ("", [])


def test_the_music_that_comes_with_the_package(tmp_path: Path) -> None:
    relay, said = used(tmp_path, "rtpproxy.moh=moh")
    assert (relay.playing.music, said) == ("moh", [])


def test_music_of_ones_own_is_found_in_the_state_directory_and_wherever_it_is_said(tmp_path: Path) -> None:
    for place in ("prompts", "elsewhere"):
        (tmp_path / place).mkdir()
        (tmp_path / place / f"{place}.0").write_bytes(bytes(160))
    assert used(tmp_path, "rtpproxy.moh=prompts")[1] == []
    assert used(tmp_path, f"rtpproxy.prompt_dir={tmp_path}/elsewhere", "rtpproxy.moh=elsewhere")[1] == []
    wanted = profile.load("nat-sbc", default_state_dir=tmp_path)
    assert prompting.shelf_of(wanted).directories == (tmp_path / "prompts", SHIPPED)


def test_a_prompt_that_is_not_there_is_told(tmp_path: Path) -> None:
    relay, said = used(tmp_path, "rtpproxy.moh=hold")
    assert relay.playing.music == "hold", "it may still be made"
    assert said == [("warning", "no such prompt", {"moh": "hold", "do": "edgesip prompt make FILE.wav hold"})]


@pytest.mark.parametrize("name", ["../hold", "a b", ".hold", "x" * 65])
def test_what_no_prompt_can_be_called(tmp_path: Path, name: str) -> None:
    with pytest.raises(profile.ConfigError, match=r"rtpproxy\.moh"):
        profile.load("nat-sbc", default_state_dir=tmp_path, sets=[f"rtpproxy.moh={name}"])
