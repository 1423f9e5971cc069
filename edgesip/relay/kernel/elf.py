"""A BPF object file: the code of its programs, where they name maps, and its tables of numbers.

Holds as much of ELF as clang's output for BPF needs. Refuses to know maps, the kernel and what the code does.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

_FILE: Final = struct.Struct("<4sBBBxxxxxxxxxHHIQQQIHHHHHH")
_SECTION: Final = struct.Struct("<IIQQQQIIQQ")
_SYMBOL: Final = struct.Struct("<IBBHQQ")
_RELOCATION: Final = struct.Struct("<QQ")
_EM_BPF: Final = 247
_SYMBOLS, _RELOCATIONS = 2, 9
_MAP_BY_FILE: Final = 1  # src_reg of a 16-octet load: BPF_PSEUDO_MAP_FD
_LOAD: Final = 0x18


class ElfError(ValueError):
    """The file is not a BPF object of 64 bits, least octet first, or asks for something unknown."""


class Code(NamedTuple):
    """A program: its instructions, and the maps that they name by the octet where each is loaded."""

    text: bytes
    maps: tuple[tuple[int, str], ...]

    def linked(self, files: dict[str, int]) -> bytes:
        """The instructions with each map's name replaced by its file."""
        text = bytearray(self.text)
        for at, name in self.maps:
            text[at + 1] |= _MAP_BY_FILE << 4
            struct.pack_into("<i", text, at + 4, files[name])
        return bytes(text)


class _Section(NamedTuple):
    name: str
    kind: int
    data: bytes
    link: int
    info: int


def read(data: bytes) -> dict[str, Code]:
    """The sections with code or numbers by their names; raises ElfError."""
    try:
        return _read(data)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise ElfError(f"the object is cut off or broken: {error}") from error


def _read(data: bytes) -> dict[str, Code]:
    magic, width, order, _, _, machine, _, _, _, at, _, _, _, _, size, count, names = _FILE.unpack_from(data)
    if magic != b"\x7fELF" or (width, order) != (2, 1) or machine != _EM_BPF or size != _SECTION.size:
        raise ElfError("not a BPF object of 64 bits, least octet first")
    rows = [_SECTION.unpack_from(data, at + size * number) for number in range(count)]
    texts = _cut(data, rows[names])
    sections = [_Section(_name(texts, row[0]), row[1], _cut(data, row), row[6], row[7]) for row in rows]
    found = {one.name: Code(one.data, ()) for one in sections if one.kind == 1 and one.data}
    for one in sections:
        if one.kind == _RELOCATIONS:
            name = sections[one.info].name
            found[name] = Code(found[name].text, tuple(_maps(one, sections, found[name].text)))
    return found


def _maps(relocations: _Section, sections: list[_Section], text: bytes) -> list[tuple[int, str]]:
    symbols = sections[relocations.link]
    names = sections[symbols.link].data
    found = []
    for at, info in _RELOCATION.iter_unpack(relocations.data):
        name, _, _, section, _, _ = _SYMBOL.unpack_from(symbols.data, (info >> 32) * _SYMBOL.size)
        if info & 0xFFFFFFFF != 1 or section or text[at] != _LOAD:
            raise ElfError("the code names something that is not a map")
        found.append((at, _name(names, name)))
    return found


def _cut(data: bytes, row: tuple[int, ...]) -> bytes:
    at, size = row[4], row[5]
    if at + size > len(data):
        raise ElfError("a section ends behind the file")
    return data[at : at + size]


def _name(texts: bytes, at: int) -> str:
    return texts[at : texts.index(b"\0", at)].decode("ascii")
