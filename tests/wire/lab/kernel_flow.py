"""Loads the kernel program with pins, puts the flows it is told, and waits to be killed.

`kernel_flow.py PINS IFINDEX FLOWS`: FLOWS is JSON, a list of [local, remote, via, to], each of them
[host, port]. Prints "ready". Without PINS ("-") it says what a load says, and ends.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from edgesip.address import Addr
from edgesip.relay.kernel.abi import KernelFlow
from edgesip.relay.kernel.program import KernelError, Program


def main(pins: str, ifindex: int, flows: str) -> None:
    """Load, put, wait."""
    try:
        program = Program.load(100, None if pins == "-" else Path(pins))
        program.file("xdp")
        program.attach(ifindex)
    except KernelError as error:
        print(error)
        return
    for ends in json.loads(flows):
        local, remote, via, to = (Addr(host, port) for host, port in ends)
        program.put(KernelFlow(local, remote, via, to, ifindex))
    print("ready", flush=True)
    if pins != "-":
        time.sleep(60)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
