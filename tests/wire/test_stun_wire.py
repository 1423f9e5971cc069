"""STUN through real routers: what a phone learns, what a real client says, a hole that its phone keeps."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Callable

import pytest
from lab.agent import Agent
from lab.network import Network
from lab.server import Server
from lab.sip import Message

from edgesip.signal.nat.stun import COOKIE, read_answer, request

pytestmark = pytest.mark.wire
ID = bytes(range(12))


def asked(sock: socket.socket, data: bytes, server: tuple[str, int]) -> bytes:
    """The answer to a datagram, which may be lost once or twice."""
    sock.settimeout(2.0)
    for _ in range(5):
        sock.sendto(data, server)
        try:
            return sock.recv(2000)
        except TimeoutError:
            continue
    raise AssertionError("never answered")


def test_a_phone_behind_a_nat_learns_its_public_address(
    start_server: Callable[..., Server], network: Network
) -> None:
    server = start_server()
    router = network.router("bob", 20)
    host = router.host("bob")
    place = (server.host.address, 5060)
    sock = host.namespace.udp(host.address, 5070)
    found = read_answer(asked(sock, request(ID, True), place), ID)
    assert found is not None
    assert found.mapped is not None
    assert (found.mapped.host, found.error) == (router.public, 0)
    old = asked(sock, b"\0\1\0\0" + bytes(range(16)), place)
    assert old[:4] == b"\1\1\0\x0c", "RFC 3489: MAPPED-ADDRESS and nothing else"
    assert (old[26] << 8 | old[27], old[28:32]) == (found.mapped.port, socket.inet_aton(router.public))
    sock.sendto(bytes(4), place)
    sock.sendto(b"\0\x11\0\0" + COOKIE + ID, place)
    sock.settimeout(1.0)
    with pytest.raises(TimeoutError):
        sock.recv(2000)
    six = network.public_host("carol", 30)
    mapped = read_answer(
        asked(six.namespace.udp(six.address6, 5070), request(ID), (server.host.address6, 5060)), ID
    )
    assert mapped is not None
    assert mapped.mapped is not None
    assert mapped.mapped == (six.address6, 5070)
    assert server.statistic("stun:answered") >= 3


def test_over_tcp_between_messages_of_sip(start_server: Callable[..., Server], network: Network) -> None:
    server = start_server()
    host = network.public_host("alice", 30)
    agent = Agent(host, "alice", server.add_user("alice"), transport="tcp")
    sock = host.namespace.tcp(server.host.address, 5060)
    sock.settimeout(5.0)
    options = Message(f"OPTIONS sip:{server.host.address} SIP/2.0")
    options.headers += [
        ("Via", agent.via()),
        ("From", "<sip:a@h>;tag=1"),
        ("To", f"<sip:{server.host.address}>"),
        ("Call-ID", "stun"),
        ("CSeq", "1 OPTIONS"),
    ]
    sock.sendall(request(ID) + bytes(4) + options.encode() + request(ID, True))
    data = b""
    while data.count(COOKIE) < 2 or b"\r\n\r\n" not in data:
        data += sock.recv(4096)
    end = 20 + (data[2] << 8 | data[3])
    found = read_answer(data[:end], ID)
    assert found is not None
    assert found.mapped == sock.getsockname()
    assert data[end:].startswith(b"SIP/2.0 200")


@pytest.mark.long
def test_a_phones_own_keepalive_holds_its_mapping(
    start_server: Callable[..., Server], network: Network
) -> None:
    """The router forgets after 10 s, and we ping nobody: only the phone's STUN lets the call ring."""
    server = start_server({"nathelper.natping_interval": "0", "tm.fr_timer": "3000"})
    phones = [
        Agent(network.nat_host(name, number, lifetime=10), name, server.add_user(name))
        for name, number in (("kept", 20), ("lost", 30))
    ]
    caller = Agent(network.public_host("alice", 40), "alice", server.add_user("alice"))
    kept, lost = phones
    for phone in phones:
        assert phone.register().status == 200
    (before,) = server.contacts("kept")
    for _ in range(6):
        time.sleep(4.0)
        kept.send(request(ID, True))
        told = read_answer(kept.link.receive(5.0)[0], ID)
        assert told is not None
        assert told.mapped is not None
    call = caller.invite("kept", caller.offer(caller.stream(1000.0)))
    kept.respond(kept.expect("INVITE", 10.0), 486)
    caller.acknowledge_failure(call, caller.expect_response(call, 300, 699, deadline=10.0))
    vain = caller.invite("lost", caller.offer(caller.stream(1000.0)))
    failed = caller.expect_response(vain, 300, 699, deadline=15.0)
    caller.acknowledge_failure(vain, failed)
    assert failed.status == 408
    assert lost.receive(lambda message: message.method == "INVITE", 0.5) is None
    (after,) = server.contacts("kept")
    assert after["Last-Keepalive"] > before["Last-Keepalive"], "its keepalive is a sign of life"


@pytest.mark.parametrize("client", ["stun", "turnutils_stunclient"])
def test_real_clients(start_server: Callable[..., Server], network: Network, client: str) -> None:
    """What a phone does first: which address am I seen by? `stun` is of RFC 3489, the other of RFC 5389."""
    if not shutil.which(client):
        pytest.skip(f"needs {client}, of the Debian packages stun-client and coturn")
    server = start_server()
    router = network.router("bob", 20)
    host = router.host("bob")
    words = {"stun": (f"{server.host.address}:5060", "1", "-v")}.get(
        client, ("-p", "5060", server.host.address)
    )
    asking = network.start(host, client, client, *words)
    asking.wait(30.0)
    told = {"stun": "MappedAddress = "}.get(client, "reflexive addr: ")
    assert f"{told}{router.public}:" in asking.text()
