"""Contacts and what becomes of them: written back, expired in storms, lost with connections."""

from __future__ import annotations

from talk import Talk
from test_usrloc import binding

from edgesip.signal.location.ledger import DbMode
from edgesip.signal.location.usrloc import UsrlocSettings
from edgesip.signal.proxy.inbound import Happened, Note
from edgesip.store.api import Write


def phones(talk: Talk, count: int, expires: float) -> None:
    for number in range(count):
        talk.core.usrloc.put(binding(f"r{number}", aor=f"u{number}", expires=expires))


def test_a_storm_is_one_line_a_go_and_leaves_the_store_in_slices() -> None:
    talk = Talk(durable=True)
    phones(talk, 300, talk.now + 10.0)
    names: list[str] = []
    lines: list[str] = []
    dropped: list[str] = []
    now = talk.now + 10.0
    while (due := talk.core.saver.deadline()) is not None and due <= now + 1.0:
        now = max(now, due)
        events = talk.core.tick(now)
        lines += [event.event for event in events if isinstance(event, Note)]
        names += [event.hook for event in events if isinstance(event, Happened)]
        writes = [event for event in events if isinstance(event, Write)]
        assert len(writes) <= 100
        dropped += [write.key[1] for write in writes]
    assert names == ["contact_expired"] * 300
    assert sorted(dropped) == sorted(f"r{number}" for number in range(300))
    assert lines.count("contact expired") == 60
    assert lines.count("more contacts expired") == 3


def test_a_connection_takes_its_contacts_along_unless_told_otherwise() -> None:
    talk = Talk()
    flow = binding("a").flow._replace(transport="tcp")
    for keeps in (False, True):
        talk.core.usrloc.settings = UsrlocSettings(handle_lost_tcp=not keeps)
        talk.core.usrloc.put(binding("a", flow=flow, expires=talk.now + 60))
        events = talk.core.flow_closed(flow, talk.now)
        told = [event.hook for event in events if isinstance(event, Happened)]
        assert told == (["tcp_closed"] if keeps else ["contact_deleted", "tcp_closed"])
        assert (talk.core.usrloc.get("a") is not None) == keeps


def test_the_connection_of_an_expired_contact_is_closed_when_it_carries_no_other() -> None:
    talk = Talk()
    talk.core.usrloc.settings = UsrlocSettings(close_expired_tcp=True)
    flow = binding("a").flow._replace(transport="tcp")
    talk.core.usrloc.put(binding("a", flow=flow, expires=talk.now + 1))
    talk.core.usrloc.put(binding("b", flow=flow, expires=talk.now + 5))
    talk.core.tick(talk.now + 2)
    assert talk.core.saver.take_over() == []
    talk.core.tick(talk.now + 6)
    assert talk.core.saver.take_over() == [flow]
    assert talk.core.saver.take_over() == []


def test_written_back_a_register_is_answered_at_once_and_written_at_the_end() -> None:
    talk = Talk()
    talk.core.saver.ledger.mode = DbMode.BACK
    alice = talk.phone("alice")
    talk.register(alice)
    assert [one.ruid for one in talk.core.usrloc.lookup("alice", talk.now)]
    assert talk.writes == []
    (write,) = talk.core.saver.write_all(talk.now)
    assert write.record is not None
    assert write.record["aor"] == "alice"
