"""What the kernel path learns of routes, in namespaces whose routes, addresses and links change under it."""

from __future__ import annotations

import select
from collections.abc import Iterator

import pytest
from lab.needs import missing
from lab.netns import Namespace, owner_mark, remove_orphans

from edgesip.relay.kernel.routes import Hop, Routes

pytestmark = pytest.mark.wire

OUTSIDE = "198.51.100.7"


class Place:
    """A host with `eth0` (203.0.113.1/24) and `eth1` (192.0.2.1/24), both towards the same neighbour host."""

    def __init__(self, here: Namespace, there: Namespace) -> None:
        self.here = here
        self.there = there

    def ip(self, *commands: str) -> None:
        self.here.run("ip", "-batch", "-", stdin="\n".join(commands) + "\n")


@pytest.fixture
def place() -> Iterator[Place]:
    if missing():
        pytest.skip(missing() or "")
    remove_orphans()
    made = []
    try:
        for role in ("rhere", "rthere"):
            made.append(Namespace(role, f"{owner_mark()}-{role}"))
        here, there = made
        for number, (device, net) in enumerate((("eth0", "203.0.113"), ("eth1", "192.0.2"))):
            here.run(
                *("ip", "link", "add", device, "type", "veth"),
                *("peer", "name", device, "netns", there.full_name),
            )
            for space, last in ((here, 1), (there, 254)):
                space.run("ip", "addr", "add", f"{net}.{last}/24", "dev", device)
                space.run("ip", "addr", "add", f"2001:db8:{number}::{last}/64", "dev", device, "nodad")
                space.run("ip", "link", "set", device, "up")
        here.run("ip", "link", "set", "lo", "up")
        here.run("ip", "route", "add", "default", "via", "203.0.113.254")
        yield Place(here, there)
    finally:
        for space in made:
            space.remove()


@pytest.fixture
def routes(place: Place) -> Iterator[Routes]:
    with place.here.inside():
        found = Routes(macs=True)
    yield found
    found.close()


def told(routes: Routes) -> bool:
    """Whether something changed, once the kernel has said what there is to say."""
    changed = False
    while select.select([routes.fileno()], [], [], 0.3)[0]:
        changed |= routes.changed()
    return changed


def way(routes: Routes, source: str, target: str) -> Hop:
    found = routes.way(source, target)
    assert isinstance(found, Hop), found
    return found


def test_a_packet_leaves_by_the_route_and_to_the_gateway_or_the_neighbour_itself(routes: Routes) -> None:
    far = way(routes, "203.0.113.1", OUTSIDE)
    assert (far.interface, far.neighbour, far.mtu) == ("eth0", "203.0.113.254", 1500)
    near = way(routes, "192.0.2.1", "192.0.2.9")
    assert (near.interface, near.neighbour) == ("eth1", "192.0.2.9")
    six = way(routes, "2001:db8:1::1", "2001:db8:1::9")
    assert (six.interface, six.neighbour) == ("eth1", "2001:db8:1::9")
    assert way(routes, "203.0.113.1", "192.0.2.1").interface == "lo"
    assert way(routes, "::1", "::1").interface == "lo"
    assert routes.holder("203.0.113.1") == far.ifindex
    assert routes.holder("2001:db8:1::1") == six.ifindex
    assert routes.holder(OUTSIDE) == 0


def test_what_was_asked_once_is_not_asked_again(routes: Routes) -> None:
    first = routes.way("203.0.113.1", OUTSIDE)
    asked = routes.asked
    assert routes.way("203.0.113.1", OUTSIDE) is first
    assert routes.asked == asked


def test_where_no_route_leads_there_is_a_sentence(routes: Routes, place: Place) -> None:
    place.ip("route add blackhole 198.51.100.0/24", "route add unreachable 2001:db8:9::/64")
    assert "198.51.100.7" in str(routes.way("203.0.113.1", OUTSIDE))
    assert not isinstance(routes.way("2001:db8::1", "2001:db8:9::1"), Hop)
    assert not isinstance(routes.way("203.0.113.77", "192.0.2.9"), Hop)  # an address that is not ours


def test_a_tunnel_is_no_way(routes: Routes, place: Place) -> None:
    place.ip(
        "tuntap add dev tun9 mode tun",
        "addr add 10.9.0.1/24 dev tun9",
        "link set tun9 up",
    )
    told(routes)
    assert routes.way("10.9.0.1", "10.9.0.2") == "tun9, the interface towards 10.9.0.2, is no Ethernet"


