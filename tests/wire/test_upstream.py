"""Calls with a provider: its announcements before the answer, and its calls without an offer."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from lab import upstream
from lab.calls import frequency_of, phone_at
from lab.capture import Capture, audio
from lab.network import Host, Network
from lab.process import eventually
from lab.server import Server
from lab.sip import decode, media_address
from lab.stream import Stream, playing
from lab.tones import assert_heard, seconds_of

pytestmark = [pytest.mark.wire, pytest.mark.long]
PROVIDER = 1500.0
Start = Callable[..., Server]


def _provider(start_server: Start, network: Network) -> tuple[Server, Host, Stream]:
    host = network.public_host("provider", 40)
    server = start_server({"upstream": f"sip:{host.address}:5060"})
    return server, host, Stream(host.namespace.udp(host.address, 30000), PROVIDER)


def _told(server: Server, host: Host, start: bytes) -> tuple[str, int]:
    """Where the server told the provider to send media, in its message that begins so."""

    def look() -> tuple[str, int] | None:
        for datagram in server.capture.datagrams():
            if datagram.target[0] == host.address and datagram.payload.startswith(start):
                return media_address(decode(datagram.payload, datagram.source).body)
        return None

    return eventually(f"{start!r} to the provider", look)


@pytest.mark.parametrize("kind", ["symmetric", "port-restricted", "alg"])
def test_early_media_of_the_provider_is_heard_before_the_answer(
    start_server: Start, network: Network, kind: str
) -> None:
    server, host, stream = _provider(start_server, network)
    alice = phone_at(server, network, "alice", kind)
    wire = Capture(network, alice.host)
    provider = upstream.answers(network, host, stream.port, early=4.0)
    time.sleep(0.5)
    alice.dial("5551234")
    stream.remote = _told(server, host, b"INVITE ")
    with playing([stream]):
        begin = time.time()
        alice.wait_event("CALL_PROGRESS")
        time.sleep(2.5)
        early = time.time()
        assert not alice.saw_event("CALL_ESTABLISHED")
        alice.wait_established()
        answered = time.time()
        mark = len(stream.heard())
        time.sleep(3.0)
        end = time.time()
        heard = stream.heard()[mark:]
    alice.hangup()
    alice.wait_closed()
    assert provider.wait(20.0) == 0
    packets = {
        name: wire.rtp(alice.host.address, *span)
        for name, span in {"before": (begin, early), "after": (answered, end)}.items()
    }
    assert_heard("alice, early", audio(packets["before"]), PROVIDER, 2.0)
    assert_heard("alice", audio(packets["after"]), PROVIDER, 2.8)
    assert_heard("the provider", heard, frequency_of("alice"), 2.8)


@pytest.mark.parametrize("kind", ["symmetric", "port-restricted", "alg"])
def test_a_late_offer_of_the_provider_makes_a_call(start_server: Start, network: Network, kind: str) -> None:
    """INVITE without SDP, the phone offers in its 200, the answer comes with the ACK."""
    server, host, stream = _provider(start_server, network)
    bob = phone_at(server, network, "bob", kind)
    provider = upstream.calls(network, host, "bob", stream.port, talk=4.0)
    bob.wait_ringing()
    bob.answer()
    stream.remote = _told(server, host, b"SIP/2.0 200 ")
    with playing([stream]):
        bob.wait_established()
        bob.wait_closed(15.0)
    assert provider.wait(20.0) == 0
    assert seconds_of(stream.heard(), frequency_of("bob")) >= 3.0
    bob.assert_tone(PROVIDER, 3.5)
