"""Calls with media through a relay: how they are set up, and the load of RTP that then goes through them.

edgesip is given its calls by SIP, as always; rtpengine by its ng protocol (bencoded dictionaries over UDP).
The load is `rtpgen.c`, compiled by the bench.
"""

from __future__ import annotations

import json
import re
import secrets
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rig.agent import Phone, call, media_port, sdp
from rig.figure import Bench
from rig.process import BenchError, Child
from rig.servers import HOST, NG_PORT, PORT

CALLER_SIP, CALLEE_SIP = 5070, 5080
CALLER_MEDIA, CALLEE_MEDIA = 6000, 7000
SHARED = 64
"""Calls that use the same pair of ports of the load: it sends by the batch."""
WARM = 1.0

Relayed = tuple[int, int, int, int]
"""One call as rtpgen reads it: caller's port, where it sends, callee's port, where it sends."""


@dataclass(frozen=True)
class Heard:
    """What a load of RTP came to: the relay's CPU-seconds, those it stood in line for a CPU; delays in us."""

    calls: int
    seconds: float
    cpu: float
    waited: float
    sent: int
    received: int
    late: int
    p50: float
    p90: float
    p99: float
    most: float

    @property
    def loss(self) -> float:
        """The part of what was sent that did not arrive."""
        return 1.0 - self.received / self.sent

    @property
    def per_cpu_second(self) -> float:
        """Packets relayed for one CPU-second of the relay."""
        return self.received / max(self.cpu, 0.01)

    def report(self) -> dict[str, float]:
        """For the JSON."""
        found = {**asdict(self), "loss": round(self.loss, 6), "busy": round(self.cpu / self.seconds, 3)}
        return {**found, "per_cpu_second": round(self.per_cpu_second)}


def compiled(bench: Bench) -> Path:
    """The load as a program."""
    program = bench.directory / "rtpgen"
    if not program.exists():
        source = Path(__file__).with_name("rtpgen.c")
        done = subprocess.run(
            ["cc", "-O2", "-Wall", "-o", str(program), str(source)],
            capture_output=True,
            text=True,
            timeout=60,
        )
        if done.returncode != 0:
            raise BenchError(f"{source.name}: {done.stderr}")
    return program


def sip_calls(count: int) -> list[Relayed]:
    """Open this many calls through the server on loopback and leave them open."""
    alice, bob = Phone("alice", CALLER_SIP), Phone("bob", CALLEE_SIP)
    made: list[Relayed] = []
    try:
        bob.register()
        for number in range(count):
            near, far = _ports(number)
            one = call(alice, bob, (HOST, PORT), near, far)
            made.append((near, one.caller_sends_to, far, one.callee_sends_to))
    finally:
        alice.close()
        bob.close()
    return made


def ng_calls(count: int) -> list[Relayed]:
    """Open this many calls in rtpengine."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((HOST, NG_PORT))
        return ng_open(sock, [_ports(number) for number in range(count)], HOST, HOST)


def ng_open(sock: socket.socket, ports: Sequence[tuple[int, int]], caller: str, callee: str) -> list[Relayed]:
    """Open calls in the rtpengine that the socket is connected to, each between two ports of these hosts."""
    made: list[Relayed] = []
    sock.settimeout(3.0)
    for near, far in ports:
        ids = {"call-id": secrets.token_hex(8), "from-tag": secrets.token_hex(4)}
        towards_callee = _ask(sock, {"command": "offer", **ids, "sdp": sdp(near, caller)})
        answer = {"command": "answer", **ids, "to-tag": secrets.token_hex(4), "sdp": sdp(far, callee)}
        made.append((near, media_port(_ask(sock, answer)), far, media_port(towards_callee)))
    return made


def _ports(number: int) -> tuple[int, int]:
    shift = 2 * (number // SHARED)
    return CALLER_MEDIA + shift, CALLEE_MEDIA + shift


def _ask(sock: socket.socket, request: dict[str, str]) -> str:
    """One ng command; the session description in its answer."""
    cookie = secrets.token_hex(6).encode()
    words = b"".join(_string(key) + _string(request[key]) for key in sorted(request))
    sock.send(cookie + b" d" + words + b"e")
    while True:
        data = sock.recv(65535)
        if data.startswith(cookie):
            break
    found = re.search(rb"3:sdp(\d+):", data)
    if found is None:
        raise BenchError(f"rtpengine: {data.decode(errors='replace')}")
    return data[found.end() : found.end() + int(found[1])].decode()


def _string(text: str) -> bytes:
    octets = text.encode()
    return b"%d:%s" % (len(octets), octets)


def rest(relay: Child, patience: float = 8.0) -> None:
    """Wait until the relay has worked off what the load before has left in its queues."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        before = relay.cpu()
        time.sleep(0.4)
        if relay.cpu() - before < 0.04:
            return


def play(
    bench: Bench, room: Path, relay: Child, calls: Sequence[Relayed], seconds: float, name: str = "rtp"
) -> Heard:
    """Talk both ways in all these calls at once."""
    file = room / f"{name}.calls"
    file.write_text("".join(f"{a} {b} {c} {d}\n" for a, b, c, d in calls))
    program = str(compiled(bench))
    load = Child(
        "rtpgen", [program, str(file), str(WARM), str(seconds)], room / f"{name}.log", bench.cores.load
    )
    try:
        load.wait_for("^begin$", WARM * 4 + 5.0)
        before, stood = relay.cpu(), relay.waited()
        load.wait_for("^end$", seconds * 4 + 5.0)
        cpu, waited = relay.cpu() - before, relay.waited() - stood
        load.wait(10.0)
    finally:
        load.stop()
    found = re.search(r"^{.*}$", load.text(), re.MULTILINE)
    if found is None:
        raise BenchError(f"rtpgen: {load.text()}")
    told = json.loads(found[0])
    return Heard(len(calls), seconds, cpu, waited, **told)
