"""Bans and the relay: the streams of who is banned leave the path, its packets are refused, until it ends."""

from __future__ import annotations

import pytest
from kernel_twin import KernelTwin
from relay_talk import KEY, Talk

from edgesip.address import Addr, Flow
from edgesip.shunning import look
from edgesip.signal.guard.bans import Bans, BanSettings, Neighbours


def nobody(_: object) -> bool:
    return False


def bans() -> Bans:
    return Bans(BanSettings(failures=20), Neighbours(nobody, nobody, lambda user, source: False, nobody), [])


def settled(kernel: KernelTwin | None) -> Talk:
    talk = Talk(kernel=kernel)
    talk.connect()
    talk.caller.report()
    talk.callee.report()
    return talk


def test_a_ban_takes_the_flows_of_its_address_out_of_the_kernel_while_it_lasts() -> None:
    kernel, banned = KernelTwin(), bans()
    talk = settled(kernel)
    assert len(kernel.flows) == 4
    banned.add(talk.caller.media.host, "", 60.0, talk.now)
    look(banned, talk.core.packets, talk.now)
    assert {flow.rule.remote.host for flow in kernel.flows.values()} == {talk.callee.media.host}
    assert (talk.caller.speak(5), talk.caller.report()) == (0, 0)
    assert talk.core.counters["rtp:rtp_banned"] == 6
    assert talk.leg("caller")["because"] == "its address is banned"
    assert talk.callee.speak(5) == 5
    puts = len(kernel.puts)
    look(banned, talk.core.packets, talk.now + 30)
    assert len(kernel.puts) == puts
    talk.now += 61
    look(banned, talk.core.packets, talk.now)
    assert (len(kernel.flows), len(kernel.puts)) == (4, puts + 2)
    assert (talk.caller.speak(5), talk.caller.report()) == (5, 1)


@pytest.mark.parametrize("order", ["removed", "cleared"])
def test_in_userspace_too_and_by_order(order: str) -> None:
    talk, banned = settled(None), bans()
    banned.add(talk.callee.media.host, "", 600.0, talk.now)
    look(banned, talk.core.packets, talk.now)
    assert (talk.callee.speak(3), talk.caller.speak(3)) == (0, 3)
    assert talk.leg("callee")["carried_by"] == "slow"
    if order == "removed":
        banned.remove(talk.callee.media.host)
    else:
        banned.clear()
    look(banned, talk.core.packets, talk.now)
    assert talk.callee.speak(3) == 3
    assert talk.leg("callee")["carried_by"] == "user"


def test_a_ban_of_one_port_or_one_user_leaves_media_alone() -> None:
    talk, banned = settled(KernelTwin()), bans()
    banned.add(talk.caller.media.host, "mallory", 600.0, talk.now)
    flow = Flow("udp", Addr("192.0.2.1", 5060), talk.caller.sip)
    for _ in range(20):
        banned.score(flow, "", "not found", talk.now, narrow=True)
    assert len(banned) == 2
    look(banned, talk.core.packets, talk.now)
    assert talk.caller.speak(3) == 3


def test_whoever_is_banned_before_a_call_learns_no_port() -> None:
    talk, banned = Talk(), bans()
    banned.add(talk.caller.media.host, "", 600.0, talk.now)
    look(banned, talk.core.packets, talk.now)
    talk.connect()
    assert talk.leg("caller")["state"] == "prefilled"
    assert talk.leg("caller")["packets"] == 0


def test_a_banned_ipv6_source_is_its_network() -> None:
    talk = Talk(address=("192.0.2.1",))
    talk.connect()
    source = Addr("2001:db8:5::7", 4000)
    talk.core.packets.shun(frozenset(("2001:db8:5::/64",)))
    assert talk.caller.relay is not None
    talk.arrive(talk.caller.relay, b"\x80\0" + bytes(30), source)
    assert talk.core.counters["rtp:rtp_banned"] == 1


def test_a_phone_that_moves_away_from_a_banned_address_is_carried_again() -> None:
    kernel = KernelTwin()
    talk = settled(kernel)
    talk.core.packets.shun(frozenset((talk.caller.media.host,)))
    talk.caller.media = talk.caller.said = Addr("198.51.100.99", 4000)
    talk.caller.sip = Addr("198.51.100.99", 5062)
    talk.invite(tag="tag-b")
    talk.answer(tag="tag-b")
    for _ in range(3):
        talk.caller.speak()
    assert talk.leg("caller")["carried_by"] == "kernel"
    talk.core.close(KEY, "b1", talk.now)
    assert kernel.flows == {}
