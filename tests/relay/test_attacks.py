"""What attackers get of a call and get into it (threats 35, 36, 41, 43, M1): octets counted, both ways.

Twelve cases for either side: the attack begins before, during or after the set-up, from another host or
from a neighbour behind the phone's own NAT, by RTP or by RTCP, and never ends.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from relay_talk import RELAY, Phone, Talk, nat_call, rtcp, rtp

from edgesip.address import Addr

BAD = 0xBAD
REPORT_EVERY = 50  # packets: a report a second

WHERE = {
    "a third host": Addr("192.0.2.66", 5555),
    "a third host that guesses the port": Addr("192.0.2.66", 4000),
    "a neighbour behind the same NAT": Addr("198.51.100.10", 5555),
}


def is_bad(packet: bytes) -> bool:
    """Whether the attacker wrote it: by its SSRC, in RTP or in RTCP."""
    return BAD.to_bytes(4, "big") in (packet[4:8], packet[8:12])


@dataclass
class Attack:
    """A call and an attacker at the ports towards one of its phones; `victim` is behind the NAT."""

    talk: Talk
    victim: Phone
    other: Phone
    source: Addr
    kind: str
    number: int = 0

    def strike(self) -> None:
        """One packet of the attacker."""
        assert self.victim.relay is not None
        self.number += 1
        at = self.victim.relay
        if self.kind == "RTP":
            self.talk.arrive(at, rtp(self.number, BAD), self.source)
        else:
            self.talk.arrive(Addr(at.host, at.port + 1), rtcp(BAD), self.source)

    def play(self, seconds: float, *, speaking: bool = True, attacking: bool = True) -> None:
        """Both phones speak and report, or nobody does, and the attacker goes on all the while."""
        for turn in range(round(seconds * 50)):
            if speaking:
                self.victim.speak()
                self.other.speak()
                if turn % REPORT_EVERY == REPORT_EVERY // 2:
                    self.victim.report()
                    self.other.report()
            else:
                self.talk.wait(0.02)
            if attacking:
                self.strike()

    @property
    def bled(self) -> int:
        """Octets that left for the attacker."""
        return sum(len(data) for _, to, data in self.talk.sent if to == self.source)

    @property
    def injected(self) -> int:
        """Octets of the attacker's that left for anybody."""
        return sum(len(data) for _, _, data in self.talk.sent if is_bad(data))


def attacked(side: str, where: str, kind: str) -> Attack:
    """An unanswered call, the attacked phone behind a NAT: private SDP, a mapped port for its media."""
    talk = Talk()
    phone = talk.phone("198.51.100.10", 30123, said=Addr("192.168.1.10", 4000), ssrc=0xA)
    if side == "caller":
        talk.caller = talk.phones[0] = phone
    else:
        talk.callee = talk.phones[1] = phone
    talk.invite()
    other = talk.callee if side == "caller" else talk.caller
    # Nobody told the caller its port yet, but who sprays the range finds it.
    known = talk.callee.relay
    for pair in talk.binder.bound:
        if Addr(pair.host, pair.rtp) != known:
            talk.caller.relay = Addr(pair.host, pair.rtp)
    return Attack(talk, phone, other, WHERE[where], kind)


@pytest.mark.parametrize("side", ["caller", "callee"])
@pytest.mark.parametrize("kind", ["RTP", "RTCP"])
@pytest.mark.parametrize("when", ["before", "during", "after"])
@pytest.mark.parametrize("where", list(WHERE))
def test_nothing_bleeds_and_nothing_gets_in(side: str, when: str, where: str, kind: str) -> None:
    attack = attacked(side, where, kind)
    if when == "before":
        attack.play(1.0, speaking=False)
    attack.talk.answer()
    if when == "before" and "neighbour" not in where:
        attack.play(1.0, speaking=False)
    attack.play(0.04, attacking=when == "before")
    early = attack.injected if "neighbour" in where else 0  # until the phone's second packet
    attack.play(0.06, attacking=when == "before")
    if when == "after":
        attack.play(4.0, attacking=False)
    attack.play(4.0)
    own = attack.talk.leg(side)
    if "neighbour" in where and when == "before" and kind == "RTP":
        # His packets came first, from where the phone's own would come: stated below.
        assert own["contested"]
        return
    assert (attack.bled, attack.injected) == (0, early)
    assert (own["state"], own["remote"]) == ("locked", str(attack.victim.media))
    heard = [packet for packet in attack.victim.inbox if not is_bad(packet)]
    assert len(heard) >= 195, "the call went on"


