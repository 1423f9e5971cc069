"""The kernel path over a kernel that is a dict: which flow becomes of a rule, and when it is another."""

from __future__ import annotations

import pytest
from program_twin import ETH1, LO, MINE, NONE, THEIRS, TwinProgram, TwinWays, hop

from edgesip.address import Addr
from edgesip.relay.kernel.abi import CACHED, NEIGHBOUR, KernelFlow
from edgesip.relay.kernel.path import SLICE, KernelPath
from edgesip.relay.path import Figures, UserPath
from edgesip.relay.paths import Paths
from edgesip.relay.rule import Rule

ALICE, BOB = Addr("198.51.100.10", 4000), Addr("198.51.100.20", 5000)
TO_ALICE, TO_BOB = Addr("203.0.113.1", 16384), Addr("203.0.113.1", 16386)
RULE = Rule(TO_ALICE, ALICE, TO_BOB, BOB, rate=8000, events=101)
COUNTED = NONE._replace(packets=100, octets=17200, first_at=5.0, at=7.0, ssrc=9, sequence=65536 + 120)
COUNTED = COUNTED._replace(timestamp=16000, payload_type=8, lost=3, reordered=1, jitter=0.002, changes=1)
COUNTED = COUNTED._replace(gap=2.5, gap_at=5.5, duplicates=4)
FIGURES = Figures(100, 17200, 7.0, 9, 120, 5.0, 16000, 8, 3, 1, 0.002, 1, 2.5, 8.0, 4)


class House:
    def __init__(
        self, program: TwinProgram | None = None, *, xdp: bool = False, cached: bool = False
    ) -> None:
        self.program = program or TwinProgram()
        self.ways = TwinWays()
        self.path = KernelPath(self.program, self.ways, xdp=xdp, cached=cached)

    def flow(self, rule: Rule = RULE) -> KernelFlow:
        return self.program.flows[rule.local, rule.remote]


def test_a_rule_becomes_a_flow_by_the_way_that_its_packets_take() -> None:
    house = House()
    assert house.path.put(RULE)
    assert house.flow() == KernelFlow(
        TO_ALICE,
        ALICE,
        TO_BOB,
        BOB,
        2,
        NEIGHBOUR,
        bytes(6),
        bytes(6),
        1500,
        8000,
        101,
        False,
        "203.0.113.254",
    )
    assert house.program.hooks == {2: "tc"}
    assert house.path.hooks == {"eth0": "tc"}
    assert house.path.carrier(TO_ALICE) == "kernel"
    assert house.path.because(TO_ALICE) == ""
    assert house.path.carrier(TO_BOB) == ""


def test_rtcp_is_carried_like_rtp() -> None:
    house = House()
    rule = RULE._replace(is_rtcp=True, rate=0, events=-1)
    assert house.path.put(rule)
    assert house.flow(rule).is_rtcp


def test_the_program_is_where_the_address_is_and_where_its_packets_come_from() -> None:
    house = House()
    house.ways.hosts["203.0.113.1"] = 1  # an address of lo that routes lead to
    assert house.path.put(RULE)
    assert house.program.hooks == {1: "tc", 2: "tc"}


def test_a_way_to_this_host_itself_has_no_neighbour() -> None:
    house = House(cached=True)
    house.ways.change(**{"198_51_100_20": hop(LO, "")})
    assert house.path.put(RULE)
    assert (house.flow().ifindex, house.flow().mode, house.flow().next_hop) == (1, NEIGHBOUR, "")


def test_all_of_127_is_of_this_host() -> None:
    house = House()
    local, far = Addr("127.0.0.9", 16384), Addr("127.0.0.1", 4000)
    house.ways.change(**{"127_0_0_1": hop(LO, "")})
    assert house.path.put(Rule(local, far, local, far))
    assert house.program.hooks == {1: "tc"}


def test_a_gateway_of_the_other_family_is_left_to_the_kernel() -> None:
    house = House()
    house.ways.change(**{"198_51_100_20": hop(neighbour="fe80::1")})
    assert house.path.put(RULE)
    assert house.flow().next_hop == ""


