"""Flags of contacts: set before they are saved, kept with them, read where a copy goes to them."""

from __future__ import annotations

from pathlib import Path

import pytest
from talk import SERVER, Talk

from edgesip.script import load

TEXT = """
from edgesip.script import *

def request(call):
    if call.method == "REGISTER":
        call.setbflag(7)
        call.setbflag(9)
        call.resetbflag(9)
        if call.from_user == "nat":
            call.setbflag(6)
        seen = [call.isbflagset(flag) for flag in (6, 7, 9)]
        call.append_to_reply("X-Flags", str(seen))
        return Save()
    return Forward(call.lookup() or ("sip:x@198.51.100.77",))

def branch(call):
    call.append_hf("X-Flags", str([call.isbflagset(flag) for flag in (6, 7, 9)]))
"""


@pytest.fixture
def talk(tmp_path: Path) -> Talk:
    path = tmp_path / "route.py"
    path.write_text(TEXT)
    return Talk(script=load(path))


@pytest.mark.parametrize("name", ["plain", "nat"])
def test_marks_stay_with_the_contact(talk: Talk, name: str) -> None:
    flags = str([name == "nat", True, False])
    phone, alice = talk.phone(name, nat=True), talk.phone("alice")
    talk >> phone.request("REGISTER", f"sip:{SERVER.host}", to=f"<sip:{name}@{SERVER.host}>")
    assert talk.response(phone, 200).headers.get("X-Flags") == flags
    (binding,) = talk.core.usrloc.lookup(name, talk.now)
    assert binding.nated == (name == "nat")
    assert binding.cflags & ~(1 << 6) == 1 << 7
    again = type(binding).from_record(binding.record(0.0), 0.0)
    assert again.cflags == binding.cflags
    talk >> alice.invite(name) << (alice, 100)
    assert talk.request(phone, "INVITE").headers.get("X-Flags") == flags


def test_what_is_no_contact_of_ours_has_none(talk: Talk) -> None:
    alice, far = talk.phone("alice"), talk.phone("x")
    talk >> alice.invite("somebody") << (alice, 100)
    ((_, data),) = [one for one in talk.sent if one[1].startswith(b"INVITE")]
    assert b"X-Flags: [False, False, False]" in data
    assert far


def test_there_are_32_of_them(tmp_path: Path) -> None:
    path = tmp_path / "route.py"
    path.write_text("from edgesip.script import *\n\ndef request(call):\n    call.setbflag(32)\n")
    talk = Talk(script=load(path))
    with pytest.raises(ValueError, match="between 0 and 31"):
        talk >> talk.phone("alice").invite("bob")
