"""The methods `rtp.*` and `rtpproxy.*` over a relay with a call in it."""

from __future__ import annotations

from typing import Any

import pytest
from relay_talk import KEY, Talk

from edgesip.control.rpc import RpcFault
from edgesip.control.rtp import methods_for
from edgesip.relay.core import Refusal, RelayCore
from edgesip.relay.interface import Interface


class Operator:
    """A relay, and its methods as an operator calls them."""

    def __init__(self, talk: Talk) -> None:
        self.talk = talk
        core: RelayCore | None = talk.core
        self.methods = {one.name: one for one in methods_for(core, lambda: talk.now)}

    def ask(self, name: str, *params: Any) -> Any:
        return self.methods[name].call(list(params))

    def fault(self, name: str, *params: Any) -> tuple[int, str]:
        with pytest.raises(RpcFault) as caught:
            self.ask(name, *params)
        return caught.value.code, caught.value.message


@pytest.fixture
def operator() -> Operator:
    talk = Talk()
    talk.connect()
    return Operator(talk)


def test_a_call_is_shown_by_its_call_id(operator: Operator) -> None:
    [session] = operator.ask("rtp.show", KEY[0])
    assert (session["state"], [leg["side"] for leg in session["legs"]]) == ("answered", ["caller", "callee"])
    assert operator.fault("rtp.show", "another") == (404, "call not found: no media session of another")
    assert operator.fault("rtp.show")[0] == -32602


def test_one_side_is_blocked_and_let_through_again(operator: Operator) -> None:
    talk = operator.talk
    assert operator.ask("rtp.block", KEY[0], "caller") == "Ok. Blocked"
    assert (talk.caller.speak(4), talk.callee.speak(4)) == (0, 4)
    assert operator.ask("rtp.block", KEY[0]) == "Ok. Blocked"
    assert (talk.caller.speak(4), talk.callee.speak(4)) == (0, 0)
    assert operator.ask("rtp.stats")["dropped"]["blocked"] == 12
    assert operator.ask("rtp.unblock", KEY[0], "both") == "Ok. Goes through"
    assert (talk.caller.speak(4), talk.callee.speak(4)) == (4, 4)
    assert operator.fault("rtp.block", KEY[0], "nobody")[1].endswith("is none of caller, callee, both")
    assert operator.fault("rtp.unblock", "another")[0] == 404


def test_media_is_destroyed_and_the_ports_are_free(operator: Operator) -> None:
    assert operator.ask("rtp.destroy", KEY[0]) == "Ok. Its media is over"
    assert operator.talk.leased() == 0
    assert operator.ask("rtp.stats")["closed_sessions"]["force_terminated"] == 1
    assert operator.ask("rtp.show", KEY[0])[0]["ended_by"] == "force_terminated"
    assert operator.fault("rtp.destroy", KEY[0])[0] == 404, "once is enough"


def test_what_was_counted_comes_in_groups(operator: Operator) -> None:
    stats = operator.ask("rtp.stats")
    assert (stats["sessions"], stats["sessions_total"], stats["takes_new_calls"]) == (1, 1, True)
    assert stats["mediastreams"] == {"kernel": 0, "userspace": 2, "slow": 0}
    assert (stats["packets"], stats["ports"]["leased"]) == (6, 4)
    operator.talk.wait(30.0)
    operator.talk.core.end(KEY, operator.talk.now)
    stats = operator.ask("rtp.stats")
    assert (stats["closed_sessions"]["terminated"], stats["call_duration_avg"]) == (1, 30.0)


# ---- drained


def test_a_relay_is_drained_and_taken_up_again(operator: Operator) -> None:
    assert operator.ask("rtpproxy.list") == [
        {"setid": 0, "url": "relay", "index": 0, "disabled": 0, "weight": 1, "recheck": 0}
    ]
    assert operator.ask("rtpproxy.enable", "relay", 0) == "Ok. Takes no new calls"
    assert operator.ask("rtpproxy.list")[0]["disabled"] == 1
    assert not operator.ask("rtp.stats")["takes_new_calls"]
    refused = operator.talk.invite(key=("2", "a"))
    assert isinstance(refused, Refusal)
    assert (refused.status, bool(refused.retry_after)) == (503, True)
    assert operator.talk.caller.speak(3) == 3
    assert operator.ask("rtpproxy.enable", "all", "1") == "Ok. Takes new calls"
    assert isinstance(operator.talk.invite(key=("2", "a")), bytes)


def test_one_interface_is_drained_alone() -> None:
    inside = Interface("inside", ("192.0.2.9",), (), 30000, 30099)
    talk = Talk(interfaces=(inside,))
    operator = Operator(talk)
    assert [one["url"] for one in operator.ask("rtpproxy.list")] == ["relay", "inside"]
    operator.ask("rtpproxy.enable", "inside", 0)
    assert talk.core.has_room()
    assert isinstance(talk.invite(), bytes)
    refused = talk.invite(key=("2", "a"), flags="to-interface=inside")
    assert isinstance(refused, Refusal)
    assert refused.status == 503


def test_the_faults_are_kamailios(operator: Operator) -> None:
    assert operator.fault("rtpproxy.enable", "relay") == (500, "Not enough parameters")
    assert operator.fault("rtpproxy.enable", "udp:127.0.0.1:1", 0) == (404, "RTPProxy not found")
    assert operator.fault("rtpproxy.enable", "relay", 2)[0] == -32602


def test_where_the_relay_is_off_it_says_so() -> None:
    off = {one.name: one for one in methods_for(None, lambda: 0.0)}
    with pytest.raises(RpcFault, match=r"relay\.enabled is false"):
        off["rtpproxy.list"].call([])
