"""Whether a message puts audio on hold, by whatever form: a null address, sendonly, inactive.

Reads the SDP of a body, or of the SDP part of a multipart one. Refuses to know what was said before it.
"""

from __future__ import annotations

from edgesip.signal.nat.sdp_seen import lines_of, sdp_of
from edgesip.signal.wire.message import Request, Response

RFC2543_HOLD, HOLD = 1, 2

_DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")
_NULL = ("0.0.0.0", "::", "[::]")


class _Part:
    """What the session says, or one stream of it."""

    __slots__ = ("direction", "host", "kind", "port", "trickles")

    def __init__(self, kind: str, port: str, host: str, direction: str, trickles: bool) -> None:
        self.kind = kind
        self.port = port
        self.host = host
        self.direction = direction
        self.trickles = trickles

    def held(self) -> int:
        if self.kind != "audio" or self.port == "0":
            return 0
        if is_null(self.host):
            return 0 if self.trickles and self.port == "9" else RFC2543_HOLD
        return HOLD if self.direction in ("sendonly", "inactive") else 0


def audio_on_hold(message: Request | Response) -> int:
    """textops' `is_audio_on_hold`: 1 when audio has a null address (RFC 2543), 2 when it is sendonly or
    inactive (RFC 3264 §8.4), else 0.

    What the session says counts for audio that says nothing itself. The null address of an offer whose
    candidates come later (RFC 8840 §4.1.1: port 9) holds nothing.
    """
    session = _Part("", "", "", "", False)
    parts = [session]
    for kind, value in lines_of(sdp_of(message)):
        part = parts[-1]
        if kind == "m":
            words = [*value.split(), "", ""]
            parts.append(_Part(words[0].lower(), words[1], session.host, session.direction, session.trickles))
        elif kind == "c":
            part.host = "".join(value.split()[-1:])
        elif kind == "a":
            word = value.strip().lower()
            if word in _DIRECTIONS:
                part.direction = word
            elif word.startswith("ice-options:") and "trickle" in word.partition(":")[2].split():
                part.trickles = True
    found = {part.held() for part in parts}
    return RFC2543_HOLD if RFC2543_HOLD in found else max(found)


def is_null(host: str) -> bool:
    """An address that means "send me nothing": 0.0.0.0, ::, or a name that cannot exist (RFC 6157 §3.2)."""
    host = host.lower()
    return host in _NULL or host == "invalid" or host.endswith(".invalid")
