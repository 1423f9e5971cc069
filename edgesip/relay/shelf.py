"""The shelf of prompts: recordings found by name in directories, a file for each codec.

`hold.0` is `hold` in PCMU, `hold.8` in PCMA: headerless frames, the static payload type for an ending, as
rtpproxy and its makeann have them. What was read is kept until a file changes. Knows no calls.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from edgesip.forms_rtp import is_prompt_name
from edgesip.relay.prompt import CODECS, Prompt

SHIPPED = Path(__file__).parent.parent / "prompts"
"""The prompts that come with the package."""
LARGEST = 32 * 1024 * 1024
"""Octets of a file that is still read: more than an hour of G.711."""
KEPT = 64
"""Prompts that are kept in memory at most; the one that was read first goes."""

Stamp = tuple[tuple[int, int, int], ...]


class Entry(NamedTuple):
    """A prompt on the shelf: its directory, the codecs it is there in, and how long it takes."""

    name: str
    directory: Path
    codecs: tuple[str, ...]
    seconds: float


class Shelf:
    """The prompts of some directories, the first one that has a name wins."""

    def __init__(self, directories: Sequence[Path]) -> None:
        self.directories = tuple(directories)
        self._kept: dict[str, tuple[Stamp, Prompt]] = {}

    def find(self, name: str) -> Prompt | None:
        """A prompt by its name, or by an absolute path without the ending; None when there is none."""
        stem = self._stem(name)
        if stem is None:
            return None
        stamp = _stamp(stem)
        kept = self._kept.get(name)
        if kept is not None and kept[0] == stamp:
            return kept[1]
        tracks = {}
        for code, _, size in stamp:
            try:
                if size <= LARGEST:
                    tracks[code] = Path(f"{stem}.{code}").read_bytes()
            except OSError:
                continue
        self._kept.pop(name, None)
        if not tracks:
            return None
        if len(self._kept) >= KEPT:
            del self._kept[next(iter(self._kept))]
        prompt = Prompt(name, tracks)
        self._kept[name] = (stamp, prompt)
        return prompt

    def entries(self) -> Iterator[Entry]:
        """Every prompt that has a name, by name."""
        names = {file.stem for directory in self.directories for file in _files(directory)}
        for name in sorted(names):
            stem = self._stem(name)
            if stem is None:
                continue
            stamp = _stamp(stem)
            seconds = max(size / CODECS[code].octets * CODECS[code].ms / 1000 for code, _, size in stamp)
            codecs = tuple(CODECS[code].name for code, _, _ in stamp)
            yield Entry(name, Path(stem).parent, codecs, round(seconds, 1))

    def _stem(self, name: str) -> str | None:
        """The path without the ending of what this name means."""
        if name.startswith("/"):
            return name
        if not is_prompt_name(name):
            return None
        stems = (str(directory / name) for directory in self.directories)
        return next((stem for stem in stems if _stamp(stem)), None)


def _stamp(stem: str) -> Stamp:
    """Which files there are, when they were written, and how long they are."""
    found = []
    for code in CODECS:
        try:
            status = os.stat(f"{stem}.{code}")
        except (OSError, ValueError):
            continue
        if status.st_size:
            found.append((code, status.st_mtime_ns, status.st_size))
    return tuple(found)


def _files(directory: Path) -> Iterator[Path]:
    try:
        for file in directory.iterdir():
            if file.suffix[1:].isdigit() and int(file.suffix[1:]) in CODECS and is_prompt_name(file.stem):
                yield file
    except OSError:
        return
