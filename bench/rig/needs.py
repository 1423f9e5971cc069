"""What the bench needs from this machine: Debian packages, and a network of its own.

Installs as root, says what is missing otherwise. Knows nothing of what the programs are for.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sysconfig
from collections.abc import Collection
from pathlib import Path

CLONE_NEWNET = 0x40000000

PACKAGES = {
    "kamailio": "kamailio",
    "rtpengine": "rtpengine-daemon",
    "sipp": "sip-tester",
    "cc": "gcc",
    "clang-14": "clang-14",
    "ip": "iproute2",
}
"""Program to Debian package."""

SQLITE_MODULE = "kamailio-sqlite-modules"
_SCHEMA = Path("/usr/share/kamailio/db_sqlite/usrloc-create.sql")


def missing(programs: Collection[str]) -> list[str]:
    """The packages that are not there."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    found = [PACKAGES[name] for name in programs if name in PACKAGES and not shutil.which(name, path=path)]
    if "kamailio" in programs and not _SCHEMA.exists():
        found.append(SQLITE_MODULE)
    if "python headers" in programs and not Path(sysconfig.get_path("include"), "Python.h").exists():
        found.append("python3-dev")
    if "clang-14" in programs and not Path("/usr/include/linux/bpf.h").exists():
        found.append("linux-libc-dev")
    if "cc" in programs and not Path("/usr/include/stdio.h").exists():
        found.append("libc6-dev")
    return found


def provide(programs: Collection[str]) -> str | None:
    """Install what is missing; why that was not possible, None when everything is there."""
    packages = missing(programs)
    if not packages:
        return None
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return f"the bench needs Debian packages; as root: apt-get install {' '.join(packages)}"
    print("installing Debian packages:", *packages, flush=True)
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-qq"], ["install", "-qq", "-y", "--no-install-recommends", *packages]):
        done = subprocess.run(["apt-get", *command], env=quiet, capture_output=True, text=True, timeout=300)
        if done.returncode != 0:
            return f"apt-get {' '.join(command)} failed: {done.stderr.strip()}"
    left = missing(programs)
    return f"still missing after apt-get: {' '.join(left)}" if left else None


def own_network() -> bool:
    """Move this process into a fresh network namespace with only loopback; False where that is refused."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        return False
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True, timeout=10)
    return True
