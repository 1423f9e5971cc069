"""What a script may have changed in a message that goes on: textops, under Kamailio's names.

A method notes what is wanted and returns nothing; it is done to the copy that leaves, in this order: aliases
of Contact, fields removed, fields inserted and rewritten, fields appended. What came stays as it came.
"""

from __future__ import annotations

import re

from edgesip.script import recorded
from edgesip.script.message import Message, compiled
from edgesip.script.transform import substitution
from edgesip.signal.proxy.changes import (
    Change,
    InsertField,
    RemoveMatching,
    SubstField,
)
from edgesip.signal.proxy.edits import Edits
from edgesip.signal.wire.grammar import is_token
from edgesip.signal.wire.names import canonical
from edgesip.wish import Wish

PROTECTED = frozenset(
    ("Via", "From", "To", "Call-ID", "CSeq", "Content-Length", "Max-Forwards", "Record-Route")
)
"""Header fields that are the proxy's business: no script takes them away (RFC 3261 §16.6)."""


class Edited(Message):
    """A message that goes on, and what shall be different in the copy."""

    __slots__ = ("_edits",)

    _edits: Edits

    # -- header fields -------------------------------------------------------------------------------

    def append_hf(self, name: str, value: str | None = None) -> None:
        """textops: add a header field. `append_hf("X-A: b\\r\\n")`, as in kamailio.cfg, is understood too."""
        self._edits.append += (field(name, value),)

    def insert_hf(self, name: str, value: str | None = None) -> None:
        """textops: add a header field before the others of its name."""
        self._change(InsertField(*field(name, value)))

    def remove_hf(self, name: str) -> None:
        """textops: leave out every header field of this name; ValueError for one that a proxy needs."""
        self._edits.remove += (_free(name),)

    def remove_hf_re(self, pattern: str) -> None:
        """textops: leave out every header field whose name matches, but those that a proxy needs."""
        self._change(RemoveMatching(compiled(pattern, re.IGNORECASE), PROTECTED))

    def subst_hf(self, name: str, expression: str) -> bool:
        """textops: rewrite the fields of a name by `/pattern/replacement/flags`; True when one matches."""
        found = substitution(expression)
        lines = self._message.headers.all(_free(name))
        if not any(found.pattern.search(line) for line in lines):
            return False
        self._change(SubstField(name, found.pattern, found.replacement, found.every))
        return True

    def wanted(self) -> tuple[str, ...]:
        """What has been asked for so far, as a script would write it: for tests and logs."""
        edits = self._edits
        asked = ["set_contact_alias()"] if edits.alias else []
        asked += [f"rtpproxy_manage({_quoted(edits.wish)})"] if edits.relay else []
        asked += ["rtpproxy_destroy()"] if edits.relay is False else []
        asked += [str(play) for play in edits.plays]
        asked += recorded.asked(edits.record)
        asked += ["nat_keepalive()"] if edits.keepalive else []
        asked += [f"add_path({entry.user!r}, {entry.tail!r})" for entry in edits.path]
        asked += [f"remove_hf({name!r})" for name in edits.remove]
        asked += [str(change) for change in edits.changes]
        asked += [f"append_hf({name!r}, {value!r})" for name, value in edits.append]
        asked += [f"append_to_reply({name!r}, {value!r})" for name, value in edits.answer]
        asked += [f"add_rr_param({edits.rr!r})"] if edits.rr else []
        asked += [f"set_body({edits.body[0]!r}, {edits.body[1]!r})"] if edits.body is not None else []
        return tuple(asked)

    def _change(self, change: Change) -> None:
        self._edits.changes += (change,)


def _quoted(wish: Wish | None) -> str:
    return repr(wish.asked) if wish is not None and wish.asked else ""


def field(name: str, value: str | None) -> tuple[str, str]:
    """Name and value of a header field that a script adds; ValueError when they are not one line of one."""
    if value is None:
        name, colon, value = name.removesuffix("\r\n").partition(":")
        if not colon:
            raise ValueError("a header field has a name and a value: append_hf(name, value)")
        name, value = name.strip(), value.strip()
    if any(mark in value for mark in "\r\n\0"):
        raise ValueError("a header field is one line: no CR, LF or NUL")
    if not is_token(name):
        raise ValueError(f"{name!r} is no name of a header field")
    if canonical(name) in PROTECTED:
        raise ValueError(f"{name} is the proxy's to write")
    return name, value


def _free(name: str) -> str:
    """A header field's name, if a script may take it away or rewrite it."""
    if canonical(name) in PROTECTED:
        raise ValueError(f"{canonical(name)} is the proxy's business; it cannot be removed or rewritten")
    return name
