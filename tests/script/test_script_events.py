"""Event hooks: a script is told what happened, and decides nothing by it."""

from __future__ import annotations

from pathlib import Path

from talk import Talk

from edgesip.script import load

ALL_TO_BOB = (
    "def request(call):\n    return Save() if call.method == 'REGISTER' else Forward(call.lookup())\n\n"
)


def talking(directory: Path, text: str) -> tuple[Talk, Path]:
    """A core with this script, and the file that the script writes what it is told to."""
    told = directory / "told"
    path = directory / "route.py"
    tell = f"def tell(*words):\n    with open({str(told)!r}, 'a') as f:\n        print(words, file=f)\n\n"
    path.write_text("from edgesip.script import *\n\n" + tell + ALL_TO_BOB + text)
    return Talk(script=load(path), auth=False), told


def test_a_contact_that_expires_is_told_of(tmp_path: Path) -> None:
    talk, told = talking(
        tmp_path,
        "def contact_expired(event):\n"
        "    tell(event.aor, event.contact, event.received, event.binding.nated)\n",
    )
    bob = talk.phone("bob")
    talk >> bob.request(
        "REGISTER", "sip:203.0.113.1", headers=[("Expires", "60")], to="<sip:bob@203.0.113.1>"
    )
    talk << (bob, 200)
    talk.wait(50)
    assert not told.exists()
    talk.wait(20)
    assert told.read_text() == f"{('bob', f'sip:bob@{bob.at}', f'sip:{bob.at}', False)!r}\n"


def test_a_lost_connection_is_told_of_with_its_contacts(tmp_path: Path) -> None:
    talk, told = talking(
        tmp_path,
        "def tcp_closed(event):\n"
        "    contacts = [one.contact for one in event.bindings]\n"
        "    tell(event.transport, event.source_ip, event.source_port, event.received_port, contacts)\n",
    )
    bob = talk.phone("bob", transport="tcp")
    talk >> bob.request("REGISTER", "sip:203.0.113.1", to="<sip:bob@203.0.113.1>") << (bob, 200)
    talk.hang(bob)
    expected = ("tcp", bob.at.host, bob.at.port, 5060, [f"sip:bob@{bob.at};transport=tcp"])
    assert told.read_text() == f"{expected!r}\n"


def test_silence_that_ends_a_call_is_told_of_while_the_call_can_be_read(tmp_path: Path) -> None:
    talk, told = talking(
        tmp_path,
        "def rtp_timeout(event):\n"
        "    tell(event.call_id, event.from_user, event.to_user, event.state, event.answered,\n"
        "        event.from_contact, event.to_contact, round(event.ringing), round(event.duration))\n",
    )
    alice, bob = talk.phone("alice"), talk.phone("bob")
    talk >> bob.request("REGISTER", "sip:203.0.113.1", to="<sip:bob@203.0.113.1>") << (bob, 200)
    invite = alice.invite("bob", call_id="the-call")
    talk >> invite << (alice, 100)
    received = talk.request(bob, "INVITE")
    talk >> bob.reply(received, 180) << (alice, 180)
    talk.wait(4)
    talk >> bob.reply(received, 200)
    talk >> alice.ack(invite, talk.response(alice, 200)) << (bob, "ACK")
    talk.wait(30)
    dialog = next(iter(talk.core.dialogs))
    talk._step(talk.core.media_timeout(dialog.media_key, dialog.branch, talk.now))
    expected = ("the-call", "alice", "bob", 5, True, f"sip:alice@{alice.at}", f"sip:bob@{bob.at}", 4, 30)
    assert told.read_text() == f"{expected!r}\n"


def _silent_call(talk: Talk) -> None:
    """A call from alice to bob, answered half a minute ago."""
    alice, bob = talk.phone("alice"), talk.phone("bob")
    talk >> bob.request("REGISTER", "sip:203.0.113.1", to="<sip:bob@203.0.113.1>") << (bob, 200)
    invite = alice.invite("bob")
    talk >> invite << (alice, 100)
    talk >> bob.reply(talk.request(bob, "INVITE"), 200)
    talk >> alice.ack(invite, talk.response(alice, 200)) << (bob, "ACK")
    talk.wait(30)


def test_a_silent_side_is_named_and_the_call_goes_on_when_it_shall(tmp_path: Path) -> None:
    talk, told = talking(
        tmp_path,
        "def rtp_timeout(event):\n    tell(event.fmt('$dlg_var(rtp_timeout)'), event.state)\n\n"
        "def dialog_end(event):\n    tell('over', event.ended_by)\n",
    )
    _silent_call(talk)
    dialog = next(iter(talk.core.dialogs))
    at = (dialog.media_key, dialog.branch, talk.now, ("callee",))
    talk._step(talk.core.media_timeout(*at, ends=False))
    talk.silent()
    assert told.read_text() == f"{('callee', 4)!r}\n"
    talk._step(talk.core.media_timeout(*at))
    assert told.read_text().splitlines()[1:] == [repr(("callee", 5)), repr(("over", "RTP Timeout"))]


def test_media_of_a_call_that_nobody_knows_is_freed(tmp_path: Path) -> None:
    talk, _ = talking(tmp_path, "")
    talk.media.open.add((("unknown", "a"), "b1"))
    talk._step(talk.core.media_timeout(("unknown", "a"), "b1", talk.now, ends=False))
    assert talk.media.open
    talk._step(talk.core.media_timeout(("unknown", "a"), "b1", talk.now))
    assert not talk.media.open


def test_the_media_of_a_call_that_is_over_can_be_written_down(tmp_path: Path) -> None:
    talk, told = talking(
        tmp_path,
        "def in_dialog(call):\n"
        "    if call.method == 'BYE':\n"
        "        tell(call.rtpstat, call.fmt('$rtpestat $rtp_mos'))\n"
        "    return Forward()\n\n"
        "def reply(call):\n"
        "    if call.method == 'INVITE':\n"
        "        tell(call.fmt('$rtppstat'))\n\n"
        "def dialog_end(event):\n"
        "    tell(event.fmt('$rtpstat'), event.rtpestat, event.rtp_mos, event.rtp_loss, event.rtp_jitter)\n",
    )
    alice, bob = talk.phone("alice"), talk.phone("bob")
    talk >> bob.request("REGISTER", "sip:203.0.113.1", to="<sip:bob@203.0.113.1>") << (bob, 200)
    invite = alice.invite("bob")
    talk >> invite << (alice, 100)
    talk >> bob.reply(talk.request(bob, "INVITE"), 200)
    answer = talk.response(alice, 200)
    talk >> alice.ack(invite, answer) << (bob, "ACK")
    talk >> alice.within(invite, answer, "BYE")
    talk >> bob.reply(talk.request(bob, "BYE"), 200)
    tag = next(iter(talk.core.dialogs)).caller.tag
    told_lines = [
        (f"60 1 2 3 0 of {tag}",),
        (f"60 1 2 3 0 of {tag}", f"in words, of {tag} 4.1"),
        (f"60 1 2 3 0 of {tag}", f"in words, of {tag}", "4.1", "0.5", ""),
    ]
    assert told.read_text().splitlines() == [repr(line) for line in told_lines]
