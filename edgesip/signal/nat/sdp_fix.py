"""nathelper's `fix_nated_sdp`: addresses in SDP made the one that a message came from, marks added.

Octets to octets, for phones whose media does not go through our relay. Every line that it does not name comes
out as it went in. It refuses to know who is behind a NAT, and what the marks mean to whoever reads them.
"""

from __future__ import annotations

import re

from edgesip.address import is_unspecified, parse_ip, same_host

DIRECTION = 1
"""Add `a=direction:active` to each media description."""
MEDIA_IP = 2
"""Rewrite c= lines, and the address in a=rtcp."""
MARK = 4
"""Append the mark that says that the media is relayed already."""
ORIGIN_IP = 8
"""Rewrite o= lines, and the address in a=rtcp."""

_ACTIVE = b"a=direction:active"
_GAP = rb"[ \t]+"
_TYPED = rb"IN[ \t]+IP([46])[ \t]+)([^ \t/\r\n]+)"
_PLACES = (
    (b"c=", MEDIA_IP, re.compile(rb"(c=" + _TYPED).match),
    (b"o=", ORIGIN_IP, re.compile(rb"(o=" + 3 * (rb"[^ \t\r\n]+" + _GAP) + _TYPED).match),
    (b"a=", MEDIA_IP | ORIGIN_IP, re.compile(rb"(a=rtcp:[0-9]+" + _GAP + _TYPED).match),
)


class _OtherFamily(Exception):
    """An address cannot become one of the other family; never leaves this file."""


def fix_nated_sdp(sdp: bytes, flags: int, host: str, mark: str, old_address: bool) -> bytes | None:
    """The session description with what `flags` ask for; the very same octets when there is nothing to do.

    `host` is an IP literal without brackets. Null addresses (hold), multicast and what is `host` already
    stay. `mark` is the line for `MARK`, "" for none; with `old_address` each address that was replaced is
    told at the end (`a=oldmediaip:`). None when an address is of the other family: nothing is changed then.
    """
    lines = sdp.split(b"\n")
    if sdp.endswith(b"\n"):
        lines.pop()
    end = b"\r" if lines[0].endswith(b"\r") or len(lines) == 1 else b""
    olds: dict[str, None] = {}
    try:
        found = [_replaced(line, flags, host, olds) for line in lines]
    except _OtherFamily:
        return None
    if flags & DIRECTION:
        found = _active(found, end)
    extra = [_told(old) for old in olds] if old_address else []
    if flags & MARK and mark and mark.encode() not in (line.rstrip(b"\r") for line in lines):
        extra.append(mark.encode())
    if extra:
        found[-1] = found[-1].rstrip(b"\r") + end
    found += [line + end for line in extra]
    if found == lines:
        return sdp
    return b"\n".join(found) + (b"\n" if sdp.endswith(b"\n") or len(found) > len(lines) else b"")


def _replaced(line: bytes, flags: int, host: str, olds: dict[str, None]) -> bytes:
    """The line with `host` for its address, if it has one that shall be another; the old one is noted."""
    for start, wanted, match in _PLACES:
        if flags & wanted and line.startswith(start) and (found := match(line)) is not None:
            old = found[3].decode("latin-1")
            ip = parse_ip(old)
            if is_unspecified(old) or same_host(old, host) or (ip is not None and ip.is_multicast):
                return line
            if (found[2] == b"6") != (":" in host):
                raise _OtherFamily
            olds[old] = None
            return found[1] + host.encode() + line[found.end() :]
    return line


def _active(lines: list[bytes], end: bytes) -> list[bytes]:
    """A media description that does not say so already is active: its last line says it."""
    starts = [place for place, line in enumerate(lines) if line.startswith(b"m=")]
    if not starts:
        return lines
    found = lines[: starts[0]]
    for start, stop in zip(starts, [*starts[1:], len(lines)], strict=True):
        block = lines[start:stop]
        found += block
        if not any(line.rstrip(b"\r") == _ACTIVE for line in block):
            found[-1] = found[-1].rstrip(b"\r") + end
            found.append(_ACTIVE + end)
    return found


def _told(old: str) -> bytes:
    return (f"a=oldmediaip6:{old}" if ":" in old else f"a=oldmediaip:{old}").encode("latin-1")
