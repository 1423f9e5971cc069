"""What of `[nathelper]` the repair of messages asks: names of parameters, what counts as private, SDP marks.

Values alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Network

from edgesip.address import is_private, parse_ip

_NARROW, _WIDE = IPv4Network("192.0.0.0/29"), IPv4Network("192.0.0.0/24")


@dataclass(frozen=True, slots=True)
class NatRules:
    """The `[nathelper]` slice of route scripts: `nat_addr_mode` 1 counts all of 192.0.0.0/24 as private."""

    alias_name: str = "alias"
    nat_addr_mode: int = 1
    nortpproxy_str: str = "a=nortpproxy:yes"
    append_sdp_oldmediaip: bool = True

    def test(self) -> Callable[[str], bool]:
        """Which addresses are private: a function of an IP literal, or of a name, which never is."""
        return is_private if self.nat_addr_mode else is_private_narrow


def is_private_narrow(host: str) -> bool:
    """`nat_addr_mode` 0: of 192.0.0.0/24 only the first eight addresses are private."""
    if not is_private(host):
        return False
    ip = parse_ip(host)
    return ip not in _WIDE or ip in _NARROW
