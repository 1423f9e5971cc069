"""The raw socket: datagrams that say they come from an address that is not ours. It hears nothing.

Needs CAP_NET_RAW, which this server asks nobody for: who has not got it is told so by `OSError`.
"""

from __future__ import annotations

import socket

from edgesip.address import Flow
from edgesip.signal.nat.spoofed import datagram


class RawLink:
    """An open raw socket of IPv4."""

    def __init__(self) -> None:
        """Raises `PermissionError` without CAP_NET_RAW."""
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self._socket.setblocking(False)

    def send(self, flow: Flow, data: bytes) -> bool:
        """Send one datagram from the flow's local end, whoever that is; False when it could not leave."""
        try:
            self._socket.sendto(datagram(flow.local, flow.remote, data), (flow.remote.host, 0))
        except (OSError, ValueError):
            return False
        return True

    def close(self) -> None:
        """Let go of it."""
        self._socket.close()
