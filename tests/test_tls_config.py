"""TLS in a profile: what cannot be used is told before the start, with whose fault it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from authority import Authority, Issued

from edgesip import app, profile
from edgesip.cli.fail import Fail
from edgesip.cli.run import check
from edgesip.places import ConfigError

LISTEN = ["tls:127.0.0.1:5061"]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


def sets(issued: Issued) -> list[str]:
    return [f"tls.certificate={issued.certificate}", f"tls.private_key={issued.private_key}"]


def provisioned(tmp_path: Path, wishes: list[str], listen: list[str] | None = None) -> app.Edge:
    wanted = LISTEN if listen is None else listen
    return app.provision(profile.load("nat-sbc", default_state_dir=tmp_path, sets=wishes, listen=wanted))


def refusal(tmp_path: Path, wishes: list[str], listen: list[str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        provisioned(tmp_path, wishes, listen)
    return str(caught.value)


def test_a_certificate_in_one_file_with_its_key(tmp_path: Path, authority: Authority) -> None:
    issued, both = authority.issue("DNS:a.example"), tmp_path / "both.pem"
    both.write_bytes(issued.certificate.read_bytes() + issued.private_key.read_bytes())
    certificates = provisioned(tmp_path, [f"tls.certificate={both}"]).certificates
    assert certificates is not None
    assert certificates.shown[0].names == ("a.example",)


def test_a_listener_without_a_certificate(tmp_path: Path) -> None:
    told = refusal(tmp_path, [])
    assert (
        told
        == "--listen tls:127.0.0.1:5061: TLS needs a certificate: set tls.certificate and tls.private_key"
    )


def test_a_certificate_is_tried_even_when_nobody_listens(tmp_path: Path) -> None:
    told = refusal(tmp_path, ["tls.certificate=/nowhere.pem"], ["udp:127.0.0.1:5060"])
    assert told.startswith(
        "--set tls.certificate=/nowhere.pem: tls.certificate: /nowhere.pem: cannot be read"
    )


def test_a_key_of_another_certificate(tmp_path: Path, authority: Authority) -> None:
    one, other = authority.issue("DNS:a.example"), authority.issue("DNS:b.example")
    told = refusal(tmp_path, sets(Issued(one.certificate, other.private_key)))
    assert told.startswith(f"--set tls.private_key={other.private_key}: tls.private_key: ")
    assert "this key is not the one of the certificate" in told


def test_a_named_section_is_told_by_its_line(tmp_path: Path, authority: Authority) -> None:
    issued = authority.issue("DNS:a.example")
    file = tmp_path / "mine.toml"
    (tmp_path / "route.py").write_text("def request(call):\n    return None\n")
    file.write_text(
        f"route = 'route.py'\n[tls]\ncertificate = '{issued.certificate}'\n"
        f"private_key = '{issued.private_key}'\n[tls.domain.'b.example']\ncertificate = 'b.pem'\n"
    )
    with pytest.raises(ConfigError) as caught:
        app.provision(profile.load(str(file), default_state_dir=tmp_path, listen=LISTEN))
    assert str(caught.value).startswith(f"{file}:5: tls.domain: {tmp_path / 'b.pem'}: cannot be read")


def test_check_finds_an_ended_certificate_and_warns_of_one_that_ends_soon(
    tmp_path: Path, authority: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = authority.issue("DNS:a.example", days=-1)
    with pytest.raises(Fail, match=r"this certificate ended on .*: renew") as caught:
        check("nat-sbc", LISTEN, None, sets(ended), tmp_path, None)
    assert caught.value.code == 78
    check("nat-sbc", LISTEN, None, sets(authority.issue("DNS:a.example", days=5)), tmp_path, None)
    told = capsys.readouterr().err
    assert "warning: " in told
    assert "this certificate ends on" in told
    assert told.endswith(": good\n")
    check("nat-sbc", LISTEN, None, sets(authority.issue("DNS:a.example")), tmp_path, None)
    assert "warning" not in capsys.readouterr().err
