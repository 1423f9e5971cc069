"""STUN on the ports of SIP: answered by the way it came, no message, and a phone that is alive."""

from __future__ import annotations

from dataclasses import replace

import pytest
from talk import Talk
from test_service import House

from edgesip.address import Addr, Flow
from edgesip.signal.location.usrloc import Binding
from edgesip.signal.nat.stun import COOKIE, Answer, read_answer, request
from edgesip.signal.wire.framer import ZEROS, Framer

ID = bytes(range(12))
INDICATION = b"\0\x11\0\0" + COOKIE + ID
OPTIONS = b"OPTIONS sip:a@b SIP/2.0\r\nContent-Length: 0\r\n\r\n"


def registered(talk: Talk, name: str) -> tuple[Flow, Binding]:
    phone = talk.phone(name, nat=True)
    talk.register(phone)
    (binding,) = talk.core.usrloc.lookup(name, talk.now)
    return phone.flow, binding


@pytest.mark.parametrize("data", [request(ID), INDICATION, ZEROS, b"\0"])
def test_whatever_a_registered_phone_sends_it_is_alive(data: bytes) -> None:
    talk = Talk()
    flow, before = registered(talk, "alice")
    stun = talk.core.stun
    stun.receive(data, flow, talk.now + 20)
    after = talk.core.usrloc.get(before.ruid)
    assert after == replace(before, last_keepalive=talk.now + 20), "nothing else of it has changed"
    stun.receive(data, flow, talk.now + 20.5)
    assert stun.counters["stun:keepalives"] == 1, "once a second is enough"


def test_a_stranger_is_answered_and_nothing_is_kept_of_it() -> None:
    talk = Talk()
    _, before = registered(talk, "alice")
    flow = Flow("udp", before.flow.local, Addr("198.51.100.200", 4711))
    answer = talk.core.stun.receive(request(ID), flow, talk.now + 20)
    assert answer is not None
    assert read_answer(answer, ID) == Answer(flow.remote)
    assert talk.core.usrloc.get_all() == [before]


def test_a_front_proxy_says_nothing_of_its_phones() -> None:
    talk = Talk()
    flow, one = registered(talk, "alice")
    for number in range(40):
        talk.core.usrloc.put(replace(one, aor=f"u{number}", ruid=f"uloc-{number}"))
    talk.core.stun.receive(ZEROS, flow, talk.now + 20)
    heard = [one for one in talk.core.usrloc.get_all() if one.last_keepalive == talk.now + 20]
    assert len(heard) == 1


def test_what_happens_is_counted() -> None:
    stun = Talk().core.stun
    flow = Flow("udp", Addr("203.0.113.1", 5060), Addr("198.51.100.200", 4711))
    for data in (request(ID), request(ID, True), request(ID) + b"1", INDICATION, ZEROS, b""):
        stun.receive(data, flow, 1.0)
    assert stun.counters == {
        "stun:answered": 2,
        "stun:refused": 1,
        "stun:dropped": 3,
        "stun:keepalives": 0,
    }


def test_switched_off_it_answers_nobody_but_phones_are_alive() -> None:
    talk = Talk()
    flow, before = registered(talk, "alice")
    talk.core.stun.enabled = False
    assert talk.core.stun.receive(request(ID), flow, talk.now + 20) is None
    after = talk.core.usrloc.get(before.ruid)
    assert after is not None
    assert after.last_keepalive == talk.now + 20


def test_strangers_whose_address_may_be_forged_are_answered_so_often_and_no_more() -> None:
    talk = Talk()
    phone, _ = registered(talk, "alice")
    local, stun = phone.local, talk.core.stun
    flows = [Flow("udp", local, Addr("198.51.100.200", 1000 + number)) for number in range(2000)]
    answered = sum(stun.receive(request(ID), flow, talk.now + 1) is not None for flow in flows)
    assert 100 < answered < 1000, "a purse full, and no more within one moment"
    assert stun.receive(request(ID), phone, talk.now + 1) is not None, "a registered phone always is"
    assert stun.receive(request(ID), flows[0]._replace(transport="tcp"), talk.now + 1) is not None
    assert stun.receive(request(ID), flows[0], talk.now + 3) is not None, "it fills again"


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_the_service_answers_by_the_flow_that_asked_and_traces_nothing(transport: str) -> None:
    house = House()
    sent: list[tuple[Flow, bytes]] = []

    def send(flow: Flow, data: bytes) -> bool:
        sent.append((flow, data))
        return True

    house.service.udp.send = house.service.streams.send = send  # type: ignore[method-assign]
    flow = Flow(transport, Addr("203.0.113.1", 5060), Addr("198.51.100.200", 4711))
    house.service.receive(request(ID), flow)
    house.service.receive(INDICATION, flow)
    house.service.receive(b"", flow)
    ((way, answer),) = sent
    assert way == flow
    assert read_answer(answer, ID) == Answer(flow.remote)
    assert house.service.core.counters["core:rcv_requests"] == 0
    assert house.service._ring.counters()["siptrace:events"] == 0


def test_a_stream_may_carry_both_however_it_is_cut() -> None:
    stream = request(ID, True) + OPTIONS + ZEROS + INDICATION + b"\r\n\r\n" + ZEROS + OPTIONS + request(ID)
    expected = [request(ID, True), OPTIONS, ZEROS, INDICATION, b"\r\n\r\n", ZEROS, OPTIONS, request(ID)]
    for size in (1, 2, 3, 7, len(stream)):
        framer = Framer()
        found: list[bytes] = []
        for at in range(0, len(stream), size):
            found += framer.feed(stream[at : at + size])
        assert found == expected
        assert not framer.pending
        assert framer.fault is None


@pytest.mark.parametrize(
    "data",
    [
        b"\0\1\0\0" + bytes(16),  # no cookie: nobody speaks RFC 3489 over a stream
        b"\0\1\xff\xff" + COOKIE + ID,  # longer than a request may be
        b"\3" * 8,
    ],
)
def test_other_octets_end_a_stream(data: bytes) -> None:
    framer = Framer()
    assert framer.feed(data) == []
    assert framer.fault is not None
    cut = Framer()
    assert [cut.feed(data[at : at + 1]) for at in range(8)] == [[]] * 8
    assert cut.fault is not None


def test_half_a_stun_message_is_pending() -> None:
    framer = Framer()
    assert framer.feed(request(ID)[:5]) == []
    assert framer.pending
