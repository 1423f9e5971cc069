"""Whom we believe what: every method from every kind of sender, identities that only the trusted may assert,
and nothing to learn for those who guess names (threats 11, 13, 14, 18, 19).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hostile import hostile
from talk import SERVER, Packet, Phone, Talk

from edgesip.address import Addr
from edgesip.script import load
from edgesip.signal.guard import digest
from edgesip.signal.guard.bans import BanSettings
from edgesip.signal.guard.guard import GuardSettings
from edgesip.signal.guard.pike import PikeSettings
from edgesip.signal.proxy.upstream import Upstream
from edgesip.signal.wire.headers import replaced
from edgesip.signal.wire.message import Request, Response, parse
from edgesip.signal.wire.uri import parse_uri
from edgesip.store.api import digest_of

HOST = SERVER.host
TRUNK = Addr("192.0.2.50", 5060)
QUIET = GuardSettings(pike=PikeSettings(reqs_density_per_unit=100_000), ban=BanSettings(enabled=False))
METHODS = (
    "REGISTER",
    "INVITE",
    "ACK",
    "CANCEL",
    "BYE",
    "OPTIONS",
    "MESSAGE",
    "SUBSCRIBE",
    "NOTIFY",
    "PUBLISH",
    "REFER",
    "INFO",
    "UPDATE",
    "PRACK",
)


def house(**more: object) -> Talk:
    upstream = Upstream(parse_uri(f"sip:{TRUNK.host}"), re.compile(r"\+?[0-9*#]+"), frozenset({TRUNK.host}))
    return Talk(upstream=upstream, guard=QUIET, **more)  # type: ignore[arg-type]


def asked(phone: Phone, method: str) -> Packet:
    if method == "REGISTER":
        return phone.request(method, f"sip:{HOST}", to=f"<sip:{phone.name}@{HOST}>")
    return phone.request(method, f"sip:bob@{HOST}")


def outcome(talk: Talk, phone: Phone) -> str:
    """The status of the last answer to the phone, `to ADDRESS` where it went on; empty: nothing happened."""
    sent = talk.sent[:]
    talk.sent.clear()
    away = [flow.remote.host for flow, _ in sent if flow.remote != phone.at]
    if away:
        return f"to {away[0]}"
    return sent[-1][1][8:11].decode() if sent else ""


def with_password(talk: Talk, phone: Phone, packet: Packet) -> Packet:
    """The same again with what its challenge asks for; as it is, where it is not challenged."""
    talk >> packet
    if not talk.sent:
        return packet
    answer = parse(talk.sent.pop(0)[1])
    assert isinstance(answer, Response)
    if answer.status not in (401, 407):
        talk.sent.clear()
        return packet
    return phone.with_credentials(packet, answer)


def changed(packet: Packet, name: str, *values: str) -> Packet:
    request = parse(packet.octets)
    assert isinstance(request, Request)
    found = type(request.headers)(replaced(request.headers.fields, name, values))
    return Packet(packet.phone, bytes(Request(request.method, request.uri, found, request.body)))


# -- every method from everybody (threat 13) -----------------------------------------------------------------

ENDS = {"ACK": "", "CANCEL": "481"}


@pytest.mark.parametrize("method", METHODS)
def test_strangers_are_asked_for_a_password_whatever_they_open(method: str) -> None:
    talk = house()
    talk.register(talk.phone("bob"))
    stranger = talk.phone("mallory")
    talk >> asked(stranger, method)
    expected = {"REGISTER": "401", **ENDS}.get(method, "407")
    assert outcome(talk, stranger) == expected
    assert len(talk.core.transactions) == 0


@pytest.mark.parametrize("method", METHODS)
def test_subscribers_reach_others_once_they_have_proved_who_they_are(method: str) -> None:
    talk = house()
    talk.register(bob := talk.phone("bob"))
    alice = talk.phone("alice")
    packet = with_password(talk, alice, asked(alice, method))
    talk >> packet
    expected = {"REGISTER": "200", "PUBLISH": f"to {TRUNK.host}", **ENDS}
    assert outcome(talk, alice) == expected.get(method, f"to {bob.at.host}")


@pytest.mark.parametrize("method", METHODS)
def test_the_trunk_reaches_subscribers_without_and_registers_nobody(method: str) -> None:
    talk = house()
    talk.register(bob := talk.phone("bob"))
    trunk = talk.phone("491234", at=TRUNK)
    talk >> asked(trunk, method)
    expected = {"REGISTER": "401", "PUBLISH": "404", **ENDS}
    assert outcome(talk, trunk) == expected.get(method, f"to {bob.at.host}")


# -- locations change by REGISTER alone (threat 14) ----------------------------------------------------------


def test_fifty_requests_in_somebodys_name_from_elsewhere_move_nobody() -> None:
    talk = house()
    talk.register(alice := talk.phone("alice", nat=True))
    before = talk.core.usrloc.lookup("alice", talk.now)
    thief = talk.phone("alice")
    for number in range(50):
        packet = asked(thief, METHODS[number % len(METHODS)])
        if number % 2:
            packet = changed(packet, "Authorization", 'Digest username="alice", realm="edgesip"')
        talk >> packet
    assert talk.core.usrloc.lookup("alice", talk.now) == before
    assert before[0].flow.remote == alice.at


# -- nothing leaves for strangers (threat 19) ----------------------------------------------------------------

FALSE = (
    ("P-Asserted-Identity", f"<sip:boss@{HOST}>"),
    ("P-Asserted-Identity", "<tel:+4930123>"),
    ("Remote-Party-ID", f"<sip:boss@{HOST}>;party=calling;privacy=off"),
    ("Diversion", f"<sip:boss@{HOST}>;reason=unconditional"),
    ("P-Preferred-Identity", f"<sip:bob@{HOST}>"),
)
PLACES = ("sip:bob@elsewhere.example", "sip:+4930123@192.0.2.99", f"sip:bob@{HOST}:5099", "tel:+4930123")


def test_twenty_five_requests_that_would_use_us_as_an_open_relay_leave_nothing() -> None:
    talk = house()
    talk.register(talk.phone("bob"))
    stranger = talk.phone("mallory")
    packets = [changed(asked(stranger, "INVITE"), name, value) for name, value in FALSE]
    packets += [changed(asked(stranger, "MESSAGE"), name, value) for name, value in FALSE]
    packets += [stranger.request(method, uri) for uri in PLACES for method in ("INVITE", "MESSAGE")]
    routes = (
        "<sip:192.0.2.99;lr>",
        f"<sip:{HOST};lr>, <sip:192.0.2.99;lr>",
        "<sip:elsewhere.example>",
        "<sip:192.0.2.99>",
    )
    packets += [changed(asked(stranger, "INVITE"), "Route", route) for route in routes]
    packets += [changed(asked(stranger, "SUBSCRIBE"), "Route", route) for route in routes[:3]]
    assert len(packets) == 25
    for packet in packets:
        talk >> packet
        assert outcome(talk, stranger) in ("400", "403", "407", "416"), packet.octets
    assert len(talk.core.transactions) == 0


# -- identities (threat 5, RFC 3325) -------------------------------------------------------------------------


def went_on(talk: Talk, caller: Phone, user: str, *fields: tuple[str, str]) -> Request | str:
    """The INVITE as it leaves when the caller's password is right, or the status it brings."""
    packet = with_password(talk, caller, caller.invite(user))
    for name, value in fields:
        packet = changed(packet, name, value)
    talk >> packet
    for flow, octets in talk.sent:
        message = parse(octets)
        if isinstance(message, Request) and flow.remote != caller.at:
            talk.sent.clear()
            return message
    return outcome(talk, caller)


