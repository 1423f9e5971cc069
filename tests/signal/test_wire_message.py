"""Whole messages: reading a datagram, writing it again, answering it."""

import tracemalloc

import pytest

from edgesip.signal.wire.grammar import ParseError
from edgesip.signal.wire.headers import Headers, replaced
from edgesip.signal.wire.message import MAX_FIELDS, MAX_LINE, MAX_MESSAGE, Request, Response, parse, reply_to
from edgesip.signal.wire.values import CSeq

INVITE = b"""INVITE sip:bob@example.com SIP/2.0
Via: SIP/2.0/UDP 192.168.1.10:5060;rport;branch=z9hG4bK776
Max-Forwards: 70
From: "Alice" <sip:alice@example.com>;tag=1928
To: <sip:bob@example.com>
Call-ID: a84b4c76e66710
CSeq: 314159 INVITE
Contact: <sip:alice@192.168.1.10:5060>
X-Colour: blue
Content-Type: application/sdp
Content-Length: 5

v=0
""".replace(b"\n", b"\r\n")

RINGING = b"""SIP/2.0 180 Ringing
Via: SIP/2.0/UDP 192.168.1.10:5060;rport;branch=z9hG4bK776
From: "Alice" <sip:alice@example.com>;tag=1928
To: <sip:bob@example.com>;tag=b
Call-ID: a84b4c76e66710
CSeq: 314159 INVITE
Content-Length: 0

""".replace(b"\n", b"\r\n")


def request(data: bytes) -> Request:
    message = parse(data)
    assert isinstance(message, Request)
    return message


def response(data: bytes) -> Response:
    message = parse(data)
    assert isinstance(message, Response)
    return message


def refusal(data: bytes) -> ParseError:
    with pytest.raises(ParseError) as caught:
        parse(data)
    return caught.value


def test_an_invite() -> None:
    invite = request(INVITE)
    assert (invite.method, invite.uri, invite.body) == ("INVITE", "sip:bob@example.com", b"v=0\r\n")
    assert invite.ruri.user == "bob"
    assert invite.ruri is invite.ruri
    assert invite.headers.get("x-colour") == "blue"
    assert len(invite.headers.fields) == 10
    assert bytes(invite) == INVITE


def test_a_response() -> None:
    ringing = response(RINGING)
    assert (ringing.status, ringing.reason, ringing.body) == (180, "Ringing", b"")
    assert bytes(ringing) == RINGING


def test_messages_are_values() -> None:
    invite = request(INVITE)
    assert invite == request(INVITE)
    assert hash(invite) == hash(request(INVITE))
    other = Request(invite.method, "sip:carol@example.com", invite.headers, invite.body)
    assert other != invite
    assert other.ruri.user == "carol"
    assert invite.ruri.user == "bob"


@pytest.mark.parametrize("octets", [b"", INVITE])
def test_a_packed_request_is_the_same_request(octets: bytes) -> None:
    request = parse(INVITE)
    assert isinstance(request, Request)
    request.pack(octets)
    assert bytes(request) == INVITE
    assert (request.method, request.uri, request.body) == ("INVITE", "sip:bob@example.com", b"v=0\r\n")
    request.pack()
    assert request == parse(INVITE)
    assert request.headers.call_id == "a84b4c76e66710"
    assert request.ruri.host == "example.com"
    request.pack()
    assert [value for name, value in request.headers.fields if name == "X-Colour"] == ["blue"]


def test_a_packed_request_keeps_its_body_once() -> None:
    request = Request("MESSAGE", "sip:b@b", Headers([("Call-ID", "a")]), bytes(50_000))
    octets = bytes(request)
    tracemalloc.start()
    try:
        request.pack()
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert bytes(request) == octets
    assert taken < 1000


def test_odd_octets_survive_being_packed() -> None:
    request = Request("INVITE", "sip:b@b", Headers([("Subject", ""), ("X-Odd", "a: b\udcff"), ("Via", "")]))
    request.pack()
    assert request.headers.fields[:3] == (("Subject", ""), ("X-Odd", "a: b\udcff"), ("Via", ""))


