"""Ten thousand phones pinged evenly, each once in its interval; who is silent is given up, others are not."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable

import pytest
from lab.agent import Agent
from lab.crowd import Crowd
from lab.network import Network
from lab.process import eventually
from lab.server import Server

pytestmark = pytest.mark.wire
OPEN = {
    "nat_traversal.adaptive": "false",
    "auth.enabled": "false",
    "ban.enabled": "false",
    "pike.reqs_density_per_unit": "1000000",
}


@pytest.mark.parametrize(("count", "interval"), [(500, 8), pytest.param(10_000, 25, marks=pytest.mark.long)])
def test_many_phones_are_pinged_once_in_an_interval_and_evenly(
    start_server: Callable[..., Server], network: Network, count: int, interval: int
) -> None:
    host = network.public_host("crowd", 50)
    server = start_server({**OPEN, "nathelper.natping_interval": str(interval)}, ignore=host.address)
    crowd = Crowd(host, (server.host.address, 5060), count)
    try:
        crowd.register(rate=400.0)
        time.sleep(interval + 1.0)  # until all have their place in the round
        start = time.monotonic()
        time.sleep(2 * interval)
        end = time.monotonic()
        sent, answered = (server.statistic(f"nathelper:{name}") for name in ("sip_pings", "answers"))
    finally:
        crowd.close()
    moments = {user: [at for at in times if start <= at < end] for user, times in crowd.heard.items()}
    assert len(moments) == count
    # A slow machine is late with some, and with the next one in time again.
    assert {len(times) for times in moments.values()} <= {1, 2, 3}
    gaps = sorted(
        later - earlier for times in crowd.heard.values() for earlier, later in itertools.pairwise(times)
    )
    assert gaps[len(gaps) // 100] > interval - 1.0
    assert gaps[-len(gaps) // 100] < interval + 1.0
    # Per second, the whole seconds of the two intervals: a share of the crowd each, and no storm.
    share = count / interval
    seconds = Counter(int(at - start) for times in moments.values() for at in times)
    rates = [seconds[second] for second in range(int(end - start))]
    print(f"pings a second: {min(rates)} to {max(rates)} of {share:g}; gaps {gaps[0]:.2f}-{gaps[-1]:.2f} s")
    assert max(rates) < 2 * share
    assert sum(0.5 * share < rate for rate in rates) > 0.9 * len(rates)
    assert sent >= 2 * count
    assert answered > 0.99 * sent - share, "answers are on their way at most"


def test_who_does_not_answer_is_given_up(start_server: Callable[..., Server], network: Network) -> None:
    host = network.public_host("crowd", 50)
    server = start_server(
        {**OPEN, "nathelper.natping_interval": "2", "nathelper.keepalive_timeout": "6"}, ignore=host.address
    )
    crowd = Crowd(host, (server.host.address, 5060), 20, sockets=20)
    try:
        crowd.register(rate=100.0)
        crowd.silent = frozenset(("u3", "u4"))
        eventually("the silent ones to be gone", lambda: not server.contacts("u3"), 40.0, step=0.5)
        eventually("the silent ones to be gone", lambda: not server.contacts("u4"), 40.0, step=0.5)
        assert server.contacts("u5"), "one that answers"
        assert server.statistic("nathelper:timeouts") == 2
        assert server.statistic("usrloc:location-contacts") == 18
    finally:
        crowd.close()


def test_four_octets_and_an_order_to_be_silent(start_server: Callable[..., Server], network: Network) -> None:
    host = network.public_host("crowd", 50)
    server = start_server(
        {**OPEN, "nathelper.natping_interval": "2", "nathelper.sipping_bflag": "-1"}, ignore=host.address
    )
    crowd = Crowd(host, (server.host.address, 5060), 20, sockets=20)
    try:
        crowd.register(rate=100.0)
        eventually("two rounds", lambda: crowd.kinds.get(bytes(4), 0) >= 40, 20.0)
        assert set(crowd.kinds) == {bytes(4)}
        assert server.ask("nathelper", "enable_ping", "0") == "pings are off"
        time.sleep(0.5)
        before = crowd.kinds[bytes(4)]
        time.sleep(4.5)
        assert crowd.kinds[bytes(4)] == before
        assert server.ask("nathelper", "enable_ping", "1") == "pings are on"
        eventually("pings again", lambda: crowd.kinds[bytes(4)] > before, 10.0)
    finally:
        crowd.close()


@pytest.mark.long
def test_usrloc_asks_whatever_the_transport_and_gives_up_who_is_silent(
    start_server: Callable[..., Server], network: Network
) -> None:
    """`ka_mode`: no pings of nathelper, two rounds of questions, one of three phones falls silent."""
    host = network.public_host("crowd", 50)
    settings = {
        "nathelper.natping_interval": "0",
        "usrloc.ka_mode": "1",
        "usrloc.ka_interval": "5",
        "usrloc.ka_randomize": "1",
        "usrloc.ka_timeout": "13",
    }
    server = start_server({**OPEN, **settings}, ignore=host.address)
    crowd = Crowd(host, (server.host.address, 5060), 2, sockets=2)
    agent = Agent(host, "tina", "", port=7000, server=server.host.address, transport="tcp")
    try:
        crowd.register(rate=100.0)
        assert agent.register().status == 200
        crowd.silent = frozenset(("u1",))
        answered = 0
        end = time.monotonic() + 90.0
        while server.contacts("u1"):
            assert time.monotonic() < end, "the silent one is still there"
            asked = agent.receive(lambda message: message.method == "OPTIONS", 0.5)
            if asked is not None:
                assert asked.get("To") == f"<sip:tina@{server.host.address}>"
                agent.respond(asked, 200)
                answered += 1
        assert answered >= 2
        (there,) = server.contacts("u0")
        assert there["KA-Roundtrip"] > 0
        assert there["KA-Interval"] == 6.0
        assert server.contacts("tina")[0]["KA-Roundtrip"] > 0
        assert set(crowd.kinds) == {b"OPTIONS"}
        assert server.statistic("usrloc:ka_timeouts") == 1
        assert server.statistic("usrloc:ka_answers") >= 4
    finally:
        agent.close()
        crowd.close()
