"""A talk with a script of its own and three desks that it calls: for tests of what tm does."""

from __future__ import annotations

from pathlib import Path

from talk import Packet, Phone, Talk

from edgesip.address import Addr
from edgesip.script import Script, load

HEAD = "from edgesip.script import *\n"
RELAYED = "def request(call):\n    call.rtpproxy_manage()\n    return Forward({})\n"
VOICEMAIL = Addr("192.0.2.60", 5060)


def scripted(tmp_path: Path, text: str) -> Script:
    path = tmp_path / "route.py"
    path.write_text(HEAD + text)
    return load(path)


def house(tmp_path: Path, text: str, **more: object) -> tuple[Talk, Phone, list[Phone]]:
    """A talk with a script that calls the three desks at 192.0.2.1-3 or what it likes."""
    talk = Talk(script=scripted(tmp_path, text), **more)  # type: ignore[arg-type]
    desks = [talk.phone(f"desk{number}", at=Addr(f"192.0.2.{number}", 5060)) for number in (1, 2, 3)]
    return talk, talk.phone("alice"), desks


def cancelled(packet: Packet) -> Packet:
    return Packet(packet.phone, packet.octets.replace(b"INVITE", b"CANCEL"))


ALL = "('sip:d@192.0.2.1', 'sip:d@192.0.2.2', 'sip:d@192.0.2.3')"
