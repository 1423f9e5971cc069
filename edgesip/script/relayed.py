"""rtpproxy for scripts: whether the media of a call goes through our relay, and how.

What is wanted is recorded; offers and answers are told apart, re-addressed and taken back by themselves, for
the whole call. The numbers that come back are Kamailio's: 1 done, -1 an error, -2 it is relayed already by
somebody else, -3 the relay has no room, or there is none.
"""

from __future__ import annotations

from dataclasses import replace

from edgesip.address import parse_ip
from edgesip.relay.flags import read
from edgesip.relay.sdp import has_line
from edgesip.script.heard import Heard
from edgesip.script.recorded import STOP, form_of
from edgesip.signal.wire.grammar import ParseError
from edgesip.signal.wire.message import Request
from edgesip.signal.wire.parts import sdp_place
from edgesip.wish import Wish

DONE, ERROR, MARKED, FULL = 1, -1, -2, -3
MANAGED = frozenset(("INVITE", "ACK", "CANCEL", "BYE", "UPDATE", "PRACK"))
ENDING = ("CANCEL", "BYE")
TAKE_FLAGS = (
    "rtpproxy_manage",
    "rtpproxy_offer",
    "rtpproxy_answer",
    "rtpproxy_destroy",
    "force_rtp_proxy",
    "unforce_rtp_proxy",
    "rtpengine_manage",
    "rtpengine_offer",
    "rtpengine_answer",
    "rtpengine_delete",
)
"""The functions whose first argument is flags."""