def test_a_new_route_is_seen_and_others_are_left_alone(routes: Routes, place: Place) -> None:
    way(routes, "203.0.113.1", OUTSIDE)
    way(routes, "203.0.113.1", "198.18.0.1")
    place.ip(f"route add {OUTSIDE}/32 via 192.0.2.254")
    assert told(routes)
    assert not routes.knows("203.0.113.1", OUTSIDE)
    assert routes.knows("203.0.113.1", "198.18.0.1")
    found = way(routes, "203.0.113.1", OUTSIDE)
    assert (found.interface, found.neighbour) == ("eth1", "192.0.2.254")


def test_a_rule_may_change_any_route(routes: Routes, place: Place) -> None:
    way(routes, "203.0.113.1", OUTSIDE)
    place.ip("route add default via 192.0.2.254 table 77", "rule add from 203.0.113.1 lookup 77")
    assert told(routes)
    assert way(routes, "203.0.113.1", OUTSIDE).interface == "eth1"


def test_a_link_that_goes_down_takes_its_routes_along(routes: Routes, place: Place) -> None:
    way(routes, "203.0.113.1", OUTSIDE)
    way(routes, "192.0.2.1", "192.0.2.9")
    place.ip("link set eth0 down")
    assert told(routes)
    assert not routes.knows("203.0.113.1", OUTSIDE)
    assert routes.knows("192.0.2.1", "192.0.2.9")
    assert not isinstance(routes.way("203.0.113.1", OUTSIDE), Hop)
    place.ip("link set eth0 up", "route add default via 203.0.113.254")
    assert told(routes)
    assert way(routes, "203.0.113.1", OUTSIDE).interface == "eth0"


def test_another_mtu_is_seen(routes: Routes, place: Place) -> None:
    assert way(routes, "203.0.113.1", OUTSIDE).mtu == 1500
    place.ip("link set eth0 mtu 1400")
    assert told(routes)
    assert way(routes, "203.0.113.1", OUTSIDE).mtu == 1400
    place.ip("route add 198.51.100.0/24 via 203.0.113.254 mtu 1300")
    assert told(routes)
    assert way(routes, "203.0.113.1", OUTSIDE).mtu == 1300


def test_an_address_that_is_taken_away_is_not_ours_any_more(routes: Routes, place: Place) -> None:
    way(routes, "192.0.2.1", "192.0.2.9")
    place.ip("addr del 192.0.2.1/24 dev eth1")
    assert told(routes)
    assert routes.holder("192.0.2.1") == 0
    assert not isinstance(routes.way("192.0.2.1", "192.0.2.9"), Hop)
    place.ip("addr add 192.0.2.1/24 dev eth1")
    assert told(routes)
    assert routes.holder("192.0.2.1") == way(routes, "192.0.2.1", "192.0.2.9").ifindex


def test_a_neighbour_is_known_once_it_was_spoken_to_and_followed_when_it_moves(
    routes: Routes, place: Place
) -> None:
    assert way(routes, "203.0.113.1", OUTSIDE).target_mac == b""
    place.here.run("ip", "neigh", "replace", "203.0.113.254", "lladdr", "02:00:00:00:00:07", "dev", "eth0")
    assert told(routes)
    assert way(routes, "203.0.113.1", OUTSIDE).target_mac == bytes.fromhex("020000000007")
    place.here.run("ip", "neigh", "replace", "203.0.113.254", "lladdr", "02:00:00:00:00:08", "dev", "eth0")
    assert told(routes)
    assert way(routes, "203.0.113.1", OUTSIDE).target_mac == bytes.fromhex("020000000008")
    place.here.run("ip", "neigh", "del", "203.0.113.254", "dev", "eth0")
    assert told(routes)
    assert way(routes, "203.0.113.1", OUTSIDE).target_mac == b""


def test_without_macs_neighbours_disturb_nobody(place: Place) -> None:
    with place.here.inside():
        routes = Routes(macs=False)
    try:
        assert way(routes, "203.0.113.1", OUTSIDE).target_mac == b""
        place.here.run(
            "ip", "neigh", "replace", "203.0.113.254", "lladdr", "02:00:00:00:00:07", "dev", "eth0"
        )
        assert not told(routes)
    finally:
        routes.close()


def test_a_thousand_changes_at_once_are_one(routes: Routes, place: Place) -> None:
    way(routes, "203.0.113.1", OUTSIDE)
    way(routes, "192.0.2.1", "192.0.2.9")
    place.ip(*(f"route add 10.{number // 250}.{number % 250}.0/24 via 192.0.2.254" for number in range(1000)))
    assert told(routes)
    assert not routes.knows("203.0.113.1", OUTSIDE)
    assert way(routes, "203.0.113.1", "10.1.1.9").interface == "eth1"
