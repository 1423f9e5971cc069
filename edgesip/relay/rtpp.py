"""The rtpproxy control protocol as values: octets of a command in, a command or its error number out.

Knows the grammar, its versions and its error numbers (media-control.md §7). Refuses to know calls, ports,
sockets and cookies: what a command does is for `commands`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from edgesip.address import parse_ip

VERSION = "20040107"

UNKNOWN_COMMAND = 0
ARGUMENTS, MODIFIERS, SUBCOMMAND = 1, 2, 3
NOTHING = 5
RECORD_MODIFIERS, COPY_MODIFIERS = 6, 7
DELETE_MODIFIERS = 8
TOTALS_MODIFIERS = 9
NOTIFY_TAG = 10
EXTERNAL, INTERNAL = 11, 12
PTIME, CODECS, LOCAL, TOWARD = 13, 14, 15, 16
COUNT = 17
INFO_MODIFIERS = 18
QUERY_MODIFIERS = 19
NO_SUCH_LOCAL, NOT_AN_ADDRESS, NO_WAY, FAMILY, MEDIA_NUMBER = 31, 32, 33, 36, 37
NO_CODECS = 35
SESSION_UNKNOWN = 50
PLAY_FAILED, QUERY_FAILED, COPY_FAILED, TOTALS_FAILED = 60, 62, 65, 68
NO_PORTS_MORE, NO_PORTS_NEW = 71, 72
NOTIFY_DISABLED = 75
OVERLOADED, DRAINING = 98, 99
"""Error numbers, as they stand after `E` in a reply."""

MAX_MEDIA = 16
MAX_TEXT = 8192
"""Octets of one command at most."""
MAX_COUNTERS = 64


class RtppError(ValueError):
    """A command that cannot be done: `code` is its number."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code
        self.why = why


class Who(NamedTuple):
    """Which call is meant: by one or both tags, in either order. `media` counts from 1; None is all of it."""

    call_id: str
    first: str
    second: str | None
    media: int | None


class Notify(NamedTuple):
    """Who wants to be told when the session's media ends, and by which words."""

    socket: str
    tag: str


@dataclass(frozen=True, slots=True)
class Version:
    """V."""


@dataclass(frozen=True, slots=True)
class Feature:
    """VF: whether the extension of this date is there."""

    date: str


@dataclass(frozen=True, slots=True)
class Delete:
    """D: the session is over for one of those who hold it; `weak` by its weak mark."""

    who: Who
    weak: bool


@dataclass(frozen=True, slots=True)
class Place:
    """U (`create`) and L: one side of a stream is at `host`:`port`; the answer is where the other side sends.

    With U it is the side of the first tag, with L that of the second. `host` "" means an address that is no
    IP literal; `networks` are the letters `i` and `e` as they came; `codecs` None: nothing was said of them.
    """

    who: Who
    create: bool
    host: str
    port: int
    asymmetric: bool = False
    symmetric: bool = False
    networks: str = ""
    six: bool = False
    ptime: int = 0
    codecs: tuple[int, ...] | None = None
    weak: bool = False
    local: str = ""
    label: str = ""
    toward: str = ""
    renew: bool = False
    notify: Notify | None = None
    then: Delete | None = None


@dataclass(frozen=True, slots=True)
class Play:
    """P: play `name` to the side of the first tag; `count` -1: for ever. `codecs` None: its own."""

    who: Who
    name: str
    count: int
    codecs: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class Stop:
    """S: nothing is played any more to the side of the first tag."""

    who: Who


@dataclass(frozen=True, slots=True)
class Record:
    """R and C: keep what the sides say, `single` in one file; `target` "" means where recordings go."""

    who: Who
    target: str
    single: bool


@dataclass(frozen=True, slots=True)
class Unrecord:
    """N: no further recording."""

    who: Who
    every: bool


@dataclass(frozen=True, slots=True)
class Query:
    """Q: numbers of one stream, `verbose` with their names."""

    who: Who
    verbose: bool
    counters: tuple[str, ...]
    then: Delete | None = None


@dataclass(frozen=True, slots=True)
class Info:
    """I: what is there, `brief` without a line for each session."""

    brief: bool


@dataclass(frozen=True, slots=True)
class Totals:
    """G: numbers of the whole relay."""

    verbose: bool
    counters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DeleteAll:
    """X."""


Command = (
    Version | Feature | Place | Delete | Play | Stop | Record | Unrecord | Query | Info | Totals | DeleteAll
)


class _Shape(NamedTuple):
    """How many words a command has, itself counted, and at which of them its tags begin (0: it has none)."""

    least: int
    most: int
    tags: int


