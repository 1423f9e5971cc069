"""Contact aliases and rewrites, octet by octet (nat.md §2.4, §2.5)."""

from __future__ import annotations

import pytest

from edgesip.address import Addr, Flow
from edgesip.signal.nat.repair import (
    add_contact_alias,
    fix_nated_contact,
    handle_ruri_alias,
    set_contact_alias,
    source_uri,
)
from edgesip.signal.wire.grammar import ParseError
from edgesip.signal.wire.headers import Headers
from edgesip.signal.wire.uri import parse_uri

SOURCE = Addr("198.51.100.7", 40000)
SIX = Addr("2001:db8::7", 5060)


def headers(*contacts: str) -> Headers:
    return Headers(
        [("Via", "SIP/2.0/UDP 192.168.1.10"), *[("Contact", one) for one in contacts], ("X-A", "b")]
    )


def contacts(changed: Headers) -> list[str]:
    assert changed.fields[0] == ("Via", "SIP/2.0/UDP 192.168.1.10")
    assert changed.fields[-1] == ("X-A", "b")
    return changed.all("Contact")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("<sip:a@192.168.1.10>", "<sip:a@192.168.1.10;alias=198.51.100.7~40000~1>"),
        (
            '"Al" <sip:a@192.168.1.10:5060;transport=udp;ob>;expires=60;q=0.5',
            '"Al" <sip:a@192.168.1.10:5060;transport=udp;ob;alias=198.51.100.7~40000~1>;expires=60;q=0.5',
        ),
        ("sip:a@192.168.1.10;expires=60", "<sip:a@192.168.1.10;alias=198.51.100.7~40000~1>;expires=60"),
        ("<sip:a@198.51.100.7:40000>", "<sip:a@198.51.100.7:40000;alias=198.51.100.7~40000~1>"),
        ("<sip:a@h;alias=1.2.3.4~5~2>", "<sip:a@h;alias=1.2.3.4~5~2;alias=198.51.100.7~40000~1>"),
        ("<sip:a@h?Subject=x>", "<sip:a@h;alias=198.51.100.7~40000~1?Subject=x>"),
    ],
)
def test_set_contact_alias_writes_at_the_end_of_the_uri(before: str, after: str) -> None:
    assert contacts(set_contact_alias(headers(before), SOURCE, "udp")) == [after]


@pytest.mark.parametrize(
    ("transport", "digit"),
    [("udp", 1), ("tcp", 2), ("tls", 3), ("sctp", 4), ("ws", 5), ("wss", 6), ("UDP", 1)],
)
def test_every_transport_has_its_digit(transport: str, digit: int) -> None:
    changed = set_contact_alias(headers("<sip:a@h>"), SOURCE, transport)
    assert contacts(changed) == [f"<sip:a@h;alias=198.51.100.7~40000~{digit}>"]


def test_a_transport_without_a_digit_is_our_mistake() -> None:
    with pytest.raises(ValueError, match="quic"):
        set_contact_alias(headers("<sip:a@h>"), SOURCE, "quic")


def test_ipv6_stands_in_brackets() -> None:
    changed = set_contact_alias(headers("<sip:a@[fd00::1]>"), SIX, "udp")
    assert contacts(changed) == ["<sip:a@[fd00::1];alias=[2001:db8::7]~5060~1>"]


def test_twice_is_once() -> None:
    once = set_contact_alias(headers("<sip:a@192.168.1.10;x=y>"), SOURCE, "udp")
    assert set_contact_alias(once, SOURCE, "udp") is once


def test_trim_takes_former_aliases_away_and_only_those() -> None:
    before = headers("<sip:a@h;alias=1.2.3.4~5~2;x=y;alias=1.2.3.4~6~2;Alias=kept>")
    changed = set_contact_alias(before, SOURCE, "udp", trim=True)
    assert contacts(changed) == ["<sip:a@h;x=y;Alias=kept;alias=198.51.100.7~40000~1>"]
    assert set_contact_alias(changed, SOURCE, "udp", trim=True) is changed


@pytest.mark.parametrize("lines", [[], ["*"], ["<tel:+49>"], ["<sip:a@h"], ["<sip:a@h>", "<sip:a@"]])
def test_without_a_contact_that_can_be_read_nothing_changes(lines: list[str]) -> None:
    before = headers(*lines)
    assert set_contact_alias(before, SOURCE, "udp") is before
    assert add_contact_alias(before, SOURCE, "udp") is before
    assert fix_nated_contact(before, SOURCE) is before


def test_only_the_first_contact_is_touched() -> None:
    alias = ";alias=198.51.100.7~40000~1"
    for lines in (["<sip:a@h>, <sip:b@h>;q=1"], ["<sip:a@h>", "<sip:b@h>;q=1"]):
        changed = set_contact_alias(headers(*lines), SOURCE, "udp")
        assert contacts(changed) == [f"<sip:a@h{alias}>", "<sip:b@h>;q=1"]


def test_add_contact_alias_writes_right_after_the_host() -> None:
    changed = add_contact_alias(headers("sip:a@192.168.1.10:5060"), SOURCE, "udp")
    assert contacts(changed) == ["<sip:a@192.168.1.10:5060;alias=198.51.100.7~40000~1>"]
    changed = add_contact_alias(headers("<sip:a@192.168.1.10;ob;alias=1.1.1.1~1~1>"), SOURCE, "tcp")
    assert contacts(changed) == ["<sip:a@192.168.1.10;alias=198.51.100.7~40000~2;ob;alias=1.1.1.1~1~1>"]
    assert add_contact_alias(changed, SOURCE, "tcp") is changed


