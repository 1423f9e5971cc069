"""A talk whose every name and address leads to one sink: what is forwarded at all arrives there."""

from __future__ import annotations

from collections.abc import Callable

from talk import SERVER, Talk

from edgesip.address import Addr, Flow
from edgesip.script import Call, Decision, Forward, Script
from edgesip.signal.core import Event
from edgesip.signal.proxy.fork import Target
from edgesip.signal.proxy.inbound import Inbound

SINK = Addr("198.51.100.250", 5060)


class ForwardingTalk(Talk):
    """A core with `request` for its route script."""

    def __init__(self, request: Callable[[Call], Decision], *, relay: bool = False) -> None:
        super().__init__(script=Script("test", request), relay=relay)
        self.request_hook = request

    def use(self, request: Callable[[Call], Decision]) -> None:
        """From now on another script."""
        self.request_hook = request

    def _serve(self, inbound: Inbound) -> list[Event]:
        decision = self.request_hook(Call(inbound, self.rooms, self.now))
        targets = []
        if isinstance(decision, Forward):
            bound = [one for one in decision.targets if not isinstance(one, str)]
            found = self.locator.locate(inbound, bound, self.now) if bound else []
            targets = [one for one in found if isinstance(one, Target)]
            targets = targets or [Target(inbound.uri, (Flow("udp", SERVER, SINK),))]
        return self.core.carry(inbound, decision, targets, self.now)
