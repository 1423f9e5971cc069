"""The lexical floor of SIP text: tokens, numbers, quoted strings, lists and parameters (RFC 3261 §25.1).

Holds `ParseError`, the one exception every reader in this room raises. Knows nothing of particular
headers, URIs or messages, and never takes more than linear time on hostile text.
"""

from __future__ import annotations

import re
from typing import Any, Final

LWS: Final = " \t"
MAX_ITEMS: Final = 1024  # separators in one list
MAX_PARAMS: Final = 64  # parameters of one value (threat 10)
Params = tuple[tuple[str, str | None], ...]

_TOKEN: Final = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+").fullmatch
_PARAM_NAMES: Final = frozenset(
    ("tag", "branch", "rport", "received", "expires", "q", "lr")
)  # the usual spellings
# The alternatives of each pattern start with different characters, so that none can be tried twice.
_QUOTED: Final = r'"[^"\\]*(?:\\.[^"\\]*)*"'
_QUOTED_AT: Final = re.compile(_QUOTED, re.DOTALL).match
_CLEAN_AT: Final = re.compile(r'(?:[^"\0]+|"[^"\\\0]*(?:\\.[^"\\\0]*)*")*', re.DOTALL).match
_ITEM_AT: Final = {
    sep: re.compile(rf'(?:[^{sep}"<]+|{_QUOTED}|<[^>]*>)*', re.DOTALL).match for sep in (",", ";")
}


class ParseError(ValueError):
    """What is wrong with a peer's octets, and the status to answer with.

    `request` is the request as far as it was read when that is good enough to answer with `reply_to`; its
    `headers.via`, `vias`, `from_`, `to`, `call_id` and `cseq` are safe to read (`Headers.make_answerable`),
    other typed properties may raise again. None: say nothing. (A `message.Request`; typed loosely because
    this floor does not know messages.)
    """

    def __init__(self, reason: str, status: int = 400, request: Any = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status
        self.request = request


def is_token(text: str) -> bool:
    """True for a non-empty RFC 3261 token."""
    return _TOKEN(text) is not None


def digits(text: str, max_value: int) -> int:
    """The number that 1*DIGIT spells, at most `max_value`; ASCII digits only, leading zeros allowed."""
    if not (text.isascii() and text.isdigit()):
        raise ParseError("not a number")
    if len(text) > 10:
        text = text.lstrip("0") or "0"
        if len(text) > 20:
            raise ParseError("number too large")
    number = int(text)
    if number > max_value:
        raise ParseError("number too large")
    return number


def quoted_end(text: str, start: int) -> int:
    """The index just past the quoted string that opens at `start`."""
    found = _QUOTED_AT(text, start)
    if found is None:
        raise ParseError("unbalanced quotes")
    return found.end()


def split_list(text: str, sep: str = ",") -> list[str]:
    """Split at each `sep` ("," or ";") outside quoted strings and <>; items stripped, empty ones kept."""
    if sep not in text and '"' not in text:
        return [text.strip(LWS)]
    if text.count(sep) > MAX_ITEMS:
        raise ParseError("too many values")
    if '"' not in text and "<" not in text:
        return [item.strip(LWS) for item in text.split(sep)]
    item_at = _ITEM_AT[sep]
    items: list[str] = []
    start = 0
    while True:
        found = item_at(text, start)
        end = found.end() if found else start
        items.append(text[start:end].strip(LWS))
        if end == len(text):
            return items
        if text[end] != sep:
            raise ParseError("unbalanced quotes or brackets")
        start = end + 1


def quote(text: str) -> str:
    """The text as a quoted-string."""
    if "\\" in text or '"' in text:
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def unquote(text: str) -> str:
    """What a quoted-string says; text that is not quoted comes back as it is."""
    if len(text) < 2 or text[0] != '"' or text[-1] != '"':
        return text
    text = text[1:-1]
    if "\\" not in text:
        return text
    return "\\".join([part.replace("\\", "") for part in text.split("\\\\")])


def has_bare_nul(text: str) -> bool:
    """True unless each NUL is a quoted-pair inside a quoted string (RFC 4475 §3.1.1.2 wants those kept)."""
    found = _CLEAN_AT(text)
    return found is None or found.end() != len(text)


def parse_params(text: str) -> Params:
    """Header parameters `a=b;c` (without the leading semicolon), names lower-cased, values as spelled.

    Empty parameters (";;") are skipped; a name used twice is an error (RFC 3261 §7.3.1), since two
    readers could each believe another one.
    """
    if text[:4] == "tag=" and ";" not in text and '"' not in text and "<" not in text:
        return (("tag", text[4:].strip(LWS)),)
    params: list[tuple[str, str | None]] = []
    if text.count(";") > MAX_PARAMS:
        raise ParseError("too many parameters")
    for item in split_list(text, ";") if '"' in text else text.split(";"):
        name, equals, value = item.partition("=")
        if name not in _PARAM_NAMES:
            name, value = name.strip(LWS), value.lstrip(LWS)
            if _TOKEN(name) is None:
                if not name and not equals:
                    continue
                raise ParseError("bad parameter name")
            name = name.lower()
        params.append((name, value.strip(LWS) if equals else None))
    if "<" in text:
        _check_angles(params)
    if len(params) > 1 and len(dict(params)) < len(params):
        raise ParseError("parameter given twice")
    return tuple(params)


def _check_angles(params: list[tuple[str, str | None]]) -> None:
    """< only inside quotes: to another reader it might begin the URI of the header."""
    for _, value in params:
        if value and value[0] != '"' and "<" in value:
            raise ParseError("bad parameter value")


def params_text(params: Params) -> str:
    """Parameters as they stand in a message, each with its leading semicolon."""
    return "".join([f";{name}" if value is None else f";{name}={value}" for name, value in params])


def find_param(params: Params, name: str) -> str | None:
    """The first value of a parameter whose stored name is lower case: '' when valueless, None when absent."""
    for key, value in params:
        if key == name:
            return "" if value is None else value
    return None
