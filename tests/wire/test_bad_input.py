"""What no phone would send: each row gets the right refusal or silence, and the next call works."""

from __future__ import annotations

import random
import re

import pytest
from lab.agent import Agent
from lab.calls import open_call
from lab.network import Network
from lab.server import Server
from lab.sip import Message

pytestmark = pytest.mark.wire
_MAX_DATAGRAM = 65507


def _edited(message: Message, pattern: str, new: str) -> bytes:
    """The message with one line replaced ('' takes it away)."""
    text, count = re.subn(rf"(?mi)^{pattern}\r\n", new, message.encode().decode(), count=1)
    assert count == 1, pattern
    return text.encode()


def _requests(agent: Agent) -> dict[str, tuple[bytes, set[int]]]:
    """Name, octets, and the statuses allowed; 0 is silence."""
    options = agent.build("OPTIONS", f"sip:{agent.server[0]}")
    fat = agent.build("OPTIONS", f"sip:{agent.server[0]}", extra=(("Subject", "x" * 64000),))
    sized = Message(options.start, [*options.headers, ("Content-Length", "400")], b"v=0\r\n")
    bad = {400}
    return {
        "Content-Length above the datagram": (sized.encode(), bad),
        "Content-Length below zero": (_edited(sized, r"Content-Length: \d+", "Content-Length: -1\r\n"), bad),
        "Content-Length not a number": (_edited(sized, r"Content-Length: \d+", "Content-Length: x\r\n"), bad),
        "Content-Length below the body": (
            _edited(sized, r"Content-Length: \d+", "Content-Length: 2\r\n"),
            {200},
        ),
        "a header line of 64,000 octets": (fat.encode(), {0, 400, 413}),
        "no CSeq": (_edited(options, r"CSeq: .*", ""), {0, 400}),
        "no Call-ID": (_edited(options, r"Call-ID: .*", ""), {0, 400}),
        "no From": (_edited(options, r"From: .*", ""), {0, 400}),
        "no Via": (_edited(options, r"Via: .*", ""), {0}),
        "CSeq of another method": (_edited(options, r"CSeq: .*", "CSeq: 1 INVITE\r\n"), bad),
        "CSeq of 2^32": (_edited(options, r"CSeq: .*", f"CSeq: {2**32} OPTIONS\r\n"), bad),
        "two Call-IDs": (_edited(options, r"Call-ID: .*", "Call-ID: a\r\nCall-ID: b\r\n"), {0, 400}),
        "SIP version 3": (options.encode().replace(b" SIP/2.0\r\n", b" SIP/3.0\r\n", 1), {505}),
        "an unknown URI scheme": (options.encode().replace(b" sip:", b" bogus:", 1), {416}),
        "no hops left": (_edited(options, r"Max-Forwards: .*", "Max-Forwards: 0\r\n"), {200, 483}),
        "NUL in a header": (options.encode().replace(b"From: <", b"From: \0<", 1), {0, 200, 400}),
    }


def _noise(agent: Agent) -> dict[str, bytes]:
    """Datagrams that must be met with silence."""
    rng = random.Random(2)
    options = agent.build("OPTIONS", f"sip:{agent.server[0]}").encode()
    return {
        "nothing": b"",
        "a CRLF keepalive": b"\r\n\r\n",
        "four NULs": bytes(4),
        "random octets": rng.randbytes(700),
        "64 KiB of random octets": rng.randbytes(_MAX_DATAGRAM),
        "64 KiB of one letter": b"A" * _MAX_DATAGRAM,
        "64 KiB of line ends": b"\r\n" * (_MAX_DATAGRAM // 2),
        "half a start line": options[:9],
        "cut within the first headers": options[:90],
        "a response to nothing": b"SIP/2.0 200 OK\r\n" + options.partition(b"\r\n")[2],
        "a status line alone": b"SIP/2.0 200 OK\r\n\r\n",
        "RTP": b"\x80\x00" + rng.randbytes(170),
    }


def _answer(agent: Agent, data: bytes, wait: float) -> int:
    """The status that comes back, 0 for none."""
    agent.inbox.clear()
    agent.send(data)
    found = agent.receive(lambda message: bool(message.status), wait)
    return found.status if found else 0


def _talk(alice: Agent, bob: Agent) -> None:
    call = open_call(alice, bob, alice.stream(440.0), bob.stream(1000.0))
    call.talk(2.0)
    call.hang_up()


def test_bad_messages_are_refused_or_ignored_and_the_next_call_works(
    server: Server, network: Network
) -> None:
    bob = Agent(network.nat_host("bob", 20), "bob", server.add_user("bob"))
    alice = Agent(network.public_host("alice", 30), "alice", server.add_user("alice"))
    assert bob.register().status == 200
    wrong: dict[str, int] = {}
    for name, data in _noise(alice).items():
        status = _answer(alice, data, 0.15)
        if status:
            wrong[name] = status
    for name, (data, allowed) in _requests(alice).items():
        status = _answer(alice, data, 0.3 if 0 in allowed else 2.0)
        if status not in allowed:
            wrong[name] = status
    assert wrong == {}
    _talk(alice, bob)


@pytest.mark.parametrize(
    "body",
    [
        b"this is no session description",
        b"v=0\r\no=- 1 1 IN IP4 1.2.3.4\r\ns=-\r\nt=0 0\r\nm=audio 99999 RTP/AVP 0\r\nc=IN IP4 1.2.3.4\r\n",
        b"v=0\r\no=- 1 1 IN IP4 1.2.3.4\r\ns=-\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n",
        b"v=0\r\n" + b"m=audio 4000 RTP/AVP 0\r\nc=IN IP4 1.2.3.4\r\n" * 600,
    ],
    ids=["no SDP", "port above 65535", "no connection address", "600 media lines"],
)
def test_an_offer_nobody_can_read_is_refused_and_the_next_call_works(
    server: Server, network: Network, body: bytes
) -> None:
    bob = Agent(network.nat_host("bob", 20), "bob", server.add_user("bob"))
    alice = Agent(network.public_host("alice", 30), "alice", server.add_user("alice"))
    assert bob.register().status == 200
    invite = alice.invite("bob", body)
    refused = alice.expect_response(invite, 300, 699)
    alice.acknowledge_failure(invite, refused)
    assert refused.status in (400, 488)
    assert bob.receive(lambda message: message.method == "INVITE", 0.3) is None
    _talk(alice, bob)