@pytest.mark.parametrize(
    ("contact", "source", "transport", "written"),
    [
        ("<sip:a@198.51.100.7:40000>", SOURCE, "udp", False),
        ("<sip:a@198.51.100.7:40000;transport=UDP>", SOURCE, "udp", False),
        ("<sip:a@198.51.100.7:40000;transport=tcp>", SOURCE, "udp", True),
        ("<sip:a@198.51.100.7:40000>", SOURCE, "tcp", True),
        ("<sip:a@198.51.100.7>", SOURCE, "udp", True),
        ("<sip:a@198.51.100.7>", SOURCE._replace(port=5060), "udp", False),
        ("<sip:a@[2001:DB8:0::7]>", SIX, "udp", False),
        ("<sip:a@phone.example:40000>", SOURCE, "udp", True),
        ("<sips:a@198.51.100.7:40000>", SOURCE, "tls", False),
    ],
)
def test_add_contact_alias_says_nothing_new(
    contact: str, source: Addr, transport: str, written: bool
) -> None:
    before = headers(contact)
    changed = add_contact_alias(before, source, transport)
    assert (changed is not before) is written
    assert add_contact_alias(before, source, transport, even_if_equal=True) is not before


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("<sip:a@192.168.1.10>;q=1", "<sip:a@198.51.100.7:40000>;q=1"),
        ("sip:a@phone.lan:5070", "<sip:a@198.51.100.7:40000>"),
        ("<sip:a@h;maddr=10.0.0.1;transport=udp>", "<sip:a@198.51.100.7:40000;transport=udp>"),
        ("<sip:h>", "<sip:198.51.100.7:40000>"),
    ],
)
def test_fix_nated_contact_puts_the_source_in_its_place(before: str, after: str) -> None:
    changed = fix_nated_contact(headers(before), SOURCE)
    assert contacts(changed) == [after]
    assert fix_nated_contact(changed, SOURCE) is changed


def test_fix_nated_contact_writes_the_port_always_and_ipv6_in_brackets() -> None:
    changed = fix_nated_contact(headers("<sip:a@[fd00::1]>", "<sip:b@h>"), SIX)
    assert contacts(changed) == ["<sip:a@[2001:db8::7]:5060>", "<sip:b@h>"]


@pytest.mark.parametrize(
    ("source", "transport"), [(SOURCE, "udp"), (SIX, "udp"), (SOURCE, "tcp"), (SIX, "wss"), (SOURCE, "tls")]
)
def test_what_set_contact_alias_writes_handle_ruri_alias_reads(source: Addr, transport: str) -> None:
    changed = set_contact_alias(headers("<sip:a@192.168.1.10:5060;ob>"), source, transport)
    found = handle_ruri_alias(changed.contacts[0].uri)
    assert found == (parse_uri("sip:a@192.168.1.10:5060;ob"), source, transport)


def test_a_uri_without_alias_is_left_to_others() -> None:
    for text in ("sip:a@h", "sip:a@h;ob", "sip:a@h;ALIAS=1.2.3.4~5060~1", "sip:a@h;Alias=rubbish", "tel:+49"):
        assert handle_ruri_alias(parse_uri(text)) is None


def test_the_first_alias_or_the_last_one() -> None:
    uri = parse_uri("sip:a@h;alias=1.2.3.4~5060~1;x;alias=5.6.7.8~5070~2;y=z")
    assert handle_ruri_alias(uri) == (
        parse_uri("sip:a@h;x;alias=5.6.7.8~5070~2;y=z"),
        Addr("1.2.3.4", 5060),
        "udp",
    )
    assert handle_ruri_alias(uri, last=True) == (
        parse_uri("sip:a@h;alias=1.2.3.4~5060~1;x;y=z"),
        Addr("5.6.7.8", 5070),
        "tcp",
    )


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "1.2.3.4",
        "1.2.3.4~5060",
        "1.2.3.4~5060~",
        "1.2.3.4~5060~0",
        "1.2.3.4~5060~7",
        "1.2.3.4~5060~8",
        "1.2.3.4~5060~11",
        "1.2.3.4~5060~1x",
        "1.2.3.4~5060~1~",
        "1.2.3.4~~1",
        "1.2.3.4~0~1",
        "1.2.3.4~65536~1",
        "1.2.3.4~+5060~1",
        "~5060~1",
        "phone.example~5060~1",
        "127.1~5060~1",
        "2001:db8::1~5060~1",
        "[2001:db8::1~5060~1",
        "[1.2.3.4]~5060~1",
        "1.2.3.4:5~5060~1",
        "0.0.0.0~5060~1",
        "255.255.255.255~5060~1",
        "224.0.0.1~5060~1",
        "[::]~5060~1",
        "[ff02::1]~5060~1",
        "[::ffff:224.0.0.1]~5060~1",
    ],
)
def test_a_malformed_alias_is_an_error(value: str | None) -> None:
    uri = parse_uri("sip:a@h").with_param("alias", value)
    with pytest.raises(ParseError):
        handle_ruri_alias(uri)


def test_a_mapped_address_is_the_one_inside() -> None:
    found = handle_ruri_alias(parse_uri("sip:a@h;alias=[::ffff:198.51.100.7]~40000~1"))
    assert found is not None
    assert found[1] == SOURCE


def test_source_uris() -> None:
    us = Addr("203.0.113.1", 5060)
    assert source_uri(Flow("udp", us, SOURCE)) == "sip:198.51.100.7:40000"
    assert source_uri(Flow("tls", us, SOURCE)) == "sip:198.51.100.7:40000;transport=tls"
    assert source_uri(Flow("udp", us, SIX)) == "sip:[2001:db8::7]:5060"
