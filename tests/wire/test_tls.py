"""TLS on real sockets: endless handshakes, what is not TLS, certificates that change, who is refused."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from authority import Authority, Issued
from lab.agent import Agent
from lab.calls import open_call
from lab.link import TcpLink, TlsLink
from lab.names import Names
from lab.network import SERVER, SERVER6, Network
from lab.process import eventually
from lab.server import Server, Verb
from lab.sip import Message
from lab.trunk import Trunk, context_of, read_message, tls_settings

pytestmark = pytest.mark.wire
Start = Callable[..., Server]
HANDSHAKE = 5.0
PORT = (SERVER, 5061)


def _agent(network: Network, number: int = 30, user: str = "alice", password: str = "") -> Agent:
    return Agent(network.public_host(user, number), user, password, transport="tls")


def _options(agent: Agent) -> Message:
    return agent.build("OPTIONS", f"sip:{agent.domain}")


def _link(agent: Agent) -> TlsLink:
    assert isinstance(agent.link, TlsLink)
    return agent.link


def _log(server: Server) -> str:
    assert server.process is not None
    return server.process.text()


def _told(server: Server, pattern: str, deadline: float = 10.0) -> str:
    """The line of the log that says so."""
    assert server.process is not None
    return server.process.wait_for(rf"^.*{pattern}.*$", deadline)[0]


# -- phones ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("domain", [SERVER, SERVER6])
def test_a_phone_registers_over_tls_and_is_seen(tls_server: Server, network: Network, domain: str) -> None:
    host, password = network.public_host("alice", 30), tls_server.add_user("alice")
    agent = Agent(host, "alice", password, server=domain, transport="tls")
    assert agent.register().status == 200
    (contact,) = tls_server.contacts("alice")
    assert contact["Socket"] == f"tls:[{domain}]:5061" if ":" in domain else f"tls:{domain}:5061"
    (seen,) = tls_server.ask("tls", "list")
    assert (seen["state"], seen["version"], seen["src_port"]) == ("established", "TLSv1.3", agent.port)
    (seen,) = tls_server.ask("core", "tcp")
    assert (seen["type"], seen["opened_by"]) == ("TLS", "peer")
    sockets = tls_server.ask("core", "sockets")
    assert {"proto": "tls", "address": domain, "port": 5061, "advertise": ""} in sockets


@pytest.mark.parametrize(("caller", "callee"), [("tls", "udp"), ("udp", "tls"), ("tls", "tls")])
def test_a_call_over_tls(tls_server: Server, network: Network, caller: str, callee: str) -> None:
    alice = Agent(network.nat_host("alice", 10), "alice", tls_server.add_user("alice"), transport=caller)
    bob = Agent(network.nat_host("bob", 20), "bob", tls_server.add_user("bob"), transport=callee)
    assert alice.register().status == bob.register().status == 200
    call = open_call(alice, bob, alice.stream(440.0), bob.stream(1000.0))
    call.talk(2.0)
    call.hang_up()


@pytest.mark.parametrize("how", ["closed", "reset", "farewell"])
def test_a_binding_dies_with_its_connection(tls_server: Server, network: Network, how: str) -> None:
    agent = _agent(network, password=tls_server.add_user("alice"))
    assert agent.register().status == 200
    sock = _link(agent).socket
    assert isinstance(sock, ssl.SSLSocket)
    if how == "farewell":
        agent.host.namespace.keep(sock.unwrap())
    else:
        (_link(agent).close if how == "closed" else _link(agent).reset)()
    eventually("the binding is gone", lambda: tls_server.contacts("alice") == [])
    eventually("no connection is left", lambda: not tls_server.ask("core", "tcp"))


def test_a_message_in_two_records_and_two_in_one(tls_server: Server, network: Network) -> None:
    agent = _agent(network)
    one, other = _options(agent), _options(agent)
    octets = one.encode() + other.encode()
    for part in (octets[:100], octets[100:101], octets[101:]):
        _link(agent).socket.sendall(part)
        time.sleep(0.05)
    assert agent.expect_response(one, 200, 200)
    assert agent.expect_response(other, 200, 200)
    agent.send(b"\r\n\r\n")
    assert agent.link.receive(3.0)[0] == b"\r\n"


# -- what is not TLS, or never becomes it ----------------------------------------------------------


def test_plain_sip_to_the_port_of_tls_is_closed(tls_server: Server, network: Network) -> None:
    host = network.public_host("alice", 30)
    link = TcpLink(host, PORT)
    plain = Agent(host, "alice", transport="tcp")
    link.socket.sendall(_options(plain).encode())
    link.socket.settimeout(5.0)
    heard = b""
    with contextlib.suppress(ConnectionResetError):
        while chunk := link.socket.recv(4096):
            heard += chunk
    assert b"SIP" not in heard
    assert "what came is not TLS" in _told(tls_server, "tls refused")
    assert tls_server.statistic("core:rcv_requests") == 0
    assert tls_server.statistic("tls:handshakes_failed") == 1


def test_half_a_client_hello_is_given_five_seconds(tls_server: Server, network: Network) -> None:
    host, other = network.public_host("slow", 30), _agent(network, 31, "other")
    link = TcpLink(host, PORT)
    begun = time.monotonic()
    link.socket.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100))
    assert not link.is_closed(HANDSHAKE - 1.0)
    assert other.ask(_options(other)).status == 200
    assert link.is_closed(6.0)
    assert time.monotonic() - begun > HANDSHAKE - 0.5
    assert "no TLS within 5 s" in _told(tls_server, "tls refused")


def test_a_record_that_does_not_end_is_closed_after_ten_seconds(tls_server: Server, network: Network) -> None:
    """Whoever trickles octets of a record says nothing that a message could be made of."""
    agent = _agent(network)
    sock = socket.socket(fileno=os.dup(_link(agent).socket.fileno()))
    with sock:
        sock.sendall(b"\x17\x03\x03\x01\x00")
        for _ in range(9):
            time.sleep(1.0)
            with contextlib.suppress(OSError):
                sock.sendall(b"x")
        eventually("it is closed", lambda: not tls_server.ask("core", "tcp"), 8.0)
    assert tls_server.statistic("tcp:con_timeout") == 1


def _stalled(network: Network, count: int, per_host: int) -> Iterator[TcpLink]:
    for number in range(count // per_host):
        host = network.public_host(f"crowd{number}", 100 + number)
        for _ in range(per_host):
            link = TcpLink(host, PORT)
            link.socket.sendall(b"\x16\x03\x01")
            yield link


def test_five_hundred_stalled_handshakes_delay_nobody(tls_server: Server, network: Network) -> None:
    alice = network.public_host("alice", 30)
    links = list(_stalled(network, 500, 50))
    assert tls_server.statistic("tls:current_handshakes") > 100
    for number in (30, 100):  # one of the crowd's hosts, too
        host = alice if number == 30 else network.public_host("neighbour", 31)
        begun = time.monotonic()
        agent = Agent(host, f"good{number}", transport="tls")
        assert agent.ask(_options(agent)).status == 200
        assert time.monotonic() - begun < 2.0
    eventually("all are ended", lambda: tls_server.statistic("tls:current_handshakes") == 0, 15.0)
    for link in links:
        assert link.is_closed(1.0)


def test_a_host_full_of_stalled_handshakes_lets_its_own_good_ones_in(
    tls_server: Server, network: Network
) -> None:
    """Phones behind a carrier's NAT share an address with whoever does this."""
    host = network.public_host("crowd", 30)
    links = [TcpLink(host, PORT) for _ in range(70)]
    agent = Agent(host, "alice", transport="tls")
    assert agent.ask(_options(agent)).status == 200
    assert tls_server.statistic("tls:handshakes_ended") >= 7
    for link in links:
        link.close()
    eventually("they are gone", lambda: tls_server.statistic("tls:current_opened_connections") == 1)


