"""`edgesip trace` beside real calls: the ladder, the capture file, what is told while it happens."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from lab.calls import connect, hang_up, phone_at
from lab.ladder import ladder, streams
from lab.network import Network
from lab.process import eventually
from lab.server import EDGESIP, Server, Verb

pytestmark = pytest.mark.wire
TALK = 2.0


def test_a_call_is_seen_as_a_ladder_and_as_a_capture(server: Server, network: Network) -> None:
    alice = phone_at(server, network, "alice", "port-restricted")
    bob = phone_at(server, network, "bob", "symmetric")
    connect(alice, bob)
    time.sleep(TALK)
    hang_up(alice, bob)
    eventually(
        "the media is told to be closed", lambda: "media closed" in server.verb("trace", "--user", "bob")
    )

    calls = server.ask("trace")
    [call] = [one for one in calls if one["method"] == "INVITE"]
    assert call["status"].startswith("200 ")
    assert {one["status"] for one in calls if one["method"] == "REGISTER"} == {"200 OK"}
    text = server.verb("trace", "--call", call["call_id"])
    for words in (
        "alice (udp)",
        "bob (udp)",
        "edgesip",
        "challenge 407",
        "INVITE bob (auth, sdp)",
        "nat_uac_test",
        "media through the relay",
        "200 Answering (sdp)",
        "media opened: caller audio 203.0.113.1:",
        "media learned: caller audio 203.0.113.10:",
        "media learned: callee audio 203.0.113.20:",
        "200 OK (BYE)",
        "media closed: caller audio",
    ):
        assert words in text, words
    packets = [int(count) for count in re.findall(r"(\d+) packets", text)]
    assert min(packets) > TALK * 25
    assert 'response="' not in text
    assert "Call-ID" in server.verb("trace", "--user", "alice")
    with pytest.raises(Verb, match="exit 3"):
        server.verb("trace", "--user", "nobody")

    file = network.directory / "call.pcap"
    server.verb("trace", "--call", call["call_id"], "--pcap", str(file))
    assert call["messages"] == _messages(file)
    every = network.directory / "all.pcap"
    server.verb("trace", "--pcap", str(every))
    data = every.read_bytes()
    assert b"response=" in data
    assert re.search(rb'response="[^*"]', data) is None


def _messages(file: Path) -> int:
    """How many SIP messages tcpdump reads in a capture file, all checksums being right."""
    done = subprocess.run(
        ["tcpdump", "-n", "-v", "-v", "-r", str(file)], capture_output=True, text=True, timeout=20, check=True
    )
    assert "bad udp cksum" not in done.stdout
    assert done.stdout.count("udp sum ok") == done.stdout.count("\tCall-ID: ")
    return done.stdout.count("udp sum ok")


def test_what_happens_is_told_while_it_happens(server: Server, network: Network) -> None:
    bob = phone_at(server, network, "bob", "public")
    told = network.directory / "follow.txt"
    with told.open("w") as output:
        follower = subprocess.Popen(
            [EDGESIP, "trace", "--follow", "--user", "carol", "--state-dir", str(server.state)],
            stdout=output,
            env={**os.environ, "COLUMNS": "120", "PYTHONUTF8": "0", "LC_ALL": "C"},
        )
    try:
        carol = phone_at(server, network, "carol", "full-cone")
        eventually("the registration is told", _has(told, "REGISTER carol (auth)"))
        connect(carol, bob)
        eventually("the call is told", _has(told, "200 Answering (sdp)"))
        hang_up(carol, bob)
        eventually("its end is told", _has(told, "200 OK (BYE)"))
        follower.send_signal(signal.SIGINT)
        assert follower.wait(10) == 0
    finally:
        follower.kill()
        follower.wait()
    assert told.read_text("utf-8").isascii()


def _has(file: Path, words: str) -> Callable[[], bool]:
    return lambda: words in file.read_text("utf-8")


def test_a_server_that_is_gone_leaves_a_story(server: Server, network: Network) -> None:
    phone_at(server, network, "alice", "symmetric")
    assert "save the contacts" in server.story()
    server.crash()
    story = server.story()
    assert "REGISTER alice (auth)" in story
    assert "save the contacts" not in story
    assert ladder([], []) == "(nothing captured)"
    assert streams([]) == ""
    server.start()
