"""What `edgesip doctor` looks at: sockets, /proc, /sys, the clock, the disk, nft. Facts only, no judgement.

Changes nothing that stays: a socket that is bound for a moment is all.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import shutil
import socket
import struct
import subprocess
import time
from pathlib import Path

from edgesip.address import Addr
from edgesip.control.holder import bind_failure
from edgesip.doctor.files import Disk
from edgesip.doctor.finding import Finding
from edgesip.doctor.host import Clock
from edgesip.doctor.network import Bound, Media, conntrack
from edgesip.relay.kernel.bpffs import Pins, prospect
from edgesip.signal.net.raw import RawLink

PROC, SYS = Path("/proc"), Path("/sys")
TRIED = 16
"""Media ports that are bound for a moment, spread over the range."""
_CAP_NET_RAW = 13
_STA_UNSYNC = 0x40
_CAP_NET_ADMIN, _CAP_SYS_ADMIN, _CAP_BPF = 12, 21, 39
_NFT_SECONDS = 5.0


def text_of(path: Path) -> str:
    """A file's text, empty when it cannot be read."""
    try:
        return path.read_text("utf-8", "replace").strip()
    except OSError:
        return ""


def bound(transport: str, addr: Addr) -> Bound:
    """Try to listen there."""
    listen = f"{transport}:{addr}"
    kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
    try:
        with socket.socket(socket.AF_INET6 if addr.family == 6 else socket.AF_INET, kind) as sock:
            if addr.family == 6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if kind == socket.SOCK_STREAM:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(addr)
            if kind == socket.SOCK_STREAM:
                sock.listen(1)
    except OSError as error:
        return Bound(listen, error.errno or -1, bind_failure(transport, *addr, error))
    return Bound(listen)


def media(host: str, low: int, high: int) -> Media:
    """The range, and what became of binding some ports of it at an address."""
    first = low + low % 2
    step = max(2, (high - first + 1) // TRIED // 2 * 2)
    ports = list(range(first, high + 1, step))[:TRIED]
    busy = tuple(port for port in ports if bound("udp", Addr(host, port)).error)
    lowest, _, highest = text_of(PROC / "sys/net/ipv4/ip_local_port_range").partition("\t")
    ephemeral = (int(lowest), int(highest)) if lowest.isdigit() and highest.isdigit() else (0, -1)
    reserved = ranges(text_of(PROC / "sys/net/ipv4/ip_local_reserved_ports"))
    return Media(low, high, ephemeral, reserved, busy, len(ports))


def ranges(text: str) -> tuple[tuple[int, int], ...]:
    """`8080,9000-9010` as pairs; what cannot be read is left out."""
    found = []
    for item in text.split(","):
        low, dash, high = item.strip().partition("-")
        if low.isdigit() and (high.isdigit() or not dash):
            found.append((int(low), int(high or low)))
    return tuple(found)


def files_limit(pid: int) -> tuple[int, str]:
    """How many files the running server may open, or a process of this user, and whose limit that is."""
    for line in text_of(PROC / str(pid) / "limits").splitlines() if pid else ():
        words = line.split()
        if line.startswith("Max open files") and len(words) > 4 and words[4].isdigit():
            return int(words[4]), "the running server"
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return hard if hard != resource.RLIM_INFINITY else 1 << 30, "a process of this user"


def raw_socket(pid: int) -> tuple[str, str]:
    """Why the running server, or a process of this user, gets no raw socket (empty: it does), and which."""
    for line in text_of(PROC / str(pid) / "status").splitlines() if pid else ():
        name, _, value = line.partition(":")
        if name == "CapEff":
            granted = int(value, 16) >> _CAP_NET_RAW & 1
            return "" if granted else "CAP_NET_RAW is not granted", "the running server"
    try:
        RawLink().close()
    except OSError as error:
        return error.strerror or repr(error), "a process of this user"
    return "", "a process of this user"


def clock() -> Clock:
    """The wall clock as the kernel keeps it (adjtimex(2), which reads when it is asked to change nothing)."""
    source = text_of(SYS / "devices/system/clocksource/clocksource0/current_clocksource")
    synced, error = None, 0.0
    with contextlib.suppress(OSError, AttributeError):
        timex = ctypes.create_string_buffer(512)
        if ctypes.CDLL(None, use_errno=True).adjtimex(timex) >= 0:
            _, _, _, most, _, status = struct.unpack_from("=I4xqqqqi", timex.raw)
            synced, error = not status & _STA_UNSYNC, most / 1e6
    return Clock(time.time(), synced, error, source)


def kernel_refusal(is_running: bool) -> str:
    """Why this user may not have the kernel carry media; empty when he may. Nothing stays of the trial, and
    while a server runs no interface is touched.
    """
    from edgesip.relay.kernel.probe import refusal  # with numpy, which others do not wait for

    return refusal(attach=not is_running)


def may_use_bpf(pid: int) -> bool:
    """Whether a process has the capabilities that it takes."""
    for line in text_of(PROC / str(pid) / "status").splitlines():
        name, _, value = line.partition(":")
        if name == "CapEff":
            mask = int(value, 16)
            return bool(mask >> _CAP_NET_ADMIN & 1 and (mask >> _CAP_BPF | mask >> _CAP_SYS_ADMIN) & 1)
    return False


def pinned(state_dir: Path) -> Pins:
    """Where a server with this state directory keeps what has to outlive it, or would."""
    return prospect(state_dir)


def rmem_max() -> int | None:
    """The most that a socket's receive buffer may be asked for, in octets."""
    text = text_of(PROC / "sys/net/core/rmem_max")
    return int(text) if text.isdigit() else None


def ruleset() -> str | None:
    """nftables' rules, None when they cannot be listed."""
    nft = shutil.which("nft", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if nft is None:
        return None
    try:
        done = subprocess.run(
            [nft, "list", "ruleset"], capture_output=True, text=True, timeout=_NFT_SECONDS, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode == 0 else None


def sip_helper(rules: str | None) -> Finding:
    """The kernel's SIP helper, looked for."""
    return conntrack(
        text_of(PROC / "modules"),
        (SYS / "module/nf_conntrack_sip").is_dir(),
        text_of(PROC / "sys/net/netfilter/nf_conntrack_helper"),
        rules,
    )


def disk(directory: Path) -> Disk:
    """The state directory, or where it will be made."""
    there = directory
    while not there.exists() and there != there.parent:
        there = there.parent
    trouble = ""
    if not there.is_dir():
        trouble = "it is no directory"
    elif not os.access(there, os.W_OK | os.X_OK):
        made = "" if there == directory else f" (it is to be made in {there})"
        trouble = f"not writable for this user (uid {os.geteuid()}){made}"
    try:
        found = os.statvfs(there)
    except OSError as error:
        return Disk(str(directory), trouble or error.strerror or str(error), 0, 0)
    inodes = found.f_favail if found.f_files else -1  # some file systems count none
    return Disk(str(directory), trouble, found.f_bavail * found.f_frsize, inodes)
