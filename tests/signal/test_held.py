"""What puts audio on hold: every form of it, at the session or the stream, and what only looks like one."""

from __future__ import annotations

import pytest

from edgesip.signal.nat.held import audio_on_hold, is_null
from edgesip.signal.wire.message import parse

HEAD = ("v=0", "o=- 1 1 IN IP4 192.168.1.10", "s=-", "c=IN IP4 192.168.1.10", "t=0 0")
AUDIO = ("m=audio 4000 RTP/AVP 0", "a=rtcp:4001 IN IP4 192.168.1.10", "a=sendrecv")
MESSAGE = (
    "INVITE sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\n"
    "To: <sip:b@h>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\nContent-Type: %s\r\n\r\n"
)


def held(body: str, kind: str = "application/sdp") -> int:
    return audio_on_hold(parse((MESSAGE % kind + body).encode()))


@pytest.mark.parametrize(
    ("lines", "form"),
    [
        ((*HEAD, *AUDIO), 0),
        ((*HEAD, "m=audio 4000 RTP/AVP 0", "c=IN IP4 0.0.0.0"), 1),
        (("v=0", "c=IN IP4 0.0.0.0", "m=audio 4000 RTP/AVP 0"), 1),
        (("v=0", "c=IN IP4 0.0.0.0", "m=audio 4000 RTP/AVP 0", "c=IN IP4 192.0.2.1"), 0),
        ((*HEAD, "m=audio 4000 RTP/AVP 0", "c=IN IP6 ::"), 1),
        ((*HEAD, "m=audio 4000 RTP/AVP 0", "c=IN IP6 [::]"), 1),
        ((*HEAD, "m=audio 4000 RTP/AVP 0", "c=IN IP6 hold.Invalid"), 1),
        ((*HEAD, "m=audio 4000 RTP/AVP 0", "a=sendonly"), 2),
        ((*HEAD, "m=audio 4000 RTP/AVP 0", "a=inactive"), 2),
        ((*HEAD, "m=audio 4000 RTP/AVP 0", "a=SendOnly "), 2),
        ((*HEAD, "m=audio 4000 RTP/AVP 0", "a=recvonly"), 0),
        ((*HEAD, "a=inactive", "m=audio 4000 RTP/AVP 0"), 2),
        ((*HEAD, "a=inactive", "m=audio 4000 RTP/AVP 0", "a=sendrecv"), 0),
        ((*HEAD, *AUDIO, "m=video 5000 RTP/AVP 99", "a=inactive"), 0),
        ((*HEAD, "m=video 5000 RTP/AVP 99", "a=inactive", *AUDIO), 0),
        ((*HEAD, "m=video 5000 RTP/AVP 99", "m=audio 4000 RTP/AVP 0", "a=sendonly"), 2),
        ((*HEAD, "m=video 5000 RTP/AVP 99", "a=sendonly"), 0),
        ((*HEAD, *AUDIO, "m=audio 6000 RTP/AVP 0", "a=sendonly"), 2),
        ((*HEAD, "m=audio 4000 RTP/AVP 0", "a=sendonly", "m=audio 6000 RTP/AVP 0", "c=IN IP4 0.0.0.0"), 1),
        ((*HEAD, "m=audio 0 RTP/AVP 0", "a=inactive"), 0),
        ((*HEAD, "m=audio", "a=sendonly"), 2),
    ],
)
def test_the_form_of_a_hold(lines: tuple[str, ...], form: int) -> None:
    assert held("".join(f"{line}\r\n" for line in lines)) == form


def test_no_sdp() -> None:
    assert held("") == 0
    assert held("c=IN IP4 0.0.0.0\r\nm=audio 4000 RTP/AVP 0\r\n", "text/plain") == 0


@pytest.mark.parametrize("place", ["session", "stream"])
def test_candidates_that_come_later_are_no_hold(place: str) -> None:
    options = "a=ice-options:ice2 trickle\r\n"
    body = (
        f"v=0\r\nc=IN IP4 0.0.0.0\r\n{options if place == 'session' else ''}m=audio 9 RTP/AVP 0\r\n"
        f"{options if place == 'stream' else ''}"
    )
    assert held(body) == 0
    assert held(body.replace("audio 9", "audio 4000")) == 1
    assert held(body.replace("trickle", "other")) == 1


def test_addresses_that_mean_nobody() -> None:
    assert all(map(is_null, ("0.0.0.0", "::", "invalid", "x.INVALID")))
    assert not any(map(is_null, ("", "192.0.2.1", "::1", "invalid.example", "notinvalid")))
