"""What is switched on for the media of a line: the links that its packets go through, one after the other.

Holds the promise that every link keeps (`Link`) and which links a line of a session has to have. A line with
any is not for a path to carry. Refuses to know what a link does with a packet, ports and signalling.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from edgesip.address import Addr


class Link(Protocol):
    """Something that what one side sends goes through, once it is believed."""

    @property
    def why(self) -> str:
        """What is done, in words for an operator."""
        ...

    def carry(self, data: bytes, source: Addr, now: float) -> Sequence[bytes]:
        """One media packet of this side, from `source`: what goes on for it, in order."""
        ...

    def report(self, data: bytes, source: Addr, now: float) -> bytes:
        """One RTCP packet of this side: the same as the other side shall see it."""
        ...

    def answer(self, data: bytes) -> bytes:
        """One RTCP packet of the other side, about this one's media too: as this side shall see it."""
        ...


Chain = tuple[Link, ...]


def carried(chain: Chain, data: bytes, source: Addr, now: float) -> Sequence[bytes]:
    """A media packet after every link."""
    packets: Sequence[bytes] = (data,)
    for link in chain:
        packets = [made for packet in packets for made in link.carry(packet, source, now)]
    return packets


def reported(own: Chain, other: Chain, data: bytes, source: Addr, now: float) -> bytes:
    """An RTCP packet after every link of who sent it, and of who is to get it."""
    for link in own:
        data = link.report(data, source, now)
    for link in other:
        data = link.answer(data)
    return data
