"""The direction of one stream changed, and nothing else."""

from __future__ import annotations

import pytest

from edgesip.relay.direction import directed

HEAD = b"v=0\r\na=inactive\r\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"m=audio 1 RTP/AVP 0\r\na=inactive\r\n", b"m=audio 1 RTP/AVP 0\r\na=sendonly\r\n"),
        (b"m=audio 1 RTP/AVP 0\r\na=Inactive \r\na=x\r\n", b"m=audio 1 RTP/AVP 0\r\na=sendonly\r\na=x\r\n"),
        (b"m=audio 1 RTP/AVP 0\r\n", b"m=audio 1 RTP/AVP 0\r\na=sendonly\r\n"),
        (b"m=audio 1 RTP/AVP 0", b"m=audio 1 RTP/AVP 0\r\na=sendonly\r\n"),
        (b"m=audio 1 RTP/AVP 0\r\na=inactive", b"m=audio 1 RTP/AVP 0\r\na=sendonly"),
        (b"m=audio 1 RTP/AVP 0\r\na=inactivex\r\n", b"m=audio 1 RTP/AVP 0\r\na=inactivex\r\na=sendonly\r\n"),
    ],
)
def test_one_stream(before: bytes, after: bytes) -> None:
    assert directed(HEAD + before, 0, b"sendonly") == HEAD + after


def test_the_other_streams_stay() -> None:
    streams = [b"m=audio 1 RTP/AVP 0\r\na=inactive\r\n", b"m=video 2 RTP/AVP 99\r\na=inactive\r\n"]
    assert directed(b"".join(streams), 1, b"sendonly") == streams[0] + streams[1].replace(
        b"inactive", b"sendonly"
    )
    assert (
        directed(b"".join(streams), 0, b"recvonly")
        == streams[0].replace(b"inactive", b"recvonly") + streams[1]
    )


def test_bare_line_ends() -> None:
    assert directed(b"v=0\nm=audio 1 RTP/AVP 0\n", 0, b"sendonly") == (
        b"v=0\nm=audio 1 RTP/AVP 0\na=sendonly\n"
    )
