"""A capture told as a story: SIP messages as arrows, RTP as one line a stream. For failed tests."""

from __future__ import annotations

import re

from lab.capture import Datagram, read_rtp

_MAX_LINES = 200
_START_LINE = re.compile(rb"(?:SIP/2\.0 \d{3}|[A-Z]+ \S+ SIP/2\.0)")


def ladder(datagrams: list[Datagram]) -> str:
    """One line a SIP message in order of time, then one a stream of media."""
    if not datagrams:
        return "(nothing captured)"
    start = datagrams[0].time
    lines: list[str] = []
    streams: dict[tuple[tuple[str, int], tuple[str, int]], list[float]] = {}
    for datagram in datagrams:
        if _START_LINE.match(datagram.payload):
            lines.append(f"{datagram.time - start:8.3f}  {_arrow(datagram)}  {_summary(datagram.payload)}")
        elif read_rtp(datagram) is not None:
            streams.setdefault((datagram.source, datagram.target), []).append(datagram.time - start)
        elif datagram.payload:
            head = datagram.payload[:24]
            lines.append(
                f"{datagram.time - start:8.3f}  {_arrow(datagram)}  {len(datagram.payload)} octets {head!r}"
            )
    for (source, target), times in streams.items():
        lines.append(
            f"RTP {_name(source)} -> {_name(target)}: {len(times)} packets, {times[0]:.3f}..{times[-1]:.3f} s"
        )
    if len(lines) > _MAX_LINES:
        half = _MAX_LINES // 2
        lines[half:-half] = [f"          … {len(lines) - _MAX_LINES} lines left out …"]
    return "\n".join(lines)


def _name(address: tuple[str, int]) -> str:
    return f"{address[0]}:{address[1]}"


def _arrow(datagram: Datagram) -> str:
    return f"{_name(datagram.source):>20} -> {_name(datagram.target):<20}"


def _summary(payload: bytes) -> str:
    head = payload.partition(b"\r\n\r\n")[0].decode(errors="replace").split("\r\n")
    values = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in head)
    }
    call = values.get("call-id") or values.get("i", "?")
    return f"{head[0]}  [{values.get('cseq', '?')}, {call[:12]}]"
