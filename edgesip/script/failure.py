"""What `branch_failure`, `failure` and `branch` scripts see: what has failed, a copy that is about to leave.

Reads answer at once; new targets and other answers are returned, never done here.
"""

from __future__ import annotations

import re

from edgesip.script.call import Call
from edgesip.script.rooms import Rooms
from edgesip.signal.location.binding import NAT_FLAG
from edgesip.signal.nat.keepalive import has_flag
from edgesip.signal.nat.repair import source_uri
from edgesip.signal.proxy.asked import Failure, Leaving
from edgesip.signal.wire.headers import Headers
from edgesip.signal.wire.uri import Uri, parse_uri


class FailureCall(Call):
    """The request again, and a final response to it that is no success; changes go with new targets.

    Return `Forward(...)` to try something else, `Reply(...)` to answer something else, None to go on.
    """

    __slots__ = ("_failure",)

    def __init__(self, failure: Failure, rooms: Rooms, now: float) -> None:
        super().__init__(failure.inbound, rooms, now)
        self._failure = failure

    @property
    def status(self) -> int:
        """`$rs`, `$T_reply_code`: the status of the branch, or of the best answer."""
        return self._failure.response.status

    @property
    def reason(self) -> str:
        """`$rr`, `$T_reply_reason`: its reason phrase."""
        return self._failure.response.reason

    @property
    def answer_headers(self) -> Headers:
        """The header fields of that answer, as they came; `headers` are the request's."""
        return self._failure.response.headers

    @property
    def target(self) -> str:
        """The URI that it is the answer of."""
        branch = self._failure.branch
        return branch.target.uri if branch is not None else ""

    @property
    def ruid(self) -> str:
        """`$T_reply_ruid`: the ruid of the binding that it is the answer of; empty when it is of none."""
        branch = self._failure.branch
        return branch.target.ruid if branch is not None else ""

    @property
    def index(self) -> int:
        """`$T_branch_idx`: the number of its branch, from 0; -1 when it is of none."""
        branch = self._failure.branch
        return self._failure.fork.branches.index(branch) if branch is not None else -1

    @property
    def branches(self) -> int:
        """How many targets have been tried so far."""
        return len(self._failure.fork.branches)

    def t_check_status(self, pattern: str) -> bool:
        """tm's test: the status matches the regular expression, as in `4[08]6`."""
        return re.fullmatch(pattern, str(self.status)) is not None

    def t_grep_status(self, code: int) -> bool:
        """tm's test: some branch ended with this status."""
        return any(branch.final and branch.final.status == code for branch in self._failure.fork.branches)

    def t_branch_timeout(self) -> bool:
        """tm's test: it is no answer, but none that came in time."""
        branch = self._failure.branch
        return branch is not None and branch.faked

    def t_branch_replied(self) -> bool:
        """tm's test: something came back from this target, if only a 180."""
        branch = self._failure.branch
        return branch is not None and branch.replied

    def t_any_timeout(self) -> bool:
        """tm's test: some branch has not answered in time."""
        return any(branch.faked for branch in self._failure.fork.branches)

    def t_any_replied(self) -> bool:
        """tm's test: something came back from some target."""
        return any(branch.replied for branch in self._failure.fork.branches)

    def t_is_canceled(self) -> bool:
        """tm's test: the caller has given up meanwhile; new targets will not be tried."""
        return self._failure.fork.cancelled

    def t_drop_replies(self, which: str = "a") -> None:
        """tm: answers so far are not chosen any more: `a` all, `l` those of the last targets, `n` none."""
        if which not in ("a", "l", "n"):
            raise ValueError("t_drop_replies takes a, l or n")
        self._failure.drop = which


class BranchCall(Call):
    """A copy of the request that is about to leave: its `ruri` is the target's.

    What is changed goes with this copy alone; `Drop()` keeps it back.
    """

    __slots__ = ("_leaving",)

    def __init__(self, leaving: Leaving, rooms: Rooms, now: float) -> None:
        super().__init__(leaving.inbound, rooms, now)
        self._leaving = leaving

    @property
    def index(self) -> int:
        """`$T_branch_idx`: its number, from 0."""
        return self._leaving.index

    def isbflagset(self, flag: int) -> bool:
        """core: the contact that it goes to was saved with this mark; 6: it is behind a NAT."""
        target = self._leaving.target
        binding = self._rooms.usrloc.get(target.ruid) if target.ruid else None
        return has_flag(binding, flag) if binding is not None else 1 << flag == NAT_FLAG and target.nated

    def _next_hop(self) -> Uri | None:
        """Of a phone that registered: where it did, which is not what its Contact says behind a NAT."""
        target = self._leaving.target
        return parse_uri(source_uri(target.hops[0])) if target.ruid else super()._next_hop()

    @property
    def nated(self) -> bool:
        """True when the phone that it goes to is behind a NAT."""
        return self._leaving.target.nated
