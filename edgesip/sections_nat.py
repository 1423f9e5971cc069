"""The sections of a profile for phones behind NAT: what keeps their way open, what tells them who they are.

What a key means stands below it; the documentation is made of that. Knows no file and no command line.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PlainValidator

from edgesip import forms
from edgesip.sections import Section


class Nathelper(Section):
    """Keepalive of NAT mappings: seconds between two pings of a binding, 0 for none."""

    natping_interval: Annotated[int, Field(ge=0, le=3600)] = 25
    """Seconds between two OPTIONS to each UDP binding, which keep its way through a NAT open; 0 for none."""


class Stun(Section):
    """STUN on the ports of SIP (RFC 8489, RFC 3489): a phone learns its address, and keeps its way open."""

    enabled: bool = True
    """`false`: nobody is answered. What a phone sends keeps its way open all the same."""
    servers: Annotated[tuple[tuple[str, int], ...], PlainValidator(forms.stun_servers)] = ()
    """STUN servers that tell `advertise = "auto"` our own address, two at best; HOST or HOST:PORT."""