def test_writing_counts_the_body_and_puts_content_length_last() -> None:
    invite = request(INVITE)
    longer = Request(invite.method, invite.uri, invite.headers, b"0123456789")
    assert bytes(longer).endswith(b"Content-Length: 10\r\n\r\n0123456789")
    assert bytes(longer).count(b"Content-Length") == 1
    bare = Request("OPTIONS", "sip:a@b.example", Headers(()))
    assert bytes(bare) == b"OPTIONS sip:a@b.example SIP/2.0\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize("value", ["a\r\nRoute: <sip:evil>", "a\nb", "a\rb", "\r\n"])
def test_a_line_break_can_never_be_written_into_a_field(value: str) -> None:
    invite = request(INVITE)
    headers = Headers(replaced(invite.headers.fields, "X-Colour", [value]))
    with pytest.raises(ValueError, match="line break"):
        bytes(Request(invite.method, invite.uri, headers, invite.body))
    with pytest.raises(ValueError, match="line break"):
        bytes(Request(invite.method, "sip:" + value, invite.headers, invite.body))


def test_octets_that_are_no_utf8_pass_unchanged() -> None:
    data = INVITE.replace(b"blue", b"bl\xff\xc3\xa9\xe9").replace(b"Alice", b"\xd0\x96\xff")
    assert bytes(request(data)) == data


def test_leading_line_ends_are_ignored() -> None:
    assert request(b"\r\n\r\n" + INVITE) == request(INVITE)


def test_bare_line_feeds_are_line_ends() -> None:
    data = INVITE.replace(b"\r\n", b"\n").replace(b"Content-Length: 5\n", b"Content-Length: 4\n")
    assert request(data).headers.fields[:-1] == request(INVITE).headers.fields[:-1]
    assert request(data).body == b"v=0\n"


@pytest.mark.parametrize("gap", [b"\n\n", b"\r\n\n", b"\n\r\n"])
def test_the_first_empty_line_ends_the_head_however_it_is_spelled(gap: bytes) -> None:
    head, _, body = INVITE.partition(b"\r\n\r\n")
    smuggled = head + gap + body + b"X-More: 1\r\n\r\nX: 2\r\n\r\n"
    assert request(smuggled).headers.get("X-More") is None
    assert request(smuggled).body == body


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        (b"X-Colour : red", "X-Colour", "red"),
        (b"X-Colour\t:red", "X-Colour", "red"),
        (b"X-Colour:red \t", "X-Colour", "red"),
        (b"X-Colour:", "X-Colour", ""),
        (b"x-colour: a:b: c", "X-Colour", "a:b: c"),
        (b"s :  hello", "Subject", "hello"),
        (b"X-Colour: one\r\n two", "X-Colour", "one two"),
        (b"X-Colour: one \t\r\n\t  two\r\n \r\n three", "X-Colour", "one two three"),
        (b"X-Colour:\r\n two", "X-Colour", "two"),
        (b"X-Colour\r\n : two", "X-Colour", "two"),
        (b'X-Colour: "a\\\0b"', "X-Colour", '"a\\\0b"'),
        (b"X-Colour: \xc2\xa0", "X-Colour", "\xa0"),
        (b"X-Colour: a\x0bb\x85", "X-Colour", "a\x0bb\udc85"),
    ],
)
def test_ways_to_write_a_field(line: bytes, name: str, value: str) -> None:
    message = request(INVITE.replace(b"X-Colour: blue", line))
    assert message.headers.get(name) == value
    assert len(message.headers.fields) == 10
    assert request(bytes(message)) == message


