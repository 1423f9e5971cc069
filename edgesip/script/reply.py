"""What a `reply` script sees: one response on its way back, before it is sent on.

Reads answer at once; what the script wants changed is recorded. Nothing here sends anything.
"""

from __future__ import annotations

from edgesip.signal.nat.detect import nat_uac_test
from edgesip.signal.proxy.inbound import Passing
from edgesip.signal.wire.headers import Headers


class ReplyCall:
    """One response on its way back, before it is sent on: what `reply` scripts see."""

    __slots__ = ("_passing",)

    def __init__(self, passing: Passing) -> None:
        self._passing = passing

    @property
    def status(self) -> int:
        """`$rs`: the status code."""
        return self._passing.response.status

    @property
    def method(self) -> str:
        """`$rm`: the method of the request that it answers."""
        return self._passing.fork.request.method

    @property
    def headers(self) -> Headers:
        """The header fields as they came."""
        return self._passing.response.headers

    @property
    def nated(self) -> bool:
        """True when the one who answers is known to be behind a NAT (the binding or the dialog says so)."""
        return self._passing.nated

    def nat_uac_test(self, flags: int) -> bool:
        """nathelper's test on a reply."""
        return nat_uac_test(flags, self._passing.response, self._passing.flow) != 0

    def set_contact_alias(self) -> None:
        """nathelper: the Contact that goes on carries `;alias=` with the address this came from."""
        self._passing.edits.alias = True
