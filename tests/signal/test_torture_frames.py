"""The torture messages in a stream: every split, three joins, and never another message than over UDP."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from verdicts import BROKEN_FRAMES, BY_NAME, CUT_BADDN, ENDLESS, MESSAGES, TWICE, Message

from edgesip.signal.wire.framer import PING, Framer
from edgesip.signal.wire.grammar import ParseError
from edgesip.signal.wire.message import Request, Response, parse

GOOD = b"OPTIONS sip:a@b.example SIP/2.0\r\nCall-ID: good\r\nl: 2\r\n\r\nhi"
WHOLE = [message for message in MESSAGES if message.name not in BROKEN_FRAMES | ENDLESS | TWICE]
Framed = tuple[list[bytes], bytes, str]


def framed(*pieces: bytes) -> Framed:
    """The messages found, the octets left, and what was wrong."""
    framer = Framer()
    found = [message for piece in pieces for message in framer.feed(piece)]
    return found, framer.rest, framer.fault.reason if framer.fault else ""


def read(octets: bytes) -> Request | Response | str:
    try:
        return parse(octets)
    except ParseError as error:
        return error.reason


JOINS: tuple[Callable[[bytes], list[bytes]], ...] = (
    lambda octets: [octets, octets],
    lambda octets: [PING, octets, GOOD],
    lambda octets: [GOOD, octets, PING, GOOD],
)


@pytest.mark.parametrize("message", WHOLE, ids=lambda message: message.name)
def test_each_comes_out_as_it_is_wherever_it_is_split_and_whatever_it_is_joined_with(
    message: Message,
) -> None:
    octets = message.octets
    whole = framed(octets)
    assert whole == ([octets], b"", "")
    for at in range(1, len(octets)):
        assert framed(octets[:at], octets[at:]) == whole, at
    for join in JOINS:
        parts = join(octets)
        stream = b"".join(parts)
        for at in range(1, len(stream)):
            assert framed(stream[:at], stream[at:]) == (parts, b"", ""), at
    assert framed(*(bytes((octet,)) for octet in octets)) == whole


@pytest.mark.parametrize("message", WHOLE, ids=lambda message: message.name)
def test_a_stream_and_a_datagram_say_the_same(message: Message) -> None:
    """Also where more octets follow: in a stream they are another message, in a datagram they are nothing."""
    ((first, _), _, _) = framed(message.octets + GOOD)
    assert read(first) == read(message.octets)
    if message.is_request and not isinstance(read(message.octets), str):
        assert read(message.octets + GOOD) == read(first)


@pytest.mark.parametrize("name", sorted(BROKEN_FRAMES))
def test_a_message_without_a_length_to_believe_ends_the_stream_at_its_head(name: str) -> None:
    octets = BY_NAME[name].octets
    head = octets.index(b"\r\n\r\n") + 4
    for at in range(1, len(octets)):
        found, rest, fault = framed(octets[:at], octets[at:])
        assert found == []
        assert rest == (octets if at < head else octets[:at]), "nothing is taken after the fault"
        assert "Content-Length" in fault or fault == "not a number"
    assert framed(GOOD + octets)[0] == [GOOD], "what came before is whole"


@pytest.mark.parametrize("octets", [BY_NAME["clerr"].octets, CUT_BADDN], ids=["clerr", "baddn"])
def test_a_message_that_does_not_end_is_awaited(octets: bytes) -> None:
    for at in range(1, len(octets)):
        assert framed(octets[:at], octets[at:]) == ([], octets, "")
    framer = Framer()
    framer.feed(octets)
    assert framer.pending


def test_two_messages_in_one_are_two() -> None:
    octets = BY_NAME["dblreq"].octets
    for at in range(1, len(octets)):
        found, rest, fault = framed(octets[:at], octets[at:])
        assert [message.split()[0] for message in found] == [b"REGISTER", b"INVITE"]
        assert (fault, rest) == ("not SIP", b"C\r\n\r\n"[: len(rest)])
    assert read(found[0]) == read(octets)


@pytest.mark.parametrize("blanks", [b"\r", b"\r\n", b"\r\n\r"])
def test_line_ends_between_messages_are_no_message_begun(blanks: bytes) -> None:
    framer = Framer()
    assert framer.feed(GOOD + blanks) == [GOOD]
    assert not framer.pending
    framer.feed(b"\r\n" * (len(blanks) % 2) + b"O")
    assert framer.pending
