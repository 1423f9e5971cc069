"""At which of our addresses the sides of a session get their ports, by what an rtpproxy command says.

Networks by letter, an address or the name of an interface, or the way to a host. Refuses to know sessions'
ends, ports, and what else a command does.
"""

from __future__ import annotations

from collections.abc import Callable

from edgesip.relay import rtpp, stated
from edgesip.relay.core import RelayCore
from edgesip.relay.flags import EXTERNAL, INTERNAL
from edgesip.relay.interface import Seat
from edgesip.relay.rtpp import Place, RtppError
from edgesip.relay.session import CALLEE, CALLER, Session
from edgesip.relay.stated import Seats

Toward = Callable[[str], str]
"""From which address of ours a host is reached, "" from none."""

_ELSEWHERE = {"0.0.0.0": "192.0.2.1", "::": "2001:db8::1"}
"""Addresses far away (RFC 5737, RFC 3849): the way to them is the default route."""
_OTHER_FAMILY = {"0.0.0.0": "::", "::": "0.0.0.0"}
_NETWORKS = {"i": (INTERNAL, rtpp.INTERNAL), "e": (EXTERNAL, rtpp.EXTERNAL)}
"""What the letters stand for, and the error when it is not there."""


def seats_for(core: RelayCore, toward: Toward, command: Place, side: str, session: Session | None) -> Seats:
    """Where each leg's ports shall be: where they are, or where the command wants those that it asks for.

    Networks are looked at when a session begins, the sender's first; later they change nothing.
    """
    wanted = _wanted(core, toward, command)
    if session is not None:
        caller, callee = session.caller, session.branches[stated.BRANCH].leg
        seats = [Seat(leg.host, leg.written, leg.interface) for leg in (caller, callee)]
        if wanted is not None:
            seats[0 if side == CALLEE else 1] = wanted
        own = seats[0 if side == CALLER else 1]
    else:
        own = wanted or _on_network(core, toward, command.networks[:1], command)
        other = own
        if wanted is None and len(command.networks) == 2:
            other = _on_network(core, toward, command.networks[1], command)
        seats = [own, other] if side == CALLER else [other, own]
    if command.host and (":" in command.host) != (":" in own.host):
        raise RtppError(rtpp.FAMILY, f"{command.host} cannot be reached from {own.host}")
    return seats[0], seats[1]


def _wanted(core: RelayCore, toward: Toward, command: Place) -> Seat | None:
    """The address that the command names for its ports, by itself or by where it leads."""
    seats = core.seats
    if command.label:
        found = seats.seat(command.label, _family(command), "")
    elif command.local:
        found = seats.seat_on(command.local)
    elif command.toward:
        local = toward(command.toward)
        if not local:
            raise RtppError(rtpp.NO_WAY, f"no way to {command.toward}")
        found = seats.seat_on(local)
    else:
        return None
    if found is None:
        what = command.label or command.local or command.toward
        raise RtppError(rtpp.NO_SUCH_LOCAL, f"the relay has no address for {what}")
    return found


def _on_network(core: RelayCore, toward: Toward, network: str, command: Place) -> Seat:
    """A seat on the network that a letter stands for; without one where the command's address leads."""
    seats = core.seats
    if network:
        name, code = _NETWORKS[network]
        found = seats.seat(name, _family(command), "")
        if found is None:  # bridges between families: the one that this network has
            found = seats.seat(name, _OTHER_FAMILY[_family(command)], "")
        if found is None:
            raise RtppError(code, f"there is no interface {name}")
        return found
    local = toward(command.host or _ELSEWHERE[_family(command)])
    found = seats.seat("", _family(command), local)
    if found is None or not found.host:
        raise RtppError(rtpp.NO_WAY, f"no way to {command.host}")
    return found


def _family(command: Place) -> str:
    """Any address of the family that the command is about."""
    six = ":" in command.host if command.host else command.six
    return "::" if six else "0.0.0.0"
