"""Any octets, at every place where octets come in: what `fuzz_targets` says of them holds."""

from __future__ import annotations

import pytest
from fuzz_seeds import WORDS, seeds
from fuzz_targets import TARGETS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

bounded = settings(
    max_examples=250, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
pieces = st.lists(st.sampled_from(WORDS) | st.binary(max_size=6), max_size=30).map(b"".join)


@st.composite
def mutated(draw: st.DrawFn, target: str) -> bytes:
    """A seed with a few cuts and insertions."""
    data = draw(st.sampled_from(seeds(target)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        cut = draw(st.integers(0, 8))
        data = data[:at] + draw(st.sampled_from(WORDS) | st.binary(max_size=4)) + data[at + cut :]
    return data


@pytest.mark.parametrize("target", TARGETS)
def test_the_seeds(target: str) -> None:
    found = seeds(target)
    assert found
    for data in found:
        TARGETS[target](data)


@pytest.mark.parametrize("target", TARGETS)
@bounded
@given(data=st.data())
def test_octets_pieces_and_mutations(target: str, data: st.DataObject) -> None:
    TARGETS[target](data.draw(mutated(target) | pieces | st.binary(max_size=200)))


@pytest.mark.parametrize("target", ["datagram", "stream"])
@bounded
@given(name=pieces, value=pieces)
def test_any_extra_header(target: str, name: bytes, value: bytes) -> None:
    TARGETS[target](
        b"\x0bOPTIONS sip:a@b.example SIP/2.0\r\nVia: SIP/2.0/UDP h.example;branch=z9hG4bKx\r\n"[
            target == "datagram" :
        ]
        + b"From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\n"
        + name
        + b": "
        + value
        + b"\r\nCall-ID: x\r\nCSeq: 1 OPTIONS\r\nContent-Length: 4\r\n\r\nbody"
    )
