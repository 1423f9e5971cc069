"""Where the SDP of a message is: its whole body, or the one part of a multipart body that is SDP (RFC 5621).

Strict: what could be read in two ways has no place that anybody may rewrite, and goes on as it came. It
refuses to read the SDP itself.
"""

from __future__ import annotations

import re

SDP = "application/sdp"
MOST_PARTS = 16

_MULTIPART = re.compile(r"multipart/[a-z0-9.+-]+\s*;", re.IGNORECASE)
_BOUNDARY = re.compile(
    r';\s*boundary\s*=\s*(?:"([^"\\]{1,70})"|([A-Za-z0-9\'()+_,./:=?-]{1,70}))\s*(?=;|$)', re.IGNORECASE
)
_AS_IT_IS = (b"", b"binary", b"8bit", b"7bit")


def sdp_place(kind: str, body: bytes) -> tuple[int, int] | None:
    """Where SDP begins and ends in a body of this Content-Type; None where there is none to be sure of.

    In a multipart body that is its only part of this type, whose disposition is `session`, which is neither
    encoded nor measured (Content-Length), while no part is itself multipart.
    """
    if not body:
        return None
    if kind == SDP or kind.partition(";")[0].strip().lower() == SDP:
        return 0, len(body)
    if _MULTIPART.match(kind) is None or len(found := _BOUNDARY.findall(kind)) != 1:
        return None
    parts = _parts(body, b"--" + (found[0][0] or found[0][1]).encode("latin-1", "replace"))
    places = []
    for start, stop in parts or ():
        head = _head(body, start, stop)
        if head is None or head[0].get(b"content-type", b"").startswith(b"multipart/"):
            return None
        fields, content = head
        if fields.get(b"content-type", b"").partition(b";")[0].strip() == SDP.encode():
            if not _is_plain(fields):
                return None
            places.append((content, stop))
    return places[0] if len(places) == 1 else None


def _parts(body: bytes, delimiter: bytes) -> list[tuple[int, int]] | None:
    """Begin and end of each part, its head included (RFC 2046 §5.1.1); None for a body that breaks off."""
    at = 0 if body.startswith(delimiter) else body.find(b"\r\n" + delimiter) + 2
    if at < 2 and not body.startswith(delimiter):
        return None
    parts: list[tuple[int, int]] = []
    while len(parts) <= MOST_PARTS:
        after = at + len(delimiter)
        if body.startswith(b"--", after):
            return parts if body[after + 2 :].lstrip(b" \t")[:2] in (b"", b"\r\n") else None
        line = body.find(b"\r\n", after)
        if line < 0 or body[after:line].strip(b" \t"):
            return None
        end = body.find(b"\r\n" + delimiter, line)
        if end < 0:
            return None
        parts.append((line + 2, max(end, line + 2)))
        at = end + 2
    return None


def _head(body: bytes, start: int, stop: int) -> tuple[dict[bytes, bytes], int] | None:
    """The header fields of a part, in lower case, and where its content begins; None for what is no head."""
    if body.startswith(b"\r\n", start):
        return {}, start + 2
    blank = body.find(b"\r\n\r\n", start, stop)
    if blank < 0:
        return None
    fields: dict[bytes, bytes] = {}
    for line in body[start:blank].split(b"\r\n"):
        name, colon, value = line.partition(b":")
        name = name.strip().lower()
        if not colon or not name or line[:1] in b" \t" or name in fields or b"\n" in line or b"\r" in line:
            return None
        fields[name] = value.strip().lower()
    return fields, blank + 4


def _is_plain(fields: dict[bytes, bytes]) -> bool:
    disposition = fields.get(b"content-disposition", b"session").partition(b";")[0].strip()
    encoding = fields.get(b"content-transfer-encoding", b"")
    plain = disposition == b"session" and encoding in _AS_IT_IS
    return plain and b"content-encoding" not in fields and b"content-length" not in fields