_SHAPES = {
    "V": _Shape(1, 1, 0),
    "VF": _Shape(2, 2, 0),
    "U": _Shape(5, 8, 4),
    "L": _Shape(5, 6, 4),
    "D": _Shape(3, 4, 2),
    "P": _Shape(5, 6, 4),
    "S": _Shape(3, 4, 2),
    "R": _Shape(3, 4, 2),
    "C": _Shape(4, 5, 3),
    "N": _Shape(3, 4, 2),
    "Q": _Shape(3, 4 + MAX_COUNTERS, 2),
    "I": _Shape(1, 1, 0),
    "G": _Shape(1, 1 + MAX_COUNTERS, 0),
    "X": _Shape(1, 1, 0),
}
_ADDRESS = r"(?:\[[0-9A-Fa-f:.]+\]|[0-9.]+)"
_OPTION = re.compile(
    rf"(?P<flag>[AaSsWwNn6IiEe])|[Zz](?P<ptime>[0-9]*)|[Cc](?P<codecs>[0-9,]*)"
    rf"|[Ll](?:\{{(?P<label>[^{{}}]*)\}}|(?P<local>{_ADDRESS}))|[Rr](?P<toward>{_ADDRESS})"
)
_COUNT = re.compile(r"-1|[0-9]{1,6}")
_NUMBER = re.compile(r"[0-9]{1,5}")
_SOCKET = re.compile(r"unix:|tcp:|%%CC_SELF%%|/")


def words_of(data: bytes) -> list[str]:
    """The words of a command, its cookie among them where it has one; none when it is too long."""
    if len(data) > MAX_TEXT:
        return []
    return data.decode("latin-1").replace("\0", " ").split()


def parse(words: list[str]) -> Command:
    """One command with its sub-commands. Raises `RtppError`."""
    head, *rest = _split(words)
    if not head:
        raise RtppError(NOTHING, "nothing was asked")
    name = head[0][:1].upper()
    if name == "V" and head[0][1:2] in ("F", "f"):
        name = "VF"
    shape = _SHAPES.get(name)
    if shape is None:
        raise RtppError(UNKNOWN_COMMAND, f"there is no command {head[0][:1]}")
    if not shape.least <= len(head) <= shape.most:
        raise RtppError(ARGUMENTS, f"{name} has {len(head) - 1} arguments")
    modifiers = head[0][len(name) :]
    who = _who(head, shape.tags)
    if name in ("U", "L"):
        return _place(head, who, modifiers, _then(rest, who))
    if name == "Q":
        return Query(who, _verbose(modifiers, QUERY_MODIFIERS), tuple(head[4:]), _then(rest, who))
    if rest:
        raise RtppError(SUBCOMMAND, f"{name} has no sub-commands")
    return _simple(name, head, who, modifiers)


def _simple(name: str, head: list[str], who: Who, modifiers: str) -> Command:
    """Every command that has no sub-commands."""
    if name == "D":
        return _delete(who, modifiers)
    if name == "P":
        return _play(head, who, modifiers)
    if name in ("R", "C"):
        if modifiers and modifiers not in ("s", "S"):
            single = modifiers[0] in "sS"
            raise RtppError(RECORD_MODIFIERS if single else COPY_MODIFIERS, f"modifiers {modifiers}")
        return Record(who, head[2] if name == "C" else "", bool(modifiers))
    if name == "N":
        if modifiers and modifiers not in ("a", "A"):
            raise RtppError(MODIFIERS, f"modifiers {modifiers}")
        return Unrecord(who, bool(modifiers))
    if name == "I":
        if modifiers.strip("bB"):
            raise RtppError(INFO_MODIFIERS, f"modifiers {modifiers}")
        return Info(bool(modifiers))
    if name == "G":
        return Totals(_verbose(modifiers, TOTALS_MODIFIERS), tuple(head[1:]))
    if modifiers:
        raise RtppError(MODIFIERS, f"{name} has no modifiers")
    if name == "VF":
        return Feature(head[1])
    if name == "S":
        return Stop(who)
    return Version() if name == "V" else DeleteAll()


def _split(words: list[str]) -> list[list[str]]:
    """The command and its sub-commands, between which there is `&&`."""
    parts: list[list[str]] = [[]]
    for word in words:
        if word == "&&":
            parts.append([])
        else:
            parts[-1].append(word)
    return parts


def _then(rest: list[list[str]], who: Who) -> Delete | None:
    """The sub-command: D, with the call of its command."""
    if not rest:
        return None
    if len(rest) > 1 or len(rest[0]) != 1 or rest[0][0][0] not in "Dd":
        raise RtppError(SUBCOMMAND, "the only sub-command is D")
    return _delete(who, rest[0][0][1:])


