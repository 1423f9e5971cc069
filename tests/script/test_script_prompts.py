"""rtpproxy's prompts in scripts: who hears them in requests, replies and ACKs, and what the log says."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from talk import SDP, Talk

from edgesip.script import load
from edgesip.signal.proxy.plays import Play


def script(directory: Path, in_dialog: str = "", reply: str = "", relay: bool = True) -> Talk:
    """A core that relays media and does these lines for what follows an INVITE."""
    text = "from edgesip.script import *\n\ndef request(call):\n"
    text += "    if call.method == 'REGISTER':\n        return call.www_authenticate() or Save()\n"
    text += "    if refusal := call.proxy_authenticate():\n        return refusal\n"
    text += "    call.rtpproxy_manage()\n" if relay else ""
    text += "    return Forward(call.lookup())\n"
    for name, body in (("in_dialog", in_dialog), ("reply", reply)):
        if body:
            text += f"\ndef {name}(call):\n" + textwrap.indent(textwrap.dedent(body), "    ") + "\n"
            text += "    return Forward()\n" if name == "in_dialog" else ""
    path = directory / "route.py"
    path.write_text(text)
    return Talk(script=load(path))


def played(talk: Talk) -> list[tuple[str, str]]:
    return [(what, side) for what, side, _ in talk.media.log if what.startswith("play")]


def said(talk: Talk, event: str) -> list[dict[str, str]]:
    return [{name: str(value) for name, value in note.fields} for note in talk.notes if note.event == event]


HOLD = SDP + b"a=sendonly\r\n"
MUSIC = """
    if call.method == "INVITE" and call.is_audio_on_hold() > 0:
        call.rtpproxy_stream2uas("moh", -1)
    elif call.method == "INVITE":
        call.rtpproxy_stop_stream2uas()
"""


def test_a_hold_plays_to_who_is_held_whichever_side_holds(tmp_path: Path) -> None:
    talk = script(tmp_path, in_dialog=MUSIC)
    alice, bob = talk.phone("alice"), talk.phone("bob")
    talk.register(alice, bob)
    invite, answer, received, ok = talk.answered(alice, bob)
    talk >> alice.within(invite, answer, "INVITE", body=HOLD)
    talk << (alice, 100)
    held = talk.request(bob, "INVITE")
    assert played(talk) == [("play moh -1", "callee")]
    assert talk.media.log[-2][0] == "offer", "after the relay took the SDP"
    talk >> bob.reply(held, 200, body=SDP) << (alice, 200)
    talk >> bob.back(received, ok, "INVITE", body=SDP) << (bob, 100)
    talk.request(alice, "INVITE")
    assert played(talk)[1:] == [("play  0", "caller")]


def test_a_reply_plays_to_either_side(tmp_path: Path) -> None:
    talk = script(
        tmp_path,
        reply="""
            if call.status == 183:
                call.rtpproxy_stream2uac("welcome", 1)
            elif call.status == 200:
                call.rtpproxy_stop_stream2uac()
                call.rtpproxy_stream2uas("recorded", 2)
        """,
    )
    alice, bob = talk.phone("alice"), talk.phone("bob")
    talk.register(alice, bob)
    talk.call(alice, "bob")
    talk << (alice, 100)
    received = talk.request(bob, "INVITE")
    talk >> bob.reply(received, 183, body=SDP) << (alice, 183)
    assert played(talk) == [("play welcome 1", "caller")]
    talk >> bob.reply(received, 200, body=SDP)
    assert played(talk)[1:] == [("play  0", "caller"), ("play recorded 2", "callee")]


def test_an_ack_plays_too(tmp_path: Path) -> None:
    talk = script(tmp_path, in_dialog="""if call.method == "ACK": call.rtpproxy_stream2uac("welcome", 1)""")
    alice, bob = talk.phone("alice"), talk.phone("bob")
    talk.register(alice, bob)
    talk.answered(alice, bob)
    assert played(talk) == [("play welcome 1", "caller")]


def test_what_does_not_play_is_in_the_log(tmp_path: Path) -> None:
    talk = script(tmp_path, reply="""call.rtpproxy_stream2uas("missing", 1)""")
    alice, bob = talk.phone("alice"), talk.phone("bob")
    talk.register(alice, bob)
    talk.call(alice, "bob")
    talk << (alice, 100)
    talk >> bob.reply(talk.request(bob, "INVITE"), 183, body=SDP)
    assert said(talk, "prompt not played") == [{"prompt": "missing", "why": "no such prompt"}]


def test_a_call_that_is_not_relayed(tmp_path: Path) -> None:
    talk = script(tmp_path, reply="""call.rtpproxy_stream2uas("moh", 1)""", relay=False)
    alice, bob = talk.phone("alice"), talk.phone("bob")
    talk.register(alice, bob)
    talk.call(alice, "bob")
    talk << (alice, 100)
    talk >> bob.reply(talk.request(bob, "INVITE"), 183, body=SDP)
    assert said(talk, "prompt not played") == [{"prompt": "moh", "why": "its media is not relayed"}]


@pytest.mark.parametrize("line", ["stream2uac('moh', -2)", "stream2uas('', 1)", "stream2uas('x', 10**9)"])
def test_what_no_prompt_can_be_is_the_scripts_fault(tmp_path: Path, line: str) -> None:
    talk = script(tmp_path, reply=f"call.rtpproxy_{line}")
    alice, bob = talk.phone("alice"), talk.phone("bob")
    talk.register(alice, bob)
    talk.call(alice, "bob")
    talk << (alice, 100)
    talk >> bob.reply(talk.request(bob, "INVITE"), 183, body=SDP)
    assert "ValueError" in said(talk, "reply script failed")[0]["why"]
    assert played(talk) == []


def test_how_it_is_shown() -> None:
    assert str(Play(True, "moh", -1)) == "rtpproxy_stream2uac('moh', -1)"
    assert str(Play(False, "", 0)) == "rtpproxy_stop_stream2uas()"
