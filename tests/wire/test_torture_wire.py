"""The torture messages at a real server over real sockets: each gets its verdict by UDP and by TCP.

The server's script forwards all it is given to one agent, which answers everything with 404.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from lab.agent import Agent
from lab.link import Link, TcpLink, UdpLink
from lab.network import Host, Network
from lab.server import Server
from lab.sip import Message as Sip
from lab.sip import decode
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

from edgesip.signal.wire.grammar import ParseError
from edgesip.signal.wire.message import parse

pytestmark = pytest.mark.wire
SINK = "203.0.113.40"
SCRIPT = f"""
from edgesip.script import Call, Decision, Forward

def request(call: Call) -> Decision:
    return Forward(("sip:{SINK}:5060",))
"""
SILENCE = 0.3
ANSWER = 5.0
MESSAGE_DEADLINE = 10.0


def top_via(octets: bytes) -> str:
    try:
        return str(parse(octets).headers.via)
    except ParseError as error:
        return str(error.request.headers.via) if error.request else ""


def rounds() -> list[list[Message]]:
    """The messages so that no two in a round have the same transaction: to a server they were one."""
    found: list[dict[str, Message]] = []
    for message in MESSAGES:
        key = f"{message.method} {top_via(message.octets)}"
        free = next((known for known in found if key not in known), None)
        if free is None:
            found.append(free := {})
        free[key] = message
    return [list(known.values()) for known in found]


class Probe:
    """Sends one message after another and looks what becomes of it, here and at the sink."""

    def __init__(self, host: Host, server: str, sink: Agent) -> None:
        self.host = host
        self.place = (server, 5060)
        self.sink = sink

    def send(self, link: Link, octets: bytes, wait: float, patience: float = ANSWER) -> Outcome:
        """`wait` s for the first sign of it; once it is forwarded, `patience` s for its final answer."""
        link.send(octets, self.place)
        forwarded: list[bytes] = []
        end = time.monotonic() + wait
        while time.monotonic() < end:
            onward = self._next(self.sink.link)
            if onward is not None and not onward.status:
                if onward.method != "ACK":
                    forwarded.append(onward.encode())
                    self.sink.respond(onward, 404, "sink")
                    end = time.monotonic() + patience
                continue
            answer = self._next(link)
            if answer is not None and answer.status >= 200:
                if answer.method == "INVITE":
                    self._acknowledge(link, octets, answer)
                return Outcome((answer.status,), tuple(forwarded))
        return Outcome((), tuple(forwarded))

    def _next(self, link: Link) -> Sip | None:
        try:
            data, source = link.receive(0.02)
        except (TimeoutError, ConnectionError):
            return None
        return decode(data, source) if data.strip() else None

    def _acknowledge(self, link: Link, invite: bytes, answer: Sip) -> None:
        """With the top Via that the INVITE had (RFC 3261 §17.1.1.3)."""
        sent = top_via(invite)
        number = answer.get("CSeq").split()[0]
        fields = [("Via", sent), *((name, answer.get(name)) for name in ("From", "To", "Call-ID"))]
        uri = invite.split()[1].decode()
        link.send(Sip(f"ACK {uri} SIP/2.0", [*fields, ("CSeq", f"{number} ACK")]).encode(), self.place)

    def verdict(self, link: Link, message: Message) -> str:
        """What is wrong with what the server did, '' for nothing."""
        talks = message.is_request and message.proxy.action != "drop"
        outcome = self.send(link, message.octets, ANSWER if talks else SILENCE)
        usual = Outcome()
        if message.proxy.action == "accept" and message.is_request and not outcome.forwarded:
            usual = self.send(link, plain(message), ANSWER)
        return judge(message, message.proxy, outcome, usual)


@pytest.fixture
def probes(start_server: Callable[..., Server], network: Network, tmp_path: Path) -> list[Probe]:
    """One for each round, with a server of its own."""
    script = tmp_path / "forward.py"
    script.write_text(SCRIPT)
    sink = Agent(network.public_host("sink", 40), "sink")
    assert sink.address == SINK
    tester = network.public_host("tester", 30)
    made = []
    for number, _ in enumerate(rounds(), 1):
        settings = {"route": str(script), "ban.enabled": "false"}  # a tester does nothing but wrong
        server = start_server(settings, name=f"server{number}", number=number)
        made.append(Probe(tester, server.host.address, sink))
    return made


def test_each_gets_its_verdict_over_udp(probes: list[Probe], network: Network) -> None:
    link = UdpLink(probes[0].host, 5060)
    wrong = {
        message.name: found
        for probe, messages in zip(probes, rounds(), strict=True)
        for message in messages
        if (found := probe.verdict(link, message))
    }
    assert wrong == {}


def test_each_gets_its_verdict_over_tcp(probes: list[Probe]) -> None:
    """The connection lives on, but where nobody knows where the message ends."""
    cut = TcpLink(probes[0].host, probes[0].place)
    begun = time.monotonic()
    cut.send(CUT_BADDN, probes[0].place)
    endless = [cut]
    wrong: dict[str, str] = {}
    for probe, messages in zip(probes, rounds(), strict=True):
        for message in messages:
            link = TcpLink(probe.host, probe.place)
            if message.name in ENDLESS:
                link.send(message.octets, probe.place)
                endless.append(link)
                continue
            found = over_tcp(probe, link, message)
            link.close()
            if found:
                wrong[message.name] = found
    assert wrong == {}
    assert len(endless) == 1 + len(ENDLESS)
    for link in endless:
        assert link.is_closed(begun + MESSAGE_DEADLINE + 6.0 - time.monotonic())
    assert time.monotonic() > begun + MESSAGE_DEADLINE - 1.0


def over_tcp(probe: Probe, link: TcpLink, message: Message) -> str:
    """What is wrong with what became of a message and its connection."""
    if message.name in BROKEN_FRAMES:
        outcome = probe.send(link, message.octets, ANSWER)
        return "" if outcome == Outcome((400,)) and link.is_closed(ANSWER) else f"{outcome} or not closed"
    if message.name in TWICE:
        # Five octets too many follow the second: the connection ends, so the sink alone tells.
        outcome = probe.send(link, message.octets, ANSWER, patience=1.0)
        methods = [octets.split()[0] for octets in outcome.forwarded]
        return "" if methods[:2] == [b"REGISTER", b"INVITE"] and link.is_closed(ANSWER) else str(outcome)
    found = probe.verdict(link, message)
    alive = probe.send(link, b"\r\n\r\n" + plain(BY_NAME["esc02"]), ANSWER)
    return found or ("" if alive.statuses == (404,) else "the connection is dead")
