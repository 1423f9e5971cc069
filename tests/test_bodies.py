"""Bodies nobody should send, with the real relay behind the real core: refused, or passed on whole."""

from __future__ import annotations

import random

import pytest
from endings import House
from talk import SDP, SERVER, Packet

from edgesip.relay.sdp import parse as parse_sdp
from edgesip.signal.wire.headers import Headers, replaced
from edgesip.signal.wire.message import Request, Response, parse

HEAD = b"v=0\r\no=- 1 1 IN IP4 192.168.1.10\r\ns=-\r\nc=IN IP4 192.168.1.10\r\nt=0 0\r\n"
AUDIO = b"m=audio 4000 RTP/AVP 0\r\n"
MALFORMED = {
    # Kamailio/Asterisk advisories: CVE-2018-1000098, -1000099, CVE-2023-27596, and what is like them
    "a port of 2^32": HEAD + b"m=audio 4294967296 RTP/AVP 0\r\n",
    "a port of 2^32 and 4000": HEAD + b"m=audio 4294971296 RTP/AVP 0\r\n",
    "a port of 65536": HEAD + b"m=audio 65536 RTP/AVP 0\r\n",
    "a port below zero": HEAD + b"m=audio -1 RTP/AVP 0\r\n",
    "a port with a plus": HEAD + b"m=audio +4000 RTP/AVP 0\r\n",
    "a port that is no number": HEAD + b"m=audio port RTP/AVP 0\r\n",
    "a port in other digits": HEAD + "m=audio ٤٠٠٠ RTP/AVP 0\r\n".encode(),
    "a port of 4,301 digits": HEAD + b"m=audio " + b"9" * 4301 + b" RTP/AVP 0\r\n",
    "a NUL in fmtp": HEAD + AUDIO + b"a=fmtp\0:0 x\r\n",
    "a lone NUL": HEAD + AUDIO + b"\0",
    "a lone CR": HEAD + AUDIO + b"a=x\ra=y\r\n",
    "no m= port": HEAD + b"m=audio\r\n",
    "an empty m=": HEAD + b"m=\r\n",
    "no payload type": HEAD + b"m=audio 4000 RTP/AVP\r\n",
    "payload types that are none": HEAD + b"m=audio 4000 RTP/AVP x 128 1000\r\n",
    "17 media lines": HEAD + AUDIO * 17,
    "600 media lines": HEAD + AUDIO * 600,
    "513 lines": HEAD + AUDIO + b"a=x\r\n" * 510,
    "no v=": HEAD[5:] + AUDIO,
    "v=1": b"v=1\r\n" + HEAD[5:] + AUDIO,
    "two descriptions": HEAD + AUDIO + HEAD + AUDIO,
    "no o=": b"v=0\r\n" + HEAD[HEAD.index(b"s=") :] + AUDIO,
    "no address": HEAD.replace(b"c=IN IP4 192.168.1.10\r\n", b"") + AUDIO,
    "an empty c=": HEAD.replace(b"c=IN IP4 192.168.1.10", b"c=") + AUDIO,
    "c= of another network": HEAD.replace(b"c=IN IP4", b"c=ATM NSAP") + AUDIO,
    "c= without an address": HEAD.replace(b"c=IN IP4 192.168.1.10", b"c=IN IP4") + AUDIO,
    "c= with markup": HEAD.replace(b"c=IN IP4 192.168.1.10", b"c=IN IP4 <script>") + AUDIO,
    "c= of colons": HEAD.replace(b"c=IN IP4 192.168.1.10", b"c=IN IP6 :::::") + AUDIO,
    "a line without =": HEAD + b"garbage\r\n" + AUDIO,
    "a line of two letters": HEAD + b"xy=z\r\n" + AUDIO,
    "folded": HEAD + AUDIO + b" a=x\r\n",
    "a=rtcp that is no number": HEAD + AUDIO + b"a=rtcp:x\r\n",
    "a second a=rtcp that is no number": HEAD + AUDIO + b"a=rtcp:4001\r\na=rtcp:x\r\n",
    "a=rtcp above 65535": HEAD + AUDIO + b"a=rtcp:65536\r\n",
    "ports in a row": HEAD + b"m=audio 4000/9999 RTP/AVP 0\r\n",
    "random octets": random.Random(6).randbytes(400),
}


