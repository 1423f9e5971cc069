"""Messages as `trace.events` tells them, as records of a capture file.

Every message becomes one UDP datagram, also one that came over TCP or in TLS: in clear, between the addresses
that it went between. Knows no terminal.
"""

from __future__ import annotations

from typing import Any

from edgesip import pcap
from edgesip.address import Addr


def record(event: dict[str, Any]) -> bytes:
    """One message as a record of the file."""
    local, remote = _end(event["local"]), _end(event["remote"])
    source, target = (remote, local) if event["direction"] == "in" else (local, remote)
    return pcap.record(event["time"], source, target, event["text"].encode("utf-8", "surrogateescape"))


def _end(text: str) -> Addr:
    """`192.0.2.1:5060`, `[2001:db8::1]:5060`."""
    host, _, port = text.rpartition(":")
    return Addr(host.strip("[]"), int(port))
