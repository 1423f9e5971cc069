"""The torture messages through the whole signalling core, over UDP and over TCP: nothing but their verdicts.

Two servers judge them: a proxy that forwards all it is given, and a registrar that takes every registration
and asks for a password only where it is offered one.
"""

from __future__ import annotations

import pytest
from forwarding import SINK, ForwardingTalk
from strict import strictly_read
from talk import SERVER, Packet, Phone
from verdicts import (
    BROKEN_FRAMES,
    BY_NAME,
    CUT_BADDN,
    ENDLESS,
    MESSAGES,
    TWICE,
    Message,
    Outcome,
    judge,
    plain,
)

from edgesip.script import Call, Decision, Forward, Reply, Save
from edgesip.signal.wire.framer import Framer
from edgesip.signal.wire.message import Request, parse

TRANSPORTS = ("udp", "tcp")
REGISTERS = [message for message in MESSAGES if message.registrar is not None]
OURS = {"Via", "Max-Breadth", "Max-Forwards", "Content-Length", "Record-Route"}


def forward(call: Call) -> Decision:
    return Forward()


def keep(call: Call) -> Decision:
    if call.method != "REGISTER":
        return Reply(405)
    return (call.www_authenticate() if "Authorization" in call.headers else None) or Save()


class Line:
    """One phone's way to the server: datagrams, or a connection with its frames."""

    def __init__(self, talk: ForwardingTalk, transport: str) -> None:
        self.talk = talk
        self.phone: Phone = talk.phone("tester", transport=transport)
        self.framer = Framer()

    @property
    def is_closed(self) -> bool:
        return self.framer.fault is not None

    def send(self, octets: bytes) -> Outcome:
        flow, core = self.phone.flow, self.talk.core
        self.talk.sent.clear()
        if flow.transport == "udp":
            self.talk >> Packet(self.phone, octets)
        else:
            for message in self.framer.feed(octets):
                self.talk >> Packet(self.phone, message)
            if self.framer.fault is not None:
                self.talk._step(core.malformed(self.framer.rest, self.framer.fault, flow))
        answers = [octets for to, octets in self.talk.sent if to == flow]
        onward = [octets for to, octets in self.talk.sent if to.remote == SINK]
        assert len(answers) + len(onward) == len(self.talk.sent), "nothing goes anywhere else"
        statuses = [int(answer[8:11]) for answer in answers]
        return Outcome(tuple(status for status in statuses if status > 100), tuple(onward))


def plain_outcome(message: Message, transport: str) -> Outcome:
    if message.proxy.action != "accept" or not message.is_request:
        return Outcome()
    return Line(ForwardingTalk(forward), transport).send(plain(message))


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.name)
def test_a_proxy_gives_each_its_verdict(message: Message, transport: str) -> None:
    line = Line(ForwardingTalk(forward), transport)
    outcome = line.send(message.octets)
    if transport == "tcp" and message.name in BROKEN_FRAMES:
        assert (outcome, line.is_closed) == (Outcome((400,)), True)
        return
    if transport == "tcp" and message.name in ENDLESS:
        assert (outcome, line.is_closed, line.framer.pending) == (Outcome(), False, True)
        return
    if transport == "tcp" and message.name in TWICE:
        assert [octets.split()[0] for octets in outcome.forwarded] == [b"REGISTER", b"INVITE"]
        return
    assert judge(message, message.proxy, outcome, plain_outcome(message, transport)) == ""
    assert not line.is_closed
    for octets in outcome.forwarded:
        check_copy(message, octets)


def check_copy(message: Message, octets: bytes) -> None:
    """What leaves is what came, in one spelling: every field, in order, and the body octet for octet."""
    came = parse(message.octets)
    assert isinstance(came, Request)
    left = strictly_read(octets)
    assert left.start == f"{came.method} {came.uri} SIP/2.0".encode()
    kept = [(name.decode(), value) for name, value in left.fields if name.decode() not in OURS]
    assert kept == [
        (name, value.encode("utf-8", "surrogateescape"))
        for name, value in came.headers.fields
        if name not in OURS
    ]
    assert left.body == came.body
    assert message.octets.count(came.body) >= 1
    again = parse(octets)
    assert again.headers.vias[2:] == came.headers.vias[1:]
    hops = came.headers.max_forwards
    assert again.headers.max_forwards == (70 if hops is None else hops - 1)


