"""A million contacts: the start that loads them, memory, look-ups, ten thousand that expire in a second."""

from __future__ import annotations

import json
import math
import os
import socket
import subprocess
import time
from io import BufferedReader
from pathlib import Path

from rig import contacts
from rig.build import interpreter
from rig.figure import Bench, Figure
from rig.process import BenchError, pinned
from rig.servers import HOST, PORT, Edge

from edgesip.address import Addr
from edgesip.places import location_db, socket_in

NEEDS: tuple[str, ...] = ("ip",)
SETTINGS = {
    "auth.enabled": "false",
    "nathelper.natping_interval": "0",
    "pike.reqs_density_per_unit": "1000000",
}
SCRIPT = Path(contacts.__file__)
KIB, GIB = 1024.0, 2**30
RATE = 10_000
"""Contacts that expire in a second."""
BATCH = 500
"""Contacts that are added by one question."""
PATIENCE = 150.0
EVERY = 0.005
"""Seconds between two questions that see how long the server is away."""
START_BAR, STALL_BAR, LOOKUP_BAR, RESIDENT_BAR = 30.0, 50.0, 20.0, 1.2


def run(bench: Bench) -> list[Figure]:
    """Start with a full store, let some of it expire at once; then look-ups, in a process of their own."""
    count, seconds = bench.pick(20_000, 1_000_000), bench.pick(2, 5)
    storm = seconds * bench.pick(1000, RATE)
    room = bench.room("usrloc")
    empty = _empty(bench, room)
    state = room / "state"
    state.mkdir()
    begin = time.time()
    expiries = [begin + 3600.0 + each * 7 for each in range(400)]
    contacts.fill(location_db(state), range(count), Addr(HOST, PORT), begin, expiries)
    edge = Edge(state, SETTINGS, bench.cores.server, PATIENCE)
    try:
        start_cpu, resident = edge.cpu(), edge.resident()
        if (known := _contacts(edge)) != count:
            raise BenchError(f"{known} contacts were loaded, not {count}")
        due = _add(edge, storm, seconds)
        calm = _away(max(1.0, due - 2.0 - time.monotonic()))
        time.sleep(max(0.0, due - 1.0 - time.monotonic()))
        used = edge.cpu()
        stalls, used = _away(seconds + 4.0), edge.cpu() - used
        if (left := _contacts(edge)) != count:
            raise BenchError(f"{left} contacts are left, not {count}")
    finally:
        edge.stop()
    asked = _lookups(bench, location_db(state))
    best = min(turn["p99"] for turn in asked["turns"])
    some, gone = f"{count:,} contacts", f"{storm:,} expire in {seconds} s"
    return [
        Figure(
            "usrloc.start",
            f"start to ready, {some}",
            edge.started,
            "s",
            most=START_BAR,
            detail={"cpu": start_cpu},
        ),
        Figure(
            "usrloc.each",
            f"memory of a contact, {some}",
            (resident - empty) / count,
            "octets",
            most=KIB,
            detail={"resident": resident, "empty": empty},
        ),
        Figure("usrloc.resident", f"memory of the server, {some}", resident / GIB, "GiB", most=RESIDENT_BAR),
        Figure("usrloc.lookup", f"look-up, {some}, p99", best, "us", most=LOOKUP_BAR, detail=asked),
        Figure(
            "usrloc.stall",
            f"longest wait for an answer while {gone}",
            max(stalls),
            "ms",
            "before that",
            max(calm),
            most=STALL_BAR,
            detail={"answers": len(stalls), "p99": sorted(stalls)[len(stalls) * 99 // 100], "cpu": used},
        ),
    ]


def _add(edge: Edge, storm: int, seconds: int) -> float:
    """Put contacts into the running server that are over within so many seconds; from when on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as control:
        control.connect(str(socket_in(edge.state)))
        control.settimeout(60.0)
        answers = control.makefile("rb")
        begin = time.monotonic()
        _ask(control, answers, [_addition(number, 3600) for number in range(BATCH)])
        took = time.monotonic() - begin  # the first are sent twice: they say how long all of them will take
        due = time.monotonic() + 10.0 + 2.0 * took * storm / BATCH
        for first in range(0, storm, BATCH):
            left = math.ceil(due - time.monotonic())
            if left < 2:
                raise BenchError("contacts cannot be added in time")
            numbers = range(first, first + BATCH)
            _ask(
                control, answers, [_addition(number, left + number * seconds // storm) for number in numbers]
            )
    return due


def _ask(control: socket.socket, answers: BufferedReader, batch: list[dict[str, object]]) -> None:
    control.sendall(json.dumps(batch).encode() + b"\n")
    refused = [one for one in json.loads(answers.readline()) if "error" in one]
    if refused:
        raise BenchError(f"ul.add: {refused[0]}")


def _addition(number: int, expires: int) -> dict[str, object]:
    words = [f"storm{number}", f"sip:storm{number}@192.168.1.10", str(expires), ".", ".", "0", "0", "0"]
    received = f"sip:198.20.{number >> 8 & 255}.{number & 255}:5060"
    return {"jsonrpc": "2.0", "id": number, "method": "ul.add", "params": ["location", *words, received]}


def _empty(bench: Bench, room: Path) -> int:
    """What a server without contacts takes."""
    edge = Edge(room / "empty", SETTINGS, bench.cores.server)
    try:
        return edge.resident()
    finally:
        edge.stop()


def _contacts(edge: Edge) -> int:
    found = edge.ask("stats", "usrloc:location-contacts")
    return int(found[0].rpartition("=")[2])


def _away(seconds: float) -> list[float]:
    """How long each answer to an OPTIONS takes, in milliseconds, from when it should have been asked for."""
    times: list[float] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
        phone.connect((HOST, PORT))
        phone.settimeout(2.0)
        host, port = phone.getsockname()
        begin = time.monotonic()
        number, due = 0, begin
        while due < begin + seconds:
            time.sleep(max(0.0, due - time.monotonic()))
            number += 1
            phone.send(_options(host, port, f"{port}x{number}"))
            try:
                phone.recv(65536)
            except TimeoutError:
                raise BenchError("the server does not answer") from None
            times.append((time.monotonic() - due) * 1000)
            due = max(due + EVERY, time.monotonic())
    return times


def _options(host: str, port: int, name: str) -> bytes:
    return (
        f"OPTIONS sip:{HOST}:{PORT} SIP/2.0\r\nVia: SIP/2.0/UDP {host}:{port};rport;branch=z9hG4bK{name}\r\n"
        f"From: <sip:bench@{host}>;tag={name}\r\nTo: <sip:{HOST}>\r\nCall-ID: {name}\r\nCSeq: 1 OPTIONS\r\n"
        "Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    ).encode()


def _lookups(bench: Bench, database: Path) -> dict[str, list[dict[str, float]]]:
    tree = os.environ.get("PYTHONPATH", "")
    command = [interpreter(), str(SCRIPT), str(database), str(bench.pick(5_000, 40_000)), "5"]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([part for part in (tree, str(SCRIPT.parents[1])) if part]),
    }
    done = subprocess.run(
        pinned(bench.cores.server, command), capture_output=True, text=True, timeout=180, env=environment
    )
    if done.returncode != 0:
        raise BenchError(f"contacts: {done.stderr[-2000:]}")
    return dict(json.loads(done.stdout))
