"""Header values and the bag of fields that holds them."""

import pytest

from edgesip.signal.wire.grammar import ParseError
from edgesip.signal.wire.headers import MAX_VALUES, Headers, parse_seconds, prepended, replaced
from edgesip.signal.wire.names import canonical
from edgesip.signal.wire.uri import parse_uri
from edgesip.signal.wire.values import CSeq, NameAddr, parse_cseq, parse_name_addr, parse_via


@pytest.mark.parametrize(
    ("text", "display", "uri", "tag"),
    [
        ('"Alice" <sip:alice@example.com>;tag=1', "Alice", "sip:alice@example.com", "1"),
        ('"A \\"quoted\\" <name>, Inc;" <sip:a@b>', 'A "quoted" <name>, Inc;', "sip:a@b", ""),
        ("caller<sip:caller@example.com>;tag=323", "caller", "sip:caller@example.com", "323"),
        ("T. Watson <sip:t@example.org>", "T. Watson", "sip:t@example.org", ""),
        ("Жук <sip:j@example.org>", "Жук", "sip:j@example.org", ""),
        ("<sip:a@b;lr>;tag=x", "", "sip:a@b;lr", "x"),
        ("sip:a@b;tag=x", "", "sip:a@b", "x"),
        ("  sip:a@b  ;  TAG  =  x", "", "sip:a@b", "x"),
        ('"x"<sip:a@b>  ; tag=x', "x", "sip:a@b", "x"),
        ("<tel:+15550100>", "", "tel:+15550100", ""),
        ("isbn:2983792873", "", "isbn:2983792873", ""),
    ],
)
def test_name_addr(text: str, display: str, uri: str, tag: str) -> None:
    value = parse_name_addr(text)
    assert (value.display, str(value.uri), value.tag) == (display, uri, tag)
    assert parse_name_addr(str(value)) == value


def test_parameters_of_an_addr_spec_belong_to_the_header() -> None:
    plain = parse_name_addr("sip:a@b;expires=60")
    inside = parse_name_addr("<sip:a@b;expires=60>")
    assert (plain.param("Expires"), plain.uri.params) == ("60", ())
    assert (inside.param("expires"), inside.uri.param("expires")) == (None, "60")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "*",
        "alice",
        "<>",
        "<sip:a@b",
        '"a <sip:a@b>',
        '"a" sip:a@b',
        '"a"',
        "Bell, Alexander <sip:a@b>",
        "<sip:a@b> x",
        "<sip:a@b>,<sip:c@d>",
        "< sip:a@b >",
        "sip:a@b?x=y",
        "sip:a@b,sip:c@d",
        "<sip:a@b>;tag=1;tag=2",
        "sip:a b@c",
        "a;b <sip:a@b>",
    ],
)
def test_bad_name_addr(text: str) -> None:
    with pytest.raises(ParseError):
        parse_name_addr(text)


def test_a_plain_via() -> None:
    via = parse_via("SIP/2.0/UDP 192.0.2.1:5061;branch=z9hG4bKabc;rport;received=198.51.100.7")
    assert (via.transport, via.host, via.port) == ("UDP", "192.0.2.1", 5061)
    assert (via.branch, via.rport, via.received) == ("z9hG4bKabc", "", "198.51.100.7")
    assert str(via) == "SIP/2.0/UDP 192.0.2.1:5061;branch=z9hG4bKabc;rport;received=198.51.100.7"


def test_a_via_without_parameters() -> None:
    via = parse_via("SIP/2.0/tcp Spindle.Example.com")
    assert (via.transport, via.host, via.port) == ("TCP", "spindle.example.com", None)
    assert (via.branch, via.rport, via.received, via.param("maddr")) == ("", None, None, None)


@pytest.mark.parametrize(
    "text",
    [
        "SIP / 2.0 / UDP 192.0.2.2 ; branch = 390",
        "sip/2.0/udp\t192.0.2.2;branch=390",
        "SIP  /    2.0   /UDP    192.0.2.2;branch=390",
        "SIP/2.0/UDP  192.0.2.2;;branch=390",
    ],
)
def test_whitespace_wherever_a_via_may_have_it(text: str) -> None:
    via = parse_via(text)
    assert str(via) == "SIP/2.0/UDP 192.0.2.2;branch=390"


