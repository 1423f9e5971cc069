"""`make bench`: measure the server beside its rulers in one run; print a table, write JSON.

    .venv/bin/python bench/run.py [PART ...] [--quick] [--source] [--json FILE]

Parts are registers, calls, relay, memory, delay, steps, overload, usrloc, kept and kernel; all of them by
default.

Figures of different machines, or of different runs, mean little: the same program differs by a quarter from
minute to minute on shared hardware. Ratios of one run, in CPU-seconds of the server, mean something.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from types import MappingProxyType

from parts import calls, delay, kept, kernel, memory, overload, registers, relay, steps, usrloc
from rig import build, needs
from rig.figure import Bench, Figure, table, write
from rig.process import BenchError, cores
from rig.servers import versions

PARTS = MappingProxyType(
    {
        "registers": registers,
        "calls": calls,
        "relay": relay,
        "memory": memory,
        "delay": delay,
        "steps": steps,
        "overload": overload,
        "usrloc": usrloc,
        "kept": kept,
        "kernel": kernel,
    }
)
QUIET = 0.05
"""The part of its time that a server may wait for its core before the reader is told."""
ROOT = Path(__file__).parent.parent


def main(arguments: list[str]) -> int:
    """Measure what was asked for: 0 when all of it was measured, 1 when not, 2 when nothing could be.

    A bar that was missed is in the table and the JSON; it is no failure of the bench.
    """
    parser = argparse.ArgumentParser(description="Measure edgesip beside Kamailio and rtpengine.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{' '.join(PARTS)}; all by default")
    parser.add_argument(
        "--quick", action="store_true", help="short loads: a smoke test more than a measurement"
    )
    parser.add_argument(
        "--source",
        action="store_true",
        help="measure the sources as a checkout runs them, not the machine code that the deb ships",
    )
    parser.add_argument("--json", type=Path, default=ROOT / "dist" / "bench.json", help="where the JSON goes")
    options = parser.parse_args(arguments)
    if unknown := [part for part in options.parts if part not in PARTS]:
        parser.error(f"no such part: {' '.join(unknown)}; there are {' '.join(PARTS)}")
    chosen = [name for name in PARTS if not options.parts or name in options.parts]

    os.environ["PATH"] += ":/usr/sbin:/sbin"
    wanted = sorted({program for name in chosen for program in PARTS[name].NEEDS})
    if not options.source:
        wanted += build.NEEDS
    if refusal := needs.provide(wanted):
        print(refusal, file=sys.stderr)
        return 2
    figures: list[Figure] = []
    failed: dict[str, str] = {}
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="edgesip-bench-") as directory:
        bench = Bench(options.quick, Path(directory), cores())
        if not options.source:
            print("compiling, as the deb does", flush=True)
            build.shipped(ROOT, Path(directory))
        alone = needs.own_network()  # from here on nothing can be fetched
        where = "in a network of its own" if alone else "on this host's loopback"
        print("measuring", *chosen, where, flush=True)
        for name in chosen:
            part = time.monotonic()
            try:
                figures += PARTS[name].run(bench)
            except BenchError as error:
                failed[name] = str(error)
            print(f"{name}: {time.monotonic() - part:.0f} s", flush=True)
    about = {
        "quick": options.quick,
        "compiled": not options.source,
        "seconds": round(time.monotonic() - begin, 1),
        "cores": os.cpu_count(),
        "versions": versions(),
        "failed": failed,
    }
    write(options.json, figures, about)
    print(table(figures))
    if (worst := max((figure.disturbed for figure in figures), default=0.0)) > QUIET:
        print(f"a server stood in line for its core for up to {worst:.0%} of a measurement: others ran there")
    for name, why in failed.items():
        print(f"{name} was not measured: {why}", file=sys.stderr)
    print(f"written to {options.json}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
