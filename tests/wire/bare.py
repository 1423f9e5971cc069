"""Bare Debian roots to install packages in, and programs run inside them as a service manager would.

A root is unpacked from one that debootstrap made once; it lives in a directory of the test's. Each program
gets a mount namespace of its own, so that no mount outlives it. Knows nothing of SIP.
"""

from __future__ import annotations

import fcntl
import os
import re
import resource
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

REPO = Path(__file__).parents[2]
CACHE = REPO / "build" / "test"
SUITE, MIRROR = "bookworm", "http://deb.debian.org/debian"
PR_SET_MDWE = 65  # <linux/prctl.h>, since 6.3
_SOURCES = ("edgesip", "packaging", "docs", "pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE")
_ENVIRONMENT = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
}

# $1 root, $2 directories that stay writable ("*": everything), $3 what is seen at $4 too, then the program
_ENTER = """
root=$1 writable=$2 from=$3 at=$4; shift 4
if [ "$writable" != '*' ]; then
    mount --rbind "$root" "$root"
    mount -o remount,bind,ro "$root"
    for one in $writable; do mount --bind "$root$one" "$root$one"; mount -o remount,bind,rw "$root$one"; done
fi
if [ -n "$from" ] && [ -d "$root$from" ]; then mkdir -p "$root$at"; mount --bind "$root$from" "$root$at"; fi
mount -t proc proc "$root/proc"
exec chroot "$root" "$@"
"""


