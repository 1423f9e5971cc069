"""The four transaction machines: every row of the tables is taken, and time does what the RFC says."""

from __future__ import annotations

import pytest

from edgesip.address import Addr, Flow
from edgesip.signal.transaction.hop import ack_for, cancel_for, server_key
from edgesip.signal.transaction.layer import (
    Answered,
    Broken,
    ClientTx,
    Ended,
    ServerTx,
    TimedOut,
    Transactions,
    TxEvent,
)
from edgesip.signal.transaction.settings import TmSettings
from edgesip.signal.transaction.tables import (
    INVITE_CLIENT,
    INVITE_SERVER,
    NON_INVITE_CLIENT,
    NON_INVITE_SERVER,
    Do,
    On,
    State,
    Table,
    event_of,
)
from edgesip.signal.transaction.timers import Timers
from edgesip.signal.wire.message import Request, Response, parse, reply_to
from edgesip.signal.wire.values import CSeq

FLOW = Flow("udp", Addr("203.0.113.1", 5060), Addr("198.51.100.2", 5060))


def message(method: str = "INVITE", branch: str = "z9hG4bKa", to: str = "<sip:b@x>") -> Request:
    text = (
        f"{method} sip:b@198.51.100.2 SIP/2.0\r\nVia: SIP/2.0/UDP 203.0.113.1:5060;branch={branch}\r\n"
        f"From: <sip:a@x>;tag=1\r\nTo: {to}\r\nCall-ID: c\r\nCSeq: 1 {method}\r\n"
        "Route: <sip:next.example;lr>\r\nContent-Length: 0\r\n\r\n"
    )
    request = parse(text.encode())
    assert isinstance(request, Request)
    return request


class Layer:
    """A layer with a clock that stands still until it is told to go."""

    def __init__(self) -> None:
        self.layer = Transactions(TmSettings(fr_timer=30, fr_inv_timer=180, wt_timer=5))
        self.now = 100.0
        self.sent: list[tuple[float, bytes]] = []
        self.events: list[TxEvent] = []

    def client(self, method: str = "INVITE") -> ClientTx:
        tx = self.layer.open_client(message(method), FLOW, "owner", self.now)
        self.drain()
        return tx

    def server(self, method: str = "INVITE") -> ServerTx:
        request = message(method)
        return self.layer.open_server(request, server_key(request), FLOW, self.now)

    def response(self, tx: ClientTx, status: int) -> list[TxEvent]:
        response = reply_to(tx.request, status, to_tag="t")
        _, events = self.layer.on_response(response, self.now)
        self.drain()
        return events

    def respond(self, tx: ServerTx, status: int) -> bool:
        done = self.layer.respond(tx, reply_to(tx.request, status, to_tag="t"), self.now)
        self.drain()
        return done

    def wait(self, seconds: float) -> None:
        end = self.now + seconds
        while (due := self.layer.deadline()) is not None and due <= end:
            self.now = max(self.now, due)
            self.events += self.layer.tick(self.now)
            self.drain()
        self.now = end

    def drain(self) -> None:
        self.sent += [(self.now - 100.0, octets) for _, octets in self.layer.take_sends()]

    def moments(self) -> list[float]:
        return [round(moment, 3) for moment, _ in self.sent]


@pytest.mark.parametrize("table", [INVITE_CLIENT, NON_INVITE_CLIENT, INVITE_SERVER, NON_INVITE_SERVER])
def test_every_state_is_reached_and_left_and_every_row_names_its_section(table: Table) -> None:
    reached = {row.state for row in table.values()}
    left = {state for state, _ in table}
    assert reached - {State.TERMINATED} <= left
    assert State.TERMINATED in reached
    for (_, on), row in table.items():
        assert "§" in row.section
        assert (row.state is State.TERMINATED) == (Do.END in row.do), row
        if on is On.SUCCESS or on is On.FAILURE:
            assert Do.TIMEOUT not in row.do


def test_events_of_statuses() -> None:
    assert [event_of(status) for status in (100, 199, 200, 299, 300, 699)] == [
        On.PROVISIONAL,
        On.PROVISIONAL,
        On.SUCCESS,
        On.SUCCESS,
        On.FAILURE,
        On.FAILURE,
    ]


