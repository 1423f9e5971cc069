"""What a settled stream's packets are worth: one table for the meaning and for every path that carries it."""

from __future__ import annotations

import pytest
from relay_talk import rtcp, rtp

from edgesip.address import Addr
from edgesip.relay.path import Counters, UserPath
from edgesip.relay.rule import Packet, Rule, Verdict, carry
from edgesip.relay.service import forward

PHONE = Addr("198.51.100.10", 4000)
RULE = Rule(Addr("192.0.2.1", 20000), PHONE, Addr("192.0.2.1", 20002), Addr("203.0.113.20", 4200))
FORWARD, ASK = Verdict.FORWARD, Verdict.ASK

PACKETS = {
    "G.711": (Packet(PHONE, rtp(1)), FORWARD),
    "a header alone": (Packet(PHONE, rtp(1, size=12)), FORWARD),
    "with the marker": (Packet(PHONE, rtp(1, payload_type=0x80)), FORWARD),
    "payload type 63 with the marker": (Packet(PHONE, rtp(1, payload_type=191)), FORWARD),
    "payload type 96 with the marker": (Packet(PHONE, rtp(1, payload_type=224)), FORWARD),
    "with padding, extension and sources": (Packet(PHONE, b"\xbf" + rtp(1)[1:]), FORWARD),
    "a large one": (Packet(PHONE, rtp(1, size=1472)), FORWARD),
    "another port": (Packet(Addr("198.51.100.10", 4001), rtp(1)), ASK),
    "another host": (Packet(Addr("198.51.100.11", 4000), rtp(1)), ASK),
    "eleven octets": (Packet(PHONE, rtp(1)[:11]), ASK),
    "nothing": (Packet(PHONE, b""), ASK),
    "version 1": (Packet(PHONE, b"\x40" + rtp(1)[1:]), ASK),
    "version 3": (Packet(PHONE, b"\xc0" + rtp(1)[1:]), ASK),
    "STUN": (Packet(PHONE, b"\0\1\0\0\x21\x12\xa4\x42" + bytes(12)), ASK),
    "DTLS": (Packet(PHONE, b"\x16\xfe\xfd" + bytes(20)), ASK),
    "RTCP": (Packet(PHONE, rtcp()), ASK),
    "the lowest RTCP type": (Packet(PHONE, rtp(1, payload_type=192)), ASK),
    "the highest RTCP type": (Packet(PHONE, rtp(1, payload_type=223)), ASK),
}


@pytest.mark.parametrize("name", list(PACKETS))
def test_the_meaning(name: str) -> None:
    packet, verdict = PACKETS[name]
    assert carry(RULE, packet) is verdict


@pytest.mark.parametrize("name", list(PACKETS))
def test_the_flat_function_means_the_same(name: str) -> None:
    (source, data), verdict = PACKETS[name]
    path = UserPath()
    path.put(RULE)
    taken = forward(path.entries[RULE.local], data, source, 5.0)
    assert taken is (verdict is FORWARD)
    expected = Counters(1, len(data), 5.0, 1, 1) if taken else Counters(0, 0, 0.0, 0, 0)
    assert path.counters(RULE.local) == expected


def test_a_user_path_counts_by_rule_and_forgets_on_drop() -> None:
    path = UserPath()
    assert path.put(RULE)
    for sequence in (7, 8):
        forward(path.entries[RULE.local], rtp(sequence, ssrc=9), PHONE, 1.0 + sequence)
    assert path.counters(RULE.local) == Counters(2, 344, 9.0, 9, 8)
    assert path.put(RULE)
    assert path.counters(RULE.local) == Counters(0, 0, 0.0, 0, 0)
    assert path.drop(RULE.local) == Counters(0, 0, 0.0, 0, 0)
    assert path.drop(RULE.local) is None
    assert path.counters(RULE.local) is None
    path.put(RULE)
    path.close()
    assert path.entries == {}
