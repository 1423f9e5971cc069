"""What the methods answer, in Kamailio's words."""

import json
from typing import Any

import pytest
from rooms_twin import NOW, SESSION, WALL_OFFSET, RoomsTwin, binding, dialog

from edgesip.control.methods import methods_for
from edgesip.control.rpc import Rpc
from edgesip.signal.dialog.state import DialogState


def ask(rooms: RoomsTwin, method: str, *params: Any) -> Any:
    request = {"jsonrpc": "2.0", "method": method, "params": list(params), "id": 1}
    answer = Rpc(methods_for(rooms)).handle(json.dumps(request).encode())
    assert answer is not None
    return json.loads(answer)


def result(rooms: RoomsTwin, method: str, *params: Any) -> Any:
    answer = ask(rooms, method, *params)
    assert "error" not in answer, answer
    return answer["result"]


def fault(rooms: RoomsTwin, method: str, *params: Any) -> int:
    code = ask(rooms, method, *params)["error"]["code"]
    assert isinstance(code, int)
    return code


def test_lookup_shows_a_binding_with_kamailios_fields() -> None:
    rooms = RoomsTwin([binding()])
    assert result(rooms, "ul.lookup", "location", "alice") == {
        "AoR": "alice",
        "Contacts": [
            {
                "Address": "sip:alice@192.168.1.10:5060",
                "Expires": 3600,
                "Q": -1.0,
                "Call-ID": "reg-alice-192.168.1.10",
                "CSeq": 3,
                "User-Agent": "baresip v1.0.0",
                "Received": "sip:203.0.113.7:40000",
                "Path": "[not set]",
                "State": "CS_SYNC",
                "Flags": 0,
                "CFlags": 64,
                "Socket": "udp:192.0.2.1:5060",
                "Methods": 1 + 4 + 8,
                "Ruid": "uloc-1-alice-192.168.1.10",
                "Instance": "[not set]",
                "Reg-Id": 0,
                "Last-Keepalive": 0,
                "KA-Roundtrip": 0,
                "Last-Modified": int(NOW - 60 + WALL_OFFSET),
            }
        ],
    }


def test_a_public_phone_that_answers_pings_shows_it() -> None:
    heard = binding(nated=False, methods=(), last_keepalive=NOW - 1, roundtrip=0.0125)
    shown = result(RoomsTwin([heard]), "ul.lookup", "alice")["Contacts"][0]
    assert (shown["CFlags"], shown["Methods"]) == (0, 0xFFFFFFFF)
    assert (shown["Last-Keepalive"], shown["KA-Roundtrip"]) == (int(NOW - 1 + WALL_OFFSET), 12500)


@pytest.mark.parametrize(
    "params",
    [
        ["alice"],
        ["location", "alice"],
        ["ALICE"],
        ["alice@edge"],
        ["sip:alice@edge:5060"],
        ["location", "sip:alice"],
    ],
)
def test_an_address_of_record_is_found_however_it_is_written(params: list[str]) -> None:
    assert result(RoomsTwin([binding()]), "ul.lookup", *params)["AoR"] == "alice"


def test_what_is_not_there_is_404() -> None:
    rooms = RoomsTwin([binding(), binding("carol", expires=NOW - 1)])
    assert fault(rooms, "ul.lookup", "bob") == 404
    assert fault(rooms, "ul.lookup", "carol") == 404, "expired, if not yet swept"
    assert fault(rooms, "ul.lookup", "aliases", "alice") == 404
    assert fault(rooms, "ul.rm", "bob") == 404
    assert fault(rooms, "ul.rm_contact", "alice", "sip:other") == 404
    assert fault(rooms, "ul.lookup") == -32602
    assert fault(rooms, "ul.lookup", "location", "alice", "x") == -32602
    assert fault(rooms, "ul.rm_contact", "alice") == -32602
    assert rooms.removed == []


def test_dump_is_a_list_of_lookups() -> None:
    rooms = RoomsTwin([binding(), binding("bob"), binding("carol", expires=NOW - 1)])
    dump = result(rooms, "ul.dump")
    assert sorted(one["AoR"] for one in dump) == ["alice", "bob"]
    assert dump[0] == result(rooms, "ul.lookup", dump[0]["AoR"])
    assert result(RoomsTwin(), "ul.dump") == []
    assert result(RoomsTwin([binding()]), "ul.dump", "brief") == [
        {"AoR": "alice", "Contacts": [{"Address": "sip:alice@192.168.1.10:5060"}]}
    ]
    assert fault(rooms, "ul.dump", "everything") == -32602


def test_one_contact_or_all_are_removed() -> None:
    home, office = binding(host="192.168.1.10"), binding(host="10.0.0.5")
    rooms = RoomsTwin([home, office, binding("bob")])
    result(rooms, "ul.rm_contact", "location", "alice", "sip:alice@10.0.0.5:5060")
    assert rooms.removed == [office]
    result(rooms, "ul.rm", "location", "alice")
    assert rooms.removed == [office, home]
    assert fault(rooms, "ul.lookup", "alice") == 404
    assert result(rooms, "ul.lookup", "bob")["AoR"] == "bob"