def test_a_neighbour_who_speaks_before_the_phone_does_and_what_he_gets() -> None:
    """The bound of what the relay cannot tell apart: he is where the phone would be, and was first."""
    attack = attacked("caller", "a neighbour behind the same NAT", "RTP")
    attack.play(1.0, speaking=False)
    assert (attack.bled, attack.injected) == (0, 0), "nothing before the answer"
    attack.talk.answer()
    attack.other.speak(5)
    assert attack.bled == 0, "nothing before his own packets after the answer"
    attack.strike()
    attack.other.speak(5)
    assert attack.bled == 0, "nothing for one packet"
    attack.strike()
    attack.other.speak(5)
    assert attack.bled == 5 * 172
    attack.victim.speak()
    assert attack.talk.leg("caller")["contested"]
    attack.talk.invite(attack.victim.sdp(4002))  # hold and resume with another port, say
    attack.talk.answer()
    attack.victim.speak(2)
    attack.talk.wait(3.0)
    attack.victim.speak(10)
    before = attack.bled
    for _ in range(10):
        attack.victim.speak()
        attack.other.speak()
        attack.strike()
    assert attack.bled == before, "what is signalled anew is learned anew"


def test_reports_of_another_ssrc_than_the_phone_speaks_with_are_not_its_reports() -> None:
    attack = attacked("caller", "a neighbour behind the same NAT", "RTCP")
    attack.talk.answer()
    attack.play(4.0, attacking=False)
    for _ in range(20):
        attack.strike()
    assert attack.injected == 0
    assert attack.victim.report() == 1
    attack.other.report()
    assert attack.bled == 0


def test_spraying_the_whole_range_gets_nothing() -> None:
    talk = nat_call("locked")
    talk.caller.report(), talk.callee.report()
    sent = len(talk.sent)
    for source in (WHERE["a third host"], WHERE["a neighbour behind the same NAT"]):
        for port in range(20000, 21000):
            for sequence in range(3):
                talk.arrive(Addr(RELAY, port), rtp(sequence, 0xBAD), source)
                talk.arrive(Addr(RELAY, port), rtcp(0xBAD), source)
    assert len(talk.sent) == sent
    assert talk.core.counters["rtp:rtp_stray"] > 0


def test_a_neighbour_with_the_phones_ssrc_cannot_move_a_stream_that_lives() -> None:
    talk = nat_call("locked")
    for _ in range(200):
        talk.caller.speak()
        assert talk.caller.speak(source=WHERE["a neighbour behind the same NAT"]) == 0
    assert talk.leg("caller")["remote"] == str(talk.caller.media)


def test_a_nat_that_rebinds_is_followed_and_the_rule_with_it() -> None:
    talk = nat_call("locked")
    assert len(talk.path.entries) == 2
    talk.wait(2.5)
    talk.caller.media = Addr("198.51.100.10", 30999)
    assert talk.caller.speak(2) == 1
    assert talk.leg("caller")["remote"] == "198.51.100.10:30999"
    assert talk.core.counters["rtp:rtp_relatch"] == 1
    assert talk.path.entries[talk.callee.relay or Addr("", 0)].to == talk.caller.media
    assert (talk.caller.speak(), talk.callee.speak()) == (1, 1)


@pytest.mark.parametrize("where", ["caller", "callee"])
def test_the_relay_is_no_cannon(where: str) -> None:
    victim = "192.0.2.200"
    talk = Talk()
    crooked = talk.caller if where == "caller" else talk.callee
    other = talk.callee if where == "caller" else talk.caller
    crooked.said = Addr(victim, 9999)
    for turn in range(3):  # re-offers with other ports of the victim buy no more packets
        crooked.said = Addr(victim, 9999 + 10 * turn)
        talk.invite()
        talk.answer()
        other.speak(20)
        other.report()
    assert talk.packets_to(victim) == 3
    assert talk.core.counters["rtp:rtp_unproven"] > 0


def test_victims_without_end_get_no_more_than_sixteen_would() -> None:
    talk = Talk()
    for n in range(40):
        talk.caller.said = Addr(f"192.0.2.{100 + n}", 9999)
        talk.invite()
        talk.answer()
        talk.callee.speak(10)
    assert sum(talk.packets_to(f"192.0.2.{100 + n}") for n in range(40)) == 16 * 3


def test_a_gateway_whose_media_is_elsewhere_proves_itself_by_speaking() -> None:
    talk = Talk()
    talk.callee.media = talk.callee.said = Addr("203.0.113.77", 6000)
    talk.invite()
    talk.answer()
    assert talk.caller.speak(5) == 3
    talk.callee.speak(2)
    assert talk.caller.speak(5) == 5


def test_our_own_ports_are_never_a_target() -> None:
    talk = Talk()
    talk.caller.said = Addr(RELAY, 20500)
    talk.invite()
    talk.answer()
    talk.callee.speak(5)
    assert talk.packets_to(RELAY) == 0