@pytest.mark.parametrize(
    "line",
    [
        b"X-Colour",
        b": red",
        b"X Colour: red",
        b"X-Colo\xc3\xbcr: red",
        b"X-Colour: r\0ed",
        b'X-Colour: "r\0ed"',
        b"X-Colour\0: red",
        b"X-Colour: r\red",
        b"X-Colour: red\r",
        b"X-Colour\r: red",
        b"\rX-Colour: red",
        b"X-Colour: " + b"x" * MAX_LINE,
        b"X-Colour: " + b"x\r\n " * (MAX_LINE // 2),
        b"\r\n".join([b"X: y"] * MAX_FIELDS),
        b"To: <sip:carol@example.com>",
        b"t: <sip:carol@example.com>",
        b"f: <sip:carol@example.com>",
        b"i: x",
        b"CSEQ: 314159 INVITE",
        b"l: 5",
        b"Via: SIP/2.0/UDP",
        b"Via: SIP/2.0/UDP a.example,,SIP/2.0/UDP b.example",
    ],
)
def test_faults_that_still_can_be_answered(line: bytes) -> None:
    error = refusal(INVITE.replace(b"X-Colour: blue", line))
    assert error.status == 400
    assert isinstance(error.request, Request)
    answer = reply_to(error.request, error.status, to_tag="x")
    assert (answer.status, answer.reason, answer.headers.via.branch) == (400, "Bad Request", "z9hG4bK776")
    assert answer.headers.to.tag == "x"
    assert bytes(answer).startswith(b"SIP/2.0 400 Bad Request\r\nVia: SIP/2.0/UDP 192.168.1.10:5060;rport;")


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        (b"INVITE sip:bob@example.com SIP/2.0", b"INVITE sip:bob@example.com SIP/7.0", 505),
        (b"INVITE sip:bob@example.com SIP/2.0", b"INVITE sip:bob@example.com SIP/2", 400),
        (b"INVITE sip:bob@example.com SIP/2.0", b"INVITE sip:bob@example.com HTTP/1.1", 400),
        (b"INVITE sip:bob@example.com SIP/2.0", b"INVITE sip:bob@example.com", 400),
        (b"INVITE sip:bob@example.com SIP/2.0", b"INVITE  sip:bob@example.com SIP/2.0", 400),
        (b"INVITE sip:bob@example.com SIP/2.0", b"INVITE sip:bob@example.com SIP/2.0 ", 400),
        (b"INVITE sip:bob@example.com SIP/2.0", b"INVITE sip:bob@example.com SIP/2.0\r\n x", 400),
        (b"sip:bob@example.com SIP/2.0", b"sip:bob@exa\0mple.com SIP/2.0", 400),
        (b"sip:bob@example.com SIP/2.0", b"sip:bob@exa\rmple.com SIP/2.0", 400),
        (b"sip:bob@example.com SIP/2.0", b"sip:bob@example.com?Route=x SIP/2.0", 400),
        (b"sip:bob@example.com SIP/2.0", b"<sip:bob@example.com> SIP/2.0", 400),
        (b"sip:bob@example.com SIP/2.0", b"mailto:bob@example.com SIP/2.0", 416),
        (b"314159 INVITE", b"314159 BYE", 400),
        (b"314159 INVITE", b"2147483648 INVITE", 400),
        (b"314159 INVITE", b"-1 INVITE", 400),
        (b'"Alice" <sip', b'"Alice <sip', 400),
        (b"To: <sip:bob", b"To: < sip:bob", 400),
    ],
)
def test_faults_of_what_a_request_must_have(old: bytes, new: bytes, status: int) -> None:
    assert old in INVITE
    error = refusal(INVITE.replace(old, new))
    assert error.status == status
    assert error.request.headers.via.branch == "z9hG4bK776"
    assert bytes(reply_to(error.request, status, to_tag="x")).startswith(b"SIP/2.0 %d " % status)