def test_a_mac_address_is_written_down_when_it_is_known() -> None:
    house = House(cached=True)
    assert house.path.put(RULE)
    assert house.flow().mode == NEIGHBOUR
    house.ways.change(**{"198_51_100_20": hop(mac=THEIRS)})
    assert house.path.stale() == [TO_ALICE]
    house.path.drop(TO_ALICE)
    assert house.path.put(RULE)
    flow = house.flow()
    assert (flow.mode, flow.source_mac, flow.target_mac) == (CACHED, MINE, THEIRS)


@pytest.mark.parametrize("target", ["198_51_100_10", "198_51_100_20"])
def test_without_a_way_in_or_out_the_rule_is_refused_with_the_sentence(target: str) -> None:
    house = House()
    house.ways.change(**{target: "no route to somewhere: Network is unreachable"})
    assert not house.path.put(RULE)
    assert house.path.because(TO_ALICE) == "no route to somewhere: Network is unreachable"
    assert house.path.carrier(TO_ALICE) == ""
    assert not house.program.flows


def test_a_stream_that_changes_its_family_is_left_to_the_slow_path() -> None:
    house = House()
    paths = Paths(house.path, UserPath())
    rule = RULE._replace(via=Addr("2001:db8::1", 16386), to=Addr("2001:db8::20", 5000))
    assert paths.put(rule)
    assert house.program.flows == {}
    assert paths.carrier(TO_ALICE) == "user"
    assert paths.because(TO_ALICE).startswith("its two ends speak IPv4 and IPv6")


def test_an_address_that_is_not_ours_carries_nothing() -> None:
    house = House()
    del house.ways.hosts["203.0.113.1"]
    assert not house.path.put(RULE)
    assert house.path.because(TO_ALICE) == "203.0.113.1 is no address of this host"


def test_where_the_program_cannot_be_the_rule_is_refused_and_it_is_asked_once() -> None:
    house = House(TwinProgram({(2, "tc"): "tc at eth0: Operation not permitted"}))
    assert house.path.prepare("203.0.113.1") == "tc at eth0: Operation not permitted"
    house.program.unfit.clear()
    assert not house.path.put(RULE)
    house.ways.change()
    assert house.path.stale() == [TO_ALICE], "another link may be fit"


def test_a_full_kernel_refuses_and_the_slow_path_takes_it() -> None:
    house = House(TwinProgram(room=0))
    paths = Paths(house.path, UserPath())
    assert paths.put(RULE)
    assert paths.carrier(TO_ALICE) == "user"
    assert paths.because(TO_ALICE) == "the kernel has no room for another flow"
    paths.drop(TO_ALICE)
    assert house.path.because(TO_ALICE) == ""


def test_another_remote_replaces_the_one_before() -> None:
    house = House()
    assert house.path.put(RULE)
    moved = RULE._replace(remote=Addr(ALICE.host, 4444))
    assert house.path.put(moved)
    assert list(house.program.flows) == [(TO_ALICE, moved.remote)]


def test_a_refused_rule_leaves_none_of_the_one_before() -> None:
    house = House()
    assert house.path.put(RULE)
    house.ways.ways["198.51.100.99"] = "no route to 198.51.100.99"
    assert not house.path.put(RULE._replace(to=Addr("198.51.100.99", 1)))
    assert not house.program.flows


def test_what_was_counted_is_told_at_once_and_by_the_sweep() -> None:
    house = House()
    house.path.put(RULE)
    house.path.put(RULE._replace(local=TO_BOB, remote=BOB, is_rtcp=True))
    assert house.path.figures(TO_ALICE) is None, "nobody has looked yet"
    house.program.counted[TO_ALICE, ALICE] = COUNTED
    house.program.counted[TO_BOB, BOB] = NONE._replace(packets=4, octets=100, at=6.0)
    assert house.path.counters(TO_ALICE) == FIGURES
    house.path.sweep()
    assert house.path.figures(TO_ALICE) == FIGURES
    reports = house.path.figures(TO_BOB)
    assert reports is not None
    assert (reports.packets, reports.payload_type) == (4, -1)
    assert house.path.totals() == (100, 17200)
    assert house.path.drop(TO_ALICE) == FIGURES
    assert house.path.figures(TO_ALICE) is None
    assert house.path.totals() == (0, 0), "who dropped it counts that now"
    house.path.put(RULE)
    assert house.path.figures(TO_ALICE) is None, "those were of the rule before"


