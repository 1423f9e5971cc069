"""Strict routers (RFC 2543): the next hop is the request URI, the target the last Route (§16.6 step 6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edgesip.signal.proxy.fork import Target
from edgesip.signal.proxy.inbound import Inbound
from edgesip.signal.wire.headers import replaced
from edgesip.signal.wire.message import Request


def for_next_hop(inbound: Inbound, targets: Sequence[Target]) -> tuple[Request, Sequence[Target]]:
    """The request and its targets, swapped when the next Route is a strict router's: it has no `lr`."""
    request, foreign = inbound.request, inbound.foreign
    if not foreign or foreign[0].uri.param("lr") is not None or targets[0].uri != inbound.uri:
        return request, targets
    routes = [*(str(route) for route in foreign[1:]), f"<{inbound.uri}>"]
    headers = request.headers.altered(replaced(request.headers.fields, "Route", routes), "routes")
    swapped = Request(request.method, request.uri, headers, request.body)
    return swapped, [replace(targets[0], uri=str(foreign[0].uri))]
