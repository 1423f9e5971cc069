"""Pings in the name of another server: their octets, whose name it is, and when they are sent."""

from __future__ import annotations

import socket
import struct
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesip import profile
from edgesip.address import Addr, Flow
from edgesip.doctor import host, probe
from edgesip.live import changed, taken
from edgesip.pinging import pings_of
from edgesip.places import ConfigError
from edgesip.profile import Profile
from edgesip.signal.location.usrloc import Binding, Usrloc
from edgesip.signal.nat.keepalive import Pinger, Settings
from edgesip.signal.nat.learning import Learning
from edgesip.signal.nat.learning import Settings as LearningSettings
from edgesip.signal.nat.ping import ZEROS
from edgesip.signal.nat.spoofed import RAW, along_path, checksum, datagram
from edgesip.signal.net.links import UdpLinks
from edgesip.spoofing import wishes

US, EDGE = Addr("203.0.113.1", 5060), Addr("192.0.2.50", 5060)
OTHER = Addr("203.0.113.200", 5070)
SPOOFED = Settings(sipping_bflag=-1, natping_socket=OTHER)
BY_PATH = Settings(sipping_bflag=-1, udpping_from_path=True)


def behind(number: int, path: str = f"<sip:{EDGE};lr>", received: str = "") -> Binding:
    """A contact that came through a proxy, which saw it at 198.51.100.NUMBER unless it says otherwise."""
    return Binding(
        aor=f"u{number}",
        contact=f"sip:u{number}@198.51.100.{number}:5062",
        expires=1e9,
        q=-1.0,
        call_id="c",
        cseq=1,
        received=received,
        flow=Flow("udp", US, EDGE),
        user_agent="",
        nated=True,
        instance="",
        reg_id=0,
        ruid=f"uloc-{number:016x}",
        path=path,
    )


def alone(number: int) -> Binding:
    """A contact without any proxy."""
    return replace(behind(number, ""), flow=Flow("udp", US, Addr(f"198.51.100.{number}", 40000)))


def pinger(settings: Settings, raw: bool = True, learns: bool = False) -> Pinger:
    serial = count(1)
    learning = Learning(LearningSettings(settings.interval, 120.0)) if learns else None
    pings = Pinger(settings, lambda size: next(serial).to_bytes(size, "big"), lambda local: local, learning)
    pings.raw = raw
    return pings


def sent(pings: Pinger, *bindings: Binding, seconds: float = 24.0) -> list[tuple[Flow, bytes]]:
    """Everything that leaves within this time."""
    usrloc, now = Usrloc(), 1000.0
    usrloc.load(bindings)
    found: list[tuple[Flow, bytes]] = []
    while now < 1000.0 + seconds:
        found += pings.due(usrloc, now)
        now = max(pings.deadline(now) or now, now + 0.001)
    return found


# -- octets ----------------------------------------------------------------------------------------------


def test_a_packet_to_the_octet() -> None:
    packet = datagram(Addr("192.0.2.1", 5060), Addr("198.51.100.7", 40000), ZEROS)
    assert packet.hex() == (
        "45000020" "00004000" "4011" "4e91" "c0000201" "c6336407" "13c4" "9c40" "000c" "6395" "00000000"
    )  # fmt: skip


@given(
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=4).map(str),
    st.integers(1, 65535),
    st.integers(1, 65535),
    st.binary(max_size=1400),
)
def test_whoever_reads_a_packet_finds_what_was_put_in_and_both_sums_right(
    here: str, there: str, sport: int, dport: int, data: bytes
) -> None:
    packet = datagram(Addr(here, sport), Addr(there, dport), data)
    assert packet[0] == 0x45
    assert int.from_bytes(packet[2:4], "big") == len(packet)
    assert packet[9] == socket.IPPROTO_UDP
    assert checksum(packet[:20]) == 0
    assert (socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20])) == (here, there)
    assert struct.unpack("!HHH", packet[20:26]) == (sport, dport, 8 + len(data))
    assert packet[26:28] != b"\0\0", "0 would mean that there is no sum"
    assert checksum(packet[12:20] + struct.pack("!HH", 17, 8 + len(data)) + packet[20:]) == 0
    assert packet[28:] == data


