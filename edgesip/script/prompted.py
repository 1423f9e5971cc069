"""rtpproxy's prompts for scripts: who hears which one, and until when.

uac is who sent the request, uas who answers it, in requests and replies alike. What is wanted is recorded,
and done when the message goes on: after the relay has taken its SDP.
"""

from __future__ import annotations

from edgesip.script.described import Described
from edgesip.signal.proxy.plays import Play

MOST = 1_000_000


class Prompted(Described):
    """A message that goes on, and prompts that begin or end with it."""

    __slots__ = ()

    def rtpproxy_stream2uac(self, name: str, count: int) -> None:
        """rtpproxy: who sent the request hears a prompt, `count` times, -1 until it is stopped, 0 to stop.

        It takes the place of what the other side says. A call that is not relayed, or a phone that the prompt
        has no codec for, hears nothing, and the log has `prompt not played`. See `edgesip prompt`.
        """
        self._play(True, name, count)

    def rtpproxy_stream2uas(self, name: str, count: int) -> None:
        """rtpproxy: the same for who answers the request: in replies, and in requests inside a call."""
        self._play(False, name, count)

    def rtpproxy_stop_stream2uac(self) -> None:
        """rtpproxy: what plays to who sent the request ends."""
        self._play(True, "", 0)

    def rtpproxy_stop_stream2uas(self) -> None:
        """rtpproxy: what plays to who answers the request ends."""
        self._play(False, "", 0)

    def _play(self, to_uac: bool, name: str, count: int) -> None:
        if not -1 <= count <= MOST:
            raise ValueError(f"a prompt plays so many times, -1 for ever or 0 to stop, not {count}")
        if count and not name:
            raise ValueError("a prompt has a name")
        self._edits.plays += (Play(to_uac, name, count),)
