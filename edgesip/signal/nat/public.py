"""Which address others reach this host by, judged from what is known: the way out, and what STUN servers saw.

A pure judgement that refuses to guess. It knows no socket and asks nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from edgesip.address import is_internal, is_loopback, is_sendable


class Undecided(Exception):
    """Nobody can say which address it is; the text says what to do."""


class Heard(NamedTuple):
    """What one STUN server said: where it saw us, or why it said nothing."""

    server: str
    seen: str
    why: str = ""


class Public(NamedTuple):
    """`address` is what others reach us by, `local` the address of ours that leads out, `how` it is known.

    `remark` is what an operator should look at all the same.
    """

    address: str
    local: str
    how: str
    remark: str = ""

    @property
    def behind_nat(self) -> bool:
        """True when it is not an address of this host."""
        return self.address != self.local


NAME_IT = 'name it: advertise = ["ADDR"], or --advertise ADDR'


def way_out(listens: Sequence[str], route: str) -> str:
    """The IPv4 address of ours to ask about: the one that leads out, if we listen there. Raises `Undecided`.

    `listens` are concrete addresses, `route` is where the host's routes lead out, empty for nowhere.
    """
    mine = [host for host in dict.fromkeys(listens) if ":" not in host]
    mine = [host for host in mine if not is_loopback(host)] or mine
    if not mine:
        raise Undecided('advertise = "auto" is for IPv4, and nothing listens there: leave it out')
    if route in mine:
        return route
    if len(mine) == 1:
        return mine[0]
    where = f"through {route}, where nothing listens" if route else "nowhere: there is no default route"
    raise Undecided(f"the way to the internet leads {where}; the public address is not known: {NAME_IT}")


def judged(local: str, heard: Sequence[Heard]) -> Public:
    """The public address behind `local`, from what STUN servers answered. Raises `Undecided`.

    A local address that is public needs nobody's word.
    """
    if not is_internal(local):
        return Public(local, local, "it is this host's own")
    if not heard:
        raise Undecided(
            f"{local} is a private address, so there is a NAT and its address is not known: {NAME_IT}, "
            'or name two STUN servers: [stun] servers = ["stun.example.net:3478", ...]'
        )
    silent = "; ".join(f"{one.server}: {one.why}" for one in heard if not one.seen)
    answers = {one.seen for one in heard if one.seen}
    if not answers:
        raise Undecided(f"no STUN server says what is in front of {local} ({silent}): {NAME_IT}")
    if len(answers) > 1:
        told = "; ".join(f"{one.server} sees {one.seen}" for one in heard if one.seen)
        raise Undecided(
            f"the STUN servers disagree ({told}): there is more than one way out of here, "
            f"so that phones would be told one that is wrong: {NAME_IT}"
        )
    (seen,) = answers
    if is_internal(seen) or not is_sendable(seen):
        raise Undecided(
            f"the STUN servers see {seen}, which is not public either: they are inside the same network, or "
            f"there is a second NAT: {NAME_IT}"
        )
    how = " and ".join(one.server for one in heard if one.seen)
    return Public(seen, local, f"seen by {how}", silent)
