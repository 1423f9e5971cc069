"""What a route script wants of the media relay for one message: a value that goes from one to the other.

Holds the wish alone: `relay/flags.py` reads it out of rtpproxy's letters, signalling passes it on, the relay
grants it. It refuses to know what a letter means and how a wish is granted.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Wish:
    """Of the phone whose SDP the message carries (its sender):

    `learn`: whose packets are believed: "nat" or "" as usual, "strict" the SDP address alone, "loose" any,
    "asymmetric" any port of its host, while packets to it go where its SDP says. `trust`: its SDP address is
    right, even where it looks as if it were behind a NAT. `handover`: another device of the same place may go
    on for it, with a stream of its own, once it has fallen silent. `ptime`: milliseconds that each packet
    shall hold in which its RTP goes on, 0 as it comes.

    Of the description that goes on: `origin` and `connection` have o= and the session's c= name the relay as
    well, `address` is the IP literal that stands in it in place of the relay's own.

    Of the call: `sender` and `receiver` are the named interfaces of both sides, "" the usual one; `family`
    is the receiver's: "IP4", "IP6", "other" than that of the sender's SDP, "" that of its SIP. `key` says
    what besides Call-ID and tag names the session: "1", "2", "3" a Via branch, "b" `extra`.

    Of the function that was called: `force` has it work on a body that somebody relays already, `lookup`
    only where there is a session, `whole` on every branch of it. `asked` is how it was put.
    """

    learn: str = ""
    trust: bool = False
    handover: bool = False
    ptime: int = 0
    origin: bool = False
    connection: bool = False
    address: str = ""
    sender: str = ""
    receiver: str = ""
    family: str = ""
    key: str = ""
    extra: str = ""
    force: bool = False
    lookup: bool = False
    whole: bool = False
    asked: str = field(default="", compare=False)

    def turned(self) -> Wish:
        """The same wish for a message of the other side: what is said of the sender is left out."""
        return Wish(
            origin=self.origin,
            connection=self.connection,
            sender=self.receiver,
            receiver=self.sender,
            family="other" if self.family == "other" else "",
            key=self.key,
            extra=self.extra,
            asked=self.asked,
        )
