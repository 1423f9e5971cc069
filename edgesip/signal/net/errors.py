"""What can go wrong with a socket of ours; apart from the sockets, for exceptions cannot be compiled."""

from __future__ import annotations

from edgesip.address import Addr


class LinkError(OSError):
    """A listener that could not be opened; `transport` and `addr` say which."""

    def __init__(self, error: OSError, transport: str, addr: Addr) -> None:
        super().__init__(error.errno, error.strerror)
        self.transport = transport
        self.addr = addr