@pytest.mark.parametrize("field", FALSE[:4])
@pytest.mark.parametrize("user", ["bob", "4930123"])
def test_what_a_phone_asserts_of_itself_ends_here(field: tuple[str, str], user: str) -> None:
    talk = house()
    talk.register(talk.phone("bob"))
    sent = went_on(talk, talk.phone("alice"), user, field)
    assert isinstance(sent, Request)
    assert field[1] not in [value for _, value in sent.headers.fields]


def test_the_upstream_is_told_who_proved_the_password_and_phones_are_not() -> None:
    talk = house()
    talk.register(talk.phone("bob"))
    alice = talk.phone("alice")
    out = went_on(talk, alice, "4930123", FALSE[0], ("P-Preferred-Identity", f"<sip:alice@{HOST}>"))
    assert isinstance(out, Request)
    assert out.headers.all("P-Asserted-Identity") == [f"<sip:alice@{HOST}>"]
    assert "P-Preferred-Identity" not in out.headers
    inside = went_on(talk, alice, "bob")
    assert isinstance(inside, Request)
    assert "P-Asserted-Identity" not in inside.headers


def test_who_withholds_the_name_is_named_to_the_upstream_alone() -> None:
    talk = house()
    talk.register(talk.phone("bob"))
    alice = talk.phone("alice")
    nameless = '"Anonymous" <sip:anonymous@anonymous.invalid>;tag=1'
    out = went_on(talk, alice, "4930123", ("From", nameless), ("Privacy", "id"))
    assert isinstance(out, Request)
    assert out.headers.all("P-Asserted-Identity") == [f"<sip:alice@{HOST}>"]
    assert out.headers.get("Privacy") == "id"
    inside = went_on(talk, alice, "bob", ("From", nameless), ("Privacy", "id"))
    assert isinstance(inside, Request)
    assert not [value for _, value in inside.headers.fields if "alice" in value and "Contact" not in _]