def _who(head: list[str], at: int) -> Who:
    """The call and the tags of a command; the media number is that of the first tag."""
    if not at:
        return Who("", "", None, None)
    first, semicolon, number = head[at].rpartition(";")
    media = None
    if semicolon and _NUMBER.fullmatch(number):
        media = int(number)
    else:
        first = head[at]
    if media is not None and not 1 <= media <= MAX_MEDIA:
        raise RtppError(MEDIA_NUMBER, f"media number {media}")
    second = _untagged(head[at + 1]) if len(head) > at + 1 else None
    return Who(head[1], first, second, media)


def _untagged(word: str) -> str:
    """A tag without its media number."""
    tag, semicolon, number = word.rpartition(";")
    return tag if semicolon and _NUMBER.fullmatch(number) else word


def _verbose(modifiers: str, code: int) -> bool:
    if modifiers.strip("vV"):
        raise RtppError(code, f"modifiers {modifiers}")
    return bool(modifiers)


def _delete(who: Who, modifiers: str) -> Delete:
    if modifiers.strip("wW"):
        raise RtppError(DELETE_MODIFIERS, f"modifiers {modifiers}")
    return Delete(who, bool(modifiers))


def _play(head: list[str], who: Who, modifiers: str) -> Play:
    if modifiers and not _COUNT.fullmatch(modifiers):
        raise RtppError(COUNT, f"count {modifiers}")
    codecs = None if head[3] == "session" else _codecs(head[3])
    return Play(who, head[2], int(modifiers or "1"), codecs)


def _codecs(text: str) -> tuple[int, ...]:
    found = tuple(int(one) for one in text.split(",") if _NUMBER.fullmatch(one))
    if not found or max(found) > 127 or len(found) != len(text.split(",")):
        raise RtppError(CODECS, f"codecs {text}")
    return found


def _place(head: list[str], who: Who, modifiers: str, then: Delete | None) -> Place:
    create = head[0][:1] in "Uu"
    who, notify = _notify(head, who)
    ip = parse_ip(head[2].removeprefix("[").removesuffix("]"))
    port = int(head[3]) if _NUMBER.fullmatch(head[3]) else -1
    if not 0 <= port <= 65535:
        raise RtppError(NOT_AN_ADDRESS, f"port {head[3]}")
    given = _options(modifiers)
    flags = given.get("flag", "")
    networks = "".join(letter for letter in flags if letter in "ie")
    if len(networks) > 2:
        raise RtppError(EXTERNAL if networks[2] == "e" else INTERNAL, f"networks {networks}")
    codecs = given.get("codecs")
    return Place(
        who=who,
        create=create,
        host="" if ip is None else str(ip),
        port=port,
        asymmetric="a" in flags,
        symmetric="s" in flags,
        networks=networks,
        six="6" in flags,
        ptime=_ptime(given.get("ptime")),
        codecs=None if codecs is None else _codecs(codecs),
        weak="w" in flags,
        local=_address(given.get("local"), LOCAL),
        label=given.get("label", ""),
        toward=_address(given.get("toward"), TOWARD),
        renew="n" in flags,
        notify=notify,
        then=then,
    )


def _options(modifiers: str) -> dict[str, str]:
    """The options behind U and L that are there, by name; the flags in one text as they came."""
    found: dict[str, str] = {}
    at = 0
    while at < len(modifiers):
        option = _OPTION.match(modifiers, at)
        if option is None or option.lastgroup is None:
            code = {"l": LOCAL, "r": TOWARD}.get(modifiers[at].lower(), MODIFIERS)
            raise RtppError(code, f"option {modifiers[at:]}")
        name, text = option.lastgroup, option[option.lastgroup]
        found[name] = found.get(name, "") + text.lower() if name == "flag" else text
        at = option.end()
    return found


def _ptime(text: str | None) -> int:
    if text is None:
        return 0
    value = int(text) if _NUMBER.fullmatch(text) else 0
    if not 1 <= value <= 999:
        raise RtppError(PTIME, f"ptime {text}")
    return value


def _address(text: str | None, code: int) -> str:
    if text is None:
        return ""
    ip = parse_ip(text.strip("[]"))
    if ip is None:
        raise RtppError(code, f"address {text}")
    return str(ip)


def _notify(head: list[str], who: Who) -> tuple[Who, Notify | None]:
    """The last two words of a long U; with seven words the sixth may be the socket, there is no tag then."""
    if len(head) <= 6:
        return who, None
    if len(head) == 7 and not _SOCKET.match(head[5]):
        return who, Notify(head[6], "")
    if len(head) == 7:
        who = who._replace(second=None)
    if re.search(r"%(?![0-9A-Fa-f]{2})", head[-1]):
        raise RtppError(NOTIFY_TAG, f"tag {head[-1]}")
    return who, Notify(head[-2], unquote_to_bytes(head[-1]).decode("latin-1"))
