"""The kernel program, frame by frame: nothing is sent, the kernel runs it for us."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from frames import PLAIN, frame
from relay_talk import rtp

from edgesip.address import Addr
from edgesip.relay.kernel.abi import CACHED, NEIGHBOUR, KernelFlow
from edgesip.relay.kernel.bpf import BpfError
from edgesip.relay.kernel.program import OBJECT, KernelError, Program

BUILD = Path(__file__).parents[2] / "packaging" / "build-bpf.sh"
OURS, THEIRS = b"\x02edge\x01", b"\x02next\x02"
PASS, TC_REDIRECT, XDP_PASS, XDP_TX = 0xFFFFFFFF, 7, 2, 3

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
    try:
        loaded = Program.load(1000)
    except KernelError as error:
        if isinstance(error.__cause__, BpfError) and error.__cause__.errno in (errno.EPERM, errno.ENOSYS):
            pytest.skip(str(error))
        raise
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
    ("hook", "mode", "verdict"), [("tc", NEIGHBOUR, 7), ("tc", CACHED, 7), ("xdp", CACHED, 3)]
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
