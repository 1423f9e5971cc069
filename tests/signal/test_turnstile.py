"""What is turned away by a look at its octets hears, octet for octet, what it would hear after being read."""

from __future__ import annotations

from pathlib import Path

import pytest
from talk import SERVER, Talk

from edgesip.address import Addr, Flow
from edgesip.signal.guard.admission import Admission, AdmissionSettings
from edgesip.signal.proxy.forward import with_source
from edgesip.signal.proxy.stateless import Stateless
from edgesip.signal.proxy.turnstile import Turnstile
from edgesip.signal.wire.grammar import ParseError
from edgesip.signal.wire.message import Request, parse

FLOW = Flow("udp", Addr("203.0.113.1", 5060), Addr("198.51.100.20", 40000))
TORTURE = Path(__file__).parent.parent / "torture"
INVITE = (
    "INVITE sip:bob@203.0.113.1 SIP/2.0\r\n"
    "Via: SIP/2.0/UDP 10.0.0.5:5060;rport;branch=z9hG4bKone\r\n"
    "Max-Forwards: 70\r\n"
    'From: "Alice" <sip:alice@203.0.113.1>;tag=a1\r\n'
    "To: <sip:bob@203.0.113.1>\r\n"
    "Call-ID: abc@10.0.0.5\r\n"
    "CSeq: 1 INVITE\r\n"
    "Contact: <sip:alice@10.0.0.5>\r\n"
    "Content-Length: 0\r\n\r\n"
)
MORE_VIAS = "Max-Forwards: 70\r\nVia: SIP/2.0/TCP a.example;branch=z9hG4bK2, SIP/2.0/UDP b.example\r\n"
PLAIN = {
    "as most phones write it": INVITE,
    "without rport": INVITE.replace(";rport", ""),
    "with a received of its own": INVITE.replace(";rport", ";received=192.0.2.9;rport=9"),
    "from where the Via says": INVITE.replace("10.0.0.5:5060;rport", "198.51.100.20:40000"),
    "more Vias": INVITE.replace("Max-Forwards: 70\r\n", MORE_VIAS),
    "compact names": INVITE.replace("Via", "v")
    .replace("From", "f")
    .replace("To:", "t:")
    .replace("Call-ID", "i"),
    "small letters": INVITE.replace("Via", "via").replace("From", "FROM").replace("CSeq", "cseq"),
    "spaces": INVITE.replace("To: ", "To :   ").replace("abc@10.0.0.5", "abc@10.0.0.5  "),
    "octets that are no text": INVITE.replace("Alice", "Al\udcffce"),
}
UNUSUAL = {
    "a dialog's": INVITE.replace("bob@203.0.113.1>\r\n", "bob@203.0.113.1>;tag=b\r\n"),
    "a folded line": INVITE.replace("To: ", "To:\r\n "),
    "two To": INVITE.replace("To: ", "To: <sip:x@y>\r\nTo: "),
    "no Call-ID": INVITE.replace("Call-ID", "Call-Id-Too"),
    "an empty Call-ID": INVITE.replace("abc@10.0.0.5", ""),
    "an old branch": INVITE.replace("z9hG4bKone", "one"),
    "no branch": INVITE.replace(";branch=z9hG4bKone", ""),
    "two Vias in a line": INVITE.replace(";rport;", ";rport;branch=z9hG4bKtwo, SIP/2.0/UDP x;"),
    "another CSeq": INVITE.replace("1 INVITE", "1 BYE"),
    "a bad CSeq": INVITE.replace("1 INVITE", "one INVITE"),
    "a bad Via": INVITE.replace("SIP/2.0/UDP", "SIP"),
    "line feeds alone": INVITE.replace("\r\n", "\n"),
    "a NUL": INVITE.replace("Alice", "Al\0ce"),
    "no end": INVITE[:-2],
    "a long head": INVITE.replace("70", "70\r\nX: " + "x" * 9000),
    "another method": INVITE.replace("INVITE", "OPTIONS"),
}


