"""Which links the chain of a line has to have, by what was asked of its leg and of its call.

Makes and takes away links, so that a chain is as it should be. Refuses to know what they do.
"""

from __future__ import annotations

from edgesip.address import Addr
from edgesip.relay.chain import Link
from edgesip.relay.leg import Leg, Line
from edgesip.relay.record import WAV, Sink, Tap
from edgesip.relay.resize import LONGEST, SHORTEST, Resizer
from edgesip.relay.session import CALLER, Session
from edgesip.relay.wav import HEARD


def arrange(session: Session, leg: Leg, line: Line) -> None:
    """Give the line the chain that it is to have; what stays in it goes on where it was.

    Recorded is what came, before anything is done to it. Encrypted media cannot be cut into other packets,
    nor what is no RTP. A wish for packets that are too short or too long gets the nearest that can be.
    """
    links: list[Link] = []
    sink = session.sink
    if sink is not None and (sink.kind != WAV or line is _heard(leg)):
        taps = [link for link in line.chain if isinstance(link, Tap) and link.sink is sink]
        links += taps or [_tap(sink, leg, line)]
    if leg.ptime and line.is_rtp and not line.secured:
        wanted = max(SHORTEST, min(LONGEST, leg.ptime))
        resizers = [x for x in line.chain if isinstance(x, Resizer) and x.milliseconds == wanted]
        links += resizers or [Resizer(wanted)]
    line.chain = tuple(links)


def why_not(session: Session) -> str:
    """Why a call has no sound that a WAV file could hold; empty when it has, or may still have."""
    lines = [line for _, _, line in session.lines() if line.described]
    heard = [line for line in lines if line.kind == "audio"]
    if lines and not heard:
        return "there is no sound in it"
    if heard and all(line.secured for line in heard):
        return "its sound is encrypted"
    if heard and not any(line.codes & HEARD for line in heard):
        return "its sound is no G.711"
    return ""


def _heard(leg: Leg) -> Line | None:
    """The line whose sound is recorded: the first with any that is not encrypted."""
    sound = [line for line in leg.lines.values() if line.kind == "audio" and line.is_rtp and not line.secured]
    return min(sound, key=lambda line: line.index, default=None)


def _tap(sink: Sink, leg: Leg, line: Line) -> Tap:
    pair = line.pair
    channel = 0 if leg.side == CALLER else 1
    return Tap(sink, channel, Addr(pair.host, pair.rtp), Addr(pair.host, pair.rtcp))
