"""Route scripts: found by name, refused with a reason, tested without a server."""

from __future__ import annotations

from pathlib import Path

import pytest
from talk import SERVER, Talk

from edgesip.script import Challenge, Drop, Forward, Redirect, Reply, ScriptError, explain, load, refusal_for
from edgesip.signal.wire.grammar import ParseError


def script(directory: Path, text: str) -> Path:
    path = directory / "route.py"
    path.write_text("from edgesip.script import *\n" + text)
    return path


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no function request(call)"),
        ("def request(call:\n", "line 2"),
        ("import nothing_like_that\n", "ModuleNotFoundError: No module named 'nothing_like_that' (line 2"),
        ("def request(call): ...\ndef http_request(call): ...\n", "does not call the hook 'http_request'"),
        ("def request(call): ...\nasync def reply(call): ...\n", "reply(call) must be a plain def"),
        ("request = 3\n", "no function request(call)"),
        ("raise SystemError('x' * 3)\n", "SystemError: xxx (line 2 in <module>)"),
    ],
)
def test_a_script_that_cannot_be_used_says_why(tmp_path: Path, text: str, told: str) -> None:
    path = script(tmp_path, text)
    with pytest.raises(ScriptError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert told in str(caught.value)


def test_a_script_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ScriptError, match="cannot read the route script"):
        load(tmp_path / "none.py")


def test_a_traceback_is_cut_at_the_scripts_own_frames(tmp_path: Path) -> None:
    path = script(
        tmp_path, "def request(call):\n    return helper(call)\n\n\ndef helper(call):\n    return 1 / 0\n"
    )
    loaded = load(path)
    with pytest.raises(ZeroDivisionError) as caught:
        loaded.request(None)  # type: ignore[arg-type]
    assert explain(caught.value, str(path)) == (
        "ZeroDivisionError: division by zero (line 7 in helper < line 3 in request)"
    )


def test_who_is_to_blame_for_what_a_script_raised() -> None:
    assert refusal_for(ParseError("bad", status=416)).status == 416
    assert refusal_for(ZeroDivisionError()).status == 500


def decided(tmp_path: Path, text: str) -> Talk:
    return Talk(script=load(script(tmp_path, text)))


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ("Reply(486)", 486),
        ("Challenge(401)", 401),
        ("Challenge(407)", 407),
        ("Forward(('sip:0.0.0.0',))", 478),
    ],
)
def test_decisions_are_answers(tmp_path: Path, answer: str, status: int) -> None:
    talk = decided(tmp_path, f"def request(call):\n    return {answer}\n")
    alice = talk.phone("alice")
    talk >> alice.invite("bob") << (alice, status)
    talk.silent()


def test_redirect_names_its_contacts_and_drop_says_nothing(tmp_path: Path) -> None:
    text = (
        "def request(call):\n"
        "    return Redirect(('sip:a@b', 'sip:c@d')) if call.ruri_user == 'bob' else Drop()\n"
    )
    talk = decided(tmp_path, text)
    alice = talk.phone("alice")
    talk >> alice.invite("bob")
    assert talk.response(alice, 302).headers.all("Contact") == ["<sip:a@b>", "<sip:c@d>"]
    talk >> alice.invite("carol")
    talk.silent()


def test_header_edits_are_applied_to_the_copy_alone(tmp_path: Path) -> None:
    text = (
        "def request(call):\n"
        "    call.append_hf('X-From', call.from_user)\n"
        "    call.remove_hf('Subject')\n"
        "    return Forward(('sip:bob@198.51.100.77',))\n"
    )
    talk = decided(tmp_path, text)
    alice, bob = talk.phone("alice"), talk.phone("bob")
    bob.at = bob.at._replace(host="198.51.100.77")
    talk >> alice.invite("bob", headers=[("Subject", "x")]) << (alice, 100)
    received = talk.request(bob, "INVITE")
    assert received.headers.get("X-From") == "alice"
    assert received.headers.get("Subject") is None


def test_a_header_edit_cannot_smuggle_a_line(tmp_path: Path) -> None:
    talk = decided(tmp_path, "def request(call):\n    call.append_hf('X', 'a\\r\\nY: b')\n")
    with pytest.raises(ValueError, match="one line"):
        talk >> talk.phone("alice").invite("bob")


def test_what_a_call_tells(tmp_path: Path) -> None:
    text = (
        "seen = []\n"
        "def request(call):\n"
        "    seen.append((call.method, call.ruri_user, call.from_user, call.to_user, call.source_ip,\n"
        "        call.source_port, call.call_id, str(call.ruri), call.is_myself(),\n"
        "        call.is_rfc1918('10.0.0.1'),\n"
        "        call.nat_uac_test(1), call.upstream(), call.from_upstream(), call.lookup()))\n"
        "    return Reply(200, 'Fine', (('X-Seen', repr(seen[-1])),))\n"
    )
    talk = decided(tmp_path, text)
    alice = talk.phone("alice", nat=True)
    talk >> alice.request("MESSAGE", f"sip:b%6Fb@{SERVER.host}", call_id="the-call")
    assert talk.response(alice, 200).headers.get("X-Seen") == repr(
        (
            "MESSAGE",
            "bob",
            "alice",
            "bob",
            alice.at.host,
            alice.at.port,
            "the-call",
            f"sip:b%6Fb@{SERVER.host}",
            True,
            True,
            True,
            (),
            False,
            (),
        )
    )


def test_decisions_compare_by_what_they_say() -> None:
    assert Reply(404) == Reply(404, "")
    assert Forward() != Forward(("sip:a",))
    assert len({Challenge(407), Challenge(407), Challenge(401), Drop(), Redirect(("sip:a",))}) == 4


def test_a_reply_hook_that_raises_costs_its_edits_and_not_the_answer(tmp_path: Path) -> None:
    text = (
        "def request(call):\n    return Forward(('sip:bob@198.51.100.77',))\n\n"
        "def reply(call):\n    call.set_contact_alias()\n    return 1 / 0\n"
    )
    talk = decided(tmp_path, text)
    alice, bob = talk.phone("alice"), talk.phone("bob")
    bob.at = bob.at._replace(host="198.51.100.77")
    talk >> alice.invite("bob") << (alice, 100)
    talk >> bob.reply(talk.request(bob, "INVITE"), 200)
    assert talk.response(alice, 200).headers.contacts[0].uri.param("alias") is None
    assert [note.event for note in talk.notes if note.level == "error"] == ["reply script failed"]
