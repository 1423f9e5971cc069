"""The userspace path by itself: what it counts and forgets. What it forwards is in the packet table."""

from __future__ import annotations

from packet_table import RTP4
from relay_talk import rtp

from edgesip.relay.path import Counters, UserPath
from edgesip.relay.service import forward


def test_a_user_path_counts_by_rule_and_forgets_on_drop() -> None:
    path = UserPath()
    assert path.put(RTP4)
    for sequence in (7, 8):
        forward(path.entries[RTP4.local], rtp(sequence, ssrc=9), RTP4.remote, 1.0 + sequence)
    assert path.counters(RTP4.local) == Counters(2, 344, 9.0, 9, 8)
    assert path.put(RTP4)
    assert path.counters(RTP4.local) == Counters(0, 0, 0.0, 0, 0)
    assert path.drop(RTP4.local) == Counters(0, 0, 0.0, 0, 0)
    assert path.drop(RTP4.local) is None
    assert path.counters(RTP4.local) is None
    path.put(RTP4)
    path.close()
    assert path.entries == {}
