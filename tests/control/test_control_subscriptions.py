"""`dlg.subscriptions`: who is told of whom, as an operator sees it."""

from __future__ import annotations

from edgesip.address import Addr, Flow
from edgesip.control.subscriptions import methods_for
from edgesip.signal.dialog.subscriptions import End, Subscriptions
from edgesip.signal.wire.message import Request, Response, parse, reply_to

WATCHER = Flow("udp", Addr("192.0.2.1", 5060), Addr("198.51.100.7", 40000))
PHONE = Flow("tcp", Addr("192.0.2.1", 5060), Addr("198.51.100.8", 41000))


def test_a_subscription_and_who_notifies() -> None:
    table = Subscriptions()
    asked = parse(
        b"SUBSCRIBE sip:bob@b SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bKa\r\nFrom: <sip:a@b>;tag=a\r\n"
        b"To: <sip:bob@b>\r\nCall-ID: c\r\nCSeq: 1 SUBSCRIBE\r\nEvent: dialog\r\n\r\n"
    )
    assert isinstance(asked, Request)
    within = table.begin(asked, End(WATCHER, nated=True), [PHONE], 100.0)
    assert within is not None
    within.source = End(WATCHER, nated=True)
    answer = reply_to(asked, 200, "", to_tag="b", headers=(("Expires", "60"),))
    assert isinstance(answer, Response)
    within.heard(asked, End(PHONE), answer, 101.0)
    (method,) = methods_for(table, lambda: 111.0, lambda: 1000.0)
    assert method.name == "dlg.subscriptions"
    assert list(method.call([])) == [
        {
            "call-id": "c",
            "method": "SUBSCRIBE",
            "event": "dialog",
            "from_uri": "sip:a@b",
            "ruri": "sip:bob@b",
            "init_ts": 1100,
            "expires": 82,
            "subscriber": {"tag": "a", "address": "udp:198.51.100.7:40000", "nat": True},
            "notifiers": [{"tag": "b", "address": "tcp:198.51.100.8:41000", "nat": False}],
        }
    ]
