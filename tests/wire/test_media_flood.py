"""R20, R24: 20,000 packets a second at one port of one call; what it and the others lose, what it costs."""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path

import pytest
from lab import media_flood
from lab.agent import Agent
from lab.calls import Call, open_call
from lab.network import Host, Network
from lab.process import eventually
from lab.server import Server
from lab.stream import Stream, playing

pytestmark = [pytest.mark.wire, pytest.mark.long]
FLOOD = str(Path(media_flood.__file__))
RATE, SECONDS = 20_000, 12.0
OTHERS = 4


def cpu(server: Server) -> float:
    """Seconds of processor time so far."""
    assert server.process is not None
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def calls_of(server: Server, network: Network, count: int) -> list[Call]:
    """So many calls, all between two machines."""
    callers, callees = network.public_host("callers", 10), network.public_host("callees", 20)
    found = []
    for number in range(count):
        alice = Agent(callers, f"a{number}", server.add_user(f"a{number}"), port=6000 + number)
        bob = Agent(callees, "bob", server.add_user("bob"), port=7000 + number)
        assert bob.register().status == 200
        found.append(open_call(alice, bob, alice.stream(440.0), bob.stream(1000.0)))
        assert bob.register(expires=0).status == 200
    return found


def settled(server: Server) -> bool:
    found = {leg["carried_by"] for call in server.ask("rtp", "list") for leg in call["legs"]}
    return bool(found) and found <= {"kernel", "user"}


def lost_by(call: Call, begin: tuple[int, int]) -> tuple[int, int]:
    """How many packets the two of a call have lost and sent since they were at these numbers."""
    lost = sent = 0
    for sender, receiver, first in (
        (call.says, call.hears, begin[0]),
        (call.hears, call.says, begin[1]),
    ):
        receiver.drain()
        numbers = set(range(first, sender.number))
        lost += len(numbers - set(receiver.numbers(sender)))
        sent += len(numbers)
    return lost, sent


def flood(network: Network, host: Host, target: tuple[str, int], kind: str) -> str:
    process = network.start(
        host,
        f"flood-{kind}-{target[1]}",
        sys.executable,
        FLOOD,
        target[0],
        str(target[1]),
        kind,
        str(RATE),
        str(SECONDS),
    )
    return process.wait_for(r"sent (\d+)", deadline=SECONDS + 30)[1]


@pytest.mark.parametrize("kind", ["rtp", "rtcp"])
def test_a_flood_at_one_port(server: Server, network: Network, kind: str) -> None:
    attacked, *others = calls_of(server, network, 1 + OTHERS)
    streams: list[Stream] = [stream for call in (attacked, *others) for stream in (call.says, call.hears)]
    attacker = network.public_host("attacker", 66)
    assert attacked.says.remote is not None
    host, port = attacked.says.remote
    with playing(streams):
        eventually("settled calls", lambda: settled(server), 15.0, 0.3)
        time.sleep(2.5)
        begin = {id(call): (call.says.number, call.hears.number) for call in (attacked, *others)}
        spent = cpu(server)
        sent = int(flood(network, attacker, (host, port + (kind == "rtcp")), kind))
        spent = cpu(server) - spent
    time.sleep(0.5)
    lost, of = lost_by(attacked, begin[id(attacked)])
    beside = [lost_by(call, begin[id(call)]) for call in others]
    lost_beside, of_beside = sum(one for one, _ in beside), sum(one for _, one in beside)
    print(f"{kind}: {sent / SECONDS:.0f} packets/s; {100 * spent / SECONDS:.1f} % of a CPU")
    print(f"lost {lost} of {of} and {lost_beside} of {of_beside} beside it")
    assert sent > 0.5 * RATE * SECONDS
    assert of > 1000
    assert lost <= 0.01 * of
    assert lost_beside <= 0.001 * of_beside
    for call in (attacked, *others):
        call.hang_up()