@pytest.mark.parametrize(
    ("source", "data"), [(Addr("2001:db8::1", 5060), ZEROS), (Addr("192.0.2.1", 5060), bytes(65508))]
)
def test_what_is_no_ipv4_datagram_is_refused(source: Addr, data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        datagram(source, Addr("198.51.100.7", 5060), data)


def test_an_odd_octet_counts_as_if_a_zero_followed() -> None:
    """RFC 1071 §4.1: the sum of 00-01 f2-03 f4-f5 f6-f7 is ddf2."""
    assert checksum(bytes.fromhex("0001f203f4f5f6f7")) == ~0xDDF2 & 0xFFFF
    assert checksum(b"\1") == checksum(b"\1\0")


# -- whose name, and where -------------------------------------------------------------------------------


def test_everybody_may_be_pinged_in_the_name_of_one_address() -> None:
    (found,) = sent(pinger(SPOOFED), alone(7))
    assert found == (Flow(RAW, OTHER, Addr("198.51.100.7", 40000)), ZEROS)


def test_by_path_it_comes_from_the_last_hop_and_goes_straight_to_the_phone() -> None:
    two = f"<sip:192.0.2.40;lr>,<sip:{EDGE};lr>"
    found = sent(pinger(BY_PATH), behind(7), behind(8, two), alone(9))
    assert {(flow.local, flow.remote, flow.transport) for flow, _ in found} == {
        (EDGE, Addr("198.51.100.7", 5062), RAW),
        (EDGE, Addr("198.51.100.8", 5062), RAW),
        (US, Addr("198.51.100.9", 40000), "udp"),
    }


@pytest.mark.parametrize(
    ("path", "received", "remote"),
    [
        ("<sip:192.0.2.50;lr>", "sip:198.51.100.99:4000", Addr("198.51.100.99", 4000)),
        ("<sip:192.0.2.50;lr>", "sip:192.0.2.50:5060", Addr("198.51.100.7", 5062)),
        ("<sip:192.0.2.50;lr>", "sip:198.51.100.99:4000;transport=tcp", Addr("198.51.100.7", 5062)),
        ("<sip:192.0.2.50;lr>", "sip:[2001:db8::7]:4000", Addr("198.51.100.7", 5062)),
        ("<sip:edge.example;lr>", "", None),
        ("<sip:192.0.2.50;transport=tcp;lr>", "", None),
        ("<sip:[2001:db8::50];lr>", "", None),
        ("<sip:224.0.0.1;lr>", "", None),
        ("<sip:192.0.2.50;lr>", "sip:10.0.0.1:5060", None),
        ("<sip:10.0.0.2;lr>", "sip:10.0.0.1:5060", Addr("10.0.0.1", 5060)),
        ("<sip:192", "", None),
        ("", "", None),
    ],
)
def test_where_the_phone_is_and_whom_it_knows(path: str, received: str, remote: Addr | None) -> None:
    flow = along_path(behind(7, path, received))
    assert (flow.remote if flow is not None else None) == remote


def test_where_that_is_not_known_the_ping_goes_the_usual_way() -> None:
    assert sent(pinger(BY_PATH), behind(7, "<sip:edge.example;lr>")) == [(Flow("udp", US, EDGE), ZEROS)]
    assert sent(pinger(replace(BY_PATH, ignore_path=True)), behind(7)) == [(Flow("udp", US, EDGE), ZEROS)]


@pytest.mark.parametrize("settings", [SPOOFED, BY_PATH])
def test_without_the_capability_pings_leave_by_our_own_address(settings: Settings) -> None:
    pings = pinger(settings, raw=False)
    assert [flow for flow, _ in sent(pings, behind(7))] == [Flow("udp", US, EDGE)]
    assert (pings.counters["nathelper:udp_pings"], pings.counters["nathelper:raw_pings"]) == (1, 0)


def test_requests_are_never_sent_in_the_name_of_others() -> None:
    asks = replace(SPOOFED, ping_nated_only=True, sipping_bflag=7)
    found = sent(pinger(asks), replace(alone(7), cflags=1 << 7), alone(8))
    assert {flow.remote.host: flow.transport for flow, _ in found} == {
        "198.51.100.7": "udp",
        "198.51.100.8": RAW,
    }


def test_ipv6_phones_are_pinged_as_ever() -> None:
    flow = Flow("udp", Addr("2001:db8::1", 5060), Addr("2001:db8::7", 5060))
    assert sent(pinger(SPOOFED), replace(alone(7), flow=flow)) == [(flow, ZEROS)]


# -- several behind one proxy ----------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [BY_PATH, Settings()])
def test_phones_behind_one_proxy_are_each_pinged_though_they_share_its_flow(settings: Settings) -> None:
    """Each has a NAT of its own: that one of them was pinged helps no other."""
    pings = pinger(settings, learns=True)
    found = sent(pings, behind(7), behind(8), behind(9), seconds=100.0)
    for number in (7, 8, 9):
        mine = [
            data for flow, data in found if str(number) in flow.remote.host[-1] or b"u%d@" % number in data
        ]
        assert 3 <= len(mine) <= 5, f"u{number}: {len(mine)}"


def test_lines_of_one_phone_still_share_one_ping() -> None:
    flow = alone(7).flow
    lines = [replace(alone(7), ruid=f"r{number}", aor=f"u{number}", flow=flow) for number in range(3)]
    found = sent(pinger(Settings(), learns=True), *lines, seconds=100.0)
    assert 3 <= len(found) <= 8


# -- sending ---------------------------------------------------------------------------------------------


class Twin:
    """A raw socket that only remembers."""

    def __init__(self, takes: bool = True) -> None:
        self.takes = takes
        self.sent: list[tuple[Flow, bytes]] = []
        self.closed = False

    def send(self, flow: Flow, data: bytes) -> bool:
        self.sent.append((flow, data))
        return self.takes

    def close(self) -> None:
        self.closed = True


def links() -> UdpLinks:
    return UdpLinks(lambda data, flow: False, lambda age: None, lambda data: None)


def test_such_a_flow_leaves_by_the_raw_socket_and_no_other_does() -> None:
    udp, twin = links(), Twin()
    udp.raw = twin
    raw, plain = Flow(RAW, OTHER, EDGE), Flow("udp", OTHER, EDGE)
    assert udp.send(raw, ZEROS)
    assert not udp.send(plain, ZEROS), "a listener that is gone is not made up for by forgery"
    assert twin.sent == [(raw, ZEROS)]
    udp.close(None)
    assert twin.closed


def test_what_the_raw_socket_does_not_take_is_lost_and_counted() -> None:
    udp = links()
    assert udp.send(Flow(RAW, OTHER, EDGE), ZEROS)
    udp.raw = Twin(takes=False)
    assert udp.send(Flow(RAW, OTHER, EDGE), ZEROS)
    assert udp.counters["core:send_errors"] == 2


# -- the profile, the start, the doctor ------------------------------------------------------------------


def loaded(tmp_path: Path, *wishes: str) -> Profile:
    return profile.load("nat-sbc", default_state_dir=tmp_path, sets=wishes)


def test_the_keys_reach_the_pinger(tmp_path: Path) -> None:
    found = loaded(
        tmp_path,
        "nathelper.sipping_bflag=-1",
        "nathelper.natping_socket=192.0.2.9",
        "nathelper.udpping_from_path=true",
    )
    settings = pings_of(found)
    assert (settings.natping_socket, settings.udpping_from_path) == (Addr("192.0.2.9", 5060), True)
    assert wishes(found) == ["nathelper.natping_socket", "nathelper.udpping_from_path"]
    assert wishes(loaded(tmp_path)) == []


@pytest.mark.parametrize(
    ("wish", "why"),
    [
        (("nathelper.natping_socket=192.0.2.9",), "pings of four octets"),
        (("nathelper.udpping_from_path=true",), "pings of four octets"),
        (("nathelper.sipping_bflag=-1", "nathelper.natping_socket=[2001:db8::1]:5060"), "ADDR:PORT of IPv4"),
        (("nathelper.sipping_bflag=-1", "nathelper.natping_socket=host.example"), "ADDR:PORT of IPv4"),
        (("nathelper.sipping_bflag=-1", "nathelper.natping_socket=224.0.0.1"), "ADDR:PORT of IPv4"),
    ],
)
def test_what_could_never_be_sent_is_refused(tmp_path: Path, wish: tuple[str, ...], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        loaded(tmp_path, *wish)


def test_a_reload_says_that_they_take_a_restart(tmp_path: Path) -> None:
    old = loaded(tmp_path)
    new = loaded(tmp_path, "nathelper.sipping_bflag=-1", "nathelper.udpping_from_path=true")
    assert set(changed(old, new)) >= {"nathelper.sipping_bflag", "nathelper.udpping_from_path"}
    assert changed(taken(old, new), new) == ["nathelper.udpping_from_path"]


def test_the_doctor_says_who_lacks_the_capability(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert host.raw_pings([], "whatever", "x") == []
    (good,) = host.raw_pings(["nathelper.natping_socket"], "", "the running server")
    (bad,) = host.raw_pings(["nathelper.natping_socket"], "CAP_NET_RAW is not granted", "the running server")
    assert (good.level, bad.level) == ("ok", "warn")
    assert "CAP_NET_RAW" in bad.do
    monkeypatch.setattr(probe, "PROC", tmp_path)
    (tmp_path / "7").mkdir()
    for mask, trouble in (("0000000000002000", ""), ("0000000000001400", "CAP_NET_RAW is not granted")):
        (tmp_path / "7" / "status").write_text(f"Name:\tedgesip\nCapEff:\t{mask}\n")
        assert probe.raw_socket(7) == (trouble, "the running server")
