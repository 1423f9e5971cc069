"""Named interfaces, and calls between two of them, between two networks, and between IPv4 and IPv6."""

from __future__ import annotations

import json
import re

import pytest
from relay_talk import KEY, Phone, Talk, rtp, sdp

from edgesip.address import Addr, Flow
from edgesip.relay.core import Refusal
from edgesip.relay.interface import Interface
from edgesip.relay.session import Session

INSIDE = Interface("internal", ("10.0.0.1", "fd00::1"), (), 30000, 30099)
OUTSIDE = Interface("external", ("192.0.2.50", "2001:db8::50"), ("203.0.113.50",), 40000, 40099)
SERVER6 = "2001:db8::1"
BOTH = ("192.0.2.1", SERVER6)


def body(result: bytes | Refusal) -> bytes:
    assert isinstance(result, bytes)
    return result


def spoken(result: bytes | Refusal) -> tuple[str, int]:
    """Address and port that a description has media sent to."""
    found = re.search(rb"c=IN IP[46] (\S+)(?s:.*)m=audio (\d+)", body(result))
    assert found is not None
    return found[1].decode(), int(found[2])


class Bridge(Talk):
    """A call whose phones send to what they are told, wherever that is bound."""

    def __init__(
        self, *named: Interface, caller: str = "198.51.100.10", callee: str = "203.0.113.20"
    ) -> None:
        super().__init__(interfaces=named, hosts=BOTH)
        self.caller = Six(self, Addr(caller, 4000), Addr(caller, 5062), Addr(caller, 4000), 0xA)
        self.callee = Six(self, Addr(callee, 4200), Addr(callee, 5062), Addr(callee, 4200), 0xB)
        self.phones = [self.caller, self.callee]

    def up(self, flags: str | None = None) -> tuple[tuple[str, int], tuple[str, int]]:
        """What the callee and the caller are told; then both are heard by the other."""
        told = spoken(self.invite(flags=flags)), spoken(self.answer())
        for _ in range(3):
            assert self.caller.speak() == self.callee.speak() == 1
        assert (len(self.caller.inbox), len(self.callee.inbox)) == (3, 3)
        assert self.leased() == 4
        return told


class Six(Phone):
    """A phone whose SIP goes to the server's address of its own family."""

    @property
    def flow(self) -> Flow:
        return Flow("udp", Addr(BOTH[":" in self.sip.host], 5060), self.sip)

    def sdp(self, *ports: int, lines: object = (), fmts: str = "0 8 101") -> bytes:
        host = self.said.host
        return sdp(host, *(ports or (self.said.port,)), fmts=fmts).replace(
            b"IN IP4 " + host.encode(), (b"IN IP6 " if ":" in host else b"IN IP4 ") + host.encode()
        )


@pytest.mark.parametrize(
    ("flags", "toward_callee", "toward_caller"),
    [
        ("ie", "203.0.113.50", "10.0.0.1"),
        ("ei", "10.0.0.1", "203.0.113.50"),
        ("ii", "10.0.0.1", "10.0.0.1"),
        ("ee", "203.0.113.50", "203.0.113.50"),
        ("from-interface=internal", "192.0.2.1", "10.0.0.1"),
        ("to-interface=internal", "10.0.0.1", "192.0.2.1"),
        (None, "192.0.2.1", "192.0.2.1"),
    ],
)
def test_each_side_is_told_its_interface(flags: str | None, toward_callee: str, toward_caller: str) -> None:
    talk = Bridge(INSIDE, OUTSIDE)
    callee, caller = talk.up(flags)
    assert (callee[0], caller[0]) == (toward_callee, toward_caller)
    ranges = {"10.0.0.1": range(30000, 30100), "203.0.113.50": range(40000, 40100)}
    for host, port in (callee, caller):
        assert port in ranges.get(host, range(20000, 21000))


def test_the_callee_calls_back_and_the_sides_stay_where_they_are() -> None:
    talk = Bridge(INSIDE, OUTSIDE)
    told = talk.up("ie")
    again = spoken(talk.invite(side="callee", flags="ie")), spoken(talk.answer(side="caller"))
    assert again == (told[1], told[0]), "a contradiction is not heard"


def test_interfaces_with_one_range_share_its_pool() -> None:
    same = Interface("same", ("192.0.2.1",), (), 20000, 20003)
    talk = Talk(low=20000, high=20003, interfaces=(same,), hosts=("192.0.2.1",))
    assert talk.core.ports(talk.now)["total"] == 4
    assert isinstance(talk.invite(flags="from-interface=same"), bytes)
    assert talk.core.ports(talk.now) == {"total": 4, "leased": 4, "resting": 0, "free": 0}
    refused = talk.invite(key=("call-2", "tag-c"), flags="to-interface=same")
    assert isinstance(refused, Refusal)
    assert refused.status == 503


