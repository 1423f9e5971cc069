"""Which process serves a state directory. The kernel says it: a number in a file could be anybody's.

A server holds a record lock on the pid file for its life; the kernel names the holder's pid to whoever
asks, and drops the lock with the process, however it ends.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgesip.cli.fail import BAD_CONFIG, Fail
from edgesip.cli.owned import open_owned, trouble
from edgesip.places import pid_file

_FLOCK = "hhqqi0q"  # struct flock of <fcntl.h> on 64-bit Linux: type, whence, start, len, pid


@contextmanager
def serving(state_dir: Path) -> Iterator[None]:
    """Be the server of this state directory, or `Fail` when another process is."""
    path = pid_file(state_dir)
    try:
        fd = open_owned(path, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise trouble(path, error) from None
    try:
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = server_of(state_dir)
            raise Fail(BAD_CONFIG, f"{state_dir}: a server runs here already, pid {holder}") from None
        try:
            os.ftruncate(fd, 0)
            os.write(fd, f"{os.getpid()}\n".encode())
        except OSError as error:
            raise trouble(path, error) from None
        try:
            yield
        finally:
            os.ftruncate(fd, 0)
    finally:
        os.close(fd)


def server_of(state_dir: Path) -> int | None:
    """The pid of the server of this state directory, or None when none runs."""
    path = pid_file(state_dir)
    try:
        fd = open_owned(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise trouble(path, error) from None
    try:
        question = struct.pack(_FLOCK, fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(fd, fcntl.F_GETLK, question))
    finally:
        os.close(fd)
    return pid if kind != fcntl.F_UNLCK else None