def test_copies_are_those_of_the_program() -> None:
    house = House()
    house.program.told.append((TO_ALICE, b"\x80\xc8"))
    assert house.path.copies() == [(TO_ALICE, b"\x80\xc8")]


def test_a_route_that_leads_elsewhere_makes_its_rules_stale_and_no_others() -> None:
    house = House()
    house.path.put(RULE)
    house.path.put(RULE._replace(local=TO_BOB, remote=BOB, to=ALICE))
    assert house.path.stale() == []
    house.ways.change()
    assert house.path.stale() == [], "asked again, and the same"
    house.ways.change(**{"198_51_100_20": hop(ETH1, "192.0.2.254")})
    assert house.path.stale() == [TO_ALICE]
    assert house.path.stale() == [], "told once"


def test_a_lost_route_makes_stale_and_so_does_its_return() -> None:
    house = House()
    paths = Paths(house.path, UserPath())
    paths.put(RULE)
    house.ways.change(**{"198_51_100_20": "no route to 198.51.100.20"})
    assert paths.stale() == [TO_ALICE]
    paths.drop(TO_ALICE)
    paths.put(RULE)
    assert paths.carrier(TO_ALICE) == "user"
    house.ways.change(**{"198_51_100_20": hop()})
    assert paths.stale() == [TO_ALICE]
    paths.drop(TO_ALICE)
    paths.put(RULE)
    assert paths.carrier(TO_ALICE) == "kernel"


def test_many_rules_are_asked_about_a_part_at_a_time() -> None:
    house = House(TwinProgram(room=10_000))
    many = 2 * SLICE
    for number in range(many):
        local, remote = (
            Addr("203.0.113.1", 20000 + number),
            Addr(f"10.0.{number // 250}.{number % 250}", 4000),
        )
        house.path.put(Rule(local, remote, local, remote))
    house.ways.change()
    assert house.path.stale() == []
    assert house.path.pending
    assert house.path.stale() == []
    assert not house.path.pending


def test_an_interface_that_is_gone_is_let_go() -> None:
    house = House()
    house.path.put(RULE)
    del house.ways.links[2]
    house.ways.change(**{"198_51_100_10": "no route", "198_51_100_20": "no route"})
    assert house.path.stale() == [TO_ALICE]
    assert house.program.hooks == {}
    assert house.path.hooks == {}


def test_with_xdp_mac_addresses_are_written_down() -> None:
    house = House(xdp=True)
    house.ways.change(**{"198_51_100_20": hop(mac=THEIRS)})
    assert house.path.put(RULE)
    assert house.flow().mode == CACHED
    assert house.path.hooks == {"eth0": "xdp"}


def test_an_interface_without_xdp_is_taken_at_tc() -> None:
    house = House(TwinProgram({(2, "xdp"): "xdp at eth0: Operation not supported"}), xdp=True)
    assert house.path.put(RULE)
    assert house.path.hooks == {"eth0": "tc"}


def test_flows_of_a_former_process_go_on_counting_when_they_are_put_again() -> None:
    before = House()
    before.path.put(RULE)
    before.program.counted[TO_ALICE, ALICE] = COUNTED
    before.program.crash()
    after = House(before.program)
    after.path.put(RULE)
    assert after.path.counters(TO_ALICE) == FIGURES
    after.path.put(RULE)
    assert after.path.counters(TO_ALICE) != FIGURES, "what it has put itself begins anew"


def test_flows_of_a_former_process_may_lead_elsewhere_and_others_are_forgotten() -> None:
    before = House()
    before.path.put(RULE)
    before.program.counted[TO_ALICE, ALICE] = COUNTED
    before.path.put(RULE._replace(local=TO_BOB, remote=BOB))
    before.program.crash()
    after = House(before.program)
    after.ways.change(**{"198_51_100_20": hop(ETH1, "192.0.2.254")})
    after.path.put(RULE)
    assert after.flow().ifindex == 3
    assert after.path.counters(TO_ALICE) == FIGURES
    assert after.path.forget_others() == 1
    assert list(after.program.flows) == [(TO_ALICE, ALICE)]
    assert after.path.forget_others() == 0


def test_the_end_leaves_nothing() -> None:
    house = House()
    house.path.put(RULE)
    house.path.close()
    assert house.program.removed
    assert house.ways.closed
