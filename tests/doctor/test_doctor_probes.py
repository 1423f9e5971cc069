"""The probes of `edgesip doctor` against this very host: facts that can be known, and sockets of our own."""

from __future__ import annotations

import errno
import os
import socket
import sqlite3
import time
from pathlib import Path

import pytest
from authority import Authority

from edgesip import profile
from edgesip.address import Addr
from edgesip.doctor import probe
from edgesip.doctor.chain import doubt
from edgesip.doctor.finding import Finding
from edgesip.doctor.visit import findings
from edgesip.store.snapshot import soundness
from edgesip.store.sqlite import SqliteStore


def test_a_port_of_ours_is_seen_to_be_taken() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held:
        held.bind(("127.0.0.1", 0))
        port = int(held.getsockname()[1])
        found = probe.bound("udp", Addr("127.0.0.1", port))
        assert found.error == errno.EADDRINUSE
        assert f"(pid {os.getpid()})" in found.told
        assert port in probe.media("127.0.0.1", port, port + 3).busy or port % 2
    assert probe.bound("udp", Addr("127.0.0.1", port)).error == 0
    assert probe.bound("tcp", Addr("192.0.2.77", 5060)).error == errno.EADDRNOTAVAIL


def test_the_clock_and_the_limits_of_this_process() -> None:
    assert abs(probe.clock().wall - time.time()) < 5
    limit, whose = probe.files_limit(os.getpid())
    assert limit > 0
    assert whose == "the running server"
    assert probe.files_limit(0)[1] == "a process of this user"


def test_reserved_ports_are_read() -> None:
    assert probe.ranges("8080,9000-9010") == ((8080, 8080), (9000, 9010))
    assert probe.ranges("") == ()
    assert probe.ranges("x,1-,-2") == ()


def test_a_directory_that_is_not_there_yet(tmp_path: Path) -> None:
    assert probe.disk(tmp_path / "a" / "b").trouble == ""
    (tmp_path / "file").write_text("")
    assert "no directory" in probe.disk(tmp_path / "file" / "x").trouble


def test_a_damaged_database_is_seen(tmp_path: Path) -> None:
    assert soundness(tmp_path / "none.db", "location") == ("", -1)
    store = SqliteStore(tmp_path / "location.db")
    store.close()
    assert soundness(tmp_path / "location.db", "location") == ("", 0)
    with sqlite3.connect(tmp_path / "big.db") as big:
        big.execute("CREATE TABLE location (key TEXT, record TEXT)")
        big.executemany("INSERT INTO location VALUES (?, ?)", [(str(one), "x" * 500) for one in range(200)])
    octets = bytearray((tmp_path / "big.db").read_bytes())
    octets[8192:12288] = b"\xff" * 4096
    (tmp_path / "big.db").write_bytes(octets)
    assert "damaged" in soundness(tmp_path / "big.db", "location")[0]
    (tmp_path / "no.db").write_text("this is no database at all, but a letter to my aunt")
    assert "damaged" in soundness(tmp_path / "no.db", "location")[0]


def look(tmp_path: Path, *sets: str, listen: str = "udp:127.0.0.1:0") -> dict[str, Finding]:
    """Everything that doctor finds, by what was looked at; the port is one that is free."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        listen = listen.replace(":0", f":{free.getsockname()[1]}")
    loaded = profile.load(
        "nat-sbc",
        default_state_dir=tmp_path,
        listen=[listen],
        sets=["upstream=sip:192.0.2.9", *sets],
    )
    return {one.check.split(" ")[0]: one for one in findings(loaded)}


def test_a_whole_visit(tmp_path: Path) -> None:
    found = look(tmp_path)
    assert found["listen"].level == "ok"
    assert found["upstream"].text == "leads to udp:192.0.2.9:5060"
    assert found["state"].level == "ok"
    assert found["users"].level == "warn"
    assert {"profile", "media", "open", "receive", "firewall", "conntrack", "clock", "bindings"} <= set(found)


def test_auto_that_cannot_be_known_fails(tmp_path: Path) -> None:
    found = look(tmp_path, "advertise=auto")
    assert found["public"].level == "fail"
    assert "127.0.0.1 is a private address" in found["public"].text


def test_a_route_script_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("def request(call:\n")
    assert look(tmp_path, f"route={tmp_path / 'broken.py'}")["profile"].level == "fail"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


def test_certificates_of_a_profile(tmp_path: Path, authority: Authority) -> None:
    issued = authority.issue("DNS:sip.example.net", days=365)
    sets = [f"tls.certificate={issued.certificate}", f"tls.private_key={issued.private_key}"]
    believed = [f"tls.ca_list={authority.ca}"]
    found = look(tmp_path, *sets, *believed, listen="tls:127.0.0.1:0")
    assert found["certificate"].level == "ok"
    assert look(tmp_path, *sets, listen="tls:127.0.0.1:0")["certificate"].level == "warn"
    other = authority.issue("DNS:sip.example.net")
    found = look(tmp_path, sets[0], f"tls.private_key={other.private_key}", listen="tls:127.0.0.1:0")
    assert found["certificates"].level == "fail"


def test_whom_a_client_believes(authority: Authority) -> None:
    issued = authority.issue("DNS:sip.example.net")
    assert doubt(issued.certificate, issued.private_key, authority.ca) == ""
    assert "self-signed" in doubt(issued.certificate, issued.private_key, None)
    ended = authority.issue("DNS:sip.example.net", days=-1)
    assert "expired" in doubt(ended.certificate, ended.private_key, authority.ca)
    assert doubt(issued.certificate, ended.private_key, authority.ca) != ""
