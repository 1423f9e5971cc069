"""Changes to header fields that scripts ask for less often than `Edits` itself holds: values with one method.

Each takes the headers of a message and gives the headers with the change made; `source` is the flow that it
came in by. They are recorded while a script runs and applied, in their order, to the copy that leaves.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Protocol

from edgesip.address import Addr, Flow
from edgesip.signal.nat.repair import (
    ALIAS,
    add_contact_alias,
    add_received,
    fix_nated_contact,
    set_contact_alias,
)
from edgesip.signal.wire.headers import Headers, prepended, replaced

_STALE: Final = ("contacts", "routes", "record_routes")


class Change(Protocol):
    """One change."""

    def apply(self, headers: Headers, source: Flow) -> Headers:
        """The headers with it."""
        ...


@dataclass(frozen=True, slots=True)
class InsertField:
    """textops' `insert_hf`: a field before the others of its name."""

    name: str
    value: str

    def __str__(self) -> str:
        return f"insert_hf({self.name!r}, {self.value!r})"

    def apply(self, headers: Headers, source: Flow) -> Headers:
        """The headers with it."""
        return headers.altered(prepended(headers.fields, self.name, self.value), *_STALE)


@dataclass(frozen=True, slots=True)
class RemoveMatching:
    """textops' `remove_hf_re`: fields whose name matches are left out, all but those in `kept`."""

    pattern: re.Pattern[str]
    kept: frozenset[str]

    def __str__(self) -> str:
        return f"remove_hf_re({self.pattern.pattern!r})"

    def apply(self, headers: Headers, source: Flow) -> Headers:
        """The headers without them."""
        search = self.pattern.search
        fields = [field for field in headers.fields if field[0] in self.kept or not search(field[0])]
        return headers.altered(fields, *_STALE)


@dataclass(frozen=True, slots=True)
class SubstField:
    """textops' `subst_hf`: the pattern replaced in the fields of one name, once or at `every` occurrence."""

    name: str
    pattern: re.Pattern[str]
    replacement: str
    every: bool

    def __str__(self) -> str:
        return f"subst_hf({self.name!r}, {self.pattern.pattern!r}, {self.replacement!r})"

    def apply(self, headers: Headers, source: Flow) -> Headers:
        """The headers with the values rewritten."""
        lines = headers.all(self.name)
        count = 0 if self.every else 1
        values = [self.pattern.sub(self.replacement, line, count=count) for line in lines]
        if values == lines:
            return headers
        return headers.altered(replaced(headers.fields, self.name, values), *_STALE)


@dataclass(frozen=True, slots=True)
class ContactAlias:
    """nathelper's aliases beside the usual one: `add` before the other parameters, else `set` with `trim`.

    Without an address it is the source's. `name` is what the parameter is called.
    """

    add: bool
    address: Addr | None = None
    transport: str = "udp"
    name: str = ALIAS

    def __str__(self) -> str:
        if self.address is not None:
            return f"add_contact_alias({self.address.host!r}, {self.address.port}, {self.transport!r})"
        return "add_contact_alias()" if self.add else "set_contact_alias(1)"

    def apply(self, headers: Headers, source: Flow) -> Headers:
        """The headers with the alias in the first Contact."""
        if not self.add:
            return set_contact_alias(headers, source.remote, source.transport, trim=True, name=self.name)
        if self.address is None:
            return add_contact_alias(headers, source.remote, source.transport, name=self.name)
        return add_contact_alias(headers, self.address, self.transport, even_if_equal=True, name=self.name)


@dataclass(frozen=True, slots=True)
class SourceContact:
    """nathelper's `fix_nated_contact`: the first Contact leads to where the message came from."""

    def __str__(self) -> str:
        return "fix_nated_contact()"

    def apply(self, headers: Headers, source: Flow) -> Headers:
        """The headers with the Contact rewritten."""
        return fix_nated_contact(headers, source.remote)


@dataclass(frozen=True, slots=True)
class ReceivedParam:
    """nathelper's `add_rcv_param`: each Contact says `;received="sip:ip:port"`, or its URI does."""

    in_uri: bool = False

    def __str__(self) -> str:
        return "add_rcv_param(1)" if self.in_uri else "add_rcv_param()"

    def apply(self, headers: Headers, source: Flow) -> Headers:
        """The headers with the parameter in each Contact."""
        return add_received(headers, source, in_uri=self.in_uri)