def test_what_cannot_be_read_in_a_faulty_request_reads_as_nothing_but_is_copied() -> None:
    data = INVITE.replace(b'"Alice" <sip', b'"Alice <sip').replace(b"314159 INVITE", b"-1 INVITE")
    data = data.replace(b"To: <sip:bob@example.com>", b"To: Bob, <sip:bob@example.com>")
    headers = refusal(data.replace(b"X-Colour: blue", b"Via: ,")).request.headers
    assert (headers.from_.tag, headers.to.tag, headers.cseq) == ("", "", CSeq(0, "INVITE"))
    assert headers.vias == (headers.via,)
    answer = bytes(reply_to(refusal(data).request, 400, to_tag="x"))
    assert b'\r\nFrom: "Alice <sip:alice@example.com>;tag=1928\r\n' in answer
    assert b"\r\nTo: Bob, <sip:bob@example.com>;tag=x\r\n" in answer
    assert b"\r\nCSeq: -1 INVITE\r\n" in answer


def without(name: bytes) -> ParseError:
    lines = [line for line in INVITE.split(b"\r\n") if not line.startswith(name + b":")]
    error = refusal(b"\r\n".join(lines))
    assert error.status == 400
    assert name.decode() in error.reason
    return error


@pytest.mark.parametrize("name", [b"Via", b"CSeq"])
def test_a_request_that_cannot_be_answered(name: bytes) -> None:
    assert without(name).request is None


@pytest.mark.parametrize("name", [b"From", b"To", b"Call-ID"])
def test_an_answer_holds_what_can_be_copied(name: bytes) -> None:
    faulty = without(name).request
    headers = faulty.headers
    assert name.decode() not in headers
    assert isinstance(headers.call_id + headers.from_.tag + headers.to.tag, str)
    answer = bytes(reply_to(faulty, 400, to_tag="x"))
    assert answer.startswith(b"SIP/2.0 400 ")
    assert b"\r\n" + name + b":" not in answer
    assert b"\r\nCSeq: 314159 INVITE\r\n" in answer


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n\r\n",
        b"\0\0\0\0",
        b"x",
        b"\r",
        b"INVITE",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        INVITE.replace(b"Via: SIP/2.0/UDP", b"Via: SIP/2.0"),
        INVITE.replace(b"INVITE", b"ACK").replace(b"70", b"7\0"),
        INVITE.replace(b"INVITE", b"INV:ITE"),
        b"a" * (MAX_MESSAGE + 1),
        INVITE[:200],
    ],
)
def test_silence(data: bytes) -> None:
    assert refusal(data).request is None


def test_a_cut_head_is_answered_by_what_was_whole() -> None:
    cut = INVITE[: INVITE.index(b"Content-Type") + 5]
    error = refusal(cut)
    assert error.reason == "no end of headers"
    assert error.request.headers.fields[-1] == ("X-Colour", "blue")


@pytest.mark.parametrize("length", ["0", "3", "5", "0000000005"])
def test_a_body_longer_than_its_length_is_cut(length: str) -> None:
    data = INVITE.replace(b"Content-Length: 5", b"Content-Length: " + length.encode())
    assert request(data).body == b"v=0\r\n"[: int(length)]


def test_no_length_means_the_rest_of_the_datagram() -> None:
    assert request(INVITE.replace(b"Content-Length: 5\r\n", b"") + b"more").body == b"v=0\r\nmore"


@pytest.mark.parametrize(
    "length",
    [
        "6", "65537", "-999", "+5", "5 5", "5,5", "5;x", "0x5", "5.0", "1e1", "", "five", "٥", "5\x0b",
        "00000000005", "4294967295", "4294967296", "4294967301", "4294967328", "2147483648",
        "9223372036854775808", "18446744073709551621", "9" * 5000, "_5", "5_0", "-0", "(5)", "5\\", "²",
    ],
)  # fmt: skip
def test_content_length_lies(length: str) -> None:
    error = refusal(INVITE.replace(b"Content-Length: 5", f"Content-Length: {length}".encode()))
    assert (error.status, error.request.method) == (400, "INVITE")


