"""nathelper.enable_ping: what is switched, and what Kamailio refuses."""

from __future__ import annotations

from typing import Any

import pytest
from talk import Talk
from test_service import House

from edgesip.control.nathelper import methods_for
from edgesip.control.rpc import RpcFault
from edgesip.signal.nat.keepalive import Settings


def method(interval: float) -> tuple[House, Any]:
    house = House()
    house.service.core.pinger.use(Settings(interval))
    (one,) = methods_for(house.service)
    assert one.name == "nathelper.enable_ping"
    return house, one.call


@pytest.mark.parametrize("off", ["0", 0, False, "off"])
@pytest.mark.parametrize("on", ["1", 1, True, "ON"])
def test_pings_are_switched(off: object, on: object) -> None:
    house, call = method(25.0)
    pinger = house.service.core.pinger
    assert pinger.deadline(1.0) is not None
    assert call([off]) == "pings are off"
    assert pinger.deadline(1.0) is None
    assert call([on]) == "pings are on"
    assert pinger.deadline(1.0) is not None


@pytest.mark.parametrize(
    ("interval", "params", "told"),
    [
        (25.0, [], "enable_ping 0|1"),
        (25.0, ["maybe"], "not 'maybe'"),
        (25.0, [2], "not 2"),
        (25.0, [None], "not None"),
        (0.0, [1], "NATping disabled"),
    ],
)
def test_what_is_refused(interval: float, params: list[object], told: str) -> None:
    house, call = method(interval)
    with pytest.raises(RpcFault, match=told.replace("|", r"\|")) as fault:
        call(params)
    assert fault.value.code == 500
    assert house.service.core.pinger.enabled == (interval > 0)


def test_who_is_given_up_is_told_and_gone_ten_seconds_later() -> None:
    talk = Talk()
    phone = talk.phone("alice", nat=True)
    talk.register(phone)
    talk.core.pinger.use(Settings(20.0, timeout=60.0))
    talk.notes.clear()
    talk.wait(120.0)
    told = [note.event for note in talk.notes if note.level == "info"]
    assert told == ["contact does not answer pings", "contact expired"]
    assert talk.core.usrloc.lookup("alice", talk.now) == []
