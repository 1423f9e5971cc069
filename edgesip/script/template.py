"""Texts with pseudo-variables in them, as in kamailio.cfg: `$fU called $rU from $si`.

Reads a text once, keeps what it read, fills it in from any object that has the attributes. A name that does
not exist is a ValueError, at the latest when the text is used and at load time where it stands in a script.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from operator import attrgetter
from typing import Any, NamedTuple

from edgesip.script.transform import Transformation, transformation
from edgesip.script.variables import FUNCTIONS, OF_REQUEST, VARIABLES

_NAME_AT = re.compile(r"keepalive\.socket|[A-Za-z_][A-Za-z0-9_]*").match


class _Variable(NamedTuple):
    """One variable of a text: how it is written, how it is read, what is done to its value."""

    written: str
    read: Callable[[Any], object]
    argument: str | None
    transformations: tuple[Transformation, ...]

    def of(self, thing: object) -> str:
        try:
            value = self.read(thing)
        except AttributeError:
            raise ValueError(f"{self.written}: not known here") from None
        if self.argument is not None:
            assert callable(value)
            value = value(self.argument)
        text = _text(value)
        for one in self.transformations:
            text = one.of(text)
        return text


Piece = str | _Variable


def filled(text: str, thing: object) -> str:
    """The text with every variable's value in its place; `$$` is a dollar sign."""
    return "".join([piece if isinstance(piece, str) else piece.of(thing) for piece in pieces(text)])


@lru_cache(maxsize=1024)
def pieces(text: str) -> tuple[Piece, ...]:
    """The text taken apart. Raises ValueError for an unknown variable or transformation."""
    found: list[Piece] = []
    start = 0
    while (at := text.find("$", start)) >= 0:
        found.append(text[start:at])
        if text.startswith("$$", at):
            found.append("$")
            start = at + 2
        elif text.startswith("$(", at):
            variable, start = _in_parentheses(text, at)
            found.append(variable)
        else:
            variable, start = _variable(text, at, at + 1)
            found.append(variable)
    found.append(text[start:])
    return tuple(piece for piece in found if piece != "")


def _in_parentheses(text: str, at: int) -> tuple[_Variable, int]:
    """`$(name{transformation}...)`."""
    variable, start = _variable(text, at, at + 2)
    done: list[Transformation] = []
    while text.startswith("{", start):
        end = _closing(text, start, "{}")
        done.append(transformation(text[start + 1 : end]))
        start = end + 1
    if not text.startswith(")", start):
        raise ValueError(f"{text[at:]!r}: no ) after the variable")
    written = text[at : start + 1]
    return _Variable(written, variable.read, variable.argument, tuple(done)), start + 1


def _variable(text: str, at: int, start: int) -> tuple[_Variable, int]:
    """The variable at `at` whose name begins at `start`, and where the text goes on."""
    name = _NAME_AT(text, start)
    if name is None:
        raise ValueError(f"{text[at:]!r}: a variable has a name; a dollar sign is $$")
    end = name.end()
    function = FUNCTIONS.get(name[0])
    if function is not None:
        if not text.startswith("(", end):
            raise ValueError(f"${name[0]} wants an argument: ${name[0]}(x)")
        close = _closing(text, end, "()")
        argument = text[end + 1 : close].strip()
        if function == OF_REQUEST:
            pieces(argument)  # for its errors
        written = text[at : close + 1]
        return _Variable(written, attrgetter(function), argument, ()), close + 1
    attribute = VARIABLES.get(name[0])
    if attribute is None:
        raise ValueError(f"there is no variable ${name[0]}")
    return _Variable(f"${name[0]}", attrgetter(attribute), None, ()), end


def _closing(text: str, start: int, marks: str) -> int:
    """Where the bracket that opens at `start` is closed again."""
    depth = 0
    for index in range(start, len(text)):
        depth += (text[index] == marks[0]) - (text[index] == marks[1])
        if not depth:
            return index
    raise ValueError(f"{text[start:]!r}: no {marks[1]} at its end")


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float):
        return f"{value:.3f}"
    return "" if value is None else str(value)
