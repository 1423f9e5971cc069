"""Calls between real phones behind real NATs: two-way audio by tone, and every way a call ends."""

from __future__ import annotations

import itertools
import time

import pytest
from lab.calls import connect, hang_up, phone_at
from lab.capture import Capture, audio
from lab.network import Network
from lab.routers import KINDS
from lab.server import Server
from lab.tones import assert_heard, seconds_of

pytestmark = pytest.mark.wire
TALK = 4.0


PLACES = (*KINDS, "cgnat", "alg", "public")
_QUICK = {
    ("port-restricted", "port-restricted"),
    ("symmetric", "symmetric"),
    ("port-restricted", "public"),
    ("public", "symmetric"),
    ("cgnat", "alg"),
}
_PAIRS = [(caller, callee) for caller in PLACES for callee in PLACES]


@pytest.mark.parametrize(
    ("caller", "callee", "hangs_up"),
    [
        pytest.param(*pair, hangs_up, marks=() if pair in _QUICK else pytest.mark.long)
        for pair, hangs_up in zip(_PAIRS, itertools.cycle(("caller", "callee")))
    ],
)
def test_both_hear_the_other(
    server: Server, network: Network, caller: str, callee: str, hangs_up: str
) -> None:
    alice = phone_at(server, network, "alice", caller)
    bob = phone_at(server, network, "bob", callee)
    connect(alice, bob)
    time.sleep(TALK)
    assert server.leftovers().keys() == {"leased ports", "dialogs"}, (
        "what is clean after a call was not in it"
    )
    [session] = server.ask("rtp", "list")
    remotes = {leg["side"]: leg["remote"].rpartition(":")[0] for leg in session["legs"]}
    assert remotes == {"caller": "203.0.113.10", "callee": "203.0.113.20"}
    hang_up(*((alice, bob) if hangs_up == "caller" else (bob, alice)))
    alice.assert_heard(bob, TALK)
    bob.assert_heard(alice, TALK)


def _final_statuses(server: Server, method: str, target: str) -> set[int]:
    """Statuses >= 300 that the server sent to `target` for requests of `method`."""
    starts = {
        int(datagram.payload[8:11])
        for datagram in server.capture.datagrams()
        if datagram.payload.startswith(b"SIP/2.0 ")
        and datagram.source[0] == server.host.address
        and datagram.target[0] == target
        and f" {method}\r\n".encode() in datagram.payload
    }
    return {status for status in starts if status >= 300} - {401, 407}


def test_the_caller_gives_up_while_it_rings(server: Server, network: Network) -> None:
    alice = phone_at(server, network, "alice", "port-restricted")
    bob = phone_at(server, network, "bob", "symmetric")
    alice.dial("bob")
    bob.wait_ringing()
    alice.wait_event("CALL_RINGING")
    alice.hangup()
    bob.wait_closed()
    alice.wait_closed()
    time.sleep(0.3)
    assert _final_statuses(server, "INVITE", "203.0.113.10") == {487}


def test_the_callee_declines(server: Server, network: Network) -> None:
    alice = phone_at(server, network, "alice", "symmetric")
    bob = phone_at(server, network, "bob", "port-restricted")
    alice.dial("bob")
    bob.wait_ringing()
    bob.hangup()
    alice.wait_closed()
    assert _final_statuses(server, "INVITE", "203.0.113.10") == {486}


def test_hold_and_resume(server: Server, network: Network) -> None:
    """Judged on captures at the phones: a recording stops at the re-INVITE although RTP goes on."""
    alice = phone_at(server, network, "alice", "port-restricted")
    bob = phone_at(server, network, "bob", "symmetric")
    wires = {phone: Capture(network, phone.host) for phone in (alice, bob)}
    connect(alice, bob)
    marks = [time.time()]
    for step in (alice.hold, alice.resume, alice.hangup):
        time.sleep(2.5)
        marks.append(time.time())
        step()
    bob.wait_closed()
    alice.wait_closed()
    for phone, other in ((alice, bob), (bob, alice)):
        talk, hold, again = (
            audio(wires[phone].rtp(phone.host.address, begin + 0.5, end))
            for begin, end in itertools.pairwise(marks)
        )
        assert_heard(f"{phone.user} before the hold", talk, other.frequency, 2.0)
        assert seconds_of(hold, other.frequency) < 0.3, f"{phone.user} heard the other on hold"
        assert_heard(f"{phone.user} after the hold", again, other.frequency, 2.0)
