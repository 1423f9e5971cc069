"""The forms that values of `[relay]` are written in, where they are more than one value.

Each function takes what TOML gives and answers the typed value; `ValueError` says what is wrong with it. It
knows neither sections nor files.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from edgesip import forms
from edgesip.forms import PortRange

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,31}|[1-9][0-9]{0,4}").fullmatch


class RelayInterface(NamedTuple):
    """`[relay.interface.NAME]`; `ports` None are those of `[relay]`."""

    name: str
    address: tuple[str, ...]
    advertise: tuple[str, ...] = ()
    ports: PortRange | None = None


def interfaces(value: object) -> tuple[RelayInterface, ...]:
    """Sections `[relay.interface.NAME]`, each with `address`, and `advertise` and `ports` if need be."""
    if isinstance(value, tuple) and all(isinstance(one, RelayInterface) for one in value):
        return value
    if not isinstance(value, dict):
        raise ValueError("must be sections of the profile file: [relay.interface.NAME]")
    return tuple(_interface(name, keys) for name, keys in value.items())


def _interface(name: str, keys: object) -> RelayInterface:
    if not _NAME(name):
        raise ValueError(f"{name!r} is no name: letters, digits, dots and dashes after a letter, or a number")
    if not isinstance(keys, dict):
        raise ValueError(f"must be a section with a name of its own: [relay.interface.NAME], not {name}")
    unknown = next((key for key in keys if key not in RelayInterface._fields[1:]), None)
    if unknown is not None:
        raise ValueError(f"{name}: unknown key {unknown}; there are address, advertise, ports")
    address = forms.hosts(keys.get("address", []))
    if not address:
        raise ValueError(f"{name}: address is missing")
    advertise = forms.hosts(keys.get("advertise", []))
    for host in advertise:
        if not any((":" in host) == (":" in one) for one in address):
            raise ValueError(f"{name}: advertise {host} has no address of its family")
    return RelayInterface(name, address, advertise, forms.ports(keys["ports"]) if "ports" in keys else None)
