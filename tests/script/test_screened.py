"""What scripts ask about a sender: groups, scanners, soundness."""

from __future__ import annotations

import pytest

from edgesip.script import Call
from edgesip.script.sanity import sanity_fault
from edgesip.signal.guard.permissions import address_row, trusted_row
from edgesip.signal.wire.headers import Headers
from edgesip.signal.wire.message import Request
from edgesip.testing import Stage, rooms_for

SOUND = (
    ("Via", "SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1"),
    ("Max-Forwards", "70"),
    ("From", "<sip:alice@example.net>;tag=1"),
    ("To", "<sip:bob@example.net>"),
    ("Call-ID", "1"),
    ("CSeq", "1 INVITE"),
    ("Contact", "<sip:alice@192.0.2.9>"),
    ("Content-Length", "0"),
)
GOOD_DIGEST = 'Digest username="a", realm="r", nonce="n", uri="u", response="0"'


def request(uri: str = "sip:bob@example.net", **changed: str) -> Request:
    """A sound INVITE with other fields; names are written with `_`, an empty one is left out."""
    fields = dict(SOUND)
    fields |= {name.replace("_", "-"): value for name, value in changed.items()}
    return Request("INVITE", uri, Headers(tuple((key, value) for key, value in fields.items() if value)), b"")


@pytest.mark.parametrize(
    ("bit", "broken", "status"),
    [
        (2, request("http://example.net"), 416),
        (4, request(Call_ID=""), 400),
        (32, request(CSeq="1 BYE"), 400),
        (128, request(Content_Length="4"), 400),
        (256, request(Expires="soon"), 400),
        (512, request(Proxy_Require="magic"), 420),
        (1024, request(From="<sip:@@>;tag=1"), 400),
        (2048, request(Authorization="Basic abc"), 400),
        (2048, request(Authorization='Digest username="a"'), 400),
        (4096, request(From="<sip:alice@example.net>;tag=1;tag=2"), 400),
        (8192, request(Authorization='Digest username="a"'), 400),
        (16384, request(Via="SIP/2.0/UDP 192.0.2.9"), 400),
        (32768, request(Via="SIP/2.0/UDP 192.0.2.9;branch=1"), 400),
        (32768, request(Route="<sip:192.0.2.1>"), 400),
        (65536, request("sip:" + "b" * 600 + "@example.net"), 400),
    ],
)
def test_each_bit_finds_its_fault_and_no_other_bit_does(bit: int, broken: Request, status: int) -> None:
    fault = sanity_fault(broken, bit, 15)
    assert fault is not None
    assert fault.status == status
    assert sanity_fault(request(), 131071, 15) is None
    assert sanity_fault(request(Authorization=GOOD_DIGEST), 131071, 15) is None


def test_another_scheme_of_credentials_is_sound_for_8192() -> None:
    assert sanity_fault(request(Authorization="Bearer abc"), 8192, 7) is None


def call(source: str = "udp:192.0.2.9:5060", **more: str) -> Call:
    rooms = rooms_for(["bob"], trusted=["192.0.2.128/25"])
    permissions = rooms.guard.permissions
    more_rows = [address_row(text) for text in ("2 192.0.2.9 32 5060 desk", "3 192.0.2.0/24")]
    permissions.use([*permissions.rows(), *more_rows], [trusted_row("192.0.2.9 udp ^sip:alice * one")])
    return Stage(rooms).call("INVITE", "sip:bob@203.0.113.1", source=source, **more)  # type: ignore[arg-type]


def test_groups() -> None:
    one = call()
    assert not one.allow_source_address()
    assert one.allow_source_address(2)
    assert one.peer_tag == "desk"
    assert one.allow_source_address_group() == 2
    assert one.allow_address_group("192.0.2.10") == 3
    assert one.allow_address_group("198.51.100.1") == -1
    assert one.allow_address(1, "192.0.2.200")
    assert call("udp:192.0.2.200:5060").from_upstream()
    assert one.is_in_subnet("192.0.2.0/28")


def test_trusted() -> None:
    one = call()
    assert one.allow_trusted() == one.from_uri.startswith("sip:alice")
    assert not one.allow_trusted("192.0.2.77", "udp")


def test_sanity_check_answers_like_the_module() -> None:
    assert call().sanity_check(17895, 7) is None
