"""Prompts found by name: a file for each codec, directories in turn, files that change."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest

from edgesip.relay import sound
from edgesip.relay.shelf import SHIPPED, Shelf

ROOT = Path(__file__).parent.parent.parent


def test_a_file_for_each_codec(tmp_path: Path) -> None:
    (tmp_path / "hold.0").write_bytes(b"u" * 1600)
    (tmp_path / "hold.8").write_bytes(b"a" * 1600)
    (tmp_path / "hold.wav").write_bytes(b"RIFF")
    (tmp_path / "hold.99").write_bytes(b"x")
    (tmp_path / "hold.9").write_bytes(b"")
    prompt = Shelf([tmp_path]).find("hold")
    assert prompt is not None
    assert prompt.tracks == {0: b"u" * 1600, 8: b"a" * 1600}


def test_the_first_directory_that_has_it(tmp_path: Path) -> None:
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    for directory, octet in ((mine, b"m"), (theirs, b"t")):
        directory.mkdir()
        (directory / "hold.0").write_bytes(octet * 160)
    (theirs / "hold.8").write_bytes(b"t" * 160)
    (theirs / "bye.0").write_bytes(b"t" * 8000)
    shelf = Shelf([mine, theirs])
    found = shelf.find("hold")
    assert found is not None
    assert found.tracks == {0: b"m" * 160}, "not two recordings mixed"
    assert [(one.name, one.directory, one.codecs, one.seconds) for one in shelf.entries()] == [
        ("bye", theirs, ("PCMU",), 1.0),
        ("hold", mine, ("PCMU",), 0.0),
    ]


@pytest.mark.parametrize("name", ["", "nobody", "../hold", "a/b", ".hold", "hold\0", "hold.0", "x" * 300])
def test_no_prompt(tmp_path: Path, name: str) -> None:
    (tmp_path / "hold.0").write_bytes(b"u" * 160)
    assert Shelf([tmp_path / "not there", tmp_path]).find(name) is None


def test_an_absolute_path_as_rtpproxy_takes_it(tmp_path: Path) -> None:
    (tmp_path / "hold.0").write_bytes(b"u" * 160)
    assert Shelf([]).find(f"{tmp_path}/hold") is not None
    assert Shelf([]).find(f"{tmp_path}/other") is None


def test_a_file_that_changes_is_read_again_and_one_that_does_not_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "hold.0"
    file.write_bytes(b"1" * 160)
    shelf = Shelf([tmp_path])
    first = shelf.find("hold")
    assert shelf.find("hold") is first
    file.write_bytes(b"2" * 160)
    os.utime(file, ns=(1, 1))
    second = shelf.find("hold")
    assert second is not None
    assert second.tracks == {0: b"2" * 160}
    file.unlink()
    assert shelf.find("hold") is None


def test_the_shipped_music_is_a_loop_in_every_codec() -> None:
    prompt = Shelf([SHIPPED]).find("moh")
    assert prompt is not None
    assert set(prompt.tracks) == {0, 3, 8, 9}
    heard = sound.from_ulaw(prompt.tracks[0])
    assert len(heard) == 9.6 * sound.RATE
    assert 0.05 < float(np.sqrt((heard**2).mean())) < 0.2, "as loud as a voice"
    assert float(np.abs(np.diff(heard, append=heard[0])[-3:]).max()) < 0.05, "no click where it goes round"
    other = sound.from_alaw(prompt.tracks[8])
    assert np.corrcoef(heard, other)[0, 1] > 0.999


def test_the_shipped_music_is_what_the_score_makes() -> None:
    spec = importlib.util.spec_from_file_location("compose", ROOT / "packaging" / "compose.py")
    assert spec is not None
    assert spec.loader is not None
    compose = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(compose)
    shipped = sound.from_ulaw((SHIPPED / "moh.0").read_bytes())
    made = sound.from_ulaw(sound.tracks_of(compose.loop())[0])
    assert np.abs(shipped - made).max() < 0.05, "but for the last bits, which other libraries round otherwise"
