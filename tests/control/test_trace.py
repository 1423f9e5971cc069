"""What is remembered: bounded, chosen, without secrets, in words."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from talk import SDP, Talk

from edgesip.address import Addr, Flow
from edgesip.cli.ladder import Style, drawn
from edgesip.cli.pcap import record
from edgesip.control.ring import Ring
from edgesip.control.rpc import Rpc
from edgesip.control.trace import Wanted, call_id_of, head_of, methods_for, told
from edgesip.signal.decision import Drop, Forward, Redirect, Reply
from edgesip.signal.proxy.inbound import Inbound
from edgesip.signal.wire.message import Request, parse

EDGE = Addr("192.0.2.1", 5060)
ALICE = Flow("udp", EDGE, Addr("203.0.113.7", 40000))


def message(call: str = "c1", user: str = "bob", size: int = 0) -> bytes:
    return (
        f"INVITE sip:{user}@edge SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\n"
        f"From: <sip:alice@edge>;tag=1\r\nTo: <sip:{user}@edge>\r\nCall-ID: {call}\r\nCSeq: 1 INVITE\r\n\r\n"
    ).encode() + b"x" * size


def ring(octets: int = 1 << 20, events: int = 1000) -> Ring:
    return Ring(True, octets, events)


def ask(one: Ring, method: str, *params: Any) -> Any:
    request = {"jsonrpc": "2.0", "method": method, "params": list(params), "id": 1}
    answer = Rpc(methods_for(one, lambda: 5000.0)).handle(json.dumps(request).encode())
    assert answer is not None
    return json.loads(answer)


def events(one: Ring, *params: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ask(one, "trace.events", *params)["result"]
    return found[:-1]


# ---- the ring


def test_the_oldest_make_room_for_the_newest() -> None:
    one = ring(events=500)
    for number in range(5000):
        one.message(float(number), True, ALICE, message(f"c{number}"))
    kept = one.since(0)
    assert 400 <= len(kept) <= 500
    assert [number for number, _ in kept] == list(range(kept[0][0], 5001))
    assert kept[-1][1][0] == 4999.0


def test_what_is_remembered_is_what_was_said_from_whichever_entry_on() -> None:
    one = Ring(True, 1 << 20, 10_000)
    said: list[object] = []
    for number in range(300):
        one.message(float(number), number % 3 == 0, ALICE, octets := message(f"call-{number}", size=number))
        one.note(float(number), "debug", "something", f"call-{number}", (("number", number),))
        said += [octets, (("number", number),)]
    for since in (0, 1, 2, 155, 156, 598, 599, 600, 700):
        found = one.since(since)
        assert [number for number, _ in found] == list(range(since + 1, 601))
        assert [entry[-1] for _, entry in found] == said[since:]


def test_messages_are_found_by_what_stands_in_them() -> None:
    one = Ring(True, 1 << 20, 10_000)
    for number in range(300):
        one.message(float(number), True, ALICE, message(f"call-{number % 100}-", size=100))
        one.note(float(number), "debug", "call-7-", "call-7-", ())
    assert [entry[0] for entry in one.naming(b"call-7-")] == [7.0, 107.0, 207.0]
    assert one.naming(b"call-700-") == []


@pytest.mark.parametrize("size", [0, 5_000, 60_000])
def test_octets_are_bounded(size: int) -> None:
    one = Ring(True, 1 << 20, 100_000)
    for number in range(4000):
        one.message(float(number), True, ALICE, message(size=size))
        one.note(float(number), "debug", "something", "c1", (("number", number),))
        counts = one.counters()
        assert counts["siptrace:octets"] <= (1 << 20) + 2 * size
    assert counts["siptrace:events"] == len(one.since(0))
    assert counts["siptrace:octets"] >= (1 << 19)


def test_the_memory_it_says_it_takes_is_what_it_takes() -> None:
    one = Ring(True, 1 << 20, 100_000)
    tracemalloc.start()
    try:
        for number in range(10_000):
            flow = Flow("udp", EDGE, Addr("203.0.113." + str(number % 250), 40000 + number % 9))
            one.message(float(number), True, flow, message(f"call-{number}"))
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert taken < 1.2 * (1 << 20)


def test_one_message_above_all_bounds_is_shown_and_goes_with_the_next() -> None:
    one = Ring(True, 65_536, 100)
    one.message(1.0, True, ALICE, message("big", size=200_000))
    assert len(one.since(0)) == 1
    for number in range(3):
        one.message(2.0, True, ALICE, message(f"c{number}"))
    for _ in range(100):
        one.note(3.0, "debug", "e", "", ())
    assert one.counters()["siptrace:octets"] <= 65_536


def test_keepalives_are_not_remembered() -> None:
    one = ring()
    talk = Talk(ping=25.0)
    talk.ring = one
    phone = talk.phone("bob", nat=True)
    talk.register(phone)
    before = len(one.since(0))
    talk.wait(26.0)
    ping = talk.request(phone, "OPTIONS")
    talk >> phone.reply(ping, 200)
    one.message(9.0, True, phone.flow, b"\r\n\r\n")
    one.message(9.0, True, phone.flow, bytes(4))
    assert len(one.since(0)) == before
    talk >> phone.request("OPTIONS", "sip:203.0.113.1")
    assert len(one.since(0)) > before


def test_off_it_remembers_nothing_and_costs_nothing() -> None:
    one = Ring(False, 1 << 20, 1000)
    one.message(1.0, True, ALICE, message())
    one.note(1.0, "info", "refused", "c1", ())
    assert one.since(0) == []
    assert ask(one, "siptrace.status", "check")["result"] == "Disabled"
    assert ask(one, "siptrace.status", "on")["result"] == "Enabled"
    one.message(2.0, True, ALICE, message())
    assert ask(one, "siptrace.status", "off")["result"] == "Disabled"
    one.message(3.0, True, ALICE, message())
    assert [entry[0] for _, entry in one.since(0)] == [2.0]


@pytest.mark.parametrize("params", [[], ["perhaps"], [1]])
def test_status_takes_on_off_and_check(params: list[Any]) -> None:
    assert ask(ring(), "siptrace.status", *params)["error"]["code"] == -32602


def test_statistics_count_what_was_remembered() -> None:
    one = ring(events=200)
    for _ in range(600):
        one.message(1.0, True, ALICE, message())
        one.message(1.0, False, ALICE, b"SIP/2.0 100 Trying\r\nVia: SIP/2.0/UDP a\r\nCall-ID: c1\r\n\r\n")
        one.note(1.0, "debug", "e", "c1", ())
    counts = one.counters()
    assert counts["siptrace:traced_requests"] == counts["siptrace:traced_replies"] == 600
    assert counts["siptrace:events"] <= 200


# ---- choosing


def test_what_came_since() -> None:
    one = ring()
    one.message(1.0, True, ALICE, message("c1"))
    answer = ask(one, "trace.events")["result"]
    assert [event["kind"] for event in answer] == ["message", "end"]
    since = answer[-1]["seq"]
    assert ask(one, "trace.events", since)["result"] == [{"seq": since, "kind": "end"}]
    one.note(2.0, "info", "refused", "c1", (("status", 403),))
    (event,) = events(one, since)
    assert (event["event"], event["time"], event["fields"]) == ("refused", 5002.0, {"status": "403"})
    assert [event["seq"] for event in events(one, 10_000)] == []


def test_calls_are_chosen_by_the_beginning_of_their_call_id() -> None:
    one = ring()
    for call in ("abc@x", "abd@x", "z"):
        one.message(1.0, True, ALICE, message(call))
        one.note(1.0, "debug", "decided-like", call, ())
    assert {event["call_id"] for event in events(one, 0, "", "ab")} == {"abc@x", "abd@x"}
    assert len(events(one, 0, "", "abc@x", "z")) == 4
    assert len(events(one, 0, "", "")) == 6
    assert events(one, 0, "", "bc") == []


@pytest.mark.parametrize("user", ["bob", "BOB", "sip:bob@anywhere", "sips:Bob"])
def test_a_user_is_found_with_the_notes_of_the_calls(user: str) -> None:
    one = ring()
    one.note(0.5, "debug", "before the first message", "c1", ())
    one.message(1.0, True, ALICE, message("c1", "bob"))
    one.message(1.0, True, ALICE, message("c2", "bobby"))
    one.note(1.5, "info", "refused", "c2", ())
    one.message(
        2.0, False, ALICE, b"SIP/2.0 180 Ringing\r\nVia: SIP/2.0/UDP a\r\ni:c1\r\nt: <sip:x@y>\r\n\r\n"
    )
    assert [(event["kind"], event["call_id"]) for event in events(one, 0, user)] == [
        ("note", "c1"),
        ("message", "c1"),
        ("message", "c1"),
    ]
    assert len(events(one, 0, "alice")) == 5
    assert len(events(one, 0, "bob", "c2")) == 5


@pytest.mark.parametrize("params", [["1"], [True], [1.5], [0, []], [0, "", None]])
def test_questions_that_make_no_sense_are_refused(params: list[Any]) -> None:
    assert ask(ring(), "trace.events", *params)["error"]["code"] == -32602


def test_a_long_ring_is_read_in_turns() -> None:
    one = Ring(True, 1 << 22, 10_000)
    for _ in range(3000):
        one.message(1.0, True, ALICE, message("c1"))
    request = b'{"jsonrpc":"2.0","id":1,"method":"trace.events","params":[0,"nobody"]}'
    pieces = list(Rpc(methods_for(one, float)).pieces(request))
    assert pieces.count(b"") >= 10
    whole = b"".join(piece for piece in pieces if isinstance(piece, bytes))
    assert json.loads(whole)["result"] == [{"seq": 3000, "kind": "end"}]


# ---- reading


@pytest.mark.parametrize(
    ("octets", "call_id"),
    [
        (b"X\r\nCall-ID: a@b\r\nTo: x\r\n\r\n", "a@b"),
        (b"X\r\nTo: x\r\ni:a@b\r\n\r\n", "a@b"),
        (b"X\r\ncall-id \t:\t a@b\r\n\r\n", "a@b"),
        (b"X\r\nCall-ID: a@b", "a@b"),
        (b"X\r\nCall-ID: \xe9\r\n\r\n", "\udce9"),
        (b"X\r\nTo: x\r\n\r\n", ""),
        (b"", ""),
    ],
)
def test_the_call_id_is_found(octets: bytes, call_id: str) -> None:
    assert call_id_of(octets) == call_id
    assert head_of(octets).call_id == call_id


def test_the_head_of_a_message_in_any_form() -> None:
    head = head_of(
        b"BYE sip:a SIP/2.0\r\nf: A\r\n b\r\nT : C\r\nCSeq:2 BYE\r\nc: text/plain\r\ni: x\r\n\r\nTo: no"
    )
    assert head == ("BYE sip:a SIP/2.0", "x", "2 BYE", "A b", "C", "text/plain")


def test_nothing_chosen_means_all() -> None:
    everything = Wanted("", ())
    assert everything.takes((1.0, True, ALICE, b"rubbish"))
    assert not Wanted("", ["c1"]).takes((1.0, True, ALICE, b"rubbish"))


# ---- what is told


def test_no_secret_leaves() -> None:
    talk = Talk()
    alice = talk.phone("alice", nat=True)
    talk.register(alice)
    text = json.dumps(events(talk.ring))
    assert 'response=\\"********' in text
    for _, entry in talk.ring.since(0):
        if len(entry) == 4 and b'response="' in entry[3]:
            response = entry[3].partition(b'response="')[2][:32].decode()
            assert response not in text
            return
    raise AssertionError("no credentials were sent")


def test_passwords_in_notes_are_masked() -> None:
    one = ring()
    one.note(1.0, "info", "refused", "c", (("ruri", "sip:bob:secret@edge"), ("exc", ValueError("x"))))
    assert events(one)[0]["fields"] == {"ruri": "sip:bob:******@edge"}


def test_a_decision_is_told_in_words() -> None:
    request = parse(message())
    assert isinstance(request, Request)
    inbound = Inbound(request, ALICE, ("k",))
    one = ring()
    one.decided(1.0, inbound, Forward())
    one.decided(1.0, inbound, Reply(404, "Not here"))
    one.decided(1.0, inbound, Redirect(("sip:x@y",)))
    one.decided(1.0, inbound, Drop())
    inbound.nat, inbound.nated, inbound.edits.alias, inbound.edits.relay = 19, True, "alias", True
    inbound.dst = Addr("198.51.100.4", 5062)
    one.decided(1.0, inbound, Forward(("sip:bob:pw@10.0.0.1",), serial=True))
    told_ = [event["fields"] for event in events(one)]
    assert [fields["decision"] for fields in told_] == [
        "forward to the request URI",
        "reply 404 Not here",
        "redirect 302 to sip:x@y",
        "drop",
        "forward serially to sip:bob:**@10.0.0.1",
    ]
    assert told_[-1] | {"decision": ""} == {
        "decision": "",
        "nat_uac_test": "19 (private Contact, Via differs, port differs)",
        "contact": "gets an alias of its source",
        "alias": "leads to 198.51.100.4:5062",
        "media": "through the relay",
    }


def test_a_message_is_told_with_what_a_line_needs() -> None:
    entry = (1.0, True, ALICE, message("c\udce9"[:1] + "1") + SDP)
    event = told(7, entry, 5000.0)
    assert event.pop("text").endswith("m=audio 4000 RTP/AVP 0\r\n")
    assert event == {
        "seq": 7,
        "time": 5001.0,
        "kind": "message",
        "call_id": "c1",
        "direction": "in",
        "transport": "udp",
        "local": "192.0.2.1:5060",
        "remote": "203.0.113.7:40000",
        "start": "INVITE sip:bob@edge SIP/2.0",
        "cseq": "1 INVITE",
        "from": "<sip:alice@edge>;tag=1",
        "to": "<sip:bob@edge>",
        "content_type": "",
    }


def test_the_list_has_a_line_for_each_call() -> None:
    talk = Talk()
    alice, bob = talk.phone("alice"), talk.phone("bob")
    talk.register(alice, bob)
    talk.answered(alice, bob)
    found = ask(talk.ring, "trace.list")["result"]
    assert [(one["method"], one["status"], one["messages"]) for one in found] == [
        ("REGISTER", "200 OK", 4),
        ("REGISTER", "200 OK", 4),
        ("INVITE", "200 OK", 9),
    ]
    assert found[-1]["to"] == "<sip:bob@203.0.113.1>"
    assert found[-1]["time"] == talk.now + 5000.0


@given(st.lists(st.tuples(st.binary(max_size=300), st.booleans()), max_size=6))
@example([(b"SIP/2.0 200\r\nCSeq:\r\nTo: sip:@\r\n\r\n\xff", True), (b"\r\n" * 20, False)])
def test_whatever_comes_can_be_told_and_drawn(octets: list[tuple[bytes, bool]]) -> None:
    one = ring()
    for data, incoming in octets:
        one.message(1.0, incoming, ALICE, data.ljust(32, b" "))
        one.note(
            1.0, "info", "refused", call_id_of(data), (("why", data.decode("utf-8", "surrogateescape")),)
        )
    found = events(one)
    assert len(found) == 2 * len(octets)
    for style in (Style(80), Style(120, True, True), Style(60, columns=False)):
        text = "\n".join(drawn(found, style, full=True))
        assert all(char.isprintable() or char in "\n\x1b" for char in text)
    for event in found:
        if event["kind"] == "message":
            assert len(record(event)) == 16 + 28 + len(event["text"].encode("utf-8", "surrogateescape"))
    assert len(ask(one, "trace.list")["result"]) <= len(octets)
