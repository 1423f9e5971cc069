"""TLS as a machine: two ends in memory, no socket, and what each says of the other."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from authority import Authority

from edgesip.signal.net.tls_files import Certificates, Pair, TlsSettings
from edgesip.signal.net.tls_session import RECORD, TlsError, TlsSession

SIP = b"OPTIONS sip:x SIP/2.0\r\n\r\n"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def ours(authority: Authority) -> Certificates:
    issued = authority.issue("URI:sip:a.example", "IP:192.0.2.1")
    pair = Pair("", issued.certificate, issued.private_key)
    return Certificates(TlsSettings((pair,), authority.ca, clients=ssl.CERT_OPTIONAL))


def carry(one: TlsSession, other: TlsSession, rounds: int = 5) -> None:
    """Carry octets to and fro until both have said all."""
    for _ in range(rounds):
        other.receive(one.take())
        one.receive(other.take())


def agreed(client: TlsSession, server: TlsSession) -> tuple[TlsSession, TlsSession]:
    client.begin()
    carry(client, server)
    return client, server


def test_both_ends_agree_and_say_what_on(ours: Certificates) -> None:
    client, server = agreed(ours.client_session("a.example"), ours.server_session())
    assert client.established
    assert server.established
    assert client.version == server.version == "TLSv1.3"
    assert client.cipher.startswith("TLS_")
    assert ("URI", "sip:a.example") in client.certificate["subjectAltName"]
    assert ("URI", "sip:a.example") in server.certificate["subjectAltName"], "it was asked, and shown"
    assert server.receive(client.send(SIP)) == SIP
    assert client.receive(server.send(SIP * 3000)) == SIP * 3000


def test_octets_may_be_split_anywhere(ours: Certificates) -> None:
    client, server = ours.client_session("192.0.2.1"), ours.server_session()
    client.begin()
    for _ in range(3):
        for octet in client.take():
            assert server.receive(bytes([octet])) == b""
        for octet in server.take():
            client.receive(bytes([octet]))
    assert client.established
    octets = client.send(SIP)
    heard = b""
    for index, octet in enumerate(octets):
        heard += server.receive(bytes([octet]))
        assert server.pending == (index < len(octets) - 1)
    assert heard == SIP


def test_a_long_message_goes_in_records(ours: Certificates) -> None:
    client, server = agreed(ours.client_session("a.example"), ours.server_session())
    octets = client.send(bytes(3 * RECORD + 5))
    assert server.receive(octets[:-1]) == bytes(3 * RECORD)
    assert server.pending
    assert server.receive(octets[-1:]) == bytes(5)
    assert not server.pending


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (SIP, "what came is not TLS"),
        (b"GET / HTTP/1.1\r\n\r\n", "HTTP"),
        (b"\x16\x03\x01\x00\x05hello" + SIP, "TLS"),
        (b"\x15\x03\x01\x00\x02\x02\x28", "TLS"),
        (bytes(64), "TLS"),
    ],
)
def test_what_is_not_tls_is_an_error_and_never_plain(ours: Certificates, data: bytes, why: str) -> None:
    server = ours.server_session()
    with pytest.raises(TlsError, match=why):
        server.receive(data)
    assert not server.established


def test_octets_before_the_handshake_are_never_a_message(ours: Certificates) -> None:
    """CVE-2023-40217: a message first, then a good handshake."""
    client, server = ours.client_session("a.example"), ours.server_session()
    client.begin()
    with pytest.raises(TlsError):
        server.receive(SIP + client.take())


def test_half_a_client_hello_waits(ours: Certificates) -> None:
    client, server = ours.client_session("a.example"), ours.server_session()
    client.begin()
    hello = client.take()
    assert server.receive(hello[: len(hello) // 2]) == b""
    assert not server.established
    assert server.pending
    assert server.take() == b""


def test_another_name_is_refused(ours: Certificates) -> None:
    with pytest.raises(TlsError, match=r"is for a\.example, 192\.0\.2\.1, not for b\.example"):
        agreed(ours.client_session("b.example"), ours.server_session())
    with pytest.raises(TlsError, match=r"not for 192\.0\.2\.2"):
        agreed(ours.client_session("192.0.2.2"), ours.server_session())


def test_another_issuer_is_refused(ours: Certificates, tmp_path: Path) -> None:
    issued = Authority(tmp_path, "Other").issue("DNS:a.example")
    stranger = Certificates(
        TlsSettings((Pair("", issued.certificate, issued.private_key),), issued.certificate)
    )
    with pytest.raises(TlsError, match=r"not to be believed.*tls\.ca_list does not have its issuer"):
        agreed(ours.client_session("a.example"), stranger.server_session())


def test_a_common_name_is_no_name(authority: Authority, ours: Certificates) -> None:
    issued = authority.issue(common_name="a.example")
    server = Certificates(TlsSettings((Pair("", issued.certificate, issued.private_key),), authority.ca))
    with pytest.raises(TlsError, match="nobody"):
        agreed(ours.client_session("a.example"), server.server_session())


def test_whoever_does_not_verify_takes_any(authority: Authority, tmp_path: Path, ours: Certificates) -> None:
    issued = Authority(tmp_path, "Other").issue("DNS:b.example")
    pair = Pair("", issued.certificate, issued.private_key)
    lenient = Certificates(TlsSettings((pair,), verify_certificate=False))
    client, _ = agreed(lenient.client_session("c.example"), lenient.server_session())
    assert client.established
    assert not client.certificate


def bare_client() -> TlsSession:
    """One that shows no certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return TlsSession(context, outward=True)


