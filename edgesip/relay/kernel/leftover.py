"""What a server that was killed has left in the kernel, taken away.

Refuses to know whether a server still runs there: whoever asks has looked.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from edgesip.relay.kernel import bpffs

_FEW = 16
"""Flows that there is room for in what is about to be removed."""


class Leftover(NamedTuple):
    """Where something was left, None for nothing; and why it is still there, as a sentence."""

    path: Path | None
    why: str = ""


def take_away(state_dir: Path, host: Path = bpffs.HOST) -> Leftover:
    """Remove flows, programs and pins of the server with this state directory."""
    path = bpffs.left(state_dir, host)
    if path is None:
        return Leftover(None)
    from edgesip.relay.kernel.program import KernelError, Program  # with numpy, and seldom needed

    try:
        Program.load(_FEW, path).remove()
    except (KernelError, OSError) as error:
        return Leftover(path, str(error))
    bpffs.clear(state_dir, host)
    return Leftover(path)
