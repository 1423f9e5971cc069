"""A capture told as a story: SIP messages as `edgesip trace` draws them, RTP as one line a stream.

For failed tests whose server cannot be asked any more; what was said in TLS is not in it.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from edgesip.cli.ladder import Style, drawn
from edgesip.control.mask import masked
from edgesip.control.trace import head_of
from lab.capture import Datagram, read_rtp
from lab.sip import bracketed

_MAX_LINES = 400
_START_LINE = re.compile(rb"(?:SIP/2\.0 \d{3}|[A-Z]+ \S+ SIP/2\.0)")
STYLE = Style(120)


def ladder(datagrams: list[Datagram], own: Collection[str]) -> str:
    """The messages to and from the addresses `own`, call by call."""
    events = [
        event
        for datagram in datagrams
        if _START_LINE.match(datagram.payload) and (event := _event(datagram, own)) is not None
    ]
    lines = list(drawn(events, STYLE)) or ["(nothing captured)"]
    if len(lines) > _MAX_LINES:
        half = _MAX_LINES // 2
        lines[half:-half] = [f"          … {len(lines) - _MAX_LINES} lines left out …"]
    return "\n".join(lines)


def streams(datagrams: list[Datagram]) -> str:
    """One line for each RTP stream: from where to where, how many packets, when."""
    found: dict[tuple[tuple[str, int], tuple[str, int]], list[float]] = {}
    for datagram in datagrams:
        if read_rtp(datagram) is not None:
            found.setdefault((datagram.source, datagram.target), []).append(datagram.time)
    start = datagrams[0].time if datagrams else 0.0
    return "\n".join(
        f"RTP {_name(source)} -> {_name(target)}: {len(times)} packets,"
        f" {times[0] - start:.3f}..{times[-1] - start:.3f} s"
        for (source, target), times in found.items()
    )


def _event(datagram: Datagram, own: Collection[str]) -> dict[str, Any] | None:
    """A message in the form of `trace.events`; None when it is between others."""
    incoming = datagram.target[0] in own
    if not incoming and datagram.source[0] not in own:
        return None
    local, remote = (datagram.target, datagram.source) if incoming else (datagram.source, datagram.target)
    shown = masked(datagram.payload)
    head = head_of(shown)
    return {
        "time": datagram.time,
        "kind": "message",
        "call_id": head.call_id,
        "direction": "in" if incoming else "out",
        "transport": "sip",  # the capture does not keep whether it was UDP or TCP
        "local": _name(local),
        "remote": _name(remote),
        "start": head.start,
        "cseq": head.cseq,
        "from": head.from_,
        "to": head.to,
        "content_type": head.content_type,
        "text": shown.decode("utf-8", "surrogateescape"),
    }


def _name(address: tuple[str, int]) -> str:
    return f"{bracketed(address[0])}:{address[1]}"
