"""Who one says one is, and what one knows: a From or To that only looks like the user is refused.

Credentials that are cut, doubled or made up never open anything.
"""

from __future__ import annotations

import random

import pytest
from talk import SERVER, Packet, Phone, Talk

from edgesip.signal.guard.bans import BanSettings
from edgesip.signal.guard.guard import GuardSettings
from edgesip.signal.wire.headers import Headers, replaced
from edgesip.signal.wire.message import Request, Response, parse

HOST = SERVER.host

SAME = (
    f"<sip:alice@{HOST}>",
    f"sip:alice@{HOST}",
    f'"Alice" <sip:alice@{HOST}>',
    f'"<sip:bob@{HOST}>" <sip:alice@{HOST}>',
    f"<sip:%61lice@{HOST}>",
    f"<sip:ALICE@{HOST}>",
    f"<sip:alice@{HOST};user=phone>",
    f"<sip:alice:secret@{HOST}>",
    f"<sips:alice@{HOST}>",
)
OTHER = (
    f"<sip:bob@{HOST}>",
    f'"alice" <sip:bob@{HOST}>',
    f'"<sip:alice@{HOST}>" <sip:bob@{HOST}>',
    f'"\\"<sip:alice@{HOST}>" <sip:bob@{HOST}>',
    f"alice <sip:bob@{HOST}>",
    f"<sip:alice;x@{HOST}>",
    f"<sip:alice;tag=1@{HOST}>",
    f"<sip:alice%3Bx@{HOST}>",
    f"<sip:alice%00@{HOST}>",
    f"<sip:alice%00bob@{HOST}>",
    f"<sip:%00alice@{HOST}>",
    f"<sip:alice%20@{HOST}>",
    f"<sip:%20alice@{HOST}>",
    f"<sip:alice%0D%0A@{HOST}>",
    f"<sip:%2561lice@{HOST}>",
    f"<sip:alice%40bob@{HOST}>",
    f"<sip:bob%40alice@{HOST}>",
    f"<sip:alice,bob@{HOST}>",
    f"<sip:bob?alice@{HOST}>",
    f"<sip:alic%C3%A9@{HOST}>",
    f"<sip:al%C4%B1ce@{HOST}>",
    f"<sip:%EF%BD%81lice@{HOST}>",
    f"<sip:alice%CC%81@{HOST}>",
    f"<sip:alice.@{HOST}>",
    f"<sip:a%6Cic@{HOST}>",
    f"<sip:{HOST}>",
    "<sip:alice>",
    "<tel:+1;user=alice>",
    f"<mailto:alice@{HOST}>",
    f"<sip:bob@{HOST};user=alice>",
    f"<sip:bob@{HOST}?alice>",
    f"<sip:bob@{HOST}>;user=alice",
    f"sip:bob@{HOST};alice",
    f'<sip:bob@{HOST}>;x="<sip:alice@{HOST}>"',
    f"<sip:bob:alice@{HOST}>",
)
BROKEN = (
    "<tel:+alice>",
    f"<tel:+1;alice@{HOST}>",
    f"<sip:bob@alice.{HOST}>",
    f"<sip:alice@{HOST}>, <sip:bob@{HOST}>",
    f"<sip:alice@{HOST}><sip:bob@{HOST}>",
    f"<sip:bob@{HOST}>;x=<sip:alice@{HOST}>",
    f"<sip:alice@bob@{HOST}>",
    f"<sip:alice\\@{HOST}>",
    f"<sip:al ice@{HOST}>",
    f"<sip:@{HOST}>",
    f"<<sip:alice@{HOST}>>",
    f"<sip:alice@{HOST}",
    f'"alice <sip:bob@{HOST}>',
    f"<sip:\u0430lice@{HOST}>",
)


def challenged(talk: Talk, phone: Phone, packet: Packet) -> Response:
    talk >> packet
    found = parse(talk.sent.pop(0)[1])
    assert isinstance(found, Response)
    return found


def with_header(packet: Packet, name: str, *values: str) -> Packet:
    request = parse(packet.octets)
    assert isinstance(request, Request)
    fields = replaced(request.headers.fields, name, values)
    return Packet(packet.phone, bytes(Request(request.method, request.uri, Headers(fields), request.body)))


def called_as(text: str) -> tuple[Talk, int]:
    """The status that alice's password brings when From says this; 0 when the call went on."""
    talk = Talk()
    alice, bob = talk.phone("alice"), talk.phone("bob")
    talk.register(alice, bob)
    first = alice.invite("bob")
    authorized = alice.with_credentials(first, challenged(talk, alice, first))
    talk >> with_header(authorized, "From", f"{text};tag=1")
    statuses = [int(octets[8:11]) for flow, octets in talk.sent if flow.remote == alice.at]
    gone = any(flow.remote == bob.at for flow, _ in talk.sent)
    return talk, 0 if gone else statuses[-1]


