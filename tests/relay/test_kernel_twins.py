"""One meaning in three forms, by one table and by chance: `rule.carry`, the flat function, the program."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator

import kernel_here
import pytest
from frames import PLAIN, Given, frame
from hypothesis import given, settings
from hypothesis import strategies as st
from packet_table import MTU, RTCP4, RTCP6, RTP4, RTP6, TABLE, Datagram, datagram, packet, sums
from relay_talk import rtcp, rtp

from edgesip.address import Addr
from edgesip.relay.kernel.abi import CACHED, NEIGHBOUR, KernelFlow
from edgesip.relay.kernel.program import Program
from edgesip.relay.path import Counters, UserPath
from edgesip.relay.rule import Packet, Rule, Verdict, carry
from edgesip.relay.service import forward
from edgesip.relay.track import Source

PASSED = {"tc": 0xFFFFFFFF, "xdp": 2}
GOES = {"tc": 7, "xdp": 4}  # TC_ACT_REDIRECT, XDP_REDIRECT
OURS, THEIRS = b"\x02edge\x01", b"\x02next\x02"


@pytest.fixture(scope="module")
def program() -> Iterator[Program]:
    loaded = kernel_here.load()
    loaded.open(1)
    yield loaded
    loaded.close()


@contextlib.contextmanager
def carried(program: Program, rule: Rule, mode: int = NEIGHBOUR) -> Iterator[None]:
    """While this lasts the kernel has the rule."""
    local, remote, via, to, is_rtcp, *_ = rule
    program.put(KernelFlow(local, remote, via, to, 1, mode, OURS, THEIRS, MTU, is_rtcp=is_rtcp))
    try:
        yield
    finally:
        program.drop(local, remote)


def changes(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    return {why: after[why] - before[why] for why in after if after[why] != before[why]}


@pytest.mark.parametrize("description", TABLE)
def test_the_meaning(description: str) -> None:
    one, arrived = TABLE[description], packet(TABLE[description])
    assert (None if arrived is None else carry(one.rule, arrived)) is one.verdict
    if one.out is not None:
        assert one.verdict is Verdict.FORWARD
        left = datagram(one.out)
        assert arrived is not None
        assert left is not None
        assert (left.source, left.target, left.data) == (one.rule.via, one.rule.to, arrived.data)


@pytest.mark.parametrize(
    "description", [name for name, one in TABLE.items() if not one.rule.is_rtcp and one.verdict is not None]
)
def test_the_flat_function(description: str) -> None:
    one, arrived = TABLE[description], packet(TABLE[description])
    path = UserPath()
    path.put(one.rule)
    assert arrived is not None
    taken = forward(path.entries[one.rule.local], arrived.data, arrived.source, 5.0)
    assert taken is (one.verdict is Verdict.FORWARD)
    expected = Counters(1, len(arrived.data), 5.0, 1, 1) if taken else Counters(0, 0, 0.0, 0, 0)
    assert path.counters(one.rule.local) == expected


@pytest.mark.parametrize(
    ("description", "hook"),
    [(name, hook) for hook in ("tc", "xdp") for name, one in TABLE.items() if hook == "tc" or not one.gso],
)
def test_the_kernel_program(program: Program, description: str, hook: str) -> None:
    one = TABLE[description]
    before = program.totals
    with carried(program, one.rule, NEIGHBOUR if hook == "tc" else CACHED):
        done = program.run(one.frame, 1, hook, gso=one.gso)
        counted = program.read(one.rule.local, one.rule.remote)
    assert counted is not None
    assert done.returned == (PASSED if one.out is None else GOES)[hook]
    wanted = one.frame if one.out is None else one.out
    assert done.frame == (wanted if hook == "tc" or one.out is None else THEIRS + OURS + wanted[12:])
    assert counted.packets == (one.out is not None)
    said = {one.why: 1} if one.why and (hook == "tc" or one.why in ("forwarded", "checksum")) else {}
    if one.verdict is Verdict.FORWARD and one.rule.is_rtcp and one.out is not None:
        arrived = packet(one)
        assert arrived is not None
        assert program.copies() == [(one.rule.local, arrived.data)]
    assert changes(before, program.totals) == said


RULES = (RTP4, RTP6, RTCP4, RTCP6)
BODIES = st.one_of(
    st.binary(max_size=40),
    st.builds(
        lambda first, kind, rest: bytes((first, kind)) + rest,
        st.sampled_from([0x80, 0x80, 0x90, 0xBF, 0x00, 0x40, 0xC0]),
        st.sampled_from([0, 8, 0x80, 101, 191, 192, 199, 200, 201, 207, 208, 223, 224, 255]),
        st.binary(min_size=6, max_size=60),
    ),
    st.sampled_from([rtp(1), rtp(0xFFFF, size=12), rtcp()]),
)
ODD = st.builds(
    Given,
    ttl=st.sampled_from([0, 1, 2, 64, 255]),
    tos=st.integers(0, 255),
    options=st.sampled_from([b"", b"", b"", b"\1\1\1\0"]),
    fragment=st.sampled_from([0x4000, 0x4000, 0, 0x2000, 1, 0x8000, 0xC000]),
    protocol=st.sampled_from([17, 17, 17, 17, 6, 0, 44]),
    length=st.one_of(st.none(), st.none(), st.none(), st.integers(0, 300)),
    udp_length=st.one_of(st.none(), st.none(), st.none(), st.integers(0, 300)),
    check=st.one_of(st.none(), st.integers(0, 0xFFFF), st.just(0)),
    trailer=st.one_of(st.just(b""), st.just(b""), st.binary(max_size=20)),
)


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(RULES),
    BODIES,
    st.one_of(st.just(PLAIN), ODD),
    st.sampled_from([0, 0, 0, 1]),
    st.sampled_from(["tc", "xdp"]),
)
def test_any_frame(program: Program, rule: Rule, data: bytes, odd: Given, port: int, hook: str) -> None:
    source = Addr(rule.remote.host, rule.remote.port + port)
    came = frame(source, rule.local, data, odd)
    with carried(program, rule, CACHED):
        done = program.run(came, 1, hook)
    arrived = datagram(came)
    fits = arrived is not None and is_plain(arrived, rule, hook, came)
    if arrived is None or not fits or carry(rule, Packet(arrived.source, arrived.data)) is Verdict.ASK:
        assert (done.returned, done.frame) == (PASSED[hook], came)
        return
    assert done.returned == GOES[hook]
    left = datagram(done.frame)
    assert left is not None
    assert left == arrived._replace(
        source=rule.via, target=rule.to, hops=arrived.hops - 1, check=left.check
    ), "only that is another"
    assert done.frame[:12] == THEIRS + OURS
    assert done.frame[15] == came[15], "the class of traffic stays"
    assert sums(done.frame) == sums(came), "as right or wrong as it was"
    program.copies()


def is_plain(arrived: Datagram, rule: Rule, hook: str, came: bytes) -> bool:
    """Nothing that the kernel program leaves to the stack whatever `carry` would say."""
    is_v6 = ":" in rule.local.host
    padded = arrived.spare == 0 or len(came) <= 64
    pseudo = struct.unpack("!H", came[(54 if is_v6 else 34) + 6 :][:2])[0] == pseudo_sum(came)
    return (
        arrived.hops > 1
        and arrived.packet <= MTU
        and padded
        and not (is_v6 and not arrived.check)
        and not (hook == "xdp" and pseudo)
    )


def pseudo_sum(came: bytes) -> int:
    """What the UDP checksum is as long as a card is to finish it."""
    first, at = (22, 54) if came[14] >> 4 == 6 else (26, 34)
    words: tuple[int, ...] = struct.unpack(f"!{(at - first) // 2}H", came[first:at])
    total = sum(words) + 17 + int.from_bytes(came[at + 4 : at + 6], "big")
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


STEPS = st.lists(
    st.one_of(
        st.just(1),
        st.just(1),
        st.integers(-60, 6),
        st.integers(60, 2999),
        st.sampled_from([5000, -300, 30000]),
    ),
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 0xFFFF), STEPS)
def test_sequence_numbers_mean_the_same(program: Program, first: int, steps: list[int]) -> None:
    source = Source(7, 0, 0, first, 0, 0.0, 0.0)
    wild = None
    with carried(program, RTP4):
        program.run(frame(RTP4.remote, RTP4.local, rtp(first, 7)))
        for step in steps:
            number = (source.highest + step) & 0xFFFF if wild is None or step != 1 else wild + 1 & 0xFFFF
            wild = number if abs(step) > 3000 or step < -100 else None
            source.sequence(number)
            program.run(frame(RTP4.remote, RTP4.local, rtp(number, 7)))
        counted = program.read(RTP4.local, RTP4.remote)
    assert counted is not None
    kernel = counted.sequence, counted.lost, counted.reordered, counted.duplicates
    assert kernel == (source.highest, source.lost, source.reordered, source.duplicates)