class Relayed(Heard):
    """A message that goes on, and the media that it speaks of."""

    __slots__ = ()

    def rtpproxy_manage(self, flags: str = "", ip: str = "") -> int:
        """rtpproxy: the media of this call goes through our relay, from this message to the call's end.

        `flags` are its letters and words, for whoever sent this message; `ip` stands in the SDP in place of
        the relay's address. 1; -1 for other methods, flags that do not exist, and messages that speak of no
        media; -2 where the SDP says that another relay has it (see `f`); -3 without a relay, or when it is
        full: then a call that goes on all the same is refused with 503.
        """
        method = self._message.headers.cseq.method
        wish = _wish(flags)
        if wish is None or method not in MANAGED:
            return ERROR
        if method in ENDING:  # the relay knows by itself when the call is over
            return DONE
        if method == "INVITE" or self._has_sdp():  # an INVITE without is a late offer: the answer has it
            return self._relay(wish, ip)
        return ERROR

    def rtpproxy_offer(self, flags: str = "", ip: str = "") -> int:
        """rtpproxy: the same, for a message with SDP, which offers; `l`: only in a call that is relayed."""
        wish = _wish(flags)
        if wish is None or not self._has_sdp() or (wish.lookup and not self._is_relayed()):
            return ERROR
        return self._relay(wish, ip)

    def rtpproxy_answer(self, flags: str = "", ip: str = "") -> int:
        """rtpproxy: the same, for SDP that answers, in replies, ACK and PRACK of a call that is relayed."""
        wish = _wish(flags)
        late = self._message.headers.cseq.method in ("ACK", "PRACK")
        if wish is None or wish.lookup or not self._has_sdp() or not self._is_relayed():
            return ERROR
        return self._relay(wish, ip) if late or not isinstance(self._message, Request) else ERROR

    def rtpproxy_destroy(self, flags: str = "") -> int:
        """rtpproxy: the media of this call goes past us from here on. 1, also where it did; -1 for no flags.

        Nobody needs this at the end of a call: its media goes when its BYE is answered.
        """
        if _wish(flags) is None:
            return ERROR
        if self._message.headers.cseq.method not in ENDING:
            self._edits.relay = False
        return DONE

    def set_rtp_proxy_set(self, name: str | int, toward: str | int | None = None) -> int:
        """rtpproxy: media ports of this call are of this `[relay.interface.NAME]`; 0 is the usual one.

        For the functions called after it on this message, before the call is relayed. With `toward` that is
        the interface of the other side. -1 for a name that does not exist.
        """
        media = self._rooms.media
        names = [
            "" if one in (0, "0", "") else str(one) for one in (name, name if toward is None else toward)
        ]
        if media is None or not media.interfaces.issuperset(one for one in names if one):
            return ERROR
        self._edits.wish = replace(self._edits.wish or Wish(), sender=names[0], receiver=names[1])
        return DONE

    def start_recording(self, kind: str = "wav") -> None:
        """rtpproxy: the call is recorded from here on: "wav", the sound of both, or "pcap", every packet."""
        self._edits.record = form_of(kind)

    def stop_recording(self) -> None:
        """The call is recorded no longer."""
        self._edits.record = STOP

    # -- other names ---------------------------------------------------------------------------------

    def force_rtp_proxy(self, flags: str = "", ip: str = "") -> int:
        """The old name of `rtpproxy_offer`."""
        return self.rtpproxy_offer(flags, ip)

    def unforce_rtp_proxy(self, flags: str = "") -> int:
        """The old name of `rtpproxy_destroy`."""
        return self.rtpproxy_destroy(flags)

    def rtpengine_manage(self, flags: str = "") -> int:
        """rtpengine's name of `rtpproxy_manage`."""
        return self.rtpproxy_manage(flags)

    def rtpengine_offer(self, flags: str = "") -> int:
        """rtpengine's name of `rtpproxy_offer`."""
        return self.rtpproxy_offer(flags)

    def rtpengine_answer(self, flags: str = "") -> int:
        """rtpengine's name of `rtpproxy_answer`."""
        return self.rtpproxy_answer(flags)

    def rtpengine_delete(self, flags: str = "") -> int:
        """rtpengine's name of `rtpproxy_destroy`."""
        return self.rtpproxy_destroy(flags)

    # -- how -----------------------------------------------------------------------------------------

    def _relay(self, wish: Wish, ip: str) -> int:
        """Record it, if nothing speaks against it."""
        media, before = self._rooms.media, self._edits.wish
        if before is not None and not (wish.sender or wish.receiver):
            wish = replace(wish, sender=before.sender, receiver=before.receiver)
        if ip:
            address = parse_ip(ip)
            if address is None:
                return ERROR
            wish = replace(wish, address=str(address))
        if wish.key:
            extra = self._extra(wish.key)
            if not extra:
                return ERROR
            wish = replace(wish, extra=extra)
        if media is not None:
            names = (wish.sender, wish.receiver)
            if any(names) and not media.interfaces.issuperset(one for one in names if one):
                return ERROR
        relayed = self._is_relayed()
        if not relayed and self._answers():
            return ERROR
        mark = self._rooms.rtpproxy.nortpproxy_str
        if mark and not (relayed or wish.force) and has_line(self._message.body, mark):
            return MARKED
        self._edits.relay, self._edits.wish = True, wish
        return DONE if relayed or (media is not None and media.has_room()) else FULL

    def _extra(self, key: str) -> str:
        """What names the session besides its call; empty where there is no such thing."""
        if key == "b":
            return self.fmt(self._rooms.rtpproxy.extra_id_pv)
        vias = self._message.headers.vias
        number = 1 if key == "2" or (key == "3" and not isinstance(self._message, Request)) else 0
        try:
            return (vias[number].branch if len(vias) > number else "") or ""
        except ParseError:
            return ""

    def _has_sdp(self) -> bool:
        """It has SDP, or will have what the script put there."""
        body, kind = self._edits.body or (self._message.body, self.hdr("Content-Type"))
        return sdp_place(kind, body) is not None

    def _is_relayed(self) -> bool:
        """The relay has this call's media already."""
        raise NotImplementedError

    def _answers(self) -> bool:
        """Its SDP answers another: nothing can begin with it."""
        return False


def _wish(flags: str) -> Wish | None:
    try:
        return read(flags)
    except ValueError:
        return None
