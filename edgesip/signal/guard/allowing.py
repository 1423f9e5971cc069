"""Who may call or register what, by pairs of files as Kamailio's permissions has them: allowed, denied.

A line of such a file is `FROM [EXCEPT FROM] : URI [EXCEPT URI]`, where both sides are `ALL` or patterns in
quotes with commas between them. Holds the rules and answers; it refuses to know files.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_LIST = r'(ALL|"[^"]*"(?:\s*,\s*"[^"]*")*)'
_SIDE = rf"{_LIST}(?:\s+EXCEPT\s+{_LIST})?"
_RULE = re.compile(rf"\s*{_SIDE}\s*:\s*{_SIDE}\s*").fullmatch
_REMARK = re.compile(r'("[^"]*")|#.*')

Patterns = tuple[re.Pattern[str], ...] | None
"""Any of these; None for everything."""


class Rule(NamedTuple):
    """Two URIs fit when each is meant on its side and not excepted there; without exceptions those are ()."""

    first: Patterns
    but_first: Patterns
    second: Patterns
    but_second: Patterns

    def fits(self, first: str, second: str) -> bool:
        """Whether this rule is about these two URIs."""
        return (
            _any(self.first, first)
            and not _any(self.but_first, first)
            and _any(self.second, second)
            and not _any(self.but_second, second)
        )


class Pair(NamedTuple):
    """The rules of a NAME.allow and a NAME.deny."""

    allow: tuple[Rule, ...] = ()
    deny: tuple[Rule, ...] = ()

    def allows(self, first: str, second: str) -> bool:
        """What is allowed may be; else what is denied may not; else it may."""
        if any(rule.fits(first, second) for rule in self.allow):
            return True
        return not any(rule.fits(first, second) for rule in self.deny)


def rules_of(text: str) -> tuple[Rule, ...]:
    """The rules of a file; ValueError names the line that is none. A backslash at its end continues one."""
    found: list[Rule] = []
    begun = ""
    for number, line in enumerate(text.splitlines(), 1):
        line = begun + _REMARK.sub(r"\1", line).rstrip()
        if line.endswith("\\"):
            begun = line[:-1]
            continue
        begun = ""
        if line.strip():
            found.append(_rule(line, number))
    if begun.strip():
        raise ValueError("the last line is continued, and there is no more")
    return tuple(found)


def _rule(line: str, number: int) -> Rule:
    match = _RULE(line)
    if match is None:
        form = 'must be "PATTERN" or ALL [EXCEPT ...] : "PATTERN" or ALL [EXCEPT ...]'
        raise ValueError(f"line {number}: {form}")
    try:
        first, but_first, second, but_second = (_patterns(side) for side in match.groups())
    except re.error as error:
        raise ValueError(f"line {number}: {error.pattern!r} is no pattern: {error}") from None
    return Rule(first, but_first, second, but_second)


def _patterns(side: str | None) -> Patterns:
    if side is None:
        return ()
    if side == "ALL":
        return None
    return tuple([re.compile(text, re.IGNORECASE) for text in re.findall(r'"([^"]*)"', side)])


def _any(patterns: Patterns, uri: str) -> bool:
    return patterns is None or any(pattern.search(uri) for pattern in patterns)
