"""The kernel program, frame by frame: nothing is sent, the kernel runs it for us."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import kernel_here
import pytest
from frames import PLAIN, frame
from relay_talk import rtp

from edgesip.address import Addr
from edgesip.relay.kernel import abi, elf
from edgesip.relay.kernel.abi import CACHED, NEIGHBOUR, KernelCounters, KernelFlow
from edgesip.relay.kernel.program import COPIES, OBJECT, KernelError, Program

BUILD = Path(__file__).parents[2] / "packaging" / "build-bpf.sh"
OURS, THEIRS = b"\x02edge\x01", b"\x02next\x02"
TC_REDIRECT = 7

FLOWS = {
    "v4": (
        Addr("192.0.2.1", 20000),
        Addr("198.51.100.10", 4000),
        Addr("192.0.2.2", 20002),
        Addr("203.0.113.20", 4200),
    ),
    "v6": (
        Addr("2001:db8::1", 20000),
        Addr("2001:db8:1::10", 4000),
        Addr("2001:db8::2", 20002),
        Addr("2001:db8:2::20", 4200),
    ),
}


@pytest.fixture(scope="module")
def program() -> Iterator[Program]:
    loaded = kernel_here.load(1000)
    loaded.open(1)
    yield loaded
    loaded.close()


def flow(family: str, mode: int = NEIGHBOUR) -> KernelFlow:
    return KernelFlow(*FLOWS[family], ifindex=1, mode=mode, source_mac=OURS, target_mac=THEIRS, rate=8000)


def test_the_object_is_the_sources(tmp_path: Path) -> None:
    try:
        subprocess.run(["clang-14", "--version"], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("clang-14 is not installed")
    subprocess.run([BUILD, tmp_path / "again.o"], check=True)
    assert (tmp_path / "again.o").read_bytes() == OBJECT.read_bytes()


@pytest.mark.parametrize("family", FLOWS)
@pytest.mark.parametrize(
    ("hook", "mode", "verdict"), [("tc", NEIGHBOUR, 7), ("tc", CACHED, 7), ("xdp", CACHED, 4)]
)
def test_rtp_leaves_by_the_other_leg(
    program: Program, family: str, hook: str, mode: int, verdict: int
) -> None:
    one = flow(family, mode)
    program.put(one)
    came = frame(one.remote, one.local, rtp(1))
    done = program.run(came, 1, hook)
    macs = THEIRS + OURS if mode == CACHED else bytes(12)
    assert done.returned == verdict
    assert done.frame == frame(one.via, one.to, rtp(1), PLAIN._replace(ttl=63, macs=macs))
    counted = program.drop(one.local, one.remote)
    assert counted is not None
    assert (counted.packets, counted.octets, counted.ssrc) == (1, 172, 1)
    assert program.run(came, 1, hook).frame == came


def speak(program: Program, one: KernelFlow, *packets: bytes) -> KernelCounters:
    """Have these carried, one after the other; what was counted."""
    for data in packets:
        assert program.run(frame(one.remote, one.local, data)).returned == TC_REDIRECT
    counted = program.read(one.local, one.remote)
    assert counted is not None
    return counted


def stamped(number: int, timestamp: int, payload_type: int = 0) -> bytes:
    return rtp(number, payload_type=payload_type)[:4] + timestamp.to_bytes(4, "big") + rtp(number)[8:]


def test_jitter_is_what_clock_and_timestamp_differ_by(program: Program) -> None:
    """Packets in a row at once whose timestamps are 100 ms apart: RFC 3550 A.8, each step a sixteenth."""
    one = flow("v4")
    program.put(one)
    wanted = 0.0
    for _ in range(20):
        wanted += (0.1 - wanted) / 16
    counted = speak(program, one, *(stamped(number, number * 800) for number in range(21)))
    assert counted.jitter == pytest.approx(wanted, abs=0.01)
    assert (counted.timestamp, counted.sequence, counted.packets) == (16000, 20, 21)
    leap = speak(program, one, stamped(21, 16000 + 80000))
    assert leap.jitter == counted.jitter, "a leap of ten seconds is none"
    other = speak(program, one, stamped(22, 96000, 8))
    assert (other.jitter, other.payload_type) == (counted.jitter, 8), "nor is another payload type"
    program.put(one._replace(rate=0))
    assert speak(program, one, *(stamped(number, number * 800) for number in range(9))).jitter == 0.0


def test_another_voice_begins_anew(program: Program) -> None:
    one = flow("v6")
    program.put(one)
    first = speak(program, one, rtp(1, 5), rtp(4, 5))
    assert (first.ssrc, first.lost, first.changes) == (5, 2, 0)
    second = speak(program, one, rtp(900, 6), rtp(901, 6))
    assert (second.ssrc, second.lost, second.changes, second.sequence) == (6, 2, 1, 901)
    assert second.packets == 4
    assert second.first_at == first.first_at < second.at


def test_the_sequence_goes_on_behind_its_end(program: Program) -> None:
    one = flow("v4")
    program.put(one)
    counted = speak(program, one, *(rtp(number) for number in (65534, 65535, 0, 1)))
    assert (counted.sequence, counted.lost) == (65537, 0)


def test_keys_are_shown_by_their_heads_and_count_as_no_audio(program: Program) -> None:
    one = flow("v6")._replace(events=101)
    program.put(one)
    key = stamped(2, 160, 101)
    counted = speak(program, one, stamped(1, 160), key, stamped(3, 320), stamped(4, 480, 101)[:12])
    assert program.copies() == [(one.local, key[:16])]
    assert program.copies() == []
    assert (counted.payload_type, counted.timestamp, counted.packets) == (0, 320, 4)


def test_rtcp_is_shown_whole_and_a_long_one_goes_up(program: Program) -> None:
    one = flow("v4")._replace(is_rtcp=True)
    program.put(one)
    reports = [
        struct.pack("!BBHI", 0x80, 200, size // 4 - 1, 7) + bytes(range(248)) * 3 for size in (52, 512)
    ]
    short, longest = (report[:size] for report, size in zip(reports, (52, 512), strict=True))
    counted = speak(program, one, short, longest)
    assert program.copies() == [(one.local, short), (one.local, longest)]
    assert (counted.packets, counted.octets, counted.payload_type) == (2, 564, 0)
    too_long = frame(one.remote, one.local, longest + bytes(4))
    assert program.run(too_long).frame == too_long
    assert program.copies() == []


def test_more_copies_than_there_is_room_for_are_counted_and_the_rest_stays_whole(program: Program) -> None:
    one = flow("v4")._replace(is_rtcp=True)
    program.put(one)
    before = program.totals["uncopied"]
    report = struct.pack("!BBHI", 0x80, 201, 1, 7)
    sent = COPIES // 500
    for _ in range(sent):
        program.run(frame(one.remote, one.local, report))
    copies = program.copies()
    assert copies == [(one.local, report)] * len(copies)
    assert len(copies) > 1000
    assert program.totals["uncopied"] - before == sent - len(copies)
    speak(program, one, report)
    assert program.copies() == [(one.local, report)]


def test_all_flows_are_read_at_once(program: Program) -> None:
    flows = [
        flow(family)._replace(local=FLOWS[family][0]._replace(port=port))
        for family in FLOWS
        for port in range(700)
    ]
    for one in flows:
        program.put(one)
    speak(program, flows[900], rtp(1))
    rows = program.read_all()
    wanted = {abi.key(one.local, one.remote).ljust(36, b"\0") for one in flows}
    assert {bytes(key) for key in rows["key"]} >= wanted
    spoke = {bytes(row["key"]) for row in rows if row["counters"]["packets"] == 1}
    assert abi.key(flows[900].local, flows[900].remote).ljust(36, b"\0") in spoke
    assert {(one.local, one.remote) for one in flows} <= set(program.keys())
    for one in flows:
        assert program.drop(one.local, one.remote) is not None
        assert program.drop(one.local, one.remote) is None


def test_a_full_map_says_so() -> None:
    small = kernel_here.load(2)
    for port in (20000, 20002):
        small.put(flow("v4")._replace(local=Addr("192.0.2.1", port)))
    with pytest.raises(KernelError, match="no room for another flow"):
        small.put(flow("v4")._replace(local=Addr("192.0.2.1", 20004)))
    small.put(flow("v6"))
    small.close()


def test_an_object_of_other_structs_is_refused(tmp_path: Path) -> None:
    layout = elf.read(OBJECT.read_bytes())["layout"].text
    abi.check(layout)
    with pytest.raises(abi.AbiError, match="build it again"):
        abi.check(layout[:8] + b"\0\0\0\0" + layout[12:])


@pytest.mark.parametrize("size", [0, 10, 64, 5000])
def test_what_is_no_object_is_refused(size: int) -> None:
    with pytest.raises(elf.ElfError):
        elf.read(OBJECT.read_bytes()[:size])


def test_the_object_has_nothing_of_where_it_was_built() -> None:
    assert b"\0relay.bpf.c\0" in OBJECT.read_bytes()
    assert b"/relay" not in OBJECT.read_bytes()


def test_what_is_no_interface_is_refused_with_a_sentence(program: Program) -> None:
    with pytest.raises(KernelError, match="there is no interface 999999"):
        program.attach(999999)
    assert program.attached == frozenset()