def test_an_archive_file_without_an_empty_line_is_refused_as_a_datagram_and_awaited_in_a_stream() -> None:
    assert Line(ForwardingTalk(forward), "udp").send(CUT_BADDN) == Outcome((400,))
    line = Line(ForwardingTalk(forward), "tcp")
    assert line.send(CUT_BADDN) == Outcome()
    assert line.framer.pending


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("message", REGISTERS, ids=lambda message: message.name)
def test_a_registrar_gives_each_its_verdict(message: Message, transport: str) -> None:
    assert message.registrar is not None
    talk = ForwardingTalk(keep)
    line = Line(talk, transport)
    outcome = line.send(message.octets)
    if transport == "tcp" and message.name in TWICE:
        assert outcome == Outcome((200, 405))
        return
    assert judge(message, message.registrar, outcome, Outcome()) == ""
    if message.registrar.action == "reject":
        assert len(talk.core.usrloc) == 0


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_all_of_them_one_after_another_leave_nothing(transport: str) -> None:
    talk = ForwardingTalk(forward)
    for message in MESSAGES:
        Line(talk, transport).send(message.octets)
    talk.wait(400)
    assert len(talk.core.transactions) == 0
    assert len(talk.core.dialogs) == 0


def registered(octets: bytes) -> tuple[ForwardingTalk, list[str]]:
    talk = ForwardingTalk(keep)
    assert Line(talk, "udp").send(octets) == Outcome((200,))
    return talk, sorted(binding.contact for binding in talk.core.usrloc.get_all())


def test_escaped_nuls_are_two_contacts_and_their_user_is_not_cut() -> None:
    message = BY_NAME["escnull"]
    assert Line(ForwardingTalk(keep), "udp").send(message.octets) == Outcome((404,))
    _, contacts = registered(message.octets.replace(b"To: sip:null-%00-null@", b"To: sip:somebody@"))
    assert contacts == ["sip:%00%00@host5.example.com", "sip:%00@host5.example.com"]


def test_an_unknown_parameter_is_kept_where_it_stood() -> None:
    assert registered(BY_NAME["cparam01"].octets)[1] == ["sip:+19725552222@gw1.example.net"]
    assert registered(BY_NAME["cparam02"].octets)[1] == ["sip:+19725552222@gw1.example.net;unknownparam"]


def test_a_contact_keeps_its_escaped_route_and_no_call_gets_it() -> None:
    talk, contacts = registered(BY_NAME["regescrt"].octets)
    assert contacts == ["sip:user@example.com?Route=%3Csip:sip.example.com%3E"]
    (binding,) = talk.core.usrloc.get_all()
    talk.sent.clear()
    caller, callee = talk.phone("caller"), binding.flow.remote
    talk.use(lambda call: Forward(tuple(talk.core.usrloc.get_all())))
    talk >> caller.invite(f"sip:user@{SERVER}") << (caller, 100)
    invite = talk.request(callee, "INVITE")
    assert invite.uri == "sip:user@example.com"
    assert invite.headers.routes == ()


def test_a_demanded_extension_is_named() -> None:
    line = Line(ForwardingTalk(forward), "udp")
    line.send(BY_NAME["bext01"].octets)
    (answer,) = (octets for _, octets in line.talk.sent)
    assert strictly_read(answer).all(b"Unsupported") == [b"noProxiesSupportThis, norDoAnyProxiesSupportThis"]


def test_bare_branch_cookies_share_no_transaction() -> None:
    line = Line(ForwardingTalk(forward), "udp")
    for _ in range(2):
        assert line.send(BY_NAME["badbranch"].octets) == Outcome((400,))
    assert len(line.talk.core.transactions) == 0


def test_an_answer_without_from_holds_what_can_be_copied() -> None:
    line = Line(ForwardingTalk(forward), "udp")
    line.send(BY_NAME["insuf"].octets)
    answer = strictly_read(line.talk.sent[0][1])
    assert [name for name, _ in answer.fields] == [b"Via", b"CSeq", b"Content-Length"]
