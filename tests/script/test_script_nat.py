"""NAT in scripts: what leaves when a script repairs a request or a reply, and what each function answers."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from talk import SDP, SERVER, Packet, Phone, Talk

from edgesip.address import Addr
from edgesip.script import ReplyCall, Rooms, load
from edgesip.signal.nat.rules import NatRules
from edgesip.signal.proxy.inbound import Passing
from edgesip.signal.wire.message import Request, Response, parse

SOURCE = Addr("198.51.100.9", 40009)
FAR = Addr("198.51.100.77", 5060)
RULES = NatRules("hole", 0, "a=done:1", False)
"""Every rule other than usual."""

HEAD = "from edgesip.script import *\n\n"
FORWARD = "    return Forward(('sip:bob@198.51.100.77',))\n"


def script(directory: Path, request: str = "", **hooks: str) -> Talk:
    """A core whose script does these lines; `request` forwards to FAR afterwards."""
    text = HEAD + "def request(call):\n" + textwrap.indent(textwrap.dedent(request), "    ") + FORWARD
    for name, body in hooks.items():
        text += f"\ndef {name}(call):\n" + textwrap.indent(textwrap.dedent(body), "    ")
    path = directory / "route.py"
    path.write_text(text)
    return Talk(script=load(path))


def ruled(talk: Talk, rules: NatRules) -> Talk:
    """The same, and other rules in the profile."""
    talk.rooms = replace(talk.rooms, nat=rules)
    return talk


def invited(talk: Talk, contact: str | None = None, body: bytes = SDP, **more: object) -> Request:
    """The INVITE that leaves."""
    alice = talk.phone("alice", nat=True, at=SOURCE)
    talk >> alice.invite("bob", contact=contact, body=body, **more) << (alice, 100)
    return talk.request(FAR, "INVITE")


def said(directory: Path, expression: str, contact: str | None = None, body: bytes = SDP) -> str:
    """What an expression about a request is, as text."""
    talk = script(directory, f"return Reply(299, repr(({expression})))\n")
    alice = talk.phone("alice", nat=True, at=SOURCE)
    talk >> alice.invite("bob", contact=contact, body=body)
    return talk.response(alice, 299).reason


def answered(talk: Talk, headers: Sequence[tuple[str, str]] = (), body: bytes = b"") -> Response:
    """What the caller gets of a 200 that bob, behind a NAT, sends."""
    alice = talk.phone("alice", at=Addr("198.51.100.8", 5060))
    bob = Phone("bob", FAR, Addr("192.168.7.7", 5060))
    talk >> alice.invite("bob") << (alice, 100)
    ok = bob.reply(talk.request(FAR, "INVITE"), 200, headers=headers, body=body)
    talk >> ok
    return talk.response(alice, 200)


# ---- what each answers, and answers the second time

TWICE = {
    "call.set_contact_alias()": ((True, False), (False, False)),
    "call.set_contact_alias(1)": ((True, False), (False, False)),
    "call.add_contact_alias()": ((True, False), (True, True)),
    "call.add_contact_alias('192.0.2.1', 5061, 'tls')": ((True, False), (False, False)),
    "call.fix_nated_contact()": ((True, False), (False, False)),
    "call.fix_contact()": ((True, True), (False, False)),
    "call.add_rcv_param()": ((True, True), (False, False)),
    "call.add_rcv_param(1)": ((True, True), (False, False)),
    "call.encode_contact('e', '203.0.113.1')": ((True, True), (False, False)),
    "call.contact_param_encode('oct', 'sip:203.0.113.1')": ((True, True), (False, False)),
    "call.contact_param_encode_alias('oct', '203.0.113.1')": ((True, True), (False, False)),
    "call.decode_contact_header()": ((False, False), (False, False)),
    "call.contact_param_decode('oct')": ((False, False), (False, False)),
    "call.contact_param_check('oct')": ((False, False), (False, False)),
    "call.contact_param_rm('oct')": ((False, False), (False, False)),
}


@pytest.mark.parametrize("asked", TWICE)
def test_with_a_contact_and_without(tmp_path: Path, asked: str) -> None:
    there, none = TWICE[asked]
    assert said(tmp_path, f"{asked}, {asked}") == repr(there)
    assert said(tmp_path, f"{asked}, {asked}", contact="") == repr(none)


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("call.add_contact_alias('192.0.2.1', 0, 'udp')", "no address and port"),
        ("call.add_contact_alias('', 5060, 'udp')", "no address and port"),
        ("call.is_rfc1918('phone.example')", "is no address"),
        ("call.fix_nated_sdp(0)", "no flags"),
        ("call.fix_nated_sdp(16)", "no flags"),
        ("call.fix_nated_sdp(2, 'h')", "no address"),
        ("call.encode_contact('a*b', 'h')", "separates the parts"),
        ("call.contact_param_encode('a b', 'h')", "no name of a parameter"),
        ("call.contact_param_encode_alias('p', 'elsewhere.example')", "is not ours"),
    ],
)
def test_what_is_nonsense_is_told(tmp_path: Path, expression: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        said(tmp_path, expression)


def test_private_addresses(tmp_path: Path) -> None:
    hosts = ("192.168.1.1", "100.64.0.1", "192.0.0.9", "198.51.100.1", "fd00::1")
    asked = ", ".join(f"call.is_rfc1918({host!r})" for host in hosts)
    assert said(tmp_path, asked) == "(True, True, True, False, False)"


# ---- Contact


@pytest.mark.parametrize(
    ("asked", "before", "after"),
    [
        (
            "call.add_rcv_param(1)",
            "<sip:alice@192.168.1.10:5060;ob>;q=1",
            "<sip:alice@192.168.1.10:5060;ob;received=sip:198.51.100.9:40009>;q=1",
        ),
        ("call.fix_nated_contact()", "<sip:alice@h;maddr=10.0.0.1;ob>", "<sip:alice@198.51.100.9:40009;ob>"),
        ("call.add_contact_alias()", "<sip:alice@198.51.100.9:40009>", "<sip:alice@198.51.100.9:40009>"),
        (
            "call.add_contact_alias()",
            "sip:alice@192.168.1.10;expires=60",
            "<sip:alice@192.168.1.10;alias=198.51.100.9~40009~1>;expires=60",
        ),
        (
            "call.encode_contact('e', '203.0.113.1')",
            "<sip:alice@192.168.1.10:5060;transport=udp>",
            "<sip:e*alice**192.168.1.10*5060*udp@203.0.113.1>",
        ),
        (
            "call.decode_contact_header()",
            "<sip:e*al**10.0.0.1*5070*tcp@h>",
            "<sip:al@10.0.0.1:5070;transport=tcp>",
        ),
        ("call.contact_param_rm('x')", "<sip:alice@h;x=1;y>", "<sip:alice@h;y>"),
    ],
)
def test_a_contact_leaves_like_this(tmp_path: Path, asked: str, before: str, after: str) -> None:
    received = invited(script(tmp_path, f"assert {asked}\n"), contact=before)
    assert received.headers.all("Contact") == [after]


def test_where_the_alias_of_a_contact_leads(tmp_path: Path) -> None:
    asked = "call.set_alias_to_pv()"
    contact = "<sip:al@10.0.0.1;alias=198.51.100.1~4000~2>"
    assert said(tmp_path, asked, contact=contact) == "'sip:198.51.100.1:4000;transport=tcp'"
    six = "<sip:al@10.0.0.1;alias=[2001:db8::1]~4000~1>"
    assert said(tmp_path, asked, contact=six) == "'sip:[2001:db8::1]:4000;transport=udp'"
    for other in ("<sip:al@h>", "<sip:al@h;alias=1.2.3.4~5~9>", f"{contact}, <sip:b@h>", "", "*"):
        assert said(tmp_path, asked, contact=other) == "''", other


def test_the_nth_contact_with_its_source(tmp_path: Path) -> None:
    contact = '"A" <sip:a@10.0.0.1;ob>;q=1, <sip:b@10.0.0.2>'
    asked = "call.rewrite_contact(), call.rewrite_contact(2), call.rewrite_contact(3)"
    first, second = '"A" <sip:a@198.51.100.9:40009;ob>;q=1', "<sip:b@198.51.100.9:40009>"
    assert said(tmp_path, asked, contact=contact) == repr((first, second, ""))


def test_masks_come_off_the_request_uri(tmp_path: Path) -> None:
    asked = "call.decode_contact(), call.ruri_text"
    assert said(tmp_path, asked) == repr((False, f"sip:bob@{SERVER.host}"))
    talk = script(tmp_path, f"return Reply(299, repr(({asked})))\n")
    alice = talk.phone("alice", at=SOURCE)
    talk >> alice.invite(f"sip:e*bob**10.0.0.2*5070*tcp@{SERVER.host}")
    assert talk.response(alice, 299).reason == repr((True, "sip:bob@10.0.0.2:5070;transport=tcp"))
    talk = script(
        tmp_path, "return Reply(299, repr((call.contact_param_decode_ruri('o'), call.ruri_text)))\n"
    )
    alice = talk.phone("alice", at=SOURCE)
    talk >> alice.invite(f"sip:{SERVER.host};o=c2lwOmJvYkAxMC4wLjAuMg")
    assert talk.response(alice, 299).reason == repr((True, "sip:bob@10.0.0.2"))


# ---- SDP


def test_sdp_of_a_request_is_made_true(tmp_path: Path) -> None:
    received = invited(script(tmp_path, "assert call.fix_nated_sdp(10)\n"))
    assert b"c=IN IP4 198.51.100.9\r\n" in received.body
    assert b"o=- 1 1 IN IP4 198.51.100.9\r\n" in received.body
    assert received.body.endswith(b"a=oldmediaip:192.168.1.10\r\n")
    assert received.headers.content_type == "application/sdp"
    again = invited(script(tmp_path, "call.fix_nated_sdp(2)\nassert call.fix_nated_sdp(5, '192.0.2.1')\n"))
    assert b"c=IN IP4 198.51.100.9\r\n" in again.body
    assert b"a=direction:active\r\n" in again.body
    assert b"a=nortpproxy:yes\r\n" in again.body


def test_sdp_to_an_address_of_choice(tmp_path: Path) -> None:
    received = invited(script(tmp_path, "assert call.fix_nated_sdp(2, '192.0.2.1')\n"))
    assert b"c=IN IP4 192.0.2.1\r\n" in received.body


def test_no_sdp_and_the_other_family_are_false(tmp_path: Path) -> None:
    assert said(tmp_path, "call.fix_nated_sdp(2)", body=b"") == "False"
    assert said(tmp_path, "call.fix_nated_sdp(2, '2001:db8::1')") == "False"
    assert invited(script(tmp_path, "call.fix_nated_sdp(2, '2001:db8::1')\n")).body == SDP


def test_a_branch_has_its_own_sdp(tmp_path: Path) -> None:
    talk = script(tmp_path, "call.fix_nated_sdp(1)\n", branch="call.fix_nated_sdp(2)\n")
    received = invited(talk)
    assert b"a=direction:active\r\n" in received.body
    assert b"c=IN IP4 198.51.100.9\r\n" in received.body


def test_after_a_failure_too(tmp_path: Path) -> None:
    talk = script(
        tmp_path,
        failure="""
        call.fix_nated_sdp(2)
        call.set_contact_alias()
        return Forward(("sip:box@198.51.100.88",))
        """,
    )
    alice = talk.phone("alice", nat=True, at=SOURCE)
    talk >> alice.invite("bob") << (alice, 100)
    bob = Phone("bob", FAR, FAR)
    talk >> bob.reply(talk.request(FAR, "INVITE"), 486) << (bob, "ACK")
    received = talk.request(Addr("198.51.100.88", 5060), "INVITE")
    assert b"c=IN IP4 198.51.100.9\r\n" in received.body
    assert received.headers.contacts[0].uri.param("alias") == "198.51.100.9~40009~1"


def test_sdp_of_a_reply_is_made_true(tmp_path: Path) -> None:
    talk = script(tmp_path, reply="assert call.fix_nated_sdp(2)\n")
    assert b"c=IN IP4 198.51.100.77\r\n" in answered(talk, body=SDP).body
    talk = script(tmp_path, reply="assert not call.fix_nated_sdp(2)\n")
    assert answered(talk).body == b""


def test_the_relay_is_given_what_the_script_made_of_it(tmp_path: Path) -> None:
    talk = script(
        tmp_path, "call.fix_nated_sdp(2)\ncall.rtpproxy_manage()\n", reply="call.fix_nated_sdp(2)\n"
    )
    alice = talk.phone("alice", nat=True, at=SOURCE)
    bob = Phone("bob", FAR, Addr("192.168.7.7", 5060))
    talk >> alice.invite("bob") << (alice, 100)
    received = talk.request(FAR, "INVITE")
    talk >> bob.reply(received, 200, body=SDP)
    assert b"a=offered-by:caller" in received.body
    answer = talk.response(alice, 200).body
    assert b"a=answered-by:callee" in answer
    assert b"c=IN IP4 198.51.100.77" in answer, "the relay of these tests writes no address"


# ---- replies


@pytest.mark.parametrize(
    ("asked", "after"),
    [
        ("call.set_contact_alias()", "<sip:bob@192.168.7.7:5060;alias=198.51.100.77~5060~1>"),
        ("call.set_contact_alias(1)", "<sip:bob@192.168.7.7:5060;alias=198.51.100.77~5060~1>"),
        ("call.add_contact_alias()", "<sip:bob@192.168.7.7:5060;alias=198.51.100.77~5060~1>"),
        ("call.fix_nated_contact()", "<sip:bob@198.51.100.77:5060>"),
        ("call.encode_contact('e', 'h')", "<sip:e*bob**192.168.7.7*5060*@h>"),
        ("call.contact_param_encode('o', 'h')", "<sip:h;o=c2lwOmJvYkAxOTIuMTY4LjcuNzo1MDYw>"),
        ("call.is_rfc1918('10.0.0.1')", "<sip:bob@192.168.7.7:5060>"),
    ],
)
def test_the_contact_of_a_reply(tmp_path: Path, asked: str, after: str) -> None:
    response = answered(script(tmp_path, reply=f"assert {asked}\n"))
    assert response.headers.all("Contact") == [after]


def first_hop(record_routes: Sequence[str], mode: int = 0, source: Addr = FAR) -> bool:
    """`is_first_hop` of a reply with these Record-Routes."""
    talk = Talk()
    bob = Phone("bob", source, source)
    packet = Packet(
        bob,
        b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 203.0.113.1;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\n"
        b"To: <sip:b@h>;tag=2\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n"
        + b"".join(f"Record-Route: {one}\r\n".encode() for one in record_routes)
        + b"\r\n",
    )
    return asked_of(talk.rooms, packet, mode)


def asked_of(rooms: Rooms, packet: Packet, mode: int) -> bool:
    response = parse(packet.octets)
    assert isinstance(response, Response)
    passing = Passing(response, packet.phone.flow, None, False)  # type: ignore[arg-type]
    return ReplyCall(passing, rooms, 0.0).is_first_hop(mode)


@pytest.mark.pure
def test_whose_reply_comes_to_us_first() -> None:
    assert first_hop([])
    assert first_hop(["<sip:203.0.113.1;lr>"])
    assert first_hop(["<sip:203.0.113.1;lr>", "<sip:192.0.2.9;lr>"])
    assert not first_hop(["<sip:192.0.2.9;lr>", "<sip:203.0.113.1;lr>"]), "another proxy is nearer"
    assert not first_hop(["<sip:203.0.113.1;lr>"], source=SERVER), "it is our own, come back"
    assert first_hop(["<sip:203.0.113.1;lr>"], mode=1, source=SERVER)
    assert first_hop(["<sip:203.0.113.1;transport=tcp;lr>"], source=SERVER)


# ---- nat_uac_test 512, and where a branch goes


def test_the_next_hop_of_a_request(tmp_path: Path) -> None:
    asked = "call.nat_uac_test(512), call.setdsturi('sip:198.51.100.3:5070'), call.nat_uac_test(512)"
    assert said(tmp_path, asked) == "(False, None, True)"
    same = f"call.setdsturi('sip:{SERVER.host}'), call.nat_uac_test(512)"
    assert said(tmp_path, same) == "(None, False)"
    moved = "call.seturi('sip:b@198.51.100.3:5070'), call.setdsturi('sip:198.51.100.3:5070')"
    assert said(tmp_path, f"{moved}, call.nat_uac_test(512)") == "(None, None, False)"


def test_the_next_hop_of_a_branch_to_a_registered_phone(tmp_path: Path) -> None:
    path = tmp_path / "route.py"
    path.write_text(
        HEAD + "def request(call):\n"
        "    return Save() if call.method == 'REGISTER' else Forward(call.lookup())\n\n"
        "def branch(call):\n"
        "    call.append_hf('X-NAT', str(call.nat_uac_test(512)))\n"
    )
    talk = Talk(script=load(path))
    alice, bob, carol = talk.phone("alice"), talk.phone("bob", nat=True), talk.phone("carol")
    for phone in (bob, carol):
        talk >> phone.request("REGISTER", f"sip:{SERVER.host}", to=f"<sip:{phone.name}@{SERVER.host}>")
        assert talk.response(phone, 200)
    for phone, differs in ((bob, "True"), (carol, "False")):
        talk >> alice.invite(phone.name) << (alice, 100)
        assert talk.request(phone, "INVITE").headers.get("X-NAT") == differs


@pytest.mark.parametrize(
    "body",
    ["call.handle_ruri_alias()", "call.setdsturi('sip:198.51.100.88:4000')"],
)
def test_a_branch_goes_where_its_hook_says(tmp_path: Path, body: str) -> None:
    path = tmp_path / "route.py"
    path.write_text(
        HEAD + "def request(call):\n"
        "    return Forward(('sip:bob@198.51.100.77;alias=198.51.100.88~4000~1',))\n\n"
        f"def branch(call):\n    {body}\n"
    )
    talk = Talk(script=load(path))
    alice = talk.phone("alice", at=SOURCE)
    talk >> alice.invite("bob") << (alice, 100)
    received = talk.request(Addr("198.51.100.88", 4000), "INVITE")
    assert ("alias" in received.uri) == ("alias" not in body)


@pytest.mark.parametrize("dst", [f"{SERVER.host}:5060", "127.0.0.1:4000", "198.51.100.8:5060;transport=ws"])
def test_a_branch_that_can_go_nowhere_does_not_go(tmp_path: Path, dst: str) -> None:
    talk = script(tmp_path, branch=f"call.setdsturi('sip:{dst}')\n")
    alice = talk.phone("alice", at=SOURCE)
    talk >> alice.invite("bob") << (alice, 100) << (alice, 480)
    assert not [flow for flow, data in talk.sent if data.startswith(b"INVITE")]


# ---- rules of the profile


def test_the_parameter_has_the_name_that_the_profile_gives_it(tmp_path: Path) -> None:
    for asked in ("call.set_contact_alias()", "call.set_contact_alias(1)", "call.add_contact_alias()"):
        received = invited(ruled(script(tmp_path, f"{asked}\n"), RULES), contact="<sip:al@h;alias=x>")
        assert received.headers.contacts[0].uri.param("hole") == "198.51.100.9~40009~1", asked
        assert received.headers.contacts[0].uri.param("alias") == "x"
    talk = ruled(script(tmp_path, "call.handle_ruri_alias()\nreturn Reply(299, call.dst_uri)\n"), RULES)
    alice = talk.phone("alice", at=SOURCE)
    talk >> alice.invite("sip:bob@h;alias=192.0.2.1~1~1;hole=198.51.100.88~4000~2")
    assert talk.response(alice, 299).reason == "sip:198.51.100.88:4000;transport=tcp"


def test_marks_and_private_addresses_are_those_of_the_profile(tmp_path: Path) -> None:
    received = invited(ruled(script(tmp_path, "call.fix_nated_sdp(6)\n"), RULES))
    assert received.body.endswith(b"a=done:1\r\n")
    assert b"oldmediaip" not in received.body
    body = "hosts = ('192.0.0.8', '192.0.0.7', '10.0.0.1')\n"
    body += "return Reply(299, repr([call.is_rfc1918(one) for one in hosts] + [call.nat_uac_test(1)]))\n"
    talk = ruled(script(tmp_path, body), RULES)
    alice = talk.phone("alice", at=SOURCE)
    talk >> alice.invite("bob", contact="<sip:al@192.0.0.8>")
    assert talk.response(alice, 299).reason == "[False, True, True, False]"
