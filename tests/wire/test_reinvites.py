"""What becomes of media when a call is changed while it lasts: refreshed, made a fax, given a picture, and
handed over to somebody else.
"""

from __future__ import annotations

import time

import pytest
from lab.agent import Agent, Dialog
from lab.calls import Call, open_call
from lab.network import Network
from lab.process import eventually
from lab.server import Server
from lab.sip import Message, media_address, token
from lab.stream import Stream, playing
from lab.tones import assert_heard

pytestmark = pytest.mark.wire


def _agent(server: Server, network: Network, user: str, number: int, kind: str) -> Agent:
    host = network.public_host(user, number) if kind == "public" else network.nat_host(user, number, kind)
    agent = Agent(host, user, server.add_user(user))
    assert agent.register().status == 200
    return agent


def _change(by: Agent, dialog: Dialog, other: Agent, offer: bytes, answer: bytes) -> tuple[Message, Message]:
    """A re-INVITE and its 200, as they arrived."""
    change = by.in_dialog(dialog, "INVITE", offer)
    by.send(change)
    asked = other.expect("INVITE")
    other.respond(asked, 200, body=answer)
    said = by.expect_response(change, 200, 299)
    by.acknowledge(dialog)
    other.expect("ACK")
    return asked, said


def _passes(data: bytes, sender: Stream, to: tuple[str, int], receiver: Stream) -> None:
    """These octets arrive as they are."""

    def heard() -> bool:
        sender.socket.sendto(data, to)
        receiver.drain()
        return any(octets == data for _, _, octets in receiver.received)

    eventually(f"{data!r}", heard)


@pytest.mark.long
def test_a_call_is_refreshed_made_a_fax_and_given_a_picture(server: Server, network: Network) -> None:
    bob = _agent(server, network, "bob", 20, "symmetric")
    alice = _agent(server, network, "alice", 30, "public")
    call = open_call(alice, bob, alice.stream(440.0), bob.stream(1000.0))
    call.talk(4.0)
    offer, answer = alice.offer(call.says), bob.offer(call.hears)
    for _ in range(3):
        asked, said = _change(alice, call.outgoing, bob, offer, answer)
        assert (media_address(asked.body), media_address(said.body)) == (call.hears.remote, call.says.remote)
        call.talk(1.0)
    legs = server.ask("rtp", "list")[0]["legs"]
    assert {leg["state"] for leg in legs} == {"locked"}, "a refresh makes nobody learn"

    def fax(body: bytes) -> bytes:
        lines = body.replace(b"m=audio", b"m=image").replace(b"RTP/AVP 0", b"udptl t38").split(b"\r\n")
        return b"\r\n".join(line for line in lines if not line.startswith(b"a="))

    asked, said = _change(bob, call.incoming, alice, fax(answer), fax(offer))
    assert b"udptl t38" in asked.body
    assert b"udptl t38" in said.body
    assert call.says.remote is not None
    assert call.hears.remote is not None
    _passes(b"\0\1\1\0\0", call.says, call.says.remote, call.hears)
    _passes(b"\0\2\1\0\0", call.hears, call.hears.remote, call.says)
    _change(bob, call.incoming, alice, answer, offer)
    call.talk(1.5)

    pictures = alice.stream(1.0), bob.stream(1.0)
    video = [b"m=video %d RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n" % stream.port for stream in pictures]
    asked, said = _change(alice, call.outgoing, bob, offer + video[0], answer + video[1])
    for stream, body in zip(pictures, (said.body, asked.body), strict=True):
        head, _, picture = body.partition(b"m=video")
        host = media_address(body)[0]
        stream.remote = (host, int(picture.split()[0]))
        assert head.count(b"m=audio") == 1
    with playing(pictures):
        call.talk(1.5)
    for stream in pictures:
        assert stream.received, "the picture arrives beside the voice"
    _change(
        alice, call.outgoing, bob, offer + b"m=video 0 RTP/AVP 0\r\n", answer + b"m=video 0 RTP/AVP 0\r\n"
    )
    call.talk(1.5)
    call.hang_up()
    eventually("ports to come back", lambda: not server.ask("rtp", "list"))


def _refer(by: Agent, call: Call, target: str, other: Call) -> Message:
    """REFER in this call, to somebody whom the other call is to be taken over from (RFC 3891)."""
    dialog = other.outgoing
    tags = [value.partition("tag=")[2] for value in (dialog.remote, dialog.local)]
    replaces = f"{dialog.call_id}%3Bto-tag%3D{tags[0]}%3Bfrom-tag%3D{tags[1]}"
    refer = by.in_dialog(call.outgoing, "REFER")
    refer.headers.append(("Refer-To", f"<sip:{target}@{by.domain}?Replaces={replaces}>"))
    return refer


def test_an_attended_transfer(server: Server, network: Network) -> None:
    """Alice talks to bob, asks carol, and brings the two together: they hear each other, she is out."""
    bob = _agent(server, network, "bob", 20, "symmetric")
    carol = _agent(server, network, "carol", 40, "port-restricted")
    alice = _agent(server, network, "alice", 30, "public")
    first = open_call(alice, bob, alice.stream(440.0), bob.stream(1000.0))
    first.talk(1.0)
    held = alice.offer(first.says, "sendonly")
    _change(alice, first.outgoing, bob, held, bob.offer(first.hears, "recvonly"))
    second = open_call(alice, carol, alice.stream(440.0), carol.stream(1500.0))
    second.talk(1.0)

    refer = _refer(alice, first, "carol", second)
    alice.send(refer)
    asked = bob.expect("REFER")
    bob.respond(asked, 202)
    alice.expect_response(refer, 202, 202)
    replaces = asked.get("Refer-To").partition("?Replaces=")[2].rstrip(">").replace("%3B", ";")
    says, hears = bob.stream(1000.0), carol.stream(1500.0)
    invite = bob.invite("carol", bob.offer(says), extra=(("Replaces", replaces.replace("%3D", "=")),))
    ring = carol.expect("INVITE")
    assert ring.get("Replaces") == replaces.replace("%3D", "=")
    tag = token()
    carol.respond(ring, 200, tag, carol.offer(hears))
    answer = bob.expect_response(invite, 200, 299)
    third = bob.caller_dialog(invite, answer)
    bob.acknowledge(third)
    carol.expect("ACK")

    bye = carol.in_dialog(second.incoming, "BYE")
    carol.send(bye)
    alice.respond(alice.expect("BYE"), 200)
    carol.expect_response(bye, 200, 299)
    first.hang_up()
    eventually("one call", lambda: len(server.ask("rtp", "list")) == 1)
    says.remote, hears.remote = media_address(answer.body), media_address(ring.body)
    with playing([says, hears]):
        time.sleep(2.0)
    assert_heard("bob", says.heard(), 1500.0, 1.8)
    assert_heard("carol", hears.heard(), 1000.0, 1.8)
    end = bob.in_dialog(third, "BYE")
    bob.send(end)
    carol.respond(carol.expect("BYE"), 200)
    bob.expect_response(end, 200, 299)
