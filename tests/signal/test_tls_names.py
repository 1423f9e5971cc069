"""Whom a certificate speaks for: RFC 5922 §7, and nothing more lenient."""

import pytest

from edgesip.signal.net.tls_names import all_names, identities, speaks_for, told_names


def certificate(*names: tuple[str, str]) -> dict[str, object]:
    return {"subject": ((("commonName", "cn.example.org"),),), "subjectAltName": names}


def test_sip_uris_win_over_dns_names() -> None:
    both = certificate(("DNS", "dns.example.org"), ("URI", "sip:Example.ORG"))
    assert identities(both) == ("example.org",)
    assert speaks_for(both, "EXAMPLE.org.")
    assert not speaks_for(both, "dns.example.org")
    assert all_names(both) == ("example.org", "dns.example.org")


def test_dns_names_count_where_no_sip_uri_is() -> None:
    other = certificate(("DNS", "A.example.org"), ("URI", "https://web.example.org"))
    assert identities(other) == ("a.example.org",)
    assert speaks_for(other, "a.example.org")


@pytest.mark.parametrize(
    ("names", "asked"),
    [
        ((("URI", "sip:alice@example.org"),), "example.org"),
        ((("URI", "sips:example.org"),), "example.org"),
        ((("URI", "im:example.org"),), "example.org"),
        ((("URI", "sip:"),), ""),
        ((("DNS", "*.example.org"),), "sip.example.org"),
        ((("DNS", "example.org"),), "sip.example.org"),
        ((("DNS", "sip.example.org"),), "example.org"),
        ((("DNS", "example.org.evil"),), "example.org"),
        ((("DNS", "192.0.2.1"),), "192.0.2.2"),
        ((("IP Address", "192.0.2.1"),), "192.0.2.2"),
        ((("IP Address", "192.0.2.1"),), "example.org"),
        ((("email", "example.org"),), "example.org"),
        ((), "cn.example.org"),
        ((), ""),
    ],
)
def test_it_does_not_speak_for(names: tuple[tuple[str, str], ...], asked: str) -> None:
    assert not speaks_for(certificate(*names), asked)


def test_addresses_are_compared_as_addresses() -> None:
    found = certificate(("IP Address", "2001:DB8:0:0:0:0:0:1\n"), ("IP Address", "192.0.2.1"))
    assert speaks_for(found, "[2001:db8::1]")
    assert speaks_for(found, "192.0.2.1")
    assert told_names(found) == "2001:db8::1, 192.0.2.1"
    assert speaks_for(certificate(("URI", "sip:192.0.2.7")), "192.0.2.7")


def test_nobody_is_said_so() -> None:
    assert told_names({}) == "nobody (no subjectAltName)"
