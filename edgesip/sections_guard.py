"""The sections of a profile for what stands before everything else: permissions, pike, bans.

What a key means stands below it; the documentation is made of that. Knows no file and no command line.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import Field, PlainValidator, model_validator

from edgesip import forms, forms_nat
from edgesip.address import parse_ip
from edgesip.forms import Network
from edgesip.sections import Section


class Permissions(Section):
    """Sources that are believed without a password, and numbered groups of addresses for route scripts."""

    trusted: Annotated[tuple[Network, ...], PlainValidator(forms.networks)] = ()
    """Who may call our users without a password, is never banned, and is never sent on to the upstream. They
    are group 1."""
    address: Annotated[tuple[str, ...], PlainValidator(forms.lines)] = ()
    """Rows of address groups: `GROUP ADDRESS [MASK [PORT [TAG]]]`; ADDRESS may be a host's name, which is
    compared and never resolved; PORT 0 is any. Group 1 is trusted, the others are the script's."""
    address_file: Annotated[Path | None, PlainValidator(forms.path)] = None
    """A file of more such rows, one a line, `#` begins a remark; `edgesip rpc permissions.addressReload`
    reads it again. A relative path starts at the profile's own directory."""
    trusted_file: Annotated[Path | None, PlainValidator(forms.path)] = None
    """A file of rows for `call.allow_trusted()`: `SOURCE PROTO FROM_PATTERN RURI_PATTERN [TAG]`, PROTO one of
    any, udp, tcp, tls; `*` is any pattern; `edgesip rpc permissions.trustedReload` reads it
    again."""
    rule_files: Annotated[tuple[str, ...], PlainValidator(forms_nat.file_names)] = ()
    """NAMEs of pairs of files, NAME.allow and NAME.deny beside the profile, for `call.allow_routing("NAME")`,
    `allow_register` and `allow_uri`; read again by `edgesip reload` and by
    `edgesip rpc permissions.addressReload`. (Kamailio's `default_allow_file` and `default_deny_file`.)"""
    subnet_match_mode: Annotated[int, Field(ge=0, le=1)] = 0
    """Which network counts when several fit: 0 the first that is listed, 1 the smallest."""
    max_subnets: Annotated[int, Field(ge=1, le=100_000)] = 512
    """Networks in all groups at most; single addresses do not count."""
    reload_delta: Annotated[int, Field(ge=0, le=3600)] = 5
    """Seconds between two reloads by RPC at least."""

    def trusts(self, host: str) -> bool:
        """True when this IP literal lies in one of the trusted networks."""
        ip = parse_ip(host)
        return ip is not None and any(ip in network for network in self.trusted)


class Pike(Section):
    """How many requests a source may make (Kamailio's pike); IPv6 sources are counted by /64."""

    sampling_time_unit: Annotated[int, Field(ge=1, le=3600)] = 2
    """Seconds of a window in which requests are counted."""
    reqs_density_per_unit: Annotated[int, Field(ge=1, le=1_000_000)] = 2000
    """Requests of a source in one window that block it; half of them block one port. nat-sbc counts those of
    strangers alone, not what comes over a registered flow, and a password that is proved takes back what it
    cost: a thousand phones behind one address may register at once. (Kamailio's default is 30.)"""
    remove_latency: Annotated[int, Field(ge=1, le=86_400)] = 120
    """Seconds that a silent source is remembered."""
    pike_log_level: Annotated[int, Field(ge=-1, le=3)] = 1
    """The level of the lines that say who is blocked: -1 error, 0 warning, 1 and 2 info, 3 debug (in memory
    for `edgesip trace` alone)."""


class Ban(Section):
    """Who did too much wrong is not heard for a while. An address is banned as a whole only where no phone
    is registered; registered phones, the upstream and trusted addresses never are.
    """

    enabled: bool = True
    """`false`: nothing is counted and nobody banned, but by `edgesip ban add`."""
    autoexpire: Annotated[int, Field(ge=1, le=86_400)] = 300
    """Seconds of a first ban; each further one of the same source lasts twice as long."""
    longest: Annotated[int, Field(ge=1, le=2_592_000)] = 86400
    """Seconds of a ban at most."""
    failures: Annotated[int, Field(ge=1, le=100_000)] = 20
    """Failures of a source within `window` that ban it: wrong passwords, unknown users, unreadable messages,
    refusals. A first 401 or 407 never counts; a scanner by its own name counts five, a flood at once."""
    user_failures: Annotated[int, Field(ge=1, le=100_000)] = 10
    """Wrong passwords for one user from one source within `window` after which none of this user is weighed
    from there for the time of a ban. He goes on hearing that it is wrong; `failures` silence the source."""
    window: Annotated[int, Field(ge=1, le=86_400)] = 600
    """Seconds in which failures are added up."""
    size: Annotated[int, Field(ge=100, le=100_000)] = 100_000
    """Bans at a time; the oldest make room. (In htable it is the exponent of a number of slots.)"""
    scanners: Annotated[re.Pattern[str], PlainValidator(forms.pattern_of_any_case)] = re.compile(
        "friendly-scanner|friendly-request|sipvicious|sipcli|sip-scan|sundayddr|vaxsipuseragent|pplsip",
        re.IGNORECASE,
    )
    """What the User-Agent of a scanner looks like, for `call.is_scanner()`; case does not matter."""

    @model_validator(mode="after")
    def _ordered(self) -> Ban:
        if self.longest < self.autoexpire:
            raise ValueError(f"longest {self.longest} is below autoexpire {self.autoexpire}")
        return self
