"""Requests of subscriptions on their way through us: opened, followed, and what their answers teach.

Joins what passes (`Inbound`, `Fork`) to the table of subscriptions. It sends and answers nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgesip.signal.dialog.subscriptions import End, Subscriptions
from edgesip.signal.location.usrloc import Usrloc
from edgesip.signal.proxy.fork import Branch, Fork, Target
from edgesip.signal.proxy.inbound import Inbound
from edgesip.signal.wire.message import Response


def may_pass(
    table: Subscriptions, usrloc: Usrloc, inbound: Inbound, targets: Sequence[Target], now: float
) -> bool:
    """A SUBSCRIBE, REFER or NOTIFY goes on to its targets; False when it opens one too many."""
    binding = usrloc.one_by_flow(inbound.flow)
    flow = binding.flow if binding is not None else inbound.flow  # equal, and shared with the binding
    source = End(flow, inbound.nated, binding.ruid if binding is not None else "")
    within = inbound.within
    if within is None:
        flows = [flow for target in targets for flow in target.hops]
        within = inbound.within = table.begin(inbound.request, source, flows, now)
    if within is None:
        request = inbound.request
        return request.method == "NOTIFY" or bool(request.headers.to.tag)
    within.source = source
    return True


def learnt(fork: Fork, branch: Branch, response: Response, now: float) -> None:
    """A final response of one branch of a request that stands in a subscription."""
    within, target = fork.within, branch.target
    if within is not None:
        within.heard(fork.request, End(branch.flow, target.nated, target.ruid), response, now)
