"""start_recording and stop_recording in scripts: what the relay is told, and when."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from talk import SDP, Talk

from edgesip.script import load


def script(directory: Path, request: str = "", in_dialog: str = "pass", reply: str = "pass") -> Talk:
    """A core that relays media and does these lines for an INVITE, for what follows it, for answers."""
    lines = {name: textwrap.indent(textwrap.dedent(text), "    ") for name, text in (("in", in_dialog),)}
    text = f"""
from edgesip.script import *

def request(call):
    if call.method == "REGISTER":
        return call.www_authenticate() or Save()
    if refusal := call.proxy_authenticate():
        return refusal
    call.rtpproxy_manage()
    {request}
    return Forward(call.lookup())

def in_dialog(call):
{lines["in"]}
    return Forward()

def reply(call):
    {reply}
"""
    path = directory / "route.py"
    path.write_text(text)
    return Talk(script=load(path))


def told(talk: Talk) -> list[tuple[str, str]]:
    """What was said to the relay, so far as it matters here."""
    return [(what, about) for what, about, _ in talk.media.log if what in ("offer", "answer", "record")]


def test_a_call_is_recorded_from_its_first_offer_on(tmp_path: Path) -> None:
    talk = script(tmp_path, request="call.start_recording()")
    alice, bob = talk.phone("alice"), talk.phone("bob")
    talk.register(alice, bob)
    talk.answered(alice, bob)
    assert told(talk) == [("record", "wav"), ("offer", "caller"), ("answer", "callee")]


def test_a_call_is_recorded_once_it_is_answered(tmp_path: Path) -> None:
    talk = script(tmp_path, reply='call.status == 200 and call.start_recording("pcap")')
    alice, bob = talk.phone("alice"), talk.phone("bob")
    talk.register(alice, bob)
    talk.answered(alice, bob)
    assert told(talk) == [("offer", "caller"), ("answer", "callee"), ("record", "pcap")]


def test_an_info_ends_a_recording(tmp_path: Path) -> None:
    talk = script(tmp_path, in_dialog='if call.method == "INFO":\n    call.stop_recording()')
    alice, bob = talk.phone("alice"), talk.phone("bob")
    talk.register(alice, bob)
    invite, answer, _, _ = talk.answered(alice, bob)
    talk >> alice.within(invite, answer, "INFO")
    talk.request(bob, "INFO")
    assert told(talk)[2:] == [("record", "")]


def test_a_call_that_goes_past_us_is_not_recorded(tmp_path: Path) -> None:
    talk = script(tmp_path, request="call.start_recording(), call.rtpproxy_destroy()")
    alice, bob = talk.phone("alice"), talk.phone("bob")
    talk.register(alice, bob)
    talk.answered(alice, bob)
    assert told(talk) == []


def test_a_late_offer_is_recorded_too(tmp_path: Path) -> None:
    talk = script(tmp_path, request="call.start_recording()")
    alice, bob = talk.phone("alice"), talk.phone("bob")
    talk.register(alice, bob)
    talk.call(alice, "bob", body=b"")
    talk << (alice, 100)
    received = talk.request(bob, "INVITE")
    talk >> bob.reply(received, 200, body=SDP) << (alice, 200)
    assert told(talk) == [("record", "wav"), ("offer", "callee")]


def test_another_form_is_an_error_of_the_script(tmp_path: Path) -> None:
    talk = script(tmp_path, request='call.start_recording("mp3")')
    alice, bob = talk.phone("alice"), talk.phone("bob")
    talk.register(alice, bob)
    with pytest.raises(ValueError, match="wav and pcap"):
        talk.answered(alice, bob)
