"""What must hold of any octets, one function for each place where they come in.

Each takes octets and raises AssertionError, or whatever else the code below raised, where it does not
hold: hypothesis, atheris and the corpus call the same functions. Knows no fuzzer.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TypeVar

from strict import strictly_read

from edgesip.address import Addr
from edgesip.relay import rtp, sdp
from edgesip.relay.commands import Commands
from edgesip.relay.core import RelayCore, Settings
from edgesip.relay.path import UserPath
from edgesip.relay.sdp import Endpoint, SdpError
from edgesip.signal.guard.digest import Digest, Refused
from edgesip.signal.nat import stun
from edgesip.signal.wire import uri, values
from edgesip.signal.wire.framer import LARGEST, PING, Framer
from edgesip.signal.wire.grammar import ParseError
from edgesip.signal.wire.headers import Headers
from edgesip.signal.wire.message import Request, Response, parse, reply_to

T = TypeVar("T")

MANDATORY = ("via", "vias", "from_", "to", "call_id", "cseq")
TYPED = tuple(name for name, value in vars(Headers).items() if isinstance(value, property))
_ENDPOINTS = (
    Endpoint("203.0.113.5", 20000, 20001, False),
    Endpoint("2001:db8::5", 20002, None, True),
    None,
)
_LISTS = (("contacts", "Contact"), ("routes", "Route"), ("record_routes", "Record-Route"), ("vias", "Via"))
_PHONE = Addr("2001:db8::7", 40000)
_GATE = Digest("edgesip", b"0123456789abcdef")
_PEER = Addr("192.0.2.1", 5060)
_ASKED = Request("REGISTER", "sip:a@b", Headers(()), b"")


def tried(read: Callable[..., T], *arguments: object) -> T | ParseError:
    """What a reader gives, be it its refusal; any other exception is a failure."""
    try:
        return read(*arguments)
    except ParseError as error:
        return error


def text_of(data: bytes) -> str:
    """Octets as the parser sees them inside a header."""
    return data.decode("utf-8", "surrogateescape")


def meaning(message: Request | Response) -> dict[str, object]:
    """All that we read in a message; a refusal counts as its reason."""
    found: dict[str, object] = {"body": message.body}
    if isinstance(message, Request):
        found |= {"method": message.method, "uri": message.uri, "ruri": message.ruri}
    else:
        found |= {"status": message.status, "reason": message.reason}
    found["fields"] = [field for field in message.headers.fields if field[0] != "Content-Length"]
    for name in TYPED:
        if name != "first":
            value = tried(getattr, message.headers, name)
            found[name] = value.reason if isinstance(value, ParseError) else value
    return found


def datagram(data: bytes) -> None:
    """A message or a ParseError; what we write of it, a strict reader and we ourselves read the same."""
    message = tried(parse, data)
    if isinstance(message, ParseError):
        if message.request is not None:
            _answerable(message)
        return
    for name in TYPED:
        fault = isinstance(tried(getattr, message.headers, name), ParseError)
        assert not (fault and name in MANDATORY), name
    for name, _ in message.headers.fields:
        tried(message.headers.values, name)
    written = bytes(message)
    seen = strictly_read(written)
    ours = [field for field in message.headers.fields if field[0] != "Content-Length"]
    assert [(text_of(name), text_of(value)) for name, value in seen.fields[:-1]] == ours
    assert seen.body == message.body
    assert data.endswith(message.body) or message.body in data
    again = parse(written)
    assert meaning(again) == meaning(message)
    assert bytes(again) == written
    if isinstance(message, Request):
        strictly_read(bytes(reply_to(message, 200, to_tag="x")))


def _answerable(error: ParseError) -> None:
    """A refused request that can be answered: without surprises, and with a readable answer."""
    headers = error.request.headers
    for name in MANDATORY:
        getattr(headers, name)
    assert error.request.method != "ACK"
    assert 400 <= error.status < 700
    strictly_read(bytes(reply_to(error.request, error.status, to_tag="x")))


def stream(data: bytes) -> None:
    """The first octet says how the rest is cut; however that is, the same messages come out."""
    step, octets = (data[0] or 1, data[1:]) if data else (1, b"")
    whole = Framer()
    messages = whole.feed(octets)
    pieces = Framer()
    found: list[bytes] = []
    for at in range(0, len(octets), step):
        found += pieces.feed(octets[at : at + step])
        assert len(pieces.rest) <= LARGEST + step
    assert found == messages
    assert (whole.fault is None) == (pieces.fault is None)
    if whole.fault is None:
        assert whole.rest == pieces.rest
        assert whole.pending == pieces.pending
    at = 0
    for message in messages:
        at = octets.index(message, at) + len(message)
        assert message == PING or len(message) <= LARGEST
        if message != PING:
            datagram(message)
            assert Framer().feed(message) == [message]
    datagram(whole.rest)


def one_uri(data: bytes) -> None:
    """A URI that we read, we write so that we read the same; it is equivalent to itself."""
    text = text_of(data)
    for read in (uri.parse_uri, uri.parse_any_uri):
        found = tried(read, text)
        if isinstance(found, ParseError):
            assert found.status in (400, 416)
            continue
        assert read(str(found)) == found
        assert uri.equivalent(found, read(str(found)))
        assert "\r" not in str(found)
        assert "\n" not in str(found)
        assert isinstance(found.username, str | None)
    plain = uri.without_headers(text)
    if not isinstance(tried(uri.parse_uri, text), ParseError):
        assert uri.parse_uri(plain).headers == ""
    tried(uri.parse_host, text)


def header_values(data: bytes) -> None:
    """name-addr, Via and CSeq, alone and as the lists that headers are."""
    text = text_of(data)
    for read in (values.parse_name_addr, values.parse_via, values.parse_cseq):
        value = tried(read, text)
        assert isinstance(value, ParseError) or read(str(value)) == value
    headers = Headers([("Contact", text), ("Route", text), ("Record-Route", text), ("Via", text)])
    for name, field in _LISTS:
        many = tried(getattr, headers, name)
        if isinstance(many, ParseError) or not many:
            continue
        line = ", ".join([str(one) for one in many])
        field = {"contacts": "Contact", "routes": "Route", "record_routes": "Record-Route", "vias": "Via"}[
            name
        ]
        assert getattr(Headers([(field, line)]), name) == many


def session(data: bytes) -> None:
    """SDP: a description or an SdpError; rewritten it has the same lines, and our addresses, and stays so."""
    try:
        read = sdp.parse(data)
    except SdpError:
        return
    lines = [_ENDPOINTS[index % len(_ENDPOINTS)] for index in range(len(read.media))]
    done = read.rewrite(lines)
    again = sdp.parse(done)
    assert again.rewrite(lines) == done
    assert len(again.media) == len(read.media)
    for old, new, where in zip(read.media, again.media, lines, strict=True):
        assert (old.kind, old.proto, old.fmts) == (new.kind, new.proto, new.fmts)
        if where is not None and old.relayed:
            assert new.port == where.port
            assert new.null or new.address == where.host
    if not any(where is not None and old.relayed for old, where in zip(read.media, lines, strict=True)):
        assert done == data


def credentials(data: bytes) -> None:
    """No octets in Authorization are a password."""
    text = text_of(data)
    for value in (text, "Digest " + text, 'Digest realm="edgesip", ' + text):
        assert isinstance(_GATE.check([value], _ASKED, _PEER, lambda name: None, 1.0), Refused)


def media(data: bytes) -> None:
    """A datagram at a media port is of one kind, and its header can be read where it has one."""
    kind = rtp.classify(data)
    if kind is rtp.RTP:
        assert 0 <= rtp.header(data).payload_type < 128
    for secured in (False, True):
        if rtp.is_valid_rtcp(data, secured):
            assert len(data) >= rtp.RTCP_MINIMUM


def binding(data: bytes) -> None:
    """Whatever asks by STUN: an answer is short, can be read, and is never answered itself."""
    answer = stun.answer_to(data, _PHONE)
    if answer is not None:
        assert data[:2] == b"\0\1"
        assert len(answer) <= min(92, len(data) + 44)
        assert answer[4:20] == data[4:20]
        assert stun.attributes_of(answer) is not None
        assert stun.answer_to(answer, _PHONE) is None
        read = stun.read_answer(answer, data[8:20])
        if data[4:8] == stun.COOKIE:
            assert read is not None
            assert read.mapped == _PHONE or read.error in (400, 420)
    found = stun.read_answer(data, data[8:20])
    assert found is None or found.mapped is None or found.mapped.port < 65536


def commanded(data: bytes) -> None:
    """Commands of the rtpproxy protocol, a line each: all are answered, and no port outlives the last one."""
    settings = Settings(True, ("192.0.2.1", "2001:db8::1"), (), 20000, 20199, 60.0, 20)
    core = RelayCore(
        settings,
        bind=lambda pair: True,
        unbind=lambda pair: None,
        path=UserPath(),
        entropy=Random(1).randbytes,
    )
    commands = Commands(core, lambda host: "192.0.2.1", ("unix:/t",))
    for number, line in enumerate(data.split(b"\n")):
        answer = commands.receive(line, _PHONE, float(number))
        assert answer.endswith(b"\n")
        assert answer.count(b"\n") == 1 or b"sessions created: " in answer
    assert commands.ask(["X"], "", 1e6) == b"0\n"
    assert core.ports(1e6)["leased"] == 0
    assert commands.counters["rtpp:sessions"] == 0


TARGETS: dict[str, Callable[[bytes], None]] = {
    "datagram": datagram,
    "stream": stream,
    "uri": one_uri,
    "values": header_values,
    "sdp": session,
    "digest": credentials,
    "media": media,
    "stun": binding,
    "commands": commanded,
}
