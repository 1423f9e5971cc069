"""`edgesip doctor` as an operator calls it: lines, JSON, and an exit status for scripts."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

from edgesip.cli.runstate import RunState, keep

EDGESIP = [sys.executable, "-m", "edgesip.cli.main"]


def doctor(
    tmp_path: Path, *more: str, profile: tuple[str, ...] = ("--profile", "nat-sbc")
) -> subprocess.CompletedProcess[str]:
    words = [*EDGESIP, "doctor", *profile, "--state-dir", str(tmp_path), *more]
    words += ["--set", "upstream=sip:192.0.2.9"]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


def test_a_port_that_is_taken_fails_and_says_by_whom(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held:
        held.bind(("127.0.0.1", 0))
        listen = f"udp:127.0.0.1:{held.getsockname()[1]}"
        done = doctor(tmp_path, "--listen", listen)
        assert done.returncode == 1
        assert f"fail  listen {listen}: cannot listen on {listen}: the port is held by" in done.stdout
        assert "      -> stop that program, or listen on another port\n" in done.stdout
        assert "not fit to serve" in done.stderr
    done = doctor(tmp_path, "--listen", listen, "--json")
    assert done.returncode == 0, done.stdout
    told = json.loads(done.stdout)
    assert {"level": "ok", "check": f"listen {listen}", "text": "can be bound", "do": ""} in told
    assert [one["check"] for one in told][:2] == ["running server", "profile"]


def test_a_profile_that_cannot_be_read_is_a_finding(tmp_path: Path) -> None:
    done = doctor(tmp_path, "--set", "dns.dns_retr_time=x", "-o", "json")
    assert done.returncode == 1
    (one,) = json.loads(done.stdout)
    assert (one["level"], one["check"]) == ("fail", "profile")
    assert "dns.dns_retr_time" in one["text"]


def test_without_a_profile_it_is_what_ran_last(tmp_path: Path) -> None:
    done = doctor(tmp_path, profile=())
    assert (done.returncode, "name a profile by --profile" in done.stderr) == (78, True)
    was = RunState("nat-sbc", str(tmp_path / "s"), ["udp:127.0.0.1:59"], [], ["dns.dns_retr_time=x"])
    keep(tmp_path, was)
    done = doctor(tmp_path, "--json", profile=())
    assert "--set dns.dns_retr_time=x" in json.loads(done.stdout)[0]["text"]
