"""The examples in docs/route-scripts.md do what the text says of them."""

from __future__ import annotations

import asyncio
import logging
import re
import runpy
from pathlib import Path

import pytest
from talk import Phone, Talk

from edgesip.address import Addr
from edgesip.script import load

HOME = Addr("198.51.100.8", 5060)

PAGE = Path(__file__).parent.parent.parent / "docs" / "route-scripts.md"
SCRIPTS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)


def example(directory: Path, mark: str) -> Path:
    """The one script in the text that has this in it."""
    (text,) = [one for one in SCRIPTS if mark in one]
    file = directory / "route.py"
    file.write_text(text)
    return file


def register(talk: Talk, phone: Phone, q: str = "") -> None:
    contact = phone.contact + (f";q={q}" if q else "")
    to = f"<sip:{phone.name}@203.0.113.1>"
    talk >> phone.request("REGISTER", "sip:203.0.113.1", to=to, contact=contact) << (phone, 200)


def test_every_script_in_the_text_can_be_loaded(tmp_path: Path) -> None:
    assert len(SCRIPTS) >= 7
    for number, text in enumerate(SCRIPTS):
        file = tmp_path / f"{number}.py"
        file.write_text(text)
        load(file)


def test_busy_leads_to_the_mailbox(tmp_path: Path) -> None:
    talk = Talk(script=load(example(tmp_path, "MAILBOX")))
    alice, bob, mailbox = (
        talk.phone("alice", at=HOME),
        talk.phone("bob"),
        talk.phone("box", at=Addr("192.0.2.50", 5060)),
    )
    talk.register(bob)
    talk.call(alice, "bob")
    talk << (alice, 100)
    talk >> bob.reply(talk.request(bob, "INVITE"), 486) << (bob, "ACK")
    received = talk.request(mailbox, "INVITE")
    assert received.headers.get("Diversion") == "<sip:bob@203.0.113.1>;reason=busy-here"
    assert b"offered-by" in received.body
    talk >> mailbox.reply(received, 200) << (alice, 200)


def test_what_is_not_busy_is_told(tmp_path: Path) -> None:
    talk = Talk(script=load(example(tmp_path, "MAILBOX")))
    alice, bob = talk.phone("alice", at=HOME), talk.phone("bob")
    talk.register(bob)
    talk.call(alice, "bob")
    talk << (alice, 100)
    talk >> bob.reply(talk.request(bob, "INVITE"), 603) << (bob, "ACK") << (alice, 603)


def test_phones_ring_in_the_order_of_q(tmp_path: Path) -> None:
    talk = Talk(script=load(example(tmp_path, "serial=True")))
    alice = talk.phone("alice", at=HOME)
    desk, mobile, soft = [talk.phone("bob", at=Addr(f"198.51.100.{n}", 5060)) for n in (201, 202, 203)]
    for phone, q in ((mobile, "0.5"), (desk, "1.0"), (soft, "0.5")):
        register(talk, phone, q)
    talk >> alice.invite("bob") << (alice, 100)
    first = talk.request(desk, "INVITE")
    talk.silent()
    talk >> desk.reply(first, 486) << (desk, "ACK") << (mobile, "INVITE") << (soft, "INVITE")


def test_the_block_list_is_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    talk = Talk(script=load(example(tmp_path, "BLOCKED")))
    stranger, hidden = (talk.phone(name, at=Addr("198.51.100.9", 5060)) for name in ("+4930555001", "x"))
    alice = talk.phone("alice", at=HOME)
    with caplog.at_level(logging.WARNING, "blocklist"):
        talk >> stranger.invite("bob", headers=[("User-Agent", "dialler " * 9)]) << (stranger, 603)
    assert caplog.messages == [f"+4930555001 from {stranger.at.host} wanted bob, dialler dialler dial"]
    talk >> hidden.invite("bob", headers=[("Privacy", "id")]) << (hidden, 603)
    talk >> alice.invite("bob") << (alice, 404)


def test_the_second_carrier_is_tried_when_the_first_one_fails(tmp_path: Path) -> None:
    talk = Talk(script=load(example(tmp_path, "SECOND")))
    alice = talk.phone("alice", at=HOME)
    first, second = [talk.phone("carrier", at=Addr(f"192.0.2.{n}", 5060)) for n in (60, 61)]
    talk >> alice.invite("911") << (alice, 484)
    talk >> alice.invite("030123", headers=[("P-Asserted-Identity", "<sip:liar@h>")]) << (alice, 100)
    received = talk.request(first, "INVITE")
    assert received.uri == "sip:+4930123@192.0.2.60"
    assert received.headers.all("P-Asserted-Identity") == ["<sip:alice@carrier.example>"]
    talk >> first.reply(received, 503) << (first, "ACK")
    received = talk.request(second, "INVITE")
    assert received.uri == "sip:+4930123@192.0.2.61"
    talk >> second.reply(received, 503) << (second, "ACK") << (alice, 500)


def test_a_call_from_the_carrier_goes_to_the_phone(tmp_path: Path) -> None:
    talk = Talk(script=load(example(tmp_path, "SECOND")))
    carrier = talk.phone("carrier", at=Addr("192.0.2.61", 5060))
    talk >> carrier.invite("bob") << (carrier, 404)


def test_what_happened_is_handed_on(tmp_path: Path) -> None:
    names = runpy.run_path(str(example(tmp_path, "CALLS")))

    class Event:
        call_id, from_user, to_user, duration, ended_by = "c", "alice", "bob", 61.4, "caller"

        def fmt(self, text: str) -> str:
            return text.replace("$dlg(callid)", self.call_id).replace("$fU", "alice").replace("$tU", "bob")

    async def told() -> str:
        await names["dialog_end"](Event())
        return str(await names["CALLS"].get())

    assert asyncio.run(told()) == "c alice bob 61 caller"


def test_the_test_in_the_text_passes(tmp_path: Path) -> None:
    names = runpy.run_path(str(example(tmp_path, "Stage(")))
    names["test_a_call_rings_where_its_user_is"]()
