"""The forms that values of `[usrloc]` are written in.

Each function takes what TOML, the command line or a default gives and answers the typed value; `ValueError`
says what is wrong with it. It knows neither sections nor files.
"""

from __future__ import annotations

import re


def alive_codes(value: object) -> tuple[int, ...]:
    """Statuses, or first digits of them, in a list or separated by commas; `0` or an empty text for any."""
    words = value.split(",") if isinstance(value, str) else value
    if not isinstance(words, list | tuple):
        raise ValueError(f"must be like 200,404,5, not {value!r}")
    found = [str(one).strip() for one in words if str(one).strip()]
    for word in found:
        if re.fullmatch(r"[2-6]([0-9]{2})?|0", word, re.ASCII) is None:
            raise ValueError(f"must be like 200,404,5, not {word!r}")
    return () if "0" in found else tuple([int(word) for word in found])


def ka_domain(value: object) -> str:
    """A domain name; empty for our own address."""
    if not isinstance(value, str) or re.fullmatch(r"[A-Za-z0-9.-]*", value) is None:
        raise ValueError(f"must be a domain, not {value!r}")
    return value