@pytest.mark.parametrize("text", SAME)
def test_who_is_called_the_same_passes_in_any_spelling(text: str) -> None:
    assert called_as(text)[1] == 0


@pytest.mark.parametrize("text", OTHER)
def test_who_only_looks_the_same_is_forbidden(text: str) -> None:
    assert called_as(text)[1] == 403


@pytest.mark.parametrize("text", BROKEN)
def test_what_two_readers_could_read_differently_is_no_name(text: str) -> None:
    assert called_as(text)[1] == 400


@pytest.mark.parametrize("text", OTHER)
def test_nobody_registers_for_whom_he_only_looks_like(text: str) -> None:
    talk = Talk()
    alice = talk.phone("alice")
    packet = alice.request("REGISTER", f"sip:{HOST}", to=f"<sip:alice@{HOST}>")
    authorized = alice.with_credentials(packet, challenged(talk, alice, packet))
    talk >> with_header(authorized, "To", text)
    assert [octets[8:11] in (b"400", b"403", b"404") for _, octets in talk.sent] == [True]
    assert len(talk.core.usrloc) == 0


# -- credentials ---------------------------------------------------------------------------------------

NAMES = ("username", "realm", "nonce", "uri", "response", "algorithm", "qop", "nc", "cnonce", "opaque", "x")
VALUES = (
    '""',
    '"',
    "",
    "=",
    ",",
    '"a"',
    "a",
    '"alice"',
    '"edgesip"',
    "MD5",
    "SHA-256",
    "auth-int",
    "\\",
    '"\\"',
    "0",
)


def made_up(dice: random.Random, right: str) -> str:
    """The right credentials with parts missing, doubled, changed or in disorder; never right any more."""
    scheme, _, rest = right.partition(" ")
    parts = rest.split(", ")
    needed = [at for at, part in enumerate(parts) if not part.startswith("algorithm")]
    at = dice.choice(needed)
    how = dice.randrange(6)
    if how == 0:
        del parts[at]
    elif how == 1:
        parts.insert(dice.randrange(len(parts) + 1), parts[at])
    elif how == 2:
        parts[at] = f"{parts[at].partition('=')[0]}={dice.choice(VALUES)}"
    elif how == 3:
        parts = [f"{dice.choice(NAMES)}={dice.choice(VALUES)}" for _ in range(dice.randrange(12))]
    elif how == 4:
        return f"{scheme} {rest[: dice.randrange(len(rest))]}"
    else:
        scheme = dice.choice(("Basic", "Digests", "", "Digest,", "Bearer", "NoOneKnowsThisScheme"))
    dice.shuffle(parts)
    return f"{scheme} {', '.join(parts)}"


def test_two_hundred_credentials_that_are_not_right_open_nothing() -> None:
    """And nobody is banned for them meanwhile: another test's matter."""
    dice = random.Random(8)
    talk = Talk(guard=GuardSettings(ban=BanSettings(enabled=False)))
    alice = talk.phone("alice")
    packet = alice.request("REGISTER", f"sip:{HOST}", to=f"<sip:alice@{HOST}>")
    authorized = alice.with_credentials(packet, challenged(talk, alice, packet))
    right = parse(authorized.octets).headers.get("Authorization") or ""
    for number in range(200):
        value = made_up(dice, right)
        other = with_header(authorized, "Authorization", value)
        branch = Packet(alice, other.octets.replace(b"branch=z9hG4bK", b"branch=z9hG4bK%d-" % number, 1))
        answer = challenged(talk, alice, branch)
        assert answer.status in (400, 401, 403), value
        assert (answer.status == 401) == ("WWW-Authenticate" in answer.headers)
    assert len(talk.core.usrloc) == 0
    talk.wait(61)  # for the back-off
    again = challenged(talk, alice, packet)
    assert challenged(talk, alice, alice.with_credentials(packet, again)).status == 200, (
        "the right ones still do"
    )


@pytest.mark.parametrize("realm", ["other", "EDGESIP", "edgesip ", "", "edgesip\\", f"{HOST}"])
def test_another_realm_is_asked_again_for_ours(realm: str) -> None:
    talk = Talk()
    alice = talk.phone("alice")
    packet = alice.request("REGISTER", f"sip:{HOST}", to=f"<sip:alice@{HOST}>")
    authorized = alice.with_credentials(packet, challenged(talk, alice, packet))
    value = (parse(authorized.octets).headers.get("Authorization") or "").replace('"edgesip"', f'"{realm}"')
    answer = challenged(talk, alice, with_header(authorized, "Authorization", value))
    assert answer.status == 401
    assert 'realm="edgesip"' in (answer.headers.get("WWW-Authenticate") or "")
