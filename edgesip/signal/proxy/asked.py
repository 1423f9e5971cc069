"""What the script is asked when a branch or a whole request has failed, and before a branch is sent.

Values that `stateful` makes, the script's hooks read, and `stateful` acts on. Nothing here does anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from edgesip.address import Addr
from edgesip.signal.proxy.fork import Branch, Fork, Target
from edgesip.signal.proxy.inbound import Happened, Inbound, Note, Passing
from edgesip.signal.wire.message import Response

BRANCH_FAILURE, FAILURE, MEDIA_FAILED, REDIRECTED = (
    "branch_failure",
    "failure",
    "media_failed",
    "redirected",
)


@dataclass(slots=True, eq=False)
class Failure:
    """A final response that is no success, waiting for what the script has to say.

    `hook` is `branch_failure` (one branch), `failure` (all of them: `response` is the best), `media_failed`
    (none could be sent, because the relay refused its offer), or `redirected`, which asks no script:
    `contacts` are to be tried. `inbound` is the request again, for new targets; its
    edits are theirs. `drop` is what `t_drop_replies` was told: a, l, n or nothing.
    """

    hook: str
    inbound: Inbound
    fork: Fork
    branch: Branch | None
    response: Response
    contacts: tuple[tuple[str, float], ...] = ()
    drop: str = ""


class Dead(Protocol):
    """Who is told of destinations that do not answer (`dst_blocklist`)."""

    def add(self, transport: str, addr: Addr, now: float, why: str, seconds: float = 0.0) -> None:
        """It did not answer; `seconds` to leave it alone, 0 for as long as is usual."""
        ...


class Asked(NamedTuple):
    """A failure for the script to decide on; `resume` takes what it says: Forward, Reply or nothing."""

    failure: Failure


@dataclass(slots=True, eq=False)
class Leaving:
    """A copy that is about to leave, as the `branch` hook sees it; its edits are this branch's alone."""

    inbound: Inbound
    fork: Fork
    target: Target
    index: int


class Hooks(NamedTuple):
    """What of the script the core calls by itself, and which failures it asks about.

    `branch` answers False when the branch shall not be sent.
    """

    reply: Callable[[Passing], None] | None = None
    branch: Callable[[Leaving], bool] | None = None
    asks: frozenset[str] = frozenset()


Said = Asked | Happened | Note
"""What the proxy has to say: what the script is asked, what its hooks are told, what the log gets."""


def asked_of(fork: Fork, asks: frozenset[str]) -> str:
    """The hook of `asks` that is asked when no branch of a fork is left; none when the script has none."""
    if MEDIA_FAILED in asks and fork.branches and all(branch.unrelayed for branch in fork.branches):
        return MEDIA_FAILED
    return FAILURE if FAILURE in asks else ""