@pytest.mark.parametrize(
    ("privacy", "shown"), [("id", False), ("user;id;critical", False), ("none", True), ("", True)]
)
def test_phones_see_what_the_trunk_asserts_unless_the_caller_withheld_it(privacy: str, shown: bool) -> None:
    talk = house()
    talk.register(bob := talk.phone("bob"))
    trunk = talk.phone("4930123", at=TRUNK)
    packet = changed(asked(trunk, "INVITE"), "P-Asserted-Identity", f"<sip:4930123@{TRUNK.host}>")
    packet = changed(packet, "Remote-Party-ID", f"<sip:4930123@{TRUNK.host}>")
    packet = changed(packet, "Diversion", "<tel:+4999>")
    talk >> (changed(packet, "Privacy", privacy) if privacy else packet) << (trunk, 100)
    got = talk.request(bob, "INVITE")
    assert ("P-Asserted-Identity" in got.headers) is shown
    assert ("Remote-Party-ID" in got.headers) is shown
    assert "Diversion" in got.headers


def test_what_a_phone_asserts_when_it_answers_ends_here_too() -> None:
    talk = house()
    talk.register(bob := talk.phone("bob"))
    trunk = talk.phone("4930123", at=TRUNK)
    talk >> asked(trunk, "INVITE") << (trunk, 100)
    received = talk.request(bob, "INVITE")
    talk >> bob.reply(received, 180, headers=[("P-Asserted-Identity", f"<sip:boss@{HOST}>")])
    assert "P-Asserted-Identity" not in talk.response(trunk, 180).headers


IMPOSTORS = (
    ("P-Preferred-Identity", f"<sip:bob@{HOST}>"),
    ("P-Preferred-Identity", f"<sip:alice@{HOST}>, <sip:bob@{HOST}>"),
    ("P-Preferred-Identity", f"<sip:alice;x@{HOST}>"),
    ("P-Preferred-Identity", f"<sip:alice%00@{HOST}>"),
    ("P-Preferred-Identity", f"<sip:%2561lice@{HOST}>"),
    ("P-Preferred-Identity", "<tel:+4930123>"),
    ("Contact", "<sip:bob@192.0.2.7>"),
    ("Contact", '"alice" <sip:%62ob@192.0.2.7>'),
    ("From", f"<sip:bob@{HOST}>;tag=1"),
    ("From", "<sip:anonymous@elsewhere.example>;tag=1"),
    ("From", f"<sip:%E2%84%AAate@{HOST}>;tag=1"),
)


@pytest.mark.parametrize("field", IMPOSTORS)
def test_whoever_claims_to_be_another_is_forbidden(field: tuple[str, str]) -> None:
    talk = house()
    talk.register(talk.phone("bob"))
    assert went_on(talk, talk.phone("alice"), "bob", field) == "403"


def test_kelvin_is_no_k() -> None:
    talk = house(users=("kate", "bob"))
    talk.register(talk.phone("bob"))
    kelvin = f"<sip:%E2%84%AAate@{HOST}>;tag=1"
    assert went_on(talk, talk.phone("kate"), "bob", ("From", kelvin)) == "403"


