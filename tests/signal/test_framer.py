"""Framing: any split, any join, and an end to what is not SIP."""

from __future__ import annotations

import pytest

from edgesip.signal.wire.framer import LARGEST, PING, Framer
from edgesip.signal.wire.grammar import ParseError

ONE = b"OPTIONS sip:a@b SIP/2.0\r\nCall-ID: 1\r\nContent-Length: 5\r\n\r\nhello"
TWO = b"SIP/2.0 200 OK\r\nl : 0\r\n\r\n"


def feed(pieces: list[bytes]) -> list[bytes]:
    framer = Framer()
    found = [message for piece in pieces for message in framer.feed(piece)]
    assert not framer.pending
    return found


def test_every_split_of_joined_messages_and_pings() -> None:
    stream = ONE + PING + TWO + b"\r\n" + ONE + TWO
    expected = [ONE, PING, TWO, ONE, TWO]
    assert feed([stream]) == expected
    assert feed([stream[at : at + 1] for at in range(len(stream))]) == expected
    for at in range(1, len(stream)):
        assert feed([stream[:at], stream[at:]]) == expected, at


@pytest.mark.parametrize(
    "stream",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        b"POST /x HTTP/1.1\r\nContent-Length: 200\r\n\r\nREGISTER sip:a SIP/2.0\r\n",
        b"MSRP a SEND\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"OPTIONS sip:a SIP/2.0\r\n\r\n",
        b"OPTIONS sip:a SIP/2.0\r\nContent-Length: -1\r\n\r\n",
        b"OPTIONS sip:a SIP/2.0\r\nContent-Length: +5\r\n\r\n",
        b"OPTIONS sip:a SIP/2.0\r\nContent-Length: 4294967328\r\n\r\n",
        b"OPTIONS sip:a SIP/2.0\r\nContent-Length: 00000000005\r\n\r\n",
        b"OPTIONS sip:a SIP/2.0\r\nContent-Length: 5\r\nl: 6\r\n\r\n",
        b"OPTIONS sip:a SIP/2.0\r\nContent-Length: 65535\r\n\r\n",
        b"OPTIONS sip:a SIP/2.0\r\nX: folded\r\n Content-Length: 5\r\n\r\n",
        b"OPTIONS sip:a SIP/2.0\r\nX: " + b"a" * LARGEST,
        b"A" * 3000,
        b" \r\n\r\n\r\n",
    ],
)
def test_what_is_not_sip_or_lies_ends_the_stream(stream: bytes) -> None:
    for size in (len(stream), 1):
        framer = Framer()
        for at in range(0, len(stream), size):
            assert framer.feed(stream[at : at + size]) == []
        assert isinstance(framer.fault, ParseError)
        assert framer.rest == stream[: len(framer.rest)]
        assert framer.feed(ONE) == [], "nothing after that is believed"


def test_memory_is_bounded_and_time_linear_for_a_slow_head() -> None:
    framer = Framer()
    lines = [b"OPTIONS sip:a SIP/2.0\r\n", *[b"X-Y: z\r\n"] * 100_000]
    assert not any(framer.feed(line) for line in lines)
    assert framer.fault is not None
    assert len(framer._buffer) <= LARGEST + 8
