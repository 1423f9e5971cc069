"""A program at an interface: by a tcx link, before Linux 6.6 by a filter of a clsact qdisc; or by XDP.

Holds how an interface is taken and let go, and which kinds are refused. Probes by trying, not by versions.
Refuses to know what the program does, maps, and which interfaces matter.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import struct
from typing import Final, NamedTuple

from edgesip.relay.kernel import bpf, features, netlink
from edgesip.relay.kernel.netlink import attribute

ETHERNET: Final = (1, 772)
"""ARPHRD_ETHER and ARPHRD_LOOPBACK: their frames begin with MAC addresses."""

_GET_ADDRESS: Final = 0x8927  # SIOCGIFHWADDR, whose answer has the type in place of an address family
_REQUEST: Final = struct.Struct("=16sH22x")
_NEWQDISC, _DELQDISC = 36, 37
_NEWFILTER, _DELFILTER, _GETFILTER = 44, 45, 46
_CREATE, _EXCLUSIVE = 0x400, 0x200
_KIND, _OPTIONS = 1, 2
_FILE, _NAME, _FLAGS, _DIRECT = 6, 7, 8, 1
_QDISC, _CLSACT = 0xFFFF0000, 0xFFFFFFF1
_INGRESS, _EGRESS = 0xFFFFFFF2, 0xFFFFFFF3
_PLACE: Final = 0xED << 16 | socket.htons(3)  # priority among filters, and ETH_P_ALL
_TRAFFIC: Final = struct.Struct("=BxxxiIII")
_NUMBER: Final = struct.Struct("=I")
_TITLE: Final = b"edgesip\0"


class AttachError(Exception):
    """A program cannot be at an interface; the sentence says why."""


class Held(NamedTuple):
    """A program at an interface: `way` is "tc" or "xdp" with a link's file, else "filter" or, where the qdisc
    is ours too, "qdisc"; these have no file.
    """

    way: str
    ifindex: int
    link: int = -1

    @property
    def hook(self) -> str:
        """Which of the two programs it is for."""
        return "xdp" if self.way == "xdp" else "tc"


def interface(ifindex: int) -> str:
    """The interface's name; raises AttachError when there is none or its frames are not Ethernet's."""
    try:
        name = socket.if_indextoname(ifindex)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            asked = fcntl.ioctl(sock, _GET_ADDRESS, _REQUEST.pack(name.encode(), 0))
    except OSError as error:
        raise AttachError(f"there is no interface {ifindex}") from error
    if _REQUEST.unpack(asked)[1] not in ETHERNET:
        raise AttachError(f"{name} has no Ethernet frames")
    return name


def by_tc(program: int, ifindex: int) -> Held:
    """Have a program see what comes in by an interface, in front of the host's stack; raises AttachError."""
    name = interface(ifindex)
    try:
        return Held("tc", ifindex, bpf.link(program, ifindex, bpf.TCX_INGRESS))
    except bpf.BpfError as error:
        if error.errno != errno.EINVAL:  # what a kernel says that knows no tcx
            raise AttachError(f"tc at {name}: {error.reason}") from error
    return by_filter(program, ifindex)


def by_filter(program: int, ifindex: int) -> Held:
    """The same with a filter, which stays when nobody holds it; raises AttachError."""
    name = interface(ifindex)
    with contextlib.closing(netlink.Questions()) as kernel:
        try:
            made = _make_qdisc(kernel, ifindex)
            _filter(kernel, ifindex, program)
        except OSError as error:
            raise AttachError(f"tc at {name}: {os.strerror(error.errno or 0)}") from error
    return Held("qdisc" if made else "filter", ifindex)


def by_xdp(program: int, ifindex: int) -> Held:
    """Have a program see frames before anything else does, by the driver; raises AttachError."""
    name = interface(ifindex)
    try:
        link = bpf.link(program, ifindex, bpf.AT_XDP, bpf.XDP_NATIVE)
    except bpf.BpfError as error:
        raise AttachError(f"the driver of {name} takes no XDP program: {error.reason}") from error
    can = features.sends(ifindex)  # asked now: some drivers can as soon as they have a program
    if can:
        return Held("xdp", ifindex, link)
    os.close(link)
    if can is None:
        raise AttachError(f"before Linux 6.3 the kernel does not say whether {name} sends what XDP gives it")
    raise AttachError(f"{name} cannot send what XDP gives it (a veth can when its other end has XDP or GRO)")


def swap(held: Held, program: int) -> None:
    """Put another program in its place, with no packet between; raises OSError."""
    if held.link >= 0:
        bpf.relink(held.link, program)
        return
    with contextlib.closing(netlink.Questions()) as kernel:
        _filter(kernel, held.ifindex, program)


def release(held: Held) -> None:
    """Take the program off, whoever else holds its link. An interface that is gone has let it go itself."""
    if held.link >= 0:
        with contextlib.suppress(bpf.BpfError):
            bpf.unlink(held.link)
        os.close(held.link)
        return
    with contextlib.suppress(OSError), contextlib.closing(netlink.Questions()) as kernel:
        kernel.do(_DELFILTER, _traffic(held.ifindex, 1, _INGRESS, _PLACE) + attribute(_KIND, b"bpf\0"))
        if held.way == "qdisc" and not _has_filters(kernel, held.ifindex):
            kernel.do(_DELQDISC, _traffic(held.ifindex, _QDISC, _CLSACT) + attribute(_KIND, b"clsact\0"))


def _traffic(ifindex: int, handle: int, parent: int, place: int = 0) -> bytes:
    return _TRAFFIC.pack(0, ifindex, handle, parent, place)


def _make_qdisc(kernel: netlink.Questions, ifindex: int) -> bool:
    """Have a clsact qdisc there; False when there was one."""
    asked = _traffic(ifindex, _QDISC, _CLSACT) + attribute(_KIND, b"clsact\0")
    try:
        kernel.do(_NEWQDISC, asked, _CREATE | _EXCLUSIVE)
    except OSError as error:
        if error.errno == errno.EEXIST:
            return False
        raise
    return True


def _filter(kernel: netlink.Questions, ifindex: int, program: int) -> None:
    """Our filter, in place of one of ours that is there."""
    options = (
        attribute(_FILE, _NUMBER.pack(program))
        + attribute(_NAME, _TITLE)
        + attribute(_FLAGS, _NUMBER.pack(_DIRECT))
    )
    asked = _traffic(ifindex, 1, _INGRESS, _PLACE) + attribute(_KIND, b"bpf\0") + attribute(_OPTIONS, options)
    kernel.do(_NEWFILTER, asked, _CREATE)


def _has_filters(kernel: netlink.Questions, ifindex: int) -> bool:
    return any(kernel.all(_GETFILTER, _traffic(ifindex, 0, parent)) for parent in (_INGRESS, _EGRESS))
