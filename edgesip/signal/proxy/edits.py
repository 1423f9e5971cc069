"""What a script wants changed in the copy that leaves: recorded as it runs, applied once.

Holds the intentions, not the messages: what was received stays as it was.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from edgesip.address import Flow
from edgesip.signal.nat.repair import set_contact_alias
from edgesip.signal.wire.headers import Headers, replaced


@dataclass(slots=True, eq=False)
class Edits:
    """`alias`: `set_contact_alias()`; `relay`: `rtpproxy_manage()`; headers to remove, then to append."""

    alias: bool = False
    relay: bool = False
    remove: list[str] = field(default_factory=list)
    append: list[tuple[str, str]] = field(default_factory=list)

    def apply(self, headers: Headers, source: Flow) -> Headers:
        """The headers with every recorded change; `source` is the flow the message came in by."""
        if self.alias and headers.contacts:
            headers = set_contact_alias(headers, source.remote, source.transport)
        if not (self.remove or self.append):
            return headers
        fields = list(headers.fields)
        for name in self.remove:
            fields = replaced(fields, name, [])
        return headers.altered([*fields, *self.append], "contacts", "routes", "record_routes")
