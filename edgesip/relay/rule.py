"""What a path knows of a settled stream, and what it may do with one packet of it.

Holds `Rule` and `carry`, the meaning that every path must have: the userspace loop and the kernel program
are tested against it with one packet table. Refuses to know how a remote was learned, sockets and calls.
"""

from __future__ import annotations

import enum
from typing import Final, NamedTuple

from edgesip.address import Addr

RTP_HEADER: Final = 12
RTCP_HEADER: Final = 8
FIRST_REPORT, LAST_REPORT = 200, 207
"""RTCP packet types that a compound packet may begin with, from SR to XR (RFC 3550 §12.1, RFC 3611 §2)."""


class Verdict(enum.Enum):
    """FORWARD: send it on as the rule says. ASK: anything doubtful, the relay core decides."""

    FORWARD = "forward"
    ASK = "ask"


class Rule(NamedTuple):
    """One direction of a settled stream: of RTP, or with `is_rtcp` of the RTCP beside it.

    What arrives on `local` from `remote` leaves from `via`, the relay's port of the other leg, to `to`. For a
    path that measures by itself: `rate` is the clock of the RTP timestamps in Hz as SDP says it (0: not
    known), `events` the payload type of telephone-event (-1: none).
    """

    local: Addr
    remote: Addr
    via: Addr
    to: Addr
    is_rtcp: bool = False
    rate: int = 0
    events: int = -1


class Packet(NamedTuple):
    """A datagram as it arrived on the rule's local port."""

    source: Addr
    data: bytes


def carry(rule: Rule, packet: Packet) -> Verdict:
    """FORWARD only RTP of version 2 from the rule's own remote; the rest is not for a path to judge.

    RTCP range (RFC 5761 §4) is asked about too: with rtcp-mux it has to be validated, without it dropped. A
    rule of RTCP forwards what begins like it, of version 2 and one of the types that are in use.
    """
    source, data = packet
    if source != rule.remote:
        return Verdict.ASK
    if rule.is_rtcp:
        known = len(data) >= RTCP_HEADER and data[0] >> 6 == 2 and FIRST_REPORT <= data[1] <= LAST_REPORT
        return Verdict.FORWARD if known else Verdict.ASK
    if len(data) < RTP_HEADER or data[0] >> 6 != 2 or 192 <= data[1] <= 223:
        return Verdict.ASK
    return Verdict.FORWARD
