"""Opening the small files of a state directory, which may be somebody else's: never through a link.

Root works in directories that other users can write to. A link planted there, symbolic or hard, would turn
a pid file into a way to any file of the host.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from edgesip.cli.fail import BAD_CONFIG, FAILED, UNREACHABLE, Fail

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def open_owned(path: Path, flags: int, mode: int = 0o644) -> int:
    """A descriptor of a plain file, which root leaves to the directory's owner; else `OSError`."""
    fd = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, mode)
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            raise OSError(errno.EPERM, "not a plain file with one name", str(path))
        if flags & os.O_CREAT and os.geteuid() == 0:
            owner = os.stat(path.parent)
            os.fchown(fd, owner.st_uid, owner.st_gid)
    except OSError:
        os.close(fd)
        raise
    return fd


def trouble(path: Path, error: OSError) -> Fail:
    """What a verb says when such a file cannot be used."""
    if error.errno in _NO_ROOM:
        return Fail(FAILED, f"{path}: cannot be written: {error.strerror}")
    if error.errno == errno.ELOOP:
        return Fail(BAD_CONFIG, f"{path}: is a symbolic link, which is not followed here; remove it")
    if error.errno == errno.EACCES:
        return Fail(UNREACHABLE, f"{path}: not permitted; ask as the server's user or as root")
    return Fail(BAD_CONFIG, f"{path}: {error.strerror}")
