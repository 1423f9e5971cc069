"""What outlives the process: maps and links under names in a bpffs.

Holds the names. A program at an interface without a link is remembered by its pinned program. Refuses to know
what is in the maps, and where the folder should be.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from edgesip.relay.kernel import bpf
from edgesip.relay.kernel.attach import Held

_WAYS: Final = ("tc", "xdp", "filter", "qdisc")
_IFINDEX: Final = struct.Struct("=16xI")


class Pins:
    """A folder in a bpffs that is ours alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def make(self) -> None:
        """Have the folder; raises OSError."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def map(self, name: str) -> bpf.Map | None:
        """The map of that name, None when there is none."""
        return bpf.Map.pinned(self._folder / name)

    def keep(self, name: str, fd: int) -> None:
        """Pin it under this name, in place of what had it."""
        path = self._folder / name
        path.unlink(missing_ok=True)
        bpf.pin(fd, path)

    def hold(self, held: Held, program: int) -> None:
        """Pin a program's being at an interface."""
        self.keep(f"{held.way}-{held.ifindex}", held.link if held.link >= 0 else program)

    def forget(self, held: Held) -> None:
        """Take that pin away."""
        (self._folder / f"{held.way}-{held.ifindex}").unlink(missing_ok=True)

    def held(self) -> Iterator[Held]:
        """Where programs are; pins of links whose interface is gone are taken away."""
        for path in list(self._folder.iterdir()):
            way, _, number = path.name.partition("-")
            if way not in _WAYS or not number.isdecimal():
                continue
            if way in ("filter", "qdisc"):
                yield Held(way, int(number))
                continue
            link = bpf.pinned(path)
            if link is not None and _IFINDEX.unpack_from(bpf.info(link))[0] == int(number):
                yield Held(way, int(number), link)
                continue
            path.unlink(missing_ok=True)
            if link is not None:
                os.close(link)

    def remove(self) -> None:
        """Leave nothing there. Programs are to be released before."""
        for path in list(self._folder.iterdir()):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # somebody else's folder, and he keeps it
            self._folder.rmdir()
