"""The section of nat_keepalive(): whom a script wants kept reachable, and how.

What a key means stands below it; the documentation is made of that. Knows no file and no command line.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, PlainValidator

from edgesip import forms
from edgesip.sections import Section


class NatTraversal(Section):
    """`nat_keepalive()`: whom a script wants kept reachable, whether or not he is registered here. A phone
    that nathelper pings already is not sent these requests as well.
    """

    keepalive_interval: Annotated[int, Field(ge=0, le=3600)] = 25
    """Seconds between two requests to an endpoint; 1 to 9 count as 10, 0 turns it off. (Kamailio's default is
    60, which is more than many routers wait.)"""
    keepalive_method: Annotated[str, PlainValidator(forms.method)] = "NOTIFY"
    """The method of these requests; NOTIFY gets `Event: keep-alive`. Any answer will do."""
    keepalive_from: Annotated[str, PlainValidator(forms.sip_uri)] = ""
    """The URI in their From; without it `sip:keepalive@` and our address."""
    keepalive_extra_headers: Annotated[str, PlainValidator(forms.header_lines)] = ""
    """More header fields for them, a line each."""
    keepalive_state_file: Annotated[Path, PlainValidator(forms.path)] = Path("keepalive_state")
    """Where registered and subscribed endpoints are kept through a restart: written when the server is ended,
    read when it starts. A relative path starts at the state directory."""
    adaptive: bool = True
    """Whether nathelper's pings get rarer where the NAT is found to remember for longer, and more frequent
    where it forgets sooner, address by address. `false`: always `nathelper.natping_interval`."""
    adaptive_max_interval: Annotated[int, Field(ge=10, le=3600)] = 120
    """Seconds between two pings of a phone at most, however long its NAT is found to remember."""
    contact_match: Annotated[int, Field(ge=0, le=1)] = 0
    """How a Contact of the answer to REGISTER is found to be the phone's own: 0 the same text, 1 the same
    type, user, host, port and transport."""