def test_invite_client_repeats_at_t1_doubled_until_fr_timer() -> None:
    layer = Layer()
    tx = layer.client()
    layer.wait(40)
    assert layer.moments() == [0, 0.5, 1.5, 3.5, 7.5, 15.5]
    assert layer.events == [TimedOut(tx, False), Ended(tx)]
    assert len(layer.layer) == 0


def test_other_client_repeats_up_to_t2_and_slowly_after_a_1xx() -> None:
    layer = Layer()
    layer.client("OPTIONS")
    layer.wait(16)
    assert layer.moments() == [0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5]
    layer = Layer()
    tx = layer.client("OPTIONS")
    layer.wait(0.1)
    assert isinstance(layer.response(tx, 180)[0], Answered)
    layer.wait(9)
    assert layer.moments() == [0, 0.5, 4.5, 8.5]


def test_a_1xx_stops_invite_and_starts_timer_c_again_each_time() -> None:
    layer = Layer()
    tx = layer.client()
    layer.response(tx, 180)
    layer.wait(170)
    layer.response(tx, 180)
    layer.wait(179)
    assert layer.events == []
    layer.wait(2)
    assert layer.events == [TimedOut(tx, True)]
    assert tx.state is State.PROCEEDING
    layer.layer.cancelled(tx, layer.now)
    layer.wait(31)
    assert layer.events[1:] == [TimedOut(tx, False), Ended(tx)]


def test_failure_of_invite_is_acknowledged_hop_by_hop_however_often_it_comes() -> None:
    layer = Layer()
    tx = layer.client()
    assert len(layer.response(tx, 486)) == 1
    assert layer.response(tx, 486) == []
    acks = [parse(octets) for _, octets in layer.sent[1:]]
    assert [ack.method for ack in acks if isinstance(ack, Request)] == ["ACK", "ACK"]
    assert acks[0].headers.via.branch == "z9hG4bKa"
    assert acks[0].headers.to.tag == "t"
    assert acks[0].headers.get("Route") == "<sip:next.example;lr>"
    layer.wait(5.1)
    assert len(layer.layer) == 0


def test_each_2xx_of_invite_is_told_for_wt_timer() -> None:
    layer = Layer()
    tx = layer.client()
    assert [len(layer.response(tx, 200)) for _ in range(3)] == [1, 1, 1]
    layer.wait(5.1)
    assert layer.response(tx, 200) == []


def test_other_client_tells_one_final_response() -> None:
    layer = Layer()
    tx = layer.client("BYE")
    assert [len(layer.response(tx, 200)) for _ in range(2)] == [1, 0]
    assert layer.layer.counters["tmx:rpl_absorbed"] == 1
    layer.wait(5.1)
    assert len(layer.layer) == 0


def test_invite_server_repeats_failure_until_the_ack() -> None:
    layer = Layer()
    tx = layer.server()
    assert layer.respond(tx, 100)
    assert layer.layer.absorb(tx.request, tx.key, layer.now)
    layer.drain()
    assert layer.respond(tx, 486)
    assert not layer.respond(tx, 200)
    layer.wait(12)
    assert layer.moments() == [0, 0, 0, 0.5, 1.5, 3.5, 7.5, 11.5]
    ack = message("ACK", to="<sip:b@x>;tag=t")
    assert server_key(ack) == tx.key
    assert layer.layer.absorb(ack, tx.key, layer.now)
    layer.wait(5.1)
    assert len(layer.moments()) == 8
    assert len(layer.layer) == 0


def test_invite_server_without_an_ack_gives_up_at_fr_timer() -> None:
    layer = Layer()
    tx = layer.server()
    layer.respond(tx, 404)
    layer.wait(31)
    assert layer.events == [TimedOut(tx, False), Ended(tx)]


def test_invite_server_passes_every_2xx_and_leaves_its_ack_to_the_proxy() -> None:
    layer = Layer()
    tx = layer.server()
    assert layer.respond(tx, 200)
    assert layer.respond(tx, 200)
    assert not layer.layer.absorb(message("ACK"), tx.key, layer.now)
    assert layer.layer.absorb(message(), tx.key, layer.now)
    layer.wait(4)
    assert layer.moments() == [0, 0]


