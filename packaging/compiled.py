"""Compile the rooms on the way of a message into machine code: `compiled.py TREE`.

TREE is a folder that holds the package `edgesip`; beside each module that mypyc takes appears its extension,
which Python then imports in place of the source. Only what is packaged is compiled: a checkout runs as it is
written. Runs where mypy, setuptools, a C compiler and Python's headers are.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from mypyc.build import mypycify
from setuptools import setup

COMPILED = (
    "address.py",
    "script/*.py",
    "signal/*.py",
    "signal/wire/*.py",
    "signal/transaction/*.py",
    "signal/proxy/*.py",
    "signal/dialog/*.py",
    "signal/location/*.py",
    "signal/nat/*.py",
    "signal/guard/*.py",
    "signal/net/outbox.py",
    "signal/net/service.py",
    "control/log.py",
    "control/ring.py",
    "relay/rtp.py",
    "relay/rule.py",
    "relay/ports.py",
    "relay/sdp.py",
    "relay/interface.py",
    "relay/leg.py",
    "relay/latch.py",
    "relay/session.py",
    "relay/silence.py",
    "relay/past.py",
    "relay/listing.py",
    "relay/desk.py",
    "relay/chain.py",
    "relay/resize.py",
    "relay/record.py",
    "relay/sinks.py",
    "relay/switches.py",
    "relay/packets.py",
    "relay/prompt.py",
    "relay/playing.py",
    "relay/track.py",
    "relay/mos.py",
    "relay/reports.py",
    "relay/figures.py",
    "relay/why.py",
    "relay/cases.py",
    "relay/watch.py",
    "relay/core.py",
    "relay/path.py",
    "relay/links.py",
    "relay/service.py",
)


def main(tree: Path) -> None:
    """Compile in place, by way of `TREE/build`, which is gone afterwards."""
    os.chdir(tree)
    os.environ.setdefault("CFLAGS", "-O2 -g0 -fvisibility=hidden -fno-semantic-interposition")
    package = Path("edgesip")
    found = {str(file) for pattern in COMPILED for file in package.glob(pattern)}
    modules = sorted(name for name in found if not name.endswith("__init__.py"))
    extensions = mypycify(
        ["--ignore-missing-imports", *modules],
        opt_level="2",
        group_name="edgesip",
        target_dir="build",
        multi_file=True,  # one file of all takes the compiler twice as long, and runs no faster
    )
    setup(
        name="edgesip-compiled",
        packages=[],
        ext_modules=extensions,
        script_args=["-q", "build_ext", "--inplace"],
    )
    shutil.rmtree("build")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