def test_via_with_ipv6_and_a_spaced_port() -> None:
    via = parse_via("SIP/2.0/UDP [2001:db8::9:1] : 5070;received=[2001:db8::9:255];maddr=239.0.0.1;rport=9")
    assert (via.host, via.port, via.received) == ("2001:db8::9:1", 5070, "2001:db8::9:255")
    assert (via.param("MADDR"), via.rport) == ("239.0.0.1", "9")
    assert str(via).startswith("SIP/2.0/UDP [2001:db8::9:1]:5070;")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SIP/2.0/UDP",
        "SIP/2.0/UDP ",
        "SIP/2.0 host",
        "HTTP/2.0/UDP host",
        "ſIP/2.0/UDP host",
        "SIP/2.0/U:P host",
        "SIP/2.0/UDP host name",
        "SIP/2.0/UDP 2001:db8::1",
        "SIP/2.0/UDP host:99999",
        "SIP/2.0/UDP host;branch=a;branch=b",
        "SIP/2.0/UDP host;branch=a b;=c",
    ],
)
def test_bad_vias(text: str) -> None:
    with pytest.raises(ParseError):
        parse_via(text)


def test_cseq() -> None:
    assert parse_cseq("1 INVITE") == CSeq(1, "INVITE")
    assert parse_cseq("0009 \t NEWMETHOD") == CSeq(9, "NEWMETHOD")
    assert parse_cseq("2147483647 BYE").number == 2**31 - 1
    assert str(CSeq(7, "ACK")) == "7 ACK"


@pytest.mark.parametrize(
    "text", ["", "1", "INVITE", "1 ", "x INVITE", "1 IN VITE", "2147483648 BYE", "-1 BYE", "٣ BYE"]
)
def test_bad_cseq(text: str) -> None:
    with pytest.raises(ParseError):
        parse_cseq(text)


@pytest.mark.parametrize(
    ("spelled", "name"),
    [
        ("v", "Via"),
        ("V", "Via"),
        ("i", "Call-ID"),
        ("cALL-iD", "Call-ID"),
        ("www-authenticate", "WWW-Authenticate"),
        ("CSEQ \t", "CSeq"),
        ("X-mine", "X-mine"),
        ("l", "Content-Length"),
    ],
)
def test_canonical_names(spelled: str, name: str) -> None:
    assert canonical(spelled) == name


@pytest.mark.parametrize("name", ["", " Via", "V ia", "Vía", "\u212a", "a:b", "a\0", "\tx"])
def test_bad_names(name: str) -> None:
    with pytest.raises(ParseError):
        canonical(name)


FIELDS = (
    ("Via", "SIP/2.0/UDP a.example;branch=1, SIP/2.0/UDP b.example;branch=2"),
    ("Via", "SIP/2.0/TCP c.example;branch=3"),
    ("Route", "<sip:p1.example;lr>,<sip:p2.example;lr>"),
    ("Route", "<sip:p3.example;lr>"),
    ("From", "<sip:alice@example.com>;tag=a"),
    ("To", "<sip:bob@example.com>"),
    ("Call-ID", "c@d"),
    ("CSeq", "1 INVITE"),
    ("Contact", '"Alice, at home" <sip:alice@192.0.2.1;x=1,2>;q=0.5, <sip:alice@192.0.2.2>'),
    ("Supported", "replaces,, outbound ,"),
    ("Authorization", 'Digest username="a", realm="b"'),
    ("X-List", "a, b"),
    ("Content-Type", "Application/SDP ; charset=utf-8"),
)


def test_vias_over_lines_and_commas() -> None:
    headers = Headers(FIELDS)
    assert [via.branch for via in headers.vias] == ["1", "2", "3"]
    assert headers.via is headers.vias[0]


def test_get_all_and_values() -> None:
    headers = Headers(FIELDS)
    assert headers.get("call-id") == headers.get("i") == headers.get("Call-ID") == "c@d"
    assert headers.get("x-list") == "a, b"
    assert headers.get("X-None") is None
    assert headers.get("Expires") is None
    assert "to" in headers
    assert "Subject" not in headers
    assert headers.all("route") == ["<sip:p1.example;lr>,<sip:p2.example;lr>", "<sip:p3.example;lr>"]
    assert headers.all("Subject") == []
    assert headers.values("k") == ["replaces", "outbound"]
    assert len(headers.values("Route")) == 3
    assert headers.values("Authorization") == ['Digest username="a", realm="b"']
    assert headers.values("X-List") == ["a, b"]


