"""Transformations of pseudo-variables: `{s.len}`, `{uri.user}`, `{re.subst,/a/b/}`, from text to text.

One table by name. What cannot be read (a URI that is none, a parameter that is absent) gives the empty text,
as in Kamailio; a transformation that does not exist, or has too few arguments, is a ValueError.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from edgesip.signal.wire.grammar import ParseError, split_list, unquote
from edgesip.signal.wire.uri import Uri, parse_any_uri, unescape
from edgesip.signal.wire.values import NameAddr, parse_name_addr

_USER_SAFE = re.compile(r"[A-Za-z0-9\-_.!~*'()&=+$,;?/]")
_PARAM_SAFE = re.compile(r"[A-Za-z0-9\-_.!~*'()\[\]/:&+$]")


class Transformation(NamedTuple):
    """One transformation with its arguments."""

    work: Callable[[str, tuple[str, ...]], str]
    arguments: tuple[str, ...]

    def of(self, text: str) -> str:
        """The text transformed."""
        return self.work(text, self.arguments)


def transformation(text: str) -> Transformation:
    """The transformation that stands between the braces, as in `s.substr,0,3`."""
    name, comma, rest = text.partition(",")
    name = name.strip()
    found = TRANSFORMATIONS.get(name)
    if found is None:
        raise ValueError(f"there is no transformation {{{name}}}")
    least, work, _ = found
    if name == "re.subst":
        arguments: tuple[str, ...] = (rest,) if rest else ()
        if arguments:
            substitution(rest)
    else:
        arguments = tuple(rest.split(",")) if comma else ()
    if len(arguments) < least:
        raise ValueError(f"{{{name}}} wants {least} argument{'s' if least > 1 else ''}: {{{name},...}}")
    if name in _NUMBERED and not all(
        re.fullmatch(r" *-?[0-9]+ *", one) for one in arguments[: _NUMBERED[name]]
    ):
        raise ValueError(f"{{{text}}}: must be a number")
    return Transformation(work, arguments)


class Substitution(NamedTuple):
    """`/pattern/replacement/flags`, as sed and Kamailio write it; flags i, s and g (all of them)."""

    pattern: re.Pattern[str]
    replacement: str
    every: bool

    def apply(self, text: str) -> str:
        """The text with what was found replaced; the text itself when nothing was."""
        return self.pattern.sub(self.replacement, text, count=0 if self.every else 1)


@lru_cache(maxsize=512)
def substitution(text: str) -> Substitution:
    """Read one; the first character is the separator. Raises ValueError."""
    parts = re.split(rf"(?<!\\){re.escape(text[:1])}", text[1:]) if text else []
    if len(parts) != 3 or text[0].isalnum() or set(parts[2].strip()) - set("igs"):
        raise ValueError(f"{text!r}: must be /pattern/replacement/flags with flags i, g or s")
    pattern, replacement, flags = parts
    bits = (re.IGNORECASE if "i" in flags else 0) | (re.DOTALL if "s" in flags else 0)
    plain = replacement.replace("\\" + text[0], text[0])
    try:
        compiled = re.compile(pattern.replace("\\" + text[0], text[0]), bits)
        readable = re.sub(r"\\([0-9])", r"\\g<\1>", plain)
        compiled.sub(readable, "")
    except (re.error, IndexError) as error:
        raise ValueError(f"{text!r}: {error}") from None
    return Substitution(compiled, readable, "g" in flags)


# -- the work ----------------------------------------------------------------------------------------


def _number(text: str) -> int:
    return int(text)


def _substr(text: str, args: tuple[str, ...]) -> str:
    offset, length = _number(args[0]), _number(args[1])
    start = offset if offset >= 0 else max(0, len(text) + offset)
    return text[start:] if length == 0 else text[start : start + length]


def _select(text: str, args: tuple[str, ...]) -> str:
    parts, index = text.split(args[1] if len(args) > 1 and args[1] else ","), _number(args[0])
    return parts[index] if -len(parts) <= index < len(parts) else ""


def _int(text: str, args: tuple[str, ...]) -> str:
    found = re.match(r"\s*[+-]?[0-9]+", text)
    return str(int(found[0])) if found else "0"


def _from_hex(text: str, args: tuple[str, ...]) -> str:
    try:
        return _text(binascii.unhexlify(text))
    except (binascii.Error, ValueError):
        return ""


def _from_base64(text: str, args: tuple[str, ...]) -> str:
    try:
        return _text(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        return ""


def _escaped(text: str, safe: re.Pattern[str]) -> str:
    return "".join(
        char if safe.match(char) else "".join(f"%{octet:02X}" for octet in _octets(char)) for char in text
    )


def _before(text: str, args: tuple[str, ...]) -> str:
    return text.partition(args[0])[0]


def _after(text: str, args: tuple[str, ...]) -> str:
    return text.partition(args[0])[2]


def _unbracketed(text: str, args: tuple[str, ...]) -> str:
    return text[1:-1] if text[:1] + text[-1:] in ("<>", "[]", "()", "{}") else text


def _uri(text: str) -> Uri:
    try:
        return parse_any_uri(text)
    except ParseError:
        return Uri("", None, None, "", None)


def _uri_param(text: str, args: tuple[str, ...]) -> str:
    return _uri(text).param(args[0].strip()) or ""


def _uri_params(text: str, args: tuple[str, ...]) -> str:
    params = _uri(text).params
    return ";".join(name if value is None else f"{name}={value}" for name, value in params)


def _aor(text: str, args: tuple[str, ...]) -> str:
    uri = _uri(text)
    return str(Uri(uri.scheme, uri.user, None, uri.host, None)) if uri.host else ""


def name_addr(text: str) -> NameAddr:
    """The name-addr that a text is; nobody when it is none."""
    try:
        return parse_name_addr(text)
    except ParseError:
        return NameAddr("", Uri("", None, None, "", None))


def _name_addr_uri(text: str, args: tuple[str, ...]) -> str:
    uri = name_addr(text).uri
    return str(uri) if uri.scheme else ""


def _params(text: str, separator: str) -> list[tuple[str, str]]:
    try:
        items = split_list(text, ";") if separator == ";" else [one.strip() for one in text.split(separator)]
    except ParseError:
        return []
    pairs = [item.partition("=") for item in items if item]
    return [(name.strip(), unquote(value.strip())) for name, _, value in pairs]


def _separator(args: tuple[str, ...], index: int) -> str:
    return (args[index] or ",") if len(args) > index else ";"


def _param_value(text: str, args: tuple[str, ...]) -> str:
    wanted = args[0].strip().lower()
    found = [value for name, value in _params(text, _separator(args, 1)) if name.lower() == wanted]
    return found[0] if found else ""


def _param_at(text: str, args: tuple[str, ...]) -> tuple[str, str]:
    pairs, index = _params(text, _separator(args, 1)), _number(args[0])
    return pairs[index] if -len(pairs) <= index < len(pairs) else ("", "")


def _param_count(text: str, args: tuple[str, ...]) -> str:
    return str(len(_params(text, _separator(args, 0))))


def _line_at(text: str, args: tuple[str, ...]) -> str:
    lines, index = text.splitlines(), _number(args[0])
    return lines[index] if -len(lines) <= index < len(lines) else ""


def _line_with(text: str, args: tuple[str, ...]) -> str:
    return next((line for line in text.splitlines() if line.startswith(args[0])), "")


def _subst(text: str, args: tuple[str, ...]) -> str:
    return substitution(args[0]).apply(text)


def _strip_tail(text: str, args: tuple[str, ...]) -> str:
    count = _number(args[0])
    return text[: max(0, len(text) - count)]


def _md5(text: str, args: tuple[str, ...]) -> str:
    return hashlib.md5(_octets(text), usedforsecurity=False).hexdigest()


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "surrogateescape")


Entry = tuple[int, Callable[[str, tuple[str, ...]], str], str]

TRANSFORMATIONS: dict[str, Entry] = {
    "s.len": (0, lambda text, args: str(len(_octets(text))), "octets of the value"),
    "s.int": (0, _int, "the number it begins with, else 0"),
    "s.md5": (
        0,
        _md5,
        "MD5 in hex",
    ),
    "s.sha256": (0, lambda text, args: hashlib.sha256(_octets(text)).hexdigest(), "SHA-256 in hex"),
    "s.tolower": (0, lambda text, args: text.lower(), "in lower case"),
    "s.toupper": (0, lambda text, args: text.upper(), "in upper case"),
    "s.lower": (0, lambda text, args: text.lower(), "the same as `s.tolower`"),
    "s.upper": (0, lambda text, args: text.upper(), "the same as `s.toupper`"),
    "s.substr": (
        2,
        _substr,
        "OFFSET,LENGTH: a part; a negative OFFSET is from the end, LENGTH 0 is all",
    ),
    "s.select": (1, _select, "INDEX,SEPARATOR: one of the parts, the last when -1"),
    "s.replace": (
        2,
        lambda text, args: text.replace(args[0], args[1]),
        "MATCH,REPLACEMENT: each time",
    ),
    "s.rm": (1, lambda text, args: text.replace(args[0], ""), "MATCH: without every occurrence"),
    "s.before": (1, _before, "TEXT: what stands before it"),
    "s.after": (1, _after, "TEXT: what stands after it"),
    "s.strip": (1, lambda text, args: text[_number(args[0]) :], "N: without the first N characters"),
    "s.striptail": (1, _strip_tail, "N: without the last N characters"),
    "s.trim": (0, lambda text, args: text.strip(), "without blanks around it"),
    "s.ltrim": (0, lambda text, args: text.lstrip(), "without blanks before it"),
    "s.rtrim": (0, lambda text, args: text.rstrip(), "without blanks after it"),
    "s.count": (1, lambda text, args: str(text.count(args[0])), "TEXT: how often it occurs"),
    "s.numeric": (0, lambda text, args: re.sub(r"[^0-9]", "", text), "its digits alone"),
    "s.unquote": (0, lambda text, args: unquote(text), "without quotes around it"),
    "s.unbracket": (0, _unbracketed, "without brackets around it"),
    "s.encode.hexa": (0, lambda text, args: _octets(text).hex(), "in hex"),
    "s.decode.hexa": (0, _from_hex, "from hex"),
    "s.encode.base64": (0, lambda text, args: base64.b64encode(_octets(text)).decode(), "in Base64"),
    "s.decode.base64": (0, _from_base64, "from Base64"),
    "s.escape.user": (0, lambda text, args: _escaped(text, _USER_SAFE), "as the user part of a URI"),
    "s.unescape.user": (0, lambda text, args: unescape(text), "%HH undone"),
    "s.escape.param": (0, lambda text, args: _escaped(text, _PARAM_SAFE), "as the value of a URI parameter"),
    "s.unescape.param": (0, lambda text, args: unescape(text), "%HH undone"),
    "uri.user": (0, lambda text, args: _uri(text).user or "", "the user of a URI"),
    "uri.host": (0, lambda text, args: _uri(text).host, "its host"),
    "uri.port": (0, lambda text, args: str(_uri(text).port or ""), "its port"),
    "uri.scheme": (0, lambda text, args: _uri(text).scheme, "sip, sips or tel"),
    "uri.transport": (0, lambda text, args: _uri(text).param("transport") or "", "its transport parameter"),
    "uri.param": (1, _uri_param, "NAME: one of its parameters"),
    "uri.params": (0, _uri_params, "all of them"),
    "uri.headers": (0, lambda text, args: _uri(text).headers, "what follows its question mark"),
    "uri.saor": (0, _aor, "`scheme:user@host` of it"),
    "nameaddr.name": (0, lambda text, args: name_addr(text).display, "the display name of a name-addr"),
    "nameaddr.uri": (0, _name_addr_uri, "its URI"),
    "nameaddr.len": (0, lambda text, args: str(len(_octets(text))), "its octets"),
    "tobody.uri": (0, _name_addr_uri, "the URI of a From or To"),
    "tobody.tag": (0, lambda text, args: name_addr(text).tag, "its tag"),
    "tobody.user": (0, lambda text, args: name_addr(text).uri.user or "", "its user"),
    "tobody.host": (0, lambda text, args: name_addr(text).uri.host, "its host"),
    "tobody.display": (0, lambda text, args: name_addr(text).display, "its display name"),
    "param.value": (1, _param_value, "NAME[,SEPARATOR]: a parameter of a list like `a=1;b=2`"),
    "param.valueat": (
        1,
        lambda text, args: _param_at(text, args)[1],
        "INDEX[,SEPARATOR]: the value there",
    ),
    "param.name": (
        1,
        lambda text, args: _param_at(text, args)[0],
        "INDEX[,SEPARATOR]: the name there",
    ),
    "param.count": (
        0,
        lambda text, args: str(len(_params(text, _separator(args, 0)))),
        "[SEPARATOR]: how many",
    ),
    "line.count": (0, lambda text, args: str(len(text.splitlines())), "lines of a text"),
    "line.at": (1, _line_at, "INDEX: one of them"),
    "line.sw": (1, _line_with, "START: the first that starts so, as in `{line.sw,c=}`"),
    "re.subst": (1, _subst, "/PATTERN/REPLACEMENT/FLAGS: by regular expression; `\\1` is a group"),
}
"""Name to (arguments it wants at least, what it does, what it means)."""

_NUMBERED: dict[str, int] = {
    "s.substr": 2,
    "s.select": 1,
    "s.strip": 1,
    "s.striptail": 1,
    "param.valueat": 1,
    "param.name": 1,
    "line.at": 1,
}
"""How many of the first arguments are numbers."""
