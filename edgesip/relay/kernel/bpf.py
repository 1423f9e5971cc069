"""bpf(2) by ctypes: maps, programs, links, pins, runs.

Holds the calls and their structs of linux/bpf.h. Refuses to know what is in a map and what a program is for.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

HASH, ARRAY, PERCPU_ARRAY, DEVMAP_HASH, RINGBUF = 1, 2, 6, 25, 27
SCHED_CLS, XDP = 3, 6
TCX_INGRESS, AT_XDP = 46, 37
XDP_GENERIC, XDP_NATIVE = 2, 4

_INFO, _BATCH, _LINK_CREATE, _LINK_UPDATE, _LINK_DETACH = 15, 24, 28, 29, 34

_NUMBERS: Final = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "loongarch64": 280, "ppc64le": 361}
_NUMBER: Final = _NUMBERS.get(platform.machine(), -1)  # -1: the kernel answers ENOSYS
_bpf = ctypes.CDLL(None, use_errno=True).syscall
_bpf.restype = ctypes.c_long
_LOG: Final = 1 << 18
NAME: Final = 15
_ELEMENT: Final = struct.Struct("=I4xQQQ")
_KEYED: Final = 16
_BULK: Final = struct.Struct("=QQQQIIQQ")
_RUN: Final = struct.Struct("=IIIIQQII")


class BpfError(OSError):
    """The kernel said no: `errno` is bpf(2)'s, `log` what its verifier wrote."""

    def __init__(self, error: int, what: str, log: str = "") -> None:
        super().__init__(error, f"{what}: {os.strerror(error)}")
        self.log = log

    @property
    def reason(self) -> str:
        """The kernel's word for it."""
        return os.strerror(self.errno or 0)


Attributes = ctypes.Array[ctypes.c_char]


def _call(command: int, attributes: Attributes, what: str) -> int:
    done: int = _bpf(_NUMBER, command, attributes, len(attributes))
    if done < 0:
        raise BpfError(ctypes.get_errno(), what)
    return done


def _ask(command: int, what: str, form: str, *values: int | bytes) -> int:
    return _call(command, ctypes.create_string_buffer(struct.pack("=" + form, *values), 128), what)


def _space(size: int) -> tuple[Attributes, int]:
    space = ctypes.create_string_buffer(size)
    return space, ctypes.addressof(space)


MOST_PROCESSORS: Final = 8192
"""Linux can be built for no more."""


def _processors() -> int:
    """For how many the kernel makes room in maps of each processor's own values, at most."""
    try:
        ranges = Path("/sys/devices/system/cpu/possible").read_text().strip()
    except OSError:  # a container without /sys
        return MOST_PROCESSORS
    return int(ranges.replace(",", "-").split("-")[-1]) + 1


class Kind(NamedTuple):
    """What a map is: its type, and sizes of key, value and itself."""

    type: int
    key: int
    value: int
    entries: int


class Map:
    """A map by its file. Keys and values are octets of the sizes it was made for.

    A value of a PERCPU_ARRAY, a multiple of eight octets, is read for all processors in a row.
    """

    def __init__(self, fd: int, kind: Kind, name: str) -> None:
        self.fd = fd
        self.kind = kind
        self.name = name
        self._key, at_key = _space(max(kind.key, 1))
        self._value, at_value = _space(
            max(kind.value, 1) * (_processors() if kind.type == PERCPU_ARRAY else 1)
        )
        self._keys, self._values = memoryview(self._key).cast("B"), memoryview(self._value).cast("B")
        self._bulk: tuple[NDArray[np.uint8], NDArray[np.uint8]] | None = None
        self._element = ctypes.create_string_buffer(_ELEMENT.pack(fd, at_key, at_value, 0), _ELEMENT.size)

    @classmethod
    def make(cls, name: str, kind: Kind) -> Map:
        """A new map; raises BpfError."""
        what = f"the map {name}"
        fd = _ask(0, what, "IIIIIII16s", *kind, 0, 0, 0, name.encode()[:NAME])
        return cls(fd, kind, name)

    @classmethod
    def pinned(cls, path: Path) -> Map | None:
        """The map pinned there, None when nothing is; raises BpfError when it cannot be had."""
        fd = pinned(path)
        if fd is None:
            return None
        kind, _, key, value, entries, _, name = struct.unpack_from("=IIIIII16s", info(fd))
        return cls(fd, Kind(kind, key, value, entries), name.rstrip(b"\0").decode())

    def get(self, key: bytes) -> bytes | None:
        """The value, None when there is none."""
        self._keys[:] = key
        try:
            _call(1, self._element, "a look-up")
        except BpfError as error:
            if error.errno == errno.ENOENT:
                return None
            raise
        return self._value.raw

    def put(self, key: bytes, value: bytes) -> None:
        """Set a value, a new one or in place of another; raises BpfError (E2BIG: the map is full)."""
        self._keys[:] = key
        self._values[:] = value
        _call(2, self._element, "an entry")

    def take(self, key: bytes) -> bytes | None:
        """Remove an entry of a hash, in one step with its last value; None when there was none."""
        self._keys[:] = key
        try:
            _call(21, self._element, "a removal")
        except BpfError as error:
            if error.errno == errno.ENOENT:
                return None
            raise
        return self._value.raw

    def delete(self, key: bytes) -> None:
        """Remove an entry, if there is one."""
        self._keys[:] = key
        try:
            _call(3, ctypes.create_string_buffer(self._element.raw[:_KEYED], _KEYED), "a removal")
        except BpfError as error:
            if error.errno != errno.ENOENT:
                raise

    def all(self) -> tuple[memoryview, memoryview]:
        """All keys and all values of a hash, each in a row, as they are at this time.

        They are overwritten when this is asked again. Entries that come and go meanwhile may be missing.
        """
        kind, room = self.kind, self.kind.entries
        if self._bulk is None:
            self._bulk = np.empty((room, kind.key), np.uint8), np.empty((room, kind.value), np.uint8)
        keys, values = self._bulk
        tokens, at_tokens = _space(2 * max(4, kind.key))
        then, first, had = at_tokens, 0, 0
        while had < room:
            asked = ctypes.create_string_buffer(
                _BULK.pack(
                    first,
                    then,
                    keys.ctypes.data + had * kind.key,
                    values.ctypes.data + had * kind.value,
                    room - had,
                    self.fd,
                    0,
                    0,
                ),
                _BULK.size,
            )
            over = False
            try:
                _call(_BATCH, asked, "a look at all")
            except BpfError as error:
                if error.errno not in (errno.ENOENT, errno.ENOSPC):
                    raise
                over = True
            count = struct.unpack_from("=I", asked, 32)[0]
            if over and not count:
                break
            had += count
            if over:
                break
            first, then = then, at_tokens + len(tokens) // 2 if then == at_tokens else at_tokens
        return keys[:had].data, values[:had].data

    def close(self) -> None:
        """Let the map's file go; a pinned map stays."""
        os.close(self.fd)


