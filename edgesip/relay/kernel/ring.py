"""A BPF ring buffer, read in place.

Holds where the kernel writes and we have read. Refuses to know what the records are.
"""

from __future__ import annotations

import mmap
import struct
from typing import Final

_POSITION: Final = struct.Struct("=Q")
_HEADER: Final = struct.Struct("=I4x")
_BUSY, _DISCARDED = 1 << 31, 1 << 30


class Ring:
    """The consumer's side of a ring buffer map; its file is readable when there is something to read."""

    def __init__(self, fd: int, size: int) -> None:
        page = mmap.PAGESIZE
        self._size = size
        self._ours = mmap.mmap(fd, page)
        # the kernel shows its data twice in a row, so that no record is cut
        self._theirs = mmap.mmap(fd, page + 2 * size, prot=mmap.PROT_READ, offset=page)

    def take(self) -> list[bytes]:
        """The records that are complete, oldest first; they are gone from the ring."""
        found = []
        (at,) = _POSITION.unpack_from(self._ours)
        (end,) = _POSITION.unpack_from(self._theirs)
        while at < end:
            begin = mmap.PAGESIZE + at % self._size
            (length,) = _HEADER.unpack_from(self._theirs, begin)
            if length & _BUSY:
                break
            if not length & _DISCARDED:
                begin += _HEADER.size
                found.append(self._theirs[begin : begin + length])
            at += _HEADER.size + (length & ~_DISCARDED) + 7 & ~7
        _POSITION.pack_into(self._ours, 0, at)
        return found

    def close(self) -> None:
        """Let the memory go."""
        self._ours.close()
        self._theirs.close()
