"""What a service manager hears, by a socket that stands for its own."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgesip.control.notify import notify


@contextmanager
def manager(address: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address)
        listener.settimeout(1)
        yield listener


def test_it_hears_each_call_as_one_datagram(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with manager(str(tmp_path / "notify")) as listener:
        notify("READY=1", "STATUS=ready listen=udp:192.0.2.1:5060")
        notify("STOPPING=1")
        assert listener.recv(4096) == b"READY=1\nSTATUS=ready listen=udp:192.0.2.1:5060"
        assert listener.recv(4096) == b"STOPPING=1"


def test_an_abstract_address_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"edgesip-test-{os.getpid()}-{secrets.token_hex(4)}"
    monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
    with manager(f"\0{name}") as listener:
        notify("READY=1")
        assert listener.recv(4096) == b"READY=1"


def test_a_line_break_cannot_add_an_assignment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with manager(str(tmp_path / "notify")) as listener:
        notify("STATUS=one\nMAINPID=1")
        assert listener.recv(4096) == b"STATUS=one MAINPID=1"


def test_without_a_manager_nothing_is_said(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")
    assert capfd.readouterr() == ("", "")


def test_a_manager_that_is_gone_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    notify("READY=1")
    said = "".join(capfd.readouterr())
    assert "service manager cannot be told" in said
    assert "No such file" in said
