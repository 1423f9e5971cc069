"""What a `reply` script sees: one response on its way back, before it is sent on.

Reads answer at once; what the script wants changed is recorded. Nothing here sends anything.
"""

from __future__ import annotations

import re

from edgesip.script.heard import Stat
from edgesip.script.message import Message
from edgesip.script.relayed import Relayed
from edgesip.script.rooms import Rooms
from edgesip.signal.guard.identity import ASSERTED, present
from edgesip.signal.nat.detect import nat_uac_test
from edgesip.signal.proxy.inbound import Passing
from edgesip.signal.wire.message import Request
from edgesip.signal.wire.parts import sdp_place


class RequestSeen(Message):
    """The request that a response answers, to read."""

    __slots__ = ()

    def __init__(self, passing: Passing) -> None:
        self._message = passing.fork.request
        self._flow = passing.fork.inbound

    @property
    def ruri_text(self) -> str:
        """`$ru`: its request URI as it came."""
        return self._request.uri

    @property
    def ruri_user(self) -> str:
        """`$rU`: the user of that, unescaped."""
        return self._request.ruri.username or ""

    @property
    def ruri_domain(self) -> str:
        """`$rd`: the host of that."""
        return self._request.ruri.host

    @property
    def _request(self) -> Request:
        assert isinstance(self._message, Request)
        return self._message


class ReplyCall(Relayed):
    """One response, read-only, and what shall be different when it goes on."""

    __slots__ = ("_now", "_passing", "_rooms")

    def __init__(self, passing: Passing, rooms: Rooms, now: float) -> None:
        self._now = now
        self._rooms = rooms
        self._message = passing.response
        self._flow = passing.flow
        self._edits = passing.edits
        self._passing = passing
        self._rooms = rooms

    @property
    def status(self) -> int:
        """`$rs`, `$T_reply_code`: the status code."""
        return self._passing.response.status

    @property
    def reason(self) -> str:
        """`$rr`: the reason phrase."""
        return self._passing.response.reason

    @property
    def nated(self) -> bool:
        """True when the one who answers is known to be behind a NAT (the binding or the dialog says so)."""
        return self._passing.nated

    @property
    def request(self) -> RequestSeen:
        """The request that it answers, as it came."""
        return RequestSeen(self._passing)

    def of_request(self, variable: str) -> str:
        """`$T_req(variable)`, `$T_inv(variable)`: a pseudo-variable of the request, as in `$T_req($ru)`."""
        return self.request.fmt(variable)

    def nat_uac_test(self, flags: int) -> bool:
        """nathelper's test on a reply."""
        private = self._rooms.nat.test()
        return nat_uac_test(flags, self._passing.response, self._passing.flow, private=private) != 0

    def from_upstream(self) -> bool:
        """True when the one who answers is the upstream, or trusted."""
        return self._rooms.guard.trusts(self._flow.remote.host)

    def strip_identity(self) -> None:
        """RFC 3325 §5: what somebody whom we do not trust says of who answers ends here."""
        claims = present(self.headers, ASSERTED)
        if claims and not self.from_upstream():
            self._edits.remove += claims

    def _is_relayed(self) -> bool:
        return any(dialog.relayed for dialog in self._passing.fork.dialogs)

    def _stat(self) -> Stat:
        dialogs = self._passing.fork.dialogs
        return Stat(self._rooms.media, dialogs[0].media_key if dialogs else None, self._now)

    def _answers(self) -> bool:
        request = self._passing.fork.request
        return sdp_place(request.headers.get("Content-Type") or "", request.body) is not None

    def check_status(self, pattern: str) -> bool:
        """tm's `t_check_status`: the whole status code matches, as in `check_status("4[0-9][0-9]")`."""
        return re.fullmatch(pattern, str(self.status)) is not None
