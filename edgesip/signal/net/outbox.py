"""What the messages of one batch leave behind: octets to send, then lines for the log.

Knows the order and nothing of sockets: how octets leave and where lines go is told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from edgesip.address import Flow
from edgesip.signal.proxy.inbound import Note

RESPONSE: Final = b"SIP/2.0 "
TRYING: Final = b"SIP/2.0 100 "


class Outbox:
    """Octets in order, but that a request is on its way is said when it is, and before what answers it; lines
    when nobody waits for more.

    `send(flow, data)` sends a message and raises nothing, `log(level, event, fields)` writes a line.
    """

    def __init__(
        self, send: Callable[[Flow, bytes], None], log: Callable[[str, str, dict[str, Any]], None]
    ) -> None:
        self._send = send
        self._log = log
        self._lines: list[Note] = []
        self.sends: list[tuple[Flow, bytes]] = []

    def say(self, note: Note) -> None:
        """Have this written when the messages are gone."""
        self._lines.append(note)

    def flush(self) -> None:
        """Send, in order: who is sent several is woken once, and finds them all; then write."""
        sends, self.sends = self.sends, []
        trying: list[tuple[Flow, bytes]] = []
        for flow, data in sends:
            if data.startswith(TRYING):
                trying.append((flow, data))
                continue
            if trying and data.startswith(RESPONSE):
                self._send_all(trying)
                trying.clear()
            self._send(flow, data)
        self._send_all(trying)
        lines, self._lines = self._lines, []
        for note in lines:
            fields = dict(note.fields)
            if note.call_id:
                fields["call_id"] = note.call_id
            self._log(note.level, note.event, fields)

    def _send_all(self, sends: Sequence[tuple[Flow, bytes]]) -> None:
        for flow, data in sends:
            self._send(flow, data)
