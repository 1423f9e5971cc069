"""What a call looks like: real conversations, drawn for narrow and wide terminals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from talk import SDP, Packet, Phone, Talk

from edgesip.address import Addr
from edgesip.cli.ladder import Ladder, Style, drawn
from edgesip.control.trace import told
from edgesip.relay.core import Refusal

GOLDEN = Path(__file__).parent / "ladders"


def at(number: int) -> Addr:
    return Addr(f"198.51.100.{number}", 40000 + number)


def events(talk: Talk, call_id: str) -> list[dict[str, Any]]:
    """The messages of a call and what was decided; lines of the log are left out, their words are others'."""
    found = [told(number, entry, 1_000_000_000.0) for number, entry in talk.ring.since(0)]
    return [one for one in found if one["call_id"] == call_id and one.get("level") != "info"]


def begun(call_id: str, relay_refuses: bool = False) -> tuple[Talk, Phone, Phone, Packet]:
    """Alice has proven her password and calls Bob; both are behind NATs."""
    talk = Talk()
    alice, bob = talk.phone("alice", nat=True, at=at(1)), talk.phone("bob", nat=True, at=at(2))
    talk.register(alice, bob)
    if relay_refuses:
        talk.media.refusal = Refusal(488, "No media line", None)
    invite = talk.call(alice, "bob", call_id=call_id)
    talk.now += 0.25
    return talk, alice, bob, invite


def registration() -> list[dict[str, Any]]:
    talk = Talk()
    alice = talk.phone("alice", nat=True, at=at(1))
    packet = alice.request("REGISTER", "sip:203.0.113.1", to="<sip:alice@203.0.113.1>", call_id="reg")
    talk >> packet
    talk.now += 0.04
    talk >> alice.with_credentials(packet, talk.response(alice, 401)) << (alice, 200)
    return events(talk, "reg")


def nated_call() -> list[dict[str, Any]]:
    talk, alice, bob, invite = begun("nated")
    talk << (alice, 100)
    received = talk.request(bob, "INVITE")
    talk >> invite << (alice, 100)
    talk >> bob.reply(received, 180) << (alice, 180)
    talk.now += 4
    talk >> bob.reply(received, 200, body=SDP)
    answer = talk.response(alice, 200)
    talk >> alice.ack(invite, answer) << (bob, "ACK")
    talk.now += 60
    talk >> alice.within(invite, answer, "BYE")
    talk >> bob.reply(talk.request(bob, "BYE"), 200) << (alice, 200)
    return events(talk, "nated")


def cancelled() -> list[dict[str, Any]]:
    talk, alice, bob, invite = begun("cancelled")
    talk << (alice, 100)
    received = talk.request(bob, "INVITE")
    talk >> bob.reply(received, 180) << (alice, 180)
    talk.now += 2
    talk >> Packet(alice, invite.octets.replace(b"INVITE", b"CANCEL").partition(b"Content-Type")[0] + b"\r\n")
    talk << (alice, 200)
    talk >> bob.reply(talk.request(bob, "CANCEL"), 200)
    talk >> bob.reply(received, 487) << (bob, "ACK") << (alice, 487)
    return events(talk, "cancelled")


def refused_media() -> list[dict[str, Any]]:
    talk, *_ = begun("refused", relay_refuses=True)
    return events(talk, "refused")


def forked() -> list[dict[str, Any]]:
    talk = Talk(auth=False)
    alice = talk.phone("alice", at=Addr("2001:db8::1234:5678", 5060))
    phones = [
        talk.phone("bob", at=at(number), transport=kind) for number, kind in enumerate(("udp", "tcp"), 2)
    ]
    for number, phone in enumerate(phones):
        talk >> phone.request("REGISTER", "sip:203.0.113.1", to="<sip:bob@203.0.113.1>", call_id=f"r{number}")
    talk >> alice.invite("bob", call_id="forked")
    talk.wait(0.6)
    return events(talk, "forked")


STORIES: tuple[Callable[[], list[dict[str, Any]]], ...] = (
    registration,
    nated_call,
    cancelled,
    refused_media,
    forked,
)


def shown(found: list[dict[str, Any]], width: int, unicode: bool) -> list[str]:
    """The drawing without its title, whose time is that of the place."""
    title, *lines = drawn(found, Style(width, unicode))
    assert title.endswith(f"Call-ID {found[0]['call_id']}")
    return lines


@pytest.mark.parametrize(("width", "unicode"), [(80, False), (120, True)])
@pytest.mark.parametrize("story", STORIES)
def test_stories(story: Callable[[], list[dict[str, Any]]], width: int, unicode: bool) -> None:
    lines = shown(story(), width, unicode)
    assert max(map(len, lines)) <= width
    assert lines == (GOLDEN / f"{story.__name__}-{width}.txt").read_text("utf-8").splitlines()


@pytest.mark.parametrize("story", STORIES)
def test_plain_means_ascii_without_escapes(story: Callable[[], list[dict[str, Any]]]) -> None:
    text = "\n".join(shown(story(), 80, False))
    assert text.isascii()
    assert "\x1b" not in text


@pytest.mark.parametrize("width", range(60, 201, 7))
def test_colour_changes_no_place(width: int) -> None:
    for story in STORIES:
        found = story()
        bare = list(drawn(found, Style(width, True)))
        coloured = list(drawn(found, Style(width, True, True)))
        assert any("\x1b[" in line for line in coloured)
        for code in ("1;36", "1", "2", "31", "32", "33", "36", "0"):
            coloured = [line.replace(f"\x1b[{code}m", "") for line in coloured]
        assert coloured == bare


def test_too_many_ends_are_listed() -> None:
    found = forked()
    more = [one | {"remote": f"198.51.100.{number}:5060"} for number, one in enumerate(found * 3)]
    lines = shown(more, 100, False)
    assert "   +0.000  udp:198.51.100.0:5060 -> edgesip" in lines[0]
    assert all("|" not in line for line in lines)


def test_nothing_steers_a_terminal() -> None:
    found = nated_call()
    for one in found:
        for name in ("start", "to", "from", "cseq", "event", "text", "content_type"):
            if name in one:
                one[name] = f"{one[name]}\x1b]0;owned\x07\u202e\udce9\r\n\r\n\x9b"
    for full in (False, True):
        text = "\n".join(drawn(found, Style(100), full))
        assert all(char.isprintable() or char == "\n" for char in text)


def test_full_shows_the_text_under_each_arrow() -> None:
    lines = list(drawn(registration(), Style(80), full=True))
    first = next(number for number, line in enumerate(lines) if "REGISTER alice" in line)
    assert lines[first + 1] == "    REGISTER sip:203.0.113.1 SIP/2.0"
    assert any("****" in line for line in lines)


def test_ends_that_come_later_get_new_heads() -> None:
    found = nated_call()
    ladder = Ladder(Style(100))
    lines = [line for one in found for line in ladder.lines(one)]
    heads = [line for line in lines if "edgesip" in line]
    assert len(heads) == 2
    assert "198.51.100.2:40002" not in "".join(lines[:3])
    again = list(ladder.again(found[-1])) + list(ladder.lines(found[-1]))
    assert again[0].endswith("Call-ID nated")
    assert "edgesip" in again[1]


def test_what_belongs_to_no_call_is_told_as_well() -> None:
    event = {"seq": 1, "time": 0.0, "kind": "note", "call_id": "", "level": "debug", "event": "not SIP"}
    title, line = drawn([event | {"fields": {"why": "no start line"}}], Style(80))
    assert title.endswith("no call")
    assert line == "   +0.000  * not SIP: why no start line"
