"""A program at an interface: by a tcx link, or by an XDP link.

Holds how an interface is taken and let go, and what kinds of interfaces are refused. Refuses to know what the
program does, maps, and which interfaces matter.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Final, NamedTuple

from edgesip.relay.kernel import bpf

HOOKS: Final = ("tc", "xdp")
_ETHERNET: Final = {"1", "772"}  # ARPHRD_ETHER, ARPHRD_LOOPBACK: their frames begin with MAC addresses


class AttachError(Exception):
    """A program cannot be at an interface; the sentence says why."""


class Link(NamedTuple):
    """A program at an interface, by its link's file."""

    fd: int
    hook: str


def interface(ifindex: int) -> str:
    """The interface's name; raises AttachError when there is none or its frames are not Ethernet's."""
    try:
        name = socket.if_indextoname(ifindex)
        kind = Path("/sys/class/net", name, "type").read_text().strip()
    except OSError as error:
        raise AttachError(f"there is no interface {ifindex}") from error
    if kind not in _ETHERNET:
        raise AttachError(f"{name} has no Ethernet frames")
    return name


def attach(program: int, ifindex: int, hook: str) -> Link:
    """Have a program at an interface; raises AttachError."""
    name = interface(ifindex)
    ways = ((bpf.TCX_INGRESS, 0),) if hook == "tc" else ((bpf.AT_XDP, bpf.XDP_NATIVE),)
    for at, flags in ways:
        try:
            return Link(bpf.link(program, ifindex, at, flags), hook)
        except bpf.BpfError as error:
            reason = error
    raise AttachError(f"{hook} at {name}: {os.strerror(reason.errno or 0)}") from reason
