"""TCP on real sockets: framing, limits, keepalive, and what becomes of a phone whose connection dies."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import time
from collections.abc import Callable

import pytest
from lab.agent import Agent
from lab.calls import open_call
from lab.link import TcpLink
from lab.network import SERVER, SERVER6, Network
from lab.process import eventually
from lab.server import Server
from lab.sip import Message

pytestmark = pytest.mark.wire
PER_HOST = 64
DEADLINE = 10.0
IDLE = 120.0


def _agent(network: Network, number: int = 30, user: str = "alice", password: str = "") -> Agent:
    return Agent(network.public_host(user, number), user, password, transport="tcp")


def _options(agent: Agent) -> Message:
    return agent.build("OPTIONS", f"sip:{agent.domain}")


def _link(agent: Agent) -> TcpLink:
    assert isinstance(agent.link, TcpLink)
    return agent.link


def _open(server: Server) -> int:
    return server.statistic("tcp:current_opened_connections")


@pytest.mark.parametrize("domain", [SERVER, SERVER6])
def test_requests_split_and_joined_anywhere_are_all_answered(
    server: Server, network: Network, domain: str
) -> None:
    agent = Agent(network.public_host("alice", 30), "alice", server=domain, transport="tcp")
    link = _link(agent)
    link.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    data = _options(agent).encode()
    cuts = (1, 2, data.index(b"\r\n") + 1, data.index(b"Content-Length") + 8, len(data) - 3, len(data) - 1)
    for cut in cuts:
        request = _options(agent)
        octets = request.encode()
        link.socket.sendall(octets[:cut])
        time.sleep(0.05)
        link.socket.sendall(octets[cut:])
        assert agent.expect_response(request, 200, 699).status == 200
    request = _options(agent)
    for octet in request.encode():
        link.socket.sendall(bytes([octet]))
    assert agent.expect_response(request, 200, 699).status == 200
    many = [_options(agent) for _ in range(20)]
    link.socket.sendall(b"".join(request.encode() for request in many))
    for request in many:
        assert agent.expect_response(request, 200, 699).status == 200


def test_a_ping_gets_a_pong_between_messages(server: Server, network: Network) -> None:
    agent = _agent(network)
    for _ in range(2):
        agent.send(b"\r\n\r\n")
        assert agent.link.receive(3.0)[0] == b"\r\n"
        assert agent.ask(_options(agent)).status == 200


def test_responses_come_over_the_connection_of_the_request(server: Server, network: Network) -> None:
    """Whatever address and port its Via names: nothing listens there."""
    agent = _agent(network)
    request = _options(agent)
    request.headers[0] = ("Via", "SIP/2.0/TCP 192.168.77.7:9;branch=z9hG4bKelsewhere")
    answer = agent.ask(request)
    assert answer.status == 200
    assert "received=203.0.113.30" in answer.get("Via")


@pytest.mark.parametrize(
    "head",
    [
        "POST / HTTP/1.1\r\nHost: x\r\n",
        "GET /REGISTER SIP HTTP/1.1\r\nHost: x\r\n",
        "PUT /sip HTTP/1.0\r\n",
    ],
)
def test_http_with_a_register_in_its_body_gets_no_answer(server: Server, network: Network, head: str) -> None:
    """What a web page can make a browser send (cross-protocol): not an octet back, and closed."""
    agent = _agent(network)
    body = agent.build("REGISTER", f"sip:{agent.domain}").encode()
    _link(agent).socket.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    _link(agent).socket.settimeout(5.0)
    heard = b"?"
    with contextlib.suppress(ConnectionResetError):
        heard = _link(agent).socket.recv(100)
        assert heard == b""
    received = [d for d in server.capture.datagrams() if d.source[0] == SERVER and d.payload]
    assert not received


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        b"OPTIONS sip:x SIP/2.0\r\nContent-Length: 99999999999\r\n\r\n",
        b"OPTIONS sip:x SIP/2.0\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"OPTIONS sip:x SIP/2.0\r\nVia: SIP/2.0/TCP x\r\n\r\n",
        b"A" * 70000,
        b"OPTIONS sip:x SIP/2.0\r\n" + b"X: y\r\n" * 20000,
    ],
    ids=["TLS", "long body", "two lengths", "no length", "no line", "endless head"],
)
def test_a_stream_that_is_not_sip_is_closed(server: Server, network: Network, data: bytes) -> None:
    agent = _agent(network)
    with contextlib.suppress(ConnectionError):
        _link(agent).socket.sendall(data)
    assert _link(agent).is_closed(5.0)
    eventually("no connection is left", lambda: _open(server) == 0)
    again = Agent(agent.host, "alice", transport="tcp")
    assert again.ask(_options(again)).status == 200


def test_a_message_that_does_not_end_is_closed_after_ten_seconds(server: Server, network: Network) -> None:
    agent, patient = _agent(network), _agent(network, 31, "patient")
    begun = time.monotonic()
    data = _options(agent).encode()
    _link(agent).socket.sendall(data[:60])
    while time.monotonic() < begun + DEADLINE - 1.0:
        time.sleep(1.0)
        with contextlib.suppress(ConnectionError):
            _link(agent).socket.sendall(b"x")  # trickling does not help
    assert _link(agent).is_closed(8.0)
    assert time.monotonic() - begun > DEADLINE - 0.5
    assert patient.ask(_options(patient)).status == 200


@pytest.mark.long
def test_an_idle_connection_is_closed_unless_a_phone_is_registered_on_it(
    server: Server, network: Network
) -> None:
    idle = _agent(network)
    phone = _agent(network, 31, "bob", server.add_user("bob"))
    pinging = _agent(network, 32, "carol")
    assert phone.register().status == 200
    begun = time.monotonic()
    for _ in range(3):
        assert not _link(idle).is_closed(IDLE / 4)
        pinging.send(b"\r\n\r\n")
    assert _link(idle).is_closed(IDLE / 4 + 15.0)
    assert time.monotonic() - begun > IDLE - 1.0
    assert pinging.ask(_options(pinging)).status == 200, "who pings is not idle"
    assert phone.ask(_options(phone)).status == 200
    assert len(server.contacts("bob")) == 1


@pytest.mark.long
def test_an_idle_connection_with_a_call_on_it_is_kept(
    start_server: Callable[..., Server], network: Network
) -> None:
    """Its caller is registered nowhere; the BYE from the other side has to find it."""
    server = start_server({"relay.timeout": "3600"})
    alice = _agent(network, password=server.add_user("alice"))
    bob = Agent(network.public_host("bob", 31), "bob", server.add_user("bob"))
    idle = _agent(network, 32, "carol")
    assert bob.register().status == 200
    call = open_call(alice, bob, alice.stream(440.0), bob.stream(1000.0))
    assert _link(idle).is_closed(IDLE + 15.0)
    bye = bob.in_dialog(call.incoming, "BYE")
    bob.send(bye)
    alice.respond(alice.expect("BYE"), 200)
    bob.expect_response(bye, 200, 299)


def test_connections_of_one_address_are_capped_and_registered_ones_do_not_count(
    server: Server, network: Network
) -> None:
    host = network.public_host("crowd", 30)
    password = server.add_user("crowd")
    phones = [Agent(host, "crowd", password, transport="tcp") for _ in range(4)]
    for phone in phones:
        assert phone.register().status == 200
    links = [TcpLink(host, (SERVER, 5060)) for _ in range(PER_HOST + 6)]
    eventually("the cap", lambda: _open(server) == PER_HOST + len(phones))
    refused = [link for link in links if link.is_closed(0.05)]
    assert len(refused) == 6
    assert server.statistic("tcp:local_reject") == 6
    other = _agent(network, 31, "other")
    assert other.ask(_options(other)).status == 200, "another address is not concerned"
    for phone in phones:
        assert phone.ask(_options(phone)).status == 200
    for link in links:
        link.close()
    eventually("they are gone", lambda: _open(server) == len(phones) + 1)
    again = Agent(host, "crowd", transport="tcp")
    assert again.ask(_options(again)).status == 200


def test_connections_are_capped_in_total(start_server: Callable[..., Server], network: Network) -> None:
    """The total follows the file descriptors that the server may have: a quarter of them."""
    server = start_server(descriptors=1024)
    hosts = [network.public_host(f"crowd{number}", 30 + number) for number in range(5)]
    links = [TcpLink(host, (SERVER, 5060)) for host in hosts for _ in range(PER_HOST - 1)]
    eventually("the cap", lambda: _open(server) == 256)
    assert server.statistic("tcp:local_reject") == len(links) - 256
    for link in links:
        link.close()
    eventually("they are gone", lambda: _open(server) == 0)
    agent = Agent(hosts[0], "alice", transport="tcp")
    assert agent.ask(_options(agent)).status == 200


def test_without_descriptors_accepting_rests_and_goes_on_when_there_are_some(
    server: Server, network: Network
) -> None:
    """The kernel keeps who comes; the loop does not spin for them, and UDP does not notice."""
    assert server.process is not None
    pid = server.process.pid
    agent, other = _agent(network), Agent(network.public_host("other", 31), "other")
    used = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
    free = next(number for number in range(10_000) if number not in used)
    before = resource.prlimit(
        pid, resource.RLIMIT_NOFILE, (free, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    )
    agent.reconnect()
    request = _options(agent)
    agent.send(request)
    server.process.wait_for("no descriptor for a connection")
    begun, cpu = time.monotonic(), server.process.cpu_seconds()
    for _ in range(15):
        assert other.ask(_options(other)).status == 200
        time.sleep(0.2)
    assert server.process.cpu_seconds() - cpu < 0.2 * (time.monotonic() - begun)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    assert agent.expect_response(request, 200, 200, 3.0).status == 200
    assert server.statistic("tcp:accept_paused") >= 2


def test_who_does_not_read_is_closed(server: Server, network: Network) -> None:
    """Answers pile up to a quarter of a megabyte, or for ten seconds: then the connection ends, others go on.

    Which of the two comes first is the kernels': with both windows shut neither side hears the other's ACKs.
    """
    agent, other = _agent(network), _agent(network, 31, "other")
    link = _link(agent)
    link.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    link.socket.settimeout(20.0)
    sent = 0
    with contextlib.suppress(OSError):
        while sent < 40_000:
            link.socket.sendall(b"".join(_options(agent).encode() for _ in range(20)))
            sent += 20
    counters = ("tcp:sendq_full", "tcp:send_timeout")
    eventually("a counter", lambda: sum(map(server.statistic, counters)) == 1, deadline=60.0)
    eventually("the connection is gone", lambda: _open(server) == 1)
    assert other.ask(_options(other)).status == 200


@pytest.mark.parametrize("how", ["closed", "reset"])
def test_a_binding_dies_with_its_connection(server: Server, network: Network, how: str) -> None:
    agent = _agent(network, password=server.add_user("alice"))
    assert agent.register().status == 200
    assert len(server.contacts("alice")) == 1
    (_link(agent).close if how == "closed" else _link(agent).reset)()
    eventually("the binding is gone", lambda: server.contacts("alice") == [])


def test_a_phone_that_comes_back_over_a_new_connection_is_reached_there(
    server: Server, network: Network
) -> None:
    """The old connection dies later, silently replaced: the new binding must not go with it."""
    bob = Agent(network.nat_host("bob", 20), "bob", server.add_user("bob"), transport="tcp")
    alice = _agent(network, password=server.add_user("alice"))
    assert bob.register().status == 200
    old = _link(bob)
    bob.reconnect()
    assert bob.register().status == 200, "same Contact, another connection"
    old.reset()
    eventually("one connection", lambda: _open(server) == 2)
    assert len(server.contacts("bob")) == 1
    call = open_call(alice, bob, alice.stream(440.0), bob.stream(1000.0))
    call.talk(2.0)
    call.hang_up()


def test_a_call_to_a_connection_that_dies_while_it_rings_ends_at_once(
    server: Server, network: Network
) -> None:
    bob = Agent(network.nat_host("bob", 20), "bob", server.add_user("bob"), transport="tcp")
    alice = Agent(network.public_host("alice", 30), "alice", server.add_user("alice"))
    assert bob.register().status == 200
    invite = alice.invite("bob", alice.offer(alice.stream(440.0)))
    ring = bob.expect("INVITE")
    bob.respond(ring, 180, "bob")
    alice.expect_response(invite, 180, 180)
    _link(bob).reset()
    failed = alice.expect_response(invite, 300, 699)
    alice.acknowledge_failure(invite, failed)
    assert failed.status in (408, 480, 500, 503)


def test_a_caller_whose_connection_dies_while_it_rings_gives_up(server: Server, network: Network) -> None:
    bob = Agent(network.nat_host("bob", 20), "bob", server.add_user("bob"))
    alice = _agent(network, password=server.add_user("alice"))
    assert bob.register().status == 200
    alice.invite("bob", alice.offer(alice.stream(440.0)))
    ring = bob.expect("INVITE")
    bob.respond(ring, 180, "bob")
    time.sleep(0.3)
    _link(alice).reset()
    bob.respond(bob.expect("CANCEL"), 200)
    bob.respond(ring, 487, "bob")
    bob.expect("ACK")


def test_a_call_goes_on_when_its_tcp_phone_comes_back_on_another_connection(
    server: Server, network: Network
) -> None:
    """Media never stops; the BYE finds the phone where its binding is now."""
    bob = Agent(network.nat_host("bob", 20, "symmetric"), "bob", server.add_user("bob"), transport="tcp")
    alice = Agent(network.public_host("alice", 30), "alice", server.add_user("alice"))
    assert bob.register().status == 200
    call = open_call(alice, bob, alice.stream(440.0), bob.stream(1000.0))
    call.talk(2.0)
    bob.reconnect()
    assert bob.register().status == 200
    call.talk(2.0)
    call.hang_up()
