"""What operators are told of listeners, connections and certificates."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from authority import Authority

from edgesip.address import Addr, Flow
from edgesip.control.rpc import Method, RpcFault
from edgesip.control.transports import Socket, methods_for
from edgesip.signal.net.streams import Listed
from edgesip.signal.net.tls_files import Certificates, Pair, TlsSettings

OURS, PEER = Addr("192.0.2.1", 5061), Addr("198.51.100.7", 40000)


class Streams:
    def listed(self) -> Iterator[Listed]:
        tls = Flow("tls", OURS, PEER)
        out = Flow("tls", Addr("192.0.2.1", 0), Addr("198.51.100.9", 5061), "trunk.example")
        yield from (
            Listed(1, Flow("tcp", OURS, PEER), False, True, 119.5, "", "", ""),
            Listed(2, tls, False, False, 120.0, "", "", ""),
            Listed(3, out, True, True, 7.0, "TLSv1.3", "TLS_AES_256_GCM_SHA384", "trunk.example"),
        )


def asked(name: str, certificates: Certificates | None = None, log: list[Any] | None = None) -> Any:
    lines = log if log is not None else []
    sockets = [Socket("udp", "192.0.2.1", 5060, "203.0.113.5:5060"), Socket("tls", "192.0.2.1", 5061)]
    table = methods_for(sockets, Streams(), certificates, lambda *line: lines.append(line))
    methods: dict[str, Method] = {method.name: method for method in table}
    return methods[name].call([])


def test_sockets() -> None:
    assert asked("core.sockets_list") == [
        {"proto": "udp", "address": "192.0.2.1", "port": 5060, "advertise": "203.0.113.5:5060"},
        {"proto": "tls", "address": "192.0.2.1", "port": 5061, "advertise": ""},
    ]


def test_connections() -> None:
    one, other, ours = asked("core.tcp_list")
    assert one == {
        "id": 1,
        "type": "TCP",
        "state": "established",
        "opened_by": "peer",
        "timeout": 119,
        "lifetime": 120,
        "src_ip": "198.51.100.7",
        "src_port": 40000,
        "dst_ip": "192.0.2.1",
        "dst_port": 5061,
    }
    assert (other["type"], other["state"]) == ("TLS", "handshake")
    assert (ours["opened_by"], ours["timeout"]) == ("us", 7)


def test_tls_connections_say_whom_they_were_proven_to_be_with() -> None:
    waiting, ours = asked("tls.list")
    assert (waiting["state"], waiting["cipher"], waiting["proven"]) == ("handshake", "", "")
    assert ours["version"] == "TLSv1.3"
    assert ours["server_name"] == ours["proven"] == "trunk.example"


def test_certificates_are_shown_and_read_anew(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    old, new = authority.issue("DNS:old.example"), authority.issue("DNS:new.example")
    certificate, key = tmp_path / "c.pem", tmp_path / "c.key"
    old.put(certificate, key)
    certificates, log = Certificates(TlsSettings((Pair("", certificate, key),))), list[Any]()
    (shown,) = asked("tls.certificates", certificates)
    assert (shown["domain"], shown["names"], shown["file"]) == ("", ["old.example"], str(certificate))
    assert shown["not_before"] < shown["not_after"]
    new.put(certificate, key)
    assert asked("tls.reload", certificates, log) == "Ok. Certificates taken up: 1"
    assert asked("tls.certificates", certificates)[0]["names"] == ["new.example"]
    key.write_text("")
    with pytest.raises(RpcFault, match=r"the old certificates stay: tls\.private_key: "):
        asked("tls.reload", certificates, log)
    assert [event for _, event, _ in log] == ["certificate taken up", "certificates not taken up"]


def test_without_tls_there_is_nothing_to_read() -> None:
    assert asked("tls.certificates") == []
    with pytest.raises(RpcFault, match="there is no TLS"):
        asked("tls.reload")
