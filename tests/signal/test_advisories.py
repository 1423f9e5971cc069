"""What brought other servers down, sent to ours: each is refused, dropped or passed on; then a call works.

The messages are made after public advisories: what was wrong in each, not the original octets.
"""

from __future__ import annotations

import pytest
from strict import strictly_read
from talk import SDP, SERVER, Packet, Talk

from edgesip.address import Addr
from edgesip.signal.wire.framer import Framer
from edgesip.signal.wire.grammar import ParseError
from edgesip.signal.wire.message import MAX_MESSAGE, parse

TRANSPORTS = ("udp", "tcp")
LONG = b"a" * 3000


def options(**lines: bytes | None) -> bytes:
    """OPTIONS to the server; each argument replaces the lines of that header, None leaves them out."""
    fields: dict[str, bytes | None] = {
        "via": b"Via: SIP/2.0/UDP 198.51.100.9:5060;branch=z9hG4bKadvisory\r\n",
        "from_": b"From: <sip:eve@203.0.113.1>;tag=1\r\n",
        "to": b"To: <sip:203.0.113.1>\r\n",
        "call_id": b"Call-ID: advisory\r\n",
        "cseq": b"CSeq: 1 OPTIONS\r\n",
        "more": b"",
        "length": b"Content-Length: 0\r\n",
    }
    fields |= lines
    start = b"OPTIONS sip:203.0.113.1 SIP/2.0\r\n"
    return start + b"".join(line for line in fields.values() if line) + b"\r\n"


def via(text: bytes) -> bytes:
    return b"Via: " + text + b"\r\n"


ADVISORIES: dict[str, tuple[bytes, set[int]]] = {
    # Asterisk CVE-2017-9372: the method of CSeq is copied into a buffer of fixed size
    "a CSeq method of 3,000 letters": (options(cseq=b"CSeq: 1 " + LONG + b"\r\n"), {400}),
    "a CSeq method of 3,000 letters that is the request's": (
        options(cseq=b"CSeq: 1 " + LONG + b"\r\n").replace(b"OPTIONS", LONG, 1),
        {407, 400},
    ),
    # Kamailio CVE-2018-8828: a heap overflow by From tag and branch together
    "a From tag of 3,000 letters": (options(from_=b"From: <sip:e@h>;tag=" + LONG + b"\r\n"), {200}),
    "a branch of 3,000 letters": (options(via=via(b"SIP/2.0/UDP h;branch=z9hG4bK" + LONG)), {200}),
    # Kamailio CVE-2018-14767: two To headers, one with an empty tag
    "two To, one with an empty tag": (options(more=b"To: <sip:203.0.113.1>;tag=\r\n"), {400}),
    "an empty To tag": (options(to=b"To: <sip:203.0.113.1>;tag=\r\n"), {200, 400, 481}),
    "an empty To tag without =": (options(to=b"To: <sip:203.0.113.1>;tag\r\n"), {200, 400, 481}),
    # Kamailio CVE-2018-16657, OpenSIPS CVE-2023-27598: Vias that end too early
    "an empty Via": (options(via=via(b"")), {0}),
    "a Via of a comma": (options(via=via(b",")), {0}),
    "a Via without sent-by": (options(via=via(b"SIP/2.0/UDP")), {0}),
    "a Via of spaces after the protocol": (options(via=via(b"SIP/2.0/UDP      ")), {0}),
    "a Via whose second value is cut": (
        options(via=via(b"SIP/2.0/UDP h;branch=z9hG4bKx, SIP/2.0/UDP")),
        {400},
    ),
    "a Via whose branch is empty": (options(via=via(b"SIP/2.0/UDP h;branch=")), {200, 400}),
    "a Via whose branch has no =": (options(via=via(b"SIP/2.0/UDP h;branch")), {200, 400}),
    "a Via whose port is empty": (options(via=via(b"SIP/2.0/UDP h:;branch=z9hG4bKx")), {0}),
    "a Via whose port is too large": (options(via=via(b"SIP/2.0/UDP h:99999;branch=z9hG4bKx")), {0}),
    "a Via whose bracket stays open": (options(via=via(b"SIP/2.0/UDP [::1;branch=z9hG4bKx")), {0}),
    "a Via whose quote stays open": (options(via=via(b'SIP/2.0/UDP h;branch=z9hG4bKx;a="')), {0, 400}),
    "a Via whose rport is no number": (
        options(via=via(b"SIP/2.0/UDP h;branch=z9hG4bKx;rport=x")),
        {200, 400},
    ),
    # Kamailio CVE-2020-27507: fields given twice, with a long tag
    "From twice with a long tag": (options(more=b"f: <sip:e@h>;tag=" + LONG + b"\r\n"), {400}),
    "Call-ID twice": (options(more=b"i: other\r\n"), {400}),
    "CSeq twice": (options(more=b"CSeq: 1 OPTIONS\r\n"), {400}),
    # Kamailio CVE-2020-28361: a blank before the colon hid a header from remove_hf
    "a blank before each colon": (options().replace(b": ", b" : "), {200}),
    # OpenSIPS CVE-2023-28095/28096/28099 and others
    "no CSeq": (options(cseq=None), {0}),
    "a CSeq without a method": (options(cseq=b"CSeq: 1\r\n"), {400}),
    "a CSeq of a method alone": (options(cseq=b"CSeq: OPTIONS\r\n"), {400}),
    "a To that is a quote": (options(to=b'To: "\r\n'), {400}),
    "a To that is <": (options(to=b"To: <\r\n"), {400}),
    "a To without a URI": (options(to=b"To: <>\r\n"), {400}),
    "a From of display name only": (options(from_=b'From: "eve"\r\n'), {400}),
    "an empty From": (options(from_=b"From:\r\n"), {400}),
    "an empty Call-ID": (options(call_id=b"Call-ID:\r\n"), {400}),
    "a Content-Type without a value": (options(more=b"Content-Type:\r\n"), {200}),
    "an Event without a value": (options(more=b"o:\r\n"), {200}),
    "an Expires of 4,301 digits": (options(more=b"Expires: " + b"9" * 4301 + b"\r\n"), {200}),
    "a Max-Forwards of 4,301 digits": (
        options(more=b"Max-Forwards: " + b"9" * 4301 + b"\r\n"),
        {200, 400, 483},
    ),
    "50 Accept headers": (options(more=b"Accept: application/sdp\r\n" * 50), {200}),  # CVE-2018-7284
    "255 header fields": (options(more=b"X: y\r\n" * 249), {200}),
    "257 header fields": (options(more=b"X: y\r\n" * 251), {400}),
    "a line above 8 KiB": (options(more=b"X: " + b"y" * 8200 + b"\r\n"), {400}),
    "the name of a header of 3,000 letters": (options(more=LONG + b": x\r\n"), {200}),
    "a request line of 3,000 letters": (
        options().replace(b"sip:203", b"sip:" + LONG + b"@203", 1),
        {404, 407, 0},
    ),
}


