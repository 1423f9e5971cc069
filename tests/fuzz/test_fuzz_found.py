"""What fuzzing has found, so that it stays found."""

from __future__ import annotations

import pytest
from fuzz_targets import TARGETS

FOUND = [
    ("values", b"a<sip:a@b>;tag=c><:\\/5"),  # a parameter value that looks like a URI to another reader
    ("values", b"<sip:a@b>;x=<sip:c@d>"),
    ("sdp", b"v=0\no=- 1 1 IN IP4 1.2.3.4\nc=IN IP4 1.2.3.4\nm=audio 4000 RTP/AVP 0\na=rtcp:1\na=rtcp:x\n"),
    (
        "stream",
        b"\1/A sip:a SIP/2.0\r\nl: 0\r\n\r\n",
    ),  # no method begins so, but only octet by octet it was seen
]


@pytest.mark.parametrize(("target", "data"), FOUND)
def test_it_is_mended(target: str, data: bytes) -> None:
    TARGETS[target](data)