def test_a_tls_connection_costs_less_than_eighty_kilobytes(tls_server: Server, network: Network) -> None:
    assert tls_server.process is not None
    statm = Path(f"/proc/{tls_server.process.pid}/statm")

    def resident() -> int:
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    hosts = [network.public_host(f"crowd{number}", 100 + number) for number in range(5)]
    warm = [TlsLink(hosts[0], PORT) for _ in range(5)]
    before = resident()
    links = [TlsLink(host, PORT) for host in hosts for _ in range(55)]
    eventually("all are there", lambda: tls_server.statistic("tls:current_opened_connections") == 280)
    assert (resident() - before) / len(links) < 80 * 1024
    for link in (*warm, *links):
        link.close()


# -- certificates ----------------------------------------------------------------------------------


def test_who_asks_for_a_domain_is_shown_its_certificate(
    start_server: Start, network: Network, authority: Authority
) -> None:
    one, other = authority.issue(f"IP:{SERVER}"), authority.issue("DNS:other.example")
    profile = network.directory / "sni.toml"
    built_in = Path(__file__).parents[2] / "edgesip" / "profiles" / "nat-sbc.toml"
    section = "[tls.domain.'other.example']\n"
    section += f"certificate = '{other.certificate}'\nprivate_key = '{other.private_key}'\n"
    profile.write_text(built_in.read_text() + section)
    (network.directory / "nat_sbc.py").write_text((built_in.parent / "nat_sbc.py").read_text())
    settings = {"tls.certificate": str(one.certificate), "tls.private_key": str(one.private_key)}
    server = start_server(settings, profile=str(profile))
    host = network.public_host("alice", 30)

    def shown(name: str) -> bytes:
        link = TlsLink(host, PORT, name=name)
        link.close()
        return link.certificate

    assert shown("other.example") == _der(other)
    assert shown("") == shown("elsewhere.example") == _der(one)
    domains = [found["domain"] for found in server.ask("tls", "certificates")]
    assert domains == ["", "other.example"]


