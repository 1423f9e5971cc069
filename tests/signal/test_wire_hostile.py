"""Hostile octets: each reader alone says yes or ParseError, and never takes more than linear time."""

import time
from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgesip.signal.wire import grammar, headers, uri, values
from edgesip.signal.wire.grammar import ParseError
from edgesip.signal.wire.headers import Headers
from edgesip.signal.wire.message import parse

TYPED = [name for name, value in vars(Headers).items() if isinstance(value, property)]

T = TypeVar("T")

bounded = settings(
    max_examples=400, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)

MEANINGFUL = [
    b"\r\n", b"\n", b"\r", b"\0", b"\r\n\r\n", b"\n\n", b" ", b"\t", b": ", b":", b";", b",", b'"', b"\\",
    b"<", b">", b"=", b"@", b"%00", b"[", b"]", b"?", b"/", b"*", b"\xff", b"\xc5\xbf", b"\xe2\x84\xaa",
    b"\xc2\x85", b"\x0b", b"Via", b"v", b"From", b"To", b"t", b"Call-ID", b"CSeq", b"l", b"Content-Length",
    b"Contact", b"Route", b"X-a", b"INVITE", b"ACK", b"SIP/2.0", b"SIP/2.0/UDP h", b"sip:", b"sips:a@b",
    b"tel:1", b"<sip:a@b>", b";tag=a", b"1", b"0", b"INVITE sip:a@b SIP/2.0\r\n", b"SIP/2.0 200 OK\r\n",
    b"CSeq: 1 INVITE\r\n", b"\r\n X", b" : ", b"9999999999", b"-1",
]  # fmt: skip

fragments = st.lists(st.sampled_from(MEANINGFUL) | st.binary(max_size=6), max_size=40).map(b"".join)


def tried(read: Callable[..., T], *arguments: object) -> T | ParseError:
    """What a reader gives, be it its refusal; any other exception fails the test."""
    try:
        return read(*arguments)
    except ParseError as error:
        return error


@bounded
@given(fragments.map(lambda data: data.decode("utf-8", "surrogateescape")))
def test_every_reader_raises_parse_errors_only(text: str) -> None:
    for read in READERS.values():
        result = tried(read, text)
        assert not isinstance(result, ParseError) or result.status in (400, 416)


READERS: dict[str, Callable[[str], object]] = {
    "split_list": grammar.split_list,
    "split_params": lambda text: grammar.split_list(text, ";"),
    "parse_params": grammar.parse_params,
    "unquote": grammar.unquote,
    "has_bare_nul": grammar.has_bare_nul,
    "parse_uri": uri.parse_uri,
    "parse_any_uri": uri.parse_any_uri,
    "name_addr": values.parse_name_addr,
    "via": values.parse_via,
    "cseq": values.parse_cseq,
    "seconds": headers.parse_seconds,
    "digits": lambda text: grammar.digits(text, 2**31),
    "contacts": lambda text: Headers([("Contact", text)]).contacts,
    "routes": lambda text: Headers([("Route", text)]).routes,
}

PATTERNS = [
    ";", ",", '"', "\\", "<", ">", " ", "\t", "=", "a", "1", "(", "%", "%41", "@", ":", "[", "]", "/", ".",
    "*", "\0", '\\"', '"\\', '""', '"",', '<>', "<,", ">,", ";a", ";a=", ';a="', "a,", "a;", "sip:", " ,",
    ", ", '"\\\0"', ":::",
]  # fmt: skip
PREFIXES = [
    "",
    '"',
    '"\\',
    "<sip:",
    "sip:",
    "tel:",
    "tel:+",
    "SIP/2.0/UDP ",
    "SIP / 2.0 / UDP ",
    "sip:a@b;",
    "1 ",
]


def cost(read: Callable[[T], object], text: T, repeat: int = 3) -> float:
    """CPU seconds of the quickest of a few runs."""
    best = 1e9
    for _ in range(repeat):
        start = time.thread_time()
        tried(read, text)
        best = min(best, time.thread_time() - start)
    return best


@pytest.mark.parametrize("name", READERS)
def test_time_is_linear_in_the_length(name: str) -> None:
    """Eight times the text costs about eight times, not sixty-four."""
    read = READERS[name]
    for prefix in PREFIXES:
        for pattern in PATTERNS:
            count = 65536 // len(pattern)
            text = prefix + pattern * count
            if cost(read, text, 1) > 0.004:
                short = cost(read, prefix + pattern * (count // 8))
                assert cost(read, text) < 24 * short + 0.002, (prefix, pattern)


BEFORE = (
    b"OPTIONS sip:a@b.example SIP/2.0\r\nVia: SIP/2.0/UDP h.example;branch=z9hG4bKx\r\n"
    b"From: <sip:a@b>;tag=1\r\n"
)
AFTER = b"To: <sip:c@d>\r\nCall-ID: x\r\nCSeq: 1 OPTIONS\r\n\r\n"
VALUES = ["SIP/2.0/UDP a,", "<sip:a@b>,", "SIP/2.0/UDP a;b=c,", '"a\\"b" <sip:a@b>;q=0.1,']


def read_all(data: bytes) -> None:
    message = tried(parse, data)
    if isinstance(message, ParseError):
        return
    for typed in TYPED:
        tried(getattr, message.headers, typed)


@pytest.mark.parametrize("name", ["Via", "From", "To", "Contact", "Route", "X", "Content-Length", " "])
def test_a_full_message_is_cheap_whatever_is_in_it(name: str) -> None:
    """64 KiB of anything stays near the 5 ms that a datagram may cost (allowing for a slow machine)."""
    for pattern in PATTERNS + VALUES:
        line = f"{name}: {pattern * (8000 // len(pattern))}\r\n".encode()
        assert cost(read_all, BEFORE + line * 8 + AFTER) < 0.025, pattern