def leased(house: House) -> int:
    return house.relay.ports(house.now)["leased"]


@pytest.mark.parametrize("name", MALFORMED)
def test_an_offer_that_cannot_be_read_is_488_and_keeps_no_port(name: str) -> None:
    house = House()
    alice, bob = house.phone("alice"), house.phone("bob")
    house.register(alice, bob)
    house.call(alice, "bob", body=MALFORMED[name])
    house << (alice, 100) << (alice, 488)
    assert leased(house) == 0
    house.silent()
    house.clean()


@pytest.mark.parametrize("name", MALFORMED)
def test_in_a_call_it_takes_nothing_away_and_leaves_nothing_behind(name: str) -> None:
    house = House()
    alice, bob = house.phone("alice"), house.phone("bob")
    house.register(alice, bob)
    invite, answer, received, ok = house.answered(alice, bob)
    before = leased(house)
    house >> alice.within(invite, answer, "INVITE", body=MALFORMED[name]) << (alice, 100) << (alice, 488)
    house >> bob.back(received, ok, "UPDATE", body=MALFORMED[name]) << (bob, 488)
    assert leased(house) == before > 0
    house >> alice.within(invite, answer, "BYE")
    house.clean()


TEETH = (b"\0", b"\r", b"\n", b"=", b" ", b"m=", b"c=", b"0", b"99999", b"a=rtcp:")


def bitten(dice: random.Random, body: bytes) -> bytes:
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(body))
        word = dice.choice(
            (b"\0", b"\r", b"\n", b"=", b" ", b"m=", b"c=", b"0", b"99999", b"a=rtcp:", body[:40])
        )
        body = body[:at] + word + body[at + dice.choice((0, 1, 3, 20)) :]
    return body


def test_three_hundred_bitten_bodies_leave_every_port_free() -> None:
    """Read or refused, offered or answered: afterwards all is as it was."""
    dice = random.Random(27596)
    house = House(ports=4000)
    alice, bob = house.phone("alice"), house.phone("bob")
    house.register(alice, bob)
    whole = (
        HEAD
        + AUDIO
        + b"a=rtcp:4001\r\na=candidate:1\r\nm=video 4100/1 RTP/AVP 96\r\nc=IN IP6 2001:db8::9\r\n"
    )
    refused = 0
    for _ in range(300):
        house.call(alice, "bob", body=bitten(dice, whole))
        house << (alice, 100)
        received = [octets for flow, octets in house.sent if flow.remote == bob.at]
        refused += not received
        if received:
            request = parse(received[0])
            assert isinstance(request, Request)
            house >> bob.reply(request, dice.choice((183, 200, 486)), body=bitten(dice, whole))
        house.drain()
        house.wait(2)
        house.drain()
    assert 30 < refused < 290, "both kinds"
    for dialog in list(house.core.dialogs):
        house.core._proxy.calls.terminate(dialog, "over", house.now)
    house.wait(200)
    house.drain()
    house.clean()


# -- what is not one session description (RFC 5621) ----------------------------------------------------

