"""R19: what strangers can make us send is not much more than they send themselves."""

from __future__ import annotations

from dataclasses import replace

import pytest
from talk import SERVER, Packet, Phone, Talk

from edgesip.address import Addr
from edgesip.signal.guard.bans import BanSettings
from edgesip.signal.guard.guard import GuardSettings
from edgesip.signal.guard.pike import PikeSettings

OPEN = GuardSettings(PikeSettings(reqs_density_per_unit=10**6), BanSettings(enabled=False))
"""Nobody is banned and nothing is a flood: the ratio must hold without."""
TINY = (
    "{0} sip:1@203.0.113.1 SIP/2.0\r\nVia: SIP/2.0/UDP 1.1.1.1;branch=z9hG4bK{1}\r\nFrom: <sip:1@a>;tag=1\r\n"
    "To: <sip:1@203.0.113.1>\r\nCall-ID: {1}\r\nCSeq: 1 {0}\r\n\r\n"
)


def sources(number: int) -> Addr:
    return Addr(f"198.18.{number >> 8}.{number & 255}", 5060)


@pytest.mark.parametrize("method", ["INVITE", "REGISTER", "OPTIONS"])
@pytest.mark.parametrize("form", ["tiny", "compact", "broken", "usual"])
@pytest.mark.parametrize("spread", [False, True])
def test_a_thousand_forged_requests_are_answered_with_no_more_than_they_weigh(
    method: str, form: str, spread: bool
) -> None:
    talk = Talk(guard=OPEN)
    came = 0
    for number in range(1000):
        phone = talk.phone("x", at=sources(number if spread else 0))
        if form == "usual":
            octets = phone.request(method, f"sip:1@{SERVER.host}").octets
        else:
            octets = TINY.format(method, number).encode()
            if form == "compact":
                octets = octets.replace(b"Via:", b"v:").replace(b"From:", b"f:").replace(b"Call-ID:", b"i:")
            elif form == "broken":
                octets = octets.replace(b"CSeq: 1", b"CSeq: x")
        talk.now += 0.001
        talk >> Packet(phone, octets)
        came += len(octets)
    assert sum(len(octets) for _, octets in talk.sent) / came <= 1.3
    assert len(talk.sent) <= 1000
    if form == "usual":
        assert len(talk.sent) > 200, "usual sizes are answered"


def test_what_is_withheld_is_counted_and_the_purse_fills_again() -> None:
    talk = Talk(guard=OPEN)
    for number in range(500):
        talk >> Packet(talk.phone("x", at=sources(number)), TINY.format("REGISTER", number).encode())
    withheld = talk.guard.counters()["core:answers_withheld"]
    assert withheld == 500 - len(talk.sent)
    assert withheld > 300
    talk.sent.clear()
    talk.wait(1.0)
    talk >> Packet(talk.phone("x"), TINY.format("REGISTER", "again").encode())
    assert len(talk.sent) == 1


def test_registered_phones_and_connections_are_answered_whatever_they_weigh() -> None:
    talk = Talk(guard=OPEN).register(alice := Talk().phone("alice"))
    tcp = talk.phone("x", transport="tcp")
    for phone in (alice, tcp):
        for number in range(300):
            octets = TINY.format("OPTIONS", f"{phone.transport}{number}").encode()
            talk >> Packet(
                phone, octets.replace(b"SIP/2.0/UDP", b"SIP/2.0/" + phone.transport.upper().encode())
            )
        assert len(talk.sent) == 300
        talk.sent.clear()


def test_a_phone_of_usual_size_registers_while_the_purse_is_empty() -> None:
    talk = Talk(guard=OPEN)
    for number in range(500):
        talk >> Packet(talk.phone("x", at=sources(number)), TINY.format("REGISTER", number).encode())
    talk.sent.clear()
    alice: Phone = replace(talk.phone("alice"), password="secret")
    packet = alice.request(
        "REGISTER",
        f"sip:{SERVER.host}",
        to=f"<sip:alice@{SERVER.host}>",
        headers=(("User-Agent", "Desk 3000 1.2.3.4"), ("Allow", "INVITE, ACK, OPTIONS, CANCEL, BYE, NOTIFY")),
    )
    talk >> packet
    talk >> alice.with_credentials(packet, talk.response(alice, 401)) << (alice, 200)
