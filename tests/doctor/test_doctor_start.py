"""What of `edgesip doctor` a server looks at by itself when it starts: the kernel's SIP helper."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from edgesip import app, profile
from edgesip.doctor import probe

LOADED = "nf_conntrack_sip 45056 1 nf_nat_sip, Live 0x0000000000000000\n"


def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, modules: str) -> list[tuple[str, str, Any]]:
    """The log of a server that starts on a host with these modules, and stops at once."""
    host = tmp_path / "proc"
    host.mkdir()
    (host / "modules").write_text(modules)
    monkeypatch.setattr(probe, "PROC", host)
    monkeypatch.setattr(probe, "SYS", tmp_path / "sys")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        listen = f"udp:127.0.0.1:{free.getsockname()[1]}"
    edge = app.provision(profile.load("nat-sbc", default_state_dir=tmp_path / "state", listen=[listen]))
    lines: list[tuple[str, str, Any]] = []
    monkeypatch.setattr(edge, "_log", lambda level, event, fields: lines.append((level, event, fields)))

    async def once() -> None:
        started = asyncio.Event()
        running = asyncio.ensure_future(edge.run(lambda line: started.set()))
        waiting = asyncio.ensure_future(started.wait())
        await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
        running.cancel()
        await asyncio.wait({running})
        assert started.is_set(), running

    asyncio.run(once())
    return lines


def test_a_loaded_sip_helper_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [(level, _, fields)] = [
        line for line in said(tmp_path, monkeypatch, LOADED) if line[1] == "conntrack SIP helper"
    ]
    assert level == "warning"
    assert "nf_conntrack_sip is loaded" in fields["why"]
    assert "modprobe -r" in fields["do"]


def test_without_it_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modules = LOADED.replace("nf_conntrack_sip", "nf_conntrack")
    assert "conntrack SIP helper" not in [line[1] for line in said(tmp_path, monkeypatch, modules)]