PART = b"Content-Type: application/sdp\r\n\r\n" + SDP
MULTIPART = {
    "one part": b"--b\r\n" + PART + b"\r\n--b--\r\n",
    "two parts": b"--b\r\n" + PART + b"\r\n--b\r\nContent-Type: text/plain\r\n\r\nhi\r\n--b--\r\n",
    "two descriptions": b"--b\r\n" + PART + b"\r\n--b\r\n" + PART + b"\r\n--b--\r\n",
    "an empty part": b"--b\r\n\r\n--b--\r\n",
    "a part without headers": b"--b\r\n\r\n" + SDP + b"\r\n--b--\r\n",
    "no end": b"--b\r\n" + PART,
    "no last line end": b"--b\r\n" + PART + b"\r\n--b--",
    "no boundary at all": SDP,
    "another boundary": b"--c\r\n" + PART + b"\r\n--c--\r\n",
    "a boundary alone": b"--b--\r\n",
    "a boundary cut": b"--",
    "text before and after": b"before\r\n--b\r\n" + PART + b"\r\n--b--\r\nafter",
    "bare line feeds": (b"--b\r\n" + PART + b"\r\n--b--\r\n").replace(b"\r\n", b"\n"),
    "lone carriage returns": (b"--b\r\n" + PART + b"\r\n--b--\r\n").replace(b"\r\n", b"\r"),
    "a thousand boundaries": b"--b\r\n" * 1000,
    "boundaries in one line": b"--b" * 1000,
    "parts in parts": b"--b\r\nContent-Type: multipart/mixed;boundary=b\r\n\r\n--b\r\n"
    + PART
    + b"--b--\r\n--b--",
    "NULs": b"--b\r\n\0\0\0\0\r\n--b--\r\n",
    "not text": b"--b\r\n" + bytes(range(256)) + b"\r\n--b--\r\n",
    "a message": b"--b\r\nContent-Type: message/sip\r\n\r\nINVITE sip:x SIP/2.0\r\n\r\n--b--\r\n",
    "one line end": b"\r\n",
}
SOUND = ("one part", "two parts", "no last line end", "text before and after")
NAMED = ("multipart/mixed;boundary=b", 'multipart/mixed;boundary="b"')
TYPES = (
    *NAMED,
    "multipart/mixed",
    "multipart/mixed;boundary=",
    "Multipart / Alternative ; boundary = b",
    "application/octet-stream",
    "message/sip",
)


def with_type(packet: Packet, value: str) -> Packet:
    request = parse(packet.octets)
    assert isinstance(request, Request)
    fields = replaced(request.headers.fields, "Content-Type", [value])
    return Packet(packet.phone, bytes(Request(request.method, request.uri, Headers(fields), request.body)))


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name in MULTIPART for value in TYPES if (name in SOUND) <= (value not in NAMED)],
)
def test_a_body_of_another_type_goes_through_octet_for_octet(name: str, value: str) -> None:
    body = MULTIPART[name]
    house = House()
    alice, bob = house.phone("alice"), house.phone("bob")
    house.register(alice, bob)
    first = with_type(alice.invite("bob", body=body), value)
    house >> first
    house >> alice.with_credentials(first, house.response(alice, 407)) << (alice, 100)
    received = house.request(bob, "INVITE")
    assert (received.body, received.headers.get("Content-Type")) == (body, value)
    answer = parse(bob.reply(received, 200, body=body).octets)
    assert isinstance(answer, Response)
    fields = replaced(answer.headers.fields, "Content-Type", [value])
    house >> Packet(bob, bytes(Response(200, "OK", Headers(fields), body)))
    assert house.response(alice, 200).body == body
    assert leased(house) == 0


@pytest.mark.parametrize("value", NAMED)
@pytest.mark.parametrize("name", SOUND)
def test_the_sdp_of_a_sound_multipart_body_is_relayed_and_nothing_else_of_it_changes(
    name: str, value: str
) -> None:
    body = MULTIPART[name]
    house = House()
    alice, bob = house.phone("alice"), house.phone("bob")
    house.register(alice, bob)
    first = with_type(alice.invite("bob", body=body), value)
    house >> first
    house >> alice.with_credentials(first, house.response(alice, 407)) << (alice, 100)
    received = house.request(bob, "INVITE")
    assert received.headers.get("Content-Length") == str(len(received.body))
    answer = parse(bob.reply(received, 200, body=body).octets)
    fields = replaced(answer.headers.fields, "Content-Type", [value])
    house >> Packet(bob, bytes(Response(200, "OK", Headers(fields), body)))
    before, after = body.split(SDP)
    for told in (received.body, house.response(alice, 200).body):
        assert told.startswith(before)
        assert told.endswith(after)
        sdp = told[len(before) : len(told) - len(after)]
        assert sdp != SDP
        assert parse_sdp(sdp).media[0].address == SERVER.host
    assert leased(house) == 4
