"""The music on hold that comes with edgesip, made of nothing but numbers: `compose.py [DIRECTORY]`.

Four bars of broken chords on something between a harp and an electric piano, 9.6 seconds that go round
without a seam: every tone that is still sounding at the end sounds on at the beginning. Writes `moh.0`,
`moh.8` and whatever else there is an encoder for. The files are committed; run this to make them again.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgesip.relay.sound import Sound, tracks_of

RATE = 16000
STEP = 0.3
"""Seconds between two tones: half a beat at 100 beats a minute."""
BARS = (
    # the bass, and eight tones from it, as keys of a piano (69 is the A of 440 Hz)
    (48, (60, 64, 67, 71, 72, 71, 67, 64)),  # C with its seventh
    (45, (60, 64, 67, 69, 72, 69, 67, 64)),  # A minor
    (41, (57, 60, 65, 69, 72, 69, 65, 60)),  # F
    (43, (59, 62, 67, 69, 74, 71, 67, 62)),  # G with its sixth
)
LOUDEST = 0.35
"""Of full scale: about as loud as a voice."""

Samples = NDArray[np.float64]


def tone(key: int, seconds: float, softness: float) -> Samples:
    """A plucked tone: harmonics that fade, the higher the sooner, after a soft start."""
    time = np.arange(round(seconds * RATE)) / RATE
    pitch = 440.0 * 2 ** ((key - 69) / 12)
    sound = np.zeros(len(time))
    for number, level in enumerate((1.0, 0.32, 0.14, 0.06), start=1):
        sound += level * np.sin(2 * np.pi * pitch * number * time) * np.exp(-time * number / softness)
    attack = np.clip(time / 0.012, 0.0, 1.0)
    release = np.clip((seconds - time) / 0.05, 0.0, 1.0)
    sound *= np.sin(attack * np.pi / 2) ** 2 * release
    return sound


def loop() -> Sound:
    """The whole of it, once round."""
    steps = sum(len(tones) for _, tones in BARS)
    whole = np.zeros(round(steps * STEP * RATE))
    at = 0
    for bass, tones in BARS:
        parts = [(0, bass, 2.4, 0.9, 0.7)]
        parts += [(number, key, 1.5, 0.45, 0.45) for number, key in enumerate(tones)]
        for number, key, seconds, softness, level in parts:
            sound = tone(key, seconds, softness) * level
            places = (round((at + number) * STEP * RATE) + np.arange(len(sound))) % len(whole)
            np.add.at(whole, places, sound)
        at += len(tones)
    return Sound(whole * (LOUDEST / np.abs(whole).max()), RATE)


def main(directory: Path) -> None:
    """Write it in every codec there is an encoder for."""
    for code, track in tracks_of(loop()).items():
        (directory / f"moh.{code}").write_bytes(track)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent / "edgesip" / "prompts")
