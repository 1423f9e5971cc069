"""nat_traversal's functions for scripts: who shall be kept reachable, and who is.

The table itself is the room `signal/nat/traversal`; nothing here sends.
"""

from __future__ import annotations

from edgesip.address import Addr, Flow, parse_hostport, parse_ip
from edgesip.script.rooms import Rooms
from edgesip.signal.proxy.edits import Edits


def nat_keepalive(rooms: Rooms, edits: Edits, method: str, flow: Flow) -> bool:
    """Note that the sender of a request shall be kept once it is answered; False when that cannot be."""
    room = rooms.traversal
    edits.keepalive = room is not None and room.takes(method, flow)
    return edits.keepalive


def keepalive_socket(rooms: Rooms, uri: str) -> str:
    """`proto:ip:port` of ours for the pings to `sip:ip:port[;transport=x]`; empty when nobody is there.

    An endpoint of nat_traversal, or else a phone that is registered over such a flow.
    """
    plain, _, params = uri.partition(";")
    where = parse_hostport(plain.removeprefix("sip:"))
    ip = parse_ip(where[0]) if where is not None else None
    if where is None or ip is None:
        return ""
    remote = Addr(str(ip), where[1] or 5060)
    transport = params.partition("transport=")[2].partition(";")[0].lower() or "udp"
    if rooms.traversal is not None and transport == "udp" and (found := rooms.traversal.socket_of(remote)):
        return found
    for kind, local in rooms.myself.listens:
        if kind == transport and rooms.usrloc.one_by_flow(Flow(kind, local, remote)) is not None:
            return f"{kind}:{local}"
    return ""
