"""Times what it costs that calls outlive the process: `kept.py COUNT FILE`, JSON on stdout: us a call.

COUNT calls with audio both ways, their dialogs and media written to FILE as the server writes them; then read
by another core, as a start does. CPU time, no sockets.
"""

from __future__ import annotations

import gc
import json
import os
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgesip.address import Addr, Flow
from edgesip.relay.core import RelayCore, Settings
from edgesip.relay.path import UserPath
from edgesip.resuming import REFRESH, SLICE, Diary, Rooms, resume
from edgesip.signal.dialog.state import Dialog, Leg, On
from edgesip.signal.dialog.table import Dialogs, DialogSettings
from edgesip.signal.wire.headers import Headers
from edgesip.signal.wire.message import Request
from edgesip.store.sqlite import SqliteStore

HERE = "192.0.2.1"
SDP = (
    "v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0 8 9 101\r\n"
    "a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:9 G722/8000\r\n"
    "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n"
)
WALL = 1_700_000_000.0


class House:
    """A core, its dialogs, and calls through both."""

    def __init__(self, count: int) -> None:
        settings = Settings(True, (HERE,), (), 1024, 65535, 60.0, 2 * count)
        self.core = RelayCore(
            settings, bind=lambda _: True, unbind=lambda _: None, path=UserPath(), entropy=os.urandom
        )
        self.dialogs = Dialogs(DialogSettings())
        self.rooms = Rooms(self.dialogs, self.core)
        self.calls: list[Dialog] = []

    def answered(self, number: int, now: float) -> None:
        """A call up to its ACK."""
        alice = Flow("udp", Addr(HERE, 5060), Addr("198.51.100.2", 5062))
        bob = Flow("udp", Addr(HERE, 5060), Addr("198.51.100.3", 5062))
        call_id = f"{number:08x}-4f2a-11ef@10.0.0.2"
        fields = (
            ("From", f'"alice" <sip:alice@{HERE}>;tag={number:08x}a'),
            ("To", f"<sip:bob@{HERE}>"),
            ("Call-ID", call_id),
            ("CSeq", "1 INVITE"),
            ("Contact", "<sip:alice@10.0.0.2:5070>"),
        )
        invite = Request("INVITE", f"sip:bob@{HERE}", Headers(fields), b"")
        dialog = self.dialogs.create(invite, alice, now, True, "uloc-1")
        key, port = dialog.media_key, 20000 + 2 * (number % 20000)
        offer = SDP.format(host=alice.remote.host, port=port).encode()
        self.core.offer(key, "z9hG4bK1.0", "", "caller", offer, alice, bob, now)
        leg = Leg(f"<sip:bob@{HERE}>;tag={number:08x}b", f"{number:08x}b", "sip:bob@10.0.0.3:5070", flow=bob)
        answer = SDP.format(host=bob.remote.host, port=port).encode()
        self.core.answer(key, "z9hG4bK1.0", leg.tag, "callee", answer, bob, alice, True, now)
        self.dialogs.answered(dialog, leg, "z9hG4bK1.0", now)
        dialog.moved(On.ACK)
        self.calls.append(dialog)

    def settled(self, number: int, now: float) -> None:
        """Both phones speak."""
        session = self.core.session(self.calls[number].media_key)
        assert session is not None
        for _, _, line in session.lines():
            source = line.rtp.target
            assert source is not None
            local = Addr(line.pair.host, line.pair.rtp)
            for sequence in (1, 2):
                packet = struct.pack("!BBHII", 0x80, 0, sequence, 160 * sequence, number) + bytes(160)
                self.core.receive(local, packet, source, now + sequence / 50)

    def ended(self, number: int, now: float) -> None:
        """A BYE."""
        dialog = self.calls[number]
        self.dialogs.end(dialog, On.BYE, "BYE from caller", now)
        self.core.end(dialog.media_key, now)


def said(level: str, event: str, fields: dict[str, Any]) -> None:
    """Lines of the log go to stderr."""
    print(level, event, fields, file=sys.stderr)


def clocked(work: Callable[[], None], count: int) -> float:
    """CPU time of it for one call, microseconds."""
    begin = time.process_time()
    work()
    return (time.process_time() - begin) / count * 1e6


def main(count: int, path: Path) -> None:
    """The life of many calls, each step with its writes."""
    gc.set_threshold(5000, 1 << 30, 1 << 30)
    store = SqliteStore(path)
    house = House(count)
    diary = Diary(store, house.rooms, WALL, said)
    clock = [100.0]

    def write() -> None:
        clock[0] += 0.5
        while diary.turn(clock[0], SLICE) < 0.5:
            clock[0] += 0.001

    def refresh() -> None:
        until = clock[0] + REFRESH
        while clock[0] < until:
            write()

    took: dict[str, float] = {}
    for step, action in (("answered", house.answered), ("settled", house.settled)):
        for number in range(count):
            action(number, clock[0])
        took[f"a call is {step}: its rows"] = clocked(write, count)
    refresh()
    took["its counters, every 30 s"] = clocked(refresh, count)
    after = House(count)
    took["taken up at the start"] = clocked(
        lambda: void(resume(store, after.rooms, clock[0], WALL, said)), count
    )
    for number in range(count):
        house.ended(number, clock[0])
    took["it ends: its rows"] = clocked(write, count)
    store.close()
    names = ("a call is answered: its rows", "a call is settled: its rows", "it ends: its rows")
    took["a call in all"] = sum(took[name] for name in names)
    json.dump(took, sys.stdout)


def void(_: object) -> None:
    """For its side effect."""


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
