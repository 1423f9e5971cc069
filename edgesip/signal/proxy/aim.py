"""Where one copy goes when its `branch` hook said so: `$du` of a branch, by `setdsturi` or an alias.

Pure. What the locator knows of names, bindings and dead destinations is not asked: an address was named.
"""

from __future__ import annotations

from dataclasses import replace

from edgesip.address import Flow, is_loopback, is_sendable
from edgesip.signal.proxy.fork import Target
from edgesip.signal.proxy.inbound import Inbound
from edgesip.signal.proxy.myself import Myself


def aimed(target: Target, inbound: Inbound, myself: Myself) -> Target | None:
    """The target with the URI and the way that the hook left in `inbound`; None when nothing can go there.

    Over TCP it is a connection that is there: none is opened for an alias.
    """
    dst, transport, before = inbound.dst, inbound.dst_transport, target.hops[0].local
    if dst is None:
        return target if inbound.uri == target.uri else replace(target, uri=inbound.uri)
    if not is_sendable(dst.host, is_loopback(inbound.flow.remote.host)) or myself.is_our_address(dst):
        return None
    fit = [addr for kind, addr in myself.listens if kind == transport and addr.family == dst.family]
    if not fit:
        return None
    local = min(fit, key=lambda addr: (addr.host != before.host, addr.port != before.port))
    return replace(target, uri=inbound.uri, hops=(Flow(transport, local, dst),), ruid="")