@pytest.mark.parametrize("contact", ["<sip:alice-0x55f@192.0.2.7>", "<sip:192.0.2.7>", "<sip:q7x@a.invalid>"])
def test_contacts_that_phones_make_up_are_nobodys(contact: str) -> None:
    talk = house()
    talk.register(talk.phone("bob"))
    assert isinstance(went_on(talk, talk.phone("alice"), "bob", ("Contact", contact)), Request)


def test_nobody_registers_in_anothers_from() -> None:
    talk = house()
    alice = talk.phone("alice")
    packet = with_password(talk, alice, asked(alice, "REGISTER"))
    talk >> changed(packet, "From", f"<sip:bob@{HOST}>;tag=1")
    assert outcome(talk, alice) == "403"


# -- who exists (threat 11) ----------------------------------------------------------------------------------

ACL = """
from edgesip.script import Reply, Save

def request(call):
    if call.method == "REGISTER" and not call.is_in_subnet("10.0.0.0/8") and call.to_user == "alice":
        return call.auth_challenge()
    return call.auth_check() or Reply(480)
"""


def seen(answer: bytes) -> str:
    """An answer without what differs between any two."""
    text = answer.decode()
    text = re.sub(r'nonce="[^"]*"', lambda found: f"nonce={len(found[0])}", text)
    return re.sub(r"tag=[^\r;]*|branch=[^\r;]*|Call-ID: .*|CSeq: \d+|rport=\d+|198\.51\.100\.\d+", "_", text)


@pytest.mark.pure
@pytest.mark.parametrize("method", ["REGISTER", "INVITE", "OPTIONS", "MESSAGE", "SUBSCRIBE"])
@pytest.mark.parametrize("acl", [False, True])
def test_known_unknown_and_denied_names_get_the_same_octets_for_the_same_work(
    method: str, acl: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work: list[str] = []
    real: Callable[[str, bytes], str] = digest_of
    monkeypatch.setattr(digest, "digest_of", lambda name, data: work.append(name) or real(name, data))  # type: ignore[func-returns-value]
    script = tmp_path / "acl.py"
    script.write_text(ACL)
    shapes, costs = set(), set()
    for target in ("alice", "carol", "wrong", "nouse"):
        talk = house(script=load(script) if acl else None)
        talk.register(talk.phone("carol")) if not acl else None
        guesser = talk.phone(target)
        guesser.password = "guess"
        uri = f"sip:{HOST}" if method == "REGISTER" else f"sip:{target}@{HOST}"
        packet = guesser.request(method, uri, to=f"<sip:{target}@{HOST}>", call_id="same")
        talk >> packet
        first = talk.sent.pop(0)[1]
        answer = parse(first)
        assert isinstance(answer, Response)
        work.clear()
        digest._cached_ha2.cache_clear()
        talk >> guesser.with_credentials(packet, answer)
        second = talk.sent.pop(0)[1]
        denied = acl and method == "REGISTER" and target == "alice"
        costs.add(len(work)) if not denied else None
        shapes.add((seen(first).replace(target, "USER "), seen(second).replace(target, "USER ")))
    assert len(costs) == 1
    assert len(shapes) == 1


# -- text that is more than text elsewhere (threat 18) -------------------------------------------------------


def test_three_hundred_hostile_names_are_text_and_nobody() -> None:
    talk = house()
    alice = talk.phone("alice")
    packet = asked(alice, "REGISTER")
    talk >> packet
    right = alice.with_credentials(packet, talk.response(alice, 401))
    for number, text in enumerate(hostile()):
        talk.now += 1.0
        name = text.replace("\\", "\\\\").replace('"', '\\"').encode("utf-8", "surrogateescape")
        octets = right.octets.replace(b'username="alice"', b'username="%s"' % name)
        octets = octets.replace(b"\r\n\r\n", b"\r\nUser-Agent: %s\r\n\r\n" % name, 1)
        octets = octets.replace(b"branch=z9hG4bK", b"branch=z9hG4bK%d-" % number, 1)
        talk >> Packet(alice, octets)
        assert outcome(talk, alice) in ("400", "401"), repr(text)
    assert len(talk.core.usrloc) == 0
