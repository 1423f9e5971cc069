"""The forms that values of `[nathelper]` are written in.

Each function takes what TOML, the command line or a default gives and answers the typed value; `ValueError`
says what is wrong with it. It knows neither sections nor files.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address

from edgesip.address import Addr, is_sendable, parse_hostport, parse_ip
from edgesip.forms import Listen, items, parse_listen
from edgesip.signal.wire.grammar import is_token

_PARAMETER = re.compile(r"[A-Za-z0-9_.-]+").fullmatch
_TAKEN = frozenset(("transport", "user", "method", "ttl", "maddr", "lr", "gr", "ob"))


def socket(value: object) -> Listen | None:
    """`udp:ADDR:PORT`, one of our listeners; empty for none."""
    if value is None or value == "" or isinstance(value, Listen):
        return value if isinstance(value, Listen) else None
    if not isinstance(value, str):
        raise ValueError(f"must be udp:ADDR:PORT, not {value!r}")
    found = parse_listen(value)
    if found.transport != "udp":
        raise ValueError(f"must be udp:ADDR:PORT, not {value!r}: phones over connections are not pinged")
    return found


def spoofed_socket(value: object) -> Addr | None:
    """`ADDR:PORT` of IPv4, the port 5060 when there is none; empty for none."""
    if value is None or value == "" or isinstance(value, Addr):
        return value if isinstance(value, Addr) else None
    where = parse_hostport(value) if isinstance(value, str) else None
    ip = parse_ip(where[0]) if where is not None else None
    if where is None or not isinstance(ip, IPv4Address) or not is_sendable(str(ip), loopback=True):
        raise ValueError(f"must be ADDR:PORT of IPv4, not {value!r}")
    return Addr(str(ip), where[1] or 5060)


def file_names(value: object) -> tuple[str, ...]:
    """Names of files without a directory and an ending: letters, digits, `_` and `-`."""
    names = items(value)
    for name in names:
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name, re.ASCII):
            raise ValueError(f"{name!r} must be letters, digits, _ and - only")
    return tuple(names)


def sdp_line(value: object) -> str:
    """One line of SDP without its end, `a=...`; empty for none."""
    if not isinstance(value, str):
        raise ValueError(f"must be text, not {value!r}")
    line = value.removesuffix("\n").removesuffix("\r")
    if line and not (line.startswith("a=") and line[2:] and line.isprintable() and line.isascii()):
        raise ValueError(f"must be a line of SDP, like a=nortpproxy:yes, not {value!r}")
    return line


def parameter(value: object) -> str:
    """The name of a URI parameter that means nothing yet."""
    if not isinstance(value, str) or not _PARAMETER(value) or not is_token(value):
        raise ValueError(f"must be the name of a parameter, not {value!r}")
    if value.lower() in _TAKEN:
        raise ValueError(f"{value} means something else in a URI")
    return value