def test_typed_values() -> None:
    headers = Headers(FIELDS)
    assert headers.from_ == NameAddr("", parse_uri("sip:alice@example.com"), (("tag", "a"),))
    assert (headers.to.tag, headers.call_id, headers.cseq) == ("", "c@d", CSeq(1, "INVITE"))
    assert [route.uri.host for route in headers.routes] == ["p1.example", "p2.example", "p3.example"]
    assert [contact.uri.host for contact in headers.contacts] == ["192.0.2.1", "192.0.2.2"]
    assert headers.contacts[0].display == "Alice, at home"
    assert (headers.star, headers.record_routes, headers.content_type) == (False, (), "application/sdp")
    assert (headers.max_forwards, headers.expires) == (None, None)


def test_typed_values_are_worked_out_once() -> None:
    headers = Headers(FIELDS)
    for name in (
        "via",
        "vias",
        "from_",
        "to",
        "call_id",
        "cseq",
        "contacts",
        "routes",
        "star",
        "content_type",
    ):
        assert getattr(headers, name) is getattr(headers, name)


@pytest.mark.parametrize("name", ["via", "vias", "from_", "to", "call_id", "cseq"])
def test_missing_mandatory_values_are_errors(name: str) -> None:
    with pytest.raises(ParseError):
        getattr(Headers(()), name)


def test_star() -> None:
    headers = Headers([("Contact", "*")])
    assert headers.star
    assert headers.contacts == ()
    with pytest.raises(ParseError):
        _ = Headers([("Contact", "*"), ("Contact", "<sip:a@b>")]).contacts


def test_routes_must_be_sip() -> None:
    with pytest.raises(ParseError):
        _ = Headers([("Route", "<http://example.com>")]).routes
    with pytest.raises(ParseError):
        _ = Headers([("Record-Route", "<sip:a@b")]).record_routes


def test_too_many_values() -> None:
    fields = [("Contact", ",".join(["<sip:a@b>"] * (MAX_VALUES // 2)))] * 3
    with pytest.raises(ParseError):
        _ = Headers(fields).contacts
    vias = [("Via", ",".join(["SIP/2.0/UDP a"] * (MAX_VALUES // 2)))] * 3
    with pytest.raises(ParseError):
        _ = Headers(vias).vias


@pytest.mark.parametrize(
    ("text", "value"), [("70", 70), ("0068", 68), ("0", 0), ("256", None), ("9" * 4400, None)]
)
def test_max_forwards(text: str, value: int | None) -> None:
    assert Headers([("Max-Forwards", text)]).max_forwards == value


@pytest.mark.parametrize("text", ["", "-1", "+70", "7 0", "x", "٣"])
def test_bad_max_forwards(text: str) -> None:
    with pytest.raises(ParseError):
        _ = Headers([("Max-Forwards", text)]).max_forwards


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("3600", 3600),
        ("0", 0),
        ("00060", 60),
        ("4294967296", 2**32 - 1),
        ("9" * 4400, 2**32 - 1),
        ("x", None),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("²", None),
    ],
)
def test_expires(text: str, seconds: int | None) -> None:
    assert parse_seconds(text) == seconds
    assert Headers([("Expires", text)]).expires == seconds


def test_replaced_puts_new_lines_in_place_of_the_first() -> None:
    fields = [("Via", "1"), ("Route", "a"), ("To", "t"), ("Route", "b")]
    assert replaced(fields, "route", ["x", "y"]) == [
        ("Via", "1"),
        ("Route", "x"),
        ("Route", "y"),
        ("To", "t"),
    ]
    assert replaced(fields, "Route", []) == [("Via", "1"), ("To", "t")]
    assert replaced(fields, "Expires", ["9"]) == [*fields, ("Expires", "9")]
    assert replaced([("x-A", "1")], "X-a", ["2"]) == [("X-a", "2")]
    assert len(fields) == 4


def test_prepended() -> None:
    fields = [("To", "t"), ("Via", "1"), ("Record-Route", "r")]
    assert prepended(fields, "v", "0")[1:3] == [("Via", "0"), ("Via", "1")]
    assert prepended(fields, "Record-Route", "s")[2:] == [("Record-Route", "s"), ("Record-Route", "r")]
    assert prepended([("To", "t")], "Via", "0") == [("Via", "0"), ("To", "t")]
    assert prepended([("To", "t")], "Route", "r") == [("To", "t"), ("Route", "r")]


def test_headers_are_compared_by_their_fields() -> None:
    assert Headers(FIELDS) == Headers(list(FIELDS))
    assert hash(Headers(FIELDS)) == hash(Headers(FIELDS))
    assert Headers(FIELDS) != Headers(FIELDS[1:])
    assert Headers(FIELDS) != FIELDS
    assert "Call-ID" in repr(Headers(FIELDS))