def missing() -> str | None:
    """Why no bare root can be made here, None when one can."""
    if os.geteuid() != 0:
        return "a bare Debian root is made and entered by root only"
    if not shutil.which("debootstrap", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"):
        return "a bare Debian root needs the Debian package debootstrap"
    return None


@contextmanager
def _locked(name: str) -> Iterator[None]:
    """One test process at a time."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def built_package() -> Path:
    """The package of this source, built if a file is newer than it."""
    version = re.search(r'^version = "(.+)"$', (REPO / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    with _locked("package"):
        files = [file for name in _SOURCES for file in (REPO / name, *(REPO / name).rglob("*"))]
        newest = max(file.stat().st_mtime for file in files if "__pycache__" not in str(file))
        found = list((REPO / "dist").glob(f"edgesip_{version[1]}_*.deb"))
        if not found or found[0].stat().st_mtime < newest:
            _run(["packaging/build-deb.sh"], cwd=REPO)
        (package,) = (REPO / "dist").glob(f"edgesip_{version[1]}_*.deb")
    return package


def _bare_archive() -> Path:
    """A minimal root as a tar archive; made once."""
    archive = CACHE / f"{SUITE}.tar"
    with _locked(SUITE):
        if not archive.exists():
            root = CACHE / SUITE
            shutil.rmtree(root, ignore_errors=True)
            _run(["debootstrap", "--variant=minbase", SUITE, str(root), MIRROR])
            _run(["tar", "-C", str(root), "-cf", f"{archive}.part", "."])
            shutil.rmtree(root)
            Path(f"{archive}.part").rename(archive)
    return archive


def _run(arguments: Sequence[str], cwd: Path | None = None) -> None:
    done = subprocess.run(arguments, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(arguments)}: exit {done.returncode}\n{done.stdout}{done.stderr}"


class Root:
    """One installation of Debian in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()
        _run(["tar", "-C", str(directory), "-xpf", str(_bare_archive())])

    def install(self, package: Path) -> None:
        """`apt install ./PACKAGE`, as the README says."""
        shutil.copy(package, self.directory / "root")
        self.run("apt-get", "update", "-qq")
        self.run("apt", "install", "-y", f"./{package.name}", cwd="/root")

    @property
    def bpffs(self) -> Path:
        """Where its bpffs is, once it has one."""
        return self.directory / "sys/fs/bpf"

    def mount_bpffs(self) -> None:
        """Have the bpffs that systemd mounts at the start of a machine, for root alone."""
        self.bpffs.mkdir(parents=True, exist_ok=True)
        _run(["mount", "-t", "bpf", "-o", "mode=0700", "bpf", str(self.bpffs)])

    def enter(self, *arguments: str, writable: str = "*", bind: tuple[str, str] = ("", "")) -> list[str]:
        """The command line that runs a program inside, with all but `writable` read-only, and the directory
        that `bind` names first at the place that it names second.
        """
        variables = [f"{name}={value}" for name, value in _ENVIRONMENT.items()]
        shell = ["unshare", "--mount", "--propagation", "private", "sh", "-e", "-c", _ENTER, "sh"]
        return ["env", "-i", *variables, *shell, str(self.directory), writable, *bind, *arguments]

    def attempt(self, *arguments: str, cwd: str = "/") -> subprocess.CompletedProcess[str]:
        """Run a program inside; whatever it says and however it ends."""
        line = self.enter("sh", "-c", f"cd {cwd} && exec {shlex.join(arguments)}")
        return subprocess.run(line, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL)

    def run(self, *arguments: str, cwd: str = "/") -> str:
        """Run a program that has to succeed; its stdout."""
        done = self.attempt(*arguments, cwd=cwd)
        said = f"{done.stdout}{done.stderr}"
        assert done.returncode == 0, f"{' '.join(arguments)}: exit {done.returncode}\n{said}"
        return done.stdout

    def named(self, word: str) -> list[str]:
        """Every path whose name contains `word`, but for what apt keeps of its own work."""
        found = self.run("find", "/", "-xdev", "-name", f"*{word}*")
        own = ("/proc", "/root/", "/var/lib/apt", "/var/log", "/var/cache")
        return [path for path in found.splitlines() if not path.startswith(own)]

    def remove(self) -> None:
        """Take the directory away."""
        if self.bpffs.is_mount():
            _run(["umount", str(self.bpffs)])
        shutil.rmtree(self.directory)


class Unit:
    """The [Service] section of a unit file, as far as it says how a program is run."""

    def __init__(self, file: Path) -> None:
        lines = file.read_text().partition("[Service]\n")[2].partition("\n[")[0].splitlines()
        pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
        self.settings = {name: value for name, _, value in pairs}

    def around(self, root: Root, which: str) -> None:
        """ExecStartPre or ExecStopPost: as root, whatever comes of it."""
        mark, program = self.settings[which][:2], self.settings[which][2:]
        assert mark == "+-"
        root.attempt(*shlex.split(program))

    def _bind(self) -> tuple[str, str]:
        """BindPaths: one pair, of which the first need not be there."""
        first, _, second = self.settings["BindPaths"].partition(":")
        assert first.startswith("-")
        return first[1:], second

    def command(self, root: Root) -> list[str]:
        """ExecStart as its user: limits, capabilities, no new privileges, no writing elsewhere.

        What only seccomp can do (system calls, address families) is left to `systemd-analyze`.
        """
        ours = self.settings
        user, group = ours["User"], ours["Group"]
        caps = [name.removeprefix("CAP_").lower() for name in ours["AmbientCapabilities"].split()]
        granted = ",".join(["-all", *(f"+{name}" for name in caps)])
        bounding = [name.removeprefix("CAP_").lower() for name in ours["CapabilityBoundingSet"].split()]
        assert sorted(bounding) == sorted(caps)
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]  # a test's root cannot always raise it
        assert (ours["ProtectSystem"], ours["PrivateTmp"]) == ("strict", "yes")
        return [
            *(sys.executable, "-c", _NO_WRITE_AND_EXECUTE),
            *root.enter(
                *("prlimit", f"--nofile={min(int(ours['LimitNOFILE']), hard)}"),
                *("env", "NOTIFY_SOCKET=/run/notify", f"HOME=/var/lib/{ours['StateDirectory']}"),
                *("setpriv", "--pdeathsig", "KILL", "--no-new-privs", "--reuid", user, "--regid", group),
                *("--init-groups", "--inh-caps", granted, "--ambient-caps", granted),
                *("--bounding-set", granted),
                *("sh", "-c", f"umask {ours['UMask']} && exec {ours['ExecStart']}"),
                bind=self._bind(),
                writable=f"/var/lib/{ours['StateDirectory']} /run/{ours['RuntimeDirectory']} /tmp",
            ),
        ]


# MemoryDenyWriteExecute by the kernel's own means, where it has them.
_NO_WRITE_AND_EXECUTE = f"""
import ctypes, os, sys
ctypes.CDLL(None).prctl({PR_SET_MDWE}, 1, 0, 0, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""
