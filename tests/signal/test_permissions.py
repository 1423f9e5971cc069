"""permissions: groups of addresses, trusted rows, and what stands in a row."""

from __future__ import annotations

import pytest

from edgesip.signal.guard.permissions import (
    Permissions,
    PermissionSettings,
    address_row,
    trusted_row,
)


def rows(*texts: str, mode: int = 0, most: int = 512) -> Permissions:
    found = Permissions(PermissionSettings(mode, most))
    found.use([address_row(text) for text in texts], ())
    return found


def test_an_address_a_port_a_network_and_a_tag() -> None:
    one = rows("2 192.0.2.1 32 5080 carrier", "3 192.0.2.0/24", "4 2001:db8::/32 0 0 six", "5 gw.example.net")
    found = one.find("192.0.2.1", 5080)
    assert found is not None
    assert (found.group, found.tag) == (2, "carrier")
    assert [getattr(one.find(*where), "group", -1) for where in (("192.0.2.1", 5060), ("192.0.2.9", 1))] == [
        3,
        3,
    ]
    assert one.find("192.0.2.1", 5060, 2) is None, "another port"
    assert one.find("192.0.3.1", 5060) is None
    assert getattr(one.find("2001:db8::7", 1), "tag", "") == "six"
    assert getattr(one.find("::ffff:192.0.2.9", 1), "group", -1) == 3, "no spelling passes"
    assert getattr(one.find("GW.example.net", 5060), "group", -1) == 5, "compared as text"


def test_the_first_network_or_the_smallest() -> None:
    texts = ("2 10.0.0.0/8", "3 10.1.0.0/16", "4 10.1.1.0/24")
    assert getattr(rows(*texts).find("10.1.1.1", 1), "group", 0) == 2
    assert getattr(rows(*texts, mode=1).find("10.1.1.1", 1), "group", 0) == 4


def test_only_group_1_without_a_port_is_trusted() -> None:
    one = rows("1 192.0.2.1", "1 192.0.2.2 32 5060", "2 192.0.2.3")
    assert [one.trusts(f"192.0.2.{number}") for number in (1, 2, 3, 4)] == [True, False, False, False]


def test_too_many_networks_change_nothing() -> None:
    one = rows("1 10.0.0.0/8", most=1)
    with pytest.raises(ValueError, match="max_subnets 1"):
        one.use([address_row("1 10.0.0.0/8"), address_row("1 11.0.0.0/8")], ())
    assert one.trusts("10.0.0.1")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("192.0.2.1", "is not GROUP"),
        ("0 192.0.2.1", "begin at 1"),
        ("x 192.0.2.1", "not a number"),
        ("1 192.0.2.1 33", "mask"),
        ("1 192.0.2.1 32 70000", "port"),
        ("1 gw.example.net 24", "no mask"),
    ],
)
def test_a_row_that_is_none_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        address_row(text)


def test_trusted_rows_look_at_source_transport_from_and_uri() -> None:
    one = Permissions()
    one.use(
        (),
        [
            trusted_row(r"192.0.2.1 udp ^sip:.*@carrier\.net * carrier"),
            trusted_row("192.0.2.1 any * ^sip:911"),
        ],
    )
    found = one.allow_trusted("192.0.2.1", "udp", "sip:a@carrier.net", "sip:1@x")
    assert found is not None
    assert found.tag == "carrier"
    assert one.allow_trusted("192.0.2.1", "tcp", "sip:a@carrier.net", "sip:1@x") is None
    assert one.allow_trusted("192.0.2.1", "tcp", "sip:a@else.net", "sip:911@x") is not None
    assert one.allow_trusted("192.0.2.2", "udp", "sip:a@carrier.net", "sip:911@x") is None
    for text in ("192.0.2.1 sctp * *", "192.0.2.1 udp ( *", "192.0.2.1 udp"):
        with pytest.raises(ValueError, match="is not"):
            trusted_row(text)
