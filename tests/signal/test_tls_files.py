"""Certificates in files: what is wrong with them is said, and what changes is taken up."""

from __future__ import annotations

import gc
import os
import random
import ssl
import time
from pathlib import Path
from typing import Any

import pytest
from authority import Authority, Issued, openssl

from edgesip.signal.net.tls_files import CertificateError, Certificates, Pair, TlsSettings
from edgesip.signal.net.tls_session import TlsSession

DAY = 86400.0


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


class Log:
    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, Any]]] = []

    def __call__(self, level: str, event: str, fields: dict[str, Any]) -> None:
        self.lines.append((level, event, fields))

    def events(self) -> list[str]:
        return [event for _, event, _ in self.lines]


class Shelf:
    """One pair of files whose contents change."""

    def __init__(self, directory: Path, issued: Issued) -> None:
        self.pair = Pair("", directory / "server.pem", directory / "server.key")
        self.clock = 0
        self.put(issued)

    def put(self, issued: Issued) -> None:
        issued.put(self.pair.certificate, self.pair.private_key)
        self.touched()

    def touched(self) -> None:
        """The clock of a file system may be coarse."""
        self.clock += 1
        for path in (self.pair.certificate, self.pair.private_key):
            os.utime(path, (self.clock, self.clock))


def names(certificates: Certificates, sni: str = "") -> list[str]:
    """The names in the certificate that a client is shown who asks for `sni`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    client = TlsSession(context, outward=True, name=sni)
    shown = seen(client, certificates.server_session())
    return [one.file for one in certificates.shown if _der(one.file) == shown]


def seen(client: TlsSession, server: TlsSession) -> bytes:
    client.begin()
    for _ in range(4):
        server.receive(client.take())
        client.receive(server.take())
    return client._tls.getpeercert(binary_form=True) or b""


def _der(file: str) -> bytes:
    text = Path(file).read_text()
    end = "-----END CERTIFICATE-----"
    return ssl.PEM_cert_to_DER_cert(text[: text.index(end) + len(end)])


def refusal(pair: Pair, **more: Any) -> tuple[str, str]:
    wall = more.pop("wall", time.time)
    with pytest.raises(CertificateError) as caught:
        Certificates(TlsSettings((pair,), **more), wall)
    return caught.value.key, str(caught.value)


def test_what_is_in_a_certificate_is_shown(authority: Authority) -> None:
    issued = authority.issue("DNS:sip.example.org", "DNS:*.example.net", "IP:192.0.2.1", days=30)
    certificates = Certificates(TlsSettings((Pair("", issued.certificate, issued.private_key),)))
    (shown,) = certificates.shown
    assert shown.names == ("sip.example.org", "*.example.net", "192.0.2.1")
    assert shown.issuer == "commonName=Test CA"
    assert 29.9 * DAY < shown.not_after - time.time() <= 30 * DAY
    assert shown.until.endswith("UTC")
    assert certificates.gauges() == {"tls:certificates": 1, "tls:certificates_ending": 0}


def test_who_asks_for_a_domain_gets_its_certificate(authority: Authority) -> None:
    one, other = authority.issue("DNS:one.example"), authority.issue("DNS:other.example")
    pairs = (
        Pair("", one.certificate, one.private_key),
        Pair("other.example", other.certificate, other.private_key),
    )
    certificates = Certificates(TlsSettings(pairs))
    assert names(certificates, "other.example") == [str(other.certificate)]
    assert names(certificates, "OTHER.example") == [str(other.certificate)]
    for asked in ("", "one.example", "elsewhere.example", "sub.other.example"):
        assert names(certificates, asked) == [str(one.certificate)], asked


def test_what_cannot_be_used_says_whose_fault_it_is(authority: Authority, tmp_path: Path) -> None:
    good, other = authority.issue("DNS:a.example"), authority.issue("DNS:b.example")
    nowhere, junk, locked = tmp_path / "no.pem", tmp_path / "junk.pem", tmp_path / "locked.key"
    junk.write_text("hello")
    openssl("ec", "-in", str(good.private_key), "-aes128", "-passout", "pass:x", "-out", str(locked))
    certificate, key = good.certificate, good.private_key
    assert refusal(Pair("", nowhere, key)) == (
        "tls.certificate",
        f"{nowhere}: cannot be read: No such file or directory; is the path right?",
    )
    assert refusal(Pair("", certificate, nowhere))[0] == "tls.private_key"
    assert refusal(Pair("d", nowhere, key))[0] == "tls.domain"
    for pair, key_named, words in (
        (Pair("", junk, key), "tls.certificate", "what is there is something else"),
        (Pair("", key, key), "tls.certificate", "what is there is a private key"),
        (Pair("", certificate, certificate), "tls.private_key", "what is there is a certificate"),
        (Pair("", certificate, other.private_key), "tls.private_key", "is not the one of the certificate"),
        (Pair("", certificate, locked), "tls.private_key", "has a password"),
        (Pair("c.example", certificate, key), "tls.domain", "is for a.example, not for c.example"),
    ):
        found, why = refusal(pair)
        assert found == key_named
        assert words in why
    broken = tmp_path / "broken.pem"
    broken.write_text(certificate.read_text().replace("M", "N", 3))
    found, why = refusal(Pair("", broken, key))
    assert found == "tls.certificate"
    assert why.endswith("cannot be used: one of the two is damaged")


def test_octets_that_are_no_certificate_are_an_error_of_the_file(
    authority: Authority, tmp_path: Path
) -> None:
    """Whatever is in a file, it is a `CertificateError` or a certificate, never else."""
    good, chance = authority.issue("DNS:a.example"), random.Random(7)
    certificate, key, octets = tmp_path / "c.pem", tmp_path / "c.key", good.certificate.read_bytes()
    key.write_bytes(good.private_key.read_bytes())
    refused = 0
    for _ in range(200):
        changed = bytearray(octets)
        for _ in range(chance.choice((1, 2, 30))):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        certificate.write_bytes(changed)
        try:
            Certificates(TlsSettings((Pair("", certificate, key),), good.certificate))
        except CertificateError:
            refused += 1
    assert refused > 100


def test_a_directory_or_a_file_of_others_cannot_be_read(authority: Authority, tmp_path: Path) -> None:
    good = authority.issue("DNS:a.example")
    key, why = refusal(Pair("", good.certificate, tmp_path))
    assert (key, why) == ("tls.private_key", f"{tmp_path}: cannot be read: Is a directory")


def test_dates_are_looked_at(authority: Authority) -> None:
    ended, later = authority.issue("DNS:a.example", days=-1), authority.issue("DNS:a.example")
    key, why = refusal(Pair("", ended.certificate, ended.private_key))
    assert key == "tls.certificate"
    assert "this certificate ended on " in why
    pair = Pair("", later.certificate, later.private_key)
    _, why = refusal(pair, wall=lambda: time.time() - 5 * DAY)
    assert "is the clock of this host right?" in why


def test_a_wildcard_of_the_domain_is_good_enough_for_its_section(authority: Authority) -> None:
    wild = authority.issue("DNS:*.example.org")
    pairs = tuple(Pair(domain, wild.certificate, wild.private_key) for domain in ("", "sip.example.org"))
    assert len(Certificates(TlsSettings(pairs)).shown) == 2


def test_lists_that_cannot_be_used(authority: Authority, tmp_path: Path) -> None:
    good = authority.issue("DNS:a.example")
    pair = Pair("", good.certificate, good.private_key)
    assert refusal(pair, ca_list=tmp_path / "no.pem")[0] == "tls.ca_list"
    assert refusal(pair, ca_list=good.private_key)[0] == "tls.ca_list"
    assert refusal(pair, cipher_list="NONSENSE")[0] == "tls.cipher_list"
    assert Certificates(TlsSettings((pair,), cipher_list="ECDHE+AESGCM")).shown


def test_a_certificate_no_client_could_use_is_refused(authority: Authority) -> None:
    only = authority.issue("DNS:a.example", extra=["extendedKeyUsage=clientAuth"])
    key, why = refusal(Pair("", only.certificate, only.private_key))
    assert key == "tls.certificate"
    assert "no client could use this certificate" in why


def test_it_is_said_when_a_certificate_ends_soon(authority: Authority) -> None:
    issued = authority.issue("DNS:a.example", days=20)
    now = [time.time()]
    certificates = Certificates(
        TlsSettings((Pair("", issued.certificate, issued.private_key),)), lambda: now[0]
    )
    assert certificates.ending() == []
    now[0] += 7 * DAY
    (sentence,) = certificates.ending()
    assert "this certificate ends on" in sentence
    log = Log()
    certificates.tell_ends(log)
    assert log.lines == [("warning", "certificate ends soon", {"why": sentence})]
    now[0] += 14 * DAY
    assert "this certificate ended on" in certificates.ending()[0]
    assert certificates.gauges()["tls:certificates_ending"] == 1


def test_new_files_are_taken_up_once_they_are_still(authority: Authority, tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, authority.issue("DNS:old.example"))
    certificates, log = Certificates(TlsSettings((shelf.pair,))), Log()
    assert not certificates.changed()
    shelf.put(authority.issue("DNS:new.example"))
    assert not certificates.changed(), "its key may be under way still"
    assert certificates.changed()
    assert certificates.reload(log) == ""
    assert certificates.shown[0].names == ("new.example",)
    assert log.events() == ["certificate taken up"]
    assert not certificates.changed()
    assert certificates.counters == {"tls:reloads": 1, "tls:reloads_failed": 0}


def test_a_bad_file_keeps_the_old_one_and_is_told_once(authority: Authority, tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, authority.issue("DNS:old.example"))
    certificates, log = Certificates(TlsSettings((shelf.pair,))), Log()
    shelf.pair.certificate.write_text("half a file")
    shelf.touched()
    assert [certificates.changed() for _ in range(2)] == [False, True]
    assert "tls.certificate: " in certificates.reload(log)
    assert log.events() == ["certificates not taken up"]
    assert certificates.shown[0].names == ("old.example",)
    assert [certificates.changed() for _ in range(3)] == [False] * 3
    shelf.put(authority.issue("DNS:new.example"))
    assert [certificates.changed() for _ in range(2)] == [False, True]
    assert certificates.reload(log) == ""
    assert certificates.shown[0].names == ("new.example",)
    shelf.pair.private_key.unlink()
    assert [certificates.changed() for _ in range(2)] == [False, True]
    assert "cannot be read" in certificates.reload(log)
    assert certificates.counters == {"tls:reloads": 1, "tls:reloads_failed": 2}


def resident() -> int:
    """Octets of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("swaps", [150, pytest.param(1000, marks=pytest.mark.long)])
def test_swaps_leave_memory_flat(authority: Authority, tmp_path: Path, swaps: int) -> None:
    both = [authority.issue("DNS:a.example"), authority.issue("DNS:b.example")]
    shelf = Shelf(tmp_path, both[0])
    certificates, log = Certificates(TlsSettings((shelf.pair,), authority.ca)), Log()
    old = certificates.server_session()
    base = 0
    for number in range(swaps):
        shelf.put(both[number % 2])
        assert certificates.reload(log) == ""
        seen(certificates.client_session(certificates.shown[0].names[0]), certificates.server_session())
        log.lines.clear()
        if number == 75:
            gc.collect()
            base = resident()
    gc.collect()
    assert resident() - base < 2 * 1024 * 1024
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    assert seen(TlsSession(context, outward=True), old) == _der(str(both[0].certificate)), (
        "it began with that"
    )
