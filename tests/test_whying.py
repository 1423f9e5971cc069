"""What is kept of calls that are over, what is written of them, and what is told when somebody asks why."""

from __future__ import annotations

import time
from typing import Any

from edgesip.address import Addr, Flow
from edgesip.control.ring import Ring
from edgesip.relay.cases import Media, Seen
from edgesip.relay.why import Side
from edgesip.sections import Relay
from edgesip.signal.dialog.state import Dialog
from edgesip.signal.dialog.table import Dialogs, DialogSettings
from edgesip.signal.wire.message import Request, parse
from edgesip.whying import Whys

PHONE, RELAY = Addr("198.51.100.7", 4000), Addr("203.0.113.5", 24444)
FLOW = Flow("udp", Addr("203.0.113.5", 5060), Addr("198.51.100.7", 5060))


class Room:
    """The room that remembers, without a relay; `lines` is its log."""

    def __init__(self, **settings: Any) -> None:
        self.lines: list[tuple[str, str, dict[str, Any]]] = []
        self.dialogs = Dialogs(DialogSettings())
        self.ring = Ring(True, 1_000_000, 1000)
        self.whys = Whys(Relay(**settings), self.dialogs, None, self.ring, self.log)

    def log(self, level: str, event: str, fields: dict[str, Any]) -> None:
        self.lines.append((level, event, fields))

    def dialog(self, contact: str = "sip:alice@198.51.100.7") -> Dialog:
        """alice calls bob."""
        text = (
            "INVITE sip:bob@example.net SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.7;branch=z9hG4bK1\r\n"
            f"From: <sip:alice@example.net>;tag=a\r\nTo: <sip:bob@example.net>\r\nCall-ID: call-1\r\n"
            f"CSeq: 1 INVITE\r\nContact: <{contact}>\r\n\r\n"
        )
        request = parse(text.encode())
        assert isinstance(request, Request)
        return self.dialogs.create(request, FLOW, time.monotonic(), False)


def media(name: str = "call-1", *, ago: float = 0.0, answered: bool = True, said: Addr = PHONE) -> Media:
    """The media of a call that ended so many seconds ago: the caller spoke, the callee never did."""
    at = time.monotonic() - ago
    caller = Side(
        "caller", "audio", RELAY, PHONE.host, said, PHONE, PHONE, 500, at - 10, at, mos=4.3, jitter=2.0
    )
    callee = Side("callee", "audio", RELAY, PHONE.host, PHONE, PHONE)
    seen = (Seen(0, caller, {"lost": 0}), Seen(0, callee, {}))
    return Media((name, "a"), at - 12, at - 10 if answered else None, at, True, seen)


def test_a_line_tells_what_became_of_each_side() -> None:
    room = Room()
    room.whys.ended(media())
    [(level, event, fields)] = room.lines
    assert (level, event) == ("info", "media ended")
    assert fields == {
        "call_id": "call-1",
        "caller_packets": 500,
        "caller_loss": 0.0,
        "caller_jitter_ms": 2.0,
        "caller_mos": 4.3,
        "callee_packets": 0,
        "callee_why": "never",
    }


def test_a_call_that_nobody_answered_has_no_line_and_is_remembered() -> None:
    room = Room()
    room.whys.ended(media(answered=False))
    assert room.lines == []
    [told] = room.whys.why("call-1")
    assert [leg["verdict"] for leg in told["legs"]] == ["unanswered", "unanswered"]


def test_a_call_is_told_by_the_beginning_of_its_name() -> None:
    room = Room()
    room.whys.ended(media("call-1"))
    room.whys.ended(media("call-2"))
    assert [one["call-id"] for one in room.whys.why("call")] == ["call-2", "call-1"]
    [told] = room.whys.why("call-1")
    assert (told["state"], told["from_tag"]) == ("ended", "a")
    assert abs(told["ended"] - time.time()) < 10
    assert told["ended"] - told["answered"] in (9, 10, 11)
    assert [leg["verdict"] for leg in told["legs"]] == ["fine", "never"]
    assert told["legs"][0]["quality"] == {"lost": 0}
    assert room.whys.why("nobody") == []


def test_only_so_many_calls_are_remembered() -> None:
    room = Room(remember_calls=3)
    for number in range(10):
        room.whys.ended(media(f"call-{number}"))
    assert [one["call-id"] for one in room.whys.why("call")] == ["call-9", "call-8", "call-7"]
    none = Room(remember_calls=0)
    none.whys.ended(media())
    assert none.whys.why("call-1") == []
    assert len(none.lines) == 1


def test_only_for_so_many_minutes() -> None:
    room = Room(remember_minutes=1)
    room.whys.ended(media("old", ago=61.0))
    room.whys.ended(media("new", ago=30.0))
    assert room.whys.why("old") == []
    assert len(room.whys.why("new")) == 1


def test_a_few_letters_do_not_bring_everything() -> None:
    room = Room()
    for number in range(100):
        room.whys.ended(media(f"call-{number}"))
    assert len(room.whys.why("c")) == 20


def test_an_sdp_that_does_not_fit_its_contact_is_told_beside() -> None:
    room = Room()
    room.dialog("sip:alice@192.168.1.10:5060")
    room.whys.ended(media())
    [told] = room.whys.why("call-1")
    assert [one["verdict"] for one in told["legs"][0]["also"]] == ["alg"]
    assert "Contact 192.168.1.10" in told["legs"][0]["also"][0]["text"]
    assert told["legs"][1]["also"] == []


def test_a_message_that_was_not_counted_again_is_told_as_long_as_it_is_remembered() -> None:
    room = Room()
    room.dialog()
    room.whys.ended(media())
    body = b"v=0\r\no=changed 1 1 IN IP4 198.51.100.7\r\n"
    for call in (b"call-11", b"call-1"):
        head = b"INVITE sip:bob@b SIP/2.0\r\nCall-ID: " + call + b"\r\nContent-Length: 7\r\n\r\n"
        room.ring.message(1.0, True, FLOW, head + body)
    [told] = room.whys.why("call-1")
    [sign] = told["legs"][0]["also"]
    assert sign["verdict"] == "alg"
    assert "says that it has 7 (Content-Length)" in sign["text"]


def test_a_call_whose_media_never_passed_says_so() -> None:
    room = Room()
    room.dialog()
    [told] = room.whys.why("call-1")
    assert (told["state"], told["legs"]) == ("ringing", [])
    assert "the relay is off" in told["note"]