def test_text_from_the_wire_that_is_no_utf8_is_shown_and_found_again() -> None:
    odd = b"sip:a\xe9@h".decode("utf-8", "surrogateescape")
    rooms = RoomsTwin([binding(contact=odd, user_agent="\x1b[2J\udcff")])
    shown = result(rooms, "ul.lookup", "alice")["Contacts"][0]
    assert (shown["Address"], shown["User-Agent"]) == (odd, "\x1b[2J\udcff")
    result(rooms, "ul.rm_contact", "alice", shown["Address"])
    assert [one.contact for one in rooms.removed] == [odd]


def test_a_dialog_is_listed_with_kamailios_fields() -> None:
    wall = int(NOW + WALL_OFFSET)
    assert result(RoomsTwin(dialogs=[dialog()]), "dlg.list") == [
        {
            "h_entry": 12,
            "h_id": 34,
            "call-id": "c1@phone",
            "from_uri": "sip:alice@edge",
            "to_uri": "sip:bob@edge",
            "state": 4,
            "start_ts": wall - 10,
            "init_ts": wall - 12,
            "end_ts": 0,
            "duration": 10,
            "timeout": wall + 43190,
            "lifetime": 43200,
            "ended_by": "",
            "variables": {},
            "caller": {
                "tag": "a",
                "contact": "sip:alice@192.168.1.10",
                "cseq": 7,
                "route_set": "<sip:p1;lr>",
                "socket": "udp:192.0.2.1:5060",
            },
            "callee": {
                "tag": "b",
                "contact": "sip:bob@192.168.1.10",
                "cseq": 0,
                "route_set": "",
                "socket": "udp:192.0.2.1:5060",
            },
        }
    ]


def test_an_ended_dialog_is_listed_with_its_length() -> None:
    ended = result(RoomsTwin(dialogs=[dialog(DialogState.DELETED)]), "dlg.list")[0]
    assert (ended["state"], ended["duration"]) == (5, 6)


def test_briefing_shows_what_its_letters_ask_for() -> None:
    rooms = RoomsTwin(dialogs=[dialog()])
    usual = result(rooms, "dlg.briefing")[0]
    assert usual == {
        "h_entry": 12,
        "h_id": 34,
        "from_uri": "sip:alice@edge",
        "to_uri": "sip:bob@edge",
        "call-id": "c1@phone",
        "from_tag": "a",
        "to_tag": "b",
    }
    assert set(result(rooms, "dlg.briefing", "sc")[0]) == {"h_entry", "h_id", "state", "call-id"}


def test_living_dialogs_are_counted() -> None:
    states = [DialogState.EARLY, DialogState.CONFIRMED, DialogState.CONFIRMED, DialogState.DELETED]
    counted = result(RoomsTwin(dialogs=map(dialog, states)), "dlg.stats_active")
    assert counted == {"starting": 0, "connecting": 1, "answering": 0, "ongoing": 2, "all": 3}


def test_media_is_shown_as_the_relay_tells_it() -> None:
    assert result(RoomsTwin(), "rtp.list") == [SESSION]
    assert result(RoomsTwin(), "rtp.ports") == {"total": 100, "leased": 4, "resting": 2, "free": 94}


def test_statistics_have_kamailios_names() -> None:
    rooms = RoomsTwin([binding()])
    everything = result(rooms, "stats.get_statistics", "all")
    assert "tmx:inuse_transactions = 5" in everything
    assert "usrloc:location-contacts = 1" in everything
    assert everything == sorted(everything) == result(rooms, "stats.get_statistics")
    assert result(rooms, "stats.get_statistics", "core:") == ["core:rcv_requests = 9"]
    assert result(rooms, "stats.get_statistics", "tmx:inuse_transactions") == ["tmx:inuse_transactions = 5"]
    assert result(rooms, "stats.get_statistics", "rcv_requests", "registered_users") == [
        "core:rcv_requests = 9",
        "usrloc:registered_users = 1",
    ]
    assert result(rooms, "stats.fetch", "core:") == {"core.rcv_requests": "9"}
    assert result(rooms, "stats.fetchn", "core:") == {"core.rcv_requests": 9}
    assert fault(rooms, "stats.get_statistics", "nothing") == 404
    assert fault(rooms, "stats.get_statistics", "cor:") == 404


def test_transactions_have_their_own_summary() -> None:
    assert result(RoomsTwin(), "tm.stats") == {"current": 5, "waiting": 3, "2xx": 40}


def test_uptime_and_version() -> None:
    up = result(RoomsTwin(), "core.uptime")
    assert up["uptime"] == 90
    assert set(up) == {"now", "up_since", "uptime"}
    assert result(RoomsTwin(), "core.version").startswith("edgesip ")


def test_every_method_has_help() -> None:
    rooms = RoomsTwin()
    for name in result(rooms, "system.listMethods"):
        assert len(result(rooms, "system.methodHelp", name)) > 10, name
