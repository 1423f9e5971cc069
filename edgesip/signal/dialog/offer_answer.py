"""Which SDP is an offer and which an answer, and the protocol of whoever relays the media.

Holds the roles of sdp.md §13 (RFC 3264, 3261, 3262, 3311, 6337) as a table of cases and the `Media` protocol.
Reads no SDP itself.
"""

from __future__ import annotations

from enum import Enum
from typing import Protocol

from edgesip.address import Flow
from edgesip.wish import Wish

MediaKey = tuple[str, str]


class Role(Enum):
    """What an SDP body is to the offer/answer exchange of its call."""

    NONE = "no part of an exchange"
    OFFER = "an offer"
    PREVIEW = "the answer, not yet binding"
    ANSWER = "the answer"


class MediaRefusal(Protocol):
    """Why a body was not taken, as the final response to give."""

    @property
    def status(self) -> int:
        """The status code."""
        ...

    @property
    def reason(self) -> str:
        """The reason phrase."""
        ...

    @property
    def retry_after(self) -> int | None:
        """Seconds for a Retry-After header, or None."""
        ...


class MediaDesk(Protocol):
    """What is known of the media of a call, also for half a minute after its end; empty for nothing."""

    def query(self, key: MediaKey, now: float) -> str:
        """rtpproxy's answer to Q: `ttl npkts_ina npkts_ino nrelayed ndropped` of the first stream."""
        ...

    def told(self, key: MediaKey) -> str:
        """The same in words, with how well it came in."""
        ...

    def worst(self, key: MediaKey, figure: str) -> float | None:
        """The worse of both sides: "mos", "loss" in percent, "jitter" in milliseconds; None without RTP."""
        ...


class Media(Protocol):
    """The media relay as signalling sees it. `key` is (Call-ID, caller's From tag); `branch` names the
    target; `side` says who sent this SDP; `source` and `toward` are the SIP flows it came in and leaves by;
    `wish` is what the script wants for it, None for what it wanted before in this call.
    """

    @property
    def desk(self) -> MediaDesk:
        """Where questions about media are answered."""
        ...

    @property
    def interfaces(self) -> frozenset[str]:
        """The named interfaces that a wish may name."""
        ...

    def has_room(self) -> bool:
        """False when a new call would be refused, whatever it offers."""
        ...

    def offer(
        self,
        key: MediaKey,
        branch: str,
        tag: str,
        side: str,
        body: bytes,
        source: Flow,
        toward: Flow,
        now: float,
        wish: Wish | None = None,
    ) -> bytes | MediaRefusal:
        """Take an offer, give the body that goes on; the stable state stays until the answer."""
        ...

    def answer(
        self,
        key: MediaKey,
        branch: str,
        tag: str,
        side: str,
        body: bytes,
        source: Flow,
        toward: Flow,
        final: bool,
        now: float,
        wish: Wish | None = None,
    ) -> bytes | MediaRefusal:
        """Take an answer, give the body that goes on; `final` commits it."""
        ...

    def reject(self, key: MediaKey, branch: str, side: str, now: float) -> None:
        """The offer that `side` made on this branch was refused: as if it had never been made."""
        ...

    def close(self, key: MediaKey, branch: str, now: float) -> None:
        """This branch is over; with the last one the session is."""
        ...

    def play(self, key: MediaKey, branch: str, side: str, name: str, count: int, now: float) -> str:
        """Play a prompt to `side`: so many times, -1 for ever, 0 to stop. "" when it plays, else why not."""
        ...

    def end(self, key: MediaKey, now: float) -> None:
        """The call is over, with every branch that it still has."""
        ...

    def record(self, key: MediaKey, kind: str, now: float) -> None:
        """Record the call from now on, or from its first offer on: "wav" or "pcap"; "" for no longer."""
        ...


def request_role(method: str, has_sdp: bool, late: str, side: str) -> Role:
    """The role of a request's SDP; `late` is the side whose offer stood in a response, `side` the sender."""
    if not has_sdp:
        return Role.NONE
    if method == "ACK" or (method == "PRACK" and late and late != side):
        return Role.ANSWER
    return Role.OFFER if method in ("INVITE", "UPDATE", "PRACK") else Role.NONE


def response_role(method: str, status: int, has_sdp: bool, offered: bool) -> Role:
    """The role of a response's SDP; `offered` when its request carried the offer."""
    if not has_sdp or status >= 300 or method not in ("INVITE", "UPDATE", "PRACK"):
        return Role.NONE
    if offered:
        return Role.ANSWER if status >= 200 else Role.PREVIEW
    return Role.OFFER if method == "INVITE" else Role.NONE
