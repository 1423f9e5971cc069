"""Why an address could not be bound: who holds the port, or that the address is not this host's.

Reads /proc; without the right to look into other users' processes it can only say that there is one.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from edgesip.address import bracketed

PROC = Path("/proc")
_LISTENING = "0A"


def holder_of(transport: str, host: str, port: int, proc: Path = PROC) -> str:
    """Who holds a port, for people: `baresip (pid 123)`, or that it cannot be seen."""
    inodes = set(_inodes(transport, host, port, proc))
    if not inodes:
        return "a process that is gone by now"
    for pid in _pids(proc):
        if _holds(proc / pid / "fd", inodes):
            return f"{_name(proc / pid)} (pid {pid})"
    return "another user's process (root can see which)"


def bind_failure(transport: str, host: str, port: int, error: OSError, proc: Path = PROC) -> str:
    """The sentence for a listener that could not be opened; the caller raises it as `ConfigError`."""
    what = f"cannot listen on {transport}:{bracketed(host)}:{port}"
    if error.errno == errno.EADDRINUSE:
        return f"{what}: the port is held by {holder_of(transport, host, port, proc)}"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{what}: {not_ours(host)}"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{what}: not permitted; ports below 1024 need root"
    return f"{what}: {error.strerror}"


def not_ours(host: str) -> str:
    """The sentence for an address that no interface of this host has."""
    return (
        f"{host} is not an address of this host."
        f" If it is the address others reach this host by, did you mean --advertise {bracketed(host)}?"
    )


def _inodes(transport: str, host: str, port: int, proc: Path) -> Iterator[str]:
    """Inodes of sockets that stand in the way: the same port on the same address, or on every address.

    Our IPv6 sockets take IPv6 only, so IPv4 ones are never in their way; the other way round they may be.
    """
    want = ip_address(host)
    transport = "udp" if transport == "udp" else "tcp"
    for table in (transport, f"{transport}6") if want.version == 4 else (f"{transport}6",):
        try:
            lines = (proc / "net" / table).read_text("ascii", "replace").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if len(fields) < 10 or (transport == "tcp" and fields[3] != _LISTENING):
                continue
            address, _, hex_port = fields[1].rpartition(":")
            if int(hex_port, 16) != port:
                continue
            have = _address(address)
            if have == want or 0 in (int(have), int(want)):
                yield fields[9]


def _address(text: str) -> IPv4Address | IPv6Address:
    """The address of a /proc/net line: words in the host's byte order; a mapped one is the IPv4 one."""
    words = [bytes.fromhex(text[start : start + 8])[::-1] for start in range(0, len(text), 8)]
    if len(words) == 1:
        return IPv4Address(words[0])
    found = IPv6Address(b"".join(words))
    return found.ipv4_mapped or found


def _pids(proc: Path) -> Iterator[str]:
    with os.scandir(proc) as entries:
        yield from (entry.name for entry in entries if entry.name.isdigit())


def _holds(directory: Path, inodes: set[str]) -> bool:
    try:
        names = os.listdir(directory)
    except OSError:
        return False
    for name in names:
        try:
            target = os.readlink(directory / name)
        except OSError:  # closed meanwhile
            continue
        if target.startswith("socket:[") and target[8:-1] in inodes:
            return True
    return False


def _name(process: Path) -> str:
    try:
        name = (process / "comm").read_text("utf-8", "replace").strip()
    except OSError:
        return "a process"
    return "".join(char if char.isprintable() else "?" for char in name) or "a process"