def test_an_interface_without_an_address_of_the_family_is_refused() -> None:
    four = Interface("four", ("192.0.2.60",), (), 20000, 20999)
    talk = Bridge(four)
    refused = talk.invite(flags="to-interface=four address-family=IP6")
    assert refused == Refusal(488, "No media address of this family", None)
    assert talk.leased() == 0
    assert talk.core.counters["rtp:rtp_refused"] == 1


def test_a_name_that_is_gone_is_refused() -> None:
    assert isinstance(Bridge().invite(flags="to-interface=gone"), Refusal)


def test_ports_of_every_interface_are_given_back() -> None:
    talk = Bridge(INSIDE, OUTSIDE)
    talk.up("ie")
    talk.core.close(KEY, "b1", talk.now)
    assert talk.leased() == 0
    talk.wait(31)
    assert talk.core.ports(talk.now)["resting"] == 0


def test_records_know_the_interface() -> None:
    talk = Bridge(INSIDE, OUTSIDE)
    talk.up("ie")
    record = json.loads(json.dumps(talk.session().record(500.0)))
    again = Session.from_record(record, 500.0)
    assert (again.caller.interface, again.branches["b1"].leg.interface) == ("internal", "external")


# IPv4 and IPv6.

V4, V6 = "198.51.100.10", "2001:db8:7::10"


@pytest.mark.parametrize(
    ("caller", "callee"), [(V4, "2001:db8:7::20"), (V6, "203.0.113.20"), (V6, "2001:db8:7::20")]
)
def test_each_side_gets_its_own_family_by_itself(caller: str, callee: str) -> None:
    talk = Bridge(caller=caller, callee=callee)
    assert [host for host, _ in talk.up()] == [BOTH[":" in callee], BOTH[":" in caller]]
    offer = body(talk.invite(talk.caller.sdp(4000)))
    family = b"IP6" if ":" in callee else b"IP4"
    assert set(re.findall(rb"IN (IP[46])", offer)) == {family}, "o= and c= are of one family"


@pytest.mark.parametrize("flags", ["x", "address-family=IP6"])
def test_the_other_family_can_be_forced(flags: str) -> None:
    """Whose SIP is IPv4, and whose media is to be IPv6."""
    talk = Bridge()
    talk.callee.media = talk.callee.said = Addr("2001:db8:7::20", 4200)
    assert talk.up(flags)[0][0] == SERVER6


def test_x_from_ipv6_leads_to_ipv4() -> None:
    talk = Bridge(caller=V6, callee="2001:db8:7::20")
    talk.callee.media = talk.callee.said = Addr("203.0.113.20", 4200)
    assert [host for host, _ in talk.up("x")] == ["192.0.2.1", SERVER6]


def test_media_may_be_of_another_family_than_its_sip() -> None:
    """SIP by IPv4, and SDP that names an IPv6 address: ports are opened where its media can come to."""
    talk = Bridge(caller=V4)
    talk.caller.media = talk.caller.said = Addr(V6, 4000)
    assert [host for host, _ in talk.up()] == ["192.0.2.1", SERVER6]


def test_without_an_address_of_that_family_it_stays_with_its_sip() -> None:
    talk = Talk()
    out = spoken(talk.invite(talk.caller.sdp().replace(b"IN IP4 198.51.100.10", b"IN IP6 2001:db8:7::10")))
    assert out[0] == "192.0.2.1"


def test_x_borrows_an_address_from_an_interface_that_has_one() -> None:
    six = Interface("six", ("2001:db8::6",), (), 20000, 20999)
    talk = Talk(address=("192.0.2.1",), interfaces=(six,))
    assert spoken(talk.invite(flags="x"))[0] == "2001:db8::6"


HELD4 = sdp("0.0.0.0", 4000, lines=("a=rtcp:4001 IN IP4 198.51.100.10", "a=rtcp-mux"))


def test_null_addresses_and_rtcp_lines_change_their_family() -> None:
    talk = Bridge(callee="2001:db8:7::20")
    out = body(talk.invite(HELD4))
    assert b"c=IN IP6 ::\r\n" in out
    port = int(re.search(rb"m=audio (\d+)", out)[1])  # type: ignore[index]
    assert f"a=rtcp:{port + 1} IN IP6 {SERVER6}\r\n".encode() in out
    assert b"IP4" not in out


def test_null_addresses_change_back() -> None:
    talk = Bridge(caller=V6)
    out = body(
        talk.invite(
            HELD4.replace(b"IP4 0.0.0.0", b"IP6 ::").replace(b"IP4 198.51.100.10", b"IP6 2001:db8::9")
        )
    )
    assert b"c=IN IP4 0.0.0.0\r\n" in out
    assert b"IP6" not in out


def test_packets_between_families_keep_every_octet() -> None:
    talk = Bridge(callee="2001:db8:7::20")
    talk.up()
    talk.caller.speak()
    assert talk.callee.inbox[-1] == rtp(4, 0xA)
