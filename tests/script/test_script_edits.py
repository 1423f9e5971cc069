"""What a script changes: in the copy that leaves, in the answer, in the request URI; and what it may not."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from talk import SDP, Talk

from edgesip.address import Addr
from edgesip.script import load
from edgesip.signal.wire.message import Request

HOME = Addr("198.51.100.8", 5060)

HEAD = "from edgesip.script import *\n\n"


def talking(directory: Path, body: str, **more: Any) -> Talk:
    """A core whose script is these lines of `request(call)`."""
    path = directory / "route.py"
    path.write_text(HEAD + "def request(call):\n" + textwrap.indent(textwrap.dedent(body), "    "))
    return Talk(script=load(path), **more)


def left(
    directory: Path, body: str, headers: Sequence[tuple[str, str]] = (), contact: str | None = None
) -> Request:
    """The INVITE that leaves for 198.51.100.77 when a script does this to it."""
    talk = talking(directory, textwrap.dedent(body) + "\nreturn Forward(('sip:bob@198.51.100.77',))\n")
    alice = talk.phone("alice", nat=True, at=Addr("198.51.100.9", 40009))
    talk >> alice.invite("bob", headers=headers, contact=contact) << (alice, 100)
    return talk.request(Addr("198.51.100.77", 5060), "INVITE")


def said(directory: Path, expression: str, **more: Any) -> str:
    """What an expression about a request is, as text."""
    talk = talking(directory, f"return Reply(299, repr(({expression})))\n")
    alice = talk.phone("alice", nat=True, at=Addr("198.51.100.9", 40009))
    talk >> alice.invite("bob", **more)
    return talk.response(alice, 299).reason


# ---- header fields


def test_fields_are_appended_inserted_removed_and_rewritten(tmp_path: Path) -> None:
    received = left(
        tmp_path,
        """
        call.append_hf("X-Last", "1")
        call.append_hf("P-hint: outbound\\r\\n")
        call.insert_hf("History-Info", "<sip:new@h>")
        call.remove_hf("subject")
        call.remove_hf_re("^x-internal-")
        assert call.subst_hf("X-Path", "/a+/b/g")
        assert not call.subst_hf("X-Path", "/zzz/b/")
        """,
        [
            ("Subject", "s"),
            ("X-Internal-A", "1"),
            ("X-Internal-B", "2"),
            ("History-Info", "<sip:old@h>"),
            ("X-Path", "aaxa"),
        ],
    )
    fields = received.headers
    assert fields.all("History-Info") == ["<sip:new@h>", "<sip:old@h>"]
    assert (fields.get("X-Last"), fields.get("P-hint"), fields.get("X-Path")) == ("1", "outbound", "bxb")
    assert [name for name, _ in fields.fields if name.lower().startswith(("subject", "x-internal"))] == []


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("call.remove_hf('v')", "Via is the proxy's business"),
        ("call.remove_hf('Record-Route')", "Record-Route is the proxy's business"),
        ("call.subst_hf('From', '/a/b/')", "From is the proxy's business"),
        ("call.append_hf('To', 'x')", "To is the proxy's to write"),
        ("call.append_hf('X', 'a\\r\\nY: b')", "one line"),
        ("call.append_hf('X Y', 'a')", "no name of a header field"),
        ("call.append_hf('X')", "a name and a value"),
        ("call.append_to_reply('X', 'a\\nb')", "one line"),
        ("call.set_body('x', 'a\\r\\nb')", "one line"),
        ("call.remove_hf_re('(')", "no regular expression"),
        ("call.search_hf('X', 'a', 'q')", "flags are a, f or l"),
        ("call.add_contact_alias('nowhere', 5060, 'udp')", "no address and port"),
        ("call.add_contact_alias('192.0.2.1', 5060, 'smoke')", "no alias digit"),
        ("call.add_rr_param(';a b')", "no URI parameter"),
        ("call.setdsturi('sip:name.example')", "no sip:ADDRESS"),
        ("call.is_direction('sideways')", "downstream or upstream"),
    ],
)
def test_what_a_script_may_not_do_is_told(tmp_path: Path, body: str, told: str) -> None:
    talk = talking(tmp_path, body)
    with pytest.raises(ValueError, match=told):
        talk >> talk.phone("alice", at=HOME).invite("bob")


def test_a_pattern_that_matches_everything_leaves_what_a_proxy_needs(tmp_path: Path) -> None:
    received = left(tmp_path, "call.remove_hf_re('.')", [("Subject", "s")])
    names = {name for name, _ in received.headers.fields}
    assert {"Via", "From", "To", "Call-ID", "CSeq", "Max-Forwards", "Record-Route"} <= names
    assert not names & {"Subject", "Contact", "Content-Type"}


@pytest.mark.parametrize(
    ("body", "contact"),
    [
        ("call.set_contact_alias()", "<sip:alice@192.168.1.10:5060;alias=198.51.100.9~40009~1>"),
        ("call.add_contact_alias()", "<sip:alice@192.168.1.10:5060;alias=198.51.100.9~40009~1>"),
        (
            "call.add_contact_alias('192.0.2.1', 5061, 'TLS')",
            "<sip:alice@192.168.1.10:5060;alias=192.0.2.1~5061~3>",
        ),
        ("call.fix_nated_contact()", "<sip:alice@198.51.100.9:40009>"),
        ("call.fix_contact()", "<sip:alice@198.51.100.9:40009>"),
        ("call.add_rcv_param()", '<sip:alice@192.168.1.10:5060>;received="sip:198.51.100.9:40009"'),
    ],
)
def test_contacts_are_repaired(tmp_path: Path, body: str, contact: str) -> None:
    assert left(tmp_path, body).headers.all("Contact") == [contact]


def test_an_old_alias_is_taken_off(tmp_path: Path) -> None:
    received = left(
        tmp_path, "call.set_contact_alias(1)", contact="<sip:alice@192.168.1.10;alias=192.0.2.9~1~1>"
    )
    assert received.headers.all("Contact") == ["<sip:alice@192.168.1.10;alias=198.51.100.9~40009~1>"]


# ---- body, answers, Record-Route


def test_a_body_is_rewritten_and_its_length_follows(tmp_path: Path) -> None:
    received = left(tmp_path, "assert call.subst_body('/audio 4000/audio 40000/')")
    assert b"m=audio 40000 " in received.body
    assert received.headers.get("Content-Length") in (None, str(len(received.body)))
    assert left(tmp_path, "assert not call.subst_body('/zzz/y/')").body == SDP


def test_a_body_is_replaced_or_taken_away(tmp_path: Path) -> None:
    received = left(tmp_path, "call.set_body('hello', 'text/plain')")
    assert (received.body, received.headers.content_type) == (b"hello", "text/plain")
    received = left(tmp_path, "call.set_body(b'', '')")
    assert (received.body, received.headers.get("Content-Type")) == (b"", None)


@pytest.mark.parametrize(
    ("answer", "status"),
    [("Reply(486)", 486), ("Reply(200)", 200), ("Challenge(407)", 407), ("Redirect(('sip:a@b',))", 302)],
)
def test_our_own_answer_has_what_was_appended_to_it(tmp_path: Path, answer: str, status: int) -> None:
    talk = talking(tmp_path, f"call.append_to_reply('X-Why', 'because')\nreturn {answer}\n")
    alice = talk.phone("alice", at=HOME)
    talk >> alice.invite("bob")
    assert talk.response(alice, status).headers.get("X-Why") == "because"


def test_the_answer_to_a_register_has_it_too(tmp_path: Path) -> None:
    talk = talking(tmp_path, "call.append_to_reply('Service-Route: <sip:edge;lr>')\nreturn Save()\n")
    bob = talk.phone("bob")
    talk >> bob.request("REGISTER", "sip:203.0.113.1", to="<sip:bob@203.0.113.1>")
    assert talk.response(bob, 200).headers.get("Service-Route") == "<sip:edge;lr>"


def test_a_parameter_of_our_record_route_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "route.py"
    path.write_text(
        HEAD + "def request(call):\n"
        "    call.add_rr_param(';nat=yes')\n"
        "    return Forward(('sip:bob@198.51.100.77',))\n\n"
        "def in_dialog(call):\n"
        "    seen = call.check_route_param('nat=yes'), call.is_direction('downstream'), call.is_known_dlg()\n"
        "    text = '$DLG_status $dlg(to_tag) $(route_uri{uri.param,nat})'\n"
        "    call.append_hf('X-Seen', f'{seen} ' + call.fmt(text))\n"
        "    return Forward()\n"
    )
    talk = Talk(script=load(path))
    alice, bob = talk.phone("alice", at=HOME), talk.phone("bob", at=Addr("198.51.100.77", 5060))
    invite = alice.invite("bob")
    talk >> invite << (alice, 100)
    received = talk.request(bob, "INVITE")
    assert received.headers.record_routes[0].uri.param("nat") == "yes"
    ok = bob.reply(received, 200)
    talk >> ok
    answer = talk.response(alice, 200)
    talk >> alice.ack(invite, answer)
    assert talk.request(bob, "ACK").headers.get("X-Seen") == "(True, True, True) 3 to-bob yes"
    talk >> bob.back(received, ok, "BYE")
    assert talk.request(alice, "BYE").headers.get("X-Seen") == "(True, False, True) 4 to-bob yes"


# ---- where it goes


@pytest.mark.parametrize(
    ("body", "uri"),
    [
        ("call.seturi('sip:carol@h;x')", "sip:carol@h;x"),
        ("call.rewriteuri('sip:carol@h')", "sip:carol@h"),
        ("call.setuser('carol')", "sip:carol@203.0.113.1"),
        ("call.rewriteuser('carol')", "sip:carol@203.0.113.1"),
        ("call.sethost('h.example')", "sip:bob@h.example"),
        ("call.rewritehost('h.example')", "sip:bob@h.example"),
        ("call.setport(5070)", "sip:bob@203.0.113.1:5070"),
        ("call.rewriteport(5070)", "sip:bob@203.0.113.1:5070"),
        ("call.prefix('00')", "sip:00bob@203.0.113.1"),
        ("call.strip(1)", "sip:ob@203.0.113.1"),
        ("call.strip_tail(2)", "sip:b@203.0.113.1"),
        ("call.subst_user('/^b(.)/\\\\1-/')", "sip:o-b@203.0.113.1"),
        ("call.subst_uri('/bob@.*/carol@h/')", "sip:carol@h"),
        ("call.add_uri_param('user=phone')", "sip:bob@203.0.113.1;user=phone"),
        ("call.setuser('x')\ncall.revert_uri()", "sip:bob@203.0.113.1"),
        ("call.subst_user('/zzz/y/')", "sip:bob@203.0.113.1"),
    ],
)
def test_the_request_uri_is_moved(tmp_path: Path, body: str, uri: str) -> None:
    talk = talking(tmp_path, f"call.setdsturi('sip:198.51.100.77:5080')\n{body}\nreturn Forward()\n")
    alice = talk.phone("alice", at=HOME)
    talk >> alice.invite("bob") << (alice, 100)
    assert talk.request(Addr("198.51.100.77", 5080), "INVITE").uri == uri


def test_a_destination_is_set_told_and_taken_back(tmp_path: Path) -> None:
    body = """
    call.setdsturi("sip:192.0.2.1;transport=tcp")
    seen = (call.isdsturiset(), call.dst_uri)
    call.resetdsturi()
    return Reply(299, repr((*seen, call.isdsturiset(), call.dst_uri)))
    """
    talk = talking(tmp_path, body)
    alice = talk.phone("alice", at=HOME)
    talk >> alice.invite("bob")
    expected = (True, "sip:192.0.2.1:5060;transport=tcp", False, "")
    assert talk.response(alice, 299).reason == repr(expected)


# ---- questions

QUESTIONS: list[tuple[str, object]] = [
    ("call.is_request(), call.is_reply()", (True, False)),
    ("call.is_method('BYE|INVITE'), call.is_method('ACK')", (True, False)),
    ("call.has_totag(), call.is_first_hop(), call.is_known_dlg()", (False, True, False)),
    ("call.has_body(), call.has_body('application/sdp'), call.has_body('text/plain')", (True, True, False)),
    ("call.is_present_hf('s'), call.is_present_hf('X'), call.is_present_hf_re('^sub')", (True, False, True)),
    (
        "call.search('^Subject: .*lo$'), call.search_body('^c=IN'), call.search_body('^zzz')",
        (True, True, False),
    ),
    ("call.search_hf('Subject', 'el'), call.search_hf('Subject', 'x', 'f')", (True, False)),
    ("call.is_supported('PATH'), call.is_supported('gruu')", (True, False)),
    ("call.is_privacy('id'), call.is_privacy('user')", (True, False)),
    ("call.is_audio_on_hold()", -1),
    ("call.uri_param('x'), call.uri_param('x', '1'), call.uri_param('y')", (False, False, False)),
    ("call.is_uri_user_e164(), call.is_uri_user_e164('sip:+4930123@h')", (False, True)),
    ("call.is_uri_user_e164('nothing'), call.is_uri_user_e164('tel:030')", (False, False)),
    ("call.is_numeric('012'), call.is_numeric('')", (True, False)),
    ("call.is_gruu(), call.is_gruu('sip:a@h;gr=x'), call.is_gruu('sip:a@h;gr')", (0, 1, 2)),
    ("call.cmp_uri('sip:a@H', 'sip:a@h'), call.cmp_uri('sip:a@h', 'sip:b@h')", (True, False)),
    ("call.cmp_aor('sip:a@h:5;x', 'sip:a@h'), call.cmp_aor('sip:a@h', 'sip:a@i')", (True, False)),
    ("call.is_myself(), call.is_myself('sip:a@elsewhere'), call.is_myself('?')", (True, False, False)),
    ("call.is_uri_host_local(), call.is_from_local()", (True, True)),
    ("call.is_in_subnet('198.51.100.0/24'), call.is_in_subnet('2001:db8::/32')", (True, False)),
    ("call.client_nat_test(1), call.client_nat_test(2), call.client_nat_test(4)", (True, True, True)),
    ("call.registered(), call.registered('carol'), call.lookup('sip:carol@h')", (False, False, ())),
    ("call.is_user('alice'), call.auth_user", (False, "")),
    ("call.handle_ruri_alias(), call.contact_uri", (False, "sip:alice@192.168.1.10:5060")),
]


@pytest.mark.parametrize(("expression", "expected"), QUESTIONS, ids=[one[0] for one in QUESTIONS])
def test_questions(tmp_path: Path, expression: str, expected: object) -> None:
    headers = [("Subject", "hello"), ("Supported", "100rel, path"), ("Privacy", "id;critical")]
    assert said(tmp_path, expression, headers=headers) == repr(expected)


def test_old_names_do_what_the_new_ones_do(tmp_path: Path) -> None:
    body = """
    call.force_rtp_proxy()
    one = call.wanted()
    call.unforce_rtp_proxy()
    call.rtpengine_manage()
    call.rtpproxy_destroy()
    two = call.wanted()
    call.rtpproxy_offer()
    call.rtpproxy_answer()
    same = call.www_authorize() == call.www_authenticate()
    also = call.proxy_authorize() == call.proxy_authenticate()
    return Reply(299, repr((one, two, call.wanted(), same, also)))
    """
    talk = talking(tmp_path, body)
    alice = talk.phone("alice", at=HOME)
    talk >> alice.invite("bob")
    relayed = ("rtpproxy_manage()",)
    assert talk.response(alice, 299).reason == repr((relayed, ("rtpproxy_destroy()",), relayed, True, True))


def test_what_is_wanted_is_told_as_it_would_be_written(tmp_path: Path) -> None:
    body = """
    call.set_contact_alias()
    call.remove_hf("Subject")
    call.insert_hf("A", "1")
    call.subst_hf("Contact", "/a/b/")
    call.remove_hf_re("^x")
    call.add_contact_alias()
    call.fix_nated_contact()
    call.add_rcv_param()
    call.append_hf("B", "2")
    call.append_to_reply("C", "3")
    call.add_rr_param("d=4")
    call.set_body("e", "text/plain")
    return Reply(299, "|".join(call.wanted()))
    """
    talk = talking(tmp_path, body)
    alice = talk.phone("alice", at=HOME)
    talk >> alice.invite("bob")
    assert talk.response(alice, 299).reason.split("|") == [
        "set_contact_alias()",
        "remove_hf('Subject')",
        "insert_hf('A', '1')",
        "subst_hf('Contact', 'a', 'b')",
        "remove_hf_re('^x')",
        "add_contact_alias()",
        "fix_nated_contact()",
        "add_rcv_param()",
        "append_hf('B', '2')",
        "append_to_reply('C', '3')",
        "add_rr_param(';d=4')",
        "set_body(b'e', 'text/plain')",
    ]


# ---- replies, and what could not be saved


def test_a_reply_is_read_and_edited(tmp_path: Path) -> None:
    path = tmp_path / "route.py"
    path.write_text(
        HEAD + "def request(call):\n    return Forward(('sip:bob@198.51.100.77',))\n\n"
        "def reply(call):\n"
        "    call.remove_hf('Server')\n"
        "    text = call.fmt('$rs $rr $rm $T_req($ru) $T_req($(fU{s.toupper})) $tt $si')\n"
        "    call.append_hf('X-Seen', f\"{text} {call.check_status('2..')} {call.is_reply()}\")\n"
    )
    talk = Talk(script=load(path))
    alice, bob = talk.phone("alice", at=HOME), talk.phone("bob", at=Addr("198.51.100.77", 5060))
    talk >> alice.invite("bob") << (alice, 100)
    talk >> bob.reply(talk.request(bob, "INVITE"), 200, headers=[("Server", "s")])
    answer = talk.response(alice, 200)
    expected = "200 OK INVITE sip:bob@203.0.113.1 ALICE to-bob 198.51.100.77 True True"
    assert answer.headers.get("X-Seen") == expected
    assert answer.headers.get("Server") is None


def test_a_registration_that_is_refused_is_the_scripts_to_answer(tmp_path: Path) -> None:
    path = tmp_path / "route.py"
    path.write_text(
        HEAD + "def request(call):\n    return Save()\n\n"
        "def save_failed(call):\n"
        "    return Reply(403, call.fmt('$tU: $rs $rr'))\n"
    )
    talk = Talk(script=load(path))
    bob = talk.phone("bob")
    talk >> bob.request(
        "REGISTER", "sip:203.0.113.1", to="<sip:bob@203.0.113.1>", headers=[("Expires", "10")]
    )
    assert talk.response(bob, 403).reason == "bob: 423 Interval Too Brief"
