"""What the relay knows of a call's media, as scripts read it: `$rtpstat` and its like.

Read alone: of a call that is there, or was until half a minute ago, so that `dialog_end` can write it down. A
call whose media we never had reads as empty text.
"""

from __future__ import annotations

from typing import NamedTuple

from edgesip.script.nated import Nated
from edgesip.signal.dialog.offer_answer import Media, MediaKey


class Stat(NamedTuple):
    """The media of one call: the relay, what names the call there (None: in none), monotonic seconds."""

    media: Media | None
    key: MediaKey | None
    now: float

    @property
    def numbers(self) -> str:
        """rtpproxy's answer to Q."""
        return "" if self.media is None or self.key is None else self.media.desk.query(self.key, self.now)

    @property
    def words(self) -> str:
        """The same in words."""
        return "" if self.media is None or self.key is None else self.media.desk.told(self.key)

    def worst(self, figure: str) -> str:
        """A figure of the side that comes in worse."""
        if self.media is None or self.key is None:
            return ""
        value = self.media.desk.worst(self.key, figure)
        return "" if value is None else f"{value:g}"


class Heard(Nated):
    """A message that goes on, and what is known of the media of its call."""

    __slots__ = ()

    @property
    def rtpstat(self) -> str:
        """`$rtpstat`, `$rtppstat`: rtpproxy's answer to Q, of the first stream: seconds that it may be
        silent, packets from who answered, from who called, relayed, dropped.
        """
        return self._stat().numbers

    @property
    def rtpestat(self) -> str:
        """`$rtpestat`: the same in words, for each side: address, packets, dropped, MOS, loss, jitter."""
        return self._stat().words

    @property
    def rtp_mos(self) -> str:
        """`$rtp_mos`: MOS, 1 to 4.5, of the side that comes in worse."""
        return self._stat().worst("mos")

    @property
    def rtp_loss(self) -> str:
        """`$rtp_loss`: lost packets in percent, of the side that comes in worse."""
        return self._stat().worst("loss")

    @property
    def rtp_jitter(self) -> str:
        """`$rtp_jitter`: jitter in milliseconds (RFC 3550), of the side that comes in worse."""
        return self._stat().worst("jitter")

    def _stat(self) -> Stat:
        """The media of the call that it stands in."""
        raise NotImplementedError
