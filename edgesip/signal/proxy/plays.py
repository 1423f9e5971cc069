"""Prompts that a script wants played: recorded as it runs, handed to the relay with the message's SDP."""

from __future__ import annotations

from typing import NamedTuple


class Play(NamedTuple):
    """A prompt `to_uac`, who sent the request, or to who answers it: `times`, -1 for ever, 0 to stop."""

    to_uac: bool
    name: str
    times: int

    def __str__(self) -> str:
        who = "uac" if self.to_uac else "uas"
        if not self.times:
            return f"rtpproxy_stop_stream2{who}()"
        return f"rtpproxy_stream2{who}({self.name!r}, {self.times})"
