"""Where SDP is in a body: in all of it, in one part of it, or nowhere that is sure."""

from __future__ import annotations

import pytest

from edgesip.signal.wire.parts import MOST_PARTS, sdp_place

SDP = b"v=0\r\no=- 1 1 IN IP4 192.0.2.7\r\n"
KIND = "multipart/mixed;boundary=b"


def found(body: bytes, kind: str = KIND) -> bytes | None:
    place = sdp_place(kind, body)
    return None if place is None else body[place[0] : place[1]]


def part(*head: bytes, content: bytes = SDP) -> bytes:
    return b"--b\r\n" + b"".join(line + b"\r\n" for line in head) + b"\r\n" + content + b"\r\n"


IT = b"Content-Type: application/sdp"
ISUP = part(b"Content-Type: application/ISUP;version=x", content=bytes(range(256)))
END = b"--b--\r\n"


@pytest.mark.parametrize("kind", ["application/sdp", "Application/SDP ; charset=x"])
def test_a_whole_body(kind: str) -> None:
    assert found(SDP, kind) == SDP
    assert found(b"", kind) is None


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (part(IT) + END, KIND),
        (part(IT) + END, "multipart/related; type=x; boundary=b"),
        (part(IT) + END, 'Multipart/Mixed;boundary="b";x=y'),
        (ISUP + part(IT) + END, KIND),
        (part(IT) + ISUP + END, KIND),
        (b"before\r\n" + part(IT) + END + b"after", KIND),
        (part(b"content-type:application/SDP;charset=x") + END, KIND),
        (part(IT, b"Content-Disposition: session;handling=required") + END, KIND),
        (part(IT, b"Content-Transfer-Encoding: 8bit") + END, KIND),
        (part(IT).replace(b"--b\r\n", b"--b  \r\n") + b"--b--", KIND),
        (part(content=b"text") + part(IT) + END, KIND),
    ],
)
def test_the_part_of_a_sound_body(body: bytes, kind: str) -> None:
    assert found(body, kind) == SDP


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (part(IT), KIND),  # breaks off
        (part(IT) + b"--bc--\r\n", KIND),
        (part(IT) + b"--b--x", KIND),
        (part(IT) + part(IT) + END, KIND),  # which one?
        (part(b"Content-Type: multipart/mixed;boundary=c") + part(IT) + END, KIND),
        (part(IT, IT) + END, KIND),
        (part(IT, b"Content-Type: text/plain") + END, KIND),
        (part(IT, b" ;folded=yes") + END, KIND),
        (part(IT, b"no colon") + END, KIND),
        (part(IT, b"Content-Disposition: early-session") + END, KIND),
        (part(IT, b"Content-Encoding: gzip") + END, KIND),
        (part(IT, b"Content-Transfer-Encoding: base64") + END, KIND),
        (part(IT, b"Content-Length: 40") + END, KIND),
        (ISUP * (MOST_PARTS + 1) + part(IT) + END, KIND),
        (END, KIND),
        (b"", KIND),
        (SDP, KIND),
        (part(IT) + END, "multipart/mixed"),
        (part(IT) + END, "multipart/mixed;boundary="),
        (part(IT) + END, "multipart/mixed;boundary=b;boundary=c"),
        (part(IT) + END, "multipart/mixed;boundary=c"),
        (part(IT) + END, "text/plain;boundary=b"),
        ((part(IT) + END).replace(b"\r\n", b"\n"), KIND),
    ],
)
def test_what_is_not_sure_has_no_place(body: bytes, kind: str) -> None:
    assert found(body, kind) is None