def _der(issued: Issued) -> bytes:
    text, end = issued.certificate.read_text(), "-----END CERTIFICATE-----"
    return ssl.PEM_cert_to_DER_cert(text[: text.index(end) + len(end)])


def test_certificates_are_swapped_while_phones_are_connected(
    start_server: Start, network: Network, authority: Authority
) -> None:
    old, new = (authority.issue(f"IP:{SERVER}") for _ in range(2))
    certificate, key = network.directory / "server.pem", network.directory / "server.key"
    old.put(certificate, key)
    settings = {"tls.certificate": str(certificate), "tls.private_key": str(key)}
    server = start_server(settings)
    agent = _agent(network, password=server.add_user("alice"))
    assert _link(agent).certificate == _der(old)
    assert agent.register().status == 200

    certificate.write_text("half a file")
    assert "the certificate" not in _told(server, "certificates not taken up")
    assert TlsLink(agent.host, PORT).certificate == _der(old), "a bad file keeps the old one"
    with pytest.raises(Verb, match=r"the old certificates stay: tls\.certificate"):
        server.verb("tls", "reload")

    new.put(certificate, key)
    eventually("the new one", lambda: TlsLink(agent.host, PORT).certificate == _der(new))
    assert agent.ask(_options(agent)).status == 200, "who was connected still is"
    assert len(server.contacts("alice")) == 1
    old.put(certificate, key)
    server.verb("tls", "reload")
    assert TlsLink(agent.host, PORT).certificate == _der(old)


def test_clients_are_asked_for_certificates(
    start_server: Start, network: Network, authority: Authority
) -> None:
    server = start_server(tls_settings(authority, **{"tls.require_certificate": "true"}))
    host = network.public_host("alice", 30)
    context = context_of(authority.issue("DNS:a.example"), ssl.PROTOCOL_TLS_CLIENT)
    agent = Agent(host, "alice", transport="tls", context=context)
    assert agent.ask(_options(agent)).status == 200
    (seen,) = server.ask("tls", "list")
    assert seen["proven"] == "a.example"
    with contextlib.suppress(OSError):  # TLS 1.3: who has none hears of it after his side is done
        assert TlsLink(host, PORT).is_closed(5.0)
    assert "tls.require_certificate wants one" in _told(server, "tls refused")


