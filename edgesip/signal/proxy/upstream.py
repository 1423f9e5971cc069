"""The upstream: where calls go that are for nobody here, and which addresses speak for it.

Holds what the resolver last found; resolves nothing itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from edgesip.address import bracketed
from edgesip.signal.proxy.hops import Name, name_of
from edgesip.signal.wire.uri import Uri


@dataclass(slots=True, eq=False)
class Upstream:
    """`upstream` and `upstream_users` of the profile; `hosts` are the IP literals that it resolves to."""

    uri: Uri
    users: re.Pattern[str]
    hosts: frozenset[str] = field(default_factory=frozenset)

    @property
    def name(self) -> Name:
        """What DNS is asked for."""
        return name_of(self.uri)

    def serves(self, user: str) -> bool:
        """True when the whole user part looks like one that the upstream knows."""
        return self.users.fullmatch(user) is not None

    def uri_for(self, user: str) -> str:
        """The request URI of a call to `user` there."""
        port = f":{self.uri.port}" if self.uri.port else ""
        transport = self.uri.param("transport")
        tail = f";transport={transport}" if transport else ""
        return f"{self.uri.scheme}:{user}@{bracketed(self.uri.host)}{port}{tail}"
