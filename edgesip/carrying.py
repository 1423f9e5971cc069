"""Who carries media: the kernel's path where `[relay] path` wants it and it can be had, else this process.

Joins the profile's wishes, the probe, pins and routes, and sees to it that rules follow when routes change.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from edgesip.address import is_loopback
from edgesip.places import ConfigError
from edgesip.profile import Profile
from edgesip.relay.core import PORTS_A_SESSION
from edgesip.relay.packets import Packets

if TYPE_CHECKING:
    from edgesip.relay.kernel.path import KernelPath

Log = Callable[[str, str, dict[str, Any]], None]
AGAIN = 0.02
"""Seconds between two slices of rules whose ways are asked again."""

INSIDE = (
    'it is on loopback alone, where nothing comes from outside (relay.path "kernel" takes it all the same)'
)


class Carrier(NamedTuple):
    """The kernel's path; None where there is none, and why, as a sentence: empty when nobody wants it."""

    kernel: KernelPath | None
    why: str = ""

    @property
    def word(self) -> str:
        """What the `ready` line says."""
        return "user" if self.kernel is None else "kernel"


def hosts_of(profile: Profile, listens: Sequence[str]) -> tuple[str, ...]:
    """The addresses that media comes to; `listens` are those that SIP does."""
    section = profile.relay
    named = [host for one in section.interface for host in one.address]
    return tuple(dict.fromkeys([*(section.address or listens), *named]))


def is_inside(hosts: Sequence[str]) -> bool:
    """True when nothing comes to these addresses from outside this host."""
    return bool(hosts) and all(map(is_loopback, hosts))


def carrier_of(profile: Profile, listens: Sequence[str], max_sessions: int, log: Log) -> Carrier:
    """Get the path that the profile wants. Raises `ConfigError` when that is the kernel's and cannot."""
    section, hosts = profile.relay, hosts_of(profile, listens)
    if section.path == "user" or (section.path == "auto" and is_inside(hosts)):
        _tidy(profile, log)
        return Carrier(None, "" if section.path == "user" else INSIDE)
    from edgesip.relay.kernel import bpffs
    from edgesip.relay.kernel.path import KernelPath  # with numpy, which no verb has to wait for
    from edgesip.relay.kernel.program import KernelError, Program
    from edgesip.relay.kernel.routes import Routes

    place = bpffs.place(profile.state_dir)
    kernel: KernelPath | None = None
    xdp, cached = section.kernel_hook == "xdp", section.kernel_next_hop == "mac"
    try:
        program = Program.load(PORTS_A_SESSION * max_sessions, place.path)
        kernel = KernelPath(program, Routes(cached or xdp), xdp=xdp, cached=cached)
        faults = [fault for host in hosts if (fault := kernel.prepare(host))]
    except (KernelError, OSError) as error:
        faults = [str(error)]
    everywhere = kernel is None or len(faults) == len(hosts)
    why = faults[0] if faults and (section.path == "kernel" or everywhere) else ""
    if why and kernel is not None:
        kernel.close()
        kernel = None
    if kernel is None:
        bpffs.clear(profile.state_dir)
        if section.path == "kernel":
            raise ConfigError(f"{profile.where('relay.path')}: relay.path: {why}")
        log("warning", "media path", {"path": "user", "why": why})
        return Carrier(None, why)
    for fault in faults:
        log("warning", "media path", {"path": "user", "why": fault})
    seen = ",".join(f"{name}:{hook}" for name, hook in kernel.hooks.items())
    pinned = {"pinned": str(place.path)} if place.path is not None else {"unpinned": place.why}
    log("info", "media path", {"path": "kernel", "interfaces": seen, **pinned})
    return Carrier(kernel)


def _tidy(profile: Profile, log: Log) -> None:
    """Take away what a server has left here that used the kernel's path and crashed."""
    from edgesip.relay.kernel import leftover

    left = leftover.take_away(profile.state_dir)
    if left.why:
        log("warning", "kernel flows stay", {"where": str(left.path), "why": left.why})


def leave(profile: Profile, carrier: Carrier) -> None:
    """After the path is closed: nothing of it stays on this host."""
    if carrier.kernel is not None:
        from edgesip.relay.kernel import bpffs

        bpffs.clear(profile.state_dir)


def resumed(carrier: Carrier, log: Log) -> None:
    """Every call that outlived its process has been taken up; what else the kernel carries is nobody's."""
    others = 0 if carrier.kernel is None else carrier.kernel.forget_others()
    if others:
        log("info", "kernel flows forgotten", {"flows": others})


def follow(carrier: Carrier, packets: Packets, loop: asyncio.AbstractEventLoop) -> Callable[[], None]:
    """Have rules put anew when their ways change, until what is returned is called."""
    if carrier.kernel is None:
        return lambda: None
    return _Following(carrier.kernel, packets, loop).stop


class _Following:
    """Looks at rules again when the kernel says that a route, an address or a link is another."""

    def __init__(self, kernel: KernelPath, packets: Packets, loop: asyncio.AbstractEventLoop) -> None:
        self._kernel = kernel
        self._packets = packets
        self._loop = loop
        self._again: asyncio.TimerHandle | None = None
        self._fd = kernel.notices
        loop.add_reader(self._fd, self._noticed)

    def _noticed(self) -> None:
        if self._again is not None:
            self._again.cancel()
            self._again = None
        self._packets.renew()
        if self._kernel.pending:
            self._again = self._loop.call_later(AGAIN, self._noticed)

    def stop(self) -> None:
        """Before the path is closed."""
        self._loop.remove_reader(self._fd)
        if self._again is not None:
            self._again.cancel()
