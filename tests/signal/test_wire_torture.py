"""The torture messages of RFC 4475 and RFC 5118, octet for octet, as far as a parser alone can judge them."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from edgesip.signal.wire.grammar import ParseError
from edgesip.signal.wire.message import Request, Response, parse

HERE = Path(__file__).parent.parent / "torture"
INDEX = json.loads((HERE / "index.json").read_text())
MESSAGES: list[dict[str, Any]] = INDEX["rfc4475"] + INDEX["rfc5118"]
BY_NAME = {message["name"]: message for message in MESSAGES}

REJECTED = {entry["name"] for entry in MESSAGES if entry["proxy"]["action"] == "reject"}
FILES = sorted([*HERE.rglob("*.dat"), *HERE.rglob("*.sip")])

# Faults that no parser sees: they are judged by what a request means to the element that gets it.
JUDGED_ELSEWHERE = {"badbranch", "bext01", "zeromf", "bcast"}


def octets(name: str) -> bytes:
    entry = BY_NAME[name]
    name = entry.get("wire_file", entry["file"])
    return (HERE / name).read_bytes()


def read(data: bytes) -> Request | Response:
    """Everything the parser knows how to read in a message, read."""
    message = parse(data)
    headers = message.headers
    assert headers.vias
    for value in (headers.contacts, headers.routes, headers.record_routes, headers.star):
        assert value is not None
    assert headers.max_forwards is None or headers.max_forwards >= 0
    assert headers.expires is None or headers.expires >= 0
    if isinstance(message, Request):
        assert message.ruri.scheme in ("sip", "sips", "tel")
    return message


def request(name: str) -> Request:
    message = read(octets(name))
    assert isinstance(message, Request)
    return message


def test_the_files_are_those_of_the_rfcs() -> None:
    assert len(MESSAGES) == 61
    for entry in MESSAGES:
        assert hashlib.sha256((HERE / entry["file"]).read_bytes()).hexdigest() == entry["sha256"]
        if "wire_file" in entry:
            assert (
                hashlib.sha256((HERE / entry["wire_file"]).read_bytes()).hexdigest() == entry["wire_sha256"]
            )


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_each_file_is_a_message_or_a_parse_error(path: Path) -> None:
    try:
        message = read(path.read_bytes())
    except ParseError:
        return
    assert read(bytes(message)) == parse(bytes(message))


@pytest.mark.parametrize("name", sorted(set(BY_NAME) - JUDGED_ELSEWHERE))
def test_verdicts(name: str) -> None:
    entry = BY_NAME[name]
    verdict = entry["proxy"]
    if verdict["action"] == "accept":
        message = read(octets(name))
        assert isinstance(message, Request if entry["message"] == "request" else Response)
        if isinstance(message, Request):
            assert message.method == entry["method"]
        else:
            assert str(message.status) == entry["status_line_code"]
        return
    with pytest.raises(ParseError) as caught:
        read(octets(name))
    if verdict["action"] == "reject":
        assert caught.value.status in verdict["status"]
    else:
        assert caught.value.request is None


@pytest.mark.parametrize("name", sorted(JUDGED_ELSEWHERE))
def test_messages_judged_elsewhere_are_readable(name: str) -> None:
    assert read(octets(name)).headers.call_id


@pytest.mark.parametrize("name", sorted(REJECTED - JUDGED_ELSEWHERE - {"insuf", "regbadct"}))
def test_what_is_rejected_can_be_answered(name: str) -> None:
    """But for `insuf`, which lacks what an answer is made of, and `regbadct`, whose Contact is read later."""
    with pytest.raises(ParseError) as caught:
        parse(octets(name))
    assert caught.value.request.headers.via.transport in ("UDP", "TCP", "TLS")


def test_wsinv() -> None:
    message = request("wsinv")
    headers = message.headers
    assert (headers.cseq.number, headers.max_forwards) == (9, 68)
    assert [str(via) for via in headers.vias] == [
        "SIP/2.0/UDP 192.0.2.2;branch=390skdjuw",
        "SIP/2.0/TCP spindle.example.com;branch=z9hG4bK9ikj8",
        "SIP/2.0/UDP 192.168.255.111;branch=z9hG4bK30239",
    ]
    assert headers.from_.display == 'J Rosenberg \\"'
    assert (headers.from_.tag, headers.to.tag) == ("98asjd8", "1918181833n")
    assert headers.contacts[0].param("q") == "0.33"
    assert headers.contacts[0].display == 'Quoted string ""'
    assert headers.get("UnknownHeaderWithUnusualValue") == ";;,,;;,;"
    assert headers.get("NewFangledHeader") == "newfangled value continued newfangled value"
    assert headers.routes[0].uri.param("lr") == ""
    assert len(message.body) == 150


def test_intmeth() -> None:
    message = request("intmeth")
    assert message.headers.to.display == "BEL:\x07 NUL:\0 DEL:\x7f"
    assert message.headers.call_id == "intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{"
    assert bytes(message).count("Я".encode()) == octets("intmeth").count("Я".encode())
    value = next(v for k, v in message.headers.fields if k.startswith("extensionHeader"))
    assert value == "\ufeff大停電"


def test_esc01() -> None:
    message = request("esc01")
    assert message.ruri.username == "sips:user@example.com"
    assert message.headers.to.uri.username == "user"
    assert message.headers.contacts[0].uri.param("lr") == ""


def test_escnull() -> None:
    message = request("escnull")
    assert [contact.uri.username for contact in message.headers.contacts] == ["\0", "\0\0"]
    assert message.headers.to.uri.username == "null-\0-null"


def test_esc02() -> None:
    message = request("esc02")
    assert message.method == "RE%47IST%45R"
    assert message.headers.to.display == "%Z%45"
    assert len(message.headers.contacts) == 2
    assert message.headers.get("C%6Fntact") is not None


def test_longreq() -> None:
    vias = request("longreq").headers.vias
    assert [via.host for via in vias] == [f"sip{n}.example.com" for n in range(33, 0, -1)] + [
        "host.example.com"
    ]


def test_dblreq() -> None:
    message = request("dblreq")
    assert (message.method, message.body) == ("REGISTER", b"")
    assert b"INVITE" not in bytes(message)


def test_semiuri() -> None:
    ruri = request("semiuri").ruri
    assert (ruri.username, ruri.host, ruri.params) == ("user;par=u@example.net", "example.com", ())


def test_transports() -> None:
    assert [via.transport for via in request("transports").headers.vias] == [
        "UDP",
        "SCTP",
        "TLS",
        "UNKNOWN",
        "TCP",
    ]


def test_mpart01() -> None:
    data = octets("mpart01")
    body = data.partition(b"\r\n\r\n")[2]
    assert request("mpart01").body == body
    assert len(body) == 553
    assert bytes(request("mpart01")).endswith(body)


def test_unreason() -> None:
    message = read(octets("unreason"))
    assert bytes(message).split(b"\r\n")[0] == octets("unreason").split(b"\r\n")[0]


def test_parameters_inside_and_outside_the_contact_uri() -> None:
    outside, inside = request("cparam01").headers.contacts[0], request("cparam02").headers.contacts[0]
    assert (outside.param("unknownparam"), outside.uri.params) == ("", ())
    assert (inside.param("unknownparam"), inside.uri.params) == (None, (("unknownparam", None),))


def test_regescrt_keeps_the_escaped_route_in_the_uri() -> None:
    assert request("regescrt").headers.contacts[0].uri.headers == "Route=%3Csip:sip.example.com%3E"


def test_inv2543() -> None:
    headers = request("inv2543").headers
    assert (headers.via.branch, headers.from_.tag, headers.max_forwards) == ("", "", None)


def test_ports_of_ipv6_references() -> None:
    assert (request("port-ambiguous").ruri.host, request("port-ambiguous").ruri.port) == (
        "2001:db8::10:5070",
        None,
    )
    assert (request("port-unambiguous").ruri.host, request("port-unambiguous").ruri.port) == (
        "2001:db8::10",
        5070,
    )


def test_received_with_and_without_brackets() -> None:
    for name in ("via-received-param-with-delim", "via-received-param-no-delim"):
        assert request(name).headers.via.received == "2001:db8::9:255"


def test_three_colons() -> None:
    assert request("ipv6-bug-abnf-3-colons").ruri.host == request("ipv6-correct-abnf-2-colons").ruri.host