def load(name: str, kind: int, text: bytes, license: str = "Apache-2.0") -> int:
    """Load a program, its file; raises BpfError, with the verifier's log when it was the verifier."""
    code = ctypes.create_string_buffer(text, len(text))
    terms = ctypes.create_string_buffer(license.encode())
    facts = (kind, len(text) // 8, ctypes.addressof(code), ctypes.addressof(terms))
    what = f"the program {name}"

    def attempt(level: int, size: int, log: int) -> int:
        return _ask(5, what, "IIQQIIQII16s", *facts, level, size, log, 0, 0, name.encode()[:NAME])

    try:
        return attempt(0, 0, 0)
    except BpfError as error:
        if error.errno in (errno.EPERM, errno.ENOSYS):
            raise
        log, at = _space(_LOG)
        try:
            return attempt(1, _LOG, at)
        except BpfError as again:
            raise BpfError(again.errno or 0, what, log.value.decode(errors="replace")) from error


def info(fd: int) -> bytes:
    """What the kernel says of a map, program or link: the beginning of its struct bpf_*_info."""
    facts, at = _space(256)
    _ask(_INFO, "a description", "IIQ", fd, len(facts), at)
    return facts.raw


def pin(fd: int, path: Path) -> None:
    """Let it live on under this path of a bpffs; raises BpfError."""
    name = ctypes.create_string_buffer(os.fsencode(path))
    _ask(6, f"{path}", "QII", ctypes.addressof(name), fd, 0)


def pinned(path: Path) -> int | None:
    """A file of what is pinned there, None when nothing is."""
    name = ctypes.create_string_buffer(os.fsencode(path))
    try:
        return _ask(7, f"{path}", "QII", ctypes.addressof(name), 0, 0)
    except BpfError as error:
        if error.errno == errno.ENOENT:
            return None
        raise


def link(program: int, ifindex: int, hook: int, flags: int = 0) -> int:
    """Attach a program to an interface, the link's file: while it or its pin lives, the program runs."""
    return _ask(_LINK_CREATE, f"interface {ifindex}", "IIII", program, ifindex, hook, flags)


def relink(link: int, program: int) -> None:
    """Put another program in the place of a link's, at once."""
    _ask(_LINK_UPDATE, "another program", "IIII", link, program, 0, 0)


def unlink(link: int) -> None:
    """Take a link's program off its interface, whoever else holds the link."""
    _ask(_LINK_DETACH, "a detachment", "I", link)


class Run(NamedTuple):
    """What a program returned for a frame, the frame afterwards, and nanoseconds a run took."""

    returned: int
    frame: bytes
    took: int


def run(program: int, frame: bytes, context: bytes = b"", repeat: int = 1) -> Run:
    """Run a program with a frame, and nothing sent (BPF_PROG_TEST_RUN); raises BpfError."""
    inside = ctypes.create_string_buffer(frame, len(frame))
    outside, at = _space(len(frame) + 256)
    about = ctypes.create_string_buffer(context, max(len(context), 1))
    where = ctypes.addressof(about) if context else 0
    asked = ctypes.create_string_buffer(80)
    _RUN.pack_into(asked, 0, program, 0, len(frame), len(outside), ctypes.addressof(inside), at, repeat, 0)
    struct.pack_into("=IIQQIIII", asked, 40, len(context), 0, where, 0, 0, 0, 0, 0)
    _call(10, asked, "a run")
    _, returned, _, size, _, _, _, took = _RUN.unpack_from(asked)
    return Run(returned, outside.raw[:size], took)