def test_a_flood_that_is_there_before_the_phones_speak(server: Server, network: Network) -> None:
    """Nobody is settled yet: every stranger is looked at, and the call is heard all the same."""
    (call,) = calls_of(server, network, 1)
    attacker = network.public_host("attacker", 66)
    assert call.says.remote is not None
    host, port = call.says.remote
    words = (sys.executable, FLOOD, host, str(port), "rtp", str(RATE), str(SECONDS))
    process = network.start(attacker, "flood-early", *words)
    eventually("the flood", lambda: server.statistic("rtp:rtp_src_mismatch") > RATE / 4, 10.0, 0.2)
    begin = call.says.number, call.hears.number
    with playing([call.says, call.hears]):
        eventually("a settled call", lambda: settled(server), 10.0, 0.3)
        process.wait_for(r"sent (\d+)", deadline=SECONDS + 30)
    time.sleep(0.5)
    lost, of = lost_by(call, begin)
    looked = server.statistic("rtp:rtp_src_mismatch")
    print(f"lost {lost} of {of}; {looked} strangers' packets were looked at")
    assert of > 300
    assert lost <= 0.01 * of
    call.hang_up()


def test_a_call_is_made_during_a_flood_of_the_whole_range(server: Server, network: Network) -> None:
    """Two machines spray every port there is: a call is set up, settles and loses nothing."""
    alice = Agent(network.public_host("callers", 10), "alice", server.add_user("alice"))
    bob = Agent(network.public_host("callees", 20), "bob", server.add_user("bob"))
    assert bob.register().status == 200
    for number in (66, 67):
        host = network.public_host(f"sprayer{number}", number)
        words = (sys.executable, FLOOD, "203.0.113.1", "0", "rtp", str(RATE / 4), str(SECONDS))
        network.start(host, f"spray-{number}", *words)
    call = open_call(alice, bob, alice.stream(440.0), bob.stream(1000.0))
    begin = call.says.number, call.hears.number
    with playing([call.says, call.hears]):
        time.sleep(8.0)
    time.sleep(0.3)
    lost, of = lost_by(call, begin)
    print(
        f"lost {lost} of {of}; {server.statistic('rtp:rtp_src_mismatch')} strangers' packets were looked at"
    )
    assert of > 700
    assert lost == 0
    assert settled(server)
    call.hang_up()


def test_what_leaves_is_what_came(server: Server, network: Network) -> None:
    """R24: 10,000 packets of which 5 % are lost, 5 % doubled and 5 % swapped on their way to us."""
    alice = Agent(network.public_host("callers", 10), "alice", server.add_user("alice"))
    bob = Agent(network.public_host("callees", 20), "bob", server.add_user("bob"))
    assert bob.register().status == 200
    call = open_call(alice, bob, alice.stream(440.0), bob.stream(1000.0))
    call.talk(2.0)
    assert call.says.remote is not None
    dice, order = random.Random(24), list(range(call.says.number, call.says.number + 10_000))
    order = [number for number in order if dice.random() > 0.05]
    order = [number for number in order for _ in range(1 + (dice.random() < 0.05))]
    for at in range(0, len(order) - 1, 2):
        if dice.random() < 0.05:
            order[at], order[at + 1] = order[at + 1], order[at]
    before = len(call.hears.numbers(call.says))
    due = time.monotonic()
    for number in order:
        packet = bytearray(media_flood.packet("rtp", number))
        packet[8:12] = call.says.ssrc.to_bytes(4, "big")
        call.says.socket.sendto(packet, call.says.remote)
        call.hears.drain()
        due += 0.001
        time.sleep(max(0.0, due - time.monotonic()))
    eventually("the last of them", lambda: _drained(call, before + len(order)), 5.0, 0.1)
    assert call.hears.numbers(call.says)[before:] == order
    call.hang_up()


def _drained(call: Call, count: int) -> bool:
    call.hears.drain()
    return len(call.hears.numbers(call.says)) >= count