def answers(talk: Talk, octets: bytes, transport: str) -> list[int]:
    """The statuses that came back; nothing goes to anybody else."""
    eve = talk.phone("eve", transport=transport)
    if transport == "udp":
        talk >> Packet(eve, octets)
    else:
        framer = Framer()
        for message in framer.feed(octets):
            talk >> Packet(eve, message)
        if framer.fault is not None:
            talk._step(talk.core.malformed(framer.rest, framer.fault, eve.flow))
    assert all(flow == eve.flow for flow, _ in talk.sent)
    for _, answer in talk.sent:
        assert answer.startswith(b"SIP/2.0 ")
        assert answer.count(b"\r\n\r\n") == 1
    statuses = [int(answer[8:11]) for _, answer in talk.sent]
    talk.sent.clear()
    return statuses


def call(talk: Talk) -> None:
    """A call from register to BYE."""
    alice, bob = talk.phone("alice", nat=True), talk.phone("bob", nat=True)
    talk.register(alice, bob)
    invite, answer, _, _ = talk.answered(alice, bob)
    talk >> alice.within(invite, answer, "BYE")
    talk >> bob.reply(talk.request(bob, "BYE"), 200) << (alice, 200)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("name", ADVISORIES)
def test_one_message_harms_nothing(name: str, transport: str) -> None:
    octets, expected = ADVISORIES[name]
    talk = Talk()
    if transport == "tcp" and "request line" in name:
        expected = {400, 0}  # a first line above 2 KiB ends a stream
    assert set(answers(talk, octets, transport) or [0]) <= expected
    call(talk)


def test_all_of_them_and_then_a_call() -> None:
    talk = Talk()
    for octets, _ in ADVISORIES.values():
        for transport in TRANSPORTS:
            answers(talk, octets, transport)
    call(talk)
    talk.quiet()


