"""Thirty hostile patterns: twice the octets take about twice the time, wherever they come in (threat 10)."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from fuzz_targets import TYPED, tried

from edgesip.address import Addr
from edgesip.relay import sdp
from edgesip.relay.sdp import SdpError
from edgesip.signal.guard.digest import Digest
from edgesip.signal.wire.framer import Framer
from edgesip.signal.wire.grammar import ParseError
from edgesip.signal.wire.headers import Headers
from edgesip.signal.wire.message import Request, parse

PATTERNS = (
    b";", b",", b'"', b"\\", b"<", b">", b" ", b"\t", b"=", b"a", b"%", b"%41", b":", b"[", b"/",
    b'\\"', b'""', b'"",', b"<>", b"<,", b";a", b";a=", b';a="', b"a,", b" ,", b'"\\\0"', b"sip:", b"\r\n ",
    b"\r\n\t\r\n ", b"v: SIP/2.0/UDP a\r\n",
)  # fmt: skip
NAMES = (b"Via", b"From", b"To", b"Contact", b"Route", b"CSeq", b"Content-Length", b"X")
LINE = 8000
WORST = 3.0
GATE = Digest("edgesip", b"0123456789abcdef")
ASKED = Request("REGISTER", "sip:a@b", Headers(()), b"")


def filled(pattern: bytes, size: int) -> bytes:
    return (pattern * (size // len(pattern) + 1))[:size]


def message(pattern: bytes, size: int) -> bytes:
    """One datagram with the pattern in a header of each sort, in lines as long as may be."""
    head = (
        b"OPTIONS sip:a@b.example SIP/2.0\r\nVia: SIP/2.0/UDP h.example;branch=z9hG4bKx\r\n"
        b"From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: x\r\nCSeq: 1 OPTIONS\r\n"
    )
    lines = [
        NAMES[at % len(NAMES)] + b": " + filled(pattern, min(LINE, size - at * LINE)) + b"\r\n"
        for at in range((size + LINE - 1) // LINE)
    ]
    return head + b"".join(lines) + b"\r\n"


def read_message(octets: bytes) -> None:
    found = tried(parse, octets)
    if not isinstance(found, ParseError):
        for name in TYPED:
            tried(getattr, found.headers, name)


def one_header(name: bytes) -> Callable[[bytes, int], bytes]:
    """A datagram with the pattern in one header only, so that no other refuses it first."""

    def make(pattern: bytes, size: int) -> bytes:
        lines = [name + b": " + filled(pattern, min(LINE, size - at)) for at in range(0, size, LINE)]
        return message(b"a", 0)[:-2] + b"\r\n".join(lines) + b"\r\n\r\n"

    return make


def read_stream(octets: bytes) -> None:
    framer = Framer()
    for at in range(0, len(octets), 100):
        framer.feed(octets[at : at + 100])


def session(pattern: bytes, size: int) -> bytes:
    head = b"v=0\r\no=- 1 1 IN IP4 1.2.3.4\r\nc=IN IP4 1.2.3.4\r\nm=audio 4000 RTP/AVP 0\r\na=x:"
    return head + filled(pattern, size - len(head) - 2) + b"\r\n"


def read_session(octets: bytes) -> None:
    try:
        sdp.parse(octets)
    except SdpError:
        return


def read_credentials(octets: bytes) -> None:
    value = 'Digest realm="edgesip", ' + octets.decode("utf-8", "surrogateescape")
    GATE.check([value], ASKED, Addr("192.0.2.1", 5060), lambda name: None, 1.0)


PLACES: dict[str, tuple[Callable[[bytes, int], bytes], Callable[[bytes], None]]] = {
    "datagram": (message, read_message),
    **{name.decode(): (one_header(name), read_message) for name in (b"Contact", b"Route", b"X", b"Via")},
    "stream": (message, read_stream),
    "sdp": (session, read_session),
    "digest": (filled, read_credentials),
}


def cost(read: Callable[[bytes], None], octets: bytes) -> float:
    """CPU seconds of one reading: of so many together that the clock can tell, the quickest of three."""
    start = time.process_time()
    read(octets)
    once = time.process_time() - start
    times = max(1, min(500, int(0.001 / max(once, 1e-6))))
    best = once
    for _ in range(3):
        start = time.process_time()
        for _ in range(times):
            read(octets)
        best = min(best, (time.process_time() - start) / times)
    return best


@pytest.mark.parametrize("place", PLACES)
def test_twice_as_much_takes_twice_as_long(place: str) -> None:
    make, read = PLACES[place]
    for pattern in PATTERNS:
        small, large = make(pattern, 30_000), make(pattern, 60_000)
        ratios: list[float] = []
        while not ratios or (ratios[-1] > WORST and len(ratios) < 6):
            floor = 20e-6  # below that it is the clock that we would measure
            ratios.append(cost(read, large) / max(cost(read, small), floor))
        assert min(ratios) <= WORST, (pattern, ratios)


def test_the_measure_tells_a_slow_reader() -> None:
    def quadratic(octets: bytes) -> None:
        for at in range(0, len(octets), 200):
            octets[at:].count(b"x")

    large, small = bytes(60_000), bytes(30_000)
    assert any(cost(quadratic, large) / cost(quadratic, small) > WORST for _ in range(12))
