"""Calls of real phones recorded, and their media in packets of another length, by ear and by capture."""

from __future__ import annotations

import itertools
import subprocess
import time
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from lab.calls import connect, frequency_of, hang_up, phone_at
from lab.capture import Capture, Rtp, audio
from lab.network import Network
from lab.phone import Phone
from lab.process import eventually
from lab.server import Server
from lab.tones import Samples, assert_heard

pytestmark = pytest.mark.wire
TALK = 4.0

Start = Callable[..., Server]


def with_script(network: Network, *changes: tuple[str, str]) -> str:
    """nat-sbc with other words in its route script."""
    built_in = Path(__file__).parents[2] / "edgesip" / "profiles"
    script = (built_in / "nat_sbc.py").read_text()
    for old, new in changes:
        assert old in script
        script = script.replace(old, new)
    (network.directory / "nat_sbc.py").write_text(script)
    profile = network.directory / "own.toml"
    profile.write_text((built_in / "nat-sbc.toml").read_text())
    return str(profile)


def phones(server: Server, network: Network) -> tuple[Phone, Phone]:
    """alice behind a symmetric NAT, bob behind one that is port-restricted."""
    alice = phone_at(server, network, "alice", "symmetric")
    return alice, phone_at(server, network, "bob", "port-restricted")


def channels(path: Path) -> tuple[Samples, Samples]:
    """The caller's and the callee's side of a file; its header must say what is there."""
    with wave.open(str(path)) as read:
        assert read.getparams()[:3] == (2, 2, 8000)
        frames = read.readframes(read.getnframes())
        assert len(frames) == 4 * read.getnframes()
    both = np.frombuffer(frames, np.int16).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def assert_both_heard(path: Path, seconds: float) -> None:
    """alice says her tone in the left channel, bob his in the right."""
    for user, samples in zip(("alice", "bob"), channels(path), strict=True):
        assert_heard(f"the channel of {user}", samples, frequency_of(user), seconds)


def call_id_of(server: Server) -> str:
    [session] = server.ask("rtp", "list")
    return str(session["call-id"])


def test_a_call_recorded_by_hand(server: Server, network: Network) -> None:
    alice, bob = phones(server, network)
    connect(alice, bob)
    time.sleep(1.0)
    call_id = call_id_of(server)
    [told] = server.ask("rtp", "record", call_id)
    time.sleep(TALK)
    [now] = server.ask("rtp", "record")
    assert now["file"] == told["file"]
    assert now["octets"] > 32_000
    assert_both_heard(Path(told["file"]), 1.0)
    hang_up(alice, bob)
    server_process = server.process
    assert server_process is not None
    server_process.wait_for("recording ended")
    assert Path(told["file"]).parent == server.state / "recordings"
    assert_both_heard(Path(told["file"]), TALK - 0.25)
    assert server.ask("rtp", "record") == []
    alice.assert_heard(bob, TALK)
    bob.assert_heard(alice, TALK)


@pytest.mark.long
def test_packets_recorded_for_wireshark_and_stopped(server: Server, network: Network) -> None:
    alice, bob = phones(server, network)
    connect(alice, bob)
    time.sleep(0.5)
    call_id = call_id_of(server)
    [told] = server.ask("rtp", "record", call_id, "--pcap")
    time.sleep(TALK)
    server.verb("rtp", "record", call_id, "--stop")
    eventually("its end", lambda: not server.ask("rtp", "record"))
    size = Path(told["file"]).stat().st_size
    [session] = server.ask("rtp", "list")
    assert {leg["carried_by"] for leg in session["legs"]} <= {"kernel", "user"}
    hang_up(alice, bob)
    assert Path(told["file"]).stat().st_size == size
    done = subprocess.run(
        ["tcpdump", "-nvv", "-T", "rtp", "-r", told["file"]], capture_output=True, text=True, timeout=20
    )
    assert "truncated" not in done.stderr
    for public in ("203.0.113.10", "203.0.113.20"):
        lines = [line for line in done.stdout.splitlines() if f" {public}." in line and "udp/rtp" in line]
        assert len(lines) > TALK / 0.02 * 0.8, f"{len(lines)} packets of {public}"
    assert "bad udp cksum" not in done.stdout