GOOD = (b"5", b"05", b"0000000005", b" 5 ", b"\t5")
BAD = (
    b"", b" ", b"+5", b"-5", b"-0", b"-999", b"5,5", b"5 5", b"5;5", b"5.0", b"5e0", b"0x5", b"1_0", b"five",
    b'"5"', b"00000000005", b"2147483653", b"4294967301", b"4294967328", b"9223372036854775813",
    b"18446744073709551621",
    b"9" * 4301, b"\xd9\xa5", b"5\x00", b"5\x0b", b"\xef\xbc\x95", b"6", b"64000",
)  # fmt: skip
HIDDEN = (
    b"OPTIONS sip:203.0.113.1 SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKhidden\r\nCall-ID: hidden\r\n\r\n"
)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("length", GOOD + BAD, ids=lambda length: repr(length[:24]))
def test_content_length_lies_hide_no_second_message(length: bytes, transport: str) -> None:
    """Good ones frame five octets. The others get 400, over TCP with the end of the connection."""
    talk, good = Talk(), length in GOOD
    if transport == "tcp" and length in (b"6", b"64000"):
        framer = Framer()
        assert framer.feed(options(length=b"Content-Length: " + length + b"\r\n") + b"hello") == []
        assert framer.pending
        return
    octets = options(length=b"Content-Length:" + length + b"\r\n") + b"hello"
    assert answers(talk, octets, transport) == [200 if good else 400]
    assert talk.core.counters["core:rcv_requests"] == (1 if good else 0)
    if not good and transport == "tcp":
        framer = Framer()
        assert framer.feed(octets + HIDDEN) == []
        assert framer.fault is not None


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("other", [b"0", b"5", b"05", b"6", b"x", b""])
def test_two_content_lengths_are_refused_over_udp_and_end_a_stream(other: bytes, transport: str) -> None:
    octets = options(length=b"Content-Length: 5\r\nl: " + other + b"\r\n") + b"hello"
    assert answers(Talk(), octets, transport) == [400]


MANY = 10_000


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("name", [b"Via", b"Route", b"Record-Route", b"Contact", b"Accept", b"X"])
def test_ten_thousand_values_are_too_many(name: bytes, transport: str) -> None:
    """In one line, in lines of their own, and in as many lines as may be."""
    value = b"SIP/2.0/UDP h" if name == b"Via" else b"<sip:a>"
    alone = (name + b": " + value + b"\r\n") * MANY
    line = name + b": " + b",".join([value] * (8000 // (len(value) + 1))) + b"\r\n"
    for more in (alone, name + b": " + b",".join([value] * MANY) + b"\r\n", line * 8):
        found = answers(Talk(), options(more=more), transport)
        refused = found in ([400], [513], [])
        assert refused or (found == [200] and name in (b"Accept", b"X")), found


def test_nothing_above_the_largest_message_is_read() -> None:
    with pytest.raises(ParseError) as caught:
        parse(options(more=b"X: y\r\n") + bytes(MAX_MESSAGE))
    assert (caught.value.status, caught.value.request) == (513, None)


REFLECTING = (
    b"SIP/2.0/UDP 255.255.255.255;branch=z9hG4bKx",
    b"SIP/2.0/UDP 224.0.1.75;branch=z9hG4bKx",
    b"SIP/2.0/UDP 0.0.0.0;branch=z9hG4bKx",
    b"SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKx",
    b"SIP/2.0/UDP 192.0.2.66:53;branch=z9hG4bKx",
    b"SIP/2.0/UDP 192.0.2.66;maddr=192.0.2.67;branch=z9hG4bKx",
    b"SIP/2.0/UDP 192.0.2.66;maddr=224.0.1.75;ttl=255;branch=z9hG4bKx",
    b"SIP/2.0/UDP 192.0.2.66;received=192.0.2.67;branch=z9hG4bKx",
    b"SIP/2.0/UDP 192.0.2.66;received=192.0.2.67;rport=53;branch=z9hG4bKx",
    b"SIP/2.0/UDP 192.0.2.66;rport=53;branch=z9hG4bKx",
    b"SIP/2.0/TCP 192.0.2.66;branch=z9hG4bKx",
    b"SIP/2.0/UDP [ff02::1];branch=z9hG4bKx",
    b"SIP/2.0/UDP victim.example;branch=z9hG4bKx",
)


@pytest.mark.parametrize("text", REFLECTING)
def test_answers_go_where_the_packet_came_from_whatever_via_says(text: bytes) -> None:
    """`answers` looks at where they went; here also final answers of a call, and their repetitions."""
    assert answers(Talk(), options(via=via(text)), "udp") == [200]
    talk = Talk()
    alice, bob = talk.phone("alice"), talk.phone("bob")
    talk.register(alice, bob)
    invite = alice.invite("bob", body=SDP)
    own = strictly_read(invite.octets).all(b"Via")[0]
    talk >> Packet(alice, invite.octets.replace(own, text))
    assert {flow.remote for flow, _ in talk.sent} == {alice.at}


@pytest.mark.parametrize("text", REFLECTING)
@pytest.mark.parametrize("ours", [True, False])
def test_responses_that_nobody_asked_for_go_nowhere(text: bytes, ours: bool) -> None:
    talk = Talk()
    top = b"SIP/2.0/UDP %s:5060;branch=z9hG4bKguess" % SERVER.host.encode()
    lines = (via(top) if ours else b"") + via(text)
    response = options(via=lines).replace(b"OPTIONS sip:203.0.113.1 SIP/2.0", b"SIP/2.0 200 OK", 1)
    eve = talk.phone("eve", at=Addr("192.0.2.99", 5060))
    talk >> Packet(eve, response)
    talk.silent().wait(60)
    talk.silent()