class Gate:
    """A turnstile that lets nobody in, and what it sent."""

    def __init__(self, *known: tuple[str, ...]) -> None:
        self.sends: list[tuple[Flow, bytes]] = []
        self.away: list[Flow] = []
        self.admission = Admission(AdmissionSettings(), lambda n: b"\x04" * n)
        self.admission.part, self.admission.closed = 1.0, True
        self.stateless = Stateless(Talk().core.myself, lambda n: b"\x07" * n, self.sends)
        self.counts = {"core:rcv_requests": 0}
        table = (dict.fromkeys(known),)
        doors = (lambda flow: False, self.turned)
        self.turnstile = Turnstile(self.admission, self.stateless, self.counts, table, *doors)

    def turned(self, flow: Flow, now: float) -> None:
        self.away.append(flow)

    def stops(self, text: str, flow: Flow = FLOW) -> bool:
        return self.turnstile.stops(text.encode("utf-8", "surrogateescape"), flow, 100.0)


def read_in_full(octets: bytes) -> bytes:
    gate = Gate()
    request = parse(octets)
    assert isinstance(request, Request)
    gate.stateless.answer(with_source(request, FLOW.remote), FLOW, 503, "", (("Retry-After", "5"),))
    return gate.sends[0][1]


@pytest.mark.parametrize("form", PLAIN)
def test_the_answer_is_the_one_that_reading_it_would_bring(form: str) -> None:
    gate = Gate()
    assert gate.stops(PLAIN[form])
    assert gate.sends == [(FLOW, read_in_full(PLAIN[form].encode("utf-8", "surrogateescape")))]
    assert gate.counts == {"core:rcv_requests": 1}
    assert gate.admission.counters["core:overload_rejected"] == 1
    assert gate.away == [FLOW]
    assert gate.stateless.counters["sl:5xx_replies"] == 1


@pytest.mark.parametrize("form", UNUSUAL)
def test_what_is_not_plain_or_not_new_is_read_in_full(form: str) -> None:
    gate = Gate()
    assert not gate.stops(UNUSUAL[form])
    assert gate.sends == []
    assert gate.counts == {"core:rcv_requests": 0}


def test_no_torture_is_answered_otherwise_than_when_it_is_read() -> None:
    stopped = 0
    for path in sorted(one for one in TORTURE.rglob("*") if one.is_file()):
        octets, gate = path.read_bytes(), Gate()
        if not gate.turnstile.stops(octets, FLOW, 100.0):
            continue
        stopped += 1
        try:
            assert gate.sends[0][1] == read_in_full(octets)
        except ParseError:
            assert gate.sends[0][1].startswith(b"SIP/2.0 503 ")
    assert stopped > 3


def test_over_a_connection_requests_are_read() -> None:
    assert not Gate().stops(INVITE, FLOW._replace(transport="tcp"))


def test_a_request_that_something_is_done_for_is_not_stopped() -> None:
    assert not Gate(("z9hG4bKone", "10.0.0.5", "5060", "INVITE")).stops(INVITE)
    assert Gate(("z9hG4bKtwo", "10.0.0.5", "5060", "INVITE")).stops(INVITE)


def test_its_ack_ends_here_and_no_other() -> None:
    gate = Gate()
    gate.stops(INVITE)
    answer = parse(gate.sends[0][1])
    ack = INVITE.replace("INVITE", "ACK").replace(
        "To: <sip:bob@203.0.113.1>", f"To: {answer.headers.get('To')}"
    )
    assert gate.stops(ack)
    assert not gate.stops(ack.replace("abc@", "abd@"))
    assert not gate.stops(INVITE.replace("INVITE", "ACK"))
    assert gate.stateless.counters["sl:received_ACKs"] == 1
    assert len(gate.sends) == 1


def test_too_late_for_an_answer_there_is_none() -> None:
    gate = Gate()
    gate.admission.delay = 3.0
    assert gate.stops(INVITE)
    assert gate.sends == []
    assert gate.admission.counters["core:overload_dropped"] == 1


def test_a_call_in_a_server_that_is_full() -> None:
    talk = Talk()
    alice, bob = talk.phone("alice", nat=True), talk.phone("bob", nat=True)
    talk.register(alice, bob)
    talk.core.admission.part, talk.core.admission.closed = 1.0, True
    talk >> talk.phone("carol").invite("bob")
    assert b" 503 " in talk.sent.pop()[1], "a stranger"
    talk >> alice.invite("bob") << (alice, 407)
    talk.core.admission.part = 2.0
    talk >> alice.invite("bob") << (alice, 503)
    talk.core.admission.part = 0.0
    talk >> alice.invite("bob") << (alice, 407)
    assert talk.core.counters["core:rcv_requests"] >= 4
    assert SERVER.port == 5060
