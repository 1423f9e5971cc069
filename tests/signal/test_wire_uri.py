"""URIs: reading, writing, editing, comparing."""

import pytest

from edgesip.signal.wire.grammar import ParseError
from edgesip.signal.wire.uri import Uri, equivalent, parse_any_uri, parse_host, parse_uri


def test_every_part_of_a_sip_uri() -> None:
    uri = parse_uri("SIP:alice:secret@Example.COM:5080;transport=tcp;lr;Alias=1.2.3.4~5060~1?subject=a&x=y")
    assert uri == Uri(
        "sip",
        "alice",
        "secret",
        "example.com",
        5080,
        (("transport", "tcp"), ("lr", None), ("Alias", "1.2.3.4~5060~1")),
        "subject=a&x=y",
    )
    assert uri.param("LR") == ""
    assert uri.param("alias") == "1.2.3.4~5060~1"
    assert uri.param("maddr") is None
    assert str(uri) == (
        "sip:alice:secret@example.com:5080;transport=tcp;lr;Alias=1.2.3.4~5060~1?subject=a&x=y"
    )


@pytest.mark.parametrize(
    "text",
    [
        "sip:example.com",
        "sips:1000@10.0.0.1",
        "sip:a@[2001:db8::10]:5070;lr",
        "sip:a@[::ffff:192.0.2.1]",
        "sip:+1(555)@host_name.example.",
        "sip:user;par=u%40example.net@example.com",
        "sip:100@h;maddr=239.1.2.3;ttl=15;lr=on",
        "tel:+1-212-555-0100;phone-context=example.com",
        "tel:*21#",
    ],
)
def test_str_gives_back_what_was_read(text: str) -> None:
    assert str(parse_uri(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sip",
        "sip:",
        ":x",
        "1sip:x",
        "<sip:a@b>",
        "sip:@b",
        "sip:a@",
        "sip:a@b@c",
        "sip:a@b c",
        " sip:a@b",
        "sip:a@b\n",
        'sip:"a"@b',
        "sip:é@b",
        "sip:a@b:0",
        "sip:a@b:65536",
        "sip:a@b:+5",
        "sip:a@b:",
        "sip:a@b:x",
        "sip:2001:db8::10",
        "sip:[2001:db8::10",
        "sip:[192.0.2.1]",
        "sip:[::1%25lo]",
        "sip:[::1]5060",
        "sip:a@127.1",
        "sip:a@0x7f.1",
        "sip:a@2130706433",
        "sip:a@0177.0.0.1",
        "sip:a@256.1.1.1",
        "sip:a@b;=x",
        "sip:a@" + "h" * 300,
        "sip:a@b" + ";x" * 100,
        "tel:",
        "tel:alice",
        "tel:+",
        "tel:--",
    ],
)
def test_what_is_no_uri_is_a_bad_request(text: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse_uri(text)
    assert caught.value.status == 400


@pytest.mark.parametrize("text", ["http://example.com/", "nobodyKnowsThisScheme:opaque", "isbn:2983792873"])
def test_foreign_schemes_are_416_but_can_be_carried(text: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse_uri(text)
    assert caught.value.status == 416
    carried = parse_any_uri(text)
    assert carried.host == ""
    assert str(carried).lower() == text.lower()


def test_user_is_unescaped_once() -> None:
    assert parse_uri("sip:sips%3Auser%40example.com@example.net").username == "sips:user@example.com"
    assert parse_uri("sip:value%25%34%31@example.net").username == "value%41"
    assert parse_uri("sip:null-%00-null@example.com").username == "null-\0-null"
    assert parse_uri("sip:%E9@example.com").username == "\udce9"
    assert parse_uri("sip:50%@example.com").username == "50%"
    assert parse_uri("sip:example.com").username is None


def test_parameter_names_may_be_escaped() -> None:
    uri = parse_uri("sip:caller@host5.example.net;%6C%72;n%61me=v%61lue%25%34%31")
    assert uri.param("lr") == ""
    assert uri.without_param("lr").params == (("n%61me", "v%61lue%25%34%31"),)


def test_three_colons_of_the_old_grammar_are_read_as_two() -> None:
    assert parse_uri("sip:[2001:db8:::192.0.2.1]") == parse_uri("sip:[2001:db8::192.0.2.1]")


def test_editing_makes_new_values() -> None:
    uri = parse_uri("sip:alice@192.168.1.10:5060;x;ALIAS=a;alias=b")
    assert str(uri.with_param("alias", "c")) == str(uri) + ";alias=c"
    assert str(uri.with_param("ob", None)).endswith(";ob")
    assert str(uri.without_param("alias")) == "sip:alice@192.168.1.10:5060;x"
    assert str(uri.with_host("[2001:DB8::1]", None)) == "sip:alice@[2001:db8::1];x;ALIAS=a;alias=b"
    assert str(uri) == "sip:alice@192.168.1.10:5060;x;ALIAS=a;alias=b"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Example.com", ("example.com", None)),
        ("[::1]:5060", ("::1", 5060)),
        ("192.0.2.1:05060", ("192.0.2.1", 5060)),
    ],
)
def test_hosts(text: str, expected: tuple[str, int | None]) -> None:
    assert parse_host(text) == expected


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtlanTa.CoM;Transport=tcp"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
        ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;newparam=5"),
        (
            "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
            "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
        ),
        (
            "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
            "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
        ),
        ("sip:a@[2001:db8:0::1]", "sip:a@[2001:DB8::1]"),
        ("sip:a%2fb@h.example", "sip:a%2Fb@h.example"),
    ],
)
def test_equivalent_uris_of_rfc_3261(one: str, other: str) -> None:
    assert equivalent(parse_uri(one), parse_uri(other))
    assert equivalent(parse_uri(other), parse_uri(one))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
        ("sip:bob@biloxi.com", "sips:bob@biloxi.com"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
        ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
        ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
        ("sip:bob:a@h.example", "sip:bob:b@h.example"),
        ("sip:a%40b@h.example", "sip:a%41b@h.example"),
        ("sip:h.example", "sip:a@h.example"),
        ("sip:%00@h.example", "sip:%00%00@h.example"),
    ],
)
def test_different_uris_of_rfc_3261(one: str, other: str) -> None:
    assert not equivalent(parse_uri(one), parse_uri(other))