@pytest.mark.parametrize(
    ("line", "status", "reason"),
    [
        ("SIP/2.0 100 ", 100, ""),
        ("SIP/2.0 100", 100, ""),
        ("sip/2.0 200 = 2**3 * 5**2 Ж", 200, "= 2**3 * 5**2 Ж"),
        ("SIP/2.0 699 x", 699, "x"),
    ],
)
def test_status_lines(line: str, status: int, reason: str) -> None:
    message = response(RINGING.replace(b"SIP/2.0 180 Ringing", line.encode()))
    assert (message.status, message.reason) == (status, reason)
    assert response(bytes(message)) == message


@pytest.mark.parametrize(
    "line",
    ["SIP/2.0 4294967301 x", "SIP/2.0 99 x", "SIP/2.0 700 x", "SIP/2.0 +18 x", "SIP/2.0",
     "SIP/3.0 200 OK", "SIP/2.0 ٣٣٣ x", "SIP/x 200 OK", "SIP/2.0 200 O\0K"],
)  # fmt: skip
def test_bad_responses_are_never_answered(line: str) -> None:
    assert refusal(RINGING.replace(b"SIP/2.0 180 Ringing", line.encode())).request is None


def test_a_response_needs_its_headers_too() -> None:
    assert refusal(RINGING.replace(b"Via:", b"Vi:")).request is None
    assert refusal(RINGING.replace(b"314159 ", b"36893488147419103232 ")).request is None
    assert refusal(RINGING.replace(b"Length: 0", b"Length: 1")).request is None


def test_a_reply_copies_what_the_rfc_says() -> None:
    data = INVITE.replace(
        b"Max-Forwards: 70\r\n",
        b"Via: SIP/2.0/UDP a.example;branch=2, SIP/2.0/UDP b.example;branch=3\r\n"
        b"Record-Route: <sip:p.example;lr>\r\nTimestamp: 54\r\n",
    )
    invite = request(data)
    trying = reply_to(invite, 100, to_tag="x")
    assert [name for name, _ in trying.headers.fields] == [
        "Via",
        "Via",
        "From",
        "To",
        "Call-ID",
        "CSeq",
        "Timestamp",
    ]
    assert trying.headers.to.tag == ""
    ringing = reply_to(invite, 180, to_tag="x", headers=[("Contact", "<sip:b@c>")])
    assert [via.branch for via in ringing.headers.vias] == ["z9hG4bK776", "2", "3"]
    assert (ringing.reason, ringing.headers.to.tag) == ("Ringing", "x")
    assert (ringing.headers.get("Record-Route"), ringing.headers.get("Timestamp")) == (
        "<sip:p.example;lr>",
        None,
    )
    assert ringing.headers.get("Contact") == "<sip:b@c>"
    busy = reply_to(invite, 486, "Not now", to_tag="x", body=b"why")
    assert (busy.reason, busy.body, busy.headers.get("Record-Route")) == ("Not now", b"why", None)
    assert response(bytes(busy)).headers.to.tag == "x"


def test_a_reply_keeps_a_tag_that_is_there() -> None:
    invite = request(INVITE.replace(b"To: <sip:bob@example.com>", b"To: <sip:bob@example.com>;tag=old"))
    assert reply_to(invite, 200, to_tag="new").headers.to.tag == "old"


def test_a_reply_to_an_addr_spec_to_tags_the_header() -> None:
    invite = request(INVITE.replace(b"To: <sip:bob@example.com>", b"To: sip:bob@example.com"))
    assert reply_to(invite, 404, to_tag="new").headers.get("To") == "sip:bob@example.com;tag=new"


def test_only_dialog_making_requests_get_record_route() -> None:
    bye = request(
        INVITE.replace(b"INVITE", b"MESSAGE").replace(b"X-Colour: blue", b"Record-Route: <sip:p;lr>")
    )
    assert reply_to(bye, 200).headers.get("Record-Route") is None


def test_an_unknown_status_has_some_reason() -> None:
    assert reply_to(request(INVITE), 299).reason == "Unknown"
