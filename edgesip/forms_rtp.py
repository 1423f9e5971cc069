"""The forms that values of `[rtpproxy]` are written in.

Each function takes what TOML, the command line or a default gives and answers the typed value; `ValueError`
says what is wrong with it. It knows neither sections nor files.
"""

from __future__ import annotations

import re

is_prompt_name = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}").fullmatch
"""A name of a prompt: what a file may be called, and no path."""


def prompt(value: object) -> str:
    """The name of a prompt, or an absolute path without the ending; empty for none."""
    if not isinstance(value, str) or "\0" in value:
        raise ValueError(f"must be the name of a prompt, not {value!r}")
    if value and not value.startswith("/") and not is_prompt_name(value):
        raise ValueError(
            f"must be the name of a prompt: letters, digits, dots, dashes and underscores, not {value!r}"
        )
    return value


def template(value: object) -> str:
    """One line of text; its pseudo-variables are looked at by whoever fills them in."""
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError(f"must be a text with pseudo-variables, like $ci, not {value!r}")
    return value
