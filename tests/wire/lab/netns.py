"""Network namespaces of one test process: made, entered, and always taken away again.

Holds names, entering by setns(2) and the removal of what a crashed former run left behind. Knows
nothing of addresses, routers or SIP.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

CLONE_NEWNET = 0x40000000
RUN_NETNS = Path("/run/netns")
PREFIX = "esw"
_libc = ctypes.CDLL(None, use_errno=True)


def start_time(pid: int) -> int | None:
    """Kernel start time (clock ticks since boot) of a living process; None for a zombie or none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def owner_mark() -> str:
    """The part of every name that says which test process it belongs to; a recycled pid differs."""
    return f"{PREFIX}-{os.getpid()}-{start_time(os.getpid())}"


def run(arguments: Sequence[str], stdin: str | None = None) -> str:
    """Run a short administrative command; its stderr is in the error when it fails."""
    done = subprocess.run(arguments, input=stdin, capture_output=True, text=True, timeout=30)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def _setns(fd: int) -> None:
    if _libc.setns(fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


class Namespace:
    """One network namespace. Sockets opened and processes started inside it stay in it."""

    def __init__(self, role: str, full_name: str) -> None:
        self.role = role
        self.full_name = full_name
        run(["ip", "netns", "add", full_name])
        self._fd = os.open(RUN_NETNS / full_name, os.O_RDONLY)
        self._sockets: list[socket.socket] = []

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Move the calling thread in, and out again."""
        outside = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            _setns(self._fd)
            try:
                yield
            finally:
                _setns(outside)
        finally:
            os.close(outside)

    def udp(self, host: str = "0.0.0.0", port: int = 0) -> socket.socket:
        """A bound UDP socket of this namespace, closed with it at the latest; IPv6 by its address."""
        with self.inside():
            sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self._sockets.append(sock)
        sock.bind((host, port))
        return sock

    def tcp(self, host: str, port: int, source: str = "", patience: float = 1.0) -> socket.socket:
        """A TCP connection made inside the namespace, closed with it at the latest; OSError if refused."""
        with self.inside():
            sock = socket.create_connection((host, port), patience, (source, 0) if source else None)
        self._sockets.append(sock)
        return sock

    def keep(self, sock: socket.socket) -> None:
        """Close this socket, which was made of one of ours, with the namespace at the latest."""
        self._sockets.append(sock)

    def run(self, *arguments: str, stdin: str | None = None) -> str:
        with self.inside():
            return run(arguments, stdin)

    def sysctl(self, key: str, value: int) -> None:
        """Set a per-namespace sysctl such as `net.ipv4.ip_forward`."""
        with self.inside():
            Path("/proc/sys", *key.split(".")).write_text(str(value))

    def remove(self) -> None:
        """Take the namespace away; what still runs in it was started by the lab and ends."""
        for sock in self._sockets:
            sock.close()
        os.close(self._fd)
        _remove(self.full_name)


def _remove(full_name: str) -> None:
    for pid in run(["ip", "netns", "pids", full_name]).split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    run(["ip", "netns", "del", full_name])


def _is_orphan(name: str) -> bool:
    found = re.match(rf"{PREFIX}-(\d+)-(\d+)-", name)
    return found is not None and start_time(int(found[1])) != int(found[2])


def remove_orphans() -> list[str]:
    """Remove namespaces and directories of test processes that no longer live; names of what went."""
    gone: list[str] = []
    for path in [*RUN_NETNS.glob(f"{PREFIX}-*"), *Path(tempfile.gettempdir()).glob(f"{PREFIX}-*")]:
        if not _is_orphan(path.name):
            continue
        with contextlib.suppress(RuntimeError, OSError):  # another worker may be at the same orphan
            if path.parent == RUN_NETNS:
                _remove(path.name)
            else:
                shutil.rmtree(path)
            gone.append(path.name)
    return gone
