"""Where the kernel keeps for us what has to outlive this process: a directory in a bpffs.

The host's bpffs where we may write in it, else one that is mounted in the state directory, else none. A
service manager may show its service a directory of the host's at that place instead: the package's unit does.
Refuses to know what is pinned there.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import zlib
from pathlib import Path
from typing import Final, NamedTuple

HOST: Final = Path("/sys/fs/bpf")
OURS: Final = "edgesip"
"""The directory in the host's bpffs that is ours; the package makes it for the service's user."""
INSIDE: Final = "bpf"
"""The directory in the state directory that a bpffs is mounted at where the host's is not to be had."""

_MAGIC: Final = 0xCAFE4A11
_libc = ctypes.CDLL(None, use_errno=True)


class Pins(NamedTuple):
    """A directory of this server alone, or None and why there is none, as a sentence."""

    path: Path | None
    why: str = ""


def is_bpffs(path: Path) -> bool:
    """Whether this directory is in a bpffs."""
    found = ctypes.create_string_buffer(256)
    if _libc.statfs(os.fsencode(path), found) != 0:
        return False
    return ctypes.c_ulong.from_buffer(found).value == _MAGIC


def name_of(state_dir: Path) -> str:
    """The directory's name: servers with state directories of their own do not meet.

    The kernel refuses names with dots.
    """
    whole = str(state_dir.resolve())
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", whole).strip("-")
    return f"{plain[-80:]}-{zlib.crc32(whole.encode()):08x}"


def place(state_dir: Path, host: Path = HOST) -> Pins:
    """A directory to pin in; made, and a bpffs mounted for it, where that is needed and allowed."""
    said = f"{host} is no bpffs"
    if is_bpffs(host):
        try:
            return Pins(_made(host / OURS / name_of(state_dir)))
        except OSError as error:
            said = f"{error.filename}: {error.strerror}"
    own = state_dir / INSIDE
    try:
        own.mkdir(mode=0o700, exist_ok=True)
        if not is_bpffs(own):
            _mount(own)
        return Pins(_made(own / OURS))
    except OSError as error:
        with contextlib.suppress(OSError):
            own.rmdir()
        return Pins(None, f"{said}; {own}: a bpffs cannot be mounted there: {error.strerror}")


def left(state_dir: Path, host: Path = HOST) -> Path | None:
    """The directory that an earlier `place` found, while it is there."""
    named = host / OURS / name_of(state_dir)
    for path in (named / OURS, named, state_dir / INSIDE / OURS):
        with contextlib.suppress(OSError):  # another user's
            if path.is_dir() and is_bpffs(path):
                return path
    return None


def prospect(state_dir: Path, host: Path = HOST) -> Pins:
    """What `place` has found before, or would find, as far as it can be seen without trying."""
    found = left(state_dir, host)
    if found is not None:
        return Pins(found)
    if is_bpffs(host):
        ours = host / OURS
        if os.access(ours if ours.is_dir() else host, os.W_OK | os.X_OK):
            return Pins(ours / name_of(state_dir))
        return Pins(None, f"{ours} is not writable for this user")
    if os.geteuid() == 0:
        return Pins(state_dir / INSIDE / OURS)
    return Pins(None, f"{host} is no bpffs, and this user may not mount one")


def clear(state_dir: Path, host: Path = HOST) -> None:
    """Take the directories away again, and what was mounted for them; nothing is pinned any more."""
    for path in (host / OURS / name_of(state_dir) / OURS, host / OURS / name_of(state_dir)):
        with contextlib.suppress(OSError):
            path.rmdir()
    own = state_dir / INSIDE
    if own.is_dir() and is_bpffs(own):
        with contextlib.suppress(OSError):
            (own / OURS).rmdir()
        _libc.umount2(os.fsencode(own), 0)
    with contextlib.suppress(OSError):
        own.rmdir()


def _made(path: Path) -> Path:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)
    if not os.access(path, os.W_OK | os.X_OK):
        raise PermissionError(13, "it is another user's", str(path))
    return path


def _mount(path: Path) -> None:
    """mount(2) of a bpffs. Raises `OSError`."""
    if _libc.mount(b"bpf", os.fsencode(path), b"bpf", 0, b"mode=0700") != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(path))