@pytest.mark.parametrize("clients", [ssl.CERT_NONE, ssl.CERT_OPTIONAL, ssl.CERT_REQUIRED])
def test_clients_without_a_certificate(authority: Authority, clients: ssl.VerifyMode) -> None:
    issued = authority.issue("DNS:a.example")
    pair = Pair("", issued.certificate, issued.private_key)
    server = Certificates(TlsSettings((pair,), authority.ca, clients=clients)).server_session()
    if clients is ssl.CERT_REQUIRED:
        with pytest.raises(
            TlsError, match=r"it shows no certificate, and tls\.require_certificate wants one"
        ):
            agreed(bare_client(), server)
    else:
        agreed(bare_client(), server)
        assert server.established
        assert not server.certificate


def test_a_client_with_a_strange_certificate(
    authority: Authority, ours: Certificates, tmp_path: Path
) -> None:
    issued = Authority(tmp_path, "Other").issue("DNS:b.example")
    pair = Pair("", issued.certificate, issued.private_key)
    client = Certificates(TlsSettings((pair,), verify_certificate=False)).client_session("a.example")
    with pytest.raises(TlsError, match="the client's certificate is not to be believed"):
        agreed(client, ours.server_session())


def test_who_is_refused_can_be_told_why(ours: Certificates) -> None:
    """The alert leaves, and the other end has a sentence for it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    client, server = TlsSession(context, outward=True), ours.server_session()
    client.begin()
    with pytest.raises(TlsError, match="not to be believed"):
        carry(client, server)
    with pytest.raises(TlsError, match="the other side does not trust our certificate"):
        server.receive(client.take())


def old_client(change: Callable[[ssl.SSLContext], None]) -> TlsSession:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    change(context)
    return TlsSession(context, outward=True)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tls_before_1_2_is_refused(ours: Certificates) -> None:
    def only_1_1(context: ssl.SSLContext) -> None:
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1

    with pytest.raises(TlsError, match=r"1\.2 at least"):
        agreed(old_client(only_1_1), ours.server_session())

    def only_1_2(context: ssl.SSLContext) -> None:
        context.maximum_version = ssl.TLSVersion.TLSv1_2

    client, _ = agreed(old_client(only_1_2), ours.server_session())
    assert client.version == "TLSv1.2"


def test_a_farewell_ends_it(ours: Certificates) -> None:
    client, server = agreed(ours.client_session("a.example"), ours.server_session())
    assert server.receive(client.send(SIP) + client.finish()) == SIP
    assert server.ended
    assert client.receive(server.finish()) == b""
    assert client.ended, "it is answered"
    assert ours.server_session().finish() == b"", "before the handshake there is nothing to end"


def test_a_name_that_is_none_is_refused(ours: Certificates) -> None:
    with pytest.raises(TlsError, match="no name for a server"):
        ours.client_session(".example")