# -- outward ---------------------------------------------------------------------------------------


def _trunked(
    start_server: Start, network: Network, authority: Authority, issued: Issued, **more: str
) -> tuple[Server, Trunk]:
    host = network.public_host("trunk", 50)
    server = start_server(tls_settings(authority, upstream=f"sip:{host.address};transport=tls", **more))
    return server, Trunk(host, issued)


def _dial(server: Server, network: Network) -> tuple[Agent, Message]:
    alice = Agent(network.public_host("alice", 30), "alice", server.add_user("alice"))
    return alice, alice.invite("12345", alice.offer(alice.stream(440.0)))


def _answer(sock: ssl.SSLSocket, request: Message, status: int) -> None:
    kept = ("via", "from", "call-id", "cseq")
    headers = [pair for pair in request.headers if pair[0].lower() in kept]
    headers.append(("To", f"{request.get('To')};tag=trunk"))
    sock.sendall(Message(f"SIP/2.0 {status} Lab", headers).encode())


def test_a_trunk_that_proves_its_name_gets_the_call(
    start_server: Start, network: Network, authority: Authority
) -> None:
    server, trunk = _trunked(start_server, network, authority, authority.issue("IP:203.0.113.50"))
    alice, invite = _dial(server, network)
    sock = trunk.accept()
    request = read_message(sock)
    assert request.method == "INVITE"
    assert request.get("Via").startswith(f"SIP/2.0/TLS {SERVER}:5061;rport;branch=")
    assert request.get("Via").endswith(";alias")
    (seen,) = server.ask("tls", "list")
    assert (seen["server_name"], seen["proven"]) == ("203.0.113.50", "203.0.113.50")
    _answer(sock, request, 486)
    alice.acknowledge_failure(invite, alice.expect_response(invite, 486, 486))
    assert read_message(sock).method == "ACK"
    sock.close()
    trunk.close()


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (("IP:203.0.113.51", "DNS:trunk.example"), "not for 203.0.113.50 (RFC 5922)"),
        ((), "its certificate is for nobody (no subjectAltName)"),
    ],
)
def test_a_trunk_with_another_name_is_refused(
    start_server: Start, network: Network, authority: Authority, names: tuple[str, ...], why: str
) -> None:
    issued = authority.issue(*names, common_name="203.0.113.50")
    server, trunk = _trunked(start_server, network, authority, issued)
    alice, invite = _dial(server, network)
    with contextlib.suppress(OSError):
        assert trunk.accept().recv(100) == b"", "not an octet of SIP"
    failed = alice.expect_response(invite, 400, 599, 10.0)
    alice.acknowledge_failure(invite, failed)
    assert why in _told(server, "tls refused")
    trunk.close()


def test_a_trunk_with_another_issuer_is_refused(
    start_server: Start, network: Network, authority: Authority
) -> None:
    issued = Authority(network.directory, "Stranger").issue("IP:203.0.113.50")
    server, trunk = _trunked(start_server, network, authority, issued)
    alice, invite = _dial(server, network)
    with contextlib.suppress(OSError):
        assert trunk.accept().recv(100) == b"", "not an octet of SIP"
    alice.acknowledge_failure(invite, alice.expect_response(invite, 400, 599, 10.0))
    assert "tls.ca_list does not have its issuer" in _told(server, "tls refused")
    trunk.close()


def test_a_trunk_that_says_nothing_is_given_five_seconds(
    start_server: Start, network: Network, authority: Authority
) -> None:
    host = network.public_host("trunk", 50)
    server = start_server(tls_settings(authority, upstream=f"sip:{host.address};transport=tls"))
    with host.namespace.inside():
        listener = socket.create_server((host.address, 5061))
    alice, invite = _dial(server, network)
    alice.acknowledge_failure(invite, alice.expect_response(invite, 400, 599, 12.0))
    assert "no TLS within 5 s" in _told(server, "tls refused")
    listener.close()


