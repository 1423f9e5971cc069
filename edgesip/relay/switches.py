"""Which links the chain of a line has to have, by what was asked of its leg and of its call.

Makes and takes away links, so that a chain is as it should be. Refuses to know what they do.
"""

from __future__ import annotations

from edgesip.relay.leg import Leg, Line
from edgesip.relay.resize import Resizer


def arrange(leg: Leg, line: Line) -> None:
    """Give the line the chain that it is to have; what stays in it goes on where it was.

    Encrypted media cannot be cut into other packets, nor what is no RTP.
    """
    wanted = leg.ptime if line.is_rtp and not line.secured else 0
    resizers = [link for link in line.chain if isinstance(link, Resizer)]
    if [one.milliseconds for one in resizers] != ([wanted] if wanted else []):
        others = tuple([link for link in line.chain if not isinstance(link, Resizer)])
        line.chain = (*others, Resizer(wanted)) if wanted else others
