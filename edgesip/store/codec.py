"""JSON both ways, for records and for the control socket, lossless for text that is not UTF-8.

SIP text is held as `str` with surrogate escapes where the octets were not UTF-8 (RFC 3261 §25.1 allows
anything in quoted strings). orjson refuses such text; the standard library writes it as `\\udcXX`.
"""

from __future__ import annotations

import json
from typing import Any

import orjson


def dumps(value: Any) -> bytes:
    """The value as compact JSON; TypeError when it is none (a bug of ours)."""
    try:
        return orjson.dumps(value)
    except TypeError:  # surrogate escapes, integers above 64 bits
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")


def loads(data: bytes | str) -> Any:
    """The value of a JSON text; ValueError when it is none."""
    try:
        return orjson.loads(data)
    except ValueError:  # orjson knows no lone surrogates
        return _slow_loads(data)


def _slow_loads(data: bytes | str) -> Any:
    try:
        return json.loads(data, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