def test_other_server_repeats_its_answer_only_when_asked() -> None:
    layer = Layer()
    tx = layer.server("BYE")
    assert layer.layer.absorb(tx.request, tx.key, layer.now)
    assert layer.sent == []
    layer.respond(tx, 200)
    layer.layer.absorb(tx.request, tx.key, layer.now)
    layer.drain()
    layer.wait(4)
    assert layer.moments() == [0, 0]
    layer.wait(2)
    assert len(layer.layer) == 0


def test_rfc_2543_clients_are_matched_by_their_older_rule() -> None:
    old = message(branch="")
    again = message(branch="")
    assert server_key(old) == server_key(again)
    assert server_key(old) != server_key(message("BYE", branch=""))
    assert server_key(old) == server_key(message("CANCEL", branch=""))


def test_ack_and_cancel_copy_what_they_must() -> None:
    invite = message()
    response = reply_to(invite, 486, to_tag="t")
    assert isinstance(response, Response)
    for made in (ack_for(invite, response), cancel_for(invite, "SIP;cause=200")):
        again = parse(bytes(made))
        assert isinstance(again, Request)
        assert again.uri == invite.uri
        assert str(again.headers.via) == str(invite.headers.via)
        assert again.headers.cseq == CSeq(1, made.method)
        assert len(again.headers.vias) == 1
    assert cancel_for(invite).headers.get("Reason") is None


def test_timers_give_the_last_deadline_of_a_key_once() -> None:
    timers: Timers[str] = Timers()
    timers.set("a", 5)
    timers.set("a", 2)
    timers.set("b", 3)
    timers.set("c", 1)
    timers.cancel("c")
    assert timers.deadline() == 2
    assert timers.due(1.9) == []
    assert timers.due(4) == ["a", "b"]
    assert timers.due(10) == []
    assert timers.deadline() is None
    for number in range(1000):
        timers.set("same", number)
    assert len(timers) == 1
    assert len(timers._heap) < 300


def test_what_cannot_be_sent_is_given_up_at_once_and_a_forged_error_ends_nothing() -> None:
    layer = Layer()
    tx = layer.client()
    octets = tx.last
    assert layer.layer.unsendable(octets.replace(b"z9hG4bK", b"z9hG4bKother")) == []
    assert layer.layer.unsendable(octets[:40]) == []
    assert layer.layer.unsendable(octets[:-20].replace(b"Call-ID", b"Call-IX")) == []
    layer.response(tx, 180)
    assert layer.layer.unsendable(octets) == []
    layer = Layer()
    tx = layer.client()
    assert layer.layer.unsendable(tx.last[:200]) == [TimedOut(tx, False, True), Ended(tx)]
    assert len(layer.layer) == 0


@pytest.mark.pure
def test_a_fault_in_one_timer_costs_that_transaction_only() -> None:
    layer = Layer()
    bad = layer.client()
    layer.layer.open_client(message("OPTIONS"), FLOW, None, layer.now)
    bad.interval = None  # type: ignore[assignment]
    layer.wait(1.5)
    (broken,) = [event for event in layer.events if isinstance(event, Broken)]
    assert broken.tx is bad
    assert len(layer.layer) == 1


def test_transactions_of_a_connection_are_found_by_it() -> None:
    layer = Layer()
    flow = FLOW._replace(transport="tcp")
    tx = layer.layer.open_client(message(), flow, None, layer.now)
    request = message("BYE")
    server = layer.layer.open_server(request, server_key(request), flow, layer.now)
    layer.client("OPTIONS")
    assert layer.layer.flow_closed(flow) == ([TimedOut(tx, False, True), Ended(tx)], [server])
    layer.layer.forget(server)
    assert layer.layer._connected == {}
    assert len(layer.layer) == 1


def test_timers_of_a_transaction_of_its_own_and_a_lifetime() -> None:
    layer = Layer()
    own = TmSettings(fr_timer=3, retr_timer1=0.1, retr_timer2=0.4)
    layer.layer.open_client(message("OPTIONS"), FLOW, None, layer.now, own)
    layer.wait(1.5)
    assert layer.moments()[1:5] == pytest.approx([0.1, 0.3, 0.7, 1.1], abs=0.005)
    layer.wait(2)
    assert isinstance(layer.events[0], TimedOut)
    layer = Layer()
    tx = layer.layer.open_client(message(), FLOW, None, layer.now, None, layer.now + 50)
    layer.response(tx, 180)
    layer.wait(51)
    assert layer.events == [TimedOut(tx, True)]