def test_a_killed_server_leaves_a_file_that_can_be_heard(start_server: Start, network: Network) -> None:
    server = start_server()
    alice, bob = phones(server, network)
    connect(alice, bob)
    time.sleep(0.5)
    [told] = server.ask("rtp", "record", call_id_of(server))
    time.sleep(TALK + 2.5)
    server.crash()
    assert_both_heard(Path(told["file"]), TALK)
    server.start()
    eventually("the call goes on, and so does its recording", lambda: bool(server.ask("rtp", "record")), 20.0)
    [again] = server.ask("rtp", "record")
    assert again["file"] != told["file"]
    hang_up(alice, bob)


@pytest.mark.long
def test_a_stopped_server_closes_its_files(start_server: Start, network: Network) -> None:
    server = start_server()
    alice, bob = phones(server, network)
    connect(alice, bob)
    time.sleep(0.5)
    [told] = server.ask("rtp", "record", call_id_of(server))
    time.sleep(TALK)
    assert server.process is not None
    server.process.stop()
    assert_both_heard(Path(told["file"]), TALK - 0.25)
    server.start()
    hang_up(alice, bob)


@pytest.mark.long
def test_a_script_records_every_call(start_server: Start, network: Network) -> None:
    line = '    call.rtpproxy_manage("f")\n'
    server = start_server(profile=with_script(network, (line, f"{line}    call.start_recording()\n")))
    alice, bob = phones(server, network)
    connect(alice, bob)
    time.sleep(TALK)
    hang_up(alice, bob)
    eventually("its end", lambda: not server.ask("rtp", "record"))
    [path] = (server.state / "recordings").iterdir()
    assert_both_heard(path, TALK - 0.25)


def test_packets_of_another_length_each_way(start_server: Start, network: Network) -> None:
    """The caller's sound goes on in packets of 40 ms, the callee's in packets of 30; both are heard."""
    changes = (
        ('call.rtpproxy_manage("f")', 'call.rtpproxy_manage("fz40")'),
        ('    """An answer on its way back."""\n', '    """An answer."""\n    call.rtpproxy_manage("z30")\n'),
    )
    server = start_server(profile=with_script(network, *changes))
    alice, bob = phones(server, network)
    wires = {phone.user: Capture(network, phone.host) for phone in (alice, bob)}
    connect(alice, bob)
    begin = time.time()
    time.sleep(TALK)
    [session] = server.ask("rtp", "list")
    because = {leg["side"]: leg["because"] for leg in session["legs"]}
    assert because == {"caller": "it is sent in packets of 40 ms", "callee": "it is sent in packets of 30 ms"}
    hang_up(alice, bob)
    for phone, other, length in ((bob, alice, 40), (alice, bob, 30)):
        packets = wires[phone.user].rtp(phone.host.address, begin + 0.5)
        assert_sound_in(packets, length)
        assert_heard(phone.user, audio(packets), other.frequency, TALK - 1.0)


def assert_sound_in(packets: list[Rtp], milliseconds: int) -> None:
    """Each packet is so long; numbers go on by one and timestamps by a packet; RTCP would not be here."""
    sound = [packet for packet in packets if packet.payload_type in (0, 8)]
    lengths = [len(packet.payload) for packet in sound]
    assert lengths.count(milliseconds * 8) > 0.95 * len(lengths), lengths[:20]
    steps = [
        (after.sequence - before.sequence & 0xFFFF, after.timestamp - before.timestamp & 0xFFFFFFFF)
        for before, after in itertools.pairwise(sound)
    ]
    assert steps.count((1, milliseconds * 8)) > 0.95 * len(steps), steps[:20]