def test_a_name_is_proven_as_it_was_asked_for_and_the_next_place_is_tried(
    start_server: Start, network: Network, authority: Authority
) -> None:
    """RFC 5922: not the name that SRV led to, but the domain of the URI has to be in the certificate."""
    names = Names(network, network.public_host("dns", 53))
    names.serve(
        "srv _sips._tcp.trunk.example one.trunk.example 5061 10 1",
        "srv _sips._tcp.trunk.example two.trunk.example 5061 20 1",
        "a one.trunk.example 203.0.113.51",
        "a two.trunk.example 203.0.113.52",
    )
    host_only = authority.issue("DNS:one.trunk.example", common_name="trunk.example")
    one = Trunk(network.public_host("one", 51), host_only)
    two = Trunk(network.public_host("two", 52), authority.issue("URI:sip:trunk.example"))
    settings = {"upstream": "sip:trunk.example;transport=tls", "dns.servers": names.host.address}
    server = start_server(tls_settings(authority, **settings))
    alice, invite = _dial(server, network)
    with contextlib.suppress(OSError):
        assert one.accept().recv(100) == b"", "not an octet of SIP"
    sock = two.accept()
    request = read_message(sock)
    assert request.method == "INVITE"
    _answer(sock, request, 486)
    alice.acknowledge_failure(invite, alice.expect_response(invite, 486, 486))
    assert "its certificate is for one.trunk.example, not for trunk.example" in _told(server, "tls refused")
    (seen,) = server.ask("tls", "list")
    assert (seen["server_name"], seen["src_ip"]) == ("trunk.example", "203.0.113.52")
    one.close()
    two.close()


def test_a_trunk_s_own_connection_is_used_for_our_requests_when_its_certificate_says_so(
    start_server: Start, network: Network, authority: Authority
) -> None:
    """RFC 5923: `alias` in its Via, its address in the certificate."""
    issued = authority.issue("IP:203.0.113.50")
    server, trunk = _trunked(start_server, network, authority, issued, **{"tls.verify_client": "optional"})
    context = context_of(issued, ssl.PROTOCOL_TLS_CLIENT)
    peer = Agent(trunk.host, "trunk", transport="tls", context=context)
    greeting = _options(peer)
    greeting.headers[0] = ("Via", "SIP/2.0/TLS 203.0.113.50:5061;branch=z9hG4bKhello;alias")
    assert peer.ask(greeting).status == 200
    assert server.statistic("tls:aliases") == 1
    alice, invite = _dial(server, network)
    request = peer.expect("INVITE", 10.0)
    assert not trunk.has_visitor(1.0), "no connection of ours"
    peer.respond(request, 486, "trunk")
    alice.acknowledge_failure(invite, alice.expect_response(invite, 486, 486))
    peer.expect("ACK")
    trunk.close()


@pytest.mark.parametrize("names", ["IP:203.0.113.51", ""])
def test_an_alias_that_no_certificate_proves_is_not_taken(
    start_server: Start, network: Network, authority: Authority, names: str
) -> None:
    ours = authority.issue("IP:203.0.113.50")
    server, trunk = _trunked(start_server, network, authority, ours, **{"tls.verify_client": "optional"})
    shown = context_of(authority.issue(names), ssl.PROTOCOL_TLS_CLIENT) if names else None
    peer = Agent(trunk.host, "trunk", transport="tls", context=shown)
    greeting = _options(peer)
    greeting.headers[0] = ("Via", "SIP/2.0/TLS 203.0.113.50:5061;branch=z9hG4bKhello;alias")
    assert peer.ask(greeting).status == 200
    assert server.statistic("tls:aliases") == 0
    alice, invite = _dial(server, network)
    sock = trunk.accept()
    request = read_message(sock)
    assert request.method == "INVITE"
    _answer(sock, request, 486)
    alice.acknowledge_failure(invite, alice.expect_response(invite, 486, 486))
    sock.close()
    trunk.close()
    assert ("alias not believed" in _log(server)) == bool(names)
