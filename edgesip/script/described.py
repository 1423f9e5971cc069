"""sdpops for scripts: what a message's SDP says, and what shall be taken out of the copy that leaves.

Reads see the message as it came. What is taken out is recorded: the relay is given the SDP without it, so
that it is not relayed either. SDP in one part of a multipart body counts.
"""

from __future__ import annotations

from edgesip.script.edited import Edited
from edgesip.signal.nat.sdp_seen import place_of_sdp, sdp_of
from edgesip.signal.wire import sdp_ops, sdp_streams


class Described(Edited):
    """A message that goes on, and the SDP in it."""

    __slots__ = ()

    # -- sdpops: questions ---------------------------------------------------------------------------

    def sdp_content(self) -> bool:
        """sdpops: there is SDP, alone or as a part of the body."""
        return bool(sdp_of(self._message))

    def sdp_get(self) -> str:
        """sdpops: the SDP as it came; empty for none."""
        return self.sdp("body")

    def sdp(self, name: str) -> str:
        """`$sdp(name)`: body, sess_version, o:ip, c:ip, c:af; of stream N, from 0: mN:raw, mN:rtp:port,
        mN:rtcp:port, mN:b:AS, mN:b:RR, mN:b:RS. Empty for what is not there.
        """
        return sdp_streams.field(sdp_of(self._message), name)

    def sdp_print(self) -> str:
        """sdpops: what the SDP says, a line for each stream, for `logging.info`; empty for none."""
        sdp = sdp_of(self._message)
        return sdp_streams.printed(sdp) if sdp else ""

    def sdp_get_line_startswith(self, prefix: str) -> str:
        """sdpops: the first line of SDP that begins so; empty for none."""
        return sdp_streams.line_with(sdp_of(self._message), prefix)

    def sdp_get_address_family(self) -> int:
        """sdpops: 4 or 6, by the c= line of the first stream; -1 without one."""
        return sdp_streams.address_family(sdp_of(self._message))

    def sdp_transport(self) -> str:
        """sdpops: the transport of all streams, as RTP/AVP; empty when they differ."""
        return sdp_streams.common_transport(sdp_of(self._message))

    def sdp_with_media(self, kind: str) -> bool:
        """sdpops: there is a stream of this media type: audio, video, image..."""
        return bool(kind and sdp_streams.of_kind(self._streams(), kind))

    def sdp_with_active_media(self, kind: str) -> bool:
        """sdpops: there is one whose port is not 0 and whose direction is not inactive."""
        found = sdp_streams.read(sdp_of(self._message))
        return any(found.active(one) for one in sdp_streams.of_kind(found.streams, kind))

    def sdp_with_transport(self, transport: str) -> bool:
        """sdpops: there is a stream with exactly this transport."""
        return any(one.transport == transport for one in self._streams())

    def sdp_with_transport_like(self, part: str) -> bool:
        """sdpops: there is a stream with this in its transport, as SAVP."""
        return any(part in one.transport for one in self._streams())

    def sdp_with_codecs_by_id(self, codecs: str) -> bool:
        """sdpops: one of these payload types, as in "0,8", is in some stream."""
        return self._has(sdp_ops.by_id(codecs))

    def sdp_with_codecs_by_name(self, codecs: str) -> bool:
        """sdpops: one of these codecs, as in "PCMU,opus", is in some stream."""
        return self._has(sdp_ops.by_name(codecs))

    def sdp_with_ice(self) -> bool:
        """sdpops: there is an ICE candidate."""
        return sdp_streams.has_ice(sdp_of(self._message))

    # -- sdpops: changes -----------------------------------------------------------------------------

    def sdp_remove_codecs_by_id(self, codecs: str, kind: str = "") -> bool:
        """sdpops: take out these payload types, as in "0,8", of all streams, or those of a media type.

        This and the following: False when there is nothing to take out. A stream that has no codec left is
        switched off: port 0.
        """
        return self._without(sdp_ops.by_id(codecs), kind, False)

    def sdp_remove_codecs_by_name(self, codecs: str, kind: str = "") -> bool:
        """sdpops: the same by names, as in "PCMU,telephone-event"."""
        return self._without(sdp_ops.by_name(codecs), kind, False)

    def sdp_keep_codecs_by_id(self, codecs: str, kind: str = "") -> bool:
        """sdpops: take out all payload types but these."""
        return self._without(sdp_ops.by_id(codecs), kind, True)

    def sdp_keep_codecs_by_name(self, codecs: str, kind: str = "") -> bool:
        """sdpops: take out all codecs but these; name telephone-event too, or DTMF is gone."""
        return self._without(sdp_ops.by_name(codecs), kind, True)

    def sdp_remove_media(self, kind: str) -> bool:
        """sdpops: switch off the streams of a media type: their lines stay with port 0 (RFC 3264 §6)."""
        return self._rewritten(sdp_ops.without_streams(self._sdp(), kind)) if kind else False

    def sdp_remove_transport(self, transport: str) -> bool:
        """sdpops: switch off the streams with this transport."""
        return self._rewritten(sdp_ops.without_streams(self._sdp(), "", transport)) if transport else False

    def sdp_remove_line_by_prefix(self, prefix: str, kind: str = "") -> bool:
        """sdpops: take out the lines that begin so, as "a=ssrc"; with a media type only of its streams."""
        return self._rewritten(sdp_ops.without_lines(self._sdp(), prefix, kind))

    def sdp_set_sess_version(self, version: int = -1) -> bool:
        """`$sdp(sess_version) = version`: the version in o=; -1: one more than it came with."""
        return self._rewritten(sdp_ops.with_version(self._sdp(), version))

    # -- how -----------------------------------------------------------------------------------------

    def _streams(self) -> tuple[sdp_streams.Stream, ...]:
        return sdp_streams.read(sdp_of(self._message)).streams

    def _has(self, chosen: sdp_ops.Chosen) -> bool:
        return any(chosen(number, name) for one in self._streams() for number, name in one.codecs().items())

    def _without(self, chosen: sdp_ops.Chosen, kind: str, keep: bool) -> bool:
        return self._rewritten(sdp_ops.without_codecs(self._sdp(), chosen, kind, keep))

    def _sdp(self) -> bytes:
        """The SDP as the script has made it so far."""
        body, kind = self._body_so_far()
        place = place_of_sdp(body, kind)
        return body[place[0] : place[1]] if place is not None else b""

    def _rewritten(self, sdp: bytes) -> bool:
        """Put this in place of the SDP so far; False when it is the same."""
        body, kind = self._body_so_far()
        place = place_of_sdp(body, kind)
        if place is None or body[place[0] : place[1]] == sdp:
            return False
        self._edits.body = (body[: place[0]] + sdp + body[place[1] :], kind)
        return True

    def _body_so_far(self) -> tuple[bytes, str]:
        return self._edits.body or (self._message.body, self.hdr("Content-Type"))
