"""Signs of a router that changes messages: what fits, what does not, and what nobody can tell."""

from __future__ import annotations

import pytest

from edgesip.signal.nat.alg import address_sign, length_sign

PUBLIC, PRIVATE = "198.51.100.7", "192.168.1.10"


def test_a_public_sdp_beside_a_private_contact() -> None:
    sign = address_sign(f"sip:bob@{PRIVATE}:5060", PUBLIC, PUBLIC)
    assert sign.startswith(
        "its SDP names 198.51.100.7, a public address, but its Contact 192.168.1.10, a private one: "
    )
    assert "yet another" not in sign
    assert "yet another, 203.0.113.9" in address_sign(f"sip:bob@{PRIVATE}", PUBLIC, "203.0.113.9")


def test_a_private_sdp_beside_a_public_contact() -> None:
    sign = address_sign(f"sip:bob@{PUBLIC}:1024", PRIVATE, PUBLIC)
    assert sign.startswith("its Contact names 198.51.100.7, a public address, but its SDP 192.168.1.10, ")


@pytest.mark.parametrize(
    ("contact", "sdp"),
    [
        (f"sip:bob@{PRIVATE}", "10.0.0.9"),
        (f"sip:bob@{PUBLIC}", "203.0.113.9"),
        ("sip:bob@pbx.example.net", PRIVATE),
        (f"sip:bob@{PRIVATE}", ""),
        (f"sip:bob@{PRIVATE}", "media.example.net"),
        ("", PUBLIC),
        ("tel:+1", PUBLIC),
    ],
)
def test_what_fits_or_cannot_be_compared_is_no_sign(contact: str, sdp: str) -> None:
    assert address_sign(contact, sdp, PUBLIC) == ""


def message(declared: str, body: bytes) -> bytes:
    return f"INVITE sip:b@b SIP/2.0\r\nVia: x\r\n{declared}\r\n\r\n".encode() + body


def test_a_length_that_was_not_counted_again() -> None:
    sign = length_sign(message("Content-Length: 8", b"v=0\r\no=longer"))
    assert sign.startswith("a message of 13 octets of body says that it has 8 (Content-Length): ")
    assert length_sign(message("l:8", b"v=0\r\no=longer")) == sign


@pytest.mark.parametrize(
    "data",
    [
        message("Content-Length: 5", b"v=0\r\n"),
        message("Content-Length: 5", b""),
        message("Subject: Content-Length: 9", b"v=0\r\n"),
        message("Content-Length: many", b"v=0\r\n"),
        b"INVITE",
        b"",
    ],
)
def test_lengths_that_fit_or_are_not_there(data: bytes) -> None:
    assert length_sign(data) == ""
